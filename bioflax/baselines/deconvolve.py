"""Classical deconvolution onto a finer grid: Wiener, and Richardson-Lucy with or without total variation.

Results have the unit of the picture, its camera offset and its even background included, so that every method may be
compared with the same target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.baselines.interpolate import checked_image
from bioflax.errors import InputError
from bioflax.optics.imaging import Imaging
from bioflax.optics.psf.widefield import radial_frequency
from bioflax.optics.resolution_bounds import pixel_otf

LEAST_SHARE = 1e-6  # of the mean: below it light counts as none, which keeps ratios finite
LEAST_PULL = 0.1  # of what total variation divides by, where Dey et al. let it reach zero


def border_px(imaging: Imaging) -> int:
    """Fine pixels of mirror image at each border that keep what wraps around four periods of the cut-off away."""
    camera_px = math.ceil(4.0 / (float(imaging.cutoff_per_px) * imaging.upscale))
    return camera_px * imaging.upscale


def wiener(
    image: Any,
    imaging: Imaging,
    *,
    offset: float = 0.0,
    balance: float = 1.0,
    slope: float = 2.0,
    mirror_px: int | None = None,
) -> np.ndarray:
    """Linear estimate of least mean square error for an object with a power-law spectrum, aliasing included.

    A camera frequency is the sum of its s^2 folds x_j, each seen through H_j (optics times camera pixel). Fold j gets
    S_j conj(H_j) y / (sum_i |H_i|^2 S_i + N), with S falling as (f / cut-off)^-slope and N the balance. The mean is kept.

    Args:
        image: (H, W) camera pixels, any unit.
        imaging: optics, camera pixel and upscale s.
        offset: of the camera, same unit; of no effect, since the mean is kept and the rest is linear.
        balance: spectral density of the noise over that of the object at the cut-off, whatever the upscale.
        slope: power of the fall of the object's spectral density: 1 lines, 2 natural images, 3 edges.
        mirror_px: fine pixels of mirror image at each border, a multiple of s; None takes `border_px`, 0 takes the
            object as periodic.

    Returns:
        (s H, s W) float32, same unit.

    Raises:
        InputError: an image that is not 2-D or not finite, a balance that is not positive, a mirror that does not fit.
    """
    image, mirror_px = _checked(image, imaging, mirror_px)
    _positive("balance", balance)
    return np.asarray(_wiener(image, imaging, balance, slope, mirror_px))


def richardson_lucy(
    image: Any,
    imaging: Imaging,
    *,
    offset: float = 0.0,
    background: float = 0.0,
    iterations: int = 30,
    tv: float = 0.0,
    mirror_px: int | None = None,
) -> np.ndarray:
    """Richardson-Lucy deconvolution onto the fine grid, with total variation on request; starts from the mean.

    Without `tv` it climbs the likelihood of Poisson counts and keeps their sum; the number of iterations is then what
    keeps noise down.

    Args:
        image: (H, W) camera pixels; for the likelihood to hold, proportional to photons once `offset` is taken off.
        imaging: optics, camera pixel and upscale s.
        offset: of the camera, same unit; taken off first and added back. What lies below counts as no light.
        background: even light above the offset that is no part of the object, same unit; added back as well.
        iterations: of the multiplicative update.
        tv: weight of total variation (lambda of the source, 0.001 to 0.05); 0 is plain Richardson-Lucy.
        mirror_px: as of `wiener`.

    Returns:
        (s H, s W) float32, same unit, nowhere below offset + background.

    Raises:
        InputError: an image that is not 2-D or not finite, or an option out of range.

    Source: Richardson 1972; Lucy 1974; Dey et al., Microsc. Res. Tech. 69 (2006) for total variation.
    """
    options = {"offset": offset, "background": background, "tv": tv, "mirror_px": mirror_px}
    return next(richardson_lucy_snapshots(image, imaging, at=(iterations,), **options))


def richardson_lucy_snapshots(
    image: Any,
    imaging: Imaging,
    *,
    at: Sequence[int],
    offset: float = 0.0,
    background: float = 0.0,
    tv: float = 0.0,
    mirror_px: int | None = None,
) -> Iterator[np.ndarray]:
    """The estimates of `richardson_lucy` after several numbers of iterations, for the price of the last that is asked for.

    Args:
        image, imaging, offset, background, tv, mirror_px: as of `richardson_lucy`.
        at: rising numbers of iterations.

    Returns:
        Iterator over (s H, s W) float32 estimates, one for each number.

    Raises:
        InputError: as of `richardson_lucy`.
    """
    image, mirror_px = _checked(image, imaging, mirror_px)
    if background < 0 or tv < 0:
        name, value = ("background", background) if background < 0 else ("tv", tv)
        raise InputError(f"{name}: expected 0 or more, found {value}; 0 leaves it out")
    if len(at) == 0 or min(np.diff([0, *at])) < 1:
        raise InputError(f"iterations: expected whole numbers from 1 that rise, found {list(at)}; use 30")
    return _snapshots(image, imaging, tuple(at), offset, background, tv, mirror_px)


def _snapshots(
    image: np.ndarray,
    imaging: Imaging,
    at: tuple[int, ...],
    offset: float,
    background: float,
    tv: float,
    mirror_px: int,
) -> Iterator[np.ndarray]:
    light = np.maximum(image - np.float32(offset), 0.0)
    height, width = image.shape
    start = max(float(light.mean()) - background, LEAST_SHARE * max(float(light.mean()), 1e-30))
    estimate = jnp.full((height * imaging.upscale, width * imaging.upscale), start, jnp.float32)
    done = 0
    for number in at:
        estimate = _iterate(estimate, light, imaging, background, tv, number - done, mirror_px)
        done = number
        yield np.asarray(estimate) + np.float32(offset + background)


@partial(jax.jit, static_argnames="mirror_px")
def _iterate(
    estimate: jax.Array,
    light: jax.Array,
    imaging: Imaging,
    background: jax.Array,
    tv: jax.Array,
    steps: jax.Array,
    mirror_px: int,
) -> jax.Array:
    """`steps` updates; a leaf, so that any number of them shares one compilation."""
    least = LEAST_SHARE * jnp.maximum(jnp.mean(light), 1e-30)

    def update(_: jax.Array, estimate: jax.Array) -> jax.Array:
        expected = imaging.forward(estimate, mirror_px=mirror_px) + background
        ratio = imaging.adjoint(light / jnp.maximum(expected, least), mirror_px=mirror_px)
        # Slopes this small are smoothed as squares: the explicit step of Dey et al. overshoots there for tv > 0.02
        pull = 1.0 - tv * _curvature(estimate, 4.0 * tv * estimate + least)
        # A ratio blurred by FFT may dip below zero by rounding
        return estimate * jnp.maximum(ratio, 0.0) / jnp.maximum(pull, LEAST_PULL)

    return jax.lax.fori_loop(0, steps, update, estimate)


def _curvature(image: jax.Array, small: jax.Array) -> jax.Array:
    """div(grad / |grad|) by forward and backward differences, |grad| at least `small`; nothing crosses the borders."""
    down = jnp.pad(jnp.diff(image, axis=0), ((0, 1), (0, 0)))
    right = jnp.pad(jnp.diff(image, axis=1), ((0, 0), (0, 1)))
    size = jnp.sqrt(down**2 + right**2 + small**2)
    down, right = down / size, right / size
    return jnp.diff(down, axis=0, prepend=0.0) + jnp.diff(right, axis=1, prepend=0.0)


@partial(jax.jit, static_argnames="mirror_px")
def _wiener(image: jax.Array, imaging: Imaging, balance: jax.Array, slope: jax.Array, mirror_px: int) -> jax.Array:
    s = imaging.upscale
    framed = jnp.pad(image, mirror_px // s, mode="symmetric")
    level = jnp.mean(framed)
    framed = framed - level
    height, width = framed.shape
    shape = (height * s, width * s)
    through = imaging.otf(shape) * pixel_otf(shape, s).astype(np.complex64)
    frequency = radial_frequency(shape)
    frequency[0, 0] = 1.0
    prior = (frequency / imaging.cutoff_per_px) ** -slope
    prior = prior.at[0, 0].set(0.0)  # the mean is kept apart
    folds = (prior * jnp.abs(through) ** 2).reshape(s, height, s, width).sum((0, 2))
    seen = jnp.fft.fft2(framed) / (folds + balance)
    spectrum = prior * jnp.conj(through) * jnp.tile(seen, (s, s))
    # A fine transform sums s^2 times as many pixels as a camera one
    fine = jnp.fft.ifft2(spectrum).real * s**2
    return fine[mirror_px : shape[0] - mirror_px, mirror_px : shape[1] - mirror_px] + level


def _checked(image: Any, imaging: Imaging, mirror_px: int | None) -> tuple[np.ndarray, int]:
    image = checked_image(image)
    mirror_px = border_px(imaging) if mirror_px is None else mirror_px
    if mirror_px < 0 or mirror_px % imaging.upscale:
        raise InputError(f"mirror_px: expected a multiple of upscale {imaging.upscale} from 0, found {mirror_px}")
    return image, mirror_px


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name}: expected a positive number, found {value}; use 1")
