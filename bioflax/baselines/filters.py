"""The filters a user would reach for first, all one shape: `(image, **parameters) -> image`, 2-D or 3-D, float32.

Parameters in the unit of the image scale with it: a filter of 2x the image with 2x the parameter gives 2x the result.
SciPy and scikit-image are optional and imported where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bioflax.errors import InputError, require

Filter = Callable[..., np.ndarray]


def gaussian(image: Any, sigma_px: float = 1.0) -> np.ndarray:
    """Gaussian blur with reflecting borders.

    Args:
        image: (H, W) or (Z, H, W), any unit.
        sigma_px: standard deviation, the same along every axis.

    Returns:
        Same shape, float32.
    """
    return require("scipy.ndimage", "baselines").gaussian_filter(_image(image), sigma_px)


def median(image: Any, size_px: int = 3) -> np.ndarray:
    """Median over a cube.

    Args:
        image: (H, W) or (Z, H, W), any unit.
        size_px: odd side of the cube.

    Returns:
        Same shape, float32.
    """
    return require("scipy.ndimage", "baselines").median_filter(_image(image), int(size_px))


def nlm(image: Any, h: float, noise: float = 0.0, *, patch_px: int = 5, distance_px: int = 6) -> np.ndarray:
    """Non-local means (Buades et al. 2005; fast form of Darbon et al. 2008).

    Args:
        image: (H, W) or (Z, H, W), unit u.
        h: u, how different patches may be and still be averaged.
        noise: u, standard deviation whose share is taken out of patch distances.
        patch_px: side of the patches.
        distance_px: largest shift searched; at most 2 in 3-D, where the search grows with its cube.

    Returns:
        Same shape, float32.
    """
    image = _image(image)
    # Summed-area tables of squares: float64 and no offset, or large images lose the patch in the rounding
    level = float(image.mean())
    denoise = require("skimage.restoration", "baselines").denoise_nl_means
    reach = distance_px if image.ndim == 2 else min(distance_px, 2)
    options = {"patch_size": patch_px, "patch_distance": reach, "fast_mode": True}
    return (denoise(image.astype(np.float64) - level, h=h, sigma=noise, **options) + level).astype(np.float32)


def tv(image: Any, weight: float, *, iterations: int = 100) -> np.ndarray:
    """Total variation denoising (Chambolle 2004).

    Args:
        image: (H, W) or (Z, H, W), unit u.
        weight: u, strength.
        iterations: at most; stops earlier when the energy settles.

    Returns:
        Same shape, float32.
    """
    denoise = require("skimage.restoration", "baselines").denoise_tv_chambolle
    image = _image(image)
    level = image.mean()
    return (denoise(image - level, weight=weight, max_num_iter=iterations) + level).astype(np.float32)


def wavelet(
    image: Any, noise: float, *, family: str = "sym4", levels: int | None = None, shifts: int = 4
) -> np.ndarray:
    """Wavelet shrinkage with BayesShrink thresholds (Chang et al. 2000), averaged over shifts against block artefacts.

    Args:
        image: (H, W) or (Z, H, W), unit u.
        noise: u, standard deviation.
        family: wavelet name of PyWavelets.
        levels: decomposition levels; None takes 4 in 2-D and 2 in 3-D, whatever the size of the image, so that what
            was tuned on a crop holds for the whole. Fewer where the image is too small.
        shifts: diagonal shifts averaged (Coifman & Donoho 1995).

    Returns:
        Same shape, float32.
    """
    pywt = require("pywt", "baselines")
    denoise = require("skimage.restoration", "baselines").denoise_wavelet
    image = _image(image)
    level = image.mean()
    # Shifted crops of a reflected frame, not rolls: a roll would put a false edge inside the image
    framed = np.pad(image - level, shifts, mode="reflect")
    most = pywt.dwtn_max_level(tuple(side + shifts for side in image.shape), family)
    options = {
        "wavelet": family,
        "wavelet_levels": max(1, min(levels or {2: 4, 3: 2}[image.ndim], most)),
        "rescale_sigma": False,
    }
    total = np.zeros_like(framed)
    for shift in range(shifts):
        window = tuple(slice(shift, side + shift + shifts) for side in image.shape)
        total[window] += denoise(framed[window], sigma=noise, **options)
    inner = tuple(slice(shifts, side + shifts) for side in image.shape)
    return (total[inner] / shifts + level).astype(np.float32)


FILTERS: dict[str, Filter] = {"gaussian": gaussian, "median": median, "nlm": nlm, "tv": tv, "wavelet": wavelet}


def _image(image: Any) -> np.ndarray:
    image = np.asarray(image, np.float32)
    if image.ndim not in (2, 3) or min(image.shape) < 16:
        raise InputError(
            f"image: expected (H, W) or (Z, H, W) with at least 16 px a side, found {image.shape}. "
            "Filter channels and thin stacks plane by plane."
        )
    return image
