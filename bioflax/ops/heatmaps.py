"""From positions to the maps that a net learns: heatmaps, the flow to the nearest spot, centres with offset and size."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.ops.resample import max_pool

FAR = 1e4  # px: where a picture has no spot, the nearest lies this far away


def nearest_points(points: jax.Array, mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The vector from each pixel to the nearest point; inside jit.

    Args:
        points: (N, P, d) px, pixel centres at integers, axes in the order of `shape`.
        mask: (N, P), 0 leaves a point out.
        shape: d sizes, px.

    Returns:
        (N, *shape, d) float32, px; `FAR` along the first axis where there is no point.
    """
    count, dims = points.shape[0], len(shape)
    grids = [
        jnp.arange(size, dtype=jnp.float32).reshape((1,) * (1 + axis) + (-1,) + (1,) * (dims - 1 - axis))
        for axis, size in enumerate(shape)
    ]

    def step(carry: tuple[jax.Array, jax.Array], one: tuple[jax.Array, jax.Array]):
        best, vector = carry
        point, there = one  # (N, d), (N,)
        at = point.reshape(count, dims, *(1,) * dims)
        parts = [at[:, axis] - grids[axis] for axis in range(dims)]
        square = sum(part * part for part in parts)
        nearer = (square < best) & (there.reshape(count, *(1,) * dims) > 0)
        vector = [jnp.where(nearer, part, old) for part, old in zip(parts, vector)]
        return (jnp.where(nearer, square, best), vector), None

    full = (count, *shape)
    start = [jnp.full(full, FAR if axis == 0 else 0.0, jnp.float32) for axis in range(dims)]
    carry = (jnp.full(full, FAR**2, jnp.float32), start)
    (_, vector), _ = lax.scan(step, carry, (jnp.moveaxis(points, 1, 0).astype(jnp.float32), jnp.moveaxis(mask, 1, 0)))
    return jnp.stack(vector, axis=-1)


def gaussian_heatmap(vector: jax.Array, sigma_px: float) -> jax.Array:
    """exp(-r^2 / 2 sigma^2) of the nearest spot: (N, *space, d) px to (N, *space, 1)."""
    return jnp.exp(-0.5 * jnp.sum(vector * vector, -1, keepdims=True) / sigma_px**2)


def stereographic_flow(vector: jax.Array, sigma_px: float) -> jax.Array:
    """The vector to the nearest spot as a point of a sphere, so that far and near have one scale.

    Args:
        vector: (..., d) px.
        sigma_px: distance that lies on the equator.

    Returns:
        (..., 1 + d): (-(r^2 - sigma^2), 2 sigma vector) / (r^2 + sigma^2), of length 1.

    Source: Dominguez Mantes et al., "Spotiflow", Nature Methods 2025, methods.
    """
    square = jnp.sum(vector * vector, -1, keepdims=True)
    below = square + sigma_px**2
    return jnp.concatenate([(sigma_px**2 - square) / below, 2.0 * sigma_px * vector / below], axis=-1)


def invert_flow(flow: jax.Array, sigma_px: float) -> jax.Array:
    """The inverse of `stereographic_flow`: (..., 1 + d) to (..., d) px."""
    return sigma_px * flow[..., 1:] / jnp.maximum(1.0 + flow[..., :1], 1e-6)


