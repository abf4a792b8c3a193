"""The score of a localization table against the truth, after the protocol of the 2016 SMLM challenge."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.emitter_errors import errors_over_crlb, sigma_calibration
from bioflax.metrics.matching import Matches, match_emitters

Columns = Mapping[str, Any]
EFFICIENCY_ALPHA_LATERAL = 1.0  # percent per nm
EFFICIENCY_ALPHA_AXIAL = 0.5


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Predictions and truth after borders and pairing; what the score and the curves are computed from.

    Attributes:
        predicted, truth: columns inside the border; `predicted` without those matched to dim emitters.
        matches: pairs of the kept rows.
    """

    predicted: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    matches: Matches

    @property
    def is_3d(self) -> bool:
        """Whether both tables have z."""
        return "z_nm" in self.predicted and "z_nm" in self.truth

    def error_nm(self, axis: str) -> np.ndarray:
        """(P,) predicted minus true position along `x`, `y` or `z`, nm."""
        return self.predicted[f"{axis}_nm"][self.matches.predicted] - self.truth[f"{axis}_nm"][self.matches.truth]

    @property
    def hits(self) -> np.ndarray:
        """(N,) whether a prediction is a true positive."""
        found = np.zeros(len(self.predicted["frame"]), bool)
        found[self.matches.predicted] = True
        return found

    @property
    def found(self) -> np.ndarray:
        """(M,) whether a true emitter was found."""
        found = np.zeros(len(self.truth["frame"]), bool)
        found[self.matches.truth] = True
        return found


def compare_localizations(
    predicted: Columns,
    truth: Columns,
    *,
    size_nm: tuple[float, float] | None = None,
    border_nm: float = 450.0,
    lateral_nm: float = 250.0,
    axial_nm: float | None = 500.0,
    rule: str = "greedy",
    photon_quantile: float | None = None,
) -> Comparison:
    """Cuts the border, pairs, and takes dim emitters out (Sage et al. 2019).

    Order of the protocol: both tables lose what lies within `border_nm` of an edge; all that is left is paired; then
    true emitters below the photon quantile leave, and with them the predictions that they explain, which count
    neither as found nor as false.

    Args:
        predicted, truth: columns `frame`, `x_nm`, `y_nm` and, in 3-D, `z_nm`; `photons` in the truth for a quantile.
        size_nm: (height, width) of the field of view, nm; needed for a border.
        border_nm: width of the border, nm; 0 keeps all.
        lateral_nm, axial_nm, rule: as `match_emitters`.
        photon_quantile: such as 0.25 to score only emitters at least as bright as this quantile of the truth.

    Returns:
        The comparison.

    Raises:
        InputError: a column is missing, no `size_nm` for a border, or a bad quantile.
    """
    predicted, truth = _table("predicted", predicted), _table("truth", truth)
    if border_nm < 0 or (border_nm > 0 and size_nm is None):
        raise InputError(f"size_nm: expected (height, width) in nm for border_nm={border_nm}. Give it, or border_nm=0.")
    if photon_quantile is not None and not 0 <= photon_quantile < 1:
        raise InputError(f"photon_quantile: expected a share in [0, 1), found {photon_quantile}. Use 0.25, or None.")
    if photon_quantile is not None and "photons" not in truth:
        raise InputError("truth: expected photons for photon_quantile, found none. Add them, or photon_quantile=None.")
    if border_nm > 0:
        predicted, truth = (_rows(table, _inside(table, size_nm, border_nm)) for table in (predicted, truth))
    names = ("x_nm", "y_nm", "z_nm") if "z_nm" in predicted and "z_nm" in truth else ("x_nm", "y_nm")
    matches = match_emitters(
        np.column_stack([predicted[name] for name in names]),
        predicted["frame"],
        np.column_stack([truth[name] for name in names]),
        truth["frame"],
        lateral_nm=lateral_nm,
        axial_nm=axial_nm,
        rule=rule,
    )
    if photon_quantile is None or len(truth["frame"]) == 0:
        return Comparison(predicted, truth, matches)
    bright = truth["photons"] >= np.quantile(truth["photons"], photon_quantile)
    kept = bright[matches.truth]
    counted = np.ones(len(predicted["frame"]), bool)
    counted[matches.predicted[~kept]] = False
    # Rows move up where others left
    matches = Matches(
        (np.cumsum(counted) - 1)[matches.predicted[kept]],
        (np.cumsum(bright) - 1)[matches.truth[kept]],
        matches.distance_nm[kept],
    )
    return Comparison(_rows(predicted, counted), _rows(truth, bright), matches)


