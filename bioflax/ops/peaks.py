"""From maps to a list: peaks of a probability, emitters among them, and the duplicates of overlapping tiles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.errors import InputError


def local_maxima(
    score: jax.Array, *, radius: int, threshold: jax.Array | float, places: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pixels that are the largest of their neighbourhood and exceed a threshold; one shape, whatever the number; inside jit.

    Of equal neighbours the first in row-major order counts, so an even plateau has one peak where it begins.

    Args:
        score: (N, *space), one to three spatial axes.
        radius: half width of the neighbourhood, px.
        threshold: score that a peak must exceed.
        places: K, places of a picture.

    Returns:
        index (N, K, d) int32, 0 where there is none; mask (N, K) bool; number (N,) of all there are, which may exceed K.
    """
    dims = score.ndim - 1

    def shifted(image: jax.Array, axis: int, step: int) -> jax.Array:
        pads = [(0, 0)] * image.ndim
        pads[axis] = (max(step, 0), max(-step, 0))
        padded = jnp.pad(image, pads, constant_values=-jnp.inf)
        start = max(-step, 0)
        return lax.slice_in_dim(padded, start, start + image.shape[axis], axis=axis)

    widest, before = score, jnp.full(score.shape, -jnp.inf, score.dtype)
    for axis in reversed(range(1, 1 + dims)):
        # `widest` is the maximum over the axes behind this one; what lies earlier along it comes before in the order.
        earlier = [shifted(widest, axis, step) for step in range(1, radius + 1)]
        later = [shifted(widest, axis, -step) for step in range(1, radius + 1)]
        for other in earlier:
            before = jnp.maximum(before, other)
        for other in (*earlier, *later):
            widest = jnp.maximum(widest, other)
    peak = ((score == widest) & (score > before) & (score > threshold)).reshape(score.shape[0], -1)
    number = jnp.sum(peak, axis=1)
    flat = jax.vmap(lambda row: jnp.nonzero(row, size=places, fill_value=0)[0])(peak)
    mask = jnp.arange(places)[None] < number[:, None]
    index = jnp.stack(jnp.unravel_index(flat, score.shape[1:]), axis=-1).astype(jnp.int32)
    return jnp.where(mask[..., None], index, 0), mask, number


def find_emitters(
    prediction: Mapping[str, jax.Array],
    *,
    raw_threshold: float = 0.3,
    isolated_threshold: float = 0.6,
    threshold: float = 0.5,
    max_emitters: int = 256,
) -> dict[str, jax.Array]:
    """Picks the pixels that hold an emitter, as DECODE does; one shape, whatever the number found.

    A pixel is a candidate if its probability exceeds `raw_threshold` and no pixel of its 3x3 neighbourhood has a larger
    one, or if it exceeds `isolated_threshold`. A candidate's score is its probability plus those of its 4 neighbours, at
    most 1; those that reach `threshold` are emitters. Two equal neighbours are both candidates, as published.
    Source: Speiser et al., Nature Methods 2021, `NMSPostProcessing` of its code.

    Args:
        prediction: "logit" (N, H, W, 1), "mean" and "spread" (N, H, W, 4) and perhaps "background" (N, H, W, 1), as
            `bioflax.models.EmitterHead` gives them.
        raw_threshold: probability that a local maximum must exceed.
        isolated_threshold: probability that any other pixel must exceed, such as one of two emitters side by side.
        threshold: score that an emitter must reach.
        max_emitters: M, places a frame; the highest scores are kept.

    Returns:
        (N, M) arrays, by falling score: "mask" (bool; what it leaves out is zero), "score", "photons", "x_px", "y_px",
        "z", "spread_photons", "spread_x", "spread_y", "spread_z" and perhaps "background", in the prediction's units; x
        along W and y along H, the centre of the first pixel at 0. Also "dropped": (N,), emitters that found no place.

    Raises:
        InputError: thresholds outside [0, 1], fewer than one place.
    """
    thresholds = {"raw_threshold": raw_threshold, "isolated_threshold": isolated_threshold, "threshold": threshold}
    for name, value in thresholds.items():
        if isinstance(value, int | float) and not 0 <= value <= 1:
            raise InputError(f"{name}: expected a probability, from 0 to 1; found {value}")
    if max_emitters < 1:
        raise InputError(f"max_emitters: expected at least 1; found {max_emitters}")
    return _find(dict(prediction), max_emitters, **thresholds)


