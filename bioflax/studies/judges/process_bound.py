"""The exact posterior mean of a Gaussian process on pictures cut from its canvas: no estimator has a smaller mean error."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.simulate.process import MARGIN, GaussianProcess

CLOSE = 1e-8  # of the norm: residual at which the solution stands
MOST = 500


def posterior_mean(process: GaussianProcess, noisy: Any) -> np.ndarray:
    """E[field | picture] = y - s^2 (C + s^2 I)^-1 y, C the covariance of the pixels of the picture.

    C is not periodic, so it has no spectrum; it is a part of the periodic covariance of the canvas. The system is solved by
    conjugate gradients (Hestenes & Stiefel 1952), with the inverse on the canvas, cut to the picture, as preconditioner.

    Args:
        process: that made the pictures, with its noise.
        noisy: (N, size, size), in standard deviations of the field.

    Returns:
        (N, size, size) float64.

    Raises:
        InputError: pictures of another size, or a system that cannot be solved to eight digits.
    """
    noisy, spectrum, variance = np.asarray(noisy, np.float64), process.spectrum, process.noise_std**2
    if noisy.shape[1:] != (process.size, process.size):
        raise InputError(f"noisy: expected (N, {process.size}, {process.size}), found {noisy.shape}.")
    half = spectrum[:, : spectrum.shape[1] // 2 + 1]

    def through(images: np.ndarray, gain: np.ndarray) -> np.ndarray:
        inner = slice(MARGIN, MARGIN + process.size)
        canvas = np.zeros((len(images), *spectrum.shape))
        canvas[:, inner, inner] = images
        return np.fft.irfft2(np.fft.rfft2(canvas) * gain, s=spectrum.shape)[:, inner, inner]

    def inner_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sum(a * b, axis=(1, 2), keepdims=True)

    solution, residual = np.zeros_like(noisy), noisy.copy()
    guess = through(residual, 1.0 / (half + variance))
    direction, power = guess, inner_product(residual, guess)
    target = CLOSE**2 * inner_product(noisy, noisy)
    for _ in range(MOST):
        if np.all(inner_product(residual, residual) <= target):
            return noisy - variance * solution
        image = through(direction, half) + variance * direction
        step = power / np.maximum(inner_product(direction, image), np.finfo(float).tiny)
        solution, residual = solution + step * direction, residual - step * image
        guess = through(residual, 1.0 / (half + variance))
        before, power = power, inner_product(residual, guess)
        direction = guess + power / np.maximum(before, np.finfo(float).tiny) * direction
    raise InputError(
        f"noise_std: the exact bound was not reached in {MOST} steps; take more noise than {process.noise_std}."
    )
