"""Multi-scale structural similarity."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.image import _local_statistics, _peak
from bioflax.metrics.numerics import as_float
from bioflax.typing import Array

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS = 11


def ms_ssim(image: Any, target: Any, data_range: float | None = None) -> Array:
    """Multi-scale structural similarity: the structure at five sizes of detail, the brightness at the coarsest.

    At each scale the mean of the contrast-structure term, raised to its weight; images are halved in between by the
    mean of 2 x 2 pixels, an odd last row or column left out. At the last scale the mean of the whole similarity.
    Windows as `ssim`: Gaussian, 11 px, sigma 1.5. Means below 0 count as 0. Images below 176 px a side take as many
    scales as keep the last at 11 px or more, with the first of the weights, made to add up to 1: numbers of other
    sizes do not compare.

    Args:
        image: (H, W), unit of the target.
        target: (H, W).
        data_range: dynamic range of the constants; None takes max - min of the target.

    Returns:
        () 0 to 1; 1 for equal images.

    Raises:
        InputError: shapes differ, not (H, W), or a side is shorter than 11 px.

    Source: Z. Wang, E. P. Simoncelli, A. C. Bovik, Asilomar Conference (2003).
    """
    xp, (image, target) = as_float(image=image, target=target)
    scales = ms_ssim_scales(image.shape)
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    taps = np.exp(-0.5 * (np.arange(_TAPS) - _TAPS // 2) ** 2 / 1.5**2)
    peak = _peak(xp, target, data_range)
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            image, target = _halved(image), _halved(target)
        statistics = _local_statistics(xp, image, target, taps / taps.sum())
        if scale == scales - 1:
            term = statistics.similarity(1.0, peak)
        else:
            constant = (0.03 * peak) ** 2
            variances = statistics.variance_image + statistics.variance_target
            term = (2 * statistics.covariance + constant) / (variances + constant)
        product = product * xp.maximum(term.mean(), 0.0) ** float(weight)
    return product


def ms_ssim_scales(shape: tuple[int, ...]) -> int:
    """Scales that `ms_ssim` takes for images of a shape (H, W): five from 176 px a side on."""
    if len(shape) != 2 or min(shape) < _TAPS:
        raise InputError(f"image: expected (H, W) of at least {_TAPS} px a side, found {shape}. Use a larger crop.")
    return sum(min(shape) >> scale >= _TAPS for scale in range(len(WEIGHTS)))


def _halved(image: Array) -> Array:
    height, width = (side // 2 for side in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
