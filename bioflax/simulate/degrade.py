"""From an object to the counts of a camera, step by step: pure functions (key, image) -> image that chain.

    see = chain(
        light(200.0),                    # density 1 sends 200 photons to a camera pixel
        illuminate(Illumination(), 50),  # striped light: (..., H, W) becomes (..., frames, H, W)
        blur(WidefieldOptics(pixel_nm=50.0)),
        bin_pixels(2),                   # 2 x 2 fine pixels of 50 nm are one of the camera's
        background(5.0),
        camera(SCMOS()),                 # shot noise, read noise, offset, gain, rounding, saturation
    )
    counts = see(jax.random.key(0), density)

A step takes images (..., H, W) and its own stream of the key: `fold_in(key, position)`, so a step that is replaced leaves
the noise of the others as it was. Steps and chains are pytrees whose physical numbers are leaves: pass them to jit, map
over them, sweep them; a chain is a step. Any function (key, image) -> image is one, too.
Defocus and haze are those of the optics: `blur(WidefieldOptics(defocus_nm=300.0))`; for aberrations blur with the spot
of an aberrated pupil, or a measured one: `convolve(spot)`. Light is in photons per camera pixel's area up to the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import Imaging, bin_mean
from bioflax.optics.psf import WidefieldOptics
from bioflax.optics.quantities import is_concrete, part, physical

Function = Callable[..., jax.Array]


@physical
class Step:
    """One step: `function(key, image, *values, *fixed)`; `values` are leaves, `fixed` is static."""

    function: Function
    values: tuple[Any, ...] = part(())
    fixed: tuple[Any, ...] = ()

    def __call__(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """The image (..., H, W) after the step; noise is a function of the key."""
        return self.function(key, image, *self.values, *self.fixed)


def chain(*steps: Function) -> Step:
    """Steps one after the other, as one step; the step at position i gets `fold_in(key, i)`."""
    for position, step in enumerate(steps):
        if not callable(step):
            raise InputError(
                f"chain: expected functions (key, image) -> image, found {step!r} at position {position}; "
                "wrap it, such as camera(SCMOS())"
            )
    return Step(_run, tuple(step if isinstance(step, Step) else Step(step) for step in steps))


def light(photons: Any) -> Step:
    """Density to photons per camera pixel's area: `photons` where the density is 1; a number or what broadcasts."""
    return Step(_scale, (_at_least_zero("light.photons", photons),))


def illuminate(illumination: Illumination, pixel_nm: Any, *, before_px: Any = 0.0) -> Step:
    """Striped light, before any blur: (..., H, W) -> (..., frames, H, W).

    Args:
        illumination: directions, period and phases.
        pixel_nm: pixel side of the image it acts on, the fine one.
        before_px: margin of that image, see `Illumination.patterns`.
    """
    return Step(_illuminate, (illumination, pixel_nm, before_px))


def blur(optics: WidefieldOptics | Imaging, *, mirror_px: int = 0) -> Step:
    """Blur by the optics.

    Args:
        optics: `WidefieldOptics`, whose pixel is that of the image it acts on; or `Imaging`, whose optics have the
            camera's pixel and which acts on the fine grid.
        mirror_px: pixels that the image is continued by its mirror image at each border; 0 takes it as periodic.
    """
    return Step(_blur, (optics if isinstance(optics, Imaging) else Imaging(optics, upscale=1),), (mirror_px,))


def convolve(spot: Any) -> Step:
    """Blur by any spot on the grid of the image, periodic.

    Args:
        spot: (h, w) share of the light per pixel, its centre in the middle pixel [h // 2, w // 2]; the image is at
            least as large. A sum of 1 keeps the light.
    """
    return Step(_convolve, (jnp.asarray(spot, jnp.float32),))


def crop(margin_px: int) -> Step:
    """Cuts `margin_px` pixels off each border."""
    return Step(_crop, fixed=(margin_px,))


