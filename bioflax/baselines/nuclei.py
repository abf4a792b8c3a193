"""The segmentation of nuclei a user would try first: blur, Otsu's threshold, and watershed where nuclei touch."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioflax.errors import InputError, require

DEPTH_PX = 1.0  # a waist less than this narrower than both halves is no border


def segment_nuclei(
    image: Any, sigma_px: float = 1.0, split: bool = True, smallest_px: int = 16, *, depth_px: float = DEPTH_PX
) -> np.ndarray:
    """Labels bright nuclei on a dark background.

    Gaussian blur, the threshold of Otsu (1979), connected components. With `split` a watershed of the distance to the
    background parts those that touch (Vincent & Soille 1991), from its maxima higher than their surroundings by
    `depth_px`. Dark nuclei on a bright background: pass the negative of the image.

    Args:
        image: (Y, X), any unit.
        sigma_px: standard deviation of the blur; 0 for none.
        split: whether to part nuclei that touch; without, each connected component is one object.
        smallest_px: objects of fewer pixels are left out.
        depth_px: how much narrower, in half widths, a waist is than both parts beside it; less splits more.

    Returns:
        (Y, X) int32: 0 the background, 1..n the objects. An image of one value has none.

    Raises:
        InputError: a wrong shape, NaN, a negative width or size, a depth that is not positive, or no scikit-image.
    """
    from scipy import ndimage

    image = np.asarray(image, np.float32)
    if image.ndim != 2:
        raise InputError(f"image: expected (Y, X), found shape {image.shape}. Pass one channel and plane at a time.")
    if not np.isfinite(image).all():
        raise InputError("image: expected finite values, found NaN or infinity. Replace them.")
    for name, value, least in (("sigma_px", sigma_px, 0), ("smallest_px", smallest_px, 0)):
        if not (np.isfinite(value) and value >= least):
            raise InputError(f"{name}: expected at least {least}, found {value}. Leave it out for the default.")
    if not depth_px > 0:
        raise InputError(f"depth_px: expected more than 0, found {depth_px}. Use 1.")
    if image.size == 0 or image.min() == image.max():
        return np.zeros(image.shape, np.int32)
    smooth = ndimage.gaussian_filter(image, sigma_px)
    bright = smooth > require("skimage.filters", "baselines").threshold_otsu(smooth)
    # Corners do not join: two nuclei that meet in one are two
    labels, _ = ndimage.label(bright)
    if split:
        labels = _parted(bright, labels, depth_px)
    return _large(labels, smallest_px)


def _parted(bright: np.ndarray, components: np.ndarray, depth_px: float) -> np.ndarray:
    """Watershed of the distance to the background."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(bright)
    morphology = require("skimage.morphology", "baselines")
    # Cut down by the depth, then grown back below the distance: what was one hill becomes one plateau. (`h_maxima` marks
    # two tops of equal height on one hill both.)
    tops = morphology.local_maxima(morphology.reconstruction(distance - depth_px, distance))
    markers, count = ndimage.label(tops & bright, np.ones((3, 3)))
    # A component flatter than the depth has no such maximum, and stays whole
    seen = np.unique(components[markers > 0])
    alone = bright & ~np.isin(components, seen)
    markers[alone] = count + components[alone]
    return require("skimage.segmentation", "baselines").watershed(-distance, markers, mask=bright)


def _large(labels: np.ndarray, smallest_px: int) -> np.ndarray:
    """Objects of enough pixels, numbered from 1 without gaps."""
    size = np.bincount(labels.ravel())
    kept = size >= max(smallest_px, 1)
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0)
    return number[labels].astype(np.int32)
