"""From rendered counts to pictures for the eye: tone, colour by depth, and a scale bar."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.ops.rendering import render_gaussian, render_histogram

# Anchors (R, G, B), evenly spaced from the lowest to the highest value
COLOUR_MAPS = {
    "depth": ((90, 60, 255), (0, 160, 255), (0, 225, 150), (190, 225, 0), (255, 150, 0), (255, 40, 60)),
    "fire": ((0, 0, 0), (90, 0, 110), (215, 40, 50), (255, 160, 0), (255, 255, 210)),
    "grey": ((0, 0, 0), (255, 255, 255)),
}


def tone(picture: np.ndarray, *, percentile: float = 99.8, gamma: float = 0.6) -> np.ndarray:
    """Brightness of counts, 0..1: saturated at a percentile of the filled pixels, then raised to `gamma`.

    Args:
        picture: (H, W) counts, not negative.
        percentile: of the pixels above zero, which is shown as white.
        gamma: below 1 lifts dim structures.

    Returns:
        (H, W) float64 in 0..1; zeros for an empty picture.
    """
    if not 0 < percentile <= 100 or not gamma > 0:
        raise InputError(f"percentile/gamma: expected (0, 100] and above 0, found {percentile} and {gamma}.")
    picture = np.maximum(np.asarray(picture, np.float64), 0)
    peak = picture.max(initial=0.0)
    if peak == 0:
        return np.zeros(picture.shape)
    # Far tails of spots are no structure; they would pull the percentile down
    white = np.percentile(picture[picture > 1e-3 * peak], percentile)
    return np.minimum(picture / white, 1.0) ** gamma


def colour_map(values: Any, name: str | Any = "depth") -> np.ndarray:
    """Colours of numbers in 0..1.

    Args:
        values: (...) numbers; clipped to 0..1.
        name: one of `COLOUR_MAPS`, or (K, 3) anchors in 0..255.

    Returns:
        (..., 3) float64 in 0..1.

    Raises:
        InputError: an unknown name, or anchors of another shape.
    """
    if isinstance(name, str) and name not in COLOUR_MAPS:
        raise InputError(f"colours: expected one of {', '.join(COLOUR_MAPS)}, found {name!r}. Choose one of these.")
    anchors = np.asarray(COLOUR_MAPS[name] if isinstance(name, str) else name, np.float64) / 255
    if anchors.ndim != 2 or anchors.shape[1] != 3 or len(anchors) < 2:
        raise InputError(f"colours: expected (K, 3) anchors, K from 2, found {anchors.shape}. Give R, G, B rows.")
    place = np.linspace(0, 1, len(anchors))
    values = np.asarray(values, np.float64)
    return np.stack([np.interp(values, place, anchors[:, channel]) for channel in range(3)], -1)


def colour_by_z(
    x_nm: Any,
    y_nm: Any,
    z_nm: Any,
    sigma_nm: Any = None,
    *,
    pixel_nm: float,
    size_nm: tuple[float, float],
    z_range_nm: tuple[float, float] | None = None,
    colours: str | Any = "depth",
    percentile: float = 99.8,
    gamma: float = 0.6,
) -> np.ndarray:
    """A picture whose colour is the mean depth in a pixel and whose brightness is the density.

    Args:
        x_nm, y_nm, z_nm: (N,) positions, nm.
        sigma_nm: (N,) or one number, lateral uncertainty for `render_gaussian`; None renders a histogram.
        pixel_nm, size_nm: as `render_histogram`.
        z_range_nm: depths of the first and last colour; None takes the 1 and 99 % quantiles.
        colours: as `colour_map`.
        percentile, gamma: as `tone`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: as the renderers, or an empty range of z.
    """
    z = np.asarray(z_nm, np.float64)
    if z_range_nm is None:
        low, high = np.quantile(z, [0.01, 0.99]) if z.size else (0.0, 1.0)
        high = max(float(high), float(low) + 1.0)
    else:
        low, high = z_range_nm
    if not high > low:
        raise InputError(f"z_range_nm: expected an increasing pair, found {z_range_nm}. Give (-500, 500), say.")
    of_each = colour_map((z - low) / (high - low), colours)
    weights = np.stack([np.ones(z.size), *of_each.T])
    field = {"pixel_nm": pixel_nm, "size_nm": size_nm}
    if sigma_nm is None:
        layers = np.stack([render_histogram(x_nm, y_nm, weights=weight, **field) for weight in weights])
    else:
        layers = render_gaussian(x_nm, y_nm, sigma_nm, weights=weights, **field)
    density, mixed = layers[0], np.moveaxis(layers[1:], 0, -1)
    shade = np.divide(
        mixed, density[..., None], out=np.zeros_like(mixed), where=density[..., None] > 1e-9 * density.max(initial=0.0)
    )
    bright = tone(density, percentile=percentile, gamma=gamma)[..., None] * shade
    return np.clip(np.rint(255 * bright), 0, 255).astype(np.uint8)


def scale_bar(
    image: np.ndarray, pixel_nm: float, length_nm: float | None = None, *, value: int | None = None
) -> tuple[np.ndarray, float]:
    """Draws a bar into the lower right corner.

    Args:
        image: (H, W) or (H, W, 3).
        pixel_nm: pixel of the picture, nm.
        length_nm: of the bar; None takes the 1, 2 or 5 times a power of ten nearest below a fifth of the width.
        value: of the bar's pixels; None takes the largest of the dtype, or of the picture.

    Returns:
        A copy with the bar; the bar's length, nm, for the caption.

    Raises:
        InputError: another shape, or a bar that does not fit.
    """
    image = np.array(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError(f"image: expected (H, W) or (H, W, 3), found {image.shape}. Give one picture.")
    if not pixel_nm > 0:
        raise InputError(f"pixel_nm: expected a positive size in nm, found {pixel_nm}. Give e.g. 10.")
    height, width = image.shape[:2]
    if length_nm is None:
        room = width * pixel_nm / 5
        power = 10.0 ** math.floor(math.log10(room))
        length_nm = max(step * power for step in (1, 2, 5) if step * power <= room)
    long, thick, margin = round(length_nm / pixel_nm), max(1, round(height / 100)), max(1, round(width / 40))
    if not 1 <= long <= width - 2 * margin or thick + margin > height:
        room = max(0, width - 2 * margin) * pixel_nm
        raise InputError(f"length_nm: expected {pixel_nm:g} to {room:g} nm here, found {length_nm:g}. Leave it out.")
    if value is None:
        value = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else image.max()
    image[height - margin - thick : height - margin, width - margin - long : width - margin] = value
    return image, float(length_nm)
