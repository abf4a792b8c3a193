"""Finds spots in noisy frames: difference of Gaussians, or the spot itself, judged by the noise of the camera; local maxima."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from bioflax.errors import InputError
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf.interface import EmitterPSF, seen_from

WIDER = 2.0  # the Gaussian that is subtracted, in widths of the spot
LEAST_MEAN_E = 0.1  # electrons: the noise of a background that happened to be 0 is not 0


class Spots(NamedTuple):
    """(K,) each: frame from 0, row and column of the brightest pixel, y and x in px from the corner, signal to noise."""

    frame: np.ndarray
    row: np.ndarray
    column: np.ndarray
    y_px: np.ndarray
    x_px: np.ndarray
    snr: np.ndarray


def spot_width_px(psf: EmitterPSF, z_range_nm: tuple[float, float] = (0.0, 0.0)) -> float:
    """Width of the Gaussian with the peak of the spot, averaged over depths, px."""
    side, z = 41, np.linspace(*z_range_nm, 9 if z_range_nm[0] < z_range_nm[1] else 1)
    middle = np.full(z.shape, side / 2 * float(psf.pixel_nm))
    spot = np.asarray(psf.spots((side, side), jnp.asarray(middle), jnp.asarray(middle), jnp.asarray(z))).mean(0)
    return 1.0 / math.sqrt(2.0 * math.pi * max(float(spot.max()), 1e-6))


def find_spots(
    frames_e: np.ndarray, sensor: Sensor, width_px: float, *, threshold: float = 5.0, border_px: int = 0
) -> Spots:
    """Local maxima of the difference of Gaussians that stand out of their own noise.

    The noise of each filtered pixel follows from the camera: shot noise of the local background, excess noise of an EM
    register, and the read noise of every pixel below the filter, so a noisy pixel of an sCMOS sensor is no spot.

    Args:
        frames_e: (T, H, W) photoelectrons.
        sensor: numbers, or maps (H, W).
        width_px: standard deviation of the spot.
        threshold: least signal to noise.
        border_px: spots whose brightest pixel is nearer to the border are left out.

    Returns:
        The spots, frame by frame, brightest first.

    Raises:
        InputError: a width or threshold that is not above 0, or frames that are too small.
    """
    frames_e = _checked(frames_e, 5, width_px=width_px, threshold=threshold)
    kernel = difference_of_gaussians(width_px)
    read_variance = np.broadcast_to(np.square(np.asarray(sensor.read_noise_e, np.float32)), frames_e.shape[1:])
    read_variance = ndimage.convolve(read_variance, kernel**2, mode="reflect")
    excess, power = (2.0 if sensor.multiplied else 1.0), float(np.sum(kernel**2))
    found: list[Spots] = []
    for number, frame in enumerate(frames_e):
        narrow = ndimage.gaussian_filter(frame, width_px, mode="reflect")
        broad = ndimage.gaussian_filter(frame, WIDER * width_px, mode="reflect")
        contrast = narrow - broad
        # The background changes little below the filter, so its shot noise is taken as even there.
        level = np.maximum(ndimage.gaussian_filter(broad, WIDER * width_px, mode="reflect"), LEAST_MEAN_E)
        snr = contrast / np.sqrt(excess * power * level + read_variance)
        found.append(_peaks(number, snr, contrast, 3, threshold, border_px))
    return _joined(found)


def match_spots(
    frames_e: np.ndarray,
    sensor: Sensor,
    psf: EmitterPSF,
    side: int,
    z_range_nm: tuple[float, float],
    *,
    threshold: float = 5.0,
    depths: int = 17,
) -> Spots:
    """Finds spots of any shape, such as tetrapods, whose lobes a difference of Gaussians would take for emitters each.

    The frame is correlated with the spot at several depths (and at nine places, where it changes across the field), each
    without its mean, so that an even background cancels. The correlation over its noise is the signal to noise; its largest
    value over depths and places has to be a local maximum within the rms radius of the spot.

    Args:
        frames_e: (T, H, W) photoelectrons.
        sensor: numbers, or maps (H, W).
        psf: the spot.
        side: pixels of the window that holds it, odd.
        z_range_nm: depths looked for.
        threshold: least signal to noise.
        depths: how many.

    Returns:
        As `find_spots`.

    Raises:
        InputError: an even side, frames smaller than it, a threshold that is not above 0.
    """
    if side % 2 == 0 or side < 3:
        raise InputError(f"side: expected an odd number of at least 3, found {side}.")
    frames_e = _checked(frames_e, side, threshold=threshold, depths=depths)
    middle = np.full(depths, side / 2 * float(psf.pixel_nm), np.float32)
    z = np.linspace(*z_range_nm, depths, dtype=np.float32)
    seen = [
        view.spots((side, side), *map(jnp.asarray, (middle, middle, z)))
        for view in views(psf, frames_e.shape[1:], side)
    ]
    templates = np.concatenate([np.asarray(spots) for spots in seen])
    at = np.arange(side) - side // 2
    square = np.sum(templates * (at[:, None] ** 2 + at[None] ** 2), (1, 2)) / templates.sum((1, 2))
    apart = 2 * max(1, round(math.sqrt(float(np.median(square))))) + 1
    templates = templates - templates.mean((1, 2), keepdims=True)
    excess, size = 2.0 if sensor.multiplied else 1.0, frames_e.shape[1:]
    read_variance = np.broadcast_to(np.square(np.asarray(sensor.read_noise_e, np.float32)), size)
    found: list[Spots] = []
    for number, frame in enumerate(frames_e):
        # Mirrored edges: zeros beyond the frame would look like an edge of light.
        padded = np.pad(frame, side // 2, mode="reflect")
        level = np.maximum(ndimage.uniform_filter(frame, side, mode="reflect"), LEAST_MEAN_E)
        noise = np.pad(excess * level + read_variance, side // 2, mode="reflect")
        # convolving with the flipped template is correlating with it
        flip = lambda kernel: kernel[::-1, ::-1]  # noqa: E731
        power = [fftconvolve(noise, flip(one**2), mode="valid") for one in templates]
        signal = [fftconvolve(padded, flip(one), mode="valid") for one in templates]
        snr = np.max([s / np.sqrt(np.maximum(p, 1e-12)) for s, p in zip(signal, power)], axis=0)
        found.append(_peaks(number, snr, snr, apart, threshold))
    return _joined(found)


def _peaks(number: int, snr: np.ndarray, image: np.ndarray, side: int, threshold: float, border_px: int = 0) -> Spots:
    """Local maxima of one frame's signal to noise within a side, brightest first; their place by the peak of `image`."""
    peak = (snr == ndimage.maximum_filter(snr, side, mode="nearest")) & (snr > threshold)
    if border_px:
        peak[:border_px], peak[-border_px:], peak[:, :border_px], peak[:, -border_px:] = (False,) * 4
    row, column = np.nonzero(peak)
    order = np.argsort(-snr[row, column], kind="stable")
    row, column = row[order], column[order]
    return Spots(np.full(row.size, number), row, column, *_refine(image, row, column), snr[row, column])


