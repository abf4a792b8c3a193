"""From an object on a fine grid to the pixels of a camera: the forward model that every super-resolution result is held to.

A fine pixel holds light per camera pixel's area, so a camera pixel is the *mean* of the fine pixels on it and an even object
keeps its value: object, result and picture have one unit. Camera pixel i covers the fine pixels i s ... i s + s - 1, so its
centre lies at the fine position i s + (s - 1) / 2.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.psf.widefield import WidefieldOptics, blur
from bioflax.optics.quantities import part, physical

LARGEST_UPSCALE = 8


@physical
class Imaging:
    """Blur by the optics, then integration over camera pixels of `upscale` x `upscale` fine pixels.

    Args:
        optics: objective and camera pixel: its `pixel_nm` is the side of a camera pixel.
        upscale: fine pixels along a camera pixel.
    """

    optics: WidefieldOptics = part(WidefieldOptics())
    upscale: int = 2

    def _check_together(self) -> None:
        check_upscale("Imaging.upscale", self.upscale)

    @property
    def fine_optics(self) -> WidefieldOptics:
        """The optics with the pixel of the fine grid."""
        return dataclasses.replace(self.optics, pixel_nm=self.optics.pixel_nm / self.upscale)

    @property
    def cutoff_per_px(self) -> jax.Array:
        """Highest frequency that the optics let through, 2 NA / wavelength, in cycles per fine pixel."""
        return self.optics.cutoff_per_nm * self.optics.pixel_nm / self.upscale

    def otf(self, shape: tuple[int, int]) -> jax.Array:
        """Transfer function of the optics for fine images of `shape`: (H, W) real, FFT layout, 1 at zero frequency."""
        return self.fine_optics.otf(shape)

    def blur(self, fine: jax.Array, *, mirror_px: int = 0) -> jax.Array:
        """Fine images (..., H, W) through the optics, on the fine grid; `mirror_px` as in `forward`."""
        height, width = fine.shape[-2:]
        return blur(fine, self.otf((height + 2 * mirror_px, width + 2 * mirror_px)))

    def forward(self, fine: jax.Array, *, mirror_px: int = 0) -> jax.Array:
        """What the camera expects to see.

        Args:
            fine: (..., s H, s W) object, light per camera pixel's area.
            mirror_px: fine pixels that the object is continued by its mirror image at each border; 0 takes it as periodic.

        Returns:
            (..., H, W), light per camera pixel.
        """
        return bin_mean(self.blur(fine, mirror_px=mirror_px), self.upscale)

    def adjoint(self, coarse: jax.Array, *, mirror_px: int = 0) -> jax.Array:
        """The transpose of `forward`, times s^2, so that an even picture keeps its value: (..., H, W) -> (..., s H, s W).

        The exact transpose for a periodic object; with `mirror_px` close to it away from the borders.
        """
        return self.blur(repeat(coarse, self.upscale), mirror_px=mirror_px)

    def measured_band(self, shape: tuple[int, int]) -> np.ndarray:
        """Which frequencies of a fine image of `shape` the camera measured: bool (H, W), FFT layout.

        Below the cut-off of the optics, and below the Nyquist frequency of the camera along both axes: what lies beyond
        is folded onto other frequencies and cannot be told from them in one picture.
        """
        return measured_band(shape, float(self.cutoff_per_px), self.upscale)


def measured_band(shape: tuple[int, int], cutoff_per_px: float, upscale: int) -> np.ndarray:
    """As `Imaging.measured_band`, for a cut-off in cycles per fine pixel; zero frequency is always in the band."""
    rows, columns = (np.abs(np.fft.fftfreq(size)) for size in shape)
    inside = np.hypot(rows[:, None], columns[None, :]) < cutoff_per_px
    nyquist = 0.5 / upscale
    if upscale > 1:
        inside &= (rows[:, None] < nyquist) & (columns[None, :] < nyquist)
    inside[0, 0] = True
    return inside


def bin_mean(image: Any, factor: int) -> Any:
    """Mean over factor x factor pixels of (..., H, W); NumPy in, NumPy out.

    Raises:
        InputError: a side is no multiple of `factor`.
    """
    height, width = image.shape[-2:]
    if height % factor or width % factor:
        raise InputError(f"image: expected sides that are multiples of {factor}, found {(height, width)}; crop it")
    parts = image.reshape(*image.shape[:-2], height // factor, factor, width // factor, factor)
    return parts.mean((-3, -1))


def repeat(image: Any, factor: int) -> Any:
    """Repeats each pixel of (..., H, W) factor x factor times; the transpose of `bin_mean` times factor^2."""
    xp = np if isinstance(image, np.ndarray) else jnp
    return xp.repeat(xp.repeat(image, factor, axis=-2), factor, axis=-1)


def check_upscale(field: str, value: Any) -> None:
    """Raises an InputError unless `value` is a whole number from 1 to 8."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_UPSCALE:
        raise InputError(f"{field}: expected a whole number from 1 to {LARGEST_UPSCALE}, found {value!r}")
