"""Losses for localization: how well a map of predicted emitters explains a list of true ones. Per example, (N,).

Prediction: a dict as `bioflax.models.EmitterHead` gives it, in scaled units:
    "logit": (N, H, W, 1); "mean", "spread": (N, H, W, 4), order photons, x, y, z; "background": (N, H, W, 1), if any.
Emitters: a dict of (N, E) arrays, padded to E a frame:
    "photons", "z": in the units of the prediction; "x_px", "y_px": pixels, x along W, y along H, the centre of the first
    pixel at 0; "mask": 1 for an emitter, 0 for padding, whose other values are never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from bioflax.errors import InputError

VARIANCE_FLOOR = 1e-6  # of the number of emitters; reached only if no pixel is in doubt
Exponent = Callable[[jax.Array, jax.Array], jax.Array]


def emitter_nll(
    prediction: Mapping[str, jax.Array],
    emitters: Mapping[str, jax.Array],
    background: jax.Array | None = None,
    *,
    count_on_empty: bool = False,
    cross_entropy: bool = False,
    doubled: bool = False,
    window: int | None = None,
    chunk: int | None = None,
) -> dict[str, jax.Array]:
    """The loss of DECODE: the number of emitters, a Gaussian mixture with one component a pixel, and the background.

    With m emitters, p = sigmoid(logit) and k over pixels:
        count = -m log Normal(m; sum_k p_k, sum_k p_k (1 - p_k));
        mixture = -sum_j log sum_k (p_k / sum p) prod_c Normal(u_jc; mean_kc + centre_k, spread_kc);
        background = sum_k (background_k - prediction_k)^2.
    DECODE doubles (count + mixture, background) and then takes their mean, which is the plain sum: "loss" is that sum
    whatever `doubled`, which only makes the parts those that DECODE logs.
    Source: Speiser et al., Nature Methods 2021, as in its code; `cross_entropy` adds FD-DeepLoc's term (Fu et al., 2023).

    Args:
        prediction: maps, see above.
        emitters: the truth, see above.
        background: (N, H, W, 1) in the units of the prediction; None leaves the term out.
        count_on_empty: weigh the count term by max(m, 1). DECODE's weight m is silent on an empty frame, where nothing
            then pushes false positives down.
        cross_entropy: add the cross-entropy of each pixel's p with the map of pixels that hold an emitter.
        doubled: return the parts as DECODE logs them, twice as large.
        window: restrict an emitter's mixture to (2 window + 1)^2 pixels about it, moved inwards at the border. Memory
            and time no longer grow with the image; exact where the pixels left out do not matter.
        chunk: emitters a frame taken at a time, recomputed in the backward pass; bounds memory, changes nothing else.

    Returns:
        "loss" and its parts "count", "mixture", and where asked "background" and "cross_entropy"; each (N,).

    Raises:
        InputError: shapes that do not fit, a background where none is predicted.
    """
    _check(prediction, emitters, window, chunk)
    parts = {
        "count": _count(prediction["logit"], emitters["mask"], 1.0 if count_on_empty else 0.0),
        "mixture": _mixture(prediction, emitters, _squared, window, chunk),
    }
    if background is not None:
        if "background" not in prediction or prediction["background"].shape != background.shape:
            found = prediction["background"].shape if "background" in prediction else "none"
            raise InputError(f"background: expected a prediction of shape {background.shape}; found {found}")
        parts["background"] = jnp.sum((prediction["background"] - background) ** 2, axis=(1, 2, 3))
    if cross_entropy:
        parts["cross_entropy"] = _cross_entropy(prediction["logit"], emitters)
    loss = sum(parts.values())
    return {"loss": loss, **{name: (2 if doubled else 1) * part for name, part in parts.items()}}


def liteloc_nll(
    prediction: Mapping[str, jax.Array],
    emitters: Mapping[str, jax.Array],
    *,
    window: int | None = None,
    chunk: int | None = None,
) -> dict[str, jax.Array]:
    """The loss of LiteLoc as in its code: DECODE's count term, another mixture, and the cross-entropy of each pixel.

    The exponent is -|u - mean| / (2 spread^2), not squared, with the normaliser of a Gaussian: "spread" is no standard
    deviation here, and the density does not integrate to one.
    Source: Li-Lab-SUSTech/LiteLoc, network/loss_utils.py.

    Args:
        prediction: maps, see above.
        emitters: the truth, see above.
        window: as in `emitter_nll`.
        chunk: as in `emitter_nll`.

    Returns:
        "loss" and its parts "count", "mixture" and "cross_entropy", each (N,).
    """
    _check(prediction, emitters, window, chunk)
    parts = {
        "count": _count(prediction["logit"], emitters["mask"], 0.0),
        "mixture": _mixture(prediction, emitters, _absolute, window, chunk),
        "cross_entropy": _cross_entropy(prediction["logit"], emitters),
    }
    return {"loss": sum(parts.values()), **parts}


def _count(logit: jax.Array, mask: jax.Array, least_weight: float) -> jax.Array:
    mean = jnp.sum(jax.nn.sigmoid(logit), axis=(1, 2, 3))
    variance = jnp.sum(jax.nn.sigmoid(logit) * jax.nn.sigmoid(-logit), axis=(1, 2, 3))
    variance = jnp.maximum(variance, VARIANCE_FLOOR)
    number = jnp.sum(mask, axis=1).astype(logit.dtype)
    log_normal = -0.5 * ((number - mean) ** 2 / variance + jnp.log(2 * math.pi * variance))
    return -jnp.maximum(number, least_weight) * log_normal


def _cross_entropy(logit: jax.Array, emitters: Mapping[str, jax.Array]) -> jax.Array:
    height, width = logit.shape[1:3]
    present = emitters["mask"] > 0
    row, column = (jnp.floor(jnp.where(present, emitters[name], 0) + 0.5).astype(int) for name in ("y_px", "x_px"))
    inside = present & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = jnp.where(inside, row * width + column, height * width)  # past the end: dropped
    empty = jnp.zeros((logit.shape[0], height * width), logit.dtype)
    target = jax.vmap(lambda image, place: image.at[place].set(1, mode="drop"))(empty, place).reshape(logit.shape)
    return jnp.sum(jax.nn.softplus(logit) - target * logit, axis=(1, 2, 3))


def _mixture(
    prediction: Mapping[str, jax.Array],
    emitters: Mapping[str, jax.Array],
    exponent: Exponent,
    window: int | None,
    chunk: int | None,
) -> jax.Array:
    """Minus the log-likelihood of the emitters, summed over those of a frame."""
    present = emitters["mask"] > 0
    # Padding may hold anything, NaN too: it is made finite here, so that no NaN reaches the gradient.
    names = ("photons", "x_px", "y_px", "z")
    truth = jnp.stack([jnp.where(present, emitters[name], 0) for name in names], axis=-1)
    log_p = jax.nn.log_sigmoid(prediction["logit"][..., 0])
    log_weight = log_p - jax.scipy.special.logsumexp(log_p, axis=(1, 2), keepdims=True)
    mean, spread = (
        jnp.moveaxis(prediction[name], -1, 1) for name in ("mean", "spread")
    )  # (N, 4, H, W): W in the lanes
    # What does not depend on the emitter is computed once: the weight, the normaliser, the division by the spread.
    log_weight = log_weight - jnp.sum(jnp.log(spread), axis=1) - 2 * math.log(2 * math.pi)
    maps = (log_weight, mean, 1 / spread)
    score = jax.vmap(jax.vmap(partial(_log_likelihood, exponent, window), (0, None)))  # over emitters, over frames

    if chunk is None:
        values = score(truth, maps)
    else:
        frames, most = present.shape
        blocks = -(-most // chunk)
        padded = jnp.pad(truth, ((0, 0), (0, blocks * chunk - most), (0, 0)))
        padded = padded.reshape(frames, blocks, chunk, 4).swapaxes(0, 1)
        values = lax.map(jax.checkpoint(lambda block: score(block, maps)), padded)
        values = values.swapaxes(0, 1).reshape(frames, -1)[:, :most]
    return -jnp.sum(jnp.where(present, values, 0), axis=1)


def _log_likelihood(
    exponent: Exponent, window: int | None, emitter: jax.Array, maps: tuple[jax.Array, jax.Array, jax.Array]
) -> jax.Array:
    """log sum_k weight_k density_k of one emitter, (4,), under the maps of its frame, (H, W), (4, H, W) and (4, H, W)."""
    sizes = maps[0].shape
    starts = (0, 0)
    if window is not None:
        extent = tuple(min(2 * window + 1, size) for size in sizes)
        starts = tuple(
            jnp.clip(jnp.floor(place + 0.5).astype(int) - window, 0, size - length)
            for place, size, length in zip((emitter[2], emitter[1]), sizes, extent, strict=True)
        )
        weight, mean, inverse = maps
        maps = (
            lax.dynamic_slice(weight, starts, extent),
            lax.dynamic_slice(mean, (0, *starts), (4, *extent)),
            lax.dynamic_slice(inverse, (0, *starts), (4, *extent)),
        )
    log_weight, mean, inverse = maps
    height, width = log_weight.shape
    rows = jnp.broadcast_to((starts[0] + jnp.arange(height)[:, None]).astype(mean.dtype), (height, width))
    columns = jnp.broadcast_to((starts[1] + jnp.arange(width)).astype(mean.dtype), (height, width))
    centre = jnp.stack([jnp.zeros_like(rows), columns, rows, jnp.zeros_like(rows)])
    # First the distance to the pixel's centre, exact in float32, then the prediction: no digit of a large x is lost.
    error = emitter[:, None, None] - centre - mean
    return jax.scipy.special.logsumexp(log_weight - 0.5 * jnp.sum(exponent(error, inverse), axis=0))


def _squared(error: jax.Array, inverse: jax.Array) -> jax.Array:
    return (error * inverse) ** 2


def _absolute(error: jax.Array, inverse: jax.Array) -> jax.Array:
    return jnp.abs(error) * inverse**2


def _check(
    prediction: Mapping[str, jax.Array], emitters: Mapping[str, jax.Array], window: int | None, chunk: int | None
) -> None:
    shape = prediction["logit"].shape
    for name, channels in {"logit": 1, "mean": 4, "spread": 4}.items():
        expected, found = (*shape[:3], channels), prediction[name].shape
        if found != expected:
            raise InputError(f"prediction.{name}: expected (N, H, W, {channels}), here {expected}; found {found}")
    for name in ("photons", "x_px", "y_px", "z", "mask"):
        if name not in emitters:
            raise InputError(f"emitters: expected photons, x_px, y_px, z and mask; found {', '.join(emitters)}")
        expected, found = (shape[0], *emitters["mask"].shape[1:2]), emitters[name].shape
        if found != expected or len(found) != 2:
            raise InputError(f"emitters.{name}: expected (N, E), here {expected}; found {found}")
    for name, value, least in (("window", window, 0), ("chunk", chunk, 1)):
        if value is not None and value < least:
            raise InputError(f"{name}: expected None or a whole number of at least {least}; found {value}")
