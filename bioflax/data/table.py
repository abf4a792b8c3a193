"""Where training patches may lie, and which captures go together: a small table, drawn from by uniform numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import jax
import numpy as np

from bioflax.data.image_set import Box, Field, ImageSet
from bioflax.errors import InputError
from bioflax.typing import Array

MODES = ("single", "pairs", "target")
_FARTHEST = 500  # captures between the two of a pair


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PatchTable:
    """Boxes of allowed patch origins, and pairs of captures per field.

    Attributes:
        low: (K, d) int32, first origin of each box, pixels.
        extent: (K, d) int32, number of origins along each axis.
        field: (K,) int32, the field of each box.
        cumulative: (K,) float32, cumulative probability of the boxes.
        pairs: (P, 3) int32, (field, input capture, target capture), sorted by field; captures are counted over all
            fields. Without pairs both captures are the same.
        first: (F,) int32, first pair of each field.
        count: (F,) int32, number of pairs of each field.
    """

    low: Array
    extent: Array
    field: Array
    cumulative: Array
    pairs: Array
    first: Array
    count: Array

    def draw(self, uniform: Array, xp: ModuleType) -> tuple[Array, Array]:
        """Turns uniform numbers into patches; the same code inside jit and on the host.

        Args:
            uniform: (N, d + 2) float32 in [0, 1).
            xp: `numpy` or `jax.numpy`.

        Returns:
            rows of `pairs` (N, 3) and origins (N, d), int32.
        """
        box = xp.searchsorted(self.cumulative, uniform[:, 0], side="right")
        box = xp.minimum(box, self.cumulative.shape[0] - 1)
        field, extent = self.field[box], self.extent[box]
        # float32 may round u * n up to n
        pair = xp.minimum((uniform[:, 1] * self.count[field]).astype(xp.int32), self.count[field] - 1)
        inside = xp.minimum((uniform[:, 2:] * extent).astype(xp.int32), extent - 1)
        return self.pairs[self.first[field] + pair], self.low[box] + inside


def build_table(
    image_set: ImageSet,
    patch: Sequence[int],
    mode: str,
    foreground: float = 0.0,
    brightness: Callable[[int], np.ndarray] | None = None,
) -> PatchTable:
    """Makes the table of a training set.

    Every allowed position of a patch is equally likely, over all fields; inside a field every pair is.

    Args:
        image_set: the fields; patches avoid their `held_out` boxes.
        patch: pixels per spatial axis.
        mode: `single`, `pairs` (all ordered pairs of different captures of a field) or `target`.
        foreground: probability with which a patch is centred on a bright block: blocks are half a patch wide, and
            bright where their mean is above Otsu's threshold of the block means of the field. 0 is off; below 1 the
            background stays in the training set, as it should.
        brightness: `(field number) -> ([Z,] H, W)` picture that the blocks are measured on.

    Returns:
        NumPy arrays.

    Raises:
        InputError: the mode does not fit the data, a field is smaller than the patch, or no patch fits beside the
            held-out box.
    """
    patch = check_patch(image_set, patch)
    check_mode(image_set, mode)
    if not 0.0 <= foreground <= 1.0:
        raise InputError(f"foreground: expected a fraction from 0 (off) to 1, found {foreground}")
    lows, extents, fields, bright = [], [], [], []
    for number, field in enumerate(image_set.items):
        boxes = free_origins(field.size, patch, field.held_out)
        if not boxes:
            raise InputError(f"{field.name}: no patch {patch} fits beside the held-out box; take smaller patches")
        low, extent = (np.array([box[k] for box in boxes], np.int32) for k in (0, 1))
        blocks = [np.zeros((0, len(patch)), np.int32)] * 2
        if foreground > 0 and brightness is not None:
            blocks = _bright_origins(brightness(number), patch, low, extent)
        for these, flag in (((low, extent), False), (blocks, True)):
            lows.append(these[0])
            extents.append(these[1])
            fields.append(np.full(len(these[0]), number, np.int32))
            bright.append(np.full(len(these[0]), flag))
    extent, is_bright = np.concatenate(extents), np.concatenate(bright)
    weight = extent.prod(1, dtype=np.float64)
    share = foreground if is_bright.any() else 0.0
    weight[~is_bright] *= (1 - share) / weight[~is_bright].sum()
    weight[is_bright] *= share / max(weight[is_bright].sum(), 1.0)
    cumulative = np.cumsum(weight)
    pairs, count = _pairs(image_set.items, mode)
    return PatchTable(
        low=np.concatenate(lows),
        extent=extent,
        field=np.concatenate(fields),
        cumulative=(cumulative / cumulative[-1]).astype(np.float32),
        pairs=pairs,
        first=(np.cumsum(count) - count).astype(np.int32),
        count=count,
    )


def check_patch(image_set: ImageSet, patch: Sequence[int]) -> tuple[int, ...]:
    """Validates a patch shape against the fields.

    Raises:
        InputError: wrong number of axes, not positive, or larger than a field.
    """
    patch = tuple(int(length) for length in patch)
    if len(patch) != image_set.spatial_dims or min(patch) < 1:
        raise InputError(f"patch: expected {image_set.spatial_dims} positive lengths in pixels, found {patch}")
    for field in image_set.items:
        if any(length > size for length, size in zip(patch, field.size, strict=True)):
            raise InputError(f"patch: {patch} does not fit into {field.name} {field.size}; take smaller patches")
    return patch


def check_mode(image_set: ImageSet, mode: str) -> None:
    """Raises unless the set has what a training mode needs."""
    if mode not in MODES:
        raise InputError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
    if mode == "target" and not image_set.has_targets:
        raise InputError("targets: training against clean images needs a target for every field; give data.targets")
    if mode == "pairs" and not image_set.has_repeats:
        lonely = next(field.name for field in image_set.items if len(field.repeats) < 2)
        raise InputError(
            f"repeats: Noise2Noise needs two different captures of every field, found one of {lonely}; "
            r"say which files repeat a field (data.repeats=_(\d+)$) or which axis does (data.repeat_axis=T)"
        )


def free_origins(size: Sequence[int], patch: Sequence[int], held_out: Box | None) -> list[tuple[list[int], list[int]]]:
    """Origins of patches that lie in a field and do not touch a box.

    Args:
        size: pixels of the field per axis.
        patch: pixels of the patch per axis.
        held_out: the box to avoid, or None.

    Returns:
        Disjoint boxes as (first origin, number of origins) per axis: along each axis what is before and behind the
        held-out box, within what touches it along the axes before.
    """
    low = [0] * len(size)
    high = [length - part + 1 for length, part in zip(size, patch, strict=True)]
    boxes = []
    for axis in range(len(size) if held_out is not None else 0):
        start, stop = held_out[axis]
        touching = (max(low[axis], start - patch[axis] + 1), min(high[axis], stop))
        for ends in ((low[axis], touching[0]), (touching[1], high[axis])):
            if ends[1] > ends[0]:
                corner, end = [*low], [*high]
                corner[axis], end[axis] = ends
                boxes.append((corner, [b - a for a, b in zip(corner, end, strict=True)]))
        if touching[0] >= touching[1]:
            return boxes
        low[axis], high[axis] = touching
    if held_out is None:
        boxes.append((low, [b - a for a, b in zip(low, high, strict=True)]))
    return boxes


def _pairs(fields: Sequence[Field], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (field, input, target) sorted by field, and how many each field has."""
    rows, count, base = [], [], 0
    for number, field in enumerate(fields):
        captures = len(field.repeats)
        # Partners at every distance, counted round the end: all ordered pairs, and in a long movie enough of them.
        distances = np.arange(1, min(captures, _FARTHEST + 1)) if mode == "pairs" else np.zeros(1, int)
        first = np.repeat(np.arange(captures), len(distances))
        second = (first + np.tile(distances, captures)) % captures
        rows.append(np.stack([np.full_like(first, number), base + first, base + second], 1))
        count.append(len(first))
        base += captures
    return np.concatenate(rows).astype(np.int32), np.array(count, np.int32)


