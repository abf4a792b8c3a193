"""Writing OME-TIFF: whole, or window by window for images larger than memory. Nothing half-written keeps its name."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
import tifffile

from bioflax.errors import InputError
from bioflax.io.axes import check_axes
from bioflax.io.dtypes import check_file_dtype, to_dtype

_BIG_BYTES = 2**32 - 2**25  # classic TIFF counts bytes in 32 bits; leave room for its tables


class ImageSink:
    """An uncompressed OME-TIFF that is filled window by window.

    The file is made beside its final place, with its whole size reserved, and gets its name on `commit`. Memory is
    that of one window. As a context manager it commits at the end and removes the file after an exception.
    OME-TIFF keeps rows and columns last: other orders are written with Y and X moved to the end (`YXC` as `CYX`).
    Pixels never written are zero.

    Args:
        path: final name, `.tif` or `.tiff`; its folder is made if missing.
        shape: one length per axis.
        axes: letters of `TSZCYX` in the order of the blocks that will be written.
        dtype: pixel type in the file; blocks are rounded and clipped to it.
        pixel_nm: pixel size per axis in nm, written as OME `PhysicalSize`.
        bigtiff: asks for BigTIFF; it is taken anyway where 4 GB are not enough.

    Raises:
        InputError: the arguments do not fit, the folder cannot be written, or the disk has no room.
    """

    def __init__(
        self,
        path: str | Path,
        shape: Sequence[int],
        axes: str,
        dtype: np.typing.DTypeLike,
        pixel_nm: dict[str, float] | None = None,
        bigtiff: bool = False,
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(int(length) for length in shape)
        self.axes = check_axes(axes, self.shape, str(path))
        self.dtype = check_file_dtype(dtype)
        if self.path.suffix.lower() not in (".tif", ".tiff"):
            raise InputError(
                f"{path}: expected an output ending in .tif or .tiff, found {self.path.suffix or 'none'!r}"
            )
        if self.path.is_dir():
            raise InputError(f"{path}: expected a file to write, found a folder")
        if min(self.shape) < 1:
            raise InputError(f"{path}: expected positive lengths, found the shape {self.shape}")
        order = _file_order(self.axes)
        self._order = tuple(self.axes.index(letter) for letter in order)
        self._file_shape = tuple(self.shape[axis] for axis in self._order)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._file = None
        size = prod(self.shape) * self.dtype.itemsize
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(self.path)
            free = shutil.disk_usage(self.path.parent).free
            if free < size:
                raise InputError(_no_room(self.path, size, free))
            self._offset = _write_header(
                self._temporary,
                order,
                self._file_shape,
                self.dtype,
                pixel_nm,
                bigtiff or size > _BIG_BYTES,
            )
            self._file = open(self._temporary, "r+b", buffering=0)  # noqa: SIM115
            _reserve(self._file.fileno(), self._offset + size)
        except BaseException as cause:
            self.abort()
            self._raise_input_error(cause)
            raise

    def write_window(self, index: Sequence[slice], block: np.ndarray) -> None:
        """Writes one window.

        Args:
            index: one slice of step 1 per axis.
            block: pixels of that shape, any real dtype.

        Raises:
            InputError: the window does not fit, pixels cannot be converted, the disk is full, or the sink is closed.
        """
        if self._file is None:
            raise InputError(f"{self.path}: this file is already committed or removed; nothing more can be written")
        block = np.asarray(block)
        parts = [part.indices(length) for part, length in zip(index, self.shape)]
        if (
            len(index) != len(self.shape)
            or any(step != 1 for _, _, step in parts)
            or block.shape != tuple(stop - start for start, stop, _ in parts)
        ):
            raise InputError(
                f"{self.path}: the window {tuple(index)} of {self.shape} does not fit a block {block.shape}"
            )
        block = np.ascontiguousarray(to_dtype(block, self.dtype).transpose(self._order))
        starts = [parts[axis][0] for axis in self._order]
        # The last axes that the block covers in full lie in one piece with the axis before them: one write a run.
        run = block.ndim - 1
        while run > 0 and block.shape[run] == self._file_shape[run]:
            run -= 1
        strides = [prod(self._file_shape[axis + 1 :]) for axis in range(block.ndim)]
        base = sum(start * stride for start, stride in zip(starts, strides, strict=True))
        try:
            for outer in np.ndindex(block.shape[:run]):
                at = base + sum(place * stride for place, stride in zip(outer, strides[:run], strict=True))
                self._file.seek(self._offset + at * self.dtype.itemsize)
                _write_all(self._file, block[outer])
        except OSError as cause:
            self.abort()
            self._raise_input_error(cause)
            raise

    def commit(self) -> None:
        """Gives the file its final name; replaces a file of that name."""
        if self._file is None:
            raise InputError(f"{self.path}: this file is already committed or removed")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self.path)
            self._file = None
        except OSError as cause:
            self.abort()
            self._raise_input_error(cause)
            raise

    def abort(self) -> None:
        """Removes what was written; harmless after `commit`."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):  # whatever is wrong with the folder is told by the error that led here
            self._temporary.unlink(missing_ok=True)

    def _raise_input_error(self, cause: BaseException) -> None:
        """Turns what the disk says into one line."""
        if isinstance(cause, OSError):
            if cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(_no_room(self.path, prod(self.shape) * self.dtype.itemsize)) from cause
            raise InputError(
                f"{self.path}: cannot be written ({cause.strerror or cause}); choose another folder"
            ) from cause

    def __enter__(self) -> ImageSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._file is not None:
            self.commit()
        else:
            self.abort()