def score_localizations(predicted: Columns, truth: Columns, **protocol: Any) -> dict[str, float]:
    """All numbers of the challenge, and what the predicted uncertainties are worth.

    RMSE: lateral sqrt(mean(dx² + dy²)), a 2-D norm and not an axis; axial and volume alike. MAD: mean(|dx| + |dy|).
    Bias: mean of predicted minus true. Efficiency, percent: 100 - sqrt((100 - J)² + (alpha RMSE)²) with J in percent
    and alpha 1 / nm laterally, 0.5 / nm axially; 3-D is the mean of both (Sage et al. 2019). It is 100 for a perfect
    table and can be negative.

    Args:
        predicted, truth: columns as `compare_localizations`; with `photons`, `crlb_x_nm` .. (of the truth, else of
            the predictions) or predicted `sigma_x_nm` .. the numbers that need them are there.
        **protocol: `size_nm`, `border_nm`, `lateral_nm`, `axial_nm`, `rule`, `photon_quantile` of
            `compare_localizations`.

    Returns:
        Name to number. Counts and shares (0..1) always; what is averaged over pairs is NaN without pairs; axial, volume
        and 3-D numbers only where both tables have z.

    Raises:
        InputError: as `compare_localizations`.
    """
    return summarize(compare_localizations(predicted, truth, **protocol))


def summarize(comparison: Comparison) -> dict[str, float]:
    """The numbers of `score_localizations`, from a comparison."""
    pairs = len(comparison.matches)
    score = detection(pairs, len(comparison.predicted["frame"]) - pairs, len(comparison.truth["frame"]) - pairs)
    axes = "xyz" if comparison.is_3d else "xy"
    errors = {axis: comparison.error_nm(axis) for axis in axes}
    lateral = errors["x"] ** 2 + errors["y"] ** 2
    score["rmse_lateral_nm"] = float(np.sqrt(_mean(lateral)))
    score["mad_lateral_nm"] = _mean(abs(errors["x"]) + abs(errors["y"]))
    score |= {f"bias_{axis}_nm": _mean(errors[axis]) for axis in axes}
    score["efficiency_lateral"] = efficiency(score["jaccard"], score["rmse_lateral_nm"], EFFICIENCY_ALPHA_LATERAL)
    if comparison.is_3d:
        score["rmse_axial_nm"] = float(np.sqrt(_mean(errors["z"] ** 2)))
        score["rmse_volume_nm"] = float(np.sqrt(_mean(lateral + errors["z"] ** 2)))
        score["efficiency_axial"] = efficiency(score["jaccard"], score["rmse_axial_nm"], EFFICIENCY_ALPHA_AXIAL)
        score["efficiency_3d"] = (score["efficiency_lateral"] + score["efficiency_axial"]) / 2
    predicted = {name: values[comparison.matches.predicted] for name, values in comparison.predicted.items()}
    truth = {name: values[comparison.matches.truth] for name, values in comparison.truth.items()}
    if "photons" in predicted and "photons" in truth:
        score["photon_correlation"] = _correlation(predicted["photons"], truth["photons"])
    over_sigma = []
    for axis in axes:
        crlb = truth.get(f"crlb_{axis}_nm", predicted.get(f"crlb_{axis}_nm"))
        if crlb is not None:
            score |= {f"{name}_{axis}": value for name, value in errors_over_crlb(errors[axis], crlb).items()}
        if f"sigma_{axis}_nm" in predicted:
            sigma = predicted[f"sigma_{axis}_nm"]
            score[f"error_over_sigma_{axis}"] = sigma_calibration(errors[axis], sigma)["error_over_sigma"]
            over_sigma.append((errors[axis], sigma))
    if over_sigma:
        score |= sigma_calibration(*(np.concatenate(parts) for parts in zip(*over_sigma)))
    return score


def detection(true_positives: int, false_positives: int, false_negatives: int) -> dict[str, float]:
    """Counts and the shares made of them: Jaccard TP / (TP + FP + FN), precision, recall, F1; NaN for 0 / 0."""
    tp, fp, fn = int(true_positives), int(false_positives), int(false_negatives)
    return {
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "jaccard": _share(tp, tp + fp + fn),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
    }


def efficiency(jaccard: float, rmse_nm: float, alpha: float) -> float:
    """100 - sqrt((100 - 100 J)² + (alpha RMSE)²), percent (Sage et al. 2019); NaN without pairs.

    Args:
        jaccard: share, 0..1.
        rmse_nm: root mean square error, nm.
        alpha: percent per nm.
    """
    return float(100 - np.hypot(100 - 100 * jaccard, alpha * rmse_nm))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _table(name: str, columns: Columns) -> dict[str, np.ndarray]:
    missing = [need for need in ("frame", "x_nm", "y_nm") if need not in columns]
    if missing:
        raise InputError(
            f"{name}: expected columns frame, x_nm and y_nm, found {', '.join(columns) or 'none'}. Add them."
        )
    table = {key: np.asarray(values) for key, values in columns.items()}
    if len({values.shape for values in table.values()}) > 1 or table["frame"].ndim != 1:
        found = {key: values.shape for key, values in table.items()}
        raise InputError(f"{name}: expected columns of one length, found {found}. Give one value a localization.")
    return table


def _rows(table: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[mask] for name, values in table.items()}


def _inside(table: dict[str, np.ndarray], size_nm: tuple[float, float], border_nm: float) -> np.ndarray:
    inside = np.ones(len(table["frame"]), bool)
    for name, length in (("y_nm", size_nm[0]), ("x_nm", size_nm[1])):
        inside &= (table[name] >= border_nm) & (table[name] <= length - border_nm)
    return inside
