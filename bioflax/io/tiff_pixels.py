"""Windows out of a TIFF: mapped where the pixels lie in one piece, else only the strips or tiles that it touches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from bioflax.errors import InputError
from bioflax.io.image_file import Window


@dataclass(frozen=True)
class MappedPixels:
    """Pixels that lie uncompressed in one piece. The map lives as long as one window, so memory stays that of one."""

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def __call__(self, window: Window) -> np.ndarray:
        try:
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as cause:
            raise InputError(f"{self.path}: cannot be read any more ({cause}); it was changed or removed") from cause
        return np.array(mapped[window], dtype=self.dtype.newbyteorder("="))


@dataclass(frozen=True)
class Page:
    """Where the segments (strips or tiles) of one page lie."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class PagedPixels:
    """Pixels in compressed or scattered segments, decoded as a window needs them.

    Attributes:
        path: the file.
        pages: one entry per page, in the order of the leading axes.
        lead: shape of the leading axes; its product is the number of pages.
        page_shape: shape of one page as the image has it.
        stored: shape of one page as the file has it: (planes, depth, rows, columns, samples).
        chunk: rows and columns of a segment.
        dtype: of the pixels, native.
        decode: tifffile's decoder of a segment: `(bytes, number) -> pixels, position, shape`.
    """

    path: Path
    pages: tuple[Page, ...]
    lead: tuple[int, ...]
    page_shape: tuple[int, ...]
    stored: tuple[int, ...]
    chunk: tuple[int, int]
    dtype: np.dtype
    decode: Callable[..., tuple] = field(repr=False)

    def __call__(self, window: Window) -> np.ndarray:
        lead, inside = window[: len(self.lead)], window[len(self.lead) :]
        result = np.empty([part.stop - part.start for part in window], self.dtype)
        try:
            with open(self.path, "rb") as file:
                for position in product(*(range(part.start, part.stop) for part in lead)):
                    number = int(np.ravel_multi_index(position, self.lead)) if position else 0
                    place = tuple(at - part.start for at, part in zip(position, lead, strict=True))
                    result[place] = self._read_page(file, self.pages[number], inside)
        except InputError:
            raise
        except Exception as cause:  # decoders raise nearly anything on damaged bytes
            reason = " ".join(str(cause).split())[:160]
            raise InputError(f"{self.path}: the pixels cannot be decoded ({reason})" + _hint(reason)) from cause
        return result

    def _read_page(self, file: BinaryIO, page: Page, window: Window) -> np.ndarray:
        """A window of one page; a page of several planes or samples is decoded whole."""
        planes, depth, rows, columns, samples = self.stored
        plain = planes == depth == samples == 1 and len(self.page_shape) == 2
        ys, xs = window if plain else (slice(0, rows), slice(0, columns))
        canvas = np.zeros((planes, depth, ys.stop - ys.start, xs.stop - xs.start, samples), self.dtype)
        for number in self._touched(len(page.offsets), ys, xs) if plain else range(len(page.offsets)):
            if not page.counts[number]:
                continue  # a sparse segment: all zero
            file.seek(page.offsets[number])
            data = file.read(page.counts[number])
            if len(data) < page.counts[number]:
                raise InputError(f"{self.path}: the file ends too early; copy it again from its source")
            pixels, (plane, z, y, x, _), (_, height, width, _) = self.decode(data, number)
            top, bottom = max(y, ys.start), min(y + height, ys.stop)
            left, right = max(x, xs.start), min(x + width, xs.stop)
            if top < bottom and left < right:
                cut = pixels[: depth - z, top - y : bottom - y, left - x : right - x]
                target = canvas[plane, z:, top - ys.start : bottom - ys.start, left - xs.start : right - xs.start]
                target[: len(cut)] = cut
        return canvas.reshape(canvas.shape[2:4]) if plain else canvas.reshape(self.page_shape)[window]

    def _touched(self, segments: int, ys: slice, xs: slice) -> list[int]:
        """Numbers of the segments that a window of a plain page touches."""
        height, width = self.chunk
        across = -(-self.stored[3] // width)
        numbers = [
            row * across + column
            for row in range(ys.start // height, -(-ys.stop // height))
            for column in range(xs.start // width, -(-xs.stop // width))
        ]
        return [number for number in numbers if number < segments]


def _hint(reason: str) -> str:
    """What to do about a decoder that is not there."""
    return "; install its codec with: pip install imagecodecs" if "imagecodecs" in reason else ""


def locate_pixels(series: tifffile.TiffPageSeries, path: Path, size: int) -> MappedPixels | PagedPixels:
    """Finds out how the pixels of a series lie in its file.

    Args:
        series: the image series.
        path: the file.
        size: bytes of the file.

    Returns:
        A reader of windows.

    Raises:
        InputError: the file is shorter than its own tables say, or its pages do not make up its shape.
    """
    shape, dtype = tuple(series.shape), np.dtype(series.dtype)
    if series.dataoffset is not None:
        missing = series.dataoffset + prod(shape) * dtype.itemsize - size
        if missing > 0:
            raise InputError(
                f"{path}: the TIFF is truncated, {missing} bytes are missing; copy it again from its source"
            )
        order = series.keyframe.parent.byteorder
        return MappedPixels(path, int(series.dataoffset), dtype.newbyteorder(order), shape)
    key = series.keyframe
    stored = tuple(key.shaped)
    pages = tuple(Page(tuple(page.dataoffsets), tuple(page.databytecounts)) for page in series.pages)
    split = next((k for k in range(len(shape) + 1) if prod(shape[:k]) == len(pages)), None)
    if split is None or prod(shape[split:]) != prod(stored):
        raise InputError(f"{path}: the TIFF is truncated: {len(pages)} pages of {stored[1:4]} do not make up {shape}")
    if any(at + count > size for page in pages for at, count in zip(page.offsets, page.counts, strict=False)):
        raise InputError(
            f"{path}: the TIFF is truncated: its pixels end behind the file; copy it again from its source"
        )
    chunk = (key.tilelength, key.tilewidth) if key.is_tiled else (min(key.rowsperstrip, stored[2]), stored[3])
    decode = key.decode
    if key.jpegtables is not None:
        tables, plain = key.jpegtables, decode

        def decode(data: bytes, number: int) -> tuple:
            return plain(data, number, jpegtables=tables)

    reader = PagedPixels(path, pages, shape[:split], shape[split:], stored, chunk, dtype.newbyteorder("="), decode)
    corner = [slice(0, 1)] * len(shape)
    reader(tuple(corner))  # a missing codec or damaged first segment is told now, before work begins
    return reader
