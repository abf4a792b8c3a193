"""What of a super-resolved picture was measured, what is prior, and whether it agrees with the raw data.

Beyond the cut-off of the optics there is no data. A result is split into its part inside the measured band and the rest, which
only the training can have put there; it is pushed through the optics again and held against the raw picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioflax.baselines.localize import check_maps
from bioflax.errors import InputError
from bioflax.metrics import error_map, false_structures
from bioflax.optics import passband
from bioflax.predict.physics import UNKNOWN, Physics

LARGEST_PX = 4096  # a side of the fine picture: a spectrum is that of the whole
WINDOW_PX = 9  # camera pixels of the local maps
TOLERANCE = 0.15  # chi-square may lie that far from 1 for reasons that are not the result's: gain known to some percent
PRIOR_GROWTH, ERROR_GROWTH = 1.5, 1.5  # times the model's own value on the data that it was judged on
LEAST_PRIOR = 0.01  # of the contrast; less is no matter
LEAST_DETAIL = 0.5  # of the model's own
LEAST_RSP = 0.8  # of what the noise of the raw picture allows
FAINTEST = 5.5  # standard deviations of a spot that is no noise
OF_NOISE = ("chi_square", "chi_square_limit", "rse_over_noise", "rsp_expected", "detail", "detail_error")
BORDER_SPACINGS = 3.0  # of the cut-off spacing
PIXEL_TOLERANCE = 0.05
FINE_BAND, COARSE_BAND = (0.5, 0.8), (0.1, 0.4)  # of the cut-off
LEAST_SPECTRUM_PX = 8


@dataclass(frozen=True)
class Honesty:
    """The maps and numbers of one picture.

    Attributes:
        maps: on the fine grid `measured`, `prior` (they add up to the result), `null_space` (local share of the prior, 0 to 1);
            on the camera grid `chi_square` (local), `error` (|result through a Gaussian blur - raw|, after SQUIRREL), `raw`, `seen`
            (the result through the optics).
        numbers: `null_space_energy`, `chi_square`, `chi_square_limit`, `rse`, `rse_share` (of the raw picture's range),
            `rse_over_noise`, `rsp`, `rsp_expected` (what the raw picture's noise allows), `detail` (power of its finest measured
            structure over that of its coarse one, noise taken off), `gain`, `offset`, `blur_scale`; `blank` and
            `false_structures_per_um2` only where the raw picture holds nothing but noise. What needs the noise is left out
            where that is not known.
        flags: one line for each thing that speaks against the result; empty where nothing does.
        noise: where the noise variance comes from.
    """

    maps: dict[str, np.ndarray]
    numbers: dict[str, float]
    flags: list[str] = field(default_factory=list)
    noise: str = "the camera"


def examine(
    restored: np.ndarray,
    raw: np.ndarray,
    physics: Physics,
    *,
    judged: dict[str, Any] | None = None,
    pixel_nm: float | None = None,
) -> Honesty:
    """Splits a result and holds it against the raw data.

    Args:
        restored: (sH, sW), what the model made.
        raw: (H, W) or (H, W, frames), what the camera took, counts.
        physics: how the picture came about.
        judged: metrics of the model's card: what these numbers were on the data that it was judged on.
        pixel_nm: of the camera, from the file, where it says so.

    Raises:
        InputError: a picture too large for one spectrum, or sizes that do not fit.
    """
    restored = np.asarray(restored, np.float64)
    wide = np.asarray(raw, np.float64)
    full = physics.saturated(wide)
    wide = wide.mean(-1) if wide.ndim == 3 else wide
    expected_shape = tuple(side * physics.upscale for side in wide.shape)
    if restored.shape != expected_shape:
        raise InputError(
            f"honesty: expected a result of {expected_shape} pixels for this picture, found {restored.shape}."
        )
    check_size(restored.shape)
    if physics.camera is not None:
        check_maps(physics.camera, wide.shape)
    band = {"cutoff_per_px": physics.reach_per_px, "upscale": physics.band_upscale}
    measured, prior = passband.split(restored, **band)
    inner = inside(wide.shape, physics)
    fits = [fitted(restored, wide, physics, width, inner, full) for width in physics.widths]
    chi, seen, variance, noise, gain, offset, width = min(fits, key=lambda fit: fit[0])
    _, chi_map = passband.chi_square(seen, wide, variance, window_px=WINDOW_PX)
    squirrel = error_map(restored, wide, physics.upscale)
    rse, sigma = (float(np.sqrt(np.mean(part[inner]))) for part in (squirrel.map**2, variance))
    spread = float(np.subtract(*np.percentile(wide, (99.9, 0.1))))
    numbers = {
        "null_space_energy": passband.null_space_energy(restored, **band),
        "chi_square": chi,
        "chi_square_limit": passband.chi_square_limit(wide[inner].size, tolerance=TOLERANCE),
        "rse": rse,
        "rse_share": rse / max(spread, 1e-12),
        "rse_over_noise": rse / sigma,
        "rsp": squirrel.rsp,
        "rsp_expected": float(np.sqrt(max(0.0, 1.0 - float(np.mean(variance)) / max(float(wide.var()), 1e-30)))),
        **dict(zip(("detail", "detail_error"), detail_of(wide, float(np.mean(variance)), physics))),
        "gain": float(gain),
        "offset": float(offset),
        "blur_scale": width,
    }
    if noise == UNKNOWN:  # its variance holds the structure too: nothing could disagree with it
        numbers = {name: value for name, value in numbers.items() if name not in OF_NOISE}
    elif is_blank(wide, physics):
        # Nothing can be fitted to noise: the gain is that of the pictures that the model was judged on.
        gain = 1.0 if physics.same_unit else float((judged or {}).get("gain") or np.nan)
        found = (
            false_structures(restored, float(np.median(restored)), 3.0 * sigma / gain, physics.fine_nm)
            if gain > 0
            else None
        )
        numbers["false_structures_per_um2"] = np.nan if found is None else found.per_um2
        numbers["blank"] = 1.0
    floor = sigma**2 / max(numbers["gain"], 1e-6) ** 2
    maps = {
        "measured": measured,
        "prior": prior,
        "null_space": passband.null_space_map(restored, **band, window_px=WINDOW_PX * physics.upscale | 1, floor=floor),
        "chi_square": chi_map,
        "error": squirrel.map,
        "raw": wide,
        "seen": seen,
    }
    maps = {name: np.asarray(values, np.float32) for name, values in maps.items()}
    numbers = {name: float(value) for name, value in numbers.items() if np.isfinite(value)}
    return Honesty(maps, numbers, flags_of(numbers, judged or {}, physics, pixel_nm), noise)


def fitted(
    restored: np.ndarray,
    wide: np.ndarray,
    physics: Physics,
    width: float,
    inner: tuple[slice, slice],
    full: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray, str, float, float, float]:
    """(chi-square, result through the optics, variance, where that comes from, gain, offset, width) for one width of the spot.

    Pixels that are `full` say only that there was more light than the camera counts: they take no part.
    """
    seen = physics.through_optics(restored, width)
    gain, offset = (1.0, 0.0) if physics.same_unit else passband.fit_affine(seen, wide)
    seen = without_haze(gain * seen + offset, wide, physics)
    variance, noise = physics.variance(seen, wide)
    seen = np.where(full, wide, seen)
    chi, _ = passband.chi_square(seen[inner], wide[inner], variance[inner], window_px=WINDOW_PX)
    chi /= max(1.0 - float(full[inner].mean()), 1e-3)
    return chi, seen, variance, noise, gain, offset, width


def without_haze(seen: np.ndarray, wide: np.ndarray, physics: Physics) -> np.ndarray:
    """A result through the optics, with what differs from the raw picture on the scale of the haze taken from that.

    Haze comes from far beyond the border of the picture, which no result can know; finer differences stay.
    """
    from scipy.ndimage import gaussian_filter

    optics = physics.imaging.optics
    if not float(optics.haze) > 0:
        return seen
    return seen + gaussian_filter(wide - seen, 0.5 * float(optics.haze_nm / optics.pixel_nm), mode="reflect")


def is_blank(wide: np.ndarray, physics: Physics) -> bool:
    """Whether a picture holds nothing but noise: no spot of the optics' size, anywhere, stands out by `FAINTEST` deviations."""
    from scipy.ndimage import gaussian_filter

    level = np.full_like(wide, np.median(wide))
    residual = (wide - level) / np.sqrt(physics.variance(level, wide)[0])
    sigma_px = max(0.21 / (0.5 * float(physics.imaging.optics.cutoff_per_nm * physics.imaging.optics.pixel_nm)), 0.7)
    # White noise of variance 1 comes out of the filter with a standard deviation of 1 / (2 sigma sqrt(pi)).
    matched = gaussian_filter(residual, sigma_px, mode="reflect") * (2 * sigma_px * math.sqrt(math.pi))
    return bool(np.abs(matched).max() < FAINTEST)


def check_size(shape: tuple[int, ...]) -> None:
    """InputError for a result (sH, sW) that is too large for one spectrum."""
    if max(shape) > LARGEST_PX:
        raise InputError(
            f"honesty: expected at most {LARGEST_PX} pixels a side of the result, found {tuple(shape)}; crop the picture."
        )


def inside(shape: tuple[int, int], physics: Physics) -> tuple[slice, slice]:
    """The part of a picture that no light from beyond its border reaches, as far as the result cannot know of it."""
    optics = physics.imaging.optics
    border = min(math.ceil(BORDER_SPACINGS / float(optics.cutoff_per_nm * optics.pixel_nm)), min(shape) // 4)
    return slice(border, shape[0] - border), slice(border, shape[1] - border)


def detail_of(wide: np.ndarray, noise: float, physics: Physics) -> tuple[float, float]:
    """How much of a picture's power lies near the cut-off, and the standard error that noise gives it.

    Mean power between 0.5 and 0.8 of the cut-off of the optics over that between 0.1 and 0.4, each with the noise taken off: a
    wider spot lowers it, and so does a coarser scene. A result can agree with a blurred picture and be blurred itself;
    chi-square does not see that. NaN where the picture holds nothing but noise.
    """
    from bioflax.metrics import radial_power

    if min(wide.shape) < LEAST_SPECTRUM_PX:
        return float("nan"), float("nan")
    frequency, power = radial_power(wide, window="hann")
    cutoff = float(physics.imaging.cutoff_per_px) * physics.upscale  # cycles per camera pixel
    bands = [(frequency >= low * cutoff) & (frequency < high * cutoff) for low, high in (FINE_BAND, COARSE_BAND)]
    if not all(band.any() for band in bands):
        return float("nan"), float("nan")
    fine, coarse = (float(power[band].mean()) - noise for band in bands)
    # One frequency in eight is independent: half are conjugates of others, and the window correlates neighbours.
    counts = [np.pi / 8 * cutoff**2 * wide.size * (high**2 - low**2) for low, high in (FINE_BAND, COARSE_BAND)]
    errors = [
        math.sqrt((noise**2 + 2 * noise * max(signal, 0.0)) / max(count, 0.5))
        for signal, count in zip((fine, coarse), counts)
    ]
    if not coarse > max(3 * noise / math.sqrt(max(counts[1], 0.5)), 1e-12):  # nothing but noise has no detail
        return float("nan"), float("nan")
    return fine / coarse, math.hypot(errors[0], errors[1] * fine / coarse) / coarse


def flags_of(
    numbers: dict[str, float], judged: dict[str, Any], physics: Physics, pixel_nm: float | None = None
) -> list[str]:
    """What speaks against a result, in words; `judged` has the model's own numbers."""
    flags = []
    if numbers.get("chi_square", 0.0) > numbers.get("chi_square_limit", math.inf):
        flags.append(
            f"The result does not agree with the raw data: chi-square {numbers['chi_square']:.2f}, at most "
            f"{numbers['chi_square_limit']:.2f} can be noise. Wrong spot, wrong pixel size, or structures that are not there."
        )
    known = judged.get("null_space_energy")
    if known and numbers["null_space_energy"] > max(PRIOR_GROWTH * known, LEAST_PRIOR):
        flags.append(
            f"More of it is prior than on the data the model was judged on: {100 * numbers['null_space_energy']:.1f} % of the "
            f"contrast lies beyond what was measured, there {100 * known:.1f} %."
        )
    known = judged.get("rse_over_noise")
    if known and numbers.get("rse_over_noise", 0.0) > ERROR_GROWTH * known:
        flags.append(
            f"The error towards the raw picture (RSE) is {numbers['rse_over_noise']:.2f} times the noise; on the data that the "
            f"model was judged on it was {known:.2f} times."
        )
    known = judged.get("detail")
    if known and "detail" in numbers and numbers["detail"] + 3 * numbers["detail_error"] < LEAST_DETAIL * known:
        flags.append(
            f"The raw picture has {100 * max(numbers['detail'], 0.0) / known:.0f} % of the fine detail that the model was judged "
            "on: a wider spot (defocus, aberration, another NA) or a coarser scene."
        )
    blank, expected = numbers.get("blank", 0.0) > 0, numbers.get("rsp_expected", 0.0)
    if not blank and expected > 0 and numbers["rsp"] < LEAST_RSP * expected:
        flags.append(
            f"The result correlates weakly with the raw picture: RSP {numbers['rsp']:.2f}, the noise allows {expected:.2f}."
        )
    if blank:
        rate = numbers.get("false_structures_per_um2")
        shown = {None: "how much of the result is false is not known", 0.0: "the result shows nothing"}
        found = shown.get(rate, f"{rate or 0:.3g} structures per square micrometre stand in the result")
        flags.append(f"The raw picture holds nothing but noise; {found}.")
    here = pixel_nm if pixel_nm is not None else float(physics.imaging.optics.pixel_nm)
    trained = physics.trained_pixel_nm or float(physics.imaging.optics.pixel_nm)
    if abs(here / trained - 1) > PIXEL_TOLERANCE:
        flags.append(
            f"The camera pixel is {here:.4g} nm, the model was trained for {trained:.4g} nm: wrong scale for this model."
        )
    return flags
