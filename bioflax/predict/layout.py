"""How the axes of a picture map to the axes of a net, and back, one window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bioflax.errors import InputError
from bioflax.ops.tiles import Window

LETTERS = "TSZCYX"
SPATIAL = {2: "YX", 3: "ZYX"}


@dataclass(frozen=True)
class Layout:
    """A picture of any axes seen as (N, [Z,] H, W, C).

    The last two or three spatial axes go to the net. C goes to it as well where the net takes several channels; a net
    of one channel sees the channels one by one. All other axes (T, S, and Z for a 2-D net) are the batch.

    Args:
        axes: letters of the picture's axes, from TSZCYX, in its order.
        shape: sizes of the picture.
        spatial_dims: 2 or 3, of the net.
        channels_in: channels that the net takes.
        channels_out: channels that it gives.
        upscale: pixels of the result along Y and X to a pixel of the picture.

    Raises:
        InputError: letters that do not fit the shape or the net.
    """

    axes: str
    shape: tuple[int, ...]
    spatial_dims: int
    channels_in: int = 1
    channels_out: int = 1
    upscale: int = 1

    def __post_init__(self) -> None:
        axes, sizes = self.axes, dict(zip(self.axes, self.shape))
        unknown = [letter for letter in axes if letter not in LETTERS]
        if unknown or len(set(axes)) != len(axes):
            raise InputError(f"axes: expected different letters from {LETTERS}, found {axes!r}")
        if len(axes) != len(self.shape):
            raise InputError(f"axes: expected {len(self.shape)} letters for shape {self.shape}, found {axes!r}")
        missing = [letter for letter in self.spatial if letter not in axes]
        if missing:
            hint = " Take a 2-D model, or name the depth axis Z" if "Z" in missing else ""
            raise InputError(f"axes: expected {self.spatial} for a {self.spatial_dims}-D model, found {axes!r}.{hint}")
        if 0 in self.shape:
            raise InputError(f"image: expected at least 1 pixel along each axis, found {_sizes(axes, self.shape)}")
        if self.channels_in > 1 and sizes.get("C") != self.channels_in:
            raise InputError(
                f"axes: expected a C axis of {self.channels_in} channels, as the model takes, "
                f"found {_sizes(axes, self.shape)}. If they are the raw frames of one field, say so with axes=CYX"
            )
        if self.channels_in == 1 and self.channels_out > 1 and sizes.get("C", 1) > 1:
            raise InputError(
                f"image: expected one channel (the model makes {self.channels_out} of it), found {sizes['C']}"
            )

    @property
    def spatial(self) -> str:
        return SPATIAL[self.spatial_dims]

    @property
    def batch(self) -> str:
        """Letters of the batch, outermost first."""
        inner = self.spatial + ("C" if self._joins_channels else "")
        return "".join(letter for letter in self.axes if letter not in inner)

    @property
    def net_shape(self) -> tuple[int, ...]:
        """(N, [Z,] H, W, C)."""
        return (math.prod(self._sizes(self.batch)), *self._sizes(self.spatial), self.channels_in)

    @property
    def axes_out(self) -> str:
        """Axes of the result: the picture's own, with a C before the spatial ones where the net makes channels, and
        without C where it makes one of several."""
        if self.channels_out == 1 and self.channels_in > 1:
            return self.axes.replace("C", "")
        if self.channels_out == 1 or "C" in self.axes:
            return self.axes
        first = min(self.axes.index(letter) for letter in self.spatial)
        return f"{self.axes[:first]}C{self.axes[first:]}"

    @property
    def shape_out(self) -> tuple[int, ...]:
        sizes = dict(zip(self.axes, self.shape))
        if self._joins_channels or "C" not in sizes:
            sizes["C"] = self.channels_out
        sizes |= {letter: sizes[letter] * self.upscale for letter in "YX"}
        return tuple(sizes[letter] for letter in self.axes_out)

    def read(self, source: Callable[[Window], np.ndarray], window: Window) -> np.ndarray:
        """Reads a window over (N, [Z,] H, W) as (n, [z,] h, w, C) from a source that is indexed by its own axes."""
        return np.stack([self._read_one(source, item, window[1:]) for item in range(window[0].start, window[0].stop)])

    def write(self, sink: Callable[[Window, np.ndarray], None], window: Window, values: np.ndarray) -> None:
        """Writes (n, [z,] h, w, C) at a window over (N, [Z,] s H, s W) to a sink that is indexed by `axes_out`."""
        for item, value in zip(range(window[0].start, window[0].stop), values, strict=True):
            where = self._place(item, window[1:])
            joined = "C" in self.axes_out and "C" not in self.batch
            if joined:
                where["C"] = slice(0, self.channels_out)
            letters = self.spatial + ("C" if joined else "")
            block = value if joined else value[..., 0]
            present = [letter for letter in self.axes_out if letter in letters]
            block = block.transpose([letters.index(letter) for letter in present])
            index = tuple(where[letter] for letter in self.axes_out)
            sink(index, block.reshape([span.stop - span.start for span in index]))

    def channel_of(self, item: int) -> int:
        """The channel that an item of the batch shows, where a net of one channel sees the channels one by one; else 0."""
        if "C" not in self.batch:
            return 0
        return int(np.unravel_index(item, self._sizes(self.batch))[self.batch.index("C")])

    def channel_windows(self, window: Window) -> list[Window]:
        """A window of one item of the batch, once for every channel that the batch holds."""
        if "C" not in self.batch:
            return [window]
        sizes = self._sizes(self.batch)
        place = list(np.unravel_index(window[0].start, sizes))
        windows = []
        for channel in range(sizes[self.batch.index("C")]):
            place[self.batch.index("C")] = channel
            item = int(np.ravel_multi_index(place, sizes))
            windows.append((slice(item, item + 1), *window[1:]))
        return windows

    @property
    def _joins_channels(self) -> bool:
        return "C" in self.axes and (self.channels_in > 1 or self.channels_out > 1)

    def _read_one(self, source: Callable[[Window], np.ndarray], item: int, window: Sequence[slice]) -> np.ndarray:
        where = self._place(item, window)
        where.setdefault("C", slice(0, self.channels_in))
        block = np.asarray(source(tuple(where[letter] for letter in self.axes)))
        letters = self.spatial + ("C" if self._joins_channels else "")
        present = [letter for letter in self.axes if letter in letters]
        block = block.reshape([size for letter, size in zip(self.axes, block.shape) if letter in letters])
        block = block.transpose([present.index(letter) for letter in letters])
        return block if self._joins_channels else block[..., np.newaxis]

    def _place(self, item: int, window: Sequence[slice]) -> dict[str, slice]:
        places = np.unravel_index(item, self._sizes(self.batch)) if self.batch else ()
        where = {letter: slice(int(place), int(place) + 1) for letter, place in zip(self.batch, places)}
        return where | dict(zip(self.spatial, window))

    def _sizes(self, letters: str) -> tuple[int, ...]:
        return tuple(self.shape[self.axes.index(letter)] for letter in letters)


def _sizes(axes: str, shape: Sequence[int]) -> str:
    return " ".join(f"{letter}={size}" for letter, size in zip(axes, shape))
