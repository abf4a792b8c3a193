"""Structures that a result shows where the scene has none. Float64 NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bioflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class FalseStructures:
    """False structures of an image of an empty scene.

    Attributes:
        count: structures.
        per_um2: structures per square micrometre of the area looked at.
        area_um2: the area looked at.
    """

    count: int
    per_um2: float
    area_um2: float


def false_structures(
    image: Any, background: float, contrast: float, pixel_nm: float, *, least_area_px: int = 4, mask: Any = None
) -> FalseStructures:
    """Counts what stands out from the background of an image of a scene that holds nothing else.

    A structure is a connected part (neighbours by side or corner) above background + contrast.

    Args:
        image: (H, W), unit u, the result for an empty scene, or for a scene of which `mask` is the empty part.
        background: u, level of the empty scene.
        contrast: u, height above it from which a structure counts, such as half of that of a true structure.
        pixel_nm: pixel side of `image`: that of the camera over the upscale.
        least_area_px: pixels; smaller parts are noise. Four fine pixels are about one camera pixel at upscale 2.
        mask: (H, W) bool, where the scene is empty; None everywhere. Parts that reach out of it are not counted.

    Returns:
        Count and density.

    Raises:
        InputError: no image (H, W), values that are not finite, numbers out of range, or an empty mask.
    """
    from scipy.ndimage import label

    image = np.asarray(image, np.float64)
    if image.ndim != 2 or image.size == 0 or not np.isfinite(image).all():
        raise InputError(f"image: expected finite numbers (H, W), found shape {image.shape}. Pass one result.")
    if not (contrast > 0 and pixel_nm > 0 and least_area_px >= 1 and np.isfinite(background)):
        raise InputError(
            f"background/contrast/pixel_nm/least_area_px: expected finite, > 0, > 0 and >= 1, "
            f"found {background}, {contrast}, {pixel_nm} and {least_area_px}."
        )
    empty = np.ones(image.shape, bool) if mask is None else np.asarray(mask, bool)
    if empty.shape != image.shape or not empty.any():
        raise InputError(
            f"mask: expected {image.shape} with a pixel that is True, found {empty.shape}. Mark the empty part."
        )
    parts, n = label(image > background + contrast, structure=np.ones((3, 3), int))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    outside = np.bincount(parts.ravel(), (~empty).ravel(), minlength=n + 1)[1:]
    count = int(np.sum((sizes >= least_area_px) & (outside == 0)))
    area_um2 = float(empty.sum()) * (pixel_nm / 1000.0) ** 2
    return FalseStructures(count, count / area_um2, area_um2)
