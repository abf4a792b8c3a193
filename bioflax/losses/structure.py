"""Losses of structure and of frequencies, for restored pictures; never reduced, like those of pixels.

Shapes are (N, H, W, C), or (N, Z, H, W, C) where planes are looked at one by one. They have no mask: a window or a frequency
belongs to many pixels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.losses.regression import check_shapes

WINDOW = 11  # taps, sigma 1.5, as in Wang et al. 2004


def structural_dissimilarity(prediction: jax.Array, target: jax.Array, data_range: jax.Array) -> jax.Array:
    """1 - SSIM of every window that lies inside the picture (Wang et al. 2004: Gaussian windows of 11 pixels).

    Args:
        prediction, target: (N, [Z,] H, W, C), in one unit.
        data_range: dynamic range of the target, a number or an array that broadcasts, such as (N, 1, 1, 1).

    Returns:
        (N, [Z,] H - 10, W - 10, C), 0 where they are equal, at most 2.

    Raises:
        InputError: shapes differ, or a side is shorter than the window.
    """
    check_shapes(prediction, target)
    if min(prediction.shape[-3:-1]) < WINDOW:
        raise InputError(
            f"loss: SSIM needs at least {WINDOW} pixels a side, found {tuple(prediction.shape[-3:-1])}; take larger patches"
        )
    # Moments about the mean of the target: with a large offset E[x^2] - E[x]^2 would cancel in float32.
    level = jnp.mean(target, axis=(-3, -2), keepdims=True)
    x, y = prediction - level, target - level
    mean_x, mean_y = _window(x), _window(y)
    variance_x, variance_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = mean_x + level, mean_y + level
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return 1.0 - luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def fourier_error(
    prediction: jax.Array,
    target: jax.Array,
    band_per_px: tuple[float, float],
    inside: float = 1.0,
    outside: float = 0.0,
) -> jax.Array:
    """Squared error frequency by frequency, weighted inside and outside of a band.

    With both weights 1 its mean is the mean square error (Parseval). A band that ends at the optical cut-off judges what was
    measured and leaves out what only a prior can fill in.

    Args:
        prediction, target: (N, [Z,] H, W, C).
        band_per_px: lowest and highest frequency of the band, cycles per pixel of the picture, radial.
        inside, outside: weights.

    Returns:
        (N, [Z,] H, W, C), on the FFT grid.
    """
    check_shapes(prediction, target)
    height, width = prediction.shape[-3:-1]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    weight = np.where((radius >= band_per_px[0]) & (radius <= band_per_px[1]), inside, outside).astype(np.float32)
    spectrum = jnp.fft.fft2((prediction - target).astype(jnp.float32), axes=(-3, -2), norm="ortho")
    return weight[..., None] * (spectrum.real**2 + spectrum.imag**2)


def _window(image: jax.Array) -> jax.Array:
    """Weighted mean over every window inside the picture, along rows and columns."""
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / 1.5) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (-3, -2):
        extent = image.shape[axis] - WINDOW + 1
        parts = [jax.lax.slice_in_dim(image, at, at + extent, axis=axis % image.ndim) for at in range(WINDOW)]
        image = sum(float(weight) * part for weight, part in zip(taps, parts))
    return image
