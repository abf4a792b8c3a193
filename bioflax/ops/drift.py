"""Drift of the sample, found in the localizations themselves by redundant cross-correlation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.ops.rendering import render_histogram

_LEAST = 50  # localizations a segment: fewer give a correlation without a peak
_BLUR_PX = 1.0
_FIT_PX = 4  # half width of the window that the peak is fitted in
_PEAK_STD = 5.0  # a peak stands out of the correlation by this many of its standard deviations
_WRONG_PX = 0.5  # nearer to the others than this, a pair is never wrong
_AGREE_PX = 2.0  # pairs with a common structure agree to better than this
_NO_STRUCTURE = (
    "segments: expected pairs of segments with a common structure, found too few that agree. "
    "Use fewer segments, a larger pixel_nm or a larger max_drift_nm."
)


@dataclasses.dataclass(frozen=True)
class Drift:
    """Where the sample had moved to in each frame.

    Attributes:
        frames: (F,) consecutive frame numbers.
        x_nm, y_nm: (F,) displacement, zero in the first frame, nm; a corrected position is the found one minus it.
        error_nm: (F,) standard error per axis, relative to the mean of the movie, nm: from the disagreement of the
            segment pairs and the number and spread of the localizations of a segment. Motion that the interpolation
            does not follow is not in it. NaN for two segments, which have nothing to disagree with.
        pairs_used: share of segment pairs that agreed with the others.
    """

    frames: np.ndarray
    x_nm: np.ndarray
    y_nm: np.ndarray
    error_nm: np.ndarray
    pairs_used: float


def estimate_drift(
    x_nm: Any,
    y_nm: Any,
    frame: Any,
    *,
    segments: int = 10,
    pixel_nm: float = 20.0,
    max_drift_nm: float = 1000.0,
    interpolation: str = "cubic",
) -> Drift:
    """Redundant cross-correlation (Wang et al. 2014, Optics Express 22:15982).

    The movie is cut into segments of equal length; a picture of each is correlated with that of each other; the
    displacement of a pair is the centre of a Gaussian fitted to the peak. Displacements of all pairs over-determine
    those of the segments, which follow by least squares; pairs that disagree with the rest (by 4 robust standard
    deviations and half a pixel) are left out and the fit is repeated. Between the mean frames of the segments the
    course is interpolated, beyond the first and last it goes on straight.

    Args:
        x_nm, y_nm: (N,) positions, nm.
        frame: (N,) whole frame numbers.
        segments: number of segments; more follow faster drift, fewer are less noisy.
        pixel_nm: of the pictures, nm; about the localization precision.
        max_drift_nm: largest displacement looked for, nm.
        interpolation: "cubic" (natural spline) or "linear".

    Returns:
        The drift of each frame from the first to the last that has a localization.

    Raises:
        InputError: too few localizations or frames, segments without a common structure, or bad options.
    """
    x, y, frame = (np.asarray(values, np.float64) for values in (x_nm, y_nm, frame))
    if x.ndim != 1 or not x.shape == y.shape == frame.shape or not np.isfinite([x, y, frame]).all():
        raise InputError(
            f"x_nm/y_nm/frame: expected finite (N,) each, found {x.shape}, {y.shape}, {frame.shape}. Give one a row."
        )
    if interpolation not in ("cubic", "linear"):
        raise InputError(f"interpolation: expected cubic or linear, found {interpolation!r}. Choose one of these.")
    if segments < 2 or not pixel_nm > 0 or not max_drift_nm > pixel_nm:
        raise InputError(
            "segments/pixel_nm/max_drift_nm: expected at least 2 segments and max_drift_nm above pixel_nm, "
            f"found {segments}, {pixel_nm}, {max_drift_nm}."
        )
    if x.size < segments * _LEAST or np.ptp(frame) + 1 < segments:
        raise InputError(
            f"segments: expected at least {_LEAST} localizations and a frame for each of {segments} segments, found "
            f"{x.size} in all. Use fewer segments or more frames."
        )
    first, last = int(frame.min()), int(frame.max())
    number = np.minimum(((frame - first) * segments / (last - first + 1)).astype(np.int64), segments - 1)
    count = np.bincount(number, minlength=segments)
    if count.min() < _LEAST:
        raise InputError(
            f"segments: expected at least {_LEAST} localizations in each, found {count.min()} in segment "
            f"{count.argmin() + 1} of {segments}. Use fewer segments."
        )
    centre = np.bincount(number, frame) / count
    pairs, steps, spread_nm = _displacements(x, y, number, segments, pixel_nm, max_drift_nm)
    position, error, used = _solved(pairs, steps, segments, pixel_nm)
    # What moves a whole segment, all its pairs agree upon: the mean of its own localization errors
    error = np.sqrt(error**2 + spread_nm**2 / count)
    frames = np.arange(first, last + 1)
    course = [_interpolated(centre, position[:, axis], frames, interpolation) for axis in (0, 1)]
    return Drift(
        frames,
        course[0] - course[0][0],
        course[1] - course[1][0],
        np.interp(frames, centre, error),
        used,
    )


def correct(x_nm: Any, y_nm: Any, frame: Any, drift: Drift) -> tuple[np.ndarray, np.ndarray]:
    """Takes the drift off.

    Args:
        x_nm, y_nm: (N,) positions, nm.
        frame: (N,) whole frame numbers.
        drift: of these frames.

    Returns:
        (N,) x and (N,) y, nm.

    Raises:
        InputError: a frame that the drift does not know.
    """
    x, y, frame = np.asarray(x_nm, np.float64), np.asarray(y_nm, np.float64), np.asarray(frame)
    place = frame.astype(np.int64) - int(drift.frames[0])
    if place.size and (place.min() < 0 or place.max() >= len(drift.frames)):
        raise InputError(
            f"frame: expected {drift.frames[0]} to {drift.frames[-1]}, which the drift covers, found {frame.min():g} to "
            f"{frame.max():g}. Estimate it from these frames."
        )
    return x - drift.x_nm[place], y - drift.y_nm[place]


def _displacements(
    x: np.ndarray, y: np.ndarray, number: np.ndarray, segments: int, pixel_nm: float, max_drift_nm: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Correlates all segments; pairs without a peak are left out.

    Returns:
        (P, 2) pairs of segments; (P, 2) displacement of the second against the first, nm; the spread of the
        localizations about their sites, per axis, by the width of the peaks, nm.
    """
    import scipy.fft

    # Zeros around the picture keep one edge from meeting the other
    reach = math.ceil(max_drift_nm / pixel_nm) + _FIT_PX + 1
    size_nm = (np.ptp(y) + pixel_nm, np.ptp(x) + pixel_nm)
    shape = tuple(scipy.fft.next_fast_len(math.ceil(length / pixel_nm) + reach + 1, real=True) for length in size_nm)
    frequency = scipy.fft.fftfreq(shape[0])[:, None] ** 2 + scipy.fft.rfftfreq(shape[1])[None] ** 2
    smooth = np.exp(-2 * (np.pi * _BLUR_PX) ** 2 * frequency).astype(np.float32)
    spectra = []
    for segment in range(segments):
        rows = number == segment
        picture = render_histogram(x[rows] - x.min(), y[rows] - y.min(), pixel_nm=pixel_nm, size_nm=size_nm)
        # Without its mean, the overlap of the two fields makes no slope under the peak
        picture = (picture - picture.mean()).astype(np.float32)
        spectra.append(scipy.fft.rfft2(picture, shape) * smooth)
    pairs, steps, widths = [], [], []
    window = np.arange(-reach, reach + 1)
    for i in range(segments):
        for j in range(i + 1, segments):
            correlation = scipy.fft.irfft2(spectra[j] * spectra[i].conj(), shape)[np.ix_(window, window)]
            peak = _peak(correlation)
            if peak is not None:
                pairs.append((i, j))
                steps.append(((peak[1] - reach) * pixel_nm, (peak[0] - reach) * pixel_nm))
                widths.append(peak[2])
    # Two localizations, two blurs and two pixels make the width of a peak
    variance = np.median(widths) ** 2 / 2 - _BLUR_PX**2 - 1 / 12 if widths else 0.0
    spread_nm = pixel_nm * math.sqrt(max(float(variance), 0.0))
    return np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(steps, np.float64).reshape(-1, 2), spread_nm


