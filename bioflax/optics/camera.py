"""Cameras from photons to counts and back: sCMOS and EMCCD are two classes, since their numbers mean different things.

Photons are expected photons per pixel and exposure; the last two axes of an image are rows and columns, so that a map
of shape (H, W), one value a pixel, may stand for any scalar. Counts are float32 in analogue-to-digital units (ADU).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import physical, quantity

_DATA_SHEET = "take it from the camera's data sheet"


@physical
class SCMOS:
    """counts = offset + gain (Poisson(QE photons) + Normal(0, read noise)), rounded and clipped to `bits`.

    Each quantity is a number or an (H, W) map and a pytree leaf. Rounding (not flooring) keeps the mean: a camera that
    floors has half an ADU in its offset. `bits=None` neither rounds nor clips.

    Source: F. Huang et al., Nature Methods 10 (2013).
    """

    offset_adu: float = quantity("ADU", kind="map", at_least=0.0, hint=_DATA_SHEET, default=100.0)
    gain_adu_per_e: float = quantity("ADU per electron", kind="map", above=0.0, hint=_DATA_SHEET, default=2.0)
    read_noise_e: float = quantity("electrons rms", kind="map", at_least=0.0, hint=_DATA_SHEET, default=1.6)
    quantum_efficiency: float = quantity(
        "electrons per photon", kind="map", above=0.0, at_most=1.0, hint="give 82 % as 0.82", default=0.82
    )
    bits: int | None = 16

    def _check_together(self) -> None:
        _check_bits("SCMOS.bits", self.bits)

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """One noisy exposure.

        Args:
            key: typed key.
            photons: (..., H, W) expected photons.

        Returns:
            (..., H, W) float32, ADU.
        """
        shot_key, read_key = jax.random.split(key)
        electrons = noise.poisson(shot_key, self.quantum_efficiency * photons)
        electrons += self.read_noise_e * noise.normal(read_key, electrons.shape)
        return _digitize(self.offset_adu + self.gain_adu_per_e * electrons, self.bits)

    def expected(self, photons: jax.Array) -> jax.Array:
        """Mean of `expose`, ADU, below saturation; same shape as `photons`."""
        return self.offset_adu + self.gain_adu_per_e * self.quantum_efficiency * photons

    def variance(self, photons: jax.Array) -> jax.Array:
        """Variance of `expose`, ADU^2, before rounding (which adds 1/12); same shape as `photons`."""
        return self.gain_adu_per_e**2 * (self.quantum_efficiency * photons + self.read_noise_e**2)

    def to_photons(self, adu: jax.Array) -> jax.Array:
        """Photons that would give these counts on average; inverse of `expected`."""
        return (adu - self.offset_adu) / (self.gain_adu_per_e * self.quantum_efficiency)


@physical
class EMCCD:
    """Photoelectrons Poisson(QE photons + spurious), multiplied Gamma(electrons, em_gain), read, divided, offset.

    counts = offset + gain_adu_per_e (Gamma(n, em_gain) + Normal(0, read noise)), rounded and clipped to `bits`.
    Read noise and `gain_adu_per_e` count electrons after multiplication. Defaults: the camera of the 2016 challenge.

    Source: D. Sage et al., Nature Methods 16 (2019), noise model of the single-molecule challenge.
    """

    em_gain: float = quantity(
        "electrons out per electron in", at_least=1.0, hint="1 means no multiplication", default=300.0
    )
    offset_adu: float = quantity("ADU", kind="map", at_least=0.0, hint=_DATA_SHEET, default=100.0)
    gain_adu_per_e: float = quantity("ADU per electron", kind="map", above=0.0, hint=_DATA_SHEET, default=1.0 / 45.0)
    read_noise_e: float = quantity("electrons rms", kind="map", at_least=0.0, hint=_DATA_SHEET, default=74.4)
    quantum_efficiency: float = quantity(
        "electrons per photon", kind="map", above=0.0, at_most=1.0, hint="give 90 % as 0.9", default=0.9
    )
    spurious_e: float = quantity(
        "electrons per pixel and exposure", kind="map", at_least=0.0, hint=_DATA_SHEET, default=0.002
    )
    bits: int | None = 16

    def _check_together(self) -> None:
        _check_bits("EMCCD.bits", self.bits)

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """One noisy exposure.

        Args:
            key: typed key.
            photons: (..., H, W) expected photons.

        Returns:
            (..., H, W) float32, ADU.
        """
        shot_key, gain_key, read_key = jax.random.split(key, 3)
        electrons = noise.poisson(shot_key, self._photoelectrons(photons))
        electrons = self.em_gain * noise.multiplied(gain_key, electrons)
        electrons += self.read_noise_e * noise.normal(read_key, electrons.shape)
        return _digitize(self.offset_adu + self.gain_adu_per_e * electrons, self.bits)

    def expected(self, photons: jax.Array) -> jax.Array:
        """Mean of `expose`, ADU, below saturation; same shape as `photons`."""
        return self.offset_adu + self.gain_adu_per_e * self.em_gain * self._photoelectrons(photons)

    def variance(self, photons: jax.Array) -> jax.Array:
        """Variance of `expose`, ADU^2, before rounding: shot noise counts twice (excess noise factor 2)."""
        return self.gain_adu_per_e**2 * (2.0 * self.em_gain**2 * self._photoelectrons(photons) + self.read_noise_e**2)

    def to_photons(self, adu: jax.Array) -> jax.Array:
        """Photons that would give these counts on average; inverse of `expected`."""
        electrons = (adu - self.offset_adu) / (self.gain_adu_per_e * self.em_gain)
        return (electrons - self.spurious_e) / self.quantum_efficiency

    def _photoelectrons(self, photons: jax.Array) -> jax.Array:
        return self.quantum_efficiency * photons + self.spurious_e


def _digitize(adu: jax.Array, bits: int | None) -> jax.Array:
    return adu if bits is None else jnp.clip(jnp.round(adu), 0.0, 2.0**bits - 1.0)


def _check_bits(name: str, bits: int | None) -> None:
    if bits is not None and not (isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= 24):
        raise InputError(f"{name}: expected a whole number 1 to 24 (bits per pixel) or None, found {bits!r}; try 16")
