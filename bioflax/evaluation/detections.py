"""Evaluation of detectors: objects as label images and spots as points, against the truth, beside baselines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation.detection_inputs import Images, checked_images, points_of, same_shapes
from bioflax.evaluation.detection_pictures import chosen_images, heads, picture_of
from bioflax.evaluation.detection_scores import (
    OBJECT_MEANS,
    OBJECT_RATES,
    POINT_RATES,
    diameters_of,
    object_entry,
    object_rows,
    point_entry,
    point_rows,
    score_arrays,
    sizes_of,
)
from bioflax.evaluation.detection_summary import OBJECTS, POINTS, DetectionResult, Row
from bioflax.metrics.objects import IOUS, match_labels, score_labels
from bioflax.metrics.outcomes import States, object_states, point_states
from bioflax.metrics.points import f1_integral, match_points, score_points

NOTE = (
    "The bound is the truth against itself. Where images were annotated twice, the score of one annotation against the "
    "other is what can be reached; it is not known here."
)

Arrays = dict[str, np.ndarray]


def evaluate_objects(
    methods: Mapping[str, Sequence[np.ndarray]],
    truth: Sequence[np.ndarray],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    run_dir: str | os.PathLike,
    groups: Sequence[str | None] | None = None,
    seconds: Mapping[str, float] | None = None,
    pixel_nm: float | None = None,
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> DetectionResult:
    """Judges label images; writes `table.csv`, `summary.json` and `pictures.npz` and prints the table.

    `ap50`, `ap75`, `mean_ap` (IoU 0.5 to 0.9), `f1_50`, `precision_50`, `recall_50`, `pq` (at 0.5) pool the counts of all
    images; `.._image_mean` are means over images. Sizes are those of the pairs at an IoU of 0.5.

    Args:
        methods: name -> label images, one for each image; the first is judged, the others are baselines.
        truth: label images, 0 the background.
        images: (H, W) or (Z, H, W) each, for the pictures.
        names: of the images, no two alike.
        run_dir: folder for the files.
        groups: which images belong together and are resampled together; None takes each alone.
        seconds: name -> time it took.
        pixel_nm: pixel, nm.
        notes: more for the reader.
        console: where the table goes.

    Returns:
        The result.

    Raises:
        InputError: no methods, lengths or shapes that differ, equal names, no integer labels.
    """
    given = checked_images(methods, truth, images, names, groups, pixel_nm)
    same_shapes({"truth": truth, **methods}, given)
    ndim = np.ndim(truth[0])
    entries, rows, arrays, matches = {}, [], {}, {}
    for name, predicted in methods.items():
        scores = score_labels(zip(truth, predicted), IOUS)
        matches[name] = [match_labels(a, b) for a, b in zip(truth, predicted)]
        sizes = [sizes_of(a, b, found) for a, b, found in zip(truth, predicted, matches[name])]
        own, pairs = given.rows(name, object_rows(scores, sizes, ndim)), np.concatenate(sizes)
        rows += own
        entries[name] = object_entry(scores, pairs, own, ndim, pixel_nm, given.megapixels)
        columns = dict(zip(("true_diameter_px", "predicted_diameter_px"), diameters_of(pairs, ndim).T))
        columns["iou"] = np.concatenate([found.iou for found in matches[name]])
        arrays |= {f"{name}.{key}": values.astype(np.float32) for key, values in columns.items()}

    def states(i: int) -> dict[str, States]:
        return {n: object_states(np.asarray(truth[i]), np.asarray(own[i]), matches[n][i]) for n, own in methods.items()}

    arrays |= _pictures(given, rows, "ap50", states)
    caption = (
        "AP is TP / (TP + FP + FN) at an IoU of 0.5 (AP50), 0.75 (AP75), and the mean of 0.5 to 0.9; F1, PQ and sizes at "
        f"0.5. Counts are pooled over {len(names)} images, unless a mean over images is named."
    )
    bound = dict.fromkeys((*OBJECT_RATES, "pq_50", "mean_ap", "mean_matched_iou"), 1.0)
    bound |= {f"{name}_image_mean": 1.0 for name in OBJECT_MEANS}
    facts = given.facts(rows, IOUS, caption)
    return _finish(OBJECTS, _timed(entries, seconds), bound, facts, rows, notes, arrays, run_dir, console)


def evaluate_points(
    methods: Mapping[str, Sequence[np.ndarray]],
    truth: Sequence[np.ndarray],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    run_dir: str | os.PathLike,
    distances_px: Sequence[float] = (1, 2, 3),
    scores: Mapping[str, Sequence[np.ndarray]] | None = None,
    groups: Sequence[str | None] | None = None,
    seconds: Mapping[str, float] | None = None,
    pixel_nm: float | None = None,
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> DetectionResult:
    """Judges points; writes `table.csv`, `summary.json` and `pictures.npz` and prints the table.

    `f1_<distance>px` and its like pool the counts of all images; `.._image_mean` are means over images. RMSE, false
    positives and pictures are those at the largest distance; `f1_integral` is a mean over images.

    Args:
        methods: name -> (N, d) positions of each image, px, (y, x) or (z, y, x), pixel centres at integers; the first is
            judged, the others are baselines.
        truth: (M, d) positions of each image.
        images: (H, W) or (Z, H, W) each, with as many axes as a position.
        names: of the images, no two alike.
        run_dir: folder for the files.
        distances_px: largest distances of a pair.
        scores: name -> (N,) probability of each point, where a method has them.
        groups, seconds, pixel_nm, notes, console: as `evaluate_objects`.

    Returns:
        The result.

    Raises:
        InputError: no methods, lengths that differ, equal names, a distance that is not positive, scores that do not fit.
    """
    given = checked_images(methods, truth, images, names, groups, pixel_nm)
    distances = sorted({float(distance) for distance in distances_px})
    if not distances:
        raise InputError("distances_px: expected at least one distance, found none. Use (1, 2, 3).")
    known = [points_of("truth", points, image) for points, image in zip(truth, images)]
    tables = {name: [points_of(name, p, image) for p, image in zip(lists, images)] for name, lists in methods.items()}
    entries, rows, arrays, matches = {}, [], {}, {}
    for name, predicted in tables.items():
        scored = {distance: score_points(zip(known, predicted), distance) for distance in distances}
        matches[name] = [match_points(a, b, distances[-1]) for a, b in zip(known, predicted)]
        integrals = [f1_integral(a, b) for a, b in zip(known, predicted)]
        own = given.rows(name, point_rows(scored, integrals))
        rows += own
        entries[name] = point_entry(scored, own, given.megapixels)
        if pixel_nm and np.ndim(images[0]) == 2:
            entries[name]["numbers"] |= _in_nm(entries[name]["numbers"], pixel_nm)
        arrays[f"{name}.distance_px"] = np.concatenate([m.distance_px for m in matches[name]]).astype(np.float32)
        if scores is not None and name in scores:
            arrays |= score_arrays(name, scores[name], predicted, matches[name])

    def states(i: int) -> dict[str, States]:
        return {name: point_states(known[i], own[i], matches[name][i]) for name, own in tables.items()}

    arrays |= _pictures(given, rows, f"f1_{distances[-1]:g}px", states)
    caption = (
        f"One-to-one pairs of least total squared distance, at most {', '.join(f'{d:g}' for d in distances)} px apart; "
        f"counts and RMSE at {distances[-1]:g} px. Counts are pooled over {len(names)} images, unless a mean over images "
        "is named."
    )
    bound = {f"{rate}_{distance:g}px": 1.0 for rate in POINT_RATES for distance in distances}
    bound |= {f"f1_{distance:g}px_image_mean": 1.0 for distance in distances} | {"f1_integral": 1.0}
    facts = given.facts(rows, distances, caption)
    return _finish(POINTS, _timed(entries, seconds), bound, facts, rows, notes, arrays, run_dir, console)


def _in_nm(numbers: Mapping[str, float], pixel_nm: float) -> dict[str, float]:
    """RMSE and false positives in physical units."""
    um2 = 1e6 * (pixel_nm / 1000.0) ** 2  # of a megapixel
    found = {"rmse_nm": numbers["rmse_px"] * pixel_nm}
    for name in ("false_positives_per_megapixel", "empty_false_positives_per_megapixel"):
        if name in numbers:
            found[name.replace("megapixel", "um2")] = numbers[name] / um2
    return found


def _timed(entries: dict[str, dict[str, Any]], seconds: Mapping[str, float] | None) -> dict[str, dict[str, Any]]:
    return {name: {**entry, "seconds": (seconds or {}).get(name)} for name, entry in entries.items()}


def _pictures(given: Images, rows: Sequence[Row], by: str, states: Callable[[int], dict[str, States]]) -> Arrays:
    """Crops of the worst images and a few others by one number of the first method."""
    own = rows[: len(given.names)]
    wrong = [row["false_positives"] + row["false_negatives"] for row in own]
    worst, others = chosen_images([row[by] for row in own], wrong)
    arrays = heads(worst, others, given.names, [row[by] for row in own])
    for k, i in enumerate([*worst, *others]):
        arrays |= picture_of(k, np.asarray(given.images[i]), states(i))
    return arrays


def _finish(
    kind: str,
    entries: dict[str, dict[str, Any]],
    bound: dict[str, float],
    facts: dict[str, Any],
    rows: Sequence[Row],
    notes: Sequence[str],
    arrays: Arrays,
    run_dir: str | os.PathLike,
    console: Console | None,
) -> DetectionResult:
    """Writes and prints."""
    said = tuple(dict.fromkeys((*notes, NOTE)))
    result = DetectionResult(next(iter(entries)), kind, entries, bound, facts, tuple(rows), said)
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    result.write(folder, arrays)
    (console or Console()).print(result.table())
    return result