def _peak(correlation: np.ndarray) -> tuple[float, float, float] | None:
    """Centre (row, column) and width of a Gaussian with offset, fitted around the maximum; None where there is no such peak."""
    from scipy.optimize import least_squares

    row, column = np.unravel_index(np.argmax(correlation), correlation.shape)
    if not all(_FIT_PX <= place < length - _FIT_PX for place, length in zip((row, column), correlation.shape)):
        return None
    if correlation[row, column] - correlation.mean() <= _PEAK_STD * correlation.std():
        return None
    part = correlation[row - _FIT_PX : row + _FIT_PX + 1, column - _FIT_PX : column + _FIT_PX + 1].astype(np.float64)
    height = np.ptp(part)
    if height == 0:
        return None
    part = (part - part.min()) / height
    grid = np.arange(-_FIT_PX, _FIT_PX + 1)

    def misfit(values: np.ndarray) -> np.ndarray:
        down, along, width, scale, offset = values
        spot = np.exp(-((grid[:, None] - down) ** 2 + (grid[None] - along) ** 2) / (2 * width**2))
        return (scale * spot + offset - part).ravel()

    fit = least_squares(misfit, [0, 0, 1.5 * _BLUR_PX, 1, 0], max_nfev=100)
    down, along = fit.x[:2]
    if not fit.success or max(abs(down), abs(along)) > _FIT_PX / 2:
        return None
    return row + down, column + along, abs(fit.x[2])