def _joined(found: list[Spots]) -> Spots:
    return Spots(*(np.concatenate(parts) for parts in zip(*found))) if found else Spots(*(np.zeros(0, int),) * 6)


def views(psf: EmitterPSF, size_px: tuple[int, int], side: int) -> list[EmitterPSF]:
    """The spot as windows of a side see it whose middle lies at nine places of the frame; one where it is the same everywhere."""
    if seen_from(psf, 0.0, 0.0) is psf:
        return [psf]
    pixel_nm = float(psf.pixel_nm)
    rows, columns = ((np.array([1, 3, 5]) / 6 * size - side / 2) * pixel_nm for size in size_px)
    return [seen_from(psf, float(x), float(y)) for y in rows for x in columns]


def _checked(frames_e: np.ndarray, least_px: int, **positive: float) -> np.ndarray:
    frames_e = np.asarray(frames_e, np.float32)
    if frames_e.ndim != 3 or min(frames_e.shape[1:]) < least_px:
        raise InputError(f"frames: expected (T, H, W) of at least {least_px} px a side, found shape {frames_e.shape}.")
    for name, value in positive.items():
        if not value > 0:
            raise InputError(f"{name}: expected more than 0, found {value}.")
    return frames_e


def difference_of_gaussians(width_px: float) -> np.ndarray:
    """The kernel whose square carries the noise, (2 r + 1, 2 r + 1)."""
    radius = math.ceil(4 * WIDER * width_px)
    impulse = np.zeros((2 * radius + 1,) * 2, np.float32)
    impulse[radius, radius] = 1.0
    return ndimage.gaussian_filter(impulse, width_px) - ndimage.gaussian_filter(impulse, WIDER * width_px)


def _refine(image: np.ndarray, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peak of the parabola through three pixels along each axis, px from the outer corner of the first pixel."""
    padded = np.pad(image, 1, mode="edge")
    r, c = row + 1, column + 1
    middle = padded[r, c]

    def shift(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        curvature = np.minimum(low - 2 * middle + high, -1e-12)
        return np.clip(0.5 * (low - high) / curvature, -0.5, 0.5)

    y = row + 0.5 + shift(padded[r - 1, c], padded[r + 1, c])
    return y, column + 0.5 + shift(padded[r, c - 1], padded[r, c + 1])
