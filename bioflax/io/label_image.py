"""Label images: integers per pixel, 0 background, 1 to n objects; read from TIFF or PNG, written as OME-TIFF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from bioflax.errors import InputError
from bioflax.io.aside import written_aside
from bioflax.io.axes import rearrange
from bioflax.io.images import open_image

PixelSize = float | Mapping[str, float]  # nm: one number for all axes, or one per axis by its letter
_LARGEST = np.iinfo(np.int32).max


def read_labels(path: str | Path, axes: str | None = None) -> tuple[np.ndarray, dict[str, float] | None]:
    """Reads a label image.

    Args:
        path: TIFF, or a grey PNG; integers, or floats that hold whole numbers.
        axes: letters of `TSZCYX` that override the metadata, such as `ZYX`.

    Returns:
        (Y, X) or (Z, Y, X) int32, and the pixel size per axis in nm, None if the file does not say it.

    Raises:
        InputError: as `open_image` and `check_labels`, or a picture in colours, a series or a movie.
    """
    image = open_image(path, axes)
    lengths = dict(zip(image.axes, image.shape, strict=True))
    more = [f"{letter}={lengths[letter]}" for letter in image.axes if letter not in "ZYX" and lengths[letter] > 1]
    if more:
        raise InputError(
            f"{path}: expected one label image with the axes YX or ZYX, found {', '.join(more)} more. "
            "Save each channel or frame as a file of its own."
        )
    labels = check_labels(image.read(), str(path))
    order = "".join(letter for letter in "ZYX" if letter in image.axes)
    return rearrange(labels, image.axes, order), image.pixel_nm


def check_labels(array: np.ndarray, name: str = "labels") -> np.ndarray:
    """Refuses what is no label image.

    Args:
        array: whole numbers from 0, of any real dtype but bool.
        name: what messages call it, for instance a file.

    Returns:
        The same labels as int32.

    Raises:
        InputError: a mask, an image without pixels, fewer than two dimensions, fractions, NaN, negative labels, or
            labels beyond int32.
    """
    array = np.asarray(array)
    if array.ndim < 2 or array.size == 0:
        raise InputError(f"{name}: expected a label image (Y, X) or (Z, Y, X), found the shape {array.shape}.")
    if array.dtype.kind == "b":
        raise InputError(f"{name}: expected a number per object, found a mask. Number its pieces, e.g. in ImageJ.")
    if array.dtype.kind not in "uif":
        raise InputError(f"{name}: expected whole numbers, found {array.dtype}. Convert it to integers.")
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):  # NaN differs from itself
        odd = array[~(array == np.rint(array))].flat[0]
        raise InputError(f"{name}: expected whole numbers as labels, found {odd}. Is it an image instead of labels?")
    low, high = array.min(), array.max()
    if low < 0:
        raise InputError(f"{name}: expected labels from 0 (background), found {low}. Set these pixels to 0.")
    if high > _LARGEST:
        raise InputError(f"{name}: expected labels up to {_LARGEST}, found {high}. Number the objects from 1.")
    return array.astype(np.int32)


def write_labels(path: str | Path, labels: np.ndarray, pixel_nm: PixelSize | None = None) -> None:
    """Writes a label image as OME-TIFF, which napari, Fiji and QuPath open; compressed without loss.

    `read_labels` gives the same labels again (a stack of one plane as that plane).

    Args:
        path: `.tif` or `.tiff`.
        labels: (Y, X) or (Z, Y, X) whole numbers from 0. uint16 in the file where 65,535 is enough, else uint32.
        pixel_nm: pixel size, nm: one number, or one per axis such as `{"Y": 65.0, "X": 65.0}`.

    Raises:
        InputError: as `check_labels`, another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{path}: expected an output ending in .tif or .tiff, found {path.suffix or 'none'!r}.")
    labels = check_labels(labels)
    if labels.ndim > 3:
        raise InputError(f"labels: expected (Y, X) or (Z, Y, X), found the shape {labels.shape}. Write it in parts.")
    axes = "ZYX"[-labels.ndim :]
    metadata: dict[str, object] = {"axes": axes}
    resolution = None
    if pixel_nm is not None:
        sizes = dict(zip(axes, pixel_sizes(pixel_nm, labels.ndim).tolist(), strict=True))
        for axis, size in sizes.items():
            metadata |= {f"PhysicalSize{axis}": size / 1000.0, f"PhysicalSize{axis}Unit": "µm"}
        resolution = (1e7 / sizes["X"], 1e7 / sizes["Y"])  # pixels per centimetre
    dtype = np.uint16 if labels.max() <= np.iinfo(np.uint16).max else np.uint32
    with written_aside(path) as temporary, tifffile.TiffWriter(temporary, ome=True) as writer:
        writer.write(
            labels.astype(dtype), photometric="minisblack", compression="zlib", metadata=metadata,
            resolution=resolution, resolutionunit=None if resolution is None else "CENTIMETER",
        )  # fmt: skip


def pixel_sizes(pixel_nm: PixelSize, ndim: int) -> np.ndarray:
    """Pixel sizes in the order of the axes.

    Args:
        pixel_nm: nm: one number for all axes, or one per axis by its letter.
        ndim: 2 or 3.

    Returns:
        (ndim,) nm in the order (y, x) or (z, y, x).

    Raises:
        InputError: an axis is missing, or a size is not positive.
    """
    axes = "ZYX"[-ndim:]
    sizes = pixel_nm if isinstance(pixel_nm, Mapping) else dict.fromkeys(axes, pixel_nm)
    missing = [axis for axis in axes if axis not in sizes]
    if missing:
        raise InputError(f"pixel_nm: expected a size for each of {axes}, found {dict(sizes)}. Add {missing[0]}.")
    found = np.array([sizes[axis] for axis in axes], np.float64)
    if not (np.isfinite(found) & (found > 0)).all():
        raise InputError(f"pixel_nm: expected positive sizes in nm, found {found.tolist()}. Give e.g. 100.")
    return found
