"""The pre-flight inspection: what is in these images, before anyone trains on them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import ImageFile, image_stem, list_images, open_image
from bioflax.metrics import radial_power
from bioflax.preflight import advice, defects, noise, stability
from bioflax.preflight.captures import NUMBERED, Group, Reader, dissolve, group_frames, open_input

SCHEMA = 1
CAPTURES = 8  # of one scene are enough for its noise
WINDOW = 1024  # pixels a side, from the middle, for noise and bad pixels
PLANES = 16
CROP = 192  # pixels a side, for the pictures
READ_LIMIT_BYTES = 4 * 2**30  # frames beyond it are left out of the pass for duplicates, blanks and saturation

Record = dict[str, Any]


def inspect(
    input: str | os.PathLike | np.ndarray,
    axes: str | None = None,
    repeats: str | None = "auto",
    *,
    target: str | os.PathLike | None = None,
    max_groups: int = 24,
) -> Record:
    """Measures the noise and the defects of a set of images, and says which training scheme fits.

    Args:
        input: a file, a folder, a glob, or an array (then `axes` is needed).
        axes: letters of the axes where the files do not name them.
        repeats: which frames may show one scene: `auto` (the T axis; files whose names differ in their last number),
            `T`, `S`, a regular expression on the file stem, or None. The claim is tested: scenes are told apart.
        target: folder of clean images, if there is one.
        max_groups: scenes whose noise is measured, spread evenly over the input; duplicates are sought in all.

    Returns:
        The keys of `preflight.json` (see `write`) and `arrays`: named arrays for the pictures.

    Raises:
        InputError: nothing to read, an unreadable image, mixed dtypes, or a target that does not fit.
    """
    if max_groups < 1:
        raise InputError(f"max_groups: expected at least 1, found {max_groups}.")
    files = open_input(input, axes)
    has_target = target is not None and check_targets(files, target)
    reader = Reader()
    groups = group_frames(files, repeats)
    statistics, skipped = survey(groups, reader)
    repeated = {name for names in statistics.duplicates for name in names[1:]}
    left_out = repeated | set(statistics.blank)
    scenes = split_scenes(spread(groups, max_groups), left_out, reader)
    limits = statistics.floor()[0], statistics.saturation(files[0].dtype)[0]
    records, arrays, suspects = [], {}, []
    for group in spread([g for g in scenes if any(f.name not in left_out for f in g.frames)], max_groups):
        record, pictures, bad = measure(group, left_out, limits, reader)
        advice.settle_scheme(record, has_target)
        arrays.update({f"{name}_{len(records)}": value for name, value in pictures.items()})
        records.append(record)
        suspects.append(bad)
    defects.settle(records, suspects)
    report = summarise(files, groups, statistics, records)
    report["input"] = "array" if isinstance(input, np.ndarray) else str(input)
    scheme, settings, reasons = advice.overall(records)
    report |= {"recommended_scheme": scheme, "recommended_settings": settings, "reasons": reasons}
    report["warnings"] = [w for record in records for w in advice.group_warnings(record)] + advice.input_warnings(
        report
    )
    report["notes"] = advice.remarks(report)
    if skipped:
        report["notes"].append(
            f"{skipped} frames were not searched for duplicates, blanks and saturation (size limit)."
        )
    if len(scenes) > len(records) + len(statistics.blank):
        report["notes"].append(
            f"The noise of {len(records)} of {len(scenes)} scenes was measured, spread over the input."
        )
    return {**report, "arrays": arrays}


def write(report: Record, run_dir: str | os.PathLike) -> Path:
    """Writes `preflight.json` and `preflight.npz` (the arrays of the pictures) aside, then renames them.

    Returns:
        The path of the JSON file.
    """
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / ".preflight.npz.part"
    with aside.open("wb") as stream:
        np.savez_compressed(stream, **report["arrays"])
    aside.replace(folder / "preflight.npz")
    aside = folder / ".preflight.json.part"
    facts = {key: value for key, value in report.items() if key != "arrays"}
    aside.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return aside.replace(folder / "preflight.json")


def survey(groups: Sequence[Group], reader: Reader) -> tuple[defects.FrameStatistics, int]:
    """One pass over all frames, up to `READ_LIMIT_BYTES`; returns the statistics and the number of frames left out."""
    statistics, read, skipped = defects.FrameStatistics(), 0, 0
    for frame in (frame for group in groups for frame in group.frames):
        size = int(np.prod(frame.shape)) * frame.file.dtype.itemsize
        if read + size > READ_LIMIT_BYTES:
            skipped += 1
            continue
        read += size
        statistics.add(frame.name, reader(frame))
    return statistics, skipped


def split_scenes(groups: Sequence[Group], left_out: set[str], reader: Reader) -> list[Group]:
    """Takes apart the groups whose frames turn out to show different scenes."""
    scenes: list[Group] = []
    for group in groups:
        captures = load(group, left_out, reader)
        static = len(captures) < 2 or stability.scene_change(captures) <= stability.ONE_SCENE
        scenes.extend([group] if static else dissolve(group))
    return scenes


def load(group: Group, left_out: set[str], reader: Reader) -> np.ndarray:
    """The first distinct captures of a group, their middle window: (R, Z, Y, X) float32; empty if all are left out."""
    frames = [frame for frame in group.frames if frame.name not in left_out][:CAPTURES]
    captures = []
    for frame in frames:
        middle = tuple(
            slice(max(0, (n - most) // 2), max(0, (n - most) // 2) + most)
            for n, most in zip(frame.shape, (PLANES, WINDOW, WINDOW))
        )
        captures.append(reader(frame, middle).astype(np.float32))
    return np.stack(captures) if captures else np.empty((0, 1, 1, 1), np.float32)


def measure(
    group: Group, left_out: set[str], limits: tuple[float | None, float | None], reader: Reader
) -> tuple[Record, dict[str, np.ndarray], defects.BadPixels | None]:
    """Noise, stability and bad pixels of one scene; returns its record, the arrays of its pictures and suspects."""
    captures = load(group, left_out, reader)
    clipped = (-np.inf if limits[0] is None else limits[0], np.inf if limits[1] is None else limits[1])
    paired = len(captures) > 1
    found = noise.from_repeats(captures, clipped=clipped) if paired else noise.from_single(captures[0], clipped=clipped)
    distinct = sum(frame.name not in left_out for frame in group.frames)
    record: Record = {
        "name": group.name,
        "captures": len(group.frames),
        "distinct": distinct,
        "repeats_valid": paired and found is not None,
        "scene_change": stability.scene_change(captures) if paired else None,
        "temporal_correlation": stability.temporal_correlation(captures) if paired else None,
        "brightness_range": stability.brightness_range(captures),
        "frc_resolution_px": stability.shared_resolution_px(captures) if paired else None,
        "pixels": int(captures[0].size),
        "shape": list(captures.shape[1:]),
        "method": None if found is None else found.method,
    }
    record |= noise_record(captures, found)
    bad = None if found is None or min(captures.shape[-2:]) < 3 else defects.find_bad_pixels(captures, found)
    return record, pictures_of(captures, found), bad


def noise_record(captures: np.ndarray, found: noise.Noise | None) -> Record:
    """The noise of one scene in plain numbers; all None where it could not be measured."""
    if found is None:
        names = "gain_adu_per_photon intercept_adu2 straightness dark_level_adu read_noise noise_std psnr_db skewness"
        return dict.fromkeys([*names.split(), "excess_kurtosis"]) | {
            "noise_correlation": {},
            "blind_spot_leak": 0.0,
            "correlated_axes": "",
        }
    mean = captures.mean(0)
    dark = float(np.quantile(noise.tiles(mean, min(4, *mean.shape[-2:])).mean((-1, -2)), 0.001))
    leak = found.blind_spot_leak()
    return {
        "gain_adu_per_photon": found.gain_adu_per_photon,
        "intercept_adu2": found.intercept_adu2,
        "straightness": found.straightness(),
        "dark_level_adu": dark,
        "read_noise": float(np.sqrt(found.variance(dark))),
        "noise_std": float(np.sqrt(found.variance(mean).mean())),
        "psnr_db": stability.expected_psnr_db(captures, found),
        "skewness": found.skewness,
        "excess_kurtosis": found.excess_kurtosis,
        "noise_correlation": {axis: list(lags) for axis, lags in found.correlation.items()},
        "blind_spot_leak": leak,
        "correlated_axes": advice.correlated_axes(found.correlation, leak),
    }


def pictures_of(captures: np.ndarray, found: noise.Noise | None) -> dict[str, np.ndarray]:
    """A crop and its noise, the variance-mean points, the lag map and the power spectra of signal and noise."""
    plane = captures.shape[1] // 2
    image = captures[:, plane]
    side = min(CROP, *image.shape[-2:])
    contrast = noise.tiles(image[0], side).std((-1, -2))
    row, column = np.unravel_index(np.argmax(contrast), contrast.shape)
    window = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
    arrays = {"crop": image[0][window]}
    if found is None:
        return arrays
    if len(image) > 1:
        matched = noise.match_brightness(image[:2, None])[:, 0]
        residual = (matched[1] - matched[0]) / np.sqrt(2.0)
        arrays["noise"] = residual[window].astype(np.float32)
        if min(residual.shape) >= 8:
            frequency, power = radial_power(residual, window="hann")
            arrays["spectrum"] = np.stack([frequency, radial_power(image[0], window="hann")[1], power])
    elif min(image.shape[-2:]) >= 8:
        frequency, power = radial_power(image[0], window="hann")
        arrays["spectrum"] = np.stack([frequency, power])
    arrays["curve"] = np.stack([found.means, found.variances])
    arrays["lags"] = found.lag_map
    return arrays


def summarise(
    files: Sequence[ImageFile], groups: Sequence[Group], statistics: defects.FrameStatistics, records: list[Record]
) -> Record:
    """The keys that describe the input as a whole; noise numbers are medians over the measured scenes."""
    first = files[0]
    level, fraction = statistics.saturation(first.dtype)
    floor_level, floor_fraction = statistics.floor()
    measured = [record for record in records if record["method"]]
    axes = list(dict.fromkeys(axis for record in measured for axis in record["noise_correlation"]))
    shapes = sorted({file.shape for file in files})
    return {
        "schema": SCHEMA,
        "files": len(files),
        "frames": sum(len(group.frames) for group in groups),
        "axes": first.axes,
        "shape": list(shapes[0]) if len(shapes) == 1 else [list(shape) for shape in shapes],
        "dtype": str(first.dtype),
        "pixel_nm": first.pixel_nm,
        "gain_adu_per_photon": median(record["gain_adu_per_photon"] for record in measured),
        "read_noise": median(record["read_noise"] for record in measured),
        "noise_correlation": {
            axis: np.median(
                [r["noise_correlation"][axis] for r in measured if axis in r["noise_correlation"]], 0
            ).tolist()
            for axis in axes
        },
        "duplicates": statistics.duplicates,
        "blank": statistics.blank,
        "saturated_fraction": fraction,
        "saturation_level": level,
        "floor_fraction": floor_fraction,
        "floor_level": floor_level,
        "grey_levels": len(statistics.levels),
        "hot_pixels": sum(record["hot_pixels"] for record in records),
        "dead_pixels": sum(record["dead_pixels"] for record in records),
        "groups": records,
    }


def median(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def spread(items: Sequence, most: int) -> list:
    """At most so many items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def check_targets(files: Sequence[ImageFile], target: str | os.PathLike) -> bool:
    """True if every input has a target of its name (less the number of the capture) and plane size."""
    found = list_images(target)
    targets = {capture_free(path): path for path in found} | {image_stem(path): path for path in found}
    for file in files:
        path = targets.get(image_stem(file.path)) or targets.get(capture_free(file.path))
        if path is None:
            known = advice.shorten([path.name for path in found])
            raise InputError(f"target: no clean image for {file.path.name}; found {known}. Give both the same stem.")
        clean = open_image(path, axes=file.axes if len(file.axes) > 2 else None)
        sides = [tuple(dict(zip(f.axes, f.shape))[axis] for axis in "YX") for f in (file, clean)]
        if sides[0] != sides[1]:
            raise InputError(
                f"target: {path.name} is {sides[1]} px, {file.path.name} is {sides[0]}; they must be equal."
            )
    return True


def capture_free(path: Path) -> str:
    """The stem without the number of the capture."""
    return re.sub(NUMBERED, "", image_stem(path))
