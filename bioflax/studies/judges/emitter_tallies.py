"""Per-item sums of localizations against the truth: hits, errors, their bound and their predicted spread, the pixel grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from bioflax.hub.held_out_emitters import BORDER_NM
from bioflax.metrics.emitters import Comparison, compare_localizations
from bioflax.studies.tally import Tally

INSIDE = NormalDist().inv_cdf(0.84)  # half the central interval of 68 %
METRICS = (
    "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "rmse_over_crlb", "bias_x_nm", "bias_y_nm",
    "bias_z_nm", "false_positives_per_um2", "coverage_68", "sigma_ratio", "grid_bias",
)  # fmt: skip
HIGHER = ("jaccard", "precision", "recall", "coverage_68")


@dataclass(frozen=True)
class LocalizeTests:
    """Items of one test condition.

    Attributes:
        counts: (N, H, W, F) of the test's camera, ADU; the truth is that of the middle frame.
        truth: columns of the emitters that shine there, `frame` from 1 is the item; with their bounds where there are any.
        camera: of the test, with its maps cut to the frames.
        pixel_nm: camera pixel.
    """

    counts: np.ndarray
    truth: dict[str, np.ndarray]
    camera: Any
    pixel_nm: float

    @property
    def middle(self) -> np.ndarray:
        """(N, H, W) counts of the frames that are asked about."""
        return self.counts[..., self.counts.shape[-1] // 2]


def tally(found: Mapping[str, np.ndarray], tests: LocalizeTests) -> dict[str, Tally]:
    """All metrics of a table whose frame n is item n - 1."""
    items = len(tests.counts)
    size_nm, border_nm = _protocol(tests)
    comparison = compare_localizations(found, tests.truth, size_nm=(size_nm, size_nm), border_nm=border_nm)
    pairs = comparison.truth["frame"][comparison.matches.truth]

    def sums(frame: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(np.asarray(frame, int) - 1, weights, items).astype(np.float64)

    hits, shown, true = sums(pairs), sums(comparison.predicted["frame"]), sums(comparison.truth["frame"])
    axes = "xyz" if comparison.is_3d else "xy"
    error = {axis: comparison.error_nm(axis) for axis in axes}
    lateral = sums(pairs, error["x"] ** 2 + error["y"] ** 2)
    area_um2 = ((size_nm - 2.0 * border_nm) / 1000.0) ** 2
    found_tallies = {
        "jaccard": Tally(hits, shown + true - hits),
        "precision": Tally(hits, shown),
        "recall": Tally(hits, true),
        "rmse_lateral_nm": Tally(lateral, hits, "root"),
        "false_positives_per_um2": Tally(shown - hits, np.full(items, area_um2)),
        "grid_bias": Tally(_grid_share(comparison, tests.pixel_nm, sums), 2.0 * hits),
    }
    found_tallies |= {f"bias_{axis}_nm": Tally(sums(pairs, error[axis]), hits) for axis in axes}
    if "z" in axes:
        found_tallies["rmse_axial_nm"] = Tally(sums(pairs, error["z"] ** 2), hits, "root")
    if "crlb_x_nm" in tests.truth:
        bound = comparison.truth["crlb_x_nm"] ** 2 + comparison.truth["crlb_y_nm"] ** 2
        found_tallies["rmse_over_crlb"] = Tally(lateral, sums(pairs, bound[comparison.matches.truth]), "root")
    return found_tallies | _calibration(comparison, error, pairs, sums)


def bounds(tests: LocalizeTests) -> dict[str, Tally]:
    """The Cramer-Rao bound of all true emitters inside the border; none where the camera has no likelihood."""
    if "crlb_x_nm" not in tests.truth:
        return {}
    size_nm, border_nm = _protocol(tests)
    nothing = {name: np.zeros(0, tests.truth["frame"].dtype) for name in ("frame", "x_nm", "y_nm")}
    truth = compare_localizations(nothing, tests.truth, size_nm=(size_nm, size_nm), border_nm=border_nm).truth

    def sums(weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(truth["frame"].astype(int) - 1, weights, len(tests.counts)).astype(np.float64)

    lateral = sums(truth["crlb_x_nm"] ** 2 + truth["crlb_y_nm"] ** 2)
    found = {"rmse_lateral_nm": Tally(lateral, sums(), "root"), "rmse_over_crlb": Tally(lateral, lateral, "root")}
    if "crlb_z_nm" in truth:
        found["rmse_axial_nm"] = Tally(sums(truth["crlb_z_nm"] ** 2), sums(), "root")
    return found


def _calibration(
    comparison: Comparison, error: Mapping[str, np.ndarray], pairs: np.ndarray, sums: Any
) -> dict[str, Tally]:
    """Coverage and size of errors over predicted spreads, of all axes that have one."""
    inside, square, number = sums(pairs[:0]), sums(pairs[:0]), sums(pairs[:0])
    for axis in error:
        if f"sigma_{axis}_nm" not in comparison.predicted:
            continue
        sigma = comparison.predicted[f"sigma_{axis}_nm"][comparison.matches.predicted]
        known = np.isfinite(sigma) & (sigma > 0)
        ratio, frame = error[axis][known] / sigma[known], pairs[known]
        inside, square = inside + sums(frame, abs(ratio) <= INSIDE), square + sums(frame, ratio**2)
        number = number + sums(frame)
    return {"coverage_68": Tally(inside, number), "sigma_ratio": Tally(square, number, "root")}


def _grid_share(comparison: Comparison, pixel_nm: float, sums: Any) -> np.ndarray:
    """What each item adds to the Fourier component, along the direction of the whole sample's."""
    pairs = comparison.truth["frame"][comparison.matches.truth]
    preferred = np.zeros(len(pairs), complex)
    for axis in ("x_nm", "y_nm"):
        at = comparison.predicted[axis][comparison.matches.predicted], comparison.truth[axis][comparison.matches.truth]
        placed, true = (np.exp(2j * np.pi * values / pixel_nm) for values in at)
        preferred += placed - true
    whole = preferred.sum()
    turned = preferred * (np.conj(whole) / abs(whole) if abs(whole) > 0 else 1.0)
    return sums(pairs, turned.real)


def _protocol(tests: LocalizeTests) -> tuple[float, float]:
    """Side of the frames and border of the challenge, nm; small frames have none."""
    side_nm = tests.counts.shape[1] * tests.pixel_nm
    return side_nm, BORDER_NM if side_nm > 3 * BORDER_NM else 0.0
