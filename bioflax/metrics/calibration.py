"""Is the predicted spread true? Coverage, the reliability curve, ENCE and CRPS of Gaussian and Laplace predictions.

`scale` is the standard deviation of a Gaussian and the b of a Laplace distribution (density exp(-|x|/b) / 2b).
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import jax.scipy.stats
import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.numerics import as_float
from bioflax.typing import Array

FAMILIES = ("gaussian", "laplace")


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predicted against found error, bin by bin of the predicted spread.

    Attributes:
        rmv: (B,) root mean predicted variance, unit of the image.
        rmse: (B,) root mean square error found, unit of the image.
        count: (B,) values in the bin; empty bins are left out.
    """

    rmv: np.ndarray
    rmse: np.ndarray
    count: np.ndarray


def within(target: Any, mean: Any, scale: Any, level: float = 0.95, family: str = "gaussian") -> Array:
    """Whether each target value lies in the central predictive interval.

    Args:
        target, mean, scale: (...) one shape, unit of the image.
        level: probability of the interval, in (0, 1).
        family: "gaussian" or "laplace".

    Returns:
        (...) bool.
    """
    _known(family)
    if not 0 < level < 1:
        raise InputError(f"level: expected a probability in (0, 1), found {level}. Use 0.95 for 95 %.")
    xp, (target, mean, scale) = as_float(target=target, mean=mean, scale=scale)
    reach = NormalDist().inv_cdf((1 + level) / 2) if family == "gaussian" else -math.log1p(-level)
    return xp.abs(target - mean) <= reach * scale


def coverage(target: Any, mean: Any, scale: Any, level: float = 0.95, family: str = "gaussian") -> Array:
    """Share of target values inside the central predictive interval; a calibrated model gives `level`."""
    return within(target, mean, scale, level, family).mean()


def reliability(
    target: Any, mean: Any, scale: Any, family: str = "gaussian", *, bins: int = 15, spacing: str = "count"
) -> Reliability:
    """Root mean square error against root mean predicted variance, over bins of the predicted spread.

    Args:
        target, mean, scale: (...) one shape, unit of the image.
        family: "gaussian" or "laplace".
        bins: number of bins.
        spacing: "count" puts equally many values in each bin (Levi et al. 2020); "width" spaces them evenly in the
            predicted standard deviation (MicroSplit).

    Returns:
        The curve; on the diagonal when calibrated.
    """
    _known(family)
    if spacing not in ("count", "width"):
        raise InputError(f"spacing: expected count or width, found {spacing!r}. Choose one of these.")
    arrays = (np.asarray(array, np.float64) for array in (target, mean, scale))
    _, (target, mean, scale) = as_float(**dict(zip(("target", "mean", "scale"), arrays)))
    deviation = (scale if family == "gaussian" else math.sqrt(2) * scale).ravel()
    square = ((target - mean) ** 2).ravel()
    if spacing == "count":
        order = np.argsort(deviation, kind="stable")
        number = np.empty(order.size, int)
        number[order] = np.arange(order.size) * bins // order.size
    else:
        width = max(float(np.ptp(deviation)), np.finfo(float).tiny)
        number = np.minimum(((deviation - deviation.min()) / width * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    filled = count > 0
    sums = [np.bincount(number, values, minlength=bins)[filled] for values in (deviation**2, square)]
    rmv, rmse = (np.sqrt(total / count[filled]) for total in sums)
    return Reliability(rmv, rmse, count[filled])


def ence(
    target: Any, mean: Any, scale: Any, family: str = "gaussian", *, bins: int = 15, spacing: str = "count"
) -> float:
    """Expected normalised calibration error: mean over bins of |RMV - RMSE| / RMV (Levi et al. 2020, eq. 8).

    Args: as `reliability`.

    Returns:
        0 when every bin is calibrated; infinite where zero spread was predicted for a real error.
    """
    curve = reliability(target, mean, scale, family, bins=bins, spacing=spacing)
    gap = abs(curve.rmv - curve.rmse)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(gap == 0, 0.0, gap / curve.rmv)))


def crps(target: Any, mean: Any, scale: Any, family: str = "gaussian") -> Array:
    """Continuous ranked probability score, a proper score in the unit of the image (lower is better).

    Gaussian: s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)] (Gneiting & Raftery 2007); Laplace:
    |y - m| + b exp(-|y - m| / b) - 3b/4.

    Args:
        target, mean, scale: (...) one shape, unit of the image; scale > 0.
        family: "gaussian" or "laplace".

    Returns:
        (...) the score of each value.
    """
    _known(family)
    _, (target, mean, scale) = as_float(
        **{n: jnp.asarray(a) for n, a in zip(("target", "mean", "scale"), (target, mean, scale))}
    )
    if family == "laplace":
        distance = jnp.abs(target - mean)
        return distance + scale * jnp.exp(-distance / scale) - 0.75 * scale
    z = (target - mean) / scale
    normal = jax.scipy.stats.norm
    return scale * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi))


def _known(family: str) -> None:
    if family not in FAMILIES:
        raise InputError(f"family: expected one of {', '.join(FAMILIES)}, found {family!r}. Choose one of these.")
