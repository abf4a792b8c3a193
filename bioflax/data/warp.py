"""One smooth warp for image, labels, maps and positions, inside jit: displacement, zoom and rotation in the plane.

Positions are in pixels with pixel centres at integers, (y, x) or (z, y, x). Volumes are warped in the plane only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.typing import Batch

Span = float | Sequence[float]
OUTSIDE = ("edge", "mirror")
_INVERSION_STEPS = 12
_SPLINE_RMS = 151.0 / 315.0  # of cubic B-splines over a plane of standard normal knots: the integral of B squared
_STEEPEST = 1 / 8  # of amplitude over cell: slopes then stay below 1 to seven deviations, so the warp folds nowhere


def pair(span: Span) -> tuple[float, float]:
    """(low, high) of a span; a number twice."""
    return (float(span[0]), float(span[1])) if isinstance(span, Sequence) else (float(span), float(span))


def within(span: Span, share: jax.Array) -> jax.Array:
    """The value at a share (0 to 1) of the way through a span."""
    low, high = pair(span)
    return low + (high - low) * share


def check_warp(amplitude_px: Span, cell_px: float, zoom: Span | None) -> None:
    """InputError for a displacement so steep that it may fold, or a zoom that is not positive."""
    if min(pair(amplitude_px)) < 0:
        raise InputError(f"elastic_px: expected at least 0, found {amplitude_px}; 0 leaves it out")
    most = max(pair(amplitude_px))
    if not cell_px > 0 or most > _STEEPEST * cell_px:
        raise InputError(
            f"elastic_cell_px: expected at least {max(most / _STEEPEST, 1.0):g}, eight times the amplitude of {most:g} px, so "
            f"that nothing folds, found {cell_px:g}; raise it or lower elastic_px"
        )
    if zoom and not min(pair(zoom)) > 0:
        raise InputError(f"zoom: expected above 0, found {zoom}; 1 keeps the size, null leaves it out")


def elastic(
    key: jax.Array,
    image: jax.Array,
    *,
    amplitude_px: Span = 0.0,
    cell_px: float = 32.0,
    zoom: Span | None = None,
    rotate: float = 0.0,
    labels: jax.Array | None = None,
    maps: jax.Array | None = None,
    points: jax.Array | None = None,
    outside: str = "edge",
) -> Batch:
    """Warps each example by a smooth random displacement, a zoom and a rotation about its middle: one interpolation.

    Args:
        key: typed key.
        image: (N, [Z,] H, W, C), interpolated linearly.
        amplitude_px: standard deviation of the displacement along each axis; a pair draws one per example.
        cell_px: spacing of the grid of cubic B-splines, about the size of its bulges; at least 8 amplitudes.
        zoom: magnification; a pair draws one per example, evenly in the logarithm.
        rotate: largest angle either way, degrees.
        labels: (N, [Z,] H, W) integers, of the nearest pixel.
        maps: (N, [Z,] H, W), interpolated linearly.
        points: (N, P, 2 or 3) px.
        outside: what comes in from beyond the border: "edge" repeats the last pixel, "mirror" mirrors the picture
            (realistic, but for positions it would show objects that the list lacks).

    Returns:
        "image" and whichever of "labels", "maps", "points" were given, the same shapes; with points also "inside": (N, P)
        bool, those that still lie in the picture.

    Raises:
        InputError: a displacement so steep that it would fold, a zoom that is not positive.
    """
    n, (height, width) = len(image), image.shape[-3:-1]
    if outside not in OUTSIDE:
        raise InputError(f"outside: expected one of {', '.join(OUTSIDE)}, found {outside!r}")
    if min(height, width) < 2:
        raise InputError(f"image: expected at least 2 x 2 pixels to warp, found {height} x {width}")
    warp = _draw_warp(key, n, (height, width), amplitude_px, cell_px, zoom, rotate)
    grid = jnp.meshgrid(jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32), indexing="ij")
    y, x = _source(warp, jnp.stack(grid), _displacement(warp, jnp.arange(height), jnp.arange(width)))
    if outside == "mirror":
        y, x = _mirrored(y, height), _mirrored(x, width)
    y, x = jnp.clip(y, 0.0, height - 1.0), jnp.clip(x, 0.0, width - 1.0)
    warped = {}
    if maps is None:
        warped["image"] = _linear(image, y, x)
    else:
        both = _linear(jnp.concatenate([image, maps[..., None].astype(image.dtype)], axis=-1), y, x)
        warped["image"], warped["maps"] = both[..., :-1], both[..., -1].astype(maps.dtype)
    if labels is not None:
        index = jnp.round(y).astype(jnp.int32) * width + jnp.round(x).astype(jnp.int32)
        warped["labels"] = _unrolled(_gather(_rolled(labels[..., None]), index), labels[..., None].shape)[..., 0]
    if points is not None:
        moved = _moved(warp, points[..., -2:])
        warped["points"] = jnp.concatenate([points[..., :-2], moved], axis=-1)
        size = jnp.asarray([height, width])
        warped["inside"] = jnp.all((moved >= -0.5) & (moved < size - 0.5), axis=-1)
    return warped


def _draw_warp(
    key: jax.Array, n: int, shape: tuple[int, int], amplitude_px: Span, cell_px: float, zoom: Span | None, rotate: float
) -> dict[str, Any]:
    """A warp from the picture made to the picture given: source = middle + matrix (place - middle) + displacement."""
    check_warp(amplitude_px, cell_px, zoom)
    share_key, knot_key = jax.random.split(key)
    share = noise.uniform(share_key, (3, n))
    angle = math.radians(rotate) * (2.0 * share[0] - 1.0)
    low, high = pair(1.0 if zoom is None else zoom)
    magnified = low * (high / low) ** share[1]
    sine, cosine = jnp.sin(angle) / magnified, jnp.cos(angle) / magnified
    warp = {"matrix": jnp.stack([cosine, -sine, sine, cosine], axis=-1).reshape(n, 2, 2)}
    warp["back"] = magnified[:, None, None] ** 2 * jnp.swapaxes(
        warp["matrix"], 1, 2
    )  # the inverse of a turn and a zoom
    warp["middle"] = 0.5 * (jnp.asarray(shape, jnp.float32) - 1.0)
    if max(pair(amplitude_px)) > 0:
        knots = tuple(math.ceil(size / cell_px) + 4 for size in shape)
        amplitude = within(amplitude_px, share[2]) / _SPLINE_RMS
        warp["knots"] = amplitude[:, None, None, None] * noise.normal(knot_key, (n, 2, *knots))
        warp["cell_px"] = cell_px
    return warp


def _displacement(warp: dict[str, Any], y: jax.Array, x: jax.Array) -> jax.Array:
    """(N, 2, H, W) on the grid of rows (H,) and columns (W,); or 0."""
    if "knots" not in warp:
        return jnp.zeros((2, 1, 1))
    rows, columns = (_spline(place / warp["cell_px"], count) for place, count in zip((y, x), warp["knots"].shape[-2:]))
    return jnp.einsum("hi,ndij,wj->ndhw", rows, warp["knots"], columns, precision="highest")


def _moved(warp: dict[str, Any], points: jax.Array) -> jax.Array:
    """Where points (N, P, 2) of the picture given are in the one made: the inverse of the warp by fixed-point steps."""
    back = warp["back"][:, None]
    start = points - warp["middle"]

    def to_made(offset: jax.Array) -> jax.Array:
        return jnp.sum(back * (start - offset)[:, :, None, :], axis=-1) + warp["middle"]

    place = to_made(jnp.zeros_like(points))
    if "knots" not in warp:
        return place

    def closer(_: int, place: jax.Array) -> jax.Array:
        rows, columns = (
            _spline(place[..., axis] / warp["cell_px"], count) for axis, count in enumerate(warp["knots"].shape[-2:])
        )
        return to_made(jnp.einsum("npi,ndij,npj->npd", rows, warp["knots"], columns, precision="highest"))

    return jax.lax.fori_loop(0, _INVERSION_STEPS, closer, place)


def _source(warp: dict[str, Any], grid: jax.Array, displacement: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(N, H, W) rows and columns of the picture given, for each pixel of the one made."""
    y, x = grid - warp["middle"][:, None, None]
    middle, matrix = warp["middle"], warp["matrix"][:, :, :, None, None]
    rows = middle[0] + matrix[:, 0, 0] * y + matrix[:, 0, 1] * x + displacement[..., 0, :, :]
    columns = middle[1] + matrix[:, 1, 0] * y + matrix[:, 1, 1] * x + displacement[..., 1, :, :]
    return rows, columns


