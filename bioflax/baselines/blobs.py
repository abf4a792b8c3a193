"""Spot finders a user would pick instead: maxima of the Laplacian or of a difference of Gaussians, 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.points import sweep_threshold

BLOB_FILTERS = ("log", "dog")
WIDER = 1.6  # the Gaussian that is subtracted, in widths: closest to the Laplacian (Marr & Hildreth 1980)
# Noise alone seldom rises above 5; the background of real cells has texture, and 10 leaves most of it out
AUTO_SIGMAS = 10.0
MAD_TO_SIGMA = 1.4826
SIGMAS_PX = (0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)


def find_blobs(
    image: Any,
    sigma_px: float,
    threshold: float | str | None = "auto",
    filter: str = "log",
    *,
    auto_sigmas: float = AUTO_SIGMAS,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds bright spots: local maxima of the filtered image above a threshold, their places by parabolas.

    `log` is -sigma² times the Laplacian of the blurred image (Lindeberg 1998); `dog` the blurred image minus the one blurred
    1.6 times as wide, scaled to agree with it for wide spots. A Gaussian spot of width s answers most to `log` with
    sigma = s in 2-D and sigma = s sqrt(2 / 3) in 3-D.

    Args:
        image: (Y, X) or (Z, Y, X), any unit; pixels as wide along z as across.
        sigma_px: width of the filter.
        threshold: least score, in the unit of the image; `auto` for the median of the filtered image plus `auto_sigmas`
            robust standard deviations (1.4826 times the median absolute deviation); None for every maximum above 0.
        filter: one of `BLOB_FILTERS`.
        auto_sigmas: 5 where noise is all there is beside the spots; more where the background has texture.

    Returns:
        (N, d) positions in px, pixel centres at integers, by falling score, and the (N,) scores: the filtered image.

    Raises:
        InputError: an unknown filter or threshold, a width that is not positive, a wrong shape, or NaN.
    """
    image = _image(image)
    response = _filtered(image, sigma_px, filter)
    least = _threshold(response, threshold, auto_sigmas)
    if image.size == 0 or image.min() == image.max():
        return np.zeros((0, image.ndim)), np.zeros(0)
    return _maxima(response, max(least, _rounding(image)))


def best_threshold(
    images: Any,
    truths: Any,
    sigma_px: float | Sequence[float] = SIGMAS_PX,
    distance_px: float = 3.0,
    filter: str = "log",
) -> tuple[float, float, float]:
    """The ORACLE: the width and threshold of largest F1 against the truth itself. No user has it; it bounds `find_blobs`.

    All maxima are found once for each width, and one sweep gives the pooled F1 of every threshold.

    Args:
        images: one image as `find_blobs`, or a list of them.
        truths: its (M, d) true positions, px, or a list of such.
        sigma_px: widths to try.
        distance_px: largest distance of a pair, as `bioflax.metrics.match_points`.
        filter: one of `BLOB_FILTERS`.

    Returns:
        Width in px, threshold for `find_blobs`, and F1, 0..1.

    Raises:
        InputError: as `find_blobs`, or lists of different lengths.
    """
    if not isinstance(images, list | tuple):
        images, truths = [images], [truths]
    if len(images) != len(truths) or not images:
        raise InputError(
            f"truths: expected one list of points an image, found {len(truths)} for {len(images)}. Fit them."
        )
    best = (0.0, np.inf, -1.0)
    for sigma in np.atleast_1d(np.asarray(sigma_px, np.float64)):
        found = [find_blobs(image, sigma, None, filter) for image in images]
        curve = sweep_threshold([(truth, *blobs) for truth, blobs in zip(truths, found)], distance_px)
        least, f1 = curve.best
        if f1 > best[2]:
            best = (float(sigma), least, f1)
    return best


def _image(image: Any) -> np.ndarray:
    image = np.asarray(image, np.float64)
    if image.ndim not in (2, 3):
        raise InputError(f"image: expected (Y, X) or (Z, Y, X), found shape {image.shape}. Pass one channel at a time.")
    if not np.isfinite(image).all():
        raise InputError("image: expected finite values, found NaN or infinity. Replace them.")
    return image


def _filtered(image: np.ndarray, sigma_px: float, filter: str) -> np.ndarray:
    from scipy import ndimage

    if filter not in BLOB_FILTERS:
        raise InputError(f"filter: expected one of {', '.join(BLOB_FILTERS)}, found {filter!r}. Choose one of these.")
    if not (np.isfinite(sigma_px) and sigma_px > 0):
        raise InputError(f"sigma_px: expected a positive width in px, found {sigma_px}. Use 1.5.")
    if image.size:
        image = image - np.median(image)  # the cut-off weights do not sum to 0: an even background would leave a trace
    if filter == "log":
        return -(sigma_px**2) * ndimage.gaussian_laplace(image, sigma_px)
    narrow, wide = (ndimage.gaussian_filter(image, width) for width in (sigma_px, WIDER * sigma_px))
    # d G / d sigma = sigma Laplacian(G), so the step from sigma to 1.6 sigma holds (1.6² - 1) / 2 of sigma² Laplacian
    return (narrow - wide) / ((WIDER**2 - 1) / 2)


def _threshold(response: np.ndarray, threshold: float | str | None, auto_sigmas: float) -> float:
    if threshold is None or response.size == 0:
        return 0.0
    if isinstance(threshold, str):
        if threshold != "auto":
            raise InputError(f"threshold: expected a number, 'auto' or None, found {threshold!r}. Use 'auto'.")
        middle = np.median(response)
        return float(middle + auto_sigmas * MAD_TO_SIGMA * np.median(abs(response - middle)))
    if np.isnan(threshold):
        raise InputError(f"threshold: expected a number, 'auto' or None, found {threshold}. Use 'auto'.")
    return float(threshold)


def _rounding(image: np.ndarray) -> float:
    """What a flat part of the image can answer by rounding alone."""
    return 1e-12 * float(abs(image).max())


def _maxima(response: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions and heights of the local maxima of at least a height, by falling height; one each plateau."""
    from scipy import ndimage

    neighbours = np.ones((3,) * response.ndim)
    peak = (response >= least) & (response == ndimage.maximum_filter(response, 3, mode="nearest"))
    number, _ = ndimage.label(peak, neighbours)
    pixel = np.argwhere(peak)
    pixel = pixel[np.unique(number[tuple(pixel.T)], return_index=True)[1]]
    score = response[tuple(pixel.T)]
    order = np.argsort(-score, kind="stable")
    return _refined(response, pixel[order]), score[order]


def _refined(response: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Peak of the parabola through three pixels along each axis, at most half a pixel off."""
    padded = np.pad(response, 1, mode="edge")
    middle = padded[tuple(pixel.T + 1)]
    position = pixel.astype(np.float64)
    for axis, step in enumerate(np.eye(response.ndim, dtype=np.int64)):
        low, high = (padded[tuple((pixel + 1 + way * step).T)] for way in (-1, 1))
        curvature = low - 2 * middle + high
        shift = 0.5 * (low - high) / np.where(curvature < 0, curvature, -np.inf)
        position[:, axis] += np.clip(shift, -0.5, 0.5)
    return position
