"""An opened image: its axes, shape, dtype and pixel size are known, its pixels are still in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bioflax.errors import InputError
from bioflax.io.axes import check_axes

Window = tuple[slice, ...]


@dataclass(frozen=True)
class ImageFile:
    """An image whose pixels are read on demand; it holds no open file.

    Attributes:
        path: the file (for an array in memory, a name).
        kind: `tiff`, `png` or `array`.
        axes: letters of `TSZCYX` in the order of the file.
        shape: one length per axis.
        dtype: dtype of the pixels, in native byte order.
        pixel_nm: pixel size per axis in nm, such as `{"Y": 65.0, "X": 65.0}`; None if the file does not say.
        lazy: True if a window is read without reading the whole image.
        reader: `(window) -> array`, one slice with bounds per axis.
    """

    path: Path
    kind: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pixel_nm: dict[str, float] | None
    lazy: bool
    reader: Callable[[Window], np.ndarray] = field(repr=False, compare=False)

    def read(self) -> np.ndarray:
        """The whole image.

        Returns:
            Array of `shape` and `dtype`.

        Raises:
            InputError: the file is damaged, or holds NaN or infinite values.
        """
        return self.read_window(tuple(slice(0, length) for length in self.shape))

    def read_window(self, index: Sequence[slice | int]) -> np.ndarray:
        """A part of the image.

        Args:
            index: one slice of step 1 per axis, or an integer, which drops its axis as in NumPy.

        Returns:
            Array of the window, native byte order.

        Raises:
            InputError: the index does not fit the axes, the file is damaged, or the window holds NaN or infinity.
        """
        if len(index) != len(self.shape):
            raise InputError(f"{self.path}: a window needs {len(self.shape)} slices ({self.axes}), found {len(index)}")
        window, squeezed = [], []
        for axis, (part, length) in enumerate(zip(index, self.shape, strict=True)):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                if step != 1 or stop <= start:
                    raise InputError(f"{self.path}: axis {self.axes[axis]} of length {length} has no window {part}")
                window.append(slice(start, stop))
            else:
                if not -length <= part < length:
                    raise InputError(f"{self.path}: axis {self.axes[axis]} has length {length}, found index {part}")
                window.append(slice(part % length, part % length + 1))
                squeezed.append(axis)
        pixels = check_finite(self.reader(tuple(window)), self.path)
        return np.squeeze(pixels, tuple(squeezed)) if squeezed else pixels


@dataclass(frozen=True)
class ArrayReader:
    """Reads windows out of an array in memory."""

    array: np.ndarray = field(repr=False)

    def __call__(self, window: Window) -> np.ndarray:
        return self.array[window]


def image_from_array(
    array: np.ndarray, axes: str, pixel_nm: dict[str, float] | None = None, name: str = "array"
) -> ImageFile:
    """Presents an array in memory as an opened image.

    Args:
        array: pixels, integer, bool or float.
        axes: letters of `TSZCYX`, one per dimension.
        pixel_nm: pixel size per axis in nm.
        name: what messages call it.

    Returns:
        The image, of kind `array`.

    Raises:
        InputError: the dtype is no pixel type, or the axes do not fit.
    """
    array = np.asarray(array)
    axes = check_axes(axes, array.shape, name)
    dtype = check_pixels(array.shape, array.dtype, name)
    return ImageFile(Path(name), "array", axes, array.shape, dtype, pixel_nm, True, ArrayReader(array))


def check_pixels(shape: tuple[int, ...], dtype: np.dtype | None, name: Path | str) -> np.dtype:
    """Refuses pixel types that are no intensities, and images without pixels.

    Returns:
        The dtype in native byte order.

    Raises:
        InputError: the dtype is complex, object or text, or the image is empty.
    """
    if dtype is None or np.dtype(dtype).kind not in "buif":
        raise InputError(f"{name}: expected integer or floating-point pixels, found {dtype}; convert the image first")
    if 0 in shape:
        raise InputError(f"{name}: expected an image with pixels, found the shape {shape}")
    return np.dtype(dtype).newbyteorder("=")


def check_finite(array: np.ndarray, name: Path | str) -> np.ndarray:
    """Refuses NaN and infinity, and says how many there are.

    Returns:
        The array itself.

    Raises:
        InputError: with the number of NaN and of infinite pixels.
    """
    if array.dtype.kind != "f":
        return array
    finite = np.isfinite(array)
    if not finite.all():
        nan = int(np.isnan(array).sum())
        infinite = int(array.size - finite.sum()) - nan
        raise InputError(
            f"{name}: expected finite pixels, found {nan} NaN and {infinite} infinite of {array.size}; "
            "replace them (for instance by the median of their neighbours) first"
        )
    return array