def coarser_heatmap(heatmap: jax.Array, factor: int, sigma_px: float) -> jax.Array:
    """The heatmap of a coarser level: maximum of each block, blurred, times 2 pi sigma^2 (also in 3-D, as published), clipped.

    In 2-D a lone pixel of 1 so keeps its 1.

    Args:
        heatmap: (N, *space, 1) at full resolution, sizes multiples of `factor`.
        factor: a power of two; 1 returns the heatmap.
        sigma_px: of the blur, in cells.

    Returns:
        (N, *space / factor, 1) in [0, 1].

    Source: `multiscale_decimate` of spotiflow 0.6.5.
    """
    if factor == 1:
        return heatmap
    for _ in range(factor.bit_length() - 1):
        heatmap = max_pool(heatmap)
    radius = int(4.0 * sigma_px + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    dims = heatmap.ndim - 2
    for axis in range(1, 1 + dims):
        pads = [(radius, radius) if a == axis else (0, 0) for a in range(heatmap.ndim)]
        padded = jnp.pad(heatmap, pads, mode="symmetric")
        size = heatmap.shape[axis]
        heatmap = sum(
            float(weight) * lax.slice_in_dim(padded, at, at + size, axis=axis) for at, weight in enumerate(weights)
        )
    return jnp.clip(2.0 * math.pi * sigma_px**2 * heatmap, 0.0, 1.0)


def label_boxes(labels: jax.Array, capacity: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The bounding box of each object; inside jit.

    Args:
        labels: (N, *space) integers of any size, 0 is background. Objects are counted in the order of their labels;
            those beyond `capacity` are left out.
        capacity: P, most objects of a picture.

    Returns:
        centre (N, P, d) px, size (N, P, d) px (1 for a single pixel), mask (N, P) float32.
    """
    space = labels.shape[1:]

    def one(picture: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        # Labels count over a whole image: of a patch they are numbered anew. The first entry is the background.
        with_background = jnp.concatenate([jnp.zeros(1, picture.dtype), jnp.maximum(picture.ravel(), 0)])
        order = jnp.unique(with_background, return_inverse=True, size=capacity + 2, fill_value=-1)[1][1:]
        number = jnp.where(order <= capacity, order, 0)
        low, high = [], []
        for axis, size in enumerate(space):
            at = jnp.broadcast_to(jnp.arange(size).reshape([-1 if a == axis else 1 for a in range(len(space))]), space)
            low.append(jnp.full(capacity + 1, size, jnp.int32).at[number].min(at.ravel(), mode="promise_in_bounds"))
            high.append(jnp.full(capacity + 1, -1, jnp.int32).at[number].max(at.ravel(), mode="promise_in_bounds"))
        low, high = jnp.stack(low, -1)[1:], jnp.stack(high, -1)[1:]
        there = high[:, 0] >= 0
        centre = jnp.where(there[:, None], 0.5 * (low + high), 0.0)
        return centre, jnp.where(there[:, None], high - low + 1.0, 0.0), there.astype(jnp.float32)

    return jax.vmap(one)(labels)


def centre_maps(
    centre: jax.Array, size: jax.Array, mask: jax.Array, shape: tuple[int, ...], grid: int, *, least_sigma: float = 1.0
) -> dict[str, jax.Array]:
    """CenterNet's targets: a Gaussian around each centre as wide as the object allows, offset and size at the centres.

    The cell of a centre is the one whose pixel `grid * cell` lies nearest; sigma is a sixth of the smaller side, at least
    `least_sigma` cells. Where two Gaussians meet the larger value holds; where two centres share a cell the later row holds.

    Args:
        centre: (N, P, d) px.
        size: (N, P, d) px.
        mask: (N, P).
        shape: cells along each axis.
        grid: pixels of a cell.
        least_sigma: cells.

    Returns:
        "heatmap" (N, *shape, 1), 1 at centres; "offset" and "size" (N, *shape, d), cells; "positive" (N, *shape, 1).

    Source: Zhou et al., "Objects as points", 2019.
    """
    dims = len(shape)
    place = centre / grid
    cell = jnp.clip(jnp.round(place), 0, jnp.asarray(shape) - 1).astype(jnp.int32)
    sigma = jnp.maximum(jnp.min(size, -1) / grid / 6.0, least_sigma)

    def one(cell: jax.Array, sigma: jax.Array, mask: jax.Array) -> jax.Array:
        def add(heat: jax.Array, item: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            at, width, there = item
            square = sum(
                (jnp.arange(n, dtype=jnp.float32) - at[a]).reshape([-1 if b == a else 1 for b in range(dims)]) ** 2
                for a, n in enumerate(shape)
            )
            return jnp.maximum(heat, there * jnp.exp(-0.5 * square / width**2)), None

        return lax.scan(add, jnp.zeros(shape, jnp.float32), (cell, sigma, mask))[0]

    heatmap = jax.vmap(one)(cell, sigma, mask)
    # Points that are not there are written to a cell beyond the map and dropped. The row that holds a cell is found first:
    # of several writes to one place a GPU keeps any.
    safe = jnp.where(mask[..., None] > 0, cell, jnp.asarray(shape))
    example = jnp.broadcast_to(jnp.arange(centre.shape[0])[:, None], mask.shape)
    index = (example, *(safe[..., axis] for axis in range(dims)))
    rank = jnp.broadcast_to(jnp.arange(1, mask.shape[1] + 1), mask.shape)
    holder = jnp.zeros((centre.shape[0], *shape), jnp.int32).at[index].max(rank, mode="drop")

    def written(values: jax.Array) -> jax.Array:
        row = jnp.maximum(holder - 1, 0).reshape(centre.shape[0], -1)
        taken = jnp.take_along_axis(values, row[..., None], axis=1).reshape(*holder.shape, values.shape[-1])
        return jnp.where(holder[..., None] > 0, taken, 0.0)

    return {
        "heatmap": heatmap[..., None],
        "offset": written(place - cell),
        "size": written(size / grid),
        "positive": written(jnp.ones((*mask.shape, 1), jnp.float32)),
    }
