"""From a folder of files, or from arrays, to fields of view with their repeats and targets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from bioflax.data.image_set import Capture, Field, ImageSet, magnify
from bioflax.data.matching import find_targets, group_files, shorten
from bioflax.errors import InputError
from bioflax.io import ImageFile, image_from_array, list_images, open_image
from bioflax.optics.imaging import check_upscale

_PROBE = 64  # pixels a side that are compared before a whole capture is


def open_folder(
    folder: str | Path,
    targets: str | Path | None = None,
    *,
    axes: str | None = None,
    target_axes: str | None = None,
    repeats: str | None = None,
    repeat_axis: str | None = None,
    spatial_dims: int = 2,
    frames_axis: str | None = None,
    upscale: int | None = 1,
) -> ImageSet:
    """Opens the images of a folder as fields of view, without keeping their pixels.

    Axes that are neither space nor channel are cut into fields (also Z, where `spatial_dims` is 2), except
    `repeat_axis`.

    Args:
        folder: noisy images: a folder, a file or a glob.
        targets: clean images; each belongs to the input of the same stem (without the part `repeats` matches).
        axes: axes of the noisy files, where their metadata do not say them.
        target_axes: axes of the targets; None takes `axes` without `repeat_axis` and `frames_axis`.
        repeats: regular expression of the part of a stem that numbers repeated captures of a field, such as
            `_(\\d+)$`.
        repeat_axis: axis along which a file repeats captures of a field, such as `T`.
        spatial_dims: 2 or 3.
        frames_axis: axis of the raw frames of a field, such as `T`, which become its channels; the target has none.
        upscale: how many times larger the targets are along Y and X; None takes it from their sizes.

    Returns:
        The fields in natural order. Captures of a field that are equal bit for bit are dropped with a warning;
        `files` keeps them.

    Raises:
        InputError: no images, captures of a field of different size, a missing target or one of another size,
            different numbers of channels, or options that fit no file.
    """
    files = tuple(list_images(folder))
    groups = group_files(files, repeats)
    found = find_targets(groups, list_images(targets)) if targets is not None else {}
    if target_axes is None and axes is not None:
        others = {(name or "").upper() for name in (repeat_axis, frames_axis)}
        target_axes = "".join(letter for letter in axes if letter.upper() not in others)
    items: list[Field] = []
    for source, paths in groups.items():
        target = open_image(found[source], target_axes) if source in found else None
        opened = [open_image(path, axes) for path in paths]
        items += _cut(opened, target, source, repeat_axis, spatial_dims, frames_axis, upscale)
    return _assemble(items, files, spatial_dims)


def from_arrays(
    images: Sequence[np.ndarray],
    axes: str,
    targets: Sequence[np.ndarray] | None = None,
    *,
    repeat_axis: str | None = None,
    spatial_dims: int = 2,
) -> ImageSet:
    """The same from arrays in memory.

    Args:
        images: noisy images, each with the axes `axes`.
        axes: letters of `TSZCYX`.
        targets: clean images, with `axes` without `repeat_axis`.
        repeat_axis: axis of repeated captures.
        spatial_dims: 2 or 3.

    Returns:
        The fields.

    Raises:
        InputError: as `open_folder`.
    """
    if not len(images):
        raise InputError("images: expected at least one array, found none")
    if targets is not None and len(targets) != len(images):
        raise InputError(f"targets: expected one for each of the {len(images)} images, found {len(targets)}")
    clean_axes = axes.upper().replace((repeat_axis or " ").upper(), "")
    items: list[Field] = []
    for number, image in enumerate(images):
        name = f"array{number}"
        clean = None if targets is None else image_from_array(targets[number], clean_axes, name=f"target of {name}")
        items += _cut([image_from_array(image, axes, name=name)], clean, name, repeat_axis, spatial_dims)
    return _assemble(items, (), spatial_dims)


def _cut(
    files: Sequence[ImageFile],
    target: ImageFile | None,
    source: str,
    repeat_axis: str | None,
    spatial_dims: int,
    frames_axis: str | None = None,
    upscale: int | None = 1,
) -> list[Field]:
    """Cuts the files of one group along their non-spatial axes."""
    if spatial_dims not in (2, 3):
        raise InputError(f"spatial_dims: expected 2 or 3, found {spatial_dims!r}")
    spatial = "YX" if spatial_dims == 2 else "ZYX"
    first = files[0]
    for other in files[1:]:
        if (other.axes, other.shape) != (first.axes, first.shape):
            raise InputError(
                f"{other.path}: captures of one field must have one size, found {other.axes} {other.shape} "
                f"beside {first.axes} {first.shape} of {first.path.name}"
            )
    missing = [axis for axis in spatial if axis not in first.axes]
    if missing:
        raise InputError(f"{first.path}: 3-D needs the axes ZYX, found {first.axes}; give axes=ZYX or spatial_dims=2")
    planes = _check_frames(frames_axis, first, spatial)
    repeat = "" if repeat_axis is None else repeat_axis.upper()
    if repeat and (len(repeat) != 1 or repeat not in first.axes or repeat in spatial + planes):
        raise InputError(
            f"repeat_axis: expected one of the other axes of {first.path} ({first.axes}), found {repeat_axis}"
        )
    lengths = dict(zip(first.axes, first.shape, strict=True))
    cut = [axis for axis in first.axes if axis not in spatial + planes + repeat]
    same = frames_axis is None and upscale == 1
    if target is not None and same:
        _check_target(target, first, cut, spatial)
    elif target is not None:
        upscale = _check_fine_target(target, first, cut, upscale)
    ends = [lengths[axis] for axis in spatial]
    box = tuple((0, end) for end in ends)
    fine = tuple((0, end) for end in magnify(ends, upscale or 1))
    fields = []
    for place in product(*(range(lengths[axis]) for axis in cut)):
        fixed = tuple(zip(cut, place, strict=True))
        shown = ",".join(f"{axis.lower()}={at}" for axis, at in fixed if lengths[axis] > 1)
        turns = [((repeat, at),) for at in range(lengths[repeat])] if repeat else [()]
        repeats = tuple(Capture(file, fixed + turn, spatial, box, planes) for file in files for turn in turns)
        clean = None if target is None else Capture(target, fixed, spatial, fine)
        name = f"{source}[{shown}]" if shown else source
        fields.append(Field(name, source, repeats, clean, upscale=upscale or 1))
    return fields


def _check_frames(frames_axis: str | None, image: ImageFile, spatial: str) -> str:
    """The axis that becomes the channels."""
    if frames_axis is None:
        return "C"
    axis = frames_axis.upper()
    if axis not in image.axes or axis in spatial or len(axis) != 1:
        raise InputError(
            f"frames_axis: expected one of the other axes of {image.path} ({image.axes}), found {frames_axis}; "
            "where the file does not name them, give axes=TYX and frames_axis=T"
        )
    return axis


def _check_target(target: ImageFile, image: ImageFile, cut: Sequence[str], spatial: str) -> None:
    """Raises unless the target has the size of its input along space, channel and the axes that are cut."""
    expected = {
        axis: length for axis, length in zip(image.axes, image.shape, strict=True) if axis in [*cut, *spatial, "C"]
    }
    found = dict(zip(target.axes, target.shape, strict=True))
    if expected != found:
        raise InputError(
            f"{target.path}: the target must have the size of its input {image.path.name}: expected "
            f"{''.join(expected)} {tuple(expected.values())}, found {target.axes} {target.shape}"
        )


def _check_fine_target(target: ImageFile, image: ImageFile, cut: Sequence[str], upscale: int | None) -> int:
    """How many times larger the target is along Y and X; raises unless that is one whole number, and the one given."""
    coarse, fine = (dict(zip(file.axes, file.shape, strict=True)) for file in (image, target))
    sizes = tuple(tuple(lengths[axis] for axis in "YX") for lengths in (coarse, fine))
    who = f"{target.path}: the target of {image.path.name} {sizes[0]}"
    expected = {axis: coarse[axis] for axis in cut if coarse[axis] > 1}
    found = {axis: length for axis, length in fine.items() if axis not in "YX" and length > 1}
    if expected != found:
        wanted = "".join(expected) + "YX"
        raise InputError(f"{who} must be one image per field, {wanted}; found {target.axes} {target.shape}")
    times = [length / part for length, part in zip(sizes[1], sizes[0], strict=True)]
    if times[0] != times[1] or times[0] != int(times[0]):
        raise InputError(
            f"{who} must be a whole number of times larger, the same along Y and X; found {sizes[1]}, "
            f"{times[0]:.4g} and {times[1]:.4g} times; crop both to the same field"
        )
    check_upscale(f"{target.path}: upscale", int(times[0]))
    if upscale is not None and int(times[0]) != upscale:
        raise InputError(
            f"{who} must be {upscale} times larger, as upscale says; found {sizes[1]}, {int(times[0])} times"
        )
    return int(times[0])


def _assemble(items: Sequence[Field], files: tuple[Path, ...], spatial_dims: int) -> ImageSet:
    """Checks the fields together and drops duplicated captures."""
    first = items[0].repeats[0]
    for field in items:
        if field.repeats[0].channels != first.channels:
            kind = "channels" if first.planes == "C" else "frames"
            raise InputError(
                f"{field.repeats[0].file.path}: all images must have the same number of {kind}, found "
                f"{field.repeats[0].channels} beside {first.channels} of {first.file.path.name}"
            )
        if field.upscale != items[0].upscale:
            raise InputError(
                f"{field.target.file.path}: all targets must be as many times larger than their images, found "
                f"{field.upscale} beside {items[0].upscale} of {items[0].target.file.path.name}"
            )
    kept, duplicates = [], []
    for field in items:
        repeats, pairs = _drop_duplicates(field.repeats)
        kept.append(replace(field, repeats=repeats))
        duplicates += pairs
    if duplicates:
        listed = shorten([f"{dropped} = {original}" for original, dropped in duplicates])
        warnings.warn(
            f"captures that are equal bit for bit are no independent repeats and are left out: {listed}", stacklevel=3
        )
    return ImageSet(tuple(kept), spatial_dims, first.channels, files, tuple(duplicates), first.file.pixel_nm)


def _drop_duplicates(repeats: tuple[Capture, ...]) -> tuple[tuple[Capture, ...], list[tuple[str, str]]]:
    """Compares the middle of the captures first, and whole ones only where that is equal."""
    if len(repeats) < 2:
        return repeats, []
    size = repeats[0].size
    probe = tuple(min(_PROBE, length) for length in size)
    origin = tuple((length - part) // 2 for length, part in zip(size, probe, strict=True))
    seen: dict[bytes, list[Capture]] = {}
    kept, duplicates = [], []
    for capture in repeats:
        twins = seen.setdefault(capture.read_stored(origin, probe).tobytes(), [])
        twin = next((one for one in twins if np.array_equal(*(_stored(each) for each in (one, capture)))), None)
        if twin is None:
            twins.append(capture)
            kept.append(capture)
        else:
            duplicates.append((_label(twin), _label(capture)))
    return tuple(kept), duplicates


def _stored(capture: Capture) -> np.ndarray:
    return capture.read_stored((0,) * len(capture.size), capture.size)


def _label(capture: Capture) -> str:
    place = ",".join(f"{axis.lower()}={at}" for axis, at in capture.fixed)
    return f"{capture.file.path.name}[{place}]" if place else capture.file.path.name
