"""Halving and doubling of channels-last images, aligned with a grid of stride 2 so that tiles equal the whole.

Every function treats output pixel j as sitting over input pixels 2j and 2j+1; a window that starts at an even pixel
therefore sees the same pairs as the whole image.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def max_pool(image: jax.Array) -> jax.Array:
    """Halves every spatial axis by the maximum of each pair.

    Args:
        image: (N, [Z,] H, W, C), spatial sizes even.

    Returns:
        (N, [Z/2,] H/2, W/2, C).
    """
    # Maxima of strided slices: the gradient is a select, where a reduce-window's is a slow select-and-scatter on CPU.
    for axis in range(1, image.ndim - 1):
        image = jnp.maximum(*_pairs(image, axis))
    return image


def average_pool(image: jax.Array) -> jax.Array:
    """Halves every spatial axis by the mean of each pair.

    Args:
        image: (N, [Z,] H, W, C), spatial sizes even.

    Returns:
        (N, [Z/2,] H/2, W/2, C).
    """
    for axis in range(1, image.ndim - 1):
        first, second = _pairs(image, axis)
        image = 0.5 * (first + second)
    return image


def space_to_depth(image: jax.Array) -> jax.Array:
    """Halves every spatial axis by moving each pair into the channels: a window of 2 with stride 2 becomes a window of 1.

    Args:
        image: (N, [Z,] H, W, C), spatial sizes even.

    Returns:
        (N, [Z/2,] H/2, W/2, 2C per axis halved): all of the even pixels, then all of the odd ones, first axis innermost.
    """
    for axis in range(1, image.ndim - 1):
        image = jnp.concatenate(_pairs(image, axis), axis=-1)
    return image


def max_blur_pool(image: jax.Array) -> jax.Array:
    """Halves every spatial axis by a running maximum of two and a binomial blur of three (less aliasing).

    Output j reads pixels 2j-1 ... 2j+2, symmetric about the pair it replaces; borders repeat the edge pixel.
    Source: Zhang, "Making convolutional networks shift-invariant again", ICML 2019; used by N2V2 (Hoeck et al., 2022).

    Args:
        image: (N, [Z,] H, W, C), spatial sizes even.

    Returns:
        (N, [Z/2,] H/2, W/2, C).
    """
    axes = range(1, image.ndim - 1)
    for axis in axes:
        image = jnp.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
        size = image.shape[axis]
        image = jnp.maximum(
            lax.slice_in_dim(image, 0, size - 1, axis=axis), lax.slice_in_dim(image, 1, size, axis=axis)
        )
    for axis in axes:
        size = image.shape[axis]  # odd: running maxima at -1, 0, ..., 2n-1
        before = lax.slice_in_dim(image, 0, size - 2, 2, axis)
        centre = lax.slice_in_dim(image, 1, size - 1, 2, axis)
        after = lax.slice_in_dim(image, 2, size, 2, axis)
        image = 0.25 * (before + after) + 0.5 * centre
    return image


def upsample_nearest(image: jax.Array) -> jax.Array:
    """Doubles every spatial axis by repeating each pixel.

    Args:
        image: (N, [Z,] H, W, C).

    Returns:
        (N, [2Z,] 2H, 2W, C).
    """
    spatial = image.shape[1:-1]
    for axis in range(len(spatial)):
        image = jnp.expand_dims(image, 2 * axis + 2)
    repeated = tuple(size for n in spatial for size in (n, 2))
    image = jnp.broadcast_to(image, (image.shape[0], *repeated, image.shape[-1]))
    return image.reshape(image.shape[0], *(2 * n for n in spatial), image.shape[-1])


def upsample_linear(image: jax.Array) -> jax.Array:
    """Doubles every spatial axis by linear interpolation between pixel centres; borders repeat the edge pixel.

    Args:
        image: (N, [Z,] H, W, C).

    Returns:
        (N, [2Z,] 2H, 2W, C).
    """
    for axis in range(1, image.ndim - 1):
        size = image.shape[axis]
        padded = jnp.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
        before = lax.slice_in_dim(padded, 0, size, axis=axis)
        after = lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        pair = jnp.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=axis + 1)
        image = pair.reshape(*image.shape[:axis], 2 * size, *image.shape[axis + 1 :])
    return image


def _pairs(image: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    size = image.shape[axis]
    return lax.slice_in_dim(image, 0, size, 2, axis), lax.slice_in_dim(image, 1, size, 2, axis)
