"""Kinds of camera noise beside sCMOS and EMCCD: Gaussian, correlated, by rows, and with maps of the pixels.

All of them turn expected photons into counts as `optics.camera.SCMOS` does (offset, gain, quantum efficiency, rounding),
so any simulator takes them as its camera. `expected` is what a faultless camera would count, the clean target; `variance`
is that of all noise around it, and what has the same variance has the same noise power: see `matched`.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.camera import SCMOS
from bioflax.optics.psf import gaussian_otf
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate.spans import check_count

KINDS = ("gaussian", "poisson", "scmos", "correlated", "rows", "scmos_maps")


@physical
class GaussianNoise:
    """counts = offset + gain (QE photons + Normal(0, noise)): white noise that does not depend on the light.

    Args:
        noise_e: electrons rms of all noise; sqrt(QE photons + read noise^2) has the noise of an sCMOS at that light.
        offset_adu, gain_adu_per_e, quantum_efficiency, bits: as `SCMOS`.
    """

    offset_adu: float = quantity("ADU", at_least=0.0, default=100.0)
    gain_adu_per_e: float = quantity("ADU per electron", above=0.0, default=2.0)
    noise_e: float = quantity("electrons rms", at_least=0.0, default=5.0)
    quantum_efficiency: float = quantity("electrons per photon", above=0.0, at_most=1.0, default=0.82)
    bits: int | None = 16

    def _check_together(self) -> None:
        SCMOS(bits=self.bits)

    @property
    def read_noise_e(self) -> float:
        """Asked for where a likelihood with shot noise is built, which this camera does not have."""
        raise InputError("camera: there is no likelihood or bound for purely Gaussian noise; take camera=scmos.")

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """As `SCMOS.expose`."""
        electrons = self.quantum_efficiency * photons
        electrons += self.noise_e * noise.normal(key, electrons.shape)
        return _digitize(self.offset_adu + self.gain_adu_per_e * electrons, self.bits)

    def expected(self, photons: jax.Array) -> jax.Array:
        """Mean of `expose`, ADU."""
        return self.offset_adu + self.gain_adu_per_e * self.quantum_efficiency * photons

    def variance(self, photons: jax.Array) -> jax.Array:
        """Variance of `expose`, ADU^2, before rounding; the shape of `photons`."""
        return jnp.broadcast_to(jnp.square(self.gain_adu_per_e * self.noise_e), jnp.shape(photons))

    def to_photons(self, adu: jax.Array) -> jax.Array:
        """Inverse of `expected`."""
        return (adu - self.offset_adu) / (self.gain_adu_per_e * self.quantum_efficiency)


@physical
class CorrelatedNoise(SCMOS):
    """The noise of an sCMOS camera, smoothed: each pixel keeps its variance, neighbours become alike.

    The noise in units of its standard deviation is smoothed by a Gaussian of unit energy (periodic) and scaled back, so
    the correlation of pixels d apart is exp(-(d / correlation_px)^2), as in pictures that were resampled or demosaiced.
    Likelihoods and bounds, which take pixels as independent, do not hold for it.

    Args:
        correlation_px: distance at which the correlation has fallen to 1 / e; 0 is white noise.
        offset_adu, gain_adu_per_e, read_noise_e, quantum_efficiency, bits: as `SCMOS`.
    """

    correlation_px: float = quantity("px", at_least=0.0, default=2.0)

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """As `SCMOS.expose`."""
        shot_key, read_key = jax.random.split(key)
        mean = self.quantum_efficiency * photons
        electrons = noise.poisson(shot_key, mean) - mean
        electrons += self.read_noise_e * noise.normal(read_key, electrons.shape)
        spread = jnp.sqrt(mean + jnp.square(self.read_noise_e))
        smooth = _smooth(electrons / jnp.maximum(spread, 1e-6), self.correlation_px)
        return _digitize(self.offset_adu + self.gain_adu_per_e * (mean + spread * smooth), self.bits)


@physical
class RowNoise(SCMOS):
    """An sCMOS camera that reads each row of each exposure with an offset of its own.

    Likelihoods and bounds do not know of the rows: theirs are those of the camera without.

    Args:
        row_noise_e: electrons rms of the offsets, normal.
        offset_adu, gain_adu_per_e, read_noise_e, quantum_efficiency, bits: as `SCMOS`.
    """

    row_noise_e: float = quantity("electrons rms", at_least=0.0, default=1.6)

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """As `SCMOS.expose`."""
        shot_key, read_key, row_key = jax.random.split(key, 3)
        electrons = noise.poisson(shot_key, self.quantum_efficiency * photons)
        electrons += self.read_noise_e * noise.normal(read_key, electrons.shape)
        electrons += self.row_noise_e * noise.normal(row_key, (*electrons.shape[:-1], 1))
        return _digitize(self.offset_adu + self.gain_adu_per_e * electrons, self.bits)

    def variance(self, photons: jax.Array) -> jax.Array:
        """Variance of `expose`, ADU^2, before rounding: rows included."""
        return SCMOS.variance(self, photons) + jnp.square(self.gain_adu_per_e * self.row_noise_e)


@physical
class PixelMaps(SCMOS):
    """An sCMOS camera whose pixels differ, always in the same way: maps of gain, offset and read noise from a seed.

    `expected` and `to_photons` are those of the mean pixel: the pattern counts as noise, as for a user without a
    calibration. The maps are drawn for the size of the picture, so one camera serves pictures of all sizes.

    Args:
        gain_spread: relative standard deviation of the gain among the pixels, normal.
        offset_spread_adu: standard deviation of the offset, normal.
        read_noise_spread: standard deviation of the logarithm of the read noise.
        hot_share: share of the pixels that are hot.
        hot_factor: read noise of a hot pixel over what it would be.
        read_noise_e: of the median pixel.
        seed: of the maps.
        offset_adu, gain_adu_per_e, quantum_efficiency, bits: as `SCMOS`.
    """

    gain_spread: float = quantity("relative", at_least=0.0, at_most=0.2, default=0.02)
    offset_spread_adu: float = quantity("ADU", at_least=0.0, default=2.0)
    read_noise_spread: float = quantity("of the logarithm", at_least=0.0, at_most=1.0, default=0.3)
    hot_share: float = quantity("share of the pixels", at_least=0.0, at_most=0.5, default=0.002)
    hot_factor: float = quantity("over a cool pixel", at_least=1.0, default=10.0)
    seed: int = 0

    def _check_together(self) -> None:
        SCMOS(bits=self.bits)
        check_count("PixelMaps.seed", self.seed, 0)

    def maps(self, shape: tuple[int, int]) -> dict[str, jax.Array]:
        """(H, W) maps `offset_adu`, `gain_adu_per_e`, `read_noise_e` for pictures of that shape."""
        normal_key, hot_key = jax.random.split(jax.random.key(self.seed))
        offset, gain, read = noise.normal(normal_key, (3, *shape))
        hot = noise.uniform(hot_key, shape) < self.hot_share
        return {
            "offset_adu": self.offset_adu + self.offset_spread_adu * offset,
            "gain_adu_per_e": self.gain_adu_per_e * jnp.maximum(1.0 + self.gain_spread * gain, 0.1),
            "read_noise_e": self.read_noise_e
            * jnp.exp(self.read_noise_spread * read)
            * jnp.where(hot, self.hot_factor, 1.0),
        }

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """As `SCMOS.expose`, each pixel with its own numbers."""
        maps, (shot_key, read_key) = self.maps(photons.shape[-2:]), jax.random.split(key)
        electrons = noise.poisson(shot_key, self.quantum_efficiency * photons)
        electrons += maps["read_noise_e"] * noise.normal(read_key, electrons.shape)
        return _digitize(maps["offset_adu"] + maps["gain_adu_per_e"] * electrons, self.bits)

    def variance(self, photons: jax.Array) -> jax.Array:
        """Variance of `expose` over exposures and over pixels, ADU^2, before rounding."""
        electrons, square = self.quantum_efficiency * photons, jnp.square(self.gain_spread)
        read = jnp.square(self.read_noise_e) * self.read_power
        inside = (1.0 + square) * (electrons + read) + square * jnp.square(electrons)
        return jnp.square(self.gain_adu_per_e) * inside + jnp.square(self.offset_spread_adu)

    @property
    def read_power(self) -> jax.Array:
        """Mean square of the read noise among the pixels over that of the median pixel."""
        hot = 1.0 + self.hot_share * (jnp.square(self.hot_factor) - 1.0)
        return hot * jnp.exp(2.0 * jnp.square(self.read_noise_spread))


Camera = SCMOS | GaussianNoise


def matched(
    kind: str,
    photons: float = 10.0,
    *,
    offset_adu: float = 100.0,
    gain_adu_per_e: float = 2.0,
    read_noise_e: float = 5.0,
    quantum_efficiency: float = 0.82,
    bits: int | None = 16,
    correlation_px: float = 2.0,
    row_share: float = 0.5,
    gain_spread: float = 0.02,
    offset_spread_adu: float = 4.0,
    read_noise_spread: float = 0.3,
    hot_share: float = 0.002,
    hot_factor: float = 10.0,
    seed: int = 0,
) -> Camera:
    """A camera of one kind whose expected counts are those of an sCMOS, and at one light its noise variance too.

    What gives way: `gaussian` takes all noise as if the light were `photons`; `poisson` has a lower quantum efficiency and
    so much more gain; `rows` shares the read noise between pixels and rows; `scmos_maps` has less read noise for its
    pattern. `correlated` and `rows` match at every light, the others at `photons`; and since the variances rise in line with
    the light (`gaussian` has their mean), pictures whose mean light is `photons` have one mean noise power under all kinds.
    The pattern of a gain rises with its square, so for `scmos_maps` that holds to a few per cent.

    Args:
        kind: one of `KINDS`.
        photons: per pixel, where the variances are equal: take the mean of the pictures.
        offset_adu, gain_adu_per_e, read_noise_e, quantum_efficiency, bits: of the sCMOS (kind `scmos`).
        correlation_px: of `correlated`.
        row_share: share of the read noise's variance that rows have.
        gain_spread, offset_spread_adu, read_noise_spread, hot_share, hot_factor, seed: of `scmos_maps`.

    Raises:
        InputError: an unknown kind, or maps whose pattern alone has more than that variance.
    """
    scmos = {"offset_adu": offset_adu, "gain_adu_per_e": gain_adu_per_e, "quantum_efficiency": quantum_efficiency}
    scmos |= {"read_noise_e": read_noise_e, "bits": bits}
    electrons = SCMOS(**scmos).quantum_efficiency * photons
    power = electrons + read_noise_e**2
    if not photons > 0:
        raise InputError(f"camera.photons: expected the light at which noises are equal, above 0, found {photons!r}.")
    if kind == "scmos":
        return SCMOS(**scmos)
    if kind == "gaussian":
        del scmos["read_noise_e"]
        return GaussianNoise(noise_e=math.sqrt(power), **scmos)
    if kind == "poisson":
        # With a share e / (e + read noise^2) of the electrons, shot noise alone is as large beside the light.
        share = electrons / power
        dimmer = {"gain_adu_per_e": gain_adu_per_e / share, "quantum_efficiency": quantum_efficiency * share}
        return SCMOS(**scmos | dimmer | {"read_noise_e": 0.0})
    if kind == "correlated":
        return CorrelatedNoise(correlation_px=correlation_px, **scmos)
    if kind == "rows":
        if not 0 <= row_share <= 1:
            raise InputError(f"camera.row_share: expected a share of the read noise, 0 to 1, found {row_share!r}.")
        scmos["read_noise_e"] = read_noise_e * math.sqrt(1.0 - row_share)
        return RowNoise(row_noise_e=read_noise_e * math.sqrt(row_share), **scmos)
    if kind == "scmos_maps":
        pattern = {"gain_spread": gain_spread, "offset_spread_adu": offset_spread_adu}
        pattern |= {"read_noise_spread": read_noise_spread, "hot_share": hot_share, "hot_factor": hot_factor}
        return _matched_maps(PixelMaps(**pattern, seed=seed, **scmos), electrons, power)
    raise InputError(f"camera.kind: expected one of {', '.join(KINDS)}, found {kind!r}.")


def _matched_maps(camera: PixelMaps, electrons: float, power: float) -> PixelMaps:
    """The camera with the read noise that is left of the variance `power` (electrons^2) beside its pattern."""
    silent = dataclasses.replace(camera, read_noise_e=0.0)
    pattern = float(silent.variance(electrons / camera.quantum_efficiency)) / camera.gain_adu_per_e**2
    left = (power - pattern) / ((1.0 + camera.gain_spread**2) * float(camera.read_power))
    if left < 0:
        raise InputError(
            f"camera.read_noise_e: expected more than the pattern of the maps ({pattern - electrons:.3g} electrons^2 beside the "
            f"shot noise), found {camera.read_noise_e:g}^2. Take more read noise, less light, or smaller spreads."
        )
    return dataclasses.replace(camera, read_noise_e=math.sqrt(left))


def _smooth(white: jax.Array, correlation_px: jax.Array) -> jax.Array:
    """White noise (..., H, W) smoothed by a Gaussian of unit energy: the variance stays."""
    size = white.shape[-2:]
    # A spot of standard deviation s correlates noise by exp(-d^2 / 4 s^2).
    transfer = gaussian_otf(size, sigma_nm=0.5 * jnp.asarray(correlation_px, jnp.float32), pixel_nm=1.0)
    transfer /= jnp.sqrt(jnp.mean(jnp.square(transfer)))
    return jnp.fft.irfft2(jnp.fft.rfft2(white) * transfer[:, : size[1] // 2 + 1], s=size)


def _digitize(adu: jax.Array, bits: int | None) -> jax.Array:
    return adu if bits is None else jnp.clip(jnp.round(adu), 0.0, 2.0**bits - 1.0)
