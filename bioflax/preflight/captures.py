"""Which frames an input holds, and which of them may be repeats of one scene."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bioflax.errors import InputError
from bioflax.io import ImageFile, image_from_array, image_stem, list_images, open_image

NUMBERED = r"[ _.-]*(\d+)$"
SPATIAL = "ZYX"


@dataclass(frozen=True)
class Frame:
    """One picture or volume of a file: everything but Z, Y and X is fixed.

    Args:
        name: file name, with the index of each fixed axis, such as `movie.tif[T=3]`.
        file: where its pixels are.
        fixed: index of each axis that is not spatial.
    """

    name: str
    file: ImageFile
    fixed: dict[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X), Z = 1 for a plane."""
        lengths = dict(zip(self.file.axes, self.file.shape))
        return tuple(lengths.get(axis, 1) for axis in SPATIAL)

    def index(self, window: Sequence[slice]) -> tuple[slice | int, ...]:
        """Where a window (Z, Y, X) of this frame is in its file."""
        cut = dict(zip(SPATIAL, window))
        return tuple(
            self.fixed[axis] if axis in self.fixed else slice(*cut[axis].indices(n))
            for axis, n in zip(self.file.axes, self.file.shape)
        )


@dataclass(frozen=True)
class Group:
    """Frames that claim to show one scene; a group of one frame claims nothing."""

    name: str
    frames: tuple[Frame, ...]


@dataclass
class Reader:
    """Reads frames as (Z, Y, X); keeps the last file that can only be read whole."""

    path: Path | None = None
    pixels: np.ndarray | None = None

    def __call__(self, frame: Frame, window: Sequence[slice] = (slice(None),) * 3) -> np.ndarray:
        """Pixels of one frame or of a window (Z, Y, X) of it, dtype of the file."""
        file, index = frame.file, frame.index(window)
        if file.lazy or not frame.fixed:
            cut = file.read_window(index)
        else:
            if self.pixels is None or self.path != file.path:
                self.path, self.pixels = file.path, file.read()
            cut = self.pixels[index]
        present = [axis for axis in file.axes if axis in SPATIAL]
        cut = cut.transpose([present.index(axis) for axis in SPATIAL if axis in present])
        return np.expand_dims(cut, [at for at, axis in enumerate(SPATIAL) if axis not in present])


def open_input(source: str | os.PathLike | np.ndarray, axes: str | None) -> tuple[ImageFile, ...]:
    """Opens a file, a folder, a glob or an array; all must be readable images of one dtype.

    Raises:
        InputError: nothing found, a file that is no image, or files of several dtypes.
    """
    if isinstance(source, np.ndarray):
        if axes is None:
            raise InputError(f"axes: an array of shape {source.shape} needs its axes named, such as axes=YX.")
        return (image_from_array(source, axes),)
    files = tuple(open_image(path, axes=axes) for path in list_images(source))
    kinds = sorted({str(file.dtype) for file in files})
    if len(kinds) > 1:
        raise InputError(
            f"input: expected images of one dtype, found {', '.join(kinds)}. Inspect them one kind at a time."
        )
    return files


def group_frames(files: tuple[ImageFile, ...], repeats: str | None) -> tuple[Group, ...]:
    """Puts frames that may be repeats of one scene together.

    Args:
        files: opened images.
        repeats: `auto` (the T axis, and files whose names differ in their last number), `T` or `S` (that axis), a
            regular expression on the file stem whose match is the part that differs, or None for no repeats.

    Returns:
        Groups in the order of the files; channels and positions are never mixed.
    """
    repeats = None if repeats in (None, "none") else repeats
    repeat_axis = {"auto": "T", "T": "T", "S": "S"}.get(repeats or "", "")
    pattern = None if repeats in (None, "T", "S") else compile_pattern(NUMBERED if repeats == "auto" else repeats)
    base = os.path.commonpath([file.path.parent for file in files])
    groups: dict[tuple, list[Frame]] = {}
    for file in files:
        path = Path(os.path.relpath(file.path, base))
        stem = str(path.with_name(image_stem(path)))
        shared = (pattern.sub("", stem) if pattern else "") or stem
        for frame in split_frames(file, str(path)):
            rest = {axis: at for axis, at in frame.fixed.items() if axis != repeat_axis}
            # Frames of one movie are repeats of each other; two movies with numbered names are two scenes.
            movie = repeat_axis in frame.fixed and file.shape[file.axes.index(repeat_axis)] > 1
            own = (frame.name,) if repeats is None else (stem if movie else shared, *sorted(rest.items()), frame.shape)
            groups.setdefault(own, []).append(frame)
    named = ((label(key) if len(frames) > 1 else frames[0].name, frames) for key, frames in groups.items())
    return tuple(Group(name, tuple(frames)) for name, frames in named)


def dissolve(group: Group) -> tuple[Group, ...]:
    """One group for each frame: they turned out to be different scenes."""
    return tuple(replace(group, name=frame.name, frames=(frame,)) for frame in group.frames)


def split_frames(file: ImageFile, name: str) -> Iterator[Frame]:
    """All frames of a file, in the order of its axes; `name` is what to call the file."""
    outer = [(axis, n) for axis, n in zip(file.axes, file.shape) if axis not in SPATIAL]
    for at in itertools.product(*(range(n) for _, n in outer)):
        fixed = {axis: i for (axis, _), i in zip(outer, at)}
        where = ",".join(f"{axis}={i}" for axis, i in fixed.items())
        yield Frame(f"{name}[{where}]" if where else name, file, fixed)


def label(key: tuple) -> str:
    """Readable name of a group from its key (stem, (axis, index) ..., shape)."""
    where = ",".join(f"{part[0]}={part[1]}" for part in key[1:-1])
    return f"{key[0]}[{where}]" if where else str(key[0])


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression, or an error that shows a right one."""
    try:
        return re.compile(pattern)
    except re.error as cause:
        raise InputError(
            f"repeats: expected auto, T, S, none or a regular expression such as _(\\d+)$, found {pattern!r} ({cause})."
        ) from cause
