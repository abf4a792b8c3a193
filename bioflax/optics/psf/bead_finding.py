"""Where the beads of a stack are, which of them can be used, and the light between them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_FILTER_PX = 2.0
_ABOVE_NOISE = 6.0
_BEAD, _NEIGHBOUR = 0.2, 0.1  # shares of the brightest: a bead; bright enough to disturb one
_FULL_PIXELS = 8


def find_beads(stack: np.ndarray, window_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of the filtered mean over z.

    Args:
        stack: (Z, Y, X) photons.
        window_px: side of a bead's window; of the maxima within a quarter of it the highest is kept.

    Returns:
        (B, 2) y, x in px from the outer corner of the first pixel, brightest first, and (B,) brightness as a share of
        the brightest. Those below 0.2 are no beads, but may lie in the way of one.
    """
    smooth = ndimage.gaussian_filter(stack.mean(axis=0), _FILTER_PX, mode="reflect")
    smooth = smooth - np.median(smooth)
    noise = 1.4826 * np.median(np.abs(smooth))
    peaks = (smooth == ndimage.maximum_filter(smooth, 2 * (window_px // 4) + 1)) & (smooth > _ABOVE_NOISE * noise)
    peaks &= smooth > max(_NEIGHBOUR * smooth.max(), 0.0)
    places = np.argwhere(peaks)
    heights = smooth[peaks]
    order = np.argsort(-heights, kind="stable")
    return places[order] + 0.5, heights[order] / max(smooth.max(), 1e-12)


def reasons_against(
    places: np.ndarray, shares: np.ndarray, stack: np.ndarray, window_px: int, saturation_photons: float | None
) -> list[str]:
    """Why each bead cannot be used, empty if it can.

    Args:
        places: (B, 2) y, x in px from the outer corner of the first pixel.
        shares: (B,) brightness as a share of the brightest.
        stack: (Z, Y, X) photons.
        window_px: side of a bead's window.
        saturation_photons: level from which a pixel is full; None takes the stack's maximum if many stand at it.

    Returns:
        B texts that begin with the kind of reason, up to a comma.
    """
    full = _full_level(stack) if saturation_photons is None else saturation_photons
    corners = window_corners(places, window_px)
    reasons = []
    for bead, corner in enumerate(corners):
        apart = np.abs(places - places[bead]).max(axis=1)
        apart[bead] = np.inf
        end = corner + window_px
        if shares[bead] < _BEAD:
            reasons.append(f"too dim, {shares[bead]:.2f} of the brightest")
        elif (corner < 0).any() or (end > stack.shape[1:]).any():
            reasons.append(f"at the border, its window of {window_px} px reaches beyond the image")
        elif apart.min() < window_px:
            reasons.append(f"beside another, {apart.min():.1f} px away")
        elif (lost := int((window(stack, corner, window_px) >= full).sum())) > 0:
            reasons.append(f"saturated, {lost} pixels at {full:g} photons")
        else:
            reasons.append("")
    return reasons


def background_of_planes(stack: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Mean per plane of the tenth of its pixels farthest from any bead, without outliers above 4 sigma; (Z,)."""
    away = np.full(stack.shape[1:], np.inf)
    y, x = np.indices(stack.shape[1:]) + 0.5
    for place in places:
        away = np.minimum(away, np.hypot(y - place[0], x - place[1]))
    dark = stack[:, away >= np.quantile(away, 0.9)]
    kept = np.ones_like(dark, bool)
    for _ in range(3):
        mean, spread = dark.mean(axis=1, keepdims=True, where=kept), dark.std(axis=1, keepdims=True, where=kept)
        kept = np.abs(dark - mean) <= 4 * spread
    return dark.mean(axis=1, where=kept)


def window_corners(places: np.ndarray, window_px: int) -> np.ndarray:
    """First pixel (y, x) of the window in whose middle pixel each place lies, (B, 2) int."""
    return np.floor(places).astype(int) - window_px // 2


def window(stack: np.ndarray, corner: np.ndarray, window_px: int) -> np.ndarray:
    """The window of a stack at a corner, (Z, window_px, window_px)."""
    return stack[:, corner[0] : corner[0] + window_px, corner[1] : corner[1] + window_px]


def centroid(picture: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Centre of the light within a sixth of the picture's side of the centre itself; y, x in px from the corner."""
    y, x = np.indices(picture.shape) + 0.5
    at = np.asarray(start, np.float64)
    light = np.maximum(picture, 0)
    for _ in range(20):
        # A soft edge, or the centre would stick at pixels.
        weight = light * np.clip(picture.shape[0] / 6 + 0.5 - np.hypot(y - at[0], x - at[1]), 0, 1)
        if weight.sum() <= 0:
            break
        at = np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()
    return at


def _full_level(stack: np.ndarray) -> float:
    """The maximum if at least 8 pixels stand exactly at it, more than in the tenth below it; else infinity."""
    most = stack.max()
    full, near = int((stack == most).sum()), int(((stack < most) & (stack > 0.9 * most)).sum())
    return float(most) if most > 0 and full >= _FULL_PIXELS and full > near else float("inf")