def _bright_origins(
    picture: np.ndarray, patch: tuple[int, ...], low: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Origins whose patch is centred in a bright block, as boxes (first origin, number)."""
    means, starts = np.asarray(picture, np.float64), []
    for axis, (length, part) in enumerate(zip(picture.shape, patch, strict=True)):
        edges = np.arange(0, length, max(part // 2, 1))
        widths = np.diff(np.append(edges, length)).reshape([-1 if k == axis else 1 for k in range(picture.ndim)])
        means = np.add.reduceat(means, edges, axis) / widths
        starts.append(edges)
    cells = np.argwhere(means > _otsu(means.ravel()))
    shift = np.array(patch) // 2
    begin = np.stack([starts[axis][cells[:, axis]] for axis in range(len(patch))], 1) - shift
    end = np.minimum(begin + np.maximum(shift, 1), np.array(picture.shape) - shift)
    firsts = np.maximum(begin[:, None], low)  # (cells, boxes, d)
    lengths = np.minimum(end[:, None], low + extent) - firsts
    fits = (lengths > 0).all(-1)
    return firsts[fits].astype(np.int32), lengths[fits].astype(np.int32)


def _otsu(values: np.ndarray) -> float:
    """The threshold that separates values into two classes best (Otsu 1979), exactly: between two sorted values."""
    ordered = np.sort(values)
    below = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    split = (
        (sums[-1] * below / len(ordered) - sums[:-1]) ** 2 / (below * (len(ordered) - below)) if len(below) else below
    )
    if not len(below) or not split.max() > 0:
        return float("inf")
    best = int(np.argmax(split))
    return float((ordered[best] + ordered[best + 1]) / 2)
