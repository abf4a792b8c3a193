"""Variance stabilisation of camera counts: generalised Anscombe transform with the exact unbiased inverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from bioflax.errors import InputError

PHOTONS_MAX = 400.0  # beyond, the asymptotic inverse is exact to 1e-3 photons


@dataclasses.dataclass(frozen=True)
class Anscombe:
    """The generalised Anscombe transform of y = gain * Poisson(photons) + offset + N(0, read variance).

    f(y) = 2/a sqrt(a (y - offset) + 3 a^2 / 8 + b) has a standard deviation near 1 whatever the brightness (Starck et
    al. 1998). Its algebraic inverse is biased at low light; `inverse` is the exact unbiased one (Makitalo & Foi 2013),
    E[f(y) | photons] tabulated once per camera and read backwards.

    Attributes:
        gain_adu_per_photon: a > 0.
        offset_adu: camera counts without light.
        read_variance_adu2: b >= 0, variance of the read noise.

    Raises:
        InputError: a gain that is not positive or a negative variance.
    """

    gain_adu_per_photon: float = 1.0
    offset_adu: float = 0.0
    read_variance_adu2: float = 0.0

    def __post_init__(self) -> None:
        if not self.gain_adu_per_photon > 0:
            raise InputError(
                f"gain_adu_per_photon: expected a number above 0, found {self.gain_adu_per_photon}. "
                "Measure it as variance against mean."
            )
        if not self.read_variance_adu2 >= 0:
            raise InputError(
                f"read_variance_adu2: expected a variance of at least 0, found {self.read_variance_adu2}. "
                "Use the squared read noise in camera counts."
            )

    def forward(self, image: Any) -> np.ndarray:
        """Camera counts to stabilised values of unit noise (float64, same shape)."""
        photons = (np.asarray(image, np.float64) - self.offset_adu) / self.gain_adu_per_photon
        return _stabilise(photons, self._read_variance)

    def inverse(self, stabilised: Any) -> np.ndarray:
        """Denoised stabilised values to the expected camera counts, without bias (float64, same shape).

        Values below what zero photons give on average map to the offset.
        """
        values = np.asarray(stabilised, np.float64)
        expected, photons = _table(self._read_variance)
        asymptotic = values**2 / 4 - 1 / 8 - self._read_variance
        exact = np.interp(values, expected, photons)
        return np.where(values > expected[-1], asymptotic, exact) * self.gain_adu_per_photon + self.offset_adu

    @property
    def _read_variance(self) -> float:
        """In squared photons."""
        return self.read_variance_adu2 / self.gain_adu_per_photon**2


def anscombe(
    apply: Callable[[np.ndarray], np.ndarray],
    gain_adu_per_photon: float = 1.0,
    offset_adu: float = 0.0,
    read_variance_adu2: float = 0.0,
) -> Callable[[Any], np.ndarray]:
    """Wraps a filter for additive noise so that it fits photon noise: stabilise, filter, invert.

    Args:
        apply: a filter of images with noise of standard deviation 1.
        gain_adu_per_photon: a > 0.
        offset_adu: camera counts without light.
        read_variance_adu2: b >= 0.

    Returns:
        A filter of camera counts, float32.
    """
    transform = Anscombe(gain_adu_per_photon, offset_adu, read_variance_adu2)
    return lambda image: transform.inverse(apply(transform.forward(image))).astype(np.float32)


def _stabilise(photons: np.ndarray, read_variance: float) -> np.ndarray:
    return 2 * np.sqrt(np.maximum(photons + 3 / 8 + read_variance, 0.0))


@lru_cache(maxsize=32)
def _table(read_variance: float) -> tuple[np.ndarray, np.ndarray]:
    """E[f | photons] over a grid of photons, by summing over counts and integrating over the read noise.

    Returns:
        (K,) rising expected stabilised values and (K,) photons, evenly spaced in the square root of photons.
    """
    photons = np.linspace(0, np.sqrt(PHOTONS_MAX), 2001) ** 2
    counts = np.arange(int(PHOTONS_MAX + 10 * np.sqrt(PHOTONS_MAX)))
    # Trapezoids over +-8 sigma: they converge past the kink of the square root, where Gauss-Hermite rings
    deviate = np.linspace(-8, 8, 1601)
    density = np.exp(-0.5 * deviate**2)
    density /= density.sum()
    given_counts = _stabilise(counts[:, None] + np.sqrt(read_variance) * deviate, read_variance) @ density
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = counts * np.log(photons[:, None]) - photons[:, None] - log_factorial
    mass = np.exp(log_mass)
    mass[0] = counts == 0  # no photons: the limit that 0 log 0 misses
    return mass @ given_counts, photons
