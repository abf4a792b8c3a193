"""Fields of view, their repeated noisy captures and their targets: where the pixels lie, read only on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np

from bioflax.io import ImageFile, rearrange

Box = tuple[tuple[int, int], ...]
"""Half-open intervals (start, stop), one per spatial axis, pixels."""

_BESIDE = 24  # pixels beside a window that its interpolation looks at


@dataclass(frozen=True)
class Capture:
    """One picture of a field: a plane or a volume of a file, or a part of one.

    Attributes:
        file: the opened image.
        fixed: position on the axes that are no space and no channel, such as `(("T", 3),)`.
        spatial: `YX` or `ZYX`.
        box: the part of the file's picture that this capture is.
        planes: axis of the file that becomes the channels: `C`, or that of the raw frames of a field.
        moved_px: what the content is moved by along (Y, X), between pixels by interpolation.
    """

    file: ImageFile
    fixed: tuple[tuple[str, int], ...]
    spatial: str
    box: Box
    planes: str = "C"
    moved_px: tuple[float, float] = (0.0, 0.0)

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels per spatial axis."""
        return tuple(stop - start for start, stop in self.box)

    @property
    def channels(self) -> int:
        """Number of channels, 1 without an axis for them."""
        return self.file.shape[self.file.axes.index(self.planes)] if self.planes in self.file.axes else 1

    def read(self) -> np.ndarray:
        """All pixels: ([Z,] H, W, C) float32, units of the file."""
        return self.read_window((0,) * len(self.box), self.size)

    def read_window(self, origin: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
        """A part of the pixels.

        Args:
            origin: first pixel per spatial axis, relative to this capture.
            size: pixels per spatial axis.

        Returns:
            (*size, C) float32, units of the file.
        """
        if any(self.moved_px):
            return self._read_moved(origin, size)
        return np.ascontiguousarray(self.read_stored(origin, size), np.float32)

    def read_stored(self, origin: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
        """As `read_window`, in the dtype of the file and where the file has it, whatever `moved_px` says."""
        spans = {
            axis: slice(start + at, start + at + length)
            for axis, (start, _), at, length in zip(self.spatial, self.box, origin, size, strict=True)
        }
        fixed = dict(self.fixed)
        pixels = self.file.read_window([fixed.get(axis, spans.get(axis, slice(None))) for axis in self.file.axes])
        left = "".join(axis for axis in self.file.axes if axis not in fixed)
        return rearrange(pixels, left.replace(self.planes, "C"), self.spatial + "C")

    def _read_moved(self, origin: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
        """A part of the moved picture: a larger part is read, as far as the file has it, and cut back."""
        from bioflax.metrics.registration import shift_image  # slow to import, and seldom needed

        full = [self.file.shape[self.file.axes.index(axis)] for axis in self.spatial]
        reach = [0] * (len(size) - 2) + [ceil(abs(step)) + _BESIDE for step in self.moved_px]
        starts = [start + at for (start, _), at in zip(self.box, origin, strict=True)]
        low = [max(start - more, 0) for start, more in zip(starts, reach, strict=True)]
        high = [
            min(start + length + more, end) for start, length, more, end in zip(starts, size, reach, full, strict=True)
        ]
        whole = replace(self, box=tuple((0, length) for length in full))
        pixels = whole.read_stored(tuple(low), tuple(b - a for a, b in zip(low, high, strict=True)))
        moved = np.stack([shift_image(pixels[..., channel], *self.moved_px) for channel in range(self.channels)], -1)
        inner = tuple(slice(at - first, at - first + part) for at, first, part in zip(starts, low, size, strict=True))
        return np.ascontiguousarray(moved[inner], np.float32)

    def crop(self, box: Box) -> Capture:
        """A part of this capture; `box` is relative to it."""
        inner = tuple((start + a, start + b) for (start, _), (a, b) in zip(self.box, box, strict=True))
        return replace(self, box=inner)


@dataclass(frozen=True)
class Field:
    """One field of view.

    Attributes:
        name: file stem and position on the other axes, such as `cells[t=3]`.
        source: what it was cut from (file stem without repeat); fields of one source may show the same sample.
        repeats: one noisy capture or several.
        target: the clean picture, or None.
        held_out: a box that training patches must not touch, or None.
        upscale: pixels of the target along a pixel of the captures, in Y and X; origins and boxes are in those of the captures.
    """

    name: str
    source: str
    repeats: tuple[Capture, ...]
    target: Capture | None = None
    held_out: Box | None = None
    upscale: int = 1

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels per spatial axis."""
        return self.repeats[0].size

    def crop(self, box: Box) -> Field:
        """A part of the field, in all captures and the target."""
        fine = tuple(zip(*(magnify(place, self.upscale) for place in zip(*box, strict=True)), strict=True))
        target = None if self.target is None else self.target.crop(fine)
        return replace(self, repeats=tuple(one.crop(box) for one in self.repeats), target=target, held_out=None)

    def read_target(self, origin: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
        """What the target shows of a window of the captures: (*size, C) float32, `upscale` times as large in Y and X."""
        return self.target.read_window(magnify(origin, self.upscale), magnify(size, self.upscale))


@dataclass(frozen=True)
class ImageSet:
    """What a folder holds.

    Attributes:
        items: the fields.
        spatial_dims: 2 or 3.
        channels: channels of every capture.
        files: every input file, duplicates too: what prediction and evaluation run on.
        duplicates: (kept, dropped) captures that are equal bit for bit, by name.
        pixel_nm: pixel size of the first file in nm per axis, or None.
    """

    items: tuple[Field, ...]
    spatial_dims: int
    channels: int
    files: tuple[Path, ...]
    duplicates: tuple[tuple[str, str], ...] = ()
    pixel_nm: dict[str, float] | None = None

    @property
    def has_targets(self) -> bool:
        """Every field has a clean target."""
        return all(field.target is not None for field in self.items)

    @property
    def has_repeats(self) -> bool:
        """Every field has at least two captures."""
        return all(len(field.repeats) > 1 for field in self.items)

    @property
    def upscale(self) -> int:
        """Pixels of the targets along a pixel of the captures."""
        return self.items[0].upscale

    def captures(self) -> Iterator[np.ndarray]:
        """The pixels of every noisy capture, one after the other: ([Z,] H, W, C) float32."""
        for field in self.items:
            for capture in field.repeats:
                yield capture.read()

    def __len__(self) -> int:
        return len(self.items)


def magnify(place: Sequence[int], upscale: int) -> tuple[int, ...]:
    """A place or a size in pixels of the captures, in pixels of the target."""
    return (*place[:-2], *(length * upscale for length in place[-2:]))
