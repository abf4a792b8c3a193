"""Stride-1 "same" convolution of channels-last images in 2-D and 3-D, with a weight gradient that is fast on CPU.

XLA's CPU backend computes the weight gradient as one convolution whose window is the whole image: it runs on one thread
and its operands fall out of the cache, several times slower than the forward pass. A convolution is linear in the
kernel, and the gradient over a batch is the sum of the gradients over its blocks; written block by block the same
library runs on all threads at close to its full speed. Elsewhere the plain convolution is already right.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
_BLOCK_PIXELS = 4096  # of an image and its gradient: at 64 channels each, half of a 2 MiB cache
_MOST_BLOCKS = 32  # a longer program compiles slowly


def convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with zero padding so that the size is kept.

    Args:
        image: (N, [Z,] H, W, C_in), any float type.
        kernel: ([kz,] ky, kx, C_in, C_out), odd sizes, the same type as `image`.

    Returns:
        (N, [Z,] H, W, C_out).
    """
    window = kernel.shape[:-2]
    if math.prod(window) == 1:
        return image @ kernel.reshape(
            kernel.shape[-2:]
        )  # a matrix product is 4 times faster than a window of one pixel
    return _convolve_same(image, kernel)


@jax.custom_jvp
def _convolve_same(image: jax.Array, kernel: jax.Array) -> jax.Array:
    return _convolve(image, kernel, [(k // 2, k // 2) for k in kernel.shape[:-2]])


@_convolve_same.defjvp
def _tangent(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (image, kernel), (image_dot, kernel_dot) = primals, tangents
    # Reverse mode transposes this line: the sum over blocks appears there, and the concatenation vanishes.
    by_kernel = lax.platform_dependent(image, kernel_dot, cpu=_convolve_in_blocks, default=_convolve_same)
    return _convolve_same(image, kernel), _convolve_same(image_dot, kernel) + by_kernel


def _convolve(image: jax.Array, kernel: jax.Array, pads: list[tuple[int, int]]) -> jax.Array:
    return lax.conv_general_dilated(image, kernel, (1,) * len(pads), pads, dimension_numbers=_LAYOUT[len(pads)])


def _convolve_in_blocks(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """`_convolve_same`, computed for a few images and rows (planes in 3-D) at a time."""
    size = image.shape[1]
    images, rows = _block_shape(image.shape)
    reach = kernel.shape[0] // 2
    pads = [(k // 2, k // 2) for k in kernel.shape[:-2]]
    blocks = []
    for first in range(0, image.shape[0], images):
        row_blocks = []
        for top in range(0, size, rows):
            bottom = min(top + rows, size)
            low, high = max(top - reach, 0), min(bottom + reach, size)
            pads[0] = (low - top + reach, bottom + reach - high)
            row_blocks.append(_convolve(image[first : first + images, low:high], kernel, pads))
        blocks.append(jnp.concatenate(row_blocks, axis=1))
    return jnp.concatenate(blocks, axis=0)


def _block_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many images and how many rows make a block of about `_BLOCK_PIXELS`, and no more than `_MOST_BLOCKS`."""
    count, size, row = shape[0], shape[1], math.prod(shape[2:-1])
    pixels = max(_BLOCK_PIXELS, math.ceil(count * size * row / _MOST_BLOCKS))
    rows = min(size, max(1, pixels // row))
    images = min(count, max(1, pixels // (rows * row)))
    return images, rows
