"""What of a fine image was measured and what is prior: projection on the band of the microscope, and agreement with the
raw image. Float64 NumPy.

The band is a cut-off in cycles per fine pixel and, for `upscale` > 1, the camera's Nyquist frequency (see
`optics.imaging.measured_band`). Structured illumination widens the band: pass its own cut-off, and `upscale=1` where the
camera does not limit it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.optics.imaging import check_upscale, measured_band

FLAT_SHARE = 1e-3
"""A region whose variance is below this share of the image's counts as flat in `null_space_map`."""


def split(image: Any, cutoff_per_px: float, upscale: int = 1, *, mirror: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Splits a fine image into the part that the microscope measured and the part that only a prior can have given.

    An orthogonal projection: the parts add up to the image, and their squares to its square.

    Args:
        image: (..., H, W) any unit, on the fine grid.
        cutoff_per_px: highest frequency that the optics let through, cycles per fine pixel (`Imaging.cutoff_per_px`).
        upscale: fine pixels along a camera pixel; 1 leaves the camera's Nyquist frequency out.
        mirror: continue the image by its mirror image, so that nothing leaks across the borders; False takes it as
            periodic.

    Returns:
        (..., H, W) measured, the zero frequency included, and (..., H, W) prior.

    Raises:
        InputError: fewer than two axes, a value that is not finite, or a cut-off that is not above 0.
    """
    image = _image(image)
    band = band_mask(image.shape[-2:], cutoff_per_px, upscale, mirror=mirror)
    if mirror:  # the cosine transform is the Fourier transform of the image continued by its mirror image
        from scipy.fft import dctn, idctn

        measured = idctn(dctn(image, axes=(-2, -1), norm="ortho") * band, axes=(-2, -1), norm="ortho")
    else:
        measured = np.fft.ifft2(np.fft.fft2(image) * band).real
    return measured, image - measured


def band_mask(shape: tuple[int, int], cutoff_per_px: float, upscale: int = 1, *, mirror: bool = True) -> np.ndarray:
    """The band on the grid of frequencies that `split` works on.

    Args:
        shape: (H, W) of the fine image.
        cutoff_per_px, upscale, mirror: as `split`.

    Returns:
        (H, W) bool; its mean is the share of white noise that lies in the band.
    """
    if not cutoff_per_px > 0:
        raise InputError(f"cutoff_per_px: expected above 0, found {cutoff_per_px}. Give cycles per fine pixel.")
    check_upscale("upscale", upscale)
    height, width = shape
    if mirror:
        return measured_band((2 * height, 2 * width), float(cutoff_per_px), upscale)[:height, :width]
    return measured_band((height, width), float(cutoff_per_px), upscale)


def null_space_energy(image: Any, cutoff_per_px: float, upscale: int = 1, *, mirror: bool = True) -> float:
    """Share of an image's variance that was not measured: |prior|^2 / |image - mean|^2.

    0 for an image within the band, 1 - `band_mask(...).mean()` for white noise. A large share is no error by itself: it
    says how much the result owes to the prior.

    Args:
        image: (H, W), on the fine grid.
        cutoff_per_px, upscale, mirror: as `split`.

    Returns:
        0 to 1; 0 for an even image.

    Source: S. Bhadra et al., IEEE Trans. Medical Imaging 40 (2021).
    """
    image = _plane(image)
    _, prior = split(image, cutoff_per_px, upscale, mirror=mirror)
    total = float(np.sum((image - image.mean()) ** 2))
    # Rounding of an even image is no structure
    return float(np.sum(prior**2)) / total if total > 1e-20 * float(np.sum(image**2)) else 0.0


def null_space_map(
    image: Any,
    cutoff_per_px: float,
    upscale: int = 1,
    *,
    window_px: int | None = None,
    floor: float | None = None,
    mirror: bool = True,
) -> np.ndarray:
    """Where an image owes its structure to the prior: `null_space_energy` in a window around each pixel.

    mean prior^2 / (mean prior^2 + variance of the measured part + floor), means and variance over the window.

    Args:
        image: (H, W), unit u, on the fine grid.
        cutoff_per_px, upscale, mirror: as `split`.
        window_px: side of the window in fine pixels; None takes two periods of the cut-off.
        floor: u^2, variance below which a region counts as flat; None takes a thousandth of the image's variance.

    Returns:
        (H, W) between 0 and 1; 0 where the image is flat.
    """
    from scipy.ndimage import uniform_filter

    image = _plane(image)
    measured, prior = split(image, cutoff_per_px, upscale, mirror=mirror)
    side = max(3, math.ceil(2 / cutoff_per_px)) if window_px is None else _window(window_px)
    borders = "reflect" if mirror else "wrap"
    measured = measured - image.mean()  # variances of small differences from a high level would cancel
    floor = FLAT_SHARE * float(image.var()) if floor is None else float(floor)

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, side, mode=borders)

    invented = np.maximum(mean(prior**2), 0.0)
    seen = np.maximum(mean(measured**2) - mean(measured) ** 2, 0.0)
    total = invented + seen + floor
    return np.divide(invented, total, out=np.zeros_like(total), where=total > 1e-20 * float(np.max(image**2)))


def in_band_psnr_db(
    image: Any, target: Any, cutoff_per_px: float, upscale: int = 1, data_range: float | None = None
) -> float:
    """PSNR of the measured part alone: the error that a result can be blamed for whatever its prior.

    The mean square error is that of the projected difference, so in-band and out-of-band errors add up to the plain one.

    Args:
        image: (H, W), in the unit of the target.
        target: (H, W), on the same fine grid.
        cutoff_per_px, upscale: as `split`.
        data_range: peak; None takes max - min of the target.

    Returns:
        dB; infinite where the images agree within the band.
    """
    image, target = _same(_plane(image), target, "image/target")
    error, _ = split(image - target, cutoff_per_px, upscale)
    peak = float(np.ptp(target)) if data_range is None else float(data_range)
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(peak) - 10 * np.log10(np.mean(error**2)))


def chi_square(expected: Any, raw: Any, variance: Any, *, window_px: int = 9) -> tuple[float, np.ndarray]:
    """Does a result explain the raw image? Mean square of the difference in units of the noise, and where it is.

    About 1 when honest (`chi_square_limit` says how far above is too far); well below 1, the result has copied the noise.

    Args:
        expected: (H, W) what the camera would expect of the result, `Imaging.forward(result)`, in the unit of `raw`.
        raw: (H, W) the raw image, unit u.
        variance: (H, W) or a number, u^2: of the raw image's noise.
        window_px: side of the window of the map, camera pixels.

    Returns:
        Mean of (expected - raw)^2 / variance, and (H, W) its mean over the window around each pixel.

    Raises:
        InputError: shapes differ, or a variance that is not above 0.
    """
    from scipy.ndimage import uniform_filter

    expected, raw = _same(_plane(expected), raw, "expected/raw")
    variance = np.asarray(variance, np.float64)
    if variance.ndim and variance.shape != raw.shape:
        raise InputError(f"variance: expected a number or the shape of raw {raw.shape}, found {variance.shape}.")
    if not np.all(variance > 0):
        raise InputError(f"variance: expected above 0, found {np.min(variance)}. Include the read noise.")
    square = (expected - raw) ** 2 / variance
    return float(square.mean()), np.maximum(uniform_filter(square, _window(window_px), mode="reflect"), 0.0)


def chi_square_limit(
    n_pixels: float, *, sigmas: float = 5.0, tolerance: float = 0.1, excess_kurtosis: float = 0.0
) -> float:
    """Largest `chi_square` that noise alone explains: 1 + tolerance + sigmas sqrt((2 + excess) / n).

    Args:
        n_pixels: independent pixels averaged: all of the image, or the window of the map.
        sigmas: standard errors allowed.
        tolerance: share by which the assumed variance and transfer function may be off; 0 for simulated images.
        excess_kurtosis: of the noise; 0 for Gaussian noise, 1 / photons for Poisson noise.

    Returns:
        The limit, above 1.
    """
    if not n_pixels > 0 or tolerance < 0 or sigmas < 0:
        raise InputError(
            f"n_pixels/sigmas/tolerance: expected > 0, >= 0 and >= 0, found {n_pixels}, {sigmas} and {tolerance}."
        )
    return float(1.0 + tolerance + sigmas * math.sqrt((2.0 + excess_kurtosis) / n_pixels))


def fit_affine(expected: Any, raw: Any, variance: Any = None) -> tuple[float, float]:
    """Gain and offset that bring an expectation closest to the raw image, for results that are not in its unit.

    Args:
        expected: (H, W) any unit.
        raw: (H, W) unit u.
        variance: (H, W) or a number, u^2, of the raw image's noise; None weighs all pixels alike.

    Returns:
        (gain, offset) of least (weighted) squares with gain >= 0. A gain of 0 means that the expectation is even or
        runs against the image: it explains nothing, and the offset is the mean of the image.
    """
    expected, raw = _same(_plane(expected), raw, "expected/raw")
    weight = np.ones_like(raw) if variance is None else np.broadcast_to(1 / np.asarray(variance, np.float64), raw.shape)
    weight = weight / weight.sum()
    centre, level = float(np.sum(weight * expected)), float(np.sum(weight * raw))
    energy = float(np.sum(weight * (expected - centre) ** 2))
    slope = float(np.sum(weight * (expected - centre) * (raw - level)))
    gain = slope / energy if slope > 0 and energy > 1e-24 * centre**2 else 0.0
    return gain, level - gain * centre


def _image(image: Any) -> np.ndarray:
    image = np.asarray(image, np.float64)
    if image.ndim < 2 or image.size == 0 or not np.isfinite(image).all():
        raise InputError(
            f"image: expected finite numbers (H, W), found {image.shape}, {int((~np.isfinite(image)).sum())} not finite."
        )
    return image


def _plane(image: Any) -> np.ndarray:
    image = _image(image)
    if image.ndim != 2:
        raise InputError(f"image: expected one image (H, W), found {image.shape}. Pass images one by one.")
    return image


def _same(first: np.ndarray, second: Any, names: str) -> tuple[np.ndarray, np.ndarray]:
    second = _image(second)
    if first.shape != second.shape:
        raise InputError(f"{names}: expected one shape, found {first.shape} and {second.shape}. Crop or match them.")
    return first, second


def _window(window_px: Any) -> int:
    if int(window_px) != window_px or window_px < 1:
        raise InputError(f"window_px: expected a whole number of at least 1 px, found {window_px!r}.")
    return int(window_px)
