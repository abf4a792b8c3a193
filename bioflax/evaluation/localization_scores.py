"""The numbers and the curves of one table of localizations against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics import (
    Comparison,
    binned_score,
    bootstrap,
    compare_localizations,
    errors_over_crlb,
    false_positives_per_um2,
    grid_bias,
    summarize,
    tolerance_curve,
)

RESAMPLES = 2000
BINS = 8
TOLERANCES = 20
NEIGHBOURHOOD_NM = 1000.0
NEIGHBOURS = "neighbours_per_um2"
ERROR_BINS = np.linspace(-5.0, 5.0, 51)

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """How tables are judged.

    Args:
        size_nm: (height, width) of the field.
        frames: length of the movie.
        pixel_nm: camera pixel; None leaves out what needs it.
        border_nm, lateral_nm, axial_nm, photon_quantile: as `metrics.compare_localizations`.
    """

    size_nm: tuple[float, float]
    frames: int
    pixel_nm: float | None
    border_nm: float = 450.0
    lateral_nm: float = 250.0
    axial_nm: float | None = 500.0
    photon_quantile: float | None = None

    def __post_init__(self) -> None:
        if self.border_nm < 0 or 2 * self.border_nm >= min(self.size_nm):
            raise InputError(
                f"border_nm: expected 0 to less than half of the field, {min(self.size_nm) / 2:g} nm, found "
                f"{self.border_nm:g}. Give border_nm=0 to keep all."
            )

    @property
    def area_um2(self) -> float:
        """Area inside the border."""
        return float(np.prod([side - 2 * self.border_nm for side in self.size_nm])) / 1e6

    @property
    def pairing(self) -> dict[str, Any]:
        """Arguments of `compare_localizations` but the rule."""
        names = ("size_nm", "border_nm", "lateral_nm", "axial_nm", "photon_quantile")
        return {name: getattr(self, name) for name in names}

    @property
    def caption(self) -> str:
        """In one sentence."""
        depth = "" if self.axial_nm is None else f", {self.axial_nm:g} nm axially"
        dim = f", emitters above the {self.photon_quantile:g} quantile of photons" if self.photon_quantile else ""
        return f"Pairs within {self.lateral_nm:g} nm laterally{depth}; border of {self.border_nm:g} nm left out{dim}."


def compare(predicted: Columns, truth: Columns, protocol: Protocol, rule: str) -> Comparison:
    """As `metrics.compare_localizations`."""
    return compare_localizations(predicted, truth, rule=rule, **protocol.pairing)


def numbers_of(comparison: Comparison, truth: Columns, protocol: Protocol) -> dict[str, float]:
    """Every number of one comparison.

    Args:
        comparison: of `compare`.
        truth: the whole truth: frames that are empty in it are really empty.
        protocol: of the comparison.

    Returns:
        Those of `metrics.summarize`; `grid_ks_x` ..; `false_positives_per_um2` on frames without emitters, where there
        are such frames; `bound_lateral_nm`, `bound_axial_nm`: what was possible for the emitters that were found.
    """
    numbers = summarize(comparison)
    if protocol.pixel_nm and len(comparison.predicted["frame"]):
        numbers |= grid_bias(comparison.predicted["x_nm"], comparison.predicted["y_nm"], protocol.pixel_nm)
    lit = np.unique(truth["frame"])
    empty = protocol.frames - len(lit)
    if empty > 0:
        false = int(np.sum(~np.isin(comparison.predicted["frame"], lit)))
        numbers["false_positives_per_um2"] = false_positives_per_um2(false, empty, protocol.area_um2)
        numbers["empty_frames"] = empty
    found = {name: values[comparison.matches.truth] for name, values in comparison.truth.items()}
    if NEIGHBOURS in found:
        alone = found[NEIGHBOURS] == 0
        for axis in "xyz" if comparison.is_3d else "xy":
            if f"crlb_{axis}_nm" in found and alone.any():
                ratio = errors_over_crlb(comparison.error_nm(axis)[alone], found[f"crlb_{axis}_nm"][alone])
                numbers[f"isolated_rmse_over_crlb_{axis}"] = ratio["rmse_over_crlb"]
    bound = bound_of(found)
    return numbers | {name.replace("rmse", "bound"): value for name, value in bound.items()}


def bound_of(columns: Columns) -> dict[str, float]:
    """Least possible RMSE of emitters with `crlb_x_nm` ..: {"rmse_lateral_nm"} and "rmse_axial_nm" where z is known."""
    found = {}
    for name, axes in (("rmse_lateral_nm", "xy"), ("rmse_axial_nm", "z")):
        if all(f"crlb_{axis}_nm" in columns for axis in axes):
            square = sum(columns[f"crlb_{axis}_nm"] ** 2 for axis in axes)
            square = square[np.isfinite(square)]
            found[name] = float(np.sqrt(square.mean())) if square.size else float("nan")
    return found


def intervals_of(comparison: Comparison) -> dict[str, list[float]]:
    """95 % intervals of Jaccard, precision, recall and RMSE; whole frames are resampled.

    A Jaccard index is the mean, over true positives, false positives and misses, of being a true positive.
    """
    hits, found = comparison.hits, comparison.found
    predicted, truth = comparison.predicted["frame"], comparison.truth["frame"]
    square = comparison.error_nm("x") ** 2 + comparison.error_nm("y") ** 2
    means = {
        "jaccard": (np.concatenate([hits, found[~found]]), np.concatenate([predicted, truth[~found]])),
        "precision": (hits, predicted),
        "recall": (found, truth),
    }
    squares = {"rmse_lateral_nm": square}
    if comparison.is_3d:
        squares["rmse_axial_nm"] = comparison.error_nm("z") ** 2
    of_pair = truth[comparison.matches.truth]
    found_intervals = {name: interval(values, frames) for name, (values, frames) in means.items()}
    found_intervals |= {name: [float(np.sqrt(end)) for end in interval(v, of_pair)] for name, v in squares.items()}
    return {name: ends for name, ends in found_intervals.items() if np.isfinite(ends).all()}


def interval(values: np.ndarray, frames: np.ndarray) -> list[float]:
    """Of a mean over frames; NaN for nothing or one frame."""
    if len(values) == 0:
        return [float("nan")] * 2
    return list(bootstrap(values, groups=frames.tolist(), resamples=RESAMPLES))


def with_neighbours(predicted: Columns, truth: Columns) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both tables with `neighbours_per_um2`: other true emitters of the frame within 1 µm, over that area.

    Of a prediction the nearest true emitter does not count: it is the one that was meant.
    """
    from scipy.spatial import cKDTree

    if len(truth["frame"]) == 0:
        return tuple({**table, NEIGHBOURS: np.zeros(len(table["frame"]))} for table in (predicted, truth))
    area = np.pi * (NEIGHBOURHOOD_NM / 1000.0) ** 2
    # Frames lie in layers farther apart than the search reaches
    place = [np.column_stack([t["x_nm"], t["y_nm"], t["frame"] * (4.0 * NEIGHBOURHOOD_NM)]) for t in (predicted, truth)]
    tree = cKDTree(place[1])
    around = [tree.query_ball_point(points, NEIGHBOURHOOD_NM, return_length=True) for points in place]
    density = [np.maximum(count - 1, 0) / area for count in around]
    return {**predicted, NEIGHBOURS: density[0]}, {**truth, NEIGHBOURS: density[1]}


