"""Numbers of one detector: its rows of table.csv, and its pooled numbers, for objects and for points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.evaluation.detection_summary import (
    Numbers,
    Row,
    count_numbers,
    image_intervals,
    image_means,
    mean,
    ratio,
)
from bioflax.metrics.objects import LabelMatches, LabelScores
from bioflax.metrics.points import PointMatches, PointScores

# name of a number -> rate and IoU
OBJECT_RATES = {
    "ap50": ("ap", 0.5),
    "ap75": ("ap", 0.75),
    "f1_50": ("f1", 0.5),
    "precision_50": ("precision", 0.5),
    "recall_50": ("recall", 0.5),
    "pq": ("pq", 0.5),
}
OBJECT_MEANS = ("ap50", "ap75", "mean_ap", "f1_50", "pq")
OBJECT_CURVES = ("ap", "f1", "precision", "recall", "pq")
POINT_RATES = ("f1", "precision", "recall", "jaccard")


def sizes_of(truth: np.ndarray, predicted: np.ndarray, matches: LabelMatches) -> np.ndarray:
    """(P, 2) pixels of the true and the predicted object of each pair."""
    counts = []
    for image, labels in ((truth, matches.truth_label), (predicted, matches.predicted_label)):
        known, size = np.unique(image, return_counts=True)
        counts.append(size[np.searchsorted(known, labels)] if len(labels) else np.empty(0))
    return np.stack(counts, -1).astype(float)


def diameters_of(sizes: np.ndarray, ndim: int) -> np.ndarray:
    """Diameter of the disk, or the ball, of as many pixels, px."""
    return 2 * np.sqrt(sizes / np.pi) if ndim == 2 else np.cbrt(6 * sizes / np.pi)


def object_rows(scores: LabelScores, sizes: Sequence[np.ndarray], ndim: int) -> list[Row]:
    """One row for each image: counts and rates, and errors of the sizes of its pairs."""
    rates, rows = scores.per_image, []
    half = at(scores, 0.5)
    for i, pairs in enumerate(sizes):
        true, predicted = diameters_of(pairs, ndim).T
        row: Row = {"n_true": int(scores.n_true[i]), "n_predicted": int(scores.n_predicted[i])}
        row |= counts_of(scores.tp[i, half], scores.fp[i, half], scores.fn[i, half])
        row |= {name: float(getattr(rates, rate)[i, at(scores, iou)]) for name, (rate, iou) in OBJECT_RATES.items()}
        row["mean_ap"] = float(rates.ap[i].mean())
        row["mean_matched_iou"] = ratio(scores.iou_sum[i, half], scores.tp[i, half])
        row["size_error"] = median(np.abs(pairs[:, 1] / pairs[:, 0] - 1))
        row["diameter_error_px"] = mean(predicted - true)
        rows.append(row)
    return rows


def object_entry(
    scores: LabelScores,
    pairs: np.ndarray,
    rows: Sequence[Row],
    ndim: int,
    pixel_nm: float | None,
    megapixels: Sequence[float],
) -> dict[str, Any]:
    """`numbers`, `intervals` and `curves` of one method.

    Args:
        scores: of all images.
        pairs: (P, 2) true and predicted pixels of all pairs at an IoU of 0.5.
        rows: of `object_rows`, with `item` and `group`.
        ndim: axes of a label image.
        pixel_nm: adds the diameters in nm.
        megapixels: of each image.
    """
    pooled, half = scores.pooled, at(scores, 0.5)
    numbers: Numbers = {
        name: float(getattr(pooled, rate)[at(scores, iou)]) for name, (rate, iou) in OBJECT_RATES.items()
    }
    numbers["pq_50"] = numbers["pq"]
    numbers["mean_ap"] = float(pooled.ap.mean())
    numbers["mean_matched_iou"] = ratio(scores.iou_sum[:, half].sum(), scores.tp[:, half].sum())
    numbers |= image_means(rows, OBJECT_MEANS)
    numbers |= counts_of(*(getattr(scores, name)[:, half].sum() for name in ("tp", "fp", "fn")))
    numbers |= count_numbers(rows) | false_positives(rows, megapixels)
    relative = pairs[:, 1] / pairs[:, 0] - 1
    numbers |= {"size_error": median(np.abs(relative)), "size_bias": median(relative)}
    true, predicted = diameters_of(pairs, ndim).T
    numbers["diameter_bias_px"] = mean(predicted - true)
    numbers["diameter_rmse_px"] = float(np.sqrt(mean((predicted - true) ** 2)))
    if pixel_nm and ndim == 2:
        numbers |= {f"diameter_{kind}_nm": numbers[f"diameter_{kind}_px"] * pixel_nm for kind in ("bias", "rmse")}
    curves = {
        kind: {rate: getattr(rates, rate).tolist() for rate in OBJECT_CURVES}
        for kind, rates in (("pooled", pooled), ("image_mean", scores.mean))
    }
    return {"numbers": numbers, "intervals": image_intervals(rows, OBJECT_MEANS), "curves": curves}


def false_positives(rows: Sequence[Row], megapixels: Sequence[float]) -> Numbers:
    """False positives per megapixel, over all images and over those without any object."""
    false = np.array([row["false_positives"] for row in rows])
    empty, areas = np.array([row["n_true"] == 0 for row in rows]), np.asarray(megapixels, float)
    numbers = {"false_positives_per_megapixel": ratio(false.sum(), areas.sum())}
    if empty.any():
        numbers["empty_false_positives_per_megapixel"] = ratio(false[empty].sum(), areas[empty].sum())
    return numbers


def point_rows(scores: Mapping[float, PointScores], integrals: Sequence[float]) -> list[Row]:
    """One row for each image: counts at the largest distance, and rates at each."""
    widest = scores[max(scores)]
    rates = {distance: one.per_image for distance, one in scores.items()}
    rows = []
    for i, integral in enumerate(integrals):
        tp, fp, fn = (int(getattr(widest, name)[i]) for name in ("tp", "fp", "fn"))
        row: Row = {"n_true": tp + fn, "n_predicted": tp + fp, **counts_of(tp, fp, fn)}
        row |= {
            f"{rate}_{distance:g}px": exact(getattr(own, rate)[i])
            for rate in POINT_RATES
            for distance, own in rates.items()
        }
        rows.append({**row, "f1_integral": float(integral), "rmse_px": float(rates[max(scores)].rmse_px[i])})
    return rows


def point_entry(
    scores: Mapping[float, PointScores], rows: Sequence[Row], megapixels: Sequence[float]
) -> dict[str, Any]:
    """`numbers`, `intervals` and `curves` of one method.

    Args:
        scores: largest distance of a pair, px -> scores of all images.
        rows: of `point_rows`, with `item` and `group`.
        megapixels: of each image.
    """
    pooled = {distance: one.pooled for distance, one in scores.items()}
    numbers: Numbers = {
        f"{rate}_{distance:g}px": exact(getattr(own, rate)) for rate in POINT_RATES for distance, own in pooled.items()
    }
    means = [*(f"f1_{distance:g}px" for distance in scores), "f1_integral"]
    found = image_means(rows, means)
    numbers["f1_integral"] = found.pop("f1_integral_image_mean")
    numbers |= {**found, "rmse_px": float(pooled[max(scores)].rmse_px)}
    numbers |= counts_of(*(getattr(scores[max(scores)], name).sum() for name in ("tp", "fp", "fn")))
    numbers |= count_numbers(rows) | false_positives(rows, megapixels)
    intervals = image_intervals(rows, means)
    if "f1_integral_image_mean" in intervals:  # a mean over images by definition
        intervals["f1_integral"] = intervals.pop("f1_integral_image_mean")
    curves = {
        kind: {rate: [exact(getattr(getattr(one, of), rate)) for one in scores.values()] for rate in POINT_RATES}
        for kind, of in (("pooled", "pooled"), ("image_mean", "mean"))
    }
    return {"numbers": numbers, "intervals": intervals, "curves": curves}


def score_arrays(
    name: str, scores: Sequence[Any], predicted: Sequence[np.ndarray], matches: Sequence[PointMatches]
) -> dict[str, np.ndarray]:
    """`<name>.score` and `<name>.hit`, (P,) each: the probability of each point, and whether it met a true one.

    Raises:
        InputError: not one number for each point, or one that is no probability.
    """
    if len(scores) != len(predicted):
        raise InputError(
            f"scores: expected those of {len(predicted)} images for {name}, found {len(scores)}. Fit them."
        )
    hits = []
    for i, (values, points, found) in enumerate(zip(scores, predicted, matches)):
        values = np.asarray(values, float)
        if values.shape != (len(points),) or not np.all((values >= 0) & (values <= 1)):
            raise InputError(
                f"scores: expected {len(points)} probabilities in [0, 1] for image {i} of {name}, found shape "
                f"{values.shape}. Give one for each point, or leave scores out."
            )
        hits.append(np.isin(np.arange(len(points)), found.predicted))
    flat = np.concatenate([np.asarray(values, float).ravel() for values in scores])
    return {f"{name}.score": flat.astype(np.float32), f"{name}.hit": np.concatenate(hits).astype(np.uint8)}


def exact(share: Any) -> float:
    """A share of points without the 1e-8 that they are counted with: no hit at all is 0."""
    return 0.0 if share < 1e-6 else float(share)


def counts_of(tp: Any, fp: Any, fn: Any) -> Numbers:
    return {"true_positives": int(tp), "false_positives": int(fp), "false_negatives": int(fn)}


def at(scores: LabelScores, iou: float) -> int:
    """Place of a threshold."""
    return int(np.argmin(np.abs(scores.iou - iou)))


def median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
