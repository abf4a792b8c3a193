"""Keeping freed memory in the process, so that the next step does not have to fault it in again."""

from __future__ import annotations

import ctypes
import sys

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
