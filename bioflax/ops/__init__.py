"""Array functions without parameters."""

from bioflax.ops.conv import convolve, convolve_dilated, convolve_joined
from bioflax.ops.memory import keep_freed_memory
from bioflax.ops.peaks import drop_duplicates, find_emitters
from bioflax.ops.resample import (
    average_pool,
    max_blur_pool,
    max_pool,
    space_to_depth,
    upsample_linear,
    upsample_nearest,
)

__all__ = [
    "average_pool",
    "convolve",
    "convolve_dilated",
    "convolve_joined",
    "drop_duplicates",
    "find_emitters",
    "keep_freed_memory",
    "max_blur_pool",
    "max_pool",
    "space_to_depth",
    "upsample_linear",
    "upsample_nearest",
]
