"""What no denoiser can beat: oracle linear filters, the ceiling of a noisy reference, exact Bayes errors.

Oracles and ceilings see the clean image: they are bounds, never methods. The closed forms hold for stationary Gaussian
processes on a periodic grid. A spectrum here is the array of eigenvalues of the covariance on the FFT grid, unit u^2:
its mean is the variance of a pixel, and white noise of variance v has the spectrum v. All in float64 NumPy but the
sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError

SIGMAS_PX = (0.0, *(round(0.2 * step, 1) for step in range(2, 16)), 3.5, 4.0, 5.0, 6.0, 8.0)
Clip = tuple[float, float] | None


def oracle_gaussian(
    noisy: Any, clean: Any, sigmas_px: Sequence[float] = SIGMAS_PX, *, clip: Clip = None, boundary: str = "circular"
) -> tuple[np.ndarray, float]:
    """The Gaussian blur of least true error: a bound for self-tuned Gaussian filters.

    Args:
        noisy: (H, W) or (Z, H, W), any unit; axes of length 1 are left alone.
        clean: same shape and unit.
        sigmas_px: standard deviations tried; 0 is the image itself.
        clip: range that the result is clipped to before it is judged.
        boundary: "circular", as the oracle Wiener filter, or "reflect", as a filter in practice.

    Returns:
        The blurred image and its sigma in px.
    """
    noisy, clean = _pair(noisy, clean)
    if len(sigmas_px) == 0 or min(sigmas_px) < 0:
        raise InputError(f"sigmas_px: expected widths of at least 0 px, found {list(sigmas_px)}. Use (0.5, 1, 2).")
    if boundary not in ("circular", "reflect"):
        raise InputError(f"boundary: expected circular or reflect, found {boundary!r}. Choose one of these.")
    extended = noisy
    if boundary == "reflect":  # an even extension by its own length turns circular into reflecting
        extended = np.pad(noisy, [(0, side if side > 1 else 0) for side in noisy.shape], mode="symmetric")
    transform, square = np.fft.fftn(extended), _radius(extended.shape) ** 2
    best: tuple[float, np.ndarray, float] | None = None
    for sigma_px in sigmas_px:
        blurred = np.fft.ifftn(transform * np.exp(-2 * np.pi**2 * sigma_px**2 * square)).real
        blurred = _clipped(blurred[tuple(slice(side) for side in noisy.shape)], clip)
        error = float(np.mean((blurred - clean) ** 2))
        if best is None or error < best[0]:
            best = error, blurred, float(sigma_px)
    return best[1], best[2]


def oracle_wiener(noisy: Any, clean: Any, *, clip: Clip = None, keep_mean: bool = True) -> np.ndarray:
    """The radially symmetric linear filter of least true error: a bound for isotropic shift-invariant filters.

    On each ring of Fourier pixels the gain is sum Re(G A*) / sum |A|^2, A noisy, G clean, circular boundary.

    Args:
        noisy: (H, W) or (Z, H, W), any unit.
        clean: same shape and unit.
        clip: range that the result is clipped to.
        keep_mean: leave the mean of the noisy image alone. Brightness that drifted between the two captures is then
            not put right by the truth; False allows it, which no filter could.

    Returns:
        The filtered image.
    """
    noisy, clean = _pair(noisy, clean)
    observed, truth = np.fft.fftn(noisy), np.fft.fftn(clean)
    side = min((side for side in noisy.shape if side > 1), default=1)
    ring = (_radius(noisy.shape) * side + 1e-9).astype(int).ravel() + 1
    ring[0] = 0  # the mean alone, also where a longer side has frequencies below the first ring
    power = np.bincount(ring, (abs(observed) ** 2).ravel())
    cross = np.bincount(ring, (truth * observed.conj()).real.ravel())
    gain = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    if keep_mean:
        gain[0] = 1.0
    return _clipped(np.fft.ifftn(observed * gain[ring].reshape(noisy.shape)).real, clip)


def reference_ceiling_db(noisy_db: float, frames: int, *, included: bool = True) -> float:
    """PSNR that a perfect image scores against the mean of a few noisy frames.

    The mean of M frames has noise s^2 / M. A frame inside it differs from it by s^2 (1 - 1/M), one outside by
    s^2 (1 + 1/M), so perfection scores 10 log10(M -+ 1) above the frame.

    Args:
        noisy_db: dB, PSNR of one frame against the mean.
        frames: M, frames in the mean.
        included: whether the judged frame is one of them.

    Returns:
        dB.
    """
    least = 2 if included else 1
    if frames < least:
        raise InputError(
            f"frames: expected at least {least}, found {frames}. Count the frames averaged to the reference."
        )
    return float(noisy_db + 10 * np.log10(frames - 1 if included else frames + 1))


def noisy_reference_ceiling_db(data_range: float, noise_variance: float) -> float:
    """PSNR that a perfect image scores against a reference with noise of a known variance.

    Args:
        data_range: peak of the PSNR, unit u.
        noise_variance: u^2, of the reference: s^2 for a single second capture, s^2 / M for the mean of M.

    Returns:
        dB; infinite for a noiseless reference.
    """
    if noise_variance < 0 or data_range <= 0:
        raise InputError(
            f"noise_variance/data_range: expected >= 0 and > 0, found {noise_variance} and {data_range}. Mind the unit."
        )
    return float("inf") if noise_variance == 0 else float(20 * np.log10(data_range) - 10 * np.log10(noise_variance))


def power_law_spectrum(
    shape: Sequence[int], correlation_px: float = 8.0, *, exponent: float = 3.0, variance: float = 1.0
) -> np.ndarray:
    """A spectrum like that of biological texture: flat up to 1 / correlation length, then a power law.

    S(f) ~ (1 + (2 pi f l)^2)^(-exponent / 2), scaled to the pixel variance (Matern family).

    Args:
        shape: pixels of each axis.
        correlation_px: l.
        exponent: of the decay.
        variance: u^2 of one pixel.

    Returns:
        (*shape) u^2, on the FFT grid.
    """
    spectrum = (1 + (2 * np.pi * correlation_px * _radius(tuple(shape))) ** 2) ** (-exponent / 2)
    return spectrum * (variance / spectrum.mean())


def sample_gaussian_process(key: jax.Array, spectrum: Any, n: int) -> jax.Array:
    """Draws periodic fields of zero mean; `spectrum` is even, as any real covariance makes it.

    Args:
        key: typed JAX key.
        spectrum: (*shape) u^2, on the FFT grid.
        n: fields to draw.

    Returns:
        (n, *shape) float32, u.
    """
    spectrum = jnp.asarray(spectrum, jnp.float32)
    axes = tuple(range(1, spectrum.ndim + 1))
    white = jax.random.normal(key, (n, *spectrum.shape), jnp.float32)
    return jnp.fft.ifftn(jnp.fft.fftn(white, axes=axes) * jnp.sqrt(spectrum), axes=axes).real


def wiener(noisy: Any, spectrum: Any, noise_variance: Any) -> np.ndarray:
    """The Bayes estimate of a Gaussian process of zero mean in Gaussian noise.

    Args:
        noisy: (..., *shape), u.
        spectrum: (*shape) u^2, of the signal.
        noise_variance: u^2; a number for white noise, or the noise spectrum (*shape).

    Returns:
        (..., *shape) float64, u.
    """
    signal, noise = _spectra(spectrum, noise_variance)
    axes = tuple(range(-signal.ndim, 0))
    gain = _ratio(signal, signal + noise)
    return np.fft.ifftn(np.fft.fftn(np.asarray(noisy, np.float64), axes=axes) * gain, axes=axes).real


def wiener_mse(spectrum: Any, noise_variance: Any, otf: Any = 1.0) -> float:
    """Least mean square error for y = H x + n: mean over k of S N / (|H|^2 S + N), and S beyond the cut-off.

    Args:
        spectrum: (*shape) u^2, of the signal.
        noise_variance: u^2; a number for white noise, or the noise spectrum (*shape).
        otf: (*shape) transfer function H; 1 for pure denoising.

    Returns:
        u^2 per pixel.
    """
    signal, noise = _spectra(spectrum, noise_variance)
    transfer = np.broadcast_to(abs(np.asarray(otf)) ** 2, signal.shape)
    observed = transfer * signal + noise
    # Where nothing is observed, neither signal nor noise, the prior variance remains
    return float(np.mean(np.where(observed > 0, _ratio(signal * noise, observed), signal)))


def blind_spot_mse(spectrum: Any, noise_variance: float) -> float:
    """Least error when a pixel's own value is hidden, white noise: 1 / Q_ii - s^2 with Q = (C + s^2 I)^-1.

    What Noise2Void converges to. Args as `wiener_mse` with a single variance.
    """
    return blind_spot_mse_correlated(spectrum, noise_variance)


def blind_spot_mse_correlated(spectrum: Any, noise_spectrum: Any) -> float:
    """True error of E[y_i | y_-i], the optimum of blind-spot training, under noise of any stationary correlation.

    With P = (C + N)^-1: N_ii - 2 (P N)_ii / P_ii + 1 / P_ii. Correlated noise is predicted from its neighbours and
    stays in the result; the mask no longer hides it.

    Args:
        spectrum: (*shape) u^2, of the signal.
        noise_spectrum: (*shape) u^2, of the noise, or a number where it is white.

    Returns:
        u^2 per pixel.
    """
    signal, noise = _spectra(spectrum, noise_spectrum)
    precision = np.mean(1 / _observed(signal, noise))
    return float(noise.mean() - 2 * np.mean(noise / (signal + noise)) / precision + 1 / precision)


def leaked_noise_variance(spectrum: Any, noise_spectrum: Any) -> float:
    """Variance of E[n_i | y_-i]: how much of a pixel's noise its neighbours give away to a blind-spot network.

    N_i,-i K_-i,-i^-1 N_-i,i with K = C + N, which on a periodic grid is (N P N)_ii - (P N)_ii^2 / P_ii. Zero for white
    noise. Args as `blind_spot_mse_correlated`.

    Returns:
        u^2 per pixel.
    """
    signal, noise = _spectra(spectrum, noise_spectrum)
    observed = _observed(signal, noise)
    return float(max(np.mean(noise**2 / observed) - np.mean(noise / observed) ** 2 / np.mean(1 / observed), 0.0))


def gamma_poisson_mean(counts: Any, shape: float, rate: float) -> np.ndarray:
    """Posterior mean (shape + y) / (rate + 1) of a Gamma(shape, rate) intensity after y photons."""
    _positive(shape=shape, rate=rate)
    return (shape + np.asarray(counts, np.float64)) / (rate + 1)


def gamma_poisson_mse(shape: float, rate: float) -> float:
    """Least mean square error of a Gamma(shape, rate) intensity seen through Poisson counts: a / (b (b + 1)).

    Args:
        shape: a of the prior; its mean is a / b photons.
        rate: b of the prior.

    Returns:
        photons^2.
    """
    _positive(shape=shape, rate=rate)
    return shape / (rate * (rate + 1))


def _pair(noisy: Any, clean: Any) -> tuple[np.ndarray, np.ndarray]:
    noisy, clean = np.asarray(noisy, np.float64), np.asarray(clean, np.float64)
    if noisy.shape != clean.shape or noisy.size == 0:
        raise InputError(f"noisy/clean: expected one shape, found {noisy.shape} and {clean.shape}. Crop or match them.")
    return noisy, clean


def _clipped(image: np.ndarray, clip: Clip) -> np.ndarray:
    return image if clip is None else np.clip(image, *clip)


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    """Radial frequency of every Fourier pixel, cycles per px."""
    squares = [np.fft.fftfreq(side) ** 2 for side in shape]
    return np.sqrt(sum(np.meshgrid(*squares, indexing="ij", sparse=True)))


def _spectra(spectrum: Any, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    signal, noise = np.asarray(spectrum, np.float64), np.asarray(noise, np.float64)
    if noise.ndim and noise.shape != signal.shape:
        raise InputError(f"noise: expected a number or the shape of spectrum {signal.shape}, found {noise.shape}.")
    if signal.size == 0 or signal.min() < 0 or noise.min() < 0:
        raise InputError(
            "spectrum/noise: expected eigenvalues of at least 0, found a negative one. Check the covariance."
        )
    return signal, np.broadcast_to(noise, signal.shape)


def _observed(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    observed = signal + noise
    if observed.min() <= 0:
        raise InputError("noise: expected signal plus noise above 0 at every frequency, found 0. Add some white noise.")
    return observed


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name}: expected a number above 0, found {value}. Use the parameters of a proper prior.")
