"""Array functions without parameters."""

from bioflax.ops.conv import convolve
from bioflax.ops.resample import max_blur_pool, max_pool, upsample_linear, upsample_nearest

__all__ = ["convolve", "max_blur_pool", "max_pool", "upsample_linear", "upsample_nearest"]