def edges_of(truth: Columns) -> dict[str, np.ndarray]:
    """Bins of the curves: photons and neighbours with equally many emitters each, depth with equal widths."""
    edges = {}
    for by in ("photons", "z_nm", NEIGHBOURS):
        values = truth.get(by)
        if values is None or len(values) < 2 or np.ptp(values) == 0:
            continue
        if by == "z_nm":
            edges[by] = np.linspace(values.min(), values.max(), BINS + 1)
        else:
            found = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
            edges[by] = found if len(found) > 2 else np.array([values.min(), np.mean(found), values.max()])
    return edges


def curves_of(
    predicted: Columns, truth: Columns, comparison: Comparison, protocol: Protocol, edges: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The score against photons, depth, neighbours and tolerance, and the errors in units of their spread.

    Args:
        predicted, truth: whole tables.
        comparison: of the main rule.
        protocol: of the comparison.
        edges: of `edges_of`.

    Returns:
        Flat arrays, `<by>.<number>`; `tolerance.<number>`; `error_over_sigma.<axis>` and `error_over_crlb.<axis>` counts
        in `ERROR_BINS`.
    """
    found: dict[str, np.ndarray] = {}
    for by, limits in edges.items():
        if by in comparison.predicted and by in comparison.truth:
            curve = binned_score(comparison, by, limits)
            for name in ("count", "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "bias_z_nm"):
                found[f"{by}.{name}"] = np.asarray(getattr(curve, name), float)
    tolerances = protocol.lateral_nm * np.arange(1, TOLERANCES + 1) / TOLERANCES
    rest = {name: value for name, value in protocol.pairing.items() if name != "lateral_nm"}
    for name, values in tolerance_curve(predicted, truth, tolerances, **rest).items():
        found[f"tolerance.{name}"] = values
    for axis in "xyz" if comparison.is_3d else "xy":
        error = comparison.error_nm(axis)
        scales = {
            "error_over_sigma": (comparison.predicted, f"sigma_{axis}_nm", comparison.matches.predicted),
            "error_over_crlb": (comparison.truth, f"crlb_{axis}_nm", comparison.matches.truth),
        }
        for name, (table, column, rows) in scales.items():
            if column in table and len(rows):
                ratio = np.clip(error / table[column][rows], ERROR_BINS[0], ERROR_BINS[-1])
                found[f"{name}.{axis}"] = np.histogram(ratio, ERROR_BINS)[0]
    return found


def bound_curves(truth: Columns, edges: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Least possible RMSE in the same bins, `<by>.rmse_lateral_nm` and `<by>.rmse_axial_nm`."""
    found: dict[str, np.ndarray] = {}
    for by, limits in edges.items():
        place = np.clip(np.searchsorted(limits, truth[by], side="right") - 1, 0, len(limits) - 2)
        for part in range(len(limits) - 1):
            for name, value in bound_of({n: v[place == part] for n, v in truth.items()}).items():
                found.setdefault(f"{by}.{name}", np.full(len(limits) - 1, np.nan))[part] = value
    return found
