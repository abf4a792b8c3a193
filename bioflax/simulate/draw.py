"""Drawing inside jit: static shapes, anti-aliased, the same result on every run.

Positions are in pixels from the outer corner of the first pixel, (y, x), so a pixel's centre lies at a half.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.optics import noise, psf

# Light is summed in whole steps of 2^-16: integer sums do not depend on their order, floating ones do on a GPU.
_STEPS = 2.0**16
_SMALLEST_CELL_PX = 3.0
_SPLINE_POWER = 151.0 / 315.0  # integral of the squared cubic B-spline


def smooth_noise(key: jax.Array, shape: tuple[int, int], cell_px: jax.Array) -> jax.Array:
    """Smooth Gaussian noise: cubic B-splines over a grid of random values.

    Args:
        key: typed key.
        shape: (H, W) in pixels.
        cell_px: grid spacing, about the size of the blotches; at least 3.

    Returns:
        (H, W), mean 0, standard deviation about 1.
    """
    cell_px = jnp.maximum(cell_px, _SMALLEST_CELL_PX)
    cells = [math.ceil(size / _SMALLEST_CELL_PX) + 4 for size in shape]
    value_key, shift_key = jax.random.split(key)
    values = noise.normal(value_key, tuple(cells))
    shift = noise.uniform(shift_key, (2,))
    rows, columns = (
        _cubic_spline((jnp.arange(size) / cell_px + shift[axis] + 1.0)[:, None] - jnp.arange(count)[None, :])
        for axis, (size, count) in enumerate(zip(shape, cells))
    )
    return (rows @ values @ columns.T) / _SPLINE_POWER


def curves(*, start: jax.Array, heading: jax.Array, turns: jax.Array, step_px: jax.Array, points: int) -> jax.Array:
    """Smooth curves through wandering headings, rounded by a cubic B-spline.

    Args:
        start: (P, 2) middle of each curve, (y, x) in px.
        heading: (P,) radians before the first knot.
        turns: (P, knots) change of heading at each knot, radians.
        step_px: distance between knots.
        points: points per curve.

    Returns:
        (P, points, 2) positions, about evenly spaced.
    """
    knots = turns.shape[1]
    angle = heading[:, None] + jnp.cumsum(turns, axis=1)
    path = jnp.cumsum(step_px * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1), axis=1)
    path += (start - path[:, knots // 2])[:, None, :]
    return jnp.einsum("sk,pkc->psc", _spline_basis(knots, points), path)


def along(values: jax.Array, points: int) -> jax.Array:
    """Spreads (P, knots) values smoothly over the (P, points) of `curves`."""
    return values @ _spline_basis(values.shape[-1], points).T


def splat(positions: jax.Array, light: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Adds points of light to an image, each shared by its four nearest pixels.

    Args:
        positions: (..., 2), (y, x) in px.
        light: (...) light of each point, below 32,768 in sum per pixel. Rounded, so no gradient passes: multiply
            the image by a factor that needs one.
        shape: (H, W) in pixels.

    Returns:
        (H, W) light per pixel; light outside the image is lost.
    """
    height, width = shape
    low = jnp.floor(positions - 0.5)
    share_y, share_x = jnp.moveaxis(positions - 0.5 - low, -1, 0)
    # One pixel of rim on each side keeps all four neighbours of a point inside, so no index is checked.
    row, column = jnp.moveaxis(low.astype(jnp.int32) + 1, -1, 0)
    inside = (row >= 0) & (row <= height) & (column >= 0) & (column <= width)
    light = jnp.where(inside, _STEPS * light, 0.0)
    first = (jnp.clip(row, 0, height) * (width + 2) + jnp.clip(column, 0, width)).ravel()
    shares = (
        (1.0 - share_y) * (1.0 - share_x),
        (1.0 - share_y) * share_x,
        share_y * (1.0 - share_x),
        share_y * share_x,
    )
    steps = jnp.concatenate([jnp.round(light * share).astype(jnp.int32).ravel() for share in shares])
    index = jnp.concatenate([first + corner for corner in (0, 1, width + 2, width + 3)])
    index, steps = jax.lax.optimization_barrier((index, steps))  # else each corner draws the random numbers again
    image = jnp.zeros((height + 2) * (width + 2), jnp.int32).at[index].add(steps, mode="promise_in_bounds")
    return image.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(jnp.float32) / _STEPS


