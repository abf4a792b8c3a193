"""The lock names the two standard public hosts and no other."""

from __future__ import annotations

import re
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "uv.lock"


def test_lock_names_only_the_public_index() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", LOCK.read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_lock_holds_no_path_or_other_source() -> None:
    sources = set(re.findall(r"^source = \{ (\w+)", LOCK.read_text(), flags=re.M))
    assert sources == {"registry", "editable"}
