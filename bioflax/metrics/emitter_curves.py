"""Where does a localizer fail? Its score against photons, depth, density, and the tolerance of the pairing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.emitters import Columns, Comparison, compare_localizations, detection

CURVES = ("photons", "z_nm", "density_per_um2")


@dataclasses.dataclass(frozen=True)
class EmitterCurve:
    """A score in each bin of a quantity; NaN where a bin holds nothing to average.

    Attributes:
        by: the quantity, with its unit.
        edges: (B + 1,) of the bins; a value on an edge belongs to the bin above, the last edge to the last bin.
        count: (B,) true emitters.
        jaccard, precision, recall: (B,) shares.
        rmse_lateral_nm, rmse_axial_nm: (B,) nm; axial is NaN in 2-D.
        bias_z_nm: (B,) mean of predicted minus true z, nm.
    """

    by: str
    edges: np.ndarray
    count: np.ndarray
    jaccard: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    rmse_lateral_nm: np.ndarray
    rmse_axial_nm: np.ndarray
    bias_z_nm: np.ndarray


def binned_score(
    comparison: Comparison, by: str, edges: Sequence[float], *, area_um2: float | None = None
) -> EmitterCurve:
    """The score in bins of a property of the emitters.

    True emitters and pairs go by the true value, false positives by the predicted one, since they have no other.

    Args:
        comparison: of `compare_localizations`.
        by: a column of both tables such as `photons` or `z_nm`, or `density_per_um2`: true emitters in the frame
            over its area.
        edges: (B + 1,) increasing.
        area_um2: area inside the border, µm², for the density.

    Returns:
        The curve.

    Raises:
        InputError: a table lacks the column, edges do not increase, or the density has no area.
    """
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges: expected at least two increasing numbers, found {edges.tolist()}. Sort them.")
    if by == "density_per_um2":
        if area_um2 is None or not area_um2 > 0:
            raise InputError(f"area_um2: expected the area of a frame for the density, found {area_um2}. Give it.")
        true_value, predicted_value = _density(comparison, area_um2)
    else:
        for name, table in (("predicted", comparison.predicted), ("truth", comparison.truth)):
            if by not in table:
                raise InputError(f"by: expected a column of both tables, {by!r} is not in {name}. Use {CURVES}.")
        true_value, predicted_value = comparison.truth[by], comparison.predicted[by]
    count = _count(true_value, edges)
    pair_bin = _bin(true_value[comparison.matches.truth], edges)
    inside = (pair_bin >= 0) & (pair_bin < len(edges) - 1)
    found = np.bincount(pair_bin[inside], minlength=len(edges) - 1)
    false = _count(predicted_value[~comparison.hits], edges)
    errors = {axis: comparison.error_nm(axis)[inside] for axis in ("xyz" if comparison.is_3d else "xy")}

    def average(values: np.ndarray) -> np.ndarray:
        return _divide(np.bincount(pair_bin[inside], values, minlength=len(edges) - 1), found)

    nothing = np.full(len(found), np.nan)
    return EmitterCurve(
        by,
        edges,
        count,
        _divide(found, count + false),
        _divide(found, found + false),
        _divide(found, count),
        np.sqrt(average(errors["x"] ** 2 + errors["y"] ** 2)),
        np.sqrt(average(errors["z"] ** 2)) if comparison.is_3d else nothing,
        average(errors["z"]) if comparison.is_3d else nothing,
    )


def tolerance_curve(
    predicted: Columns, truth: Columns, tolerances_nm: Sequence[float], **protocol: Any
) -> dict[str, np.ndarray]:
    """Jaccard, recall, precision and lateral RMSE against the lateral tolerance, paired anew at each.

    Args:
        predicted, truth: columns as `compare_localizations`.
        tolerances_nm: (T,) lateral tolerances, nm.
        **protocol: the rest of `compare_localizations`.

    Returns:
        `tolerance_nm`, `jaccard`, `precision`, `recall`, `rmse_lateral_nm`: (T,) each.
    """
    rows = []
    for tolerance in tolerances_nm:
        comparison = compare_localizations(predicted, truth, lateral_nm=float(tolerance), **protocol)
        pairs = len(comparison.matches)
        shares = detection(pairs, len(comparison.hits) - pairs, len(comparison.found) - pairs)
        square = comparison.error_nm("x") ** 2 + comparison.error_nm("y") ** 2
        rmse = float(np.sqrt(square.mean())) if pairs else float("nan")
        rows.append((tolerance, shares["jaccard"], shares["precision"], shares["recall"], rmse))
    names = ("tolerance_nm", "jaccard", "precision", "recall", "rmse_lateral_nm")
    return dict(zip(names, np.asarray(rows, np.float64).reshape(-1, len(names)).T))


def _density(comparison: Comparison, area_um2: float) -> tuple[np.ndarray, np.ndarray]:
    """Density of the frame of each true emitter, and of each prediction."""
    frames, count = np.unique(comparison.truth["frame"], return_counts=True)
    if frames.size == 0:
        return np.zeros(0), np.zeros(len(comparison.predicted["frame"]))
    of_predicted = comparison.predicted["frame"]
    place = np.minimum(np.searchsorted(frames, of_predicted), len(frames) - 1)
    there = np.where(frames[place] == of_predicted, count[place], 0)
    return count[np.searchsorted(frames, comparison.truth["frame"])] / area_um2, there / area_um2


def _bin(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each value; -1 or B outside."""
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where(values == edges[-1], len(edges) - 2, place)


def _count(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0]


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
