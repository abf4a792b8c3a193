"""How probable a camera's counts are under expected photons, and how much they tell: likelihood, score, information.

All of it is in photoelectrons at the sensor's input: `sensor(camera)` brings counts there and holds what is left of the
camera, so that one set of formulas serves maps, windows and numbers. x is what was read, m the expected electrons.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, i0e, i1e

from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.quantities import physical, quantity

_FLOOR_E = 1e-6  # expected electrons: keeps logarithms and quotients finite
_NODES = 16  # Gauss-Legendre nodes over +-5 read noises
_LEAST_READ_E = 0.02  # an EMCCD without read noise still has to tell "nothing" from "little"
_TABLE_M = np.concatenate([[0.0], np.geomspace(1e-3, 120.0, 48)])
_TABLE_R = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])


@physical
class Sensor:
    """A camera in photoelectrons at its input.

    Args:
        read_noise_e: electrons rms (for an EMCCD divided by its gain), a number or a map.
        quantum_efficiency: electrons per photon, a number or a map.
        spurious_e: electrons per pixel and exposure without light.
        multiplied: whether an EM register adds its own noise.
    """

    read_noise_e: float = quantity("electrons rms", kind="map", at_least=0.0, default=0.0)
    quantum_efficiency: float = quantity("electrons per photon", kind="map", above=0.0, at_most=1.0, default=1.0)
    spurious_e: float = quantity("electrons per pixel and exposure", kind="map", at_least=0.0, default=0.0)
    multiplied: bool = False

    def expected_e(self, photons: jax.Array) -> jax.Array:
        """Expected electrons of expected photons."""
        return self.quantum_efficiency * photons + self.spurious_e

    def log_likelihood(self, read_e: jax.Array, photons: jax.Array) -> jax.Array:
        """Log probability (density) of each pixel, up to a constant of the data; shape of `read_e`."""
        m = jnp.maximum(self.expected_e(photons), _FLOOR_E)
        if self.multiplied:
            return _multiplied(read_e, m, self.read_noise_e)[0]
        # Huang 2013: read noise is carried by as many electrons of a Poisson variable of the same variance.
        square = jnp.square(self.read_noise_e)
        carried = read_e + square
        # Relative to the data, so that float32 still sees small changes of large counts.
        return carried * jnp.log((m + square) / jnp.maximum(carried, 1.0)) - (m + square - carried)

    def score(self, read_e: jax.Array, photons: jax.Array) -> jax.Array:
        """Derivative of the log likelihood by the expected photons, 1 / photon."""
        m = jnp.maximum(self.expected_e(photons), _FLOOR_E)
        if self.multiplied:
            slope = _multiplied(read_e, m, self.read_noise_e)[1]
        else:
            slope = (read_e - m) / (m + jnp.square(self.read_noise_e))
        return self.quantum_efficiency * slope

    def information(self, photons: jax.Array) -> jax.Array:
        """Fisher information of each pixel about its expected photons, 1 / photon^2."""
        m = jnp.maximum(self.expected_e(photons), _FLOOR_E)
        if self.multiplied:
            return jnp.square(self.quantum_efficiency) * _multiplied_information(m, self.read_noise_e)
        return jnp.square(self.quantum_efficiency) / (m + jnp.square(self.read_noise_e))


def sensor(camera: SCMOS | EMCCD | None) -> Sensor:
    """The sensor of a camera; None is an ideal one, whose counts are photons."""
    if camera is None:
        return Sensor()
    if isinstance(camera, EMCCD):
        return Sensor(
            camera.read_noise_e / camera.em_gain, camera.quantum_efficiency, camera.spurious_e, multiplied=True
        )
    return Sensor(camera.read_noise_e, camera.quantum_efficiency)


def to_electrons(camera: SCMOS | EMCCD | None, adu: jax.Array) -> jax.Array:
    """Photoelectrons at the sensor's input that would give these counts, on average."""
    if camera is None:
        return adu
    gain = camera.gain_adu_per_e * (camera.em_gain if isinstance(camera, EMCCD) else 1.0)
    return (adu - camera.offset_adu) / gain


def poisson_gaussian_log_likelihood(read_e: jax.Array, m: jax.Array, read_noise_e: jax.Array) -> jax.Array:
    """The exact log density of Poisson(m) + Normal(0, read noise): a sum over 49 whole numbers around x.

    Args:
        read_e: (...) x, electrons.
        m: (...) expected electrons.
        read_noise_e: electrons rms, up to 4.

    Returns:
        (...) log density, 1 / electron.
    """
    n = jnp.maximum(jnp.round(read_e), 0.0)[..., None] + jnp.arange(-24, 25)
    m, noise = jnp.maximum(m, _FLOOR_E)[..., None], jnp.asarray(read_noise_e)[..., None]
    terms = n * jnp.log(m) - m - gammaln(jnp.maximum(n, 0.0) + 1.0) - 0.5 * jnp.square((read_e[..., None] - n) / noise)
    terms = jnp.where(n >= 0, terms, -jnp.inf)
    return jax.scipy.special.logsumexp(terms, axis=-1) - jnp.log(noise[..., 0] * math.sqrt(2 * math.pi))


