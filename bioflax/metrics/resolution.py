"""Resolution and detail by spatial frequency: Fourier ring correlation, radial power, PSNR by band. Float64 NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.numerics import as_float

THRESHOLDS = ("1/7", "half_bit", "three_sigma")


@dataclasses.dataclass(frozen=True)
class RingCorrelation:
    """A Fourier ring (or shell) correlation curve, from zero to the Nyquist frequency.

    Attributes:
        frequency: (K,) cycles per px, K rings one Fourier pixel of the shortest side wide.
        correlation: (K,) between -1 and 1; 0 where a ring is without power.
        count: (K,) Fourier pixels in the ring.
    """

    frequency: np.ndarray
    correlation: np.ndarray
    count: np.ndarray


def frc(a: Any, b: Any, *, window: str = "hann") -> RingCorrelation:
    """Fourier ring correlation of two independent images of one scene (shells in 3-D).

    FRC(r) = Re sum F1 F2* / sqrt(sum |F1|^2 sum |F2|^2) over each ring (Saxton & Baumeister 1982). Means are removed
    before windowing. Two copies of one file correlate fully and say nothing.

    Args:
        a, b: (H, W) or (Z, H, W), any unit; axes of length 1 are dropped.
        window: "hann", "tukey" (a quarter of the side tapered) or "none".

    Returns:
        The curve.

    Raises:
        InputError: shapes differ, a side is shorter than 8 px, or the window is unknown.
    """
    _, (a, b) = as_float(a=np.asarray(a), b=np.asarray(b))
    a, b = _spatial(a), _spatial(b)
    taper = _taper(a.shape, window)
    first, second = (np.fft.fftn((image - image.mean()) * taper) for image in (a, b))
    ring, count = _rings(a.shape)
    cross = _ring_sum(ring, (first * second.conj()).real, len(count))
    power = np.sqrt(_ring_sum(ring, abs(first) ** 2, len(count)) * _ring_sum(ring, abs(second) ** 2, len(count)))
    correlation = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return RingCorrelation(np.arange(len(count)) / min(a.shape), correlation, count)


def frc_resolution_px(
    a: Any, b: Any, threshold: float | str = 1 / 7, *, window: str = "hann", smoothing: int = 5
) -> float:
    """Resolution where the ring correlation first falls below a threshold.

    Args:
        a, b: (H, W) or (Z, H, W), two independent images of one scene.
        threshold: a number, or "1/7", "half_bit", "three_sigma" (van Heel & Schatz 2005).
        window: as in `frc`.
        smoothing: rings of the moving average before the crossing is sought; 1 for none.

    Returns:
        px: 1 / frequency of the crossing, interpolated between rings. 2 (Nyquist) where the curve never falls, infinity
        where not even the lowest ring correlates.
    """
    curve = frc(a, b, window=window)
    limit = _threshold(threshold, curve.count)
    half = smoothing // 2
    # Ring 0 holds only what the window leaks from the removed mean: it takes no part
    padded = np.pad(curve.correlation[1:], half, mode="edge")
    excess = np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid") - limit[1:]
    below = np.flatnonzero(excess < 0)
    if below.size == 0:
        return 2.0
    k = int(below[0])
    if k == 0:
        return float("inf")
    fraction = excess[k - 1] / (excess[k - 1] - excess[k])
    frequency = curve.frequency[1:]
    return float(1.0 / (frequency[k - 1] + fraction * (frequency[k] - frequency[k - 1])))


def radial_power(image: Any, *, window: str = "none") -> tuple[np.ndarray, np.ndarray]:
    """Power spectrum averaged over rings; white noise of variance v lies flat at v.

    Args:
        image: (H, W) or (Z, H, W), any unit u. The mean is removed.
        window: as in `frc`; its own power is divided out.

    Returns:
        (K,) cycles per px and (K,) power, u^2.
    """
    image = _spatial(np.asarray(image, np.float64))
    taper = _taper(image.shape, window)
    power = abs(np.fft.fftn((image - image.mean()) * taper)) ** 2 / np.sum(taper**2)
    ring, count = _rings(image.shape)
    return np.arange(len(count)) / min(image.shape), _ring_sum(ring, power, len(count)) / count


def spectral_psnr(
    image: Any, target: Any, data_range: float | None = None, *, bands: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """PSNR by band of spatial frequency: an over-smoothed image loses the high bands.

    The error of a band is its mean power density, so a white error gives the plain PSNR in every band, and the means
    weighted by band size add up to the mean square error.

    Args:
        image: (H, W) or (Z, H, W), in the unit of the target.
        target: same shape, clean.
        data_range: peak; None takes max - min of the target.
        bands: bands of equal width between 0 and 0.5 cycles per px; the corners beyond belong to the last.

    Returns:
        (bands,) centre frequency, cycles per px, and (bands,) dB; infinite where a band has no error.
    """
    _, (image, target) = as_float(image=np.asarray(image), target=np.asarray(target))
    peak = np.ptp(target) if data_range is None else data_range
    error = _spatial(image - target)
    band = np.minimum((_radius(error.shape) * 2 * bands).astype(int), bands - 1).ravel()
    count = np.bincount(band, minlength=bands)
    density = np.bincount(band, (abs(np.fft.fftn(error)) ** 2).ravel(), minlength=bands) / count / error.size
    with np.errstate(divide="ignore"):
        return (np.arange(bands) + 0.5) / (2 * bands), 20 * np.log10(peak) - 10 * np.log10(density)


def _spatial(image: np.ndarray) -> np.ndarray:
    sides = tuple(side for side in image.shape if side > 1)
    if not sides or min(sides) < 8:
        raise InputError(
            f"image: expected at least 8 px a side for a spectrum, found {image.shape}. Use a larger crop."
        )
    return image.reshape(sides)


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    """Radial frequency of every Fourier pixel, cycles per px."""
    squares = [np.fft.fftfreq(side) ** 2 for side in shape]
    return np.sqrt(sum(np.meshgrid(*squares, indexing="ij", sparse=True)))


def _rings(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ring number of every Fourier pixel and pixels in each ring up to Nyquist."""
    ring = np.rint(_radius(shape) * min(shape)).astype(int).ravel()
    return ring, np.bincount(ring)[: min(shape) // 2 + 1]


def _ring_sum(ring: np.ndarray, values: np.ndarray, rings: int) -> np.ndarray:
    return np.bincount(ring, values.ravel())[:rings]


def _taper(shape: tuple[int, ...], window: str) -> np.ndarray:
    tapered_share = {"none": 0.0, "tukey": 0.25, "hann": 1.0}
    if window not in tapered_share:
        raise InputError(f"window: expected one of {', '.join(tapered_share)}, found {window!r}. Choose one of these.")
    taper = np.ones(())
    for side in shape:
        position = (np.arange(side) + 0.5) / side
        share = max(tapered_share[window], 1e-12)
        edge = np.minimum(np.minimum(position, 1 - position) * 2 / share, 1.0)
        taper = taper[..., None] * (0.5 - 0.5 * np.cos(np.pi * edge))
    return taper


def _threshold(threshold: float | str, count: np.ndarray) -> np.ndarray:
    root = np.sqrt(count)
    if threshold == "half_bit":
        return (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    if threshold == "three_sigma":
        return 3 / np.sqrt(count / 2)
    value = 1 / 7 if threshold == "1/7" else threshold
    if isinstance(value, str) or not 0 < value < 1:
        raise InputError(
            f"threshold: expected a number in (0, 1) or one of {', '.join(THRESHOLDS)}, found {threshold!r}."
        )
    return np.full(len(count), float(value))