def bin_pixels(factor: int) -> Step:
    """The camera's integration: factor x factor fine pixels to one, as their mean.

    A fine pixel holds light per camera pixel's area, so the mean is the sum of the light that falls on the camera
    pixel, and an even object keeps its value (see `bioflax.optics.imaging`).
    """
    return Step(_bin, fixed=(factor,))


def background(photons: Any) -> Step:
    """Adds even light, photons per camera pixel; a number or what broadcasts."""
    return Step(_add, (_at_least_zero("background.photons", photons),))


def shot_noise() -> Step:
    """Photons as they are counted: Poisson."""
    return Step(_shot_noise)


def read_noise(electrons_rms: Any) -> Step:
    """Adds normal noise; a number or an (H, W) map."""
    return Step(_read_noise, (_at_least_zero("read_noise.electrons_rms", electrons_rms),))


def quantize(bits: int) -> Step:
    """Rounds to whole counts and cuts off below 0 and above 2^bits - 1."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 24:
        raise InputError(f"quantize.bits: expected a whole number 1 to 24, found {bits!r}; try 16")
    return Step(_quantize, fixed=(bits,))


def camera(model: SCMOS | EMCCD) -> Step:
    """The whole camera, photons to ADU: its shot noise too, so `shot_noise` does not go before it."""
    return Step(_camera, (model,))


def _run(key: jax.Array, image: jax.Array, *steps: Step) -> jax.Array:
    for position, step in enumerate(steps):
        image = step(jax.random.fold_in(key, position), image)
    return image


def _scale(_: jax.Array, image: jax.Array, factor: jax.Array) -> jax.Array:
    return image * factor


def _add(_: jax.Array, image: jax.Array, light: jax.Array) -> jax.Array:
    return image + light


def _illuminate(
    _: jax.Array, image: jax.Array, illumination: Illumination, pixel_nm: jax.Array, before_px: jax.Array
) -> jax.Array:
    return image[..., None, :, :] * illumination.patterns(image.shape[-2:], pixel_nm, before_px=before_px)


def _blur(_: jax.Array, image: jax.Array, imaging: Imaging, mirror_px: int) -> jax.Array:
    return imaging.blur(image, mirror_px=mirror_px)


def _convolve(_: jax.Array, image: jax.Array, spot: jax.Array) -> jax.Array:
    size, small = image.shape[-2:], spot.shape
    if spot.ndim != 2 or small[0] > size[0] or small[1] > size[1]:
        raise InputError(f"convolve.spot: expected (h, w) no larger than the image {size}, found {small}; crop it")
    whole = jnp.pad(spot, [(0, outer - inner) for outer, inner in zip(size, small)])
    whole = jnp.roll(whole, (-(small[0] // 2), -(small[1] // 2)), axis=(0, 1))
    return jnp.fft.irfft2(jnp.fft.rfft2(image) * jnp.fft.rfft2(whole), s=size)


def _crop(_: jax.Array, image: jax.Array, margin_px: int) -> jax.Array:
    height, width = image.shape[-2:]
    return image[..., margin_px : height - margin_px, margin_px : width - margin_px]


def _bin(_: jax.Array, image: jax.Array, factor: int) -> jax.Array:
    return bin_mean(image, factor)


def _shot_noise(key: jax.Array, image: jax.Array) -> jax.Array:
    return noise.poisson(key, image)


def _read_noise(key: jax.Array, image: jax.Array, electrons_rms: jax.Array) -> jax.Array:
    return image + electrons_rms * noise.normal(key, image.shape)


def _quantize(_: jax.Array, image: jax.Array, bits: int) -> jax.Array:
    return jnp.clip(jnp.round(image), 0.0, 2.0**bits - 1.0)


def _camera(key: jax.Array, image: jax.Array, model: SCMOS | EMCCD) -> jax.Array:
    return model.expose(key, image)


def _at_least_zero(name: str, value: Any) -> Any:
    if is_concrete(value) and not np.all(np.asarray(value) >= 0):
        raise InputError(f"{name}: expected numbers of at least 0, found {value}; mind the unit")
    return value
