"""From label images to what a star-convex net learns: how deep a pixel lies in its object, how far the outline is."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.errors import InputError

CHUNK = 2048  # cells whose rays march together: the farthest of them ends the march


@partial(jax.jit, static_argnames=("rays", "grid"))
def ray_distances(labels: jax.Array, *, rays: int = 32, grid: int = 1) -> jax.Array:
    """How far it is from a pixel, along each ray, to where its object ends; inside jit.

    A ray goes in steps of one pixel and looks at the nearest pixel; where that no longer has the label of the start, or
    lies outside the image, the outline is taken half a pixel before it along the ray's main axis: after n steps the
    distance is n - 1 + 0.5 / max(|dy|, |dx|). Only cells of objects march, a chunk at a time, so the time grows with their
    number.
    Source: Schmidt et al., MICCAI 2018; the rule is that of `star_dist` in stardist 0.9.2.

    Args:
        labels: (N, H, W) integers, 0 is background.
        rays: R, directions (row, column) = (sin, cos)(2 pi k / R).
        grid: every how many pixels, starting at the first, distances are asked for.

    Returns:
        (N, ceil(H / grid), ceil(W / grid), R) float32, px; 0 on background.

    Raises:
        InputError: labels of other dimensions or type.
    """
    if labels.ndim != 3 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(f"labels: expected (N, H, W) integers; found {labels.dtype} of shape {tuple(labels.shape)}")
    _, height, width = labels.shape
    angle = 2.0 * np.pi * np.arange(rays) / rays
    row_step, column_step = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
    half = (0.5 / np.maximum(np.abs(row_step), np.abs(column_step))).astype(np.float32)

    # A rim of -1 ends every ray at the border, so no index is checked.
    walled = jnp.pad(labels.astype(jnp.int32), ((0, 0), (1, 1), (1, 1)), constant_values=-1).ravel()
    line, picture = width + 2, (height + 2) * (width + 2)
    coarse = labels[:, ::grid, ::grid]
    cells = coarse.size
    inside = coarse.ravel() > 0
    places = -(-cells // CHUNK) * CHUNK
    (listed,) = jnp.nonzero(inside, size=places, fill_value=0)
    number = jnp.sum(inside)
    per_picture = coarse.shape[1] * coarse.shape[2]

    def march(at: jax.Array) -> jax.Array:
        cell = lax.dynamic_slice(listed, (at,), (CHUNK,))
        real = at + jnp.arange(CHUNK) < number
        row = (cell % per_picture) // coarse.shape[2] * grid
        column = cell % coarse.shape[2] * grid
        first = (cell // per_picture) * picture + (row + 1) * line + column + 1
        own = walled[first]

        def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            steps, going, number = carry
            down = jnp.round(number * row_step).astype(jnp.int32)
            along = jnp.round(number * column_step).astype(jnp.int32)
            # A ray that has ended stays where it is: at home.
            moved = jnp.where(going, (down * line + along)[None], 0)
            going &= walled.at[first[:, None] + moved].get(mode="promise_in_bounds") == own[:, None]
            return steps + going, going, number + 1.0

        going = jnp.broadcast_to(real[:, None], (CHUNK, rays))
        steps, _, _ = lax.while_loop(
            lambda carry: jnp.any(carry[1]), step, (jnp.zeros((CHUNK, rays), jnp.float32), going, jnp.float32(1.0))
        )
        return steps + half

    def fill(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        at, distances = carry
        return at + CHUNK, lax.dynamic_update_slice(distances, march(at), (at, 0))

    empty = (jnp.int32(0), jnp.zeros((places, rays), jnp.float32))
    _, distances = lax.while_loop(lambda carry: carry[0] < number, fill, empty)
    rank = jnp.where(inside, jnp.cumsum(inside) - 1, 0)
    return jnp.where(inside[:, None], distances[rank], 0.0).reshape(*coarse.shape, rays)


def object_interiors(labels: np.ndarray) -> np.ndarray:
    """How deep each pixel lies in its object: Euclidean distance to the nearest pixel outside, over its maximum.

    The border of the image is no outline: an object that it cuts is thought to go on. Runs on the host.
    Source: the probability target of StarDist (`edt_prob` in stardist 0.9.2).

    Args:
        labels: (Y, X) or (Z, Y, X) integers, 0 is background.

    Returns:
        float32 of the same shape, in (0, 1] on objects and 0 on background; 1 throughout an object that fills the image.
    """
    from scipy import ndimage  # slow to import, and needed by no prediction

    interior = np.zeros(labels.shape, np.float32)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        grown = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        inside = labels[grown] == label
        # An object without any pixel outside has no distance; it is even.
        depth = ndimage.distance_transform_edt(inside) if not inside.all() else inside.astype(float)
        interior[grown][inside] = (depth / max(depth.max(), 1e-10))[inside]
    return interior