def spots(positions: jax.Array, light: jax.Array, sigma_px: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Sum of Gaussian spots integrated over pixels, as one matrix product.

    Args:
        positions: (P, 2), (y, x) in px.
        light: (P,) light of each spot.
        sigma_px: (P,) standard deviation.
        shape: (H, W) in pixels.

    Returns:
        (H, W) light per pixel.
    """
    y, x = jnp.moveaxis(positions, -1, 0)
    rows = psf.gaussian_shares(shape[0], centre_nm=y, sigma_nm=sigma_px, pixel_nm=1.0)
    columns = psf.gaussian_shares(shape[1], centre_nm=x, sigma_nm=sigma_px, pixel_nm=1.0)
    return jnp.einsum("p,pi,pj->ij", light, rows, columns)


def ellipsoids(
    centre: jax.Array, radii: jax.Array, angle: jax.Array, light: jax.Array, warp: jax.Array, *, edge_px: jax.Array
) -> jax.Array:
    """Sum of ellipses that are thicker in the middle, on coordinates that a smooth field bends.

    Args:
        centre: (P, 2), (y, x) in px.
        radii: (P, 2) half axes, px.
        angle: (P,) radians.
        light: (P,) brightness, 0 for none.
        warp: (2, H, W) displacement (y, x), px: makes outlines irregular.
        edge_px: width of the rim over which the brightness rises, at least one pixel is used.

    Returns:
        (H, W), about `light` inside, 0 outside.
    """
    height, width = warp.shape[1:]
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + 0.5 + warp[0]
    x = jnp.arange(width, dtype=jnp.float32)[None, :] + 0.5 + warp[1]
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    # Squared distance in units of the half axes is a quadratic form: six numbers an ellipse.
    long, short = 1.0 / radii[:, 0] ** 2, 1.0 / radii[:, 1] ** 2
    yy = long * sine**2 + short * cosine**2
    xx = long * cosine**2 + short * sine**2
    yx = 2.0 * (long - short) * sine * cosine
    softness = 0.5 * radii.min(axis=1) / jnp.maximum(edge_px, 1.0)

    def add(total: jax.Array, one: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        (cy, cx), yy, xx, yx, softness, light = one
        dy, dx = y - cy, x - cx
        square = dy * (yy * dy + yx * dx) + xx * dx * dx
        cover = jnp.clip(0.5 + softness * (1.0 - square), 0.0, 1.0)
        return total + light * cover * (0.45 + 0.55 * jnp.sqrt(jnp.clip(1.0 - square, 1e-6, 1.0))), None

    # A scan over ellipses, each a whole picture: on a CPU six times faster than a sum over the leading axis.
    ellipses = (centre, yy, xx, yx, softness, light)
    return jax.lax.scan(add, jnp.zeros((height, width), jnp.float32), ellipses, unroll=4)[0]


def _cubic_spline(t: jax.Array) -> jax.Array:
    """The cubic B-spline, non-zero for |t| < 2."""
    t = jnp.abs(t)
    return jnp.where(t < 1.0, 2.0 / 3.0 - t * t + 0.5 * t**3, jnp.maximum(2.0 - t, 0.0) ** 3 / 6.0)


def _spline_basis(knots: int, points: int) -> np.ndarray:
    """(points, knots) weights of a uniform cubic B-spline that stays inside its knots."""
    t = np.abs(np.linspace(1.0, knots - 2.0, points)[:, None] - np.arange(knots)[None, :])
    basis = np.where(t < 1.0, 2.0 / 3.0 - t**2 + 0.5 * t**3, np.maximum(2.0 - t, 0.0) ** 3 / 6.0)
    return basis.astype(np.float32)
