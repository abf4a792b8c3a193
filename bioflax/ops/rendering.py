"""Pictures of localization tables: histogram, Gaussian spots of their uncertainty, averaged shifted histogram.

Coordinates are nm from the outer corner of the first camera pixel, which is the outer corner of the picture too. Each
localization adds one (or its weight); what reaches over an edge of the picture is cut off, not folded back.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bioflax.errors import InputError

_REACH = 4.0  # standard deviations that a spot is drawn to; 6e-5 of it lies beyond, and is shared out inside
_LEAST_PX = 0.05  # a narrower spot is a point; the floor keeps 1 / sigma finite
_BLOCK_PIXELS = 300_000  # pixels of spots worked on at once: what a cache holds
_STEP = 1.1  # wide spots within 10 % of one another are blurred together
_BLUR_FROM_PX = 1.5
_BLUR_COST = 6  # a blur of a pixel of the picture takes as long as this many pixels of spots


def render_histogram(
    x_nm: Any, y_nm: Any, *, pixel_nm: float, size_nm: tuple[float, float], weights: Any = None
) -> np.ndarray:
    """Localizations per pixel.

    Args:
        x_nm, y_nm: (N,) positions, nm.
        pixel_nm: pixel of the picture, nm.
        size_nm: (height, width) of the picture, nm.
        weights: (N,) what each adds; None adds one.

    Returns:
        (H, W) float64; H and W are rounded up to whole pixels.

    Raises:
        InputError: lengths differ, values are not finite, or sizes are not positive.
    """
    shape = _shape(pixel_nm, size_nm)
    x, y, weights = _columns(x_nm=x_nm, y_nm=y_nm, weights=np.ones(np.size(x_nm)) if weights is None else weights)
    column, row = np.floor(x / pixel_nm).astype(np.int64), np.floor(y / pixel_nm).astype(np.int64)
    return _added(row, column, weights, shape)


def render_ash(
    x_nm: Any, y_nm: Any, *, pixel_nm: float, size_nm: tuple[float, float], shifts: int = 4, weights: Any = None
) -> np.ndarray:
    """Averaged shifted histogram: mean of shifts x shifts histograms of pixels `shifts` times as wide (Scott 1985).

    That is a histogram smoothed by a triangle of half width `shifts` pixels in each direction.

    Args:
        x_nm, y_nm, pixel_nm, size_nm, weights: as `render_histogram`.
        shifts: per direction.

    Returns:
        (H, W) float64.

    Raises:
        InputError: as `render_histogram`, or no shifts.
    """
    from scipy.ndimage import convolve1d

    if int(shifts) != shifts or shifts < 1:
        raise InputError(f"shifts: expected a whole number from 1, found {shifts}. Use 4.")
    picture = render_histogram(x_nm, y_nm, pixel_nm=pixel_nm, size_nm=size_nm, weights=weights)
    triangle = (shifts - abs(np.arange(1 - shifts, shifts))) / shifts**2
    for axis in (0, 1):
        picture = convolve1d(picture, triangle, axis=axis, mode="constant")
    return picture


def render_gaussian(
    x_nm: Any,
    y_nm: Any,
    sigma_x_nm: Any,
    sigma_y_nm: Any = None,
    *,
    pixel_nm: float,
    size_nm: tuple[float, float],
    weights: Any = None,
) -> np.ndarray:
    """Each localization as a Gaussian of its own uncertainty, integrated over the pixels.

    Spots are drawn one by one where that is the smaller work. Many wide ones (from 1.5 pixels) of nearly the same
    width (10 %) are put down as points, shared between four pixels so that their centre stays, and blurred together.

    Args:
        x_nm, y_nm: (N,) positions, nm.
        sigma_x_nm, sigma_y_nm: (N,) or one number, standard deviations, nm; None for y takes that of x.
        pixel_nm, size_nm: as `render_histogram`.
        weights: (N,) what each adds, or (K, N) for K pictures at the price of little more than one; None adds one.

    Returns:
        (H, W) float64, or (K, H, W).

    Raises:
        InputError: as `render_histogram`, or a negative sigma.
    """
    shape = _shape(pixel_nm, size_nm)
    count = np.size(x_nm)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    sigmas = (sigma_x_nm, sigma_x_nm if sigma_y_nm is None else sigma_y_nm)
    sigmas = [np.broadcast_to(sigma, count) if np.ndim(sigma) == 0 else sigma for sigma in sigmas]
    layers = dict(enumerate(np.atleast_2d(weights)))
    named = {"x_nm": x_nm, "y_nm": y_nm, "sigma_x_nm": sigmas[0], "sigma_y_nm": sigmas[1]}
    x, y, *rest = _columns(**named, **{f"weights[{place}]": layer for place, layer in layers.items()})
    if min(sigma.min(initial=0.0) for sigma in rest[:2]) < 0:
        raise InputError("sigma_x_nm/sigma_y_nm: expected no negative values. Remove these rows.")
    sigma = np.maximum(np.stack([rest[1], rest[0]]) / pixel_nm, _LEAST_PX)
    place, layers = np.stack([y, x]) / pixel_nm, np.stack(rest[2:])
    pictures = np.zeros((len(layers), *shape))
    steps = np.round(np.log(sigma / _LEAST_PX) / np.log(_STEP)).astype(np.int64)
    group = steps[0] * (steps[1].max(initial=0) + 1) + steps[1]
    singly = []
    for rows in _runs(np.argsort(group, kind="stable"), group):
        mean = np.sqrt((sigma[:, rows] ** 2).mean(1))
        spot = rows.size * np.prod(2 * np.ceil(_REACH * mean) + 1)
        if mean.min() < _BLUR_FROM_PX or spot < _BLUR_COST * pictures[0].size:
            singly.append(rows)
        else:
            for picture, weight in zip(pictures, layers):
                picture += _blurred(place[:, rows], mean, weight[rows], shape)
    if singly:
        rows = np.concatenate(singly)
        _draw(pictures, place[:, rows], sigma[:, rows], layers[:, rows])
    return pictures if weights.ndim == 2 else pictures[0]


def _runs(order: np.ndarray, key: np.ndarray) -> list[np.ndarray]:
    """Cuts an ordering where the key changes."""
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if rows.size]


def _draw(pictures: np.ndarray, place: np.ndarray, sigma: np.ndarray, weights: np.ndarray) -> None:
    """Adds spots one by one to (K, H, W); `place` and `sigma` are (2, N) for y and x in pixels, `weights` (K, N)."""
    height, width = pictures.shape[1:]
    reach = np.maximum(np.ceil(_REACH * sigma.max(0)).astype(np.int64), 1)
    # From top to bottom within a window size: a block then touches a few rows of the picture, which stay in cache
    for same in _runs(np.lexsort((place[1], np.floor(place[0]), reach)), reach):
        radius = int(reach[same[0]])
        size = 2 * radius + 1
        block = max(1, _BLOCK_PIXELS // size**2)
        for start in range(0, same.size, block):
            rows = same[start : start + block]
            first, share = zip(*(_profile(place[axis, rows], sigma[axis, rows], radius) for axis in (0, 1)))
            seen = (first[0] > -size) & (first[0] < height) & (first[1] > -size) & (first[1] < width)
            if not seen.any():
                continue
            # The strip that the block touches, wide enough for the windows that reach over an edge
            rows, top, left = rows[seen], first[0][seen], first[1][seen]
            down, along = share[0][seen], share[1][seen]
            upper, lower = int(top.min()), int(top.max()) + size
            padded = width + 2 * size
            corner = (top - upper) * padded + left + size
            index = (corner[:, None] + (np.arange(size)[:, None] * padded + np.arange(size)).ravel()).ravel()
            for picture, weight in zip(pictures, weights[:, rows]):
                spots = (down * weight[:, None])[:, :, None] * along[:, None, :]
                strip = np.bincount(index, spots.ravel(), (lower - upper) * padded).reshape(-1, padded)
                above, below = max(upper, 0), min(lower, height)
                picture[above:below] += strip[above - upper : below - upper, size : size + width]


def _profile(centre: np.ndarray, sigma: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel (N,) around each centre, and the share (N, 2r+1) of a Gaussian in it and the next; a row sums to one."""
    from scipy.special import ndtr

    first = np.floor(centre).astype(np.int64) - radius
    edges = np.arange(2 * radius + 2) - (centre - first)[:, None]
    share = np.diff(ndtr(edges / sigma[:, None]), axis=1)
    return first, share / share.sum(1, keepdims=True)


