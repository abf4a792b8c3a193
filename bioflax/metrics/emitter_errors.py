"""Errors of single emitters in units of what they could or should be: the bound, the predicted spread, the pixel."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from bioflax.errors import InputError

_MAD_TO_STD = 1 / NormalDist().inv_cdf(0.75)
LEVELS = (0.50, 0.68, 0.95)


def errors_over_crlb(error: Any, crlb: Any) -> dict[str, float]:
    """How far an estimator is from the best possible one; 1 is the bound.

    Args:
        error: (P,) predicted minus true value.
        crlb: (P,) square root of the Cramér-Rao bound of each, same unit.

    Returns:
        `rmse_over_crlb` root mean square of error / crlb, `robust_over_crlb` 1.4826 times their median absolute
        deviation, which a few wrong pairs do not move, and `bias_over_crlb` their mean. NaN without pairs.

    Raises:
        InputError: shapes differ, or a bound is not positive.
    """
    ratio = _ratio(error, crlb, "crlb")
    if ratio.size == 0:
        return dict.fromkeys(("rmse_over_crlb", "robust_over_crlb", "bias_over_crlb"), float("nan"))
    return {
        "rmse_over_crlb": float(np.sqrt(np.mean(ratio**2))),
        "robust_over_crlb": float(_MAD_TO_STD * np.median(abs(ratio - np.median(ratio)))),
        "bias_over_crlb": float(ratio.mean()),
    }


def sigma_calibration(error: Any, sigma: Any) -> dict[str, float]:
    """Whether predicted standard deviations are those of the errors.

    Args:
        error: (P,) predicted minus true value.
        sigma: (P,) predicted standard deviation of each, same unit.

    Returns:
        `coverage_50`, `coverage_68`, `coverage_95`: share of errors inside the central Gaussian interval of that
        probability; `error_over_sigma`: standard deviation of error / sigma, 1 when calibrated. NaN without pairs.

    Raises:
        InputError: shapes differ, or a sigma is not positive.
    """
    ratio = _ratio(error, sigma, "sigma")
    if ratio.size == 0:
        return {**{f"coverage_{100 * level:.0f}": float("nan") for level in LEVELS}, "error_over_sigma": float("nan")}
    reach = {level: NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS}
    coverage = {f"coverage_{100 * level:.0f}": float(np.mean(abs(ratio) <= reach[level])) for level in LEVELS}
    return {**coverage, "error_over_sigma": float(ratio.std())}


def grid_bias(x_nm: Any, y_nm: Any, pixel_nm: float) -> dict[str, float]:
    """Whether positions prefer a place in the camera pixel: Kolmogorov-Smirnov against a uniform sub-pixel offset.

    Args:
        x_nm, y_nm: (N,) positions from the outer corner of a pixel, nm.
        pixel_nm: camera pixel, nm.

    Returns:
        `grid_ks_x`, `grid_ks_y`: largest distance of the two cumulative distributions (0 none .. 1); `grid_p_x`,
        `grid_p_y`: probability of as much by chance (Stephens' correction of the asymptotic law). NaN without rows.

    Raises:
        InputError: no positive pixel.
    """
    from scipy.special import kolmogorov

    if not (np.isfinite(pixel_nm) and pixel_nm > 0):
        raise InputError(f"pixel_nm: expected a positive size in nm, found {pixel_nm}. Give e.g. 100.")
    found = {}
    for axis, values in (("x", x_nm), ("y", y_nm)):
        offset = np.sort(np.mod(np.asarray(values, np.float64) / pixel_nm, 1.0))
        count = offset.size
        if count == 0:
            found |= {f"grid_ks_{axis}": float("nan"), f"grid_p_{axis}": float("nan")}
            continue
        steps = np.arange(count + 1) / count
        distance = float(max((steps[1:] - offset).max(), (offset - steps[:-1]).max()))
        root = np.sqrt(count)
        found[f"grid_ks_{axis}"] = distance
        found[f"grid_p_{axis}"] = float(kolmogorov((root + 0.12 + 0.11 / root) * distance))
    return found


def false_positives_per_um2(count: int, frames: int, area_um2: float) -> float:
    """False positives per frame and area, 1 / µm²: on frames known to be empty, the rate of hallucination.

    Args:
        count: predictions that are no emitter.
        frames: frames looked at.
        area_um2: area of a frame, µm².

    Raises:
        InputError: no frames or no area.
    """
    if frames <= 0 or not area_um2 > 0:
        raise InputError(f"frames/area_um2: expected positive numbers, found {frames} and {area_um2}. Give both.")
    return count / (frames * area_um2)


def _ratio(error: Any, scale: Any, name: str) -> np.ndarray:
    error, scale = np.asarray(error, np.float64), np.asarray(scale, np.float64)
    if error.shape != scale.shape:
        raise InputError(f"error/{name}: expected one shape, found {error.shape} and {scale.shape}. Pair them.")
    if not (scale > 0).all():
        raise InputError(f"{name}: expected positive values, found {np.sum(~(scale > 0))} others. Remove these rows.")
    return (error / scale).ravel()
