"""From what was measured to what to do: warnings, remarks, and the training scheme that fits, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CORRELATED_LAG = 0.25  # autocorrelation at any lag; confocal and two-photon detectors show 0.05 to 0.15
CORRELATED_LEAK = 0.2  # share of the noise that neighbours give away: 1 dB of it would survive a blind spot
SINGLE_LAG = 0.5  # what fine structure hardly reaches in a single image: only beyond it is the scheme changed
REACH_LAG = 0.1  # a structured mask hides every lag above this
DEPENDENT = 0.3  # correlation of the noise of neighbouring captures
MOVING = 0.1  # share of the scene that changes between captures
SATURATED = 0.01
STRAIGHT = 0.6  # R^2 of the variance-mean line
BAD_PIXELS = 1e-5  # share of certain hot or dead pixels worth a warning

Record = dict[str, Any]


def correlated_axes(correlation: dict[str, Sequence[float]], leak: float) -> str:
    """Letters of the axes along which noise is correlated; empty for noise that a blind spot can remove."""
    axes = "".join(axis for axis, lags in correlation.items() if max(map(abs, lags)) > CORRELATED_LAG)
    if not axes and leak > CORRELATED_LEAK:
        axes = max(correlation, key=lambda axis: abs(correlation[axis][0]))
    return "".join(axis for axis in "XYZ" if axis in axes)


def reach_px(correlation: dict[str, Sequence[float]], axes: str) -> int:
    """The first lag after which the autocorrelation of the named axes stays below `REACH_LAG`."""
    lags = [lag for axis in axes for lag, value in enumerate(correlation[axis], 1) if abs(value) > REACH_LAG]
    return max(lags, default=0)


def settle_scheme(group: Record, has_target: bool) -> None:
    """Adds `recommended_scheme`, `recommended_settings` and `reasons` to the record of a group, in place."""
    axes, reasons = group["correlated_axes"], []
    independent = (group["temporal_correlation"] or 0.0) <= DEPENDENT
    usable_pairs = group["repeats_valid"] and independent and (group["scene_change"] or 0.0) <= MOVING
    structured = structured_mask(group)
    if has_target:
        scheme, settings = "supervised", {}
        reasons.append("clean targets are there: nothing teaches a network better")
    elif usable_pairs:
        scheme, settings = "noise2noise", {}
        reasons.append(f"{group['distinct']} distinct captures show one static scene")
        if axes:
            reasons.append("correlated noise does no harm here as long as it is independent from capture to capture")
    elif axes and not doubtful(group):
        scheme, settings = "structured_noise2void", structured
        reasons.append(f"no usable repeats, and the noise is correlated along {' and '.join(axes)}")
    else:
        scheme, settings = "noise2void", {}
        reasons.append("no usable repeats and no target" if group["captures"] > 1 else "single captures and no target")
        white = "the noise of neighbouring pixels is independent, as a blind spot needs"
        doubt = f"what neighbouring pixels share along {' and '.join(axes)} may be fine structure; repeats would tell"
        reasons.append(doubt if axes else white)
    if group["method"] is None:
        reasons.append("the image is too small or too flat to measure its noise, so this is a guess")
    group.update(recommended_scheme=scheme, recommended_settings=settings, reasons=reasons)


def doubtful(group: Record) -> bool:
    """True where the correlation was seen in a single image and is no stronger than fine structure makes it."""
    lags = [abs(group["noise_correlation"][axis][0]) for axis in group["correlated_axes"]]
    return group["method"] == "single image" and max(lags, default=0.0) < SINGLE_LAG


def structured_mask(group: Record) -> Record:
    """Settings of the blind spot that hides the correlated neighbours too; empty for white noise."""
    axes = group["correlated_axes"]
    if not axes:
        return {}
    span = 2 * max(reach_px(group["noise_correlation"], axes), 1) + 1
    kind = "block" if len(axes) > 1 else "cross"
    return {"structure_axis": axes, "structure_span": span, "structure_kind": kind, "radius": max(5, span // 2 + 2)}


def group_warnings(group: Record) -> list[str]:
    """What must be known before training on this group."""
    name, found = group["name"], []
    if group["correlated_axes"]:
        lags = ", ".join(f"{axis} {group['noise_correlation'][axis][0]:.2f}" for axis in group["correlated_axes"])
        mask = structured_mask(group)
        estimated = group["method"] == "single image"
        verb = "may be correlated, or the scene has fine structure" if estimated else "is correlated"
        found.append(
            f"{name}: the noise of neighbouring pixels {verb} (lag 1: {lags}; neighbours give away "
            f"{group['blind_spot_leak']:.0%} of it). Plain noise2void {'might' if estimated else 'would'} keep it as if "
            f"it were signal: use noise2noise, or noise2void with structure_axis={mask['structure_axis']} "
            f"structure_span={mask['structure_span']}."
        )
    if (group["temporal_correlation"] or 0.0) > DEPENDENT:
        found.append(
            f"{name}: the noise of neighbouring captures is correlated ({group['temporal_correlation']:.2f}), as after "
            "frame averaging, or the scene drifts. Do not pair neighbours for noise2noise."
        )
    if group["repeats_valid"] and (group["scene_change"] or 0.0) > MOVING:
        found.append(
            f"{name}: {group['scene_change']:.0%} of the scene changes between captures (motion, drift or bleaching); "
            "noise2noise would blur it."
        )
    if group["bad_pixels_certain"] and group["hot_pixels"] + group["dead_pixels"] > BAD_PIXELS * group["pixels"]:
        found.append(
            f"{name}: {group['hot_pixels']} hot and {group['dead_pixels']} dead pixels stand alone in every capture "
            "of several scenes; repeats do not remove them. Correct them with a camera map or a median of neighbours."
        )
    return found


def input_warnings(report: Record) -> list[str]:
    """What must be known whatever the noise: duplicates, blanks, saturation."""
    found = []
    for names in report["duplicates"]:
        found.append(
            f"{', '.join(names)}: the same capture, byte for byte. Noise2noise pairs, Fourier ring correlation and "
            "averages of them are invalid: keep one."
        )
    if report["blank"]:
        found.append(f"{shorten(report['blank'])}: blank (one value everywhere). Leave blank frames out.")
    if report["saturated_fraction"] > SATURATED:
        found.append(
            f"{report['saturated_fraction']:.1%} of all pixels are saturated at {report['saturation_level']:g}: their "
            "true value is lost and a denoiser cannot restore it. Expose less."
        )
    return found


def remarks(report: Record) -> list[str]:
    """What is worth knowing but needs no action."""
    found = []
    if 1e-5 < report["saturated_fraction"] <= SATURATED:
        found.append(
            f"{report['saturated_fraction']:.2%} of all pixels are at the top value {report['saturation_level']:g}."
        )
    if report["floor_fraction"] > 0.02:
        found.append(
            f"{report['floor_fraction']:.1%} of all pixels are at the lowest value {report['floor_level']:g}: where "
            "noise is cut off below, averages and networks settle above the true dark level."
        )
    if 0 < report["grey_levels"] < 64:
        found.append(f"Only {report['grey_levels']} grey levels are used: the noise is coarsely quantised.")
    if report["pixel_nm"] is None:
        found.append("The files state no pixel size.")
    drifting = [g for g in report["groups"] if g["brightness_range"] > 0.05]
    if drifting:
        most = max(drifting, key=lambda g: g["brightness_range"])
        found.append(
            f"Captures of one scene differ in brightness in {len(drifting)} of {len(report['groups'])} groups (by "
            f"{most['brightness_range']:.0%} in {most['name']}): bleaching, or a stretch image by image. "
            "Judge with SI-PSNR too."
        )
    bent = [g["name"] for g in report["groups"] if g["straightness"] is not None and g["straightness"] < STRAIGHT]
    if bent:
        found.append(
            f"{shorten(bent)}: the variance does not follow a straight line over the mean, so the values are no "
            "plain camera counts (a gamma, a filter, clipping) and gain and read noise are rough."
        )
    if any(g["gain_adu_per_photon"] is None and g["method"] for g in report["groups"]):
        found.append(
            "Where no gain is given, the noise does not grow with the signal: read noise dominates, or the image was "
            "processed."
        )
    return found


def overall(groups: list[Record]) -> tuple[str | None, Record, list[str]]:
    """The scheme for the whole input: one that suits every group that will be trained on.

    Returns:
        (scheme, settings, reasons); (None, {}, reasons) without a group to judge.
    """
    if not groups:
        return None, {}, ["every frame is blank"]
    schemes = [group["recommended_scheme"] for group in groups]
    paired = schemes.count("noise2noise")
    if "supervised" in schemes:
        return "supervised", {}, list(groups[0]["reasons"])
    if paired > len(groups) / 2:
        reasons = [f"{paired} of {len(groups)} groups hold at least two distinct captures of one static scene"]
        if any(group["correlated_axes"] for group in groups):
            reasons.append(
                "correlated noise does no harm to noise2noise as long as it is independent from capture to capture; it "
                "rules out plain noise2void for the groups warned of"
            )
        return "noise2noise", {}, reasons
    structured = [group for group in groups if group["recommended_scheme"] == "structured_noise2void"]
    if structured:
        widest = max(structured, key=lambda group: group["recommended_settings"]["structure_span"])
        reasons = [f"{len(structured)} of {len(groups)} groups without usable repeats have correlated noise"]
        return "structured_noise2void", dict(widest["recommended_settings"]), reasons
    return "noise2void", {}, list(groups[schemes.index("noise2void")]["reasons"])


def shorten(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