def _multiplied(read_e: jax.Array, m: jax.Array, read_noise_e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log density of an EM register's output in units of its gain, with read noise, and its derivative by m.

    Without read noise: exp(-m) delta(x) + exp(-m - x) sqrt(m / x) I1(2 sqrt(m x)); the read noise is integrated over
    the part of +-5 deviations that lies above 0.

    Source: A. G. Basden et al., MNRAS 345 (2003); K. I. Mortensen et al., Nature Methods 7 (2010), supplement.
    """
    noise = jnp.maximum(read_noise_e, _LEAST_READ_E)
    at, weight = np.polynomial.legendre.leggauss(_NODES)
    low = jnp.maximum(read_e - 5.0 * noise, 0.0)
    high = jnp.maximum(read_e + 5.0 * noise, 1e-3 * noise)
    half = 0.5 * (high - low)[..., None]
    x = low[..., None] + half * (1.0 + at.astype(np.float32))
    m_, noise_ = m[..., None], jnp.asarray(noise)[..., None]
    root = jnp.sqrt(m_ * x)
    # Scaled Bessel functions: exp(-m - x) I1(2 root) = exp(-(sqrt m - sqrt x)^2) i1e(2 root).
    first, second = i1e(2.0 * root), i0e(2.0 * root)
    near = -0.5 * jnp.square((read_e[..., None] - x) / noise_)
    exponent = near - jnp.square(jnp.sqrt(m_) - jnp.sqrt(x)) + jnp.log(half * weight.astype(np.float32))
    logs = exponent + jnp.log(jnp.maximum(jnp.sqrt(m_ / x) * first, 1e-30))
    slopes = jnp.sqrt(x / m_) * second / jnp.maximum(first, 1e-30) - 1.0
    nothing = -m - 0.5 * jnp.square(read_e / noise)
    top = jnp.maximum(jnp.max(logs, -1), nothing)
    terms, none = jnp.exp(logs - top[..., None]), jnp.exp(nothing - top)
    total = terms.sum(-1) + none
    slope = (jnp.sum(terms * slopes, -1) - none) / total
    return jnp.log(total) + top - jnp.log(noise * math.sqrt(2.0 * math.pi)), slope


def _multiplied_information(m: jax.Array, read_noise_e: jax.Array) -> jax.Array:
    """Fisher information about m of one EM pixel: a table below 100 electrons, the Gaussian limit above."""
    noise = jnp.maximum(read_noise_e, _LEAST_READ_E)
    table = jnp.asarray(information_table())
    column = jnp.interp(jnp.minimum(m, _TABLE_M[-1]), _TABLE_M, np.arange(len(_TABLE_M)))
    row = jnp.interp(jnp.minimum(noise, _TABLE_R[-1]), _TABLE_R, np.arange(len(_TABLE_R)))
    left = jnp.minimum(column.astype(jnp.int32), len(_TABLE_M) - 2)
    top = jnp.minimum(row.astype(jnp.int32), len(_TABLE_R) - 2)
    down, right = row - top, column - left
    upper = table[top, left] * (1 - right) + table[top, left + 1] * right
    lower = table[top + 1, left] * (1 - right) + table[top + 1, left + 1] * right
    share = upper * (1 - down) + lower * down
    limit = 1.0 / (2.0 * m + jnp.square(noise))
    return jnp.where(m > 100.0, limit, share / jnp.maximum(m, _FLOOR_E))


@functools.lru_cache(maxsize=1)
def information_table() -> np.ndarray:
    """(R, M) Fisher information of an EM pixel times m: 1 for a Poisson variable, 0.5 at high signal; float64 quadrature."""
    return np.stack([[_relative_information(m, noise) for m in _TABLE_M] for noise in _TABLE_R]).astype(np.float32)


def _relative_information(m: float, noise: float) -> float:
    m = max(float(m), 1e-4)
    top = m + 12.0 * math.sqrt(2.0 * m) + 30.0
    step = min(noise / 4.0, 0.05)
    x = np.arange(-8.0 * noise, top, step)
    light = np.maximum(x, 0.0)
    density, slope = _light_density(light + (light == 0) * 1e-12, m)
    edge = np.clip(x / step + 0.5, 0.0, 1.0)  # the density starts at x = 0 within a cell
    kernel_x = np.arange(-math.ceil(6 * noise / step), math.ceil(6 * noise / step) + 1) * step
    kernel = np.exp(-0.5 * (kernel_x / noise) ** 2)
    kernel /= kernel.sum()
    gauss = np.exp(-m - 0.5 * (x / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
    p = _convolve(density * edge, kernel) + gauss
    dp = _convolve(slope * edge, kernel) - gauss
    seen = p > 1e-12 * p.max()  # below, the rounding of the transform is larger than the density
    return float(m * np.sum(dp[seen] ** 2 / p[seen]) * step)


def _light_density(x: np.ndarray, m: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import i0e as bessel0
    from scipy.special import i1e as bessel1

    root = 2 * np.sqrt(m * x)
    fall = np.exp(-((math.sqrt(m) - np.sqrt(x)) ** 2))
    density = fall * np.sqrt(m / x) * bessel1(root)
    return density, fall * bessel0(root) - density


def _convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    from scipy.signal import fftconvolve

    return fftconvolve(values, kernel, mode="same")


def crop(sensor_: Sensor, rows: Any, columns: Any, window: tuple[int, int]) -> Sensor:
    """The sensor of windows: maps are gathered at (K, h, w) pixels, numbers stay.

    Args:
        sensor_: with (H, W) maps or numbers.
        rows, columns: (K,) first pixel of each window.
        window: (h, w).
    """
    take = lambda leaf: leaf if jnp.ndim(leaf) < 2 else gather_windows(leaf[None], 0 * rows, rows, columns, window)  # noqa: E731
    return jax.tree.map(take, sensor_)


def gather_windows(
    frames: jax.Array, frame: jax.Array, rows: jax.Array, columns: jax.Array, window: tuple[int, int]
) -> jax.Array:
    """Windows (K, h, w) of frames (T, H, W), each at its frame and first pixel."""
    return jax.vmap(lambda t, y, x: jax.lax.dynamic_slice(frames, (t, y, x), (1, *window))[0])(frame, rows, columns)
