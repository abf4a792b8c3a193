"""Blind spots: which pixels to hide from a net, and what to put in their place (Noise2Void, N2V2, structN2V).

All functions are jittable with static shapes. Images are (N, *space, C); `space` is (H, W) or (Z, H, W).
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

REPLACEMENTS = ("uniform", "mean", "median")


def box_side(percent: float, dims: int) -> int:
    """Side of the boxes that hold one blind spot each: round((100 / percent)^(1/dims)) (n2v: 22 px for 0.198 % in 2-D)."""
    return max(1, round((100.0 / percent) ** (1.0 / dims)))


def draw_coordinates(key: jax.Array, n: int, space: tuple[int, ...], percent: float) -> jax.Array:
    """Draws stratified blind spots: one, uniformly placed, in each box of a grid over the patch (Krull 2019).

    Args:
        key: random key.
        n: number of images.
        space: spatial shape, (H, W) or (Z, H, W), pixels.
        percent: share of blind-spot pixels, in percent.

    Returns:
        (n, boxes, dims) int32 pixel coordinates, all inside the patch.
    """
    side = box_side(percent, len(space))
    starts = np.array(list(itertools.product(*(range(0, size, side) for size in space))), np.int32)
    # A box cut by the border is sampled over its inner part, so every box has its blind spot.
    lengths = np.minimum(side, np.array(space, np.int32) - starts)
    unit = jax.random.uniform(key, (n, *starts.shape))
    return starts + jnp.minimum((unit * lengths).astype(jnp.int32), lengths - 1)


def mark(coordinates: jax.Array, space: tuple[int, ...]) -> jax.Array:
    """(n, boxes, dims) coordinates -> (n, *space, 1) float32 mask, 1 at the blind spots."""
    n = coordinates.shape[0]
    index = (jnp.arange(n)[:, None], *jnp.moveaxis(coordinates, -1, 0))
    return jnp.zeros((n, *space), jnp.float32).at[index].set(1.0)[..., None]


def replace(
    key: jax.Array,
    image: jax.Array,
    coordinates: jax.Array,
    *,
    replacement: str = "uniform",
    radius: int = 5,
    structure: tuple[tuple[int, ...], ...] = (),
) -> jax.Array:
    """Puts something else in the place of every blind spot.

    The new value is made of pixels of a (2 radius + 1)^dims window, moved inwards at the border. Left out are the blind
    spot itself, every other blind spot, and (with `structure`) the pixels whose noise is correlated with it: a value that is
    hidden here cannot come back through a neighbour. The published `uniform_withCP` allows both leaks.

    Args:
        key: random key.
        image: (N, *space, C).
        coordinates: (N, boxes, dims), from `draw_coordinates`.
        replacement: `uniform` (one random neighbour, Krull 2019), `mean` or `median` of the neighbours (N2V2, Hoeck 2022).
        radius: half width of the window, pixels.
        structure: blocks around a blind spot whose noise is correlated with it, each given by its half extents (one per
            spatial axis, pixels); these pixels are hidden too, behind uniform noise in [-2, 2] (structN2V, Broaddus 2020;
            the image is expected in units of its standard deviation). ((0, 2),) is a line of 5 along x.

    Returns:
        The image with its blind spots filled, (N, *space, C).
    """
    space, dims = image.shape[1:-1], coordinates.shape[-1]
    key_pick, key_hide = jax.random.split(key)
    radii = [min(radius, (size - 1) // 2) for size in space]
    window = np.array(list(itertools.product(*(range(2 * r + 1) for r in radii))), np.int32)
    first = jnp.stack(
        [jnp.clip(coordinates[..., d] - radii[d], 0, space[d] - 2 * radii[d] - 1) for d in range(dims)], -1
    )
    neighbours = first[..., None, :] + window
    rows = jnp.arange(image.shape[0])[:, None, None]
    index = (rows, *jnp.moveaxis(neighbours, -1, 0))
    away = jnp.abs(neighbours - coordinates[..., None, :])
    hidden = mark(coordinates, space)[..., 0][index] > 0
    for block in structure:
        hidden = hidden | jnp.all(away <= jnp.asarray(block, jnp.int32), -1)
    values = _combine(key_pick, image[index], ~hidden, replacement)
    for number, block in enumerate(structure):
        image = _hide_block(jax.random.fold_in(key_hide, number), image, coordinates, block)
    centre = (rows[..., 0], *jnp.moveaxis(coordinates, -1, 0))
    return image.at[centre].set(values)


def _combine(key: jax.Array, values: jax.Array, allowed: jax.Array, replacement: str) -> jax.Array:
    """(N, boxes, K, C) window values and (N, boxes, K) permission -> (N, boxes, C)."""
    number = jnp.sum(allowed, -1)
    if replacement == "uniform":
        score = jnp.where(allowed, jax.random.uniform(key, allowed.shape), -1.0)
        return jnp.take_along_axis(values, jnp.argmax(score, -1)[..., None, None], -2)[..., 0, :]
    if replacement == "mean":
        return jnp.sum(jnp.where(allowed[..., None], values, 0.0), -2) / number[..., None]
    ordered = jnp.sort(jnp.where(allowed[..., None], values, jnp.inf), axis=-2)
    low, high = (number - 1) // 2, number // 2
    pick = lambda rank: jnp.take_along_axis(ordered, rank[..., None, None], -2)[..., 0, :]  # noqa: E731
    return 0.5 * (pick(low) + pick(high))


def _hide_block(key: jax.Array, image: jax.Array, coordinates: jax.Array, block: tuple[int, ...]) -> jax.Array:
    offsets = np.array(list(itertools.product(*(range(-half, half + 1) for half in block))), np.int32)
    limits = jnp.asarray(image.shape[1:-1], jnp.int32) - 1
    pixels = jnp.clip(coordinates[..., None, :] + offsets, 0, limits)
    index = (jnp.arange(image.shape[0])[:, None, None], *jnp.moveaxis(pixels, -1, 0))
    noise = jax.random.uniform(key, (*pixels.shape[:-1], image.shape[-1]), minval=-2.0, maxval=2.0)
    return image.at[index].set(noise)
