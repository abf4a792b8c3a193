"""Light that does not come from emitters: even, rising across the field, blotchy, or as Perlin noise; inside jit."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from bioflax.optics import noise
from bioflax.simulate.draw import smooth_noise

SMALLEST_CELL_PX = 3.0


def draw_background(
    key: jax.Array,
    level: jax.Array,
    shape: tuple[int, int],
    *,
    gradient: jax.Array = 0.0,
    structure: jax.Array = 0.0,
    structure_px: jax.Array = 12.0,
    perlin: jax.Array = 0.0,
    perlin_px: jax.Array = 32.0,
) -> jax.Array:
    """One background.

    Args:
        key: typed key.
        level: photons per pixel.
        shape: (H, W) in pixels.
        gradient: rise from one edge to the other over the level, in a random direction; the mean stays unless light is cut at 0.
        structure: standard deviation of blotches over the level.
        structure_px: about the size of a blotch.
        perlin: largest deviation of Perlin noise over the level.
        perlin_px: side of its cells.

    Returns:
        (H, W) photons per pixel, at least 0.
    """
    tilt_key, perlin_key = jax.random.split(jax.random.fold_in(key, 1))
    relative = 1.0 + structure * smooth_noise(key, shape, structure_px)
    relative += gradient * slope(tilt_key, shape) + perlin * perlin_noise(perlin_key, shape, perlin_px)
    return level * jnp.maximum(relative, 0.0)


def slope(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """(H, W) plane in a random direction, mean 0; its ends differ by 1 along that direction."""
    turn = 2.0 * math.pi * noise.uniform(key, ())
    y, x = ((jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5 for size in shape)
    across = jnp.sin(turn) * y[:, None] + jnp.cos(turn) * x[None, :]
    return across / (jnp.abs(jnp.sin(turn)) + jnp.abs(jnp.cos(turn)))


def perlin_noise(key: jax.Array, shape: tuple[int, int], cell_px: jax.Array) -> jax.Array:
    """Gradient noise on a square lattice, one octave.

    Args:
        key: typed key.
        shape: (H, W) in pixels.
        cell_px: side of a cell, at least 3.

    Returns:
        (H, W) within -1 and 1, 0 at the lattice points.

    Source: K. Perlin, ACM Trans. Graph. 21 (2002), with the fade 6 t^5 - 15 t^4 + 10 t^3.
    """
    cell_px = jnp.maximum(cell_px, SMALLEST_CELL_PX)
    turn_key, shift_key = jax.random.split(key)
    nodes = [math.ceil(size / SMALLEST_CELL_PX) + 3 for size in shape]
    turn = 2.0 * math.pi * noise.uniform(turn_key, tuple(nodes))
    shift = noise.uniform(shift_key, (2,))
    at = [(jnp.arange(size, dtype=jnp.float32) + 0.5) / cell_px + shift[axis] for axis, size in enumerate(shape)]
    whole = [jnp.floor(place).astype(jnp.int32) for place in at]
    (t, s), total = (place - corner for place, corner in zip(at, whole)), 0.0
    fade = [(6.0 * u - 15.0) * u**4 + 10.0 * u**3 for u in (t, s)]
    for down in (0, 1):
        for right in (0, 1):
            angle = turn[(whole[0] + down)[:, None], (whole[1] + right)[None, :]]
            rise = jnp.sin(angle) * (t - down)[:, None] + jnp.cos(angle) * (s - right)[None, :]
            weight = jnp.abs(1.0 - down - fade[0])[:, None] * jnp.abs(1.0 - right - fade[1])[None, :]
            total = total + weight * rise
    return math.sqrt(2.0) * total
