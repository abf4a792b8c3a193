"""What no super-resolution can beat: exact Bayes errors of the forward model, and how close two lines or points may lie.

As in `optics.bounds`, a spectrum is the array of eigenvalues of a periodic covariance on the FFT grid, unit u^2, and all
is float64 NumPy. The oracle of `super_resolution_mse` knows the spectrum of the object; a real method does not.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.optics.imaging import check_upscale
from bioflax.optics.psf.widefield import WidefieldOptics

KINDS = ("lines", "points")
_DARK = 1e-6
"""Transfer below this counts as none: float32 transfer functions leave such crumbs beyond the cut-off."""


@dataclasses.dataclass(frozen=True)
class SuperResolutionBound:
    """Least mean square error of super-resolution, and how it divides over the frequencies.

    Attributes:
        mse: u^2 per fine pixel.
        in_band_mse: u^2, its part at measured frequencies: what noise costs.
        out_of_band_mse: u^2, its part at the others: what only a prior can give. Both add up to `mse`.
        mse_by_frequency: (s H, s W) u^2, FFT layout; its mean is `mse`.
        band: (s H, s W) bool, the measured frequencies.
    """

    mse: float
    in_band_mse: float
    out_of_band_mse: float
    mse_by_frequency: np.ndarray
    band: np.ndarray

    @property
    def band_share(self) -> float:
        """Share of the frequencies that were measured."""
        return float(self.band.mean())


def super_resolution_mse(spectrum: Any, otf: Any, noise_variance: Any, upscale: int) -> SuperResolutionBound:
    """Least mean square error of an object from its blurred, binned and noisy picture y = bin_mean(H x) + n.

    For a periodic Gaussian process x, exact and reached by `super_resolve_linear`; for any other x of this spectrum the
    least error of linear estimates. With G = H B, B the transfer function of the camera pixel,
    MSE_j = S_j (1 - |G_j|^2 S_j / (sum_i |G_i|^2 S_i + s^2 N)), the sum over the s^2 frequencies i that the camera folds
    onto that of j.

    Args:
        spectrum: (s H, s W) u^2, S, of the object on the fine grid.
        otf: (s H, s W) transfer function H of the optics, FFT layout (`Imaging.otf`).
        noise_variance: u^2 of one camera pixel, white; or its spectrum (H, W).
        upscale: s, fine pixels along a camera pixel.

    Returns:
        The bound. The band holds what the optics let through below the camera's Nyquist frequency.

    Raises:
        InputError: shapes that do not fit, or a negative spectrum.
    """
    signal, transfer, noise = _scene(spectrum, otf, noise_variance, upscale)
    observed = _tiled(_folded(abs(transfer) ** 2 * signal, upscale) + upscale**2 * noise, upscale)
    gained = np.divide(abs(transfer * signal) ** 2, observed, out=np.zeros_like(signal), where=observed > 0)
    error = np.maximum(signal - gained, 0.0)
    band = abs(np.asarray(otf)) > _DARK
    if upscale > 1:
        rows, columns = (abs(np.fft.fftfreq(side)) < 0.5 / upscale for side in signal.shape)
        band = band & rows[:, None] & columns[None, :]
    inside = float(np.sum(error[band]) / error.size)
    return SuperResolutionBound(float(error.mean()), inside, float(error.mean()) - inside, error, band)


def super_resolve_linear(noisy: Any, spectrum: Any, otf: Any, noise_variance: Any, upscale: int) -> np.ndarray:
    """The linear estimate of least error, whose error is `super_resolution_mse`: Wiener's filter with the folding undone.

    Args:
        noisy: (..., H, W) pictures of objects of zero mean, u; take the mean off first and put it back after.
        spectrum, otf, noise_variance, upscale: as `super_resolution_mse`.

    Returns:
        (..., s H, s W) u.
    """
    signal, transfer, noise = _scene(spectrum, otf, noise_variance, upscale)
    noisy = np.asarray(noisy, np.float64)
    if noisy.shape[-2:] != noise.shape:
        raise InputError(
            f"noisy: expected sides {noise.shape}, the fine grid {signal.shape} over {upscale}, "
            f"found {noisy.shape[-2:]}; give the spectrum on the fine grid."
        )
    observed = _tiled(_folded(abs(transfer) ** 2 * signal, upscale) + upscale**2 * noise, upscale)
    gain = upscale**2 * transfer.conj() * signal
    gain = np.divide(gain, observed, out=np.zeros_like(gain), where=observed > 0)
    return np.fft.ifft2(gain * _tiled(np.fft.fft2(noisy), upscale)).real


def pixel_otf(shape: tuple[int, int], upscale: int) -> np.ndarray:
    """Transfer function of the mean over a camera pixel, seen from its first fine pixel: (H, W) complex, FFT layout."""
    ramps = [np.exp(2j * np.pi * np.fft.fftfreq(side)[:, None] * np.arange(upscale)).mean(1) for side in shape]
    return ramps[0][:, None] * ramps[1][None, :]


def separation_crlb_nm(
    spacing_nm: float,
    optics: WidefieldOptics,
    *,
    photons: float | tuple[float, float],
    background_photons: float = 0.0,
    read_noise_e: float = 0.0,
    kind: str = "lines",
    length_px: float = 1.0,
    positions: int = 4,
) -> float:
    """Least standard deviation of the distance of two parallel lines or two points, for unbiased estimates.

    Nothing else is known: the position of both (for points along both axes), their brightness and the background are
    estimated together. The information is sum over pixels of d_i mu d_j mu / (mu + read noise^2); the variance is
    averaged over positions of the pair within a camera pixel. It grows without limit as the distance goes to 0.
    A distance counts as resolvable where this falls below half of it (`bound_resolved_fraction` says how often then an
    estimate comes out right); a prior may do better and is then not unbiased.

    Args:
        spacing_nm: distance of the two.
        optics: objective and camera pixel.
        photons: detected, of each point, or of each line along one camera pixel of its length; a pair for two
            brightnesses.
        background_photons: per camera pixel.
        read_noise_e: standard deviation, electrons.
        kind: "lines", parallel to a camera axis and of known direction, or "points", beside each other along x.
        length_px: camera pixels of the lines' length that are judged together.
        positions: positions within a camera pixel that are averaged, along each axis.

    Returns:
        nm.

    Raises:
        InputError: a spacing, brightness or length that is not above 0, or an unknown kind.

    Source: S. Ram, E. S. Ward, R. J. Ober, PNAS 103 (2006).
    """
    bright = np.broadcast_to(np.asarray(photons, np.float64), (2,))
    if not (spacing_nm > 0 and bright.min() > 0 and length_px > 0):
        raise InputError(
            f"spacing_nm/photons/length_px: expected above 0, found {spacing_nm}, {photons} and {length_px}."
        )
    if kind not in KINDS or background_photons < 0 or read_noise_e < 0 or positions < 1:
        raise InputError(
            f"kind/background_photons/read_noise_e/positions: expected one of {', '.join(KINDS)}, >= 0, >= 0 and >= 1, "
            f"found {kind!r}, {background_photons}, {read_noise_e} and {positions}."
        )
    pixel_nm = float(optics.pixel_nm)
    at = (np.arange(positions) + 0.5) / positions * pixel_nm
    rows = at if kind == "points" else np.zeros(1)
    picture = _Picture(optics, spacing_nm, kind)
    floor = background_photons + read_noise_e**2
    variances = [
        _separation_variance(*picture.pair(x_nm, y_nm, bright), floor) / length_px for x_nm in at for y_nm in rows
    ]
    return float(np.sqrt(np.mean(variances)))


def bound_resolved_fraction(spacing_nm: Any, sigma_nm: Any) -> Any:
    """How often an unbiased Gaussian estimate of a distance comes within half of it: erf(spacing / (2 sqrt 2 sigma)).

    Args:
        spacing_nm: (...) distance.
        sigma_nm: (...) its standard deviation, `separation_crlb_nm`.

    Returns:
        (...) 0 to 1; 0.68 where sigma is half the distance.
    """
    from scipy.special import erf

    spacing, sigma = np.asarray(spacing_nm, np.float64), np.asarray(sigma_nm, np.float64)
    with np.errstate(divide="ignore"):
        found = erf(spacing / (2 * math.sqrt(2) * sigma))
    return found if found.ndim else float(found)


class _Picture:
    """Pictures of a point or a line, and their slopes, as Fourier series of the transfer function."""

    def __init__(self, optics: WidefieldOptics, spacing_nm: float, kind: str) -> None:
        self.kind, self.spacing_nm = kind, spacing_nm
        self.pixel_nm = float(optics.pixel_nm)
        airy_nm = 1.0 / float(optics.cutoff_per_nm)
        reach_nm = spacing_nm / 2 + 4 * airy_nm + self.pixel_nm
        self.half = 8 * math.ceil(reach_nm / self.pixel_nm / 8)  # few sizes: each is compiled once
        # The series repeats: a period of twice the window keeps the neighbours' cores out of it
        step_nm = 0.45 * airy_nm
        count = 2 * math.ceil((2 * self.half + 1) * self.pixel_nm / step_nm)
        fine = dataclasses.replace(optics, pixel_nm=step_nm)
        shape = (1, count) if kind == "lines" else (count, count)
        self.otf = np.asarray(fine.otf(shape), np.float64)
        self.per_nm = np.fft.fftfreq(count) / step_nm
        self.period_nm = count * step_nm

    def pair(self, x_nm: float, y_nm: float, photons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected photons (P,) and slopes (K, P) by x of both, (y of both,) brightness of both, background."""
        spots = [self._spot(x_nm + side * self.spacing_nm / 2, y_nm) for side in (-1, 1)]
        mean = photons[0] * spots[0][0] + photons[1] * spots[1][0]
        moved = [n * slope for k in range(1, len(spots[0])) for n, slope in zip(photons, (s[k] for s in spots))]
        return mean, np.stack([*moved, spots[0][0], spots[1][0], np.ones_like(mean)])

    def _spot(self, x_nm: float, y_nm: float) -> list[np.ndarray]:
        """Share of the light in each pixel (P,), its slope by x and, for a point, by y."""
        wave_x, slope_x = self._waves(x_nm)
        if self.kind == "lines":
            return [(self.otf[0] @ wave.T).real for wave in (wave_x, slope_x)]
        wave_y, slope_y = self._waves(y_nm)
        parts = ((wave_y, wave_x), (wave_y, slope_x), (slope_y, wave_x))
        return [(rows @ self.otf @ columns.T).real.ravel() for rows, columns in parts]

    def _waves(self, at_nm: float) -> tuple[np.ndarray, np.ndarray]:
        """(pixels, frequencies): each wave integrated over each pixel, from an emitter at a place, and its slope."""
        centres = (np.arange(-self.half, self.half + 1) + 0.5) * self.pixel_nm
        phase = np.exp(2j * np.pi * self.per_nm * (centres[:, None] - at_nm))
        wave = phase * np.sinc(self.per_nm * self.pixel_nm) * (self.pixel_nm / self.period_nm)
        return wave, wave * (-2j * np.pi * self.per_nm)