def _solved(
    pairs: np.ndarray, steps: np.ndarray, segments: int, pixel_nm: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions (S, 2) of zero mean, their standard error (S,) per axis, and the share of pairs kept; all nm."""
    design = np.zeros((len(pairs), segments))
    design[np.arange(len(pairs)), pairs[:, 0]] = -1
    design[np.arange(len(pairs)), pairs[:, 1]] = 1
    kept = np.ones(len(pairs), bool)
    if np.linalg.matrix_rank(design) < segments - 1:
        raise InputError(_NO_STRUCTURE)
    # Least absolute residuals first, by weights: a few wrong pairs among few would bend a least-squares fit to them
    weight = np.ones(len(pairs))
    for _ in range(50):
        position = np.linalg.pinv(design * weight[:, None]) @ (steps * weight[:, None])
        residual = np.hypot(*(steps - design @ position).T)
        weight = 1 / np.sqrt(np.maximum(residual, 0.01 * pixel_nm))
    if np.median(residual) > _AGREE_PX * pixel_nm:
        raise InputError(_NO_STRUCTURE)
    # This fit meets many pairs exactly, so its median alone would call honest noise wrong
    limit = max(4 * 1.4826 * float(np.median(residual)), _WRONG_PX * pixel_nm)
    for _ in range(20):
        agreeing = residual <= limit
        if np.linalg.matrix_rank(design[agreeing]) < segments - 1:
            raise InputError(_NO_STRUCTURE)
        # The least norm among all solutions is the one of zero mean
        position = np.linalg.pinv(design[agreeing]) @ steps[agreeing]
        residual = np.hypot(*(steps - design @ position).T)
        if np.array_equal(agreeing, kept):
            break
        kept = agreeing
    rest = (steps - design @ position)[kept]
    freedom = kept.sum() - (segments - 1)
    variance = float((rest**2).sum() / (2 * freedom)) if freedom > 0 else float("nan")
    error = np.sqrt(variance * np.diag(np.linalg.pinv(design[kept].T @ design[kept])))
    return position, error, float(kept.sum() / (segments * (segments - 1) / 2))


def _interpolated(centre: np.ndarray, values: np.ndarray, frames: np.ndarray, kind: str) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    if kind == "cubic" and len(centre) > 2:
        spline = CubicSpline(centre, values, bc_type="natural")
        slope = spline(centre[[0, -1]], 1)
        inner = spline(np.clip(frames, centre[0], centre[-1]))
    else:
        slope = np.diff(values)[[0, -1]] / np.diff(centre)[[0, -1]]
        inner = np.interp(frames, centre, values)
    before, after = np.minimum(frames - centre[0], 0), np.maximum(frames - centre[-1], 0)
    return inner + slope[0] * before + slope[1] * after
