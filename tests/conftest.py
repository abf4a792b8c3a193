"""Shared by all tests: CPU only, and where the real microscopy lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Four host devices, so that data parallelism is tested on any machine; everything else runs on the first.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real microscopy; tests that need it skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("BIOFLAX_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real microscopy at {folder}; set BIOFLAX_SHARED")
    return folder