def _separation_variance(mean: np.ndarray, slopes: np.ndarray, floor: float) -> float:
    """nm^2, of x2 - x1; infinite where the light does not tell one from two."""
    information = (slopes / np.maximum(mean + floor, 1e-9)) @ slopes.T
    scale = 1.0 / np.sqrt(np.diagonal(information))  # nanometres and photons differ by orders
    size, axes = np.linalg.eigh(information * scale * scale[:, None])
    if size[0] <= 1e-13 * size[-1]:
        return math.inf
    across = (axes[1] * scale[1] - axes[0] * scale[0]) ** 2
    return float(np.sum(across / size))


def _scene(spectrum: Any, otf: Any, noise: Any, upscale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked: spectrum, transfer function of optics and camera pixel, and noise spectrum on the camera grid."""
    check_upscale("upscale", upscale)
    signal, otf, noise = np.asarray(spectrum, np.float64), np.asarray(otf), np.asarray(noise, np.float64)
    if signal.ndim != 2 or otf.shape != signal.shape or any(side % upscale for side in signal.shape):
        raise InputError(
            f"spectrum/otf: expected one shape (H, W) of multiples of {upscale}, found {signal.shape} and {otf.shape}."
        )
    coarse = tuple(side // upscale for side in signal.shape)
    if noise.ndim and noise.shape != coarse:
        raise InputError(f"noise_variance: expected a number or the camera's shape {coarse}, found {noise.shape}.")
    if signal.min() < 0 or noise.min() < 0:
        raise InputError("spectrum/noise_variance: expected at least 0, found a negative one. Check the covariance.")
    return signal, otf * pixel_otf(signal.shape, upscale), np.broadcast_to(noise, coarse)


def _folded(values: np.ndarray, upscale: int) -> np.ndarray:
    """Sum over the frequencies that fall together on the camera grid: (s H, s W) -> (H, W)."""
    height, width = values.shape
    return values.reshape(upscale, height // upscale, upscale, width // upscale).sum((0, 2))


def _tiled(values: np.ndarray, upscale: int) -> np.ndarray:
    return np.tile(values, (1,) * (values.ndim - 2) + (upscale, upscale))
