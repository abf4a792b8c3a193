"""TIFF files through tifffile: OME-TIFF, ImageJ hyperstacks, BigTIFF, tifffile's own and plain multi-page stacks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile

from bioflax.errors import InputError
from bioflax.io.image_file import ImageFile, check_pixels
from bioflax.io.tiff_metadata import read_axes, read_pixel_nm
from bioflax.io.tiff_pixels import MappedPixels, locate_pixels


def open_tiff(path: Path, axes: str | None = None) -> ImageFile:
    """Opens a TIFF: reads its tables, not its pixels.

    Args:
        path: the file.
        axes: letters of `TSZCYX` that override the metadata; needed where the file does not say them.

    Returns:
        The image (the first series, at full resolution, if the file holds several).

    Raises:
        InputError: no TIFF, truncated, damaged, part of a multi-file set, a pixel type that is no intensity, or a
            stack that does not say what its axes are.
    """
    try:
        with _complaints() as complaints, tifffile.TiffFile(path) as tif:
            image = _describe(tif, path, axes, complaints)
    except (InputError, PermissionError, MemoryError):
        raise
    except Exception as cause:  # a damaged file makes the parser raise nearly anything
        reason = " ".join(str(cause).split())[:160]
        raise InputError(f"{path}: expected a TIFF image, found another format or a damaged file ({reason})") from cause
    return image


def _describe(tif: tifffile.TiffFile, path: Path, axes: str | None, complaints: list[str]) -> ImageFile:
    holds_image = bool(tif.series)  # reads the chain of pages
    # Told first: a truncated file has lost its axes too, and naming them would not help.
    if any("invalid page offset" in text or "invalid value offset" in text for text in complaints):
        raise InputError(f"{path}: the TIFF is truncated or damaged (its tables point outside the file); copy it again")
    if not holds_image:
        raise InputError(f"{path}: the TIFF holds no image")
    series = tif.series[0]
    if any(page is None or page.parent is not tif for page in series.pages):
        if axes is None:
            raise InputError(
                f"{path}: belongs to an OME-TIFF set of several files; join them into one file, or give axes "
                "(such as axes=ZYX) to read the pages of this file alone"
            )
        with tifffile.TiffFile(path, is_ome=False) as alone:
            return _describe(alone, path, axes, complaints)
    if len(tif.series) > 1:
        warnings.warn(
            f"{path}: holds {len(tif.series)} image series, only the first {tuple(series.shape)} is read", stacklevel=4
        )
    shape = tuple(series.shape)
    letters = read_axes(series, series.keyframe.samplesperpixel, axes, path)
    dtype = check_pixels(shape, series.dtype, path)
    pixels = locate_pixels(series, path, path.stat().st_size)
    # Segments are read in part unless one strip holds a whole page.
    lazy = isinstance(pixels, MappedPixels) or len(pixels.pages) > 1 or len(pixels.pages[0].offsets) > 1
    return ImageFile(path, "tiff", letters, shape, dtype, read_pixel_nm(tif, letters), lazy, pixels)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collects what tifffile logs about a file instead of raising: a broken chain of pages is only logged."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("tifffile"), Collector(logging.WARNING)
    propagate, handlers = logger.propagate, logger.handlers
    logger.handlers, logger.propagate = [handler], False
    try:
        yield found
    finally:
        logger.handlers, logger.propagate = handlers, propagate
