"""A stationary Gaussian process in Gaussian noise, plain or blurred: the scene whose best restoration is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics import bounds, noise
from bioflax.optics.imaging import Imaging, check_upscale
from bioflax.optics.psf import WidefieldOptics
from bioflax.typing import Batch

MARGIN = 32  # drawn beyond each border and cut away, so that a border is like that of any picture, not periodic


@jax.tree_util.register_static
@dataclass(frozen=True)
class GaussianProcess:
    """A `DeviceSource` of fields with a power-law spectrum and unit variance, with white noise added.

    No estimator has a smaller error than the Wiener filter, and none that hides a pixel from itself a smaller one than
    `bounds.blind_spot_mse`: a net can be held against both without truth of any other kind.

    Args:
        size: pixels a side.
        correlation_px: correlation length, pixels.
        exponent: of the power law.
        noise_std: of the noise, in standard deviations of the field.
        exposures: 1 (target is the field) or 2 (target is a second noisy capture, `clean` the field).
    """

    size: int = 64
    correlation_px: float = 6.0
    exponent: float = 3.5
    noise_std: float = 1.0
    exposures: int = 1

    def __post_init__(self) -> None:
        if self.size < 8:
            raise InputError(f"GaussianProcess.size: expected at least 8 pixels, found {self.size}.")
        if not self.noise_std > 0 or not self.correlation_px > 0:
            raise InputError(
                "GaussianProcess: expected noise_std and correlation_px above 0, found "
                f"{self.noise_std} and {self.correlation_px}."
            )
        if self.exposures not in (1, 2):
            raise InputError(f"GaussianProcess.exposures: expected 1 or 2, found {self.exposures}.")

    @cached_property
    def spectrum(self) -> np.ndarray:
        """(S, S) on the FFT grid of the canvas, margins included."""
        side = self.size + 2 * MARGIN
        return bounds.power_law_spectrum((side, side), self.correlation_px, exponent=self.exponent)

    @property
    def wiener_mse(self) -> float:
        """Least mean square error of any estimator, in variances of the field."""
        return bounds.wiener_mse(self.spectrum, self.noise_std**2)

    @property
    def blind_spot_mse(self) -> float:
        """Least mean square error of an estimator that does not see the pixel itself."""
        return bounds.blind_spot_mse(self.spectrum, self.noise_std**2)

    def sample(self, key: jax.Array, n: int) -> Batch:
        """`image` and `target` (n, size, size, 1), inside jit; with two exposures also `clean`."""
        keys = jax.random.split(key, 1 + self.exposures)
        inner = slice(MARGIN, MARGIN + self.size)
        field = bounds.sample_gaussian_process(keys[0], self.spectrum, n)[:, inner, inner, None]
        shots = [field + self.noise_std * jax.random.normal(k, field.shape, jnp.float32) for k in keys[1:]]
        if self.exposures == 1:
            return {"image": shots[0], "target": field}
        return {"image": shots[0], "target": shots[1], "clean": field}


@jax.tree_util.register_static
@dataclass(frozen=True)
class BlurredProcess:
    """A `DeviceSource` of such fields on a fine grid, seen through optics and camera pixels, with white noise added.

    No estimator of the field has a smaller error than `resolution_bounds.super_resolution_mse` of its `spectrum`, which
    says how much of it is noise, and how much lies beyond what was measured.

    Args:
        optics: objective; its `pixel_nm` is that of the camera.
        upscale: fine pixels along a camera pixel.
        size: camera pixels a side.
        correlation_px: correlation length, fine pixels.
        exponent: of the power law.
        noise_std: of the noise of a camera pixel, in standard deviations of the field.
        margin: camera pixels drawn beyond each border and cut away.
    """

    optics: WidefieldOptics = field(default_factory=WidefieldOptics)
    upscale: int = 2
    size: int = 32
    correlation_px: float = 6.0
    exponent: float = 3.5
    noise_std: float = 0.1
    margin: int = 16

    def __post_init__(self) -> None:
        check_upscale("BlurredProcess.upscale", self.upscale)
        if self.size < 8 or self.margin < 0:
            raise InputError(
                "BlurredProcess: expected a size of at least 8 and a margin of at least 0 camera pixels, found "
                f"{self.size} and {self.margin}."
            )
        if not self.noise_std > 0 or not self.correlation_px > 0:
            raise InputError(
                "BlurredProcess: expected noise_std and correlation_px above 0, found "
                f"{self.noise_std} and {self.correlation_px}."
            )

    @property
    def imaging(self) -> Imaging:
        """From field to picture, without noise."""
        return Imaging(self.optics, self.upscale)

    @cached_property
    def spectrum(self) -> np.ndarray:
        """(S, S) on the FFT grid of the fine canvas, margins included."""
        side = self.upscale * (self.size + 2 * self.margin)
        return bounds.power_law_spectrum((side, side), self.correlation_px, exponent=self.exponent)

    def sample(self, key: jax.Array, n: int) -> Batch:
        """`image` (n, size, size, 1) and `target` (n, s size, s size, 1), the field itself, inside jit."""
        field_key, noise_key = jax.random.split(key)
        fine_field = bounds.sample_gaussian_process(field_key, self.spectrum, n)
        seen = self.imaging.forward(fine_field)
        inner, fine = (slice(k * self.margin, k * (self.margin + self.size)) for k in (1, self.upscale))
        seen, truth = seen[:, inner, inner, None], fine_field[:, fine, fine, None]
        return {"image": seen + self.noise_std * noise.normal(noise_key, seen.shape), "target": truth}
