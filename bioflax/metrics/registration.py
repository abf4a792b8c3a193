"""Sub-pixel registration of two images by translation: real pairs of a sample are rarely aligned. Float64 NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.numerics import as_float

SOFT_PX = 0.85  # camera pixels, standard deviation of a spot where the camera samples at wavelength / (4 NA)
COARSE_DETAIL_PX = (1.0, 8.0)  # camera pixels; what is narrower is noise, what is wider background

_ROUNDS = 4
"""The window stands still while the image moves, which pulls each estimate towards zero: what is left is sought again."""


@dataclasses.dataclass(frozen=True)
class Shift:
    """The translation that lays an image on its reference.

    Attributes:
        dy_px, dx_px: pixels that the image has to move, for `shift_image`.
        correlation: -1 to 1, Pearson correlation of the details of both where they overlap after the shift. Low says
            that the pair does not register at all, and the shift means nothing. The best of many shifts of unrelated
            textures of 5 px reaches 0.1 by chance on 256 px a side, 0.4 on 64 px.
    """

    dy_px: float
    dx_px: float
    correlation: float


def register(
    image: Any,
    reference: Any,
    *,
    upsample: int = 50,
    max_shift_px: float | None = None,
    detail_px: tuple[float, float] = (1.0, 8.0),
) -> Shift:
    """Finds the translation of an image against its reference by the peak of their cross-correlation.

    Both are filtered to their details (a difference of Gaussians, mirrored borders) and windowed, so that gain, offset
    and uneven background do not matter. The peak is found on whole pixels, refined by an upsampled discrete Fourier
    transform, and sought again around the shifted image until nothing is left.

    Args:
        image: (H, W) any unit.
        reference: (H, W) any unit.
        upsample: steps within a pixel that the transform tries; the peak is interpolated between them.
        max_shift_px: largest shift along each axis; None takes a quarter of the shorter side.
        detail_px: standard deviations of the Gaussians that noise and background are removed with.

    Returns:
        The shift.

    Raises:
        InputError: shapes differ, a side is shorter than 16 px, or an image is even.

    Source: M. Guizar-Sicairos et al., Optics Letters 33 (2008).
    """
    _, (image, reference) = as_float(image=np.asarray(image), reference=np.asarray(reference))
    limit = min(image.shape) / 4 if max_shift_px is None else float(max_shift_px)
    if image.ndim != 2 or min(image.shape) < 16:
        raise InputError(f"image: expected (H, W) of at least 16 px a side, found {image.shape}. Use a larger crop.")
    if not limit >= 0 or upsample < 1:
        raise InputError(f"max_shift_px/upsample: expected >= 0 and >= 1, found {max_shift_px} and {upsample}.")
    moving, fixed = (
        _details(picture, detail_px, name) for picture, name in ((image, "image"), (reference, "reference"))
    )
    window = _window(image.shape)
    target = np.fft.fft2(fixed * window)
    shift = np.zeros(2)
    for turn in range(_ROUNDS):
        moved = shift_image(moving, *shift)
        cross = target * np.fft.fft2(moved * window).conj()
        start = _whole_peak(cross, limit) if turn == 0 else np.zeros(2)
        step = start + _fraction(cross, start, upsample)
        shift = np.clip(shift + step, -limit, limit)
        if np.abs(step).max() < 1e-3:
            break
    return Shift(float(shift[0]), float(shift[1]), _overlap_correlation(shift_image(moving, *shift), fixed, shift))


def register_finer(target: Any, picture: Any, upscale: int, *, max_shift_px: float) -> Shift:
    """Shift that lays an image on a finer grid onto the camera picture of the same field.

    The picture is brought onto the fine grid by cubic splines, the target is blurred like the picture of a camera that samples
    at wavelength / (4 NA), and detail between one and eight camera pixels is compared.

    Args:
        target: (s H, s W).
        picture: (H, W), any unit.
        upscale: s.
        max_shift_px: largest shift, camera pixels; at most a quarter of the picture is searched.

    Returns:
        The shift in fine pixels.

    Raises:
        InputError: as `register`.
    """
    from scipy.ndimage import gaussian_filter, zoom

    picture = np.asarray(picture, np.float64)
    if upscale > 1:
        picture = zoom(picture, upscale, order=3, mode="nearest", grid_mode=True)
    soft = gaussian_filter(np.asarray(target, np.float64), SOFT_PX * upscale)
    limit = min(upscale * max_shift_px, min(picture.shape) / 4)
    return register(soft, picture, max_shift_px=limit, detail_px=tuple(upscale * width for width in COARSE_DETAIL_PX))


def shift_image(image: Any, dy_px: float, dx_px: float) -> np.ndarray:
    """Moves an image by a fraction of a pixel, downwards and to the right where positive.

    By the Fourier transform of the image continued by its mirror image: exact for what the pixels sample well, and
    what enters at a border is its mirror image.

    Args:
        image: (H, W).
        dy_px, dx_px: pixels.

    Returns:
        (H, W) float64.
    """
    image = np.asarray(image, np.float64)
    height, width = image.shape
    spectrum = np.fft.rfft2(np.pad(image, [(0, height), (0, width)], mode="symmetric"))
    rows = np.exp(-2j * np.pi * np.fft.fftfreq(2 * height) * dy_px)
    columns = np.exp(-2j * np.pi * np.fft.rfftfreq(2 * width) * dx_px)
    # A wave at the Nyquist frequency has no side to move to: half of it would turn imaginary
    rows[height], columns[width] = np.cos(np.pi * dy_px), np.cos(np.pi * dx_px)
    moved = np.fft.irfft2(spectrum * rows[:, None] * columns[None, :], s=(2 * height, 2 * width))
    return moved[:height, :width]


def _details(image: np.ndarray, detail_px: tuple[float, float], name: str) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    fine, coarse = detail_px
    if not 0 <= fine < coarse:
        raise InputError(f"detail_px: expected two widths, the finer first, found {detail_px}. Use (1, 8).")
    smooth = gaussian_filter(image, fine, mode="reflect") if fine > 0 else image
    details = smooth - gaussian_filter(image, coarse, mode="reflect")
    if not details.std() > 1e-9 * max(abs(image).max(), 1e-300):
        raise InputError(f"{name}: expected an image with structure, found an even one. It cannot be registered.")
    return details


def _window(shape: tuple[int, int]) -> np.ndarray:
    tapers = [np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in shape]
    return tapers[0][:, None] * tapers[1][None, :]


def _whole_peak(cross: np.ndarray, limit: float) -> np.ndarray:
    correlation = np.fft.ifft2(cross).real
    rows, columns = (np.rint(np.fft.fftfreq(side) * side) for side in cross.shape)
    allowed = (abs(rows)[:, None] <= limit) & (abs(columns)[None, :] <= limit)
    row, column = np.unravel_index(np.argmax(np.where(allowed, correlation, -np.inf)), cross.shape)
    return np.array([rows[row], columns[column]])


def _fraction(cross: np.ndarray, start: np.ndarray, upsample: int) -> np.ndarray:
    """The peak of the correlation within a pixel of `start`, from it: upsampled, then by a parabola."""
    offsets = np.arange(-upsample, upsample + 1) / upsample
    phases = [
        np.exp(2j * np.pi * np.outer(begin + offsets, np.fft.fftfreq(side))) for begin, side in zip(start, cross.shape)
    ]
    values = (phases[0] @ cross @ phases[1].T).real
    row, column = np.unravel_index(np.argmax(values), values.shape)
    fine = [row + _vertex(values[:, column], int(row)), column + _vertex(values[row], int(column))]
    return np.array(fine) / upsample - 1.0


def _vertex(values: np.ndarray, at: int) -> float:
    """Where the parabola through three neighbours has its top, from the middle one."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = values[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend < 0 else 0.0


def _overlap_correlation(moved: np.ndarray, fixed: np.ndarray, shift: np.ndarray) -> float:
    """Pearson correlation over what both saw, weighted towards its middle: the filter is less sure at the borders."""
    inside = tuple(
        slice(max(0, int(np.ceil(step))), side + min(0, int(np.floor(step)))) for step, side in zip(shift, fixed.shape)
    )
    a, b = moved[inside], fixed[inside]
    weight = _window(a.shape)
    weight /= weight.sum()
    a, b = a - np.sum(weight * a), b - np.sum(weight * b)
    power = np.sqrt(np.sum(weight * a**2) * np.sum(weight * b**2))
    return float(np.sum(weight * a * b) / power) if power > 0 else 0.0
