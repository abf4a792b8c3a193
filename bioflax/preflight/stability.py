"""Do captures show one scene, and is their noise independent from one to the next?"""

from __future__ import annotations

import numpy as np

from bioflax.metrics import frc_resolution_px
from bioflax.preflight.noise import BLOCK, CELL, Noise, match_brightness, tiles

ONE_SCENE = 0.25  # share of the scene's own variance that may change between two captures
AGREEING = 0.4  # correlation of means of cells: one scene reaches 0.5 wherever it shows at all, unrelated ones 0.25


def scene_change(captures: np.ndarray) -> float:
    """Share of the scene's variance that differs between neighbouring captures: 0 static, 1 unrelated scenes.

    Only block means are compared, so pixel noise hardly counts; what noise is left in them is estimated and taken off.

    Args:
        captures: (R, Z, Y, X) float, ADU, R >= 2.
    """
    captures = np.asarray(captures, np.float64)
    if agreement(captures) < AGREEING:
        return 1.0
    matched = match_brightness(captures)
    block = min(BLOCK, *matched.shape[-2:])
    difference = (matched[1:] - matched[:-1]) / np.sqrt(2.0)
    change = tiles(difference, block).mean((-1, -2)).var()
    # Halving the block multiplies the variance of a mean of noise by four, of a changed scene by little:
    # what follows the noise law from the half block down is noise.
    half = tiles(difference, max(block // 2, 1)).mean((-1, -2)).var()
    noise = np.clip((half - change) / 3, 0, change)
    scene = tiles(matched.mean(0), block).mean((-1, -2)).var() - noise / len(captures)
    excess = max(change - 2 * noise, 0.0)
    if excess <= 0:
        return 0.0
    return float(min(excess / max(scene, excess), 1.0))


def agreement(captures: np.ndarray) -> float:
    """Mean correlation of the block means of neighbouring captures; 1 where the noise leaves no scene to compare.

    Args:
        captures: (R, Z, Y, X) float, ADU, R >= 2.
    """
    if min(captures.shape[-2:]) < CELL:
        return 1.0
    cells = tiles(captures, CELL).mean((-1, -2)).reshape(len(captures), -1)
    # The filter [1, -2, 1] along both axes takes the scene away and multiplies the variance of noise by 36.
    fine = np.diff(np.diff(captures, n=2, axis=-1), n=2, axis=-2)
    noise = (fine**2).mean((1, 2, 3)) / 36 / CELL**2
    spread = cells.var(1)
    if np.any(spread <= 2 * noise):
        return 1.0
    centred = (cells - cells.mean(1, keepdims=True)) / np.sqrt(spread)[:, None]
    return float((centred[1:] * centred[:-1]).mean())


def temporal_correlation(captures: np.ndarray) -> float | None:
    """Correlation of the noise of neighbouring captures: how much less they differ than distant ones.

    Frame averaging in the camera or the acquisition software shows here; noise2noise needs 0. A drifting scene raises
    it too.

    Args:
        captures: (R, Z, Y, X) float, ADU, in order of acquisition.

    Returns:
        1 - var(neighbours) / var(most distant), or None with fewer than four captures.
    """
    if len(captures) < 4:
        return None
    matched = match_brightness(np.asarray(captures, np.float64))
    near = np.mean([fine_power(matched[i] - matched[i + 1]) for i in range(len(matched) - 1)])
    lag = max(len(matched) // 2, 2)
    far = np.mean([fine_power(matched[i] - matched[i + lag]) for i in range(len(matched) - lag)])
    return float(1 - near / far) if far > 0 else None


def fine_power(difference: np.ndarray) -> float:
    """Variance within blocks: what varies slowly is drift or bleaching, not noise."""
    return float(tiles(difference, min(BLOCK, *difference.shape[-2:])).var((-1, -2)).mean())


def brightness_range(captures: np.ndarray) -> float:
    """Largest over smallest mean level of the captures, minus one: bleaching, or a stretch image by image."""
    levels = captures.mean((1, 2, 3))
    return float(levels.max() / levels.min() - 1) if levels.min() > 0 else 0.0


def shared_resolution_px(captures: np.ndarray) -> float | None:
    """Fourier ring correlation resolution of the first two captures at 1/7, pixels; None where nothing correlates."""
    plane = captures.shape[1] // 2
    if min(captures.shape[-2:]) < 32:
        return None
    found = frc_resolution_px(captures[0, plane], captures[1, plane])
    return float(found) if np.isfinite(found) else None


def expected_psnr_db(captures: np.ndarray, noise: Noise) -> float:
    """PSNR of one capture against the noise-free scene that its noise model implies, range = 0.1 to 99.9 percentile."""
    mean = captures.mean(0)
    low, high = np.percentile(mean, (0.1, 99.9))
    power = float(noise.variance(mean).mean())
    return float(10 * np.log10(max(high - low, 1e-12) ** 2 / power))