def _linear(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Linear interpolation of (N, [Z,] H, W, C) at rows and columns (N, H, W) inside the picture."""
    flat, (height, width) = _rolled(image), image.shape[-3:-1]
    top, left = jnp.minimum(jnp.floor(y), height - 2.0), jnp.minimum(jnp.floor(x), width - 2.0)
    down, right = (y - top).reshape(len(image), -1, 1), (x - left).reshape(len(image), -1, 1)
    first = (top * width + left).astype(jnp.int32)
    above = (1.0 - right) * _gather(flat, first) + right * _gather(flat, first + 1)
    below = (1.0 - right) * _gather(flat, first + width) + right * _gather(flat, first + width + 1)
    return _unrolled((1.0 - down) * above + down * below, image.shape).astype(image.dtype)


def _gather(flat: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of (N, H*W, K) at (N, H, W) indices."""
    first = (jnp.arange(len(flat), dtype=jnp.int32) * flat.shape[1])[:, None]
    index = (first + index.reshape(len(flat), -1)).ravel()
    rows = flat.reshape(-1, flat.shape[-1]).at[index].get(mode="promise_in_bounds")
    return rows.reshape(len(flat), -1, flat.shape[-1])


def _rolled(image: jax.Array) -> jax.Array:
    """(N, [Z,] H, W, C) as (N, H*W, [Z*]C): all that moves together lies together."""
    if image.ndim == 5:
        image = jnp.moveaxis(image, 1, 3)
    return image.reshape(len(image), image.shape[1] * image.shape[2], -1)


def _unrolled(flat: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of `_rolled`."""
    if len(shape) == 4:
        return flat.reshape(shape)
    n, depth, height, width, channels = shape
    return jnp.moveaxis(flat.reshape(n, height, width, depth, channels), 3, 1)


def _mirrored(place: jax.Array, size: int) -> jax.Array:
    """Places folded back into 0 to size - 1 about its end pixels."""
    turn_px = 2.0 * max(size - 1, 1)
    place = jnp.mod(place, turn_px)
    return jnp.minimum(place, turn_px - place)


def _spline(place: jax.Array, count: int) -> jax.Array:
    """(..., count) weights of cubic B-splines on the integers -1 to count - 2; constant beyond the picture's ends."""
    t = jnp.abs(jnp.clip(place, 0.0, count - 4.0)[..., None] - jnp.arange(-1.0, count - 1.0))
    return jnp.where(t < 1.0, 2.0 / 3.0 - t * t + 0.5 * t**3, jnp.maximum(2.0 - t, 0.0) ** 3 / 6.0)