def _blurred(place: np.ndarray, sigma: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Points shared between the four nearest pixels, then blurred; `place` (2, N) and `sigma` (2,) in pixels."""
    import scipy.fft

    margin = [math.ceil(_REACH * width) + 1 for width in sigma]  # spots whose centre lies outside, and no wrapping
    wide = tuple(scipy.fft.next_fast_len(length + 2 * extra, real=True) for length, extra in zip(shape, margin))
    first = np.floor(place - 0.5).astype(np.int64)
    part = place - 0.5 - first
    points = np.zeros(wide)
    for down, rows in ((0, 1 - part[0]), (1, part[0])):
        for along, columns in ((0, 1 - part[1]), (1, part[1])):
            points += _added(first[0] + down + margin[0], first[1] + along + margin[1], weights * rows * columns, wide)
    # Sharing widens a point by 1/6 px² on average over its place in a pixel
    factor = -2 * np.pi**2 * (sigma**2 - 1 / 6)
    spectrum = scipy.fft.rfft2(points)
    spectrum *= np.exp(factor[0] * scipy.fft.fftfreq(wide[0]) ** 2)[:, None]
    spectrum *= np.exp(factor[1] * scipy.fft.rfftfreq(wide[1]) ** 2)
    blurred = scipy.fft.irfft2(spectrum, wide)
    return blurred[margin[0] : margin[0] + shape[0], margin[1] : margin[1] + shape[1]]


def _added(row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sum of the values that fall on each pixel; those outside are left out."""
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    if not inside.all():
        row, column, values = row[inside], column[inside], values[inside]
    return np.bincount(row * shape[1] + column, values, shape[0] * shape[1]).reshape(shape)


def _shape(pixel_nm: float, size_nm: tuple[float, float]) -> tuple[int, int]:
    if not (np.isfinite([pixel_nm, *size_nm]).all() and min(pixel_nm, *size_nm) > 0):
        raise InputError(
            f"pixel_nm/size_nm: expected positive numbers, found {pixel_nm} and {size_nm}. Give both in nm."
        )
    # A size that is a whole number of pixels up to rounding gets no pixel more
    return math.ceil(size_nm[0] / pixel_nm - 1e-9), math.ceil(size_nm[1] / pixel_nm - 1e-9)


def _columns(**columns: Any) -> list[np.ndarray]:
    arrays = [np.asarray(values, np.float64) for values in columns.values()]
    if len({values.shape for values in arrays}) > 1 or arrays[0].ndim != 1:
        found = ", ".join(f"{name} {values.shape}" for name, values in zip(columns, arrays))
        raise InputError(f"{'/'.join(columns)}: expected (N,) values each, found {found}. Give one a localization.")
    for name, values in zip(columns, arrays):
        if not np.isfinite(values).all():
            raise InputError(f"{name}: expected finite numbers, found NaN or infinity. Remove these rows.")
    return arrays
