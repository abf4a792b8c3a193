"""Stride-1 "same" convolution of channels-last images, 2-D and 3-D."""

from __future__ import annotations

import jax
from jax import lax

_LAYOUT = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with zero padding so that the size is kept.

    Args:
        image: (N, [Z,] H, W, C_in), any float type.
        kernel: ([kz,] ky, kx, C_in, C_out), odd sizes, the same type as `image`.

    Returns:
        (N, [Z,] H, W, C_out).
    """
    spatial = kernel.ndim - 2
    pads = [(k // 2, k // 2) for k in kernel.shape[:spatial]]
    return lax.conv_general_dilated(image, kernel, (1,) * spatial, pads, dimension_numbers=_LAYOUT[spatial])
