"""How a detector learns what an object is: as a star-convex polygon, as a spot, or as a centre with a size.

A scheme is a frozen dataclass with `mode` (what it needs of a data source: `labels` or `points`), `prepare(batch)`, which makes
the targets inside the jitted step, `loss(prediction, batch)`, and `decode(prediction, ...)`, which lists candidates in one
shape. `maps` are those that a head must predict, `head` is its YAML; `mirrors` says that the mirrored copy of an object may bear
its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp

from bioflax import losses
from bioflax.errors import InputError
from bioflax.ops import heatmaps
from bioflax.ops.peaks import local_maxima
from bioflax.ops.rays import ray_distances
from bioflax.typing import Batch, Prediction

Parts = Mapping[str, jax.Array]
SHORTEST_PX = 1e-3  # a ray may be predicted below zero


class DetectionScheme(Protocol):
    """The contract of every scheme below."""

    mode: ClassVar[str]
    name: ClassVar[str]
    head: ClassVar[str]
    maps: ClassVar[tuple[str, ...]]
    mirrors: ClassVar[bool]
    grid: int

    def prepare(self, batch: Batch) -> Batch: ...

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Parts]: ...

    def decode(self, prediction: Prediction, threshold: jax.Array | float, places: int) -> dict[str, jax.Array]: ...


@dataclass(frozen=True)
class StarConvex:
    """Objects as star-convex polygons: a probability and the distance to the outline along rays (StarDist, Schmidt 2018).

    Args:
        rays: directions; as many as the head has.
        grid: pixels of a cell of the prediction; that of the backbone.
        distance_weight: of the distances against the probability.
        background_weight: of short rays on background, within the distances.
        balance: 0 weighs pixels alike, as published; 1 weighs objects alike, whatever their area.
        window: half width in cells within which an object has one candidate.
    """

    mode: ClassVar[str] = "labels"
    name: ClassVar[str] = "stardist"
    head: ClassVar[str] = "star"
    maps: ClassVar[tuple[str, ...]] = ("logit", "rays")
    mirrors: ClassVar[bool] = True
    rays: int = 32
    grid: int = 1
    distance_weight: float = 0.2
    background_weight: float = 1e-4
    balance: float = 0.0
    window: int = 1

    def __post_init__(self) -> None:
        _check_counts(rays=self.rays, grid=self.grid, window=self.window)
        if not 0 <= self.balance <= 1:
            raise InputError(f"task.scheme.balance: expected 0 to 1, found {self.balance}.")

    def prepare(self, batch: Batch) -> Batch:
        """Adds `target_interior` (N, h, w, 1), `target_rays` (N, h, w, rays) px, and `weight` (N, h, w, 1).

        The batch has `labels` (N, H, W), `interior` (N, H, W), and perhaps `object_weight` (N, objects), one for each label.
        """
        cells = (slice(None), slice(None, None, self.grid), slice(None, None, self.grid))
        interior = batch["interior"][cells][..., None]
        rays = ray_distances(batch["labels"], rays=self.rays, grid=self.grid)
        made = {"target_interior": interior, "target_rays": rays}
        weight = object_weights(batch["labels"][cells], self.balance, batch.get("object_weight"))
        return {**batch, **made, "weight": weight if weight is not None else jnp.ones_like(interior)}

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Parts]:
        """Per example loss (N,), the published one where all weights are 1, and its parts."""
        target, weight = batch["target_interior"], batch["weight"]
        if prediction["rays"].shape != batch["target_rays"].shape:
            raise InputError(
                f"task.scheme: expected targets of the shape of the prediction {prediction['rays'].shape}, found "
                f"{batch['target_rays'].shape}. Give rays as the head and grid as the backbone have them."
            )
        probability = losses.cross_entropy(prediction["logit"], target, weight)
        distance = losses.ray_error(
            prediction["rays"], batch["target_rays"], target * weight, background=self.background_weight
        )
        parts = {"probability": _per_example(probability), "distance": _per_example(distance)}
        return parts["probability"] + self.distance_weight * parts["distance"], parts

    def decode(self, prediction: Prediction, threshold: jax.Array | float, places: int) -> dict[str, jax.Array]:
        """Candidates (N, K): `mask`, `score`, `position` (N, K, 2) px, `rays` (N, K, R) px; and `number` (N,) of all."""
        found = _peaks(prediction["logit"], self.window, threshold, places)
        rays = jnp.maximum(_at(prediction["rays"], found["cell"]), SHORTEST_PX)
        return {**_listed(found, self.grid), "rays": jnp.where(found["mask"][..., None], rays, 0.0)}


@dataclass(frozen=True)
class SpotFlow:
    """Spots as heatmaps at several scales, with the flow to the nearest spot for positions below the pixel (Spotiflow).

    Args:
        sigma_px: width of the Gaussian of a spot, and the distance that the flow puts on its equator.
        levels: heatmaps that count, from the finest.
        positive_weight: pixels near a spot, or predicted to be, weigh 1 + this.
        near: heatmap from which a pixel is near a spot.
        flow_weight: of the flow against the heatmaps.
        grid: pixels of a cell; 1.
        window: half width in pixels within which there is one spot, 1 as published. 0 takes every pixel above the
            threshold and lets the flow tell spots apart: two in neighbouring pixels are both found.
    """

    mode: ClassVar[str] = "points"
    name: ClassVar[str] = "spotiflow"
    head: ClassVar[str] = "spots"
    maps: ClassVar[tuple[str, ...]] = ("logit",)
    mirrors: ClassVar[bool] = False
    sigma_px: float = 1.0
    levels: int = 4
    positive_weight: float = 10.0
    near: float = 0.01
    flow_weight: float = 1.0
    grid: int = 1
    window: int = 1

    def __post_init__(self) -> None:
        _check_counts(levels=self.levels)
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 0:
            raise InputError(f"task.scheme.window: expected a whole number of at least 0, found {self.window!r}.")
        if self.grid != 1:
            raise InputError(f"task.scheme.grid: expected 1, spots are found in every pixel; found {self.grid}.")
        if not self.sigma_px > 0:
            raise InputError(f"task.scheme.sigma_px: expected more than 0, found {self.sigma_px}.")

    def prepare(self, batch: Batch) -> Batch:
        """Adds `heatmap` (N, *space, 1) and `flow` (N, *space, 1 + d), from `points` (N, P, d) px and `mask` (N, P)."""
        vector = heatmaps.nearest_points(batch["points"], batch["mask"], batch["image"].shape[1:-1])
        return {
            **batch,
            "heatmap": heatmaps.gaussian_heatmap(vector, self.sigma_px),
            "flow": heatmaps.stereographic_flow(vector, self.sigma_px),
        }

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Parts]:
        """Per example loss (N,) and its parts `heatmap` and `flow`."""
        target, logit = batch["heatmap"], prediction["logit"]
        if logit.shape != target.shape:
            raise InputError(
                f"task.scheme: expected a heatmap of shape {target.shape}, found {logit.shape}. Spots need a backbone with a "
                "map at full resolution (backbone.grid=1)."
            )
        # As published the raw logit is compared, so a pixel counts as predicted from a probability of about one half.
        near = jax.lax.stop_gradient((target >= self.near) | (logit >= self.near))
        weight = 1.0 + self.positive_weight * near
        total = _per_example(losses.cross_entropy(logit, target, weight))
        for level in range(1, self.levels):
            if f"logit_{level}" not in prediction:
                break
            coarse = prediction[f"logit_{level}"]
            factor = target.shape[1] // coarse.shape[1]
            aim = heatmaps.coarser_heatmap(target, factor, self.sigma_px)
            total += _per_example(losses.cross_entropy(coarse, aim)) / 4.0**level
        parts = {"heatmap": total}
        if "flow" in prediction:
            error = losses.absolute_error(prediction["flow"], batch["flow"])
            parts["flow"] = _per_example(weight * error)
            total = total + self.flow_weight * parts["flow"]
        return total, parts

    def decode(self, prediction: Prediction, threshold: jax.Array | float, places: int) -> dict[str, jax.Array]:
        """Candidates (N, K): `mask`, `score`, `position` (N, K, d) px; and `number` (N,) of all."""
        found = _peaks(prediction["logit"], self.window, threshold, places)
        listed = _listed(found, 1)
        if "flow" in prediction:
            vector = heatmaps.invert_flow(_at(prediction["flow"], found["cell"]), self.sigma_px)
            near = jnp.sum(vector * vector, -1, keepdims=True) <= 2.0  # a longer one points to another spot
            listed["position"] += jnp.where(near & found["mask"][..., None], vector, 0.0)
        return listed


@dataclass(frozen=True)
class Centres:
    """Objects as the peak of a heatmap with an offset and, if the head has one, a size: points or boxes (CenterNet, Zhou 2019).

    Args:
        mode: `labels` (boxes of labelled objects) or `points`.
        grid: pixels of a cell; that of the backbone.
        offset_weight: of the offset.
        size_weight: of the size.
        alpha, beta: of the focal loss.
        capacity: most objects of a patch.
        least_sigma: cells; smallest width of a centre's Gaussian.
        window: half width in cells within which there is one centre.
    """

    mode: str = "labels"
    name: ClassVar[str] = "centernet"
    head: ClassVar[str] = "centres"
    maps: ClassVar[tuple[str, ...]] = ("logit", "offset")
    mirrors: ClassVar[bool] = False
    grid: int = 1
    offset_weight: float = 1.0
    size_weight: float = 0.1
    alpha: float = 2.0
    beta: float = 4.0
    capacity: int = 512
    least_sigma: float = 1.0
    window: int = 1

    def __post_init__(self) -> None:
        _check_counts(grid=self.grid, capacity=self.capacity, window=self.window)
        if self.mode not in ("labels", "points"):
            raise InputError(f"task.scheme.mode: expected labels or points, found {self.mode!r}.")

    def prepare(self, batch: Batch) -> Batch:
        """Adds `heatmap`, `offset`, `size` and `positive` of `ops.heatmaps.centre_maps`."""
        shape = tuple(-(-size // self.grid) for size in batch["image"].shape[1:-1])
        if self.mode == "labels":
            centre, size, mask = heatmaps.label_boxes(batch["labels"], self.capacity)
        else:
            centre, mask = batch["points"], batch["mask"]
            size = jnp.ones_like(centre)
        made = heatmaps.centre_maps(centre, size, mask, shape, self.grid, least_sigma=self.least_sigma)
        return {**batch, **made, "objects": jnp.sum(mask, 1)}

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Parts]:
        """Per example loss (N,), every part over the number of objects, and its parts."""
        if prediction["logit"].shape != batch["heatmap"].shape:
            raise InputError(
                f"task.scheme.grid: expected a heatmap of shape {batch['heatmap'].shape}, found {prediction['logit'].shape}. "
                "Give grid as the backbone has it."
            )
        if self.mode == "labels" and "size" not in prediction:
            raise InputError(
                "head.size: expected true for labelled objects, found a head without sizes. Or mode=points."
            )
        objects, positive = jnp.maximum(batch["objects"], 1.0), batch["positive"]
        focal = losses.penalty_reduced_focal(prediction["logit"], batch["heatmap"], alpha=self.alpha, beta=self.beta)
        parts = {"focal": _sum(focal) / objects}
        parts["offset"] = _sum(losses.absolute_error(prediction["offset"], batch["offset"]) * positive) / objects
        total = parts["focal"] + self.offset_weight * parts["offset"]
        if "size" in prediction and self.mode == "labels":
            parts["size"] = _sum(losses.absolute_error(prediction["size"], batch["size"]) * positive) / objects
            total += self.size_weight * parts["size"]
        return total, parts

    def decode(self, prediction: Prediction, threshold: jax.Array | float, places: int) -> dict[str, jax.Array]:
        """Candidates (N, K): `mask`, `score`, `position` (N, K, d) px, perhaps `size` (N, K, d) px; and `number` (N,)."""
        found = _peaks(prediction["logit"], self.window, threshold, places)
        listed, there = _listed(found, self.grid), found["mask"][..., None]
        listed["position"] += jnp.where(there, _at(prediction["offset"], found["cell"]) * self.grid, 0.0)
        if "size" in prediction and self.mode == "labels":
            size = jnp.maximum(_at(prediction["size"], found["cell"]) * self.grid, 1.0)
            listed["size"] = jnp.where(there, size, 0.0)
        return listed


def object_weights(labels: jax.Array, balance: float, weight: jax.Array | None) -> jax.Array | None:
    """A weight for each cell from those of its object; None where all are 1.

    Args:
        labels: (N, h, w) integers.
        balance: cells of an object of area A weigh (mean area / A)^balance.
        weight: (N, objects), that of label n + 1 at place n; labels beyond it weigh 1. None is 1.

    Returns:
        (N, h, w, 1), 1 on background.
    """
    if balance == 0 and weight is None:
        return None
    room = labels.shape[1] * labels.shape[2]

    def one(picture: jax.Array, given: jax.Array | None) -> jax.Array:
        # Labels of a picture can be large numbers: they are counted by their order.
        found, number = jnp.unique(picture.ravel(), return_inverse=True, size=min(room, 4096), fill_value=0)
        area = jnp.bincount(number, length=found.size).astype(jnp.float32)
        real = (found > 0) & (area > 0)
        mean = jnp.sum(jnp.where(real, area, 0.0)) / jnp.maximum(jnp.sum(real), 1)
        each = jnp.where(real, (mean / jnp.maximum(area, 1.0)) ** balance, 1.0)
        if given is not None:
            listed = jnp.concatenate([jnp.ones(1), given, jnp.ones(1)])
            each = each * listed[jnp.minimum(found, given.size + 1)]
        return each[number].reshape(picture.shape)[..., None]

    return jax.vmap(one, (0, None if weight is None else 0))(labels, weight)


def _peaks(logit: jax.Array, window: int, threshold: jax.Array | float, places: int) -> dict[str, jax.Array]:
    score = jax.nn.sigmoid(logit[..., 0])
    cell, mask, number = local_maxima(score, radius=window, threshold=threshold, places=places)
    return {"cell": cell, "mask": mask, "number": number, "score": jnp.where(mask, _at(score, cell), 0.0)}


def _listed(found: dict[str, jax.Array], grid: int) -> dict[str, jax.Array]:
    return {
        "mask": found["mask"],
        "score": found["score"],
        "position": (found["cell"] * grid).astype(jnp.float32),
        "cell": found["cell"],
        "number": found["number"],
    }


def _at(maps: jax.Array, cell: jax.Array) -> jax.Array:
    """(N, *space[, C]) at (N, K, d) cells: (N, K[, C])."""
    return jax.vmap(lambda one, where: one[tuple(jnp.moveaxis(where, -1, 0))])(maps, cell)


def _per_example(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def _sum(values: jax.Array) -> jax.Array:
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"task.scheme.{name}: expected a whole number of at least 1, found {value!r}.")
