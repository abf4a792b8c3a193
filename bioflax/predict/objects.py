"""Objects and spots in images of any size: candidates tile by tile, then one decision over the whole image."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.io import check_finite
from bioflax.ops.polygons import render_polygons
from bioflax.ops.suppression import non_maximum_suppression, thin_points
from bioflax.ops.tiles import plan_tiles, read_window
from bioflax.predict.restore import context
from bioflax.predict.tiled import Progress, TileChoice, choose_tile, compiled, per_axis
from bioflax.tasks.detection import Centres, DetectionScheme, SpotFlow, StarConvex
from bioflax.typing import Array

SCHEMES: dict[str, type] = {scheme.name: scheme for scheme in (StarConvex, SpotFlow, Centres)}
FEWEST_PLACES = 256


@dataclass(frozen=True)
class Detections:
    """What was found in one image, by falling score; pixel centres at integers.

    Attributes:
        shape: of the image, ([Z,] Y, X) px.
        position: (K, d) px, (y, x) or (z, y, x).
        score: (K,) probabilities.
        rays: (K, R) px, outlines of star-convex objects; None otherwise.
        size: (K, d) px, sides of boxes; None otherwise.
    """

    shape: tuple[int, ...]
    position: np.ndarray
    score: np.ndarray
    rays: np.ndarray | None = None
    size: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    def select(self, chosen: np.ndarray) -> Detections:
        """Some of them: indices or a mask (K,)."""
        parts = {name: getattr(self, name) for name in ("position", "score", "rays", "size")}
        return Detections(self.shape, **{n: None if part is None else part[chosen] for n, part in parts.items()})

    def labels(self) -> np.ndarray:
        """(Y, X) int32: object k + 1 where its polygon or box covers the pixel, the more probable one on top.

        Raises:
            InputError: points have no area.
        """
        if self.rays is not None:
            return render_polygons(self.position, self.rays, self.shape)
        if self.size is None:
            raise InputError("detections: points have no area to label. Take their table.")
        labels = np.zeros(self.shape, np.int32)
        for number in reversed(range(len(self))):
            low = np.floor(self.position[number] - 0.5 * self.size[number] + 1.0).astype(int)
            high = low + np.maximum(np.rint(self.size[number]), 1).astype(int)
            labels[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(low, high))] = number + 1
        return labels


def detect_objects(
    model: Any,
    image: Array,
    *,
    threshold: float | None = None,
    overlap: float | None = None,
    distance_px: float | None = None,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    on_progress: Progress | None = None,
) -> Detections:
    """Finds the objects of one image.

    Args:
        model: a loaded detector.
        image: ([Z,] H, W, C) in the units of the training images; any size from one pixel on.
        threshold: probability of an object; None takes that of the card.
        overlap: two polygons that overlap by more of the smaller one are one object; None takes that of the card.
        distance_px: two spots that are nearer are one; None takes that of the card.
        tile, memory_gb: as `predict.predict_tiled`.
        on_progress: called as `on_progress(tiles_done, tiles_total)`.

    Returns:
        The objects; the same whatever the tile, since an object belongs to the tile that holds its centre.

    Raises:
        InputError: a model that detects nothing, an image of other dimensions, thresholds that are none.
    """
    decoding = decoding_of(model)
    level = _probability("threshold", decoding["threshold"] if threshold is None else threshold)
    found = candidates(model, image, level, tile=tile, memory_gb=memory_gb, on_progress=on_progress)
    overlap = _probability("overlap", decoding["overlap"] if overlap is None else overlap)
    distance = decoding["distance_px"] if distance_px is None else distance_px
    if not distance > 0:
        raise InputError(f"distance_px: expected more than 0, found {distance}.")
    return suppress(found, overlap=overlap, distance_px=float(distance))


def candidates(
    model: Any,
    image: Array,
    threshold: float,
    *,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    on_progress: Progress | None = None,
) -> Detections:
    """All local maxima of the probability above a threshold, before neighbours suppress one another; as `detect_objects`."""
    scheme = scheme_of(model)
    image = np.asarray(image)
    if image.ndim != model.spatial_dims + 1 or image.shape[-1] != model.channels_in:
        axes = "H, W, C" if model.spatial_dims == 2 else "Z, H, W, C"
        raise InputError(f"image: expected ({axes}) with C={model.channels_in}; found shape {image.shape}")
    check_finite(image, "image")
    sizes = image.shape[:-1]
    units = model.normalization.of_image(image)
    tile, radius = context(model, tile)
    halo = tuple(side + scheme.window * scheme.grid for side in per_axis("halo", radius, len(sizes)))
    stride = per_axis("stride", model.stride, len(sizes))
    chosen = choose_tile(
        compiled(model.net.apply),
        model.variables,
        (1, *image.shape),
        halo=halo,
        stride=stride,
        tile=tile,
        memory_gb=memory_gb,
    )[1:]
    parts: list[dict[str, np.ndarray]] = []
    tiles = plan_tiles(sizes, chosen, halo, stride)
    places = FEWEST_PLACES
    for done, one in enumerate(tiles, 1):
        block = units.apply(np.asarray(read_window(image.__getitem__, one.read, sizes), np.float32))[None]
        rest = np.array([size - span.start for size, span in zip(sizes, one.read)], np.int32)
        while True:
            decode = _decoder(model.net.apply, scheme, places)
            found = jax.device_get(decode(model.variables, block, rest, threshold))
            if found["number"][0] <= places:
                break
            places = 1 << int(found["number"][0] - 1).bit_length()
        parts.append(_owned(found, one, scheme.grid, sizes))
        if on_progress is not None:
            on_progress(done, len(tiles))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(-joined["score"], kind="stable")
    return Detections(tuple(sizes), **{name: values[order] for name, values in joined.items()})


def suppress(found: Detections, *, overlap: float, distance_px: float) -> Detections:
    """Of candidates that are one object the most probable: polygons by their overlap, points and boxes by their distance."""
    if not len(found):
        return found
    if found.rays is not None:
        return found.select(non_maximum_suppression(found.position, found.rays, found.score, threshold=overlap))
    return found.select(thin_points(found.position, found.score, distance_px=distance_px))


def is_detector(model: Any) -> bool:
    """Whether a model finds objects; one without a card restores."""
    return getattr(getattr(model, "card", None), "task", "") == "detect"


def decoding_of(model: Any) -> Mapping[str, Any]:
    """How the card says that maps become objects: `scheme`, `arguments`, `threshold`, `overlap`, `distance_px`."""
    decoding = getattr(getattr(model, "card", None), "decoding", None) or {}
    missing = [name for name in ("scheme", "arguments", "threshold", "overlap", "distance_px") if name not in decoding]
    if not is_detector(model) or missing:
        task = getattr(getattr(model, "card", None), "task", "none")
        raise InputError(
            f"model: expected a detector whose card says how it is decoded, found the task {task!r}"
            + (f" without {', '.join(missing)}" if is_detector(model) else "")
        )
    return decoding


def scheme_of(model: Any) -> DetectionScheme:
    """The scheme that the card describes; only those of `bioflax.tasks` can be named."""
    decoding = decoding_of(model)
    name, arguments = decoding["scheme"], decoding["arguments"]
    if name not in SCHEMES:
        raise InputError(f"card.decoding.scheme: expected one of {', '.join(SCHEMES)}; found {name!r}")
    known = {entry.name for entry in dataclasses.fields(SCHEMES[name]) if entry.init}
    if not isinstance(arguments, Mapping) or not set(arguments) <= known:
        raise InputError(f"card.decoding.arguments: {name} takes {', '.join(sorted(known))}; found {arguments!r}")
    try:
        return SCHEMES[name](**arguments)
    except TypeError as cause:
        raise InputError(f"card.decoding.arguments: expected numbers, found {arguments!r} ({cause})") from cause


def describe_decoding(task: Any) -> dict[str, Any]:
    """What a card needs to decode the maps of a model trained on `tasks.Detect`, as plain JSON."""
    scheme = task.scheme
    arguments = {entry.name: getattr(scheme, entry.name) for entry in dataclasses.fields(scheme) if entry.init}
    thresholds = {name: getattr(task, name) for name in ("threshold", "overlap", "distance_px")}
    return {"scheme": scheme.name, "arguments": arguments, **thresholds}


@functools.lru_cache(maxsize=16)
def _decoder(apply: Any, scheme: DetectionScheme, places: int) -> Any:
    def decode(variables: Any, block: jax.Array, rest: jax.Array, threshold: jax.Array) -> dict[str, jax.Array]:
        """`rest`: pixels of the tile that are the image's own; the others continue it by reflection and hold nothing."""
        prediction = apply(variables, block)
        logit = prediction["logit"]
        for axis in range(1, logit.ndim - 1):
            own = jnp.arange(logit.shape[axis]) * scheme.grid < rest[axis - 1]
            logit = jnp.where(own.reshape([-1 if a == axis else 1 for a in range(logit.ndim)]), logit, -jnp.inf)
        return scheme.decode({**prediction, "logit": logit}, threshold, places)

    return jax.jit(decode)


def _owned(found: dict[str, np.ndarray], tile: Any, grid: int, sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The candidates of a tile whose cell lies in the part that it writes, in pixels of the image and inside it."""
    start = np.array([span.start for span in tile.read])
    low, high = (np.array([getattr(span, end) for span in tile.write]) for end in ("start", "stop"))
    cell = found["cell"][0] * grid + start
    mine = found["mask"][0] & np.all((cell >= low) & (cell < high), axis=-1)
    position = np.clip(found["position"][0][mine] + start, -0.5, np.array(sizes) - 0.5)
    owned = {"position": position, "score": found["score"][0][mine]}
    return owned | {name: found[name][0][mine] for name in ("rays", "size") if name in found}


def _probability(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise InputError(f"{name}: expected a number between 0 and 1, found {value!r}.")
    return float(value)
