"""From floating-point results back to the pixel type of the input: rounded and clipped, never wrapped around."""

from __future__ import annotations

import numpy as np

from bioflax.errors import InputError

# What OME-XML can name; a 64-bit integer or a half-precision float has no name there.
FILE_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


def check_file_dtype(dtype: np.typing.DTypeLike) -> np.dtype:
    """A pixel type that can be written.

    Returns:
        The dtype.

    Raises:
        InputError: no such dtype, or none that OME-TIFF knows.
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in FILE_DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(FILE_DTYPES)}, found {dtype}")
    return found


def to_dtype(array: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Converts pixels: to an integer type by rounding half to even and clipping to its range, to a float by a cast.

    Args:
        array: pixels of any real dtype, finite.
        dtype: one of `FILE_DTYPES`.

    Returns:
        Array of the same shape; the input itself if it has that dtype.

    Raises:
        InputError: the dtype cannot be written, or an integer is asked for and pixels are NaN or infinite.
    """
    target = check_file_dtype(dtype)
    array = np.asarray(array)
    if array.dtype == target:
        return array
    if array.dtype.kind not in "buif":
        raise InputError(f"dtype: expected real pixels to convert to {target}, found {array.dtype}")
    if target.kind == "f":
        return array.astype(target)
    if array.dtype.kind == "b":
        return array.astype(target)
    limits = np.iinfo(target)
    if array.dtype.kind in "ui":
        return np.clip(array, *_common_range(array.dtype, target)).astype(target)
    if not np.isfinite(array).all():
        raise InputError(f"dtype: cannot write NaN or infinity as {target}; use float32")
    # float32 cannot hold 2**32 - 1, so a 32-bit limit is clipped in float64.
    wide = array.astype(np.float64) if target.itemsize > 2 else array.astype(np.float32, copy=False)
    return np.clip(np.rint(wide), limits.min, limits.max).astype(target)


def _common_range(source: np.dtype, target: np.dtype) -> tuple[int, int]:
    """The part of the target's range that the source can hold, so that NumPy clips in the source's own type."""
    a, b = np.iinfo(source), np.iinfo(target)
    return max(a.min, b.min), min(a.max, b.max)
