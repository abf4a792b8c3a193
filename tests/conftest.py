"""Shared by all tests: CPU only, and where the real microscopy lies."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one test process a core: further threads only wait for one another
# Nearly all the time of the tests is compilation of small programs, so LLVM optimizes nothing. Four host devices, so that
# data parallelism is tested on any machine; everything else runs on the first.
FLAGS = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_force_host_platform_device_count=4",
)
given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([given, *(flag for flag in FLAGS if flag.split("=")[0] not in given)])


def share_compilations() -> None:
    """One folder of compiled programs for all workers and commands of this session, unless the environment names one.

    An entry read while another process writes it does not decompress: JAX then warns and compiles.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="bioflax-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder


share_compilations()
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real microscopy; tests that need it skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("BIOFLAX_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real microscopy at {folder}; set BIOFLAX_SHARED")
    return folder
