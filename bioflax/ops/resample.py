"""Halving and enlarging of channels-last images, aligned with a grid so that tiles equal the whole.

Every halving treats output pixel j as sitting over input pixels 2j and 2j+1; a window that starts at an even pixel
therefore sees the same pairs as the whole image. Enlarging by s puts output pixels i s ... i s + s - 1 on input pixel i.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from bioflax.errors import InputError


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
        image = _interpolated(image, axis, 2)
    return image


def upsample_in_plane(image: jax.Array, factor: int) -> jax.Array:
    """Enlarges H and W by linear interpolation between pixel centres; borders repeat the edge pixel.

    Input pixel i covers output pixels i s ... i s + s - 1, so its centre lies at i s + (s - 1) / 2.

    Args:
        image: (N, [Z,] H, W, C).
        factor: output pixels along an input pixel.

    Returns:
        (N, [Z,] s H, s W, C); factor 1 gives the image itself.
    """
    for axis in (image.ndim - 3, image.ndim - 2) if factor > 1 else ():
        image = _interpolated(image, axis, factor)
    return image


def depth_to_space(image: jax.Array, factor: int) -> jax.Array:
    """Enlarges H and W by moving channels into the plane (a pixel shuffle); undoes `space_to_depth` of (N, H, W, C).

    Of the s s C channels of a pixel, number (dx s + dy) C + c becomes channel c of the output pixel (i s + dy, j s + dx).

    Args:
        image: (N, [Z,] H, W, s s C).
        factor: output pixels along an input pixel, s.

    Returns:
        (N, [Z,] s H, s W, C).

    Raises:
        InputError: the number of channels is no multiple of s s.
    """
    *lead, height, width, channels = image.shape
    if channels % factor**2:
        raise InputError(f"image: expected a multiple of {factor**2} channels to shuffle by {factor}; found {channels}")
    parts = image.reshape(*lead, height, width, factor, factor, channels // factor**2)
    n = len(lead)
    order = (*range(n), n, n + 3, n + 1, n + 2, n + 4)  # H, dy, W, dx, C
    return parts.transpose(order).reshape(*lead, height * factor, width * factor, channels // factor**2)


def _interpolated(image: jax.Array, axis: int, factor: int) -> jax.Array:
    size = image.shape[axis]
    padded = jnp.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
    before = lax.slice_in_dim(padded, 0, size, axis=axis)
    after = lax.slice_in_dim(padded, 2, size + 2, axis=axis)
    phases = []
    for phase in range(factor):
        away = (phase + 0.5) / factor - 0.5  # from the centre of the input pixel, in input pixels
        phases.append((1 - abs(away)) * image + abs(away) * (before if away < 0 else after))
    return jnp.stack(phases, axis=axis + 1).reshape(*image.shape[:axis], factor * size, *image.shape[axis + 1 :])


def _pairs(image: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    size = image.shape[axis]
    return lax.slice_in_dim(image, 0, size, 2, axis), lax.slice_in_dim(image, 1, size, 2, axis)
