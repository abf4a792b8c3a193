"""Interpolation onto a finer grid: what a picture looks like enlarged, without any knowledge of the optics."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.imaging import check_upscale


def bicubic(image: Any, upscale: int) -> np.ndarray:
    """Bicubic interpolation (Keys 1981, a = -1/2) with half-pixel centres: pixel i comes to lie at i s + (s - 1) / 2.

    Args:
        image: (H, W) camera pixels, any unit.
        upscale: s, fine pixels along a camera pixel.

    Returns:
        (s H, s W) float32, same unit.

    Raises:
        InputError: an image that is not 2-D or not finite, an upscale outside 1 to 8.
    """
    return _enlarge(image, upscale, "cubic")


def lanczos(image: Any, upscale: int) -> np.ndarray:
    """Lanczos interpolation with three lobes; arguments, result and errors as of `bicubic`."""
    return _enlarge(image, upscale, "lanczos3")


def checked_image(image: Any) -> np.ndarray:
    """The image as float32; raises an InputError unless it is (H, W) and finite."""
    image = np.asarray(image, np.float32)
    if image.ndim != 2 or 0 in image.shape:
        raise InputError(f"image: expected (H, W), found shape {image.shape}; give one channel of one plane at a time")
    if not np.isfinite(image).all():
        bad = int((~np.isfinite(image)).sum())
        raise InputError(f"image: expected finite values, found {bad} NaN or infinite; replace them first")
    return image


def _enlarge(image: Any, upscale: int, method: str) -> np.ndarray:
    check_upscale("upscale", upscale)
    return np.asarray(_resized(checked_image(image), upscale, method))


@partial(jax.jit, static_argnames=("upscale", "method"))
def _resized(image: jax.Array, upscale: int, method: str) -> jax.Array:
    height, width = image.shape
    # The largest values lose nothing to the rounding of a high camera offset
    level = jnp.mean(image)
    return jax.image.resize(image - level, (height * upscale, width * upscale), method) + level