@partial(jax.jit, static_argnums=1)
def _find(
    prediction: dict[str, jax.Array], places: int, raw_threshold: float, isolated_threshold: float, threshold: float
) -> dict[str, jax.Array]:
    p = jax.nn.sigmoid(prediction["logit"][..., 0])
    frames, height, width = p.shape
    padded = jnp.pad(p, ((0, 0), (1, 1), (1, 1)))

    def shifted(row: int, column: int) -> jax.Array:
        return lax.slice(padded, (0, 1 + row, 1 + column), (frames, 1 + row + height, 1 + column + width))

    steps = (-1, 0, 1)
    largest = jnp.stack([shifted(row, column) for row in steps for column in steps]).max(axis=0)
    score = p + (shifted(-1, 0) + shifted(1, 0)) + (shifted(0, -1) + shifted(0, 1))
    candidate = ((p > raw_threshold) & (p == largest)) | (p > isolated_threshold)
    score = jnp.where(candidate, jnp.minimum(score, 1.0), 0.0)
    found = candidate & (score >= threshold)

    kept = min(places, height * width)
    ranked = jnp.where(found, score, -1.0).reshape(frames, -1)
    best, place = lax.top_k(ranked, kept)
    mask = best >= 0

    def at(image: jax.Array) -> jax.Array:
        return jnp.take_along_axis(image.reshape(frames, -1), place, axis=1)

    mean, spread = prediction["mean"], prediction["spread"]
    names = ("photons", "x_px", "y_px", "z")
    values = {"score": best, **{name: at(mean[..., c]) for c, name in enumerate(names)}}
    values["x_px"] += (place % width).astype(mean.dtype)
    values["y_px"] += (place // width).astype(mean.dtype)
    for c, name in enumerate(("photons", "x", "y", "z")):
        values[f"spread_{name}"] = at(spread[..., c])
    if "background" in prediction:
        values["background"] = at(prediction["background"])
    room = ((0, 0), (0, places - kept))
    listed = {name: jnp.pad(jnp.where(mask, value, 0), room) for name, value in values.items()}
    return {"mask": jnp.pad(mask, room), **listed, "dropped": jnp.sum(found, (1, 2)) - jnp.sum(mask, 1)}


def drop_duplicates(
    frame: np.ndarray,
    x_px: np.ndarray,
    y_px: np.ndarray,
    score: np.ndarray,
    *,
    distance_px: float,
    tile: np.ndarray | None = None,
) -> np.ndarray:
    """Finds which emitters of overlapping tiles to keep: of two closer than a distance in a frame, the higher score.

    From the highest score down (the earlier of equals first), an emitter is dropped if one that is kept lies closer.

    Args:
        frame: (M,) frame numbers.
        x_px: (M,) pixels of the whole image.
        y_px: (M,) pixels of the whole image.
        score: (M,).
        distance_px: the distance, pixels.
        tile: (M,) number of the tile that each comes from: two of the same tile are never duplicates. None: any two.

    Returns:
        (M,) bool, the emitters to keep.

    Raises:
        InputError: arrays of different lengths, a distance that is not positive.
    """
    from scipy.spatial import cKDTree  # slow to import, and needed by no training

    columns = {"frame": frame, "x_px": x_px, "y_px": y_px, "score": score}
    columns |= {} if tile is None else {"tile": tile}
    for name, values in columns.items():
        if np.shape(values) != (len(frame),):
            raise InputError(f"{name}: expected ({len(frame)},), one for each emitter; found shape {np.shape(values)}")
    if not distance_px > 0:
        raise InputError(f"distance_px: expected a positive distance in pixels; found {distance_px}")
    keep = np.ones(len(frame), bool)
    # Frames lie two distances apart along a third axis: one tree serves them all.
    apart = np.unique(frame, return_inverse=True)[1] * (2.0 * distance_px)
    points = np.stack([np.asarray(x_px, float), np.asarray(y_px, float), apart], axis=1)
    pairs = cKDTree(points).query_pairs(distance_px, output_type="ndarray") if len(points) else np.zeros((0, 2), int)
    close = np.hypot(*(points[pairs[:, 0], :2] - points[pairs[:, 1], :2]).T) < distance_px
    if tile is not None:
        close &= np.asarray(tile)[pairs[:, 0]] != np.asarray(tile)[pairs[:, 1]]
    rank = np.empty(len(keep), int)
    rank[np.argsort(-np.asarray(score), kind="stable")] = np.arange(len(keep))
    pairs = pairs[close]
    swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    for better, worse in pairs[np.argsort(rank[pairs[:, 0]], kind="stable")]:
        keep[worse] &= not keep[better]
    return keep