def save_image(
    path: str | Path,
    array: np.ndarray,
    axes: str,
    pixel_nm: dict[str, float] | None = None,
    dtype: np.typing.DTypeLike | None = None,
) -> None:
    """Writes an array as OME-TIFF; the name appears only when the file is complete.

    Args:
        path: `.tif` or `.tiff`; its folder is made if missing.
        array: one dimension per axis.
        axes: letters of `TSZCYX`.
        pixel_nm: pixel size per axis in nm.
        dtype: pixel type in the file, by rounding and clipping; None keeps the array's (bool becomes uint8, half
            precision becomes float32).

    Raises:
        InputError: as `ImageSink`.
    """
    array = np.asarray(array)
    kept = {"bool": "uint8", "float16": "float32", "bfloat16": "float32"}.get(array.dtype.name, array.dtype)
    with ImageSink(path, array.shape, axes, kept if dtype is None else dtype, pixel_nm) as sink:
        sink.write_window([slice(0, length) for length in array.shape], array)


def _file_order(axes: str) -> str:
    """The order in the file: Y and X last, and S after another axis if OME's T, Z and C are all taken."""
    others = [letter for letter in axes if letter not in "YX"]
    if others[:1] == ["S"] and len(others) == 4:
        others[:2] = others[1::-1]
    return "".join(others) + "YX"


def _write_header(
    path: Path, axes: str, shape: tuple[int, ...], dtype: np.dtype, pixel_nm: dict[str, float] | None, bigtiff: bool
) -> int:
    """Writes an OME-TIFF without its pixels.

    Returns:
        Where the pixels begin, in bytes.
    """
    # OME has no position axis inside an image: its "tile" (R) is what S is.
    metadata: dict[str, object] = {"axes": axes.replace("S", "R")}
    for axis, size in (pixel_nm or {}).items():
        metadata[f"PhysicalSize{axis}"] = size / 1000.0
        metadata[f"PhysicalSize{axis}Unit"] = "µm"
    resolution = None
    if pixel_nm and {"X", "Y"} <= set(pixel_nm):
        resolution = (1e7 / pixel_nm["X"], 1e7 / pixel_nm["Y"])  # pixels per centimetre
    with tifffile.TiffWriter(path, bigtiff=bigtiff, ome=True) as writer:
        writer.write(
            None, shape=shape, dtype=dtype, photometric="minisblack", metadata=metadata,
            resolution=resolution, resolutionunit=None if resolution is None else "CENTIMETER",
        )  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        return int(tif.pages.first.dataoffsets[0])


def _reserve(descriptor: int, size: int) -> None:
    """Reserves the bytes of a file, so that a full disk shows before the work and not in its middle."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as cause:
            if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def _remove_orphans(path: Path) -> None:
    """Removes what killed processes left of this file: temporary files whose process is no more."""
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = orphan.name.split(".")[-2]
        if process.isdigit() and not _is_alive(int(process)):
            with suppress(OSError):
                orphan.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to someone else, or the system cannot tell
        return True
    return True


def _write_all(file: object, block: np.ndarray) -> None:
    """An unbuffered file may take only a part of what it is given."""
    rest = memoryview(np.ascontiguousarray(block)).cast("B")
    while rest:
        rest = rest[file.write(rest) :]  # type: ignore[attr-defined]


def _no_room(path: Path, size: int, free: int | None = None) -> str:
    found = "it is full" if free is None else f"found {free / 1e6:.1f} MB free"
    return (
        f"{path}: the disk needs {size / 1e6:.1f} MB for this image, {found}; free some space or choose another folder"
    )
