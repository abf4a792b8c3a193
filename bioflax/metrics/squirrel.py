"""Agreement of a super-resolved image with a wide-field image of the same place: the error map of SQUIRREL. Float64 NumPy.

It sees only what survives the blur: two results that differ beyond the band of the microscope score the same. Read it
beside `optics.passband.null_space_energy`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bioflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ErrorMap:
    """How well a blurred super-resolved image explains a wide-field image.

    Attributes:
        rse: resolution-scaled error, root mean square difference, in the unit of the wide-field image.
        rsp: resolution-scaled Pearson correlation, -1 to 1.
        map: (H, W) absolute difference, in the unit of the wide-field image.
        gain, offset: of the super-resolved image towards the wide-field one; a gain of 0 says that they are unrelated.
        sigma_px: standard deviation of the Gaussian blur, wide-field pixels.
    """

    rse: float
    rsp: float
    map: np.ndarray
    gain: float
    offset: float
    sigma_px: float


def error_map(
    super_resolved: Any, widefield: Any, upscale: int, *, sigma_range_px: tuple[float, float] = (0.5, 10.0)
) -> ErrorMap:
    """Blurs a super-resolved image until it fits a wide-field image best, and shows what is left.

    gain x binned Gaussian blur + offset, with the gain at least 0 and the width that leaves the least squares.
    The images must be registered (`metrics.register`).

    Args:
        super_resolved: (s H, s W) any unit.
        widefield: (H, W) any unit u.
        upscale: s, pixels of the first along a pixel of the second.
        sigma_range_px: widths searched, wide-field pixels.

    Returns:
        The error map.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or a bad range.

    Source: S. Culley et al., Nature Methods 15 (2018).
    """
    from scipy.fft import dctn, idctn

    fine, coarse = np.asarray(super_resolved, np.float64), np.asarray(widefield, np.float64)
    if coarse.ndim != 2 or coarse.size == 0 or fine.shape != tuple(side * upscale for side in coarse.shape):
        raise InputError(
            f"super_resolved/widefield: expected (s H, s W) and (H, W) with s = {upscale}, found {fine.shape} and "
            f"{coarse.shape}. Crop or match them."
        )
    if not (np.isfinite(fine).all() and np.isfinite(coarse).all()):
        raise InputError("super_resolved/widefield: expected finite values, found others. Crop or fill these pixels.")
    low, high = sigma_range_px
    if not 0 < low < high:
        raise InputError(f"sigma_range_px: expected two widths above 0, the smaller first, found {sigma_range_px}.")
    waves = dctn(fine, norm="ortho")  # the cosine transform mirrors the image at its borders
    square = np.add.outer(*((np.arange(side) / (2 * side)) ** 2 for side in fine.shape))

    def blurred(sigma_px: float) -> np.ndarray:
        picture = idctn(waves * np.exp(-2 * np.pi**2 * (sigma_px * upscale) ** 2 * square), norm="ortho")
        return picture.reshape(coarse.shape[0], upscale, coarse.shape[1], upscale).mean((1, 3))

    sigma_px = _least(lambda sigma: float(np.mean(_residual(blurred(sigma), coarse)[0] ** 2)), low, high)
    picture = blurred(sigma_px)
    difference, gain, offset = _residual(picture, coarse)
    rse = float(np.sqrt(np.mean(difference**2)))
    return ErrorMap(rse, _pearson(picture, coarse), abs(difference), gain, offset, sigma_px)


def _residual(picture: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Difference, gain and offset of the least-squares fit with a gain of at least 0."""
    centred = picture - picture.mean()
    energy = float(np.sum(centred**2))
    slope = float(np.sum(centred * (target - target.mean())))
    gain = slope / energy if slope > 0 and energy > 1e-24 * float(np.sum(picture**2)) else 0.0
    return gain * centred + target.mean() - target, gain, float(target.mean() - gain * picture.mean())


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt(np.sum(a**2) * np.sum(b**2)))
    return float(np.sum(a * b)) / power if power > 0 else 0.0


def _least(objective: Callable[[float], float], low: float, high: float) -> float:
    """The width of least objective: a geometric grid, since there may be several dips, then a bounded search by its best."""
    from scipy.optimize import minimize_scalar

    grid = np.geomspace(low, high, 13)
    best = int(np.argmin([objective(sigma) for sigma in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(objective, bounds=around, method="bounded", options={"xatol": 1e-3 * around[0]})
    return float(found.x if found.fun <= objective(grid[best]) else grid[best])
