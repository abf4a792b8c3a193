"""Are two lines, or two points, at a known place told apart? Profiles across simulated pairs. Float64 NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError

STEP_PX = 0.25
"""Distance of the samples of a profile."""
DIP = 0.1
"""Default depth of the dip, of the height of the lower maximum. Two Airy spots at Rayleigh's distance have 0.265; pixels and
averaging make it shallower."""
_NOISE_SIGMAS = 3.0


@dataclasses.dataclass(frozen=True)
class ResolvedFraction:
    """Share of pairs that were told apart.

    Attributes:
        fraction: 0 to 1.
        low, high: its binomial interval.
        n: pairs.
    """

    fraction: float
    low: float
    high: float
    n: int


def profile_across(
    image: Any, centre_yx_px: tuple[float, float], angle_rad: float, length_px: float, width_px: float = 1.0
) -> np.ndarray:
    """Brightness along the axis of a pair, averaged along its lines.

    Args:
        image: (H, W) any unit.
        centre_yx_px: middle of the pair, pixel centres at whole numbers.
        angle_rad: direction from one of the pair to the other, 0 along x, pi / 2 along y: across lines, not along them.
        length_px: length of the profile; four times the spacing serves `is_resolved` well.
        width_px: how far it averages across its direction, in steps of about a pixel.

    Returns:
        (K,) in steps of a quarter pixel, the centre in the middle (K is odd); cubic interpolation, mirrored borders.

    Raises:
        InputError: no image (H, W), lengths not above 0, or a centre outside of the image.
    """
    from scipy.ndimage import map_coordinates

    image = np.asarray(image, np.float64)
    centre = np.asarray(centre_yx_px, np.float64)
    if image.ndim != 2 or not (length_px > 0 and width_px > 0):
        raise InputError(
            f"image/length_px/width_px: expected (H, W), > 0 and > 0, found {image.shape}, {length_px} and {width_px}."
        )
    if centre.shape != (2,) or not np.all((centre >= -0.5) & (centre <= np.array(image.shape) - 0.5)):
        raise InputError(f"centre_yx_px: expected a place within {image.shape}, found {centre_yx_px}. Give y first.")
    steps = round(length_px / 2 / STEP_PX)
    along = np.arange(-steps, steps + 1) * STEP_PX
    rows = max(1, math.ceil(width_px))
    across = ((np.arange(rows) + 0.5) / rows - 0.5) * width_px
    sine, cosine = math.sin(angle_rad), math.cos(angle_rad)
    y = centre[0] + along[None, :] * sine + across[:, None] * cosine
    x = centre[1] + along[None, :] * cosine - across[:, None] * sine
    return map_coordinates(image, [y, x], order=3, mode="reflect").mean(0)


def is_resolved(profile: Any, spacing_px: float, *, dip: float = DIP, noise: float = 0.0) -> bool:
    """Does a profile show two maxima, near where they belong, with a dip between?

    Each maximum lies within a quarter of the spacing of its place, so the distance is right to half the spacing. Heights
    are above the lowest value of the profile. The lower maximum has at least half the height of the higher; between
    them the profile falls by `dip` of the lower one; no other maximum is higher, and from 1.5 spacings outwards all is
    below half the lower maximum: a noisy profile has dips everywhere, but not this.

    Args:
        profile: (K,) as `profile_across` gives it, longer than twice the spacing; the pair must be alone on it.
        spacing_px: true distance, pixels.
        dip: share of the height of the lower maximum.
        noise: standard deviation of a value of the profile; the dip must also be three of them deep. 0 to leave it out.

    Returns:
        Whether the pair is resolved.

    Raises:
        InputError: a profile that is too short or of even length, or a dip outside (0, 1).
    """
    profile = np.asarray(profile, np.float64)
    if not (spacing_px > 0 and 0 < dip < 1 and noise >= 0):
        raise InputError(f"spacing_px/dip/noise: expected > 0, in (0, 1), >= 0, found {spacing_px}, {dip} and {noise}.")
    if profile.ndim != 1 or profile.size % 2 == 0 or (profile.size - 1) * STEP_PX < 2 * spacing_px:
        raise InputError(
            f"profile: expected (K,) with K odd, at least {2 * spacing_px:g} px in steps of {STEP_PX}, "
            f"found {profile.shape}. Use profile_across with a length of four spacings."
        )
    at = (np.arange(profile.size) - profile.size // 2) * STEP_PX
    peaks = [_peak(profile, at, side * spacing_px / 2, spacing_px / 4) for side in (-1, 1)]
    if peaks[0] is None or peaks[1] is None:
        return False
    height = profile - profile.min()
    lower, higher = sorted(height[peaks])
    valley = height[peaks[0] : peaks[1] + 1].min()
    outside = height[abs(at) > 0.75 * spacing_px]
    far = height[abs(at) >= 1.5 * spacing_px]
    return bool(
        lower >= 0.5 * higher
        and lower - valley >= dip * lower
        and lower - valley >= _NOISE_SIGMAS * noise
        and outside.max(initial=0.0) <= lower
        and far.max(initial=0.0) <= 0.5 * lower
    )


def resolved_fraction(
    images: Sequence[Any],
    centres_yx_px: Any,
    angles_rad: Any,
    spacing_px: float,
    *,
    width_px: float = 1.0,
    length_px: float | None = None,
    dip: float = DIP,
    noise: float = 0.0,
    level: float = 0.95,
) -> ResolvedFraction:
    """Share of repeats in which a pair is told apart.

    Args:
        images: N images (H, W), one pair each.
        centres_yx_px: (N, 2), or (2,) for all: as `profile_across`.
        angles_rad: (N,), or one for all: as `profile_across`.
        spacing_px: true distance.
        width_px: as `profile_across`.
        length_px: of the profiles; None takes four times the spacing.
        dip, noise: as `is_resolved`.
        level: of the interval.

    Returns:
        The share and its Wilson interval.
    """
    if len(images) == 0:
        raise InputError("images: expected at least one, found none. Pass the repeats of a pair.")
    centres = np.broadcast_to(np.asarray(centres_yx_px, np.float64), (len(images), 2))
    angles = np.broadcast_to(np.asarray(angles_rad, np.float64), (len(images),))
    length = 4 * spacing_px if length_px is None else length_px
    found = sum(
        is_resolved(profile_across(image, tuple(centre), angle, length, width_px), spacing_px, dip=dip, noise=noise)
        for image, centre, angle in zip(images, centres, angles)
    )
    return ResolvedFraction(found / len(images), *wilson_interval(found, len(images), level), len(images))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a probability from a count; sensible at 0 and at n too.

    Args:
        successes: of n trials.
        n: trials.
        level: probability that the interval aims to cover, in (0, 1).

    Returns:
        (low, high).

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    from scipy.special import ndtri

    if not (0 <= successes <= n and n > 0 and 0 < level < 1):
        raise InputError(
            f"successes/n/level: expected 0 <= successes <= n, n > 0, level in (0, 1), found {successes}, {n}, {level}."
        )
    z = float(ndtri(0.5 + level / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _peak(profile: np.ndarray, at: np.ndarray, place: float, reach: float) -> int | None:
    """The highest local maximum within reach of its place."""
    inner = np.arange(1, profile.size - 1)
    top = (profile[inner] >= profile[inner - 1]) & (profile[inner] > profile[inner + 1])
    # Sampling places a maximum within half a step
    candidates = inner[top & (abs(at[inner] - place) <= reach + STEP_PX / 2)]
    return int(candidates[np.argmax(profile[candidates])]) if candidates.size else None
