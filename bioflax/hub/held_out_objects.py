"""How good a detector is on images that were held out: thresholds tuned on them, beside classical finders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines.finders import find_objects, find_points
from bioflax.data.assemble import Prepared
from bioflax.hub.store import LoadedModel
from bioflax.io.aside import written_aside
from bioflax.predict.objects import Detections, candidates, describe_decoding, suppress

LEAST = 0.05  # probability from which candidates are looked at
OVERLAPS = (0.3, 0.4, 0.5)  # as StarDist tries
LEVELS = tuple(round(0.1 + 0.025 * n, 3) for n in range(33))
IOUS = (0.3, 0.5, 0.7)
SLACK = 0.005  # scores that are as good as the best
DISTANCE_PX = 3.0
PREVIEWED = 8


def judge_objects(model: LoadedModel, task: Any, prepared: Prepared, preview: Path) -> dict[str, Any]:
    """Tunes the thresholds and scores the detector, under the same names as classical finders.

    The thresholds are tuned on the images that are then scored, so the numbers are a little too good; `evaluate` on other
    images is the judge.

    Args:
        model: the detector.
        task: what it learned.
        prepared: `truth` holds the held-out images with their labels or points.
        preview: where images with what was found in them go, as .npz.

    Returns:
        {"metrics", "baselines", "bounds", "decoding"}; `decoding` is for the card.
    """
    decoding, kept = _tuned(model, task, prepared)
    if not prepared.truth:
        return {"metrics": {}, "baselines": {}, "bounds": {}, "decoding": decoding}
    if prepared.truth[0]["labels"] is not None:
        made = [one.labels() for one in kept]
        score = object_scores
        truth = [item["labels"] for item in prepared.truth]
    else:
        made = [one.position for one in kept]
        score = point_scores
        truth = [item["points"] for item in prepared.truth]
    _save_preview(preview, prepared.truth, made)
    names = score(truth, truth)
    return {
        "metrics": score(truth, made),
        "baselines": _classical([item["image"][..., 0] for item in prepared.truth], truth, score),
        "bounds": {name: value for name, value in names.items() if name != "rmse_px"},
        "decoding": decoding,
    }


def tune_decoding(model: LoadedModel, task: Any, prepared: Prepared) -> dict[str, Any]:
    """How the maps of a detector become objects, for its card: the scheme, and thresholds tuned on its own held-out images.

    Args:
        model: the detector.
        task: what it learned.
        prepared: `truth` holds the held-out images with their labels or points; where it is empty, the task's thresholds stay.

    Returns:
        `decoding` for the card.
    """
    return _tuned(model, task, prepared)[0]


def _tuned(model: LoadedModel, task: Any, prepared: Prepared) -> tuple[dict[str, Any], list[Detections]]:
    """The decoding for the card, and the objects of each held-out image that it leaves."""
    decoding = describe_decoding(task)
    if not prepared.truth:
        return decoding, []
    found = [candidates(_with(model, decoding), item["image"], LEAST) for item in prepared.truth]
    name, tune = ("points", tune_points) if prepared.truth[0]["labels"] is None else ("labels", tune_objects)
    tuned, kept = tune(found, [item[name] for item in prepared.truth], task.distance_px)
    return {**decoding, **tuned}, kept


def tune_objects(
    found: Sequence[Detections], truth: Sequence[np.ndarray], distance_px: float
) -> tuple[dict[str, float], list[Detections]]:
    """The overlap with the best mean AP over images and IoU of 0.3, 0.5 and 0.7, and the middle of its best thresholds.

    Args:
        found: candidates of each image, from `LEAST` on.
        truth: label images.
        distance_px: of the task, for boxes.

    Returns:
        {"threshold", "overlap"}, and the objects of each image that they leave.
    """
    best: tuple[float, float, float] = (-1.0, 0.5, OVERLAPS[1])
    for overlap in OVERLAPS if any(one.rays is not None for one in found) else OVERLAPS[1:2]:
        kept = [suppress(one, overlap=overlap, distance_px=distance_px) for one in found]
        # Objects stand by falling score and the first lies on top, so a higher threshold only takes labels away.
        drawn = [one.labels() for one in kept]
        values = []
        for level in LEVELS:
            numbers = [int(np.sum(one.score > level)) for one in kept]
            shown = [np.where(image > number, 0, image) for image, number in zip(drawn, numbers)]
            values.append(float(np.mean(metrics.score_labels(zip(truth, shown), IOUS).per_image.ap)))
        if max(values) > best[0]:
            best = (max(values), middle_of_best(values), overlap)
    _, threshold, overlap = best
    kept = [suppress(one, overlap=overlap, distance_px=distance_px) for one in found]
    return {"threshold": threshold, "overlap": overlap}, [one.select(one.score > threshold) for one in kept]


def tune_points(
    found: Sequence[Detections], truth: Sequence[np.ndarray], distance_px: float
) -> tuple[dict[str, float], list[Detections]]:
    """The middle of the thresholds with the best mean F1 over images at 3 px; returns as `tune_objects`."""
    kept = [suppress(one, overlap=OVERLAPS[1], distance_px=distance_px) for one in found]
    values = []
    for level in LEVELS:
        pairs = [(points, one.position[one.score > level]) for points, one in zip(truth, kept)]
        values.append(float(np.mean(metrics.score_points(pairs, DISTANCE_PX).per_image.f1)))
    threshold = middle_of_best(values)
    return {"threshold": threshold}, [one.select(one.score > threshold) for one in kept]


def middle_of_best(values: Sequence[float]) -> float:
    """The middle of the levels around the best whose scores are as good: other images shift the curve to either side.

    Args:
        values: a score for each of `LEVELS`.
    """
    best = int(np.argmax(values))
    good = np.asarray(values) >= values[best] - SLACK
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return LEVELS[(low + high) // 2]


def object_scores(truth: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> dict[str, float]:
    """Pooled over images: AP, F1 and PQ at an IoU of 0.5, AP at 0.75; and the mean AP at 0.5 over images."""
    scores = metrics.score_labels(zip(truth, made), (0.5, 0.75))
    pooled = scores.pooled
    values = {"ap50": pooled.ap[0], "ap75": pooled.ap[1], "f1_50": pooled.f1[0], "pq": pooled.pq[0]}
    values["ap50_image_mean"] = np.mean(scores.per_image.ap[:, 0])
    return {name: float(value) for name, value in values.items()}


def point_scores(truth: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> dict[str, float]:
    """F1 at 3 and 1 px pooled over images, its mean over images at 3 px, and the error of the pairs within 3 px."""
    far, near = (metrics.score_points(list(zip(truth, made)), distance) for distance in (DISTANCE_PX, 1.0))
    values = {"f1_3px": far.pooled.f1, "f1_1px": near.pooled.f1, "rmse_px": far.pooled.rmse_px}
    values["f1_3px_image_mean"] = np.mean(far.per_image.f1)
    # The published F1 adds 1e-8 to hits and pairs, so that nothing found where nothing is scores 1.
    values = {name: value if value > 1e-6 else 0.0 for name, value in values.items()}
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _classical(
    images: Sequence[np.ndarray], truth: Sequence[np.ndarray], score: Callable[..., dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Otsu and watershed for objects, the Laplacian of Gaussian with its best and an automatic threshold for points."""
    made, notes = find_objects(images) if score is object_scores else find_points(images, truth)
    for note in notes:
        print(f"no classical finder beside the model: {note}" if not made else note)
    return {name: score(truth, found) for name, found in made.items()}


def _with(model: LoadedModel, decoding: dict[str, Any]) -> LoadedModel:
    return dataclasses.replace(model, card=dataclasses.replace(model.card, decoding=decoding))


def _save_preview(path: Path, truth: Sequence[dict[str, Any]], made: Sequence[np.ndarray]) -> None:
    """A few images with what is in them and what was found: arrays `image_0`, `truth_0`, `found_0`, ..."""
    arrays: dict[str, np.ndarray] = {}
    chosen = np.linspace(0, len(truth) - 1, min(PREVIEWED, len(truth))).astype(int)
    for place, index in enumerate(chosen):
        item = truth[index]
        arrays[f"image_{place}"] = item["image"][..., 0].astype(np.float32)
        arrays[f"truth_{place}"] = item["points"] if item["labels"] is None else item["labels"]
        arrays[f"found_{place}"] = made[index]
    with written_aside(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, titles=np.array([truth[index]["name"] for index in chosen]), **arrays)
