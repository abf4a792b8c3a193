"""Training over a range of conditions: a process with noise of any strength, a camera of any kind, drawn for each picture."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import part, physical
from bioflax.simulate.process import GaussianProcess
from bioflax.typing import Batch


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class UnevenProcess(GaussianProcess):
    """A `GaussianProcess` in noise whose standard deviation is drawn for each picture, evenly in its logarithm.

    Fields and the noise before it is scaled are those of the plain process for the same key.

    Args:
        noise_std: (low, high), in standard deviations of the field.
        size, correlation_px, exponent, exposures: as `GaussianProcess`.
    """

    noise_std: tuple[float, float] = (0.3, 3.0)

    def __post_init__(self) -> None:
        if not isinstance(self.noise_std, (list, tuple)) or len(self.noise_std) != 2:
            raise InputError(
                f"UnevenProcess.noise_std: expected (low, high), found {self.noise_std!r}; try [0.3, 3.0]."
            )
        low, high = self.noise_std
        if not 0 < low <= high:
            raise InputError(f"UnevenProcess.noise_std: expected 0 < low <= high, found {low} and {high}.")
        object.__setattr__(self, "noise_std", (float(low), float(high)))
        dataclasses.replace(self.with_noise(high))

    def with_noise(self, noise_std: float) -> GaussianProcess:
        """The plain process with one strength of noise."""
        return GaussianProcess(self.size, self.correlation_px, self.exponent, noise_std, self.exposures)

    @property
    def wiener_mse(self) -> float:
        """Asked for by bounds, which hold for one strength of noise."""
        raise InputError("UnevenProcess: there is one bound for each strength of noise; take GaussianProcess.")

    blind_spot_mse = wiener_mse

    def sample(self, key: jax.Array, n: int) -> Batch:
        """As `GaussianProcess.sample`."""
        low, high = self.noise_std
        strength = low * (high / low) ** noise.uniform(jax.random.fold_in(key, 1), (n, 1, 1, 1))
        plain = self.with_noise(1.0).sample(key, n)
        field = plain.get("clean", plain["target"])
        noisy = ("image",) if self.exposures == 1 else ("image", "target")
        return plain | {name: field + strength * (plain[name] - field) for name in noisy}


@physical
class AnyCamera:
    """Several cameras of one gain: each picture is taken by one of them, drawn evenly.

    Args:
        cameras: with the same `expected`, such as the kinds of `noises.matched`.
    """

    cameras: tuple[Any, ...] = part()

    def _check_together(self) -> None:
        if not isinstance(self.cameras, (tuple, list)) or not self.cameras:
            raise InputError(f"AnyCamera.cameras: expected one or more cameras, found {self.cameras!r}; list them")
        object.__setattr__(self, "cameras", tuple(self.cameras))

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        """Counts (..., H, W), ADU; each picture (H, W) of its own camera."""
        choice_key, *keys = jax.random.split(key, 1 + len(self.cameras))
        choice = jax.random.randint(choice_key, (*photons.shape[:-2], 1, 1), 0, len(self.cameras))
        shots = [camera.expose(k, photons) for k, camera in zip(keys, self.cameras)]
        return jnp.select([choice == number for number in range(len(shots))], shots)

    def expected(self, photons: jax.Array) -> jax.Array:
        """Mean of `expose` over the cameras, ADU."""
        return sum(camera.expected(photons) for camera in self.cameras) / len(self.cameras)

    def to_photons(self, adu: jax.Array) -> jax.Array:
        """Inverse of `expected`, of the first camera."""
        return self.cameras[0].to_photons(adu)
