"""The C library is told once, with its own numbers, and left alone where it is not glibc."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from bioflax.ops.memory import keep_freed_memory


def with_library(monkeypatch, **functions):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(**functions))


@pytest.mark.parametrize("answer", [1, 0])
def test_settings_reach_the_library_and_its_answer_is_told(monkeypatch, answer):
    settings = {}
    with_library(monkeypatch, mallopt=lambda parameter, value: settings.update({parameter: value}) or answer)
    assert keep_freed_memory() is bool(answer)
    if answer:
        assert settings == {-3: 2**30, -1: 2**31 - 1, -8: 1}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX
    assert all(value < 2**31 for value in settings.values())  # mallopt takes a C int


def test_a_library_without_the_function_is_left_alone(monkeypatch):
    with_library(monkeypatch)
    assert keep_freed_memory() is False


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_the_real_library_answers():
    assert keep_freed_memory() is hasattr(ctypes.CDLL(None), "mallopt")
