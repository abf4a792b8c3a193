"""Cuts a large image into tiles of one shape whose stitched predictions equal the prediction of the whole.

A net with strides sees the image on a grid and, near its border, the padding of its own convolutions. Tiled equals
whole when every tile starts on that grid and only those of its pixels are kept that lie at least the radius of the
receptive field from its border, or whose border is the image's own. The image is thought to continue by reflection up
to a multiple of the stride, for tiles and for the whole alike; the continuation is never stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bioflax.errors import InputError

Window = tuple[slice, ...]


@dataclass(frozen=True)
class Tile:
    """One tile of a plan.

    `read`: window in the padded image, all of one shape. `crop`: the part of the tile's prediction that is exact.
    `write`: where that part belongs in the unpadded image. The `write` windows of a plan partition the image.
    """

    read: Window
    crop: Window
    write: Window


def plan_tiles(shape: Sequence[int], tile: Sequence[int], halo: Sequence[int], stride: Sequence[int]) -> list[Tile]:
    """Plans tiles over an image, in row-major order.

    Args:
        shape: sizes of the image in pixels, one an axis.
        tile: sizes of a tile in pixels, halo included; rounded up to the stride and clipped to the padded image.
        halo: context needed on each side in pixels (radius of the receptive field); rounded up to the stride.
        stride: total stride of the net along each axis; starts of tiles are multiples of it.

    Returns:
        Tiles that all have one shape; those at the far border are moved inward to keep it.

    Raises:
        InputError: an empty image, or a tile that its halo fills.
    """
    axes = []
    for axis, (size, length, context, step) in enumerate(zip(shape, tile, halo, stride, strict=True)):
        if size < 1:
            raise InputError(f"image: expected at least 1 pixel along each axis, found shape {tuple(shape)}")
        axes.append(_plan_axis(axis, size, length, context, step))
    return [Tile(*map(tuple, zip(*spans, strict=True))) for spans in itertools.product(*axes)]


def fit_tile(shape: Sequence[int], halo: Sequence[int], stride: Sequence[int], pixels: float) -> tuple[int, ...]:
    """Chooses the tile that covers an image with the fewest cuts.

    The longest axis of the tile is cut again and again; after each cut the tile is as small as its count allows.

    Args:
        shape: sizes of the image in pixels.
        halo: context on each side in pixels.
        stride: total stride of the net.
        pixels: largest number of pixels in a tile.

    Returns:
        Sizes of the tile; the smallest possible tile where none is small enough.
    """
    padded = [round_up(size, step) for size, step in zip(shape, stride, strict=True)]
    floors = [min(size, least) for size, least in zip(padded, smallest_tile(halo, stride), strict=True)]
    tile, counts = list(padded), [1] * len(padded)
    while math.prod(tile) > pixels:
        longest = max(
            (axis for axis in range(len(tile)) if tile[axis] > floors[axis]), key=tile.__getitem__, default=None
        )
        if longest is None:
            break
        counts[longest] += 1
        shared = padded[longest] + 2 * round_up(halo[longest], stride[longest]) * (counts[longest] - 1)
        tile[longest] = max(floors[longest], round_up(-(-shared // counts[longest]), stride[longest]))
    return tuple(tile)


def smallest_tile(halo: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    """Smallest tile that still has an exact centre: two halos and one stride along each axis."""
    return tuple(2 * round_up(context, step) + step for context, step in zip(halo, stride, strict=True))


def round_up(size: int, multiple: int) -> int:
    """Smallest multiple that is not below `size`."""
    return -(-size // multiple) * multiple


def reflected(start: int, stop: int, size: int) -> np.ndarray:
    """Indices of the pixels that stand at [start, stop) of an axis continued by reflection.

    The mirror is the centre of the last pixel (`reflect` of NumPy), repeated where the axis is shorter than what is
    asked for; an axis of one pixel repeats it.
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    position = np.arange(start, stop) % (2 * size - 2)
    return np.minimum(position, 2 * size - 2 - position)


def read_window(read: Callable[[Window], np.ndarray], window: Window, shape: Sequence[int]) -> np.ndarray:
    """Reads a window of the padded image from a source that only has the image.

    Args:
        read: gives the array at a window that lies inside the image; further axes may follow.
        window: in the padded image.
        shape: sizes of the image along the axes of the window.

    Returns:
        Array with the sizes of the window.
    """
    sources = [reflected(span.start, span.stop, size) for span, size in zip(window, shape, strict=True)]
    inside = tuple(slice(int(source.min()), int(source.max()) + 1) for source in sources)
    block = read(inside)
    for axis, (source, span) in enumerate(zip(sources, inside, strict=True)):
        if span.stop - span.start != len(source) or source[-1] != span.stop - 1:
            block = np.take(block, source - span.start, axis=axis)
    return block


def _plan_axis(axis: int, size: int, tile: int, halo: int, stride: int) -> list[tuple[slice, slice, slice]]:
    padded, halo = round_up(size, stride), round_up(halo, stride)
    tile = min(round_up(tile, stride), padded)
    step = tile - 2 * halo
    if tile < padded and step < stride:
        raise InputError(
            f"tile: expected at least {2 * halo + stride} pixels along axis {axis} (two halos of {halo} and one stride "
            f"of {stride}), found {tile}. Give a larger tile, or tile=auto"
        )
    starts = [*range(0, padded - tile, max(step, 1)), padded - tile]
    spans, begin = [], 0
    for start in starts:
        end = size if start == starts[-1] else start + tile - halo
        spans.append((slice(start, start + tile), slice(begin - start, end - start), slice(begin, end)))
        begin = end
    return spans
