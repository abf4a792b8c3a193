"""Keeping what was dear: freed memory in the process, and compiled programs on disk."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import jax

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 2**31 - 1
_MAPPED_BYTES = 2**30


def keep_freed_memory() -> bool:
    """Tells the C library to keep up to 2 GiB of freed memory for this process.

    XLA's CPU backend allocates all the intermediates of a compiled function at every call and frees them after it. By
    default glibc returns blocks that large to the system at once, and the next call spends a tenth to a fifth of its
    time on page faults. One arena, because only the main one can keep more than 64 MiB. Call it before the first
    computation; it does nothing on other systems, and nothing for memory on a GPU or TPU.

    Returns:
        Whether the C library took the setting.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: _MAPPED_BYTES, _TRIM_THRESHOLD: _KEPT_BYTES, _ARENA_MAX: 1}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())


def keep_compiled(folder: str | Path) -> None:
    """Keeps compiled programs in a folder, so that the next process with the same shapes does not compile them again.

    A folder that the environment names (`JAX_COMPILATION_CACHE_DIR`) stays. Call it before the first computation.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    jax.config.update("jax_compilation_cache_dir", str(Path(folder).resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
