"""Shared by all tests: CPU only, quick to compile, and where the real microscopy lies."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Nearly all the time of the tests is compilation of small programs: emitted in the plainest way, it halves.
QUICK = ("--xla_backend_optimization_level=0",)
# XLA stops at a flag that it does not know: these are of the version that the lock file pins.
if version("jax").startswith("0.10."):
    QUICK += ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def add_xla_flags(*flags: str) -> None:
    """Add to XLA_FLAGS; what the environment sets stays."""
    given = os.environ.get("XLA_FLAGS", "")
    names = {flag.split("=")[0] for flag in given.split()}
    os.environ["XLA_FLAGS"] = " ".join([given, *(flag for flag in flags if flag.split("=")[0] not in names)]).strip()


os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A test process for each core: further threads of NumPy's linear algebra only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Four host devices, so that data parallelism is tested on any machine; everything else runs on the first.
add_xla_flags("--xla_force_host_platform_device_count=4")


def pytest_configure(config: pytest.Config) -> None:
    """Before JAX is imported: quick compilation, for workers and the commands that tests start as well."""
    if config.getoption("markexpr") == "acceptance":
        return  # long runs: there the speed of the programs counts
    add_xla_flags(*QUICK)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Programs compiled by one process of the session serve the others. An entry read while it is being written
        # does not decompress: JAX then compiles.
        folder = tempfile.mkdtemp(prefix="bioflax-compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
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
