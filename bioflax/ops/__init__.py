"""Array functions without parameters."""

from bioflax.ops.conv import convolve, convolve_joined
from bioflax.ops.memory import keep_freed_memory
from bioflax.ops.resample import max_blur_pool, max_pool, upsample_linear, upsample_nearest

__all__ = [
    "convolve",
    "convolve_joined",
    "keep_freed_memory",
    "max_blur_pool",
    "max_pool",
    "upsample_linear",
    "upsample_nearest",
]
