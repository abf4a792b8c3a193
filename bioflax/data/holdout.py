"""What training does not see: a corner of every field, or whole fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np

from bioflax.data.image_set import Box, Field, ImageSet
from bioflax.data.table import check_patch
from bioflax.errors import InputError

_FEW = 20  # below that many independent fields, each gives a corner


@dataclass(frozen=True)
class Split:
    """Disjoint parts of a set.

    Attributes:
        train: fields to learn from; patches avoid their `held_out` box.
        validation: fields, or parts of fields, to judge on; None if nothing is held out.
    """

    train: ImageSet
    validation: ImageSet | None


def split(
    image_set: ImageSet, fraction: float, kind: str = "auto", *, patch: Sequence[int] | None = None, seed: int = 0
) -> Split:
    """Holds out a part of a set.

    Args:
        image_set: the fields.
        fraction: of the area, or of the fields, that is held out; 0 holds out nothing.
        kind: `region` (a corner of each field, another corner for each in turn; whole in Z), `images` (all fields cut
            from a file go together, so that neighbouring frames are not on both sides), or `auto`: regions below 20
            independent files.
        patch: pixels per spatial axis; a region is at least that large, and leaves room for one beside it.
        seed: which files are held out.

    Returns:
        The parts.

    Raises:
        InputError: a fraction outside [0, 0.9], an unknown kind, one file alone for `images`, or fields too small to
            hold out a region.
    """
    if not 0.0 <= fraction <= 0.9:
        raise InputError(f"validation fraction: expected 0 to 0.9, found {fraction}")
    if kind not in ("auto", "region", "images"):
        raise InputError(f"validation kind: expected auto, region or images, found {kind!r}")
    if fraction == 0:
        return Split(image_set, None)
    sources = sorted({field.source for field in image_set.items})
    if kind == "images" or (kind == "auto" and len(sources) >= _FEW):
        if len(sources) < 2:
            raise InputError("validation kind: images needs two independent files or more, found one; take region")
        number = min(max(1, round(fraction * len(sources))), len(sources) - 1)
        out = {sources[place] for place in np.random.default_rng(seed).permutation(len(sources))[:number]}
        parts = [
            tuple(field for field in image_set.items if (field.source in out) is inside) for inside in (False, True)
        ]
        return Split(replace(image_set, items=parts[0]), replace(image_set, items=parts[1]))
    smallest = (1,) * image_set.spatial_dims if patch is None else check_patch(image_set, patch)
    # Fields of one file may show the same sample, so they hold out the same corner.
    boxes = [_corner(field, sources.index(field.source), fraction, smallest) for field in image_set.items]
    train = tuple(replace(field, held_out=box) for field, box in zip(image_set.items, boxes, strict=True))
    held = tuple(field.crop(box) for field, box in zip(image_set.items, boxes, strict=True))
    return Split(replace(image_set, items=train), replace(image_set, items=held))


def hold_out(image_set: ImageSet, box: Sequence[int]) -> Split:
    """Holds out one box of every field.

    Args:
        image_set: the fields, 2-D.
        box: [y0, y1, x0, x1], pixels of the files, half-open; where a field ends before, what it has of the box.

    Returns:
        The parts.

    Raises:
        InputError: no such box, or one outside a field.
    """
    whole = [value for value in box if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
    if len(whole) != len(box) or len(box) != 4 or box[1] <= box[0] or box[3] <= box[2]:
        raise InputError(
            f"validation_box: expected pixels [y0, y1, x0, x1] with y0 < y1 and x0 < x1, found {list(box)}"
        )
    train, held = [], []
    for field in image_set.items:
        inside = tuple(
            (max(start - first, 0), min(stop - first, last - first))
            for (start, stop), (first, last) in zip((box[:2], box[2:]), field.repeats[0].box, strict=True)
        )
        if any(stop <= start for start, stop in inside):
            raise InputError(f"validation_box: {list(box)} lies outside {field.name} {field.size}; give a box inside")
        train.append(replace(field, held_out=inside))
        held.append(field.crop(inside))
    return Split(replace(image_set, items=tuple(train)), replace(image_set, items=tuple(held)))


def _corner(field: Field, number: int, fraction: float, patch: tuple[int, ...]) -> Box:
    """A corner of the plane with that fraction of its area."""
    height, width = field.size[-2:]
    rows, columns = (max(ceil(sqrt(fraction) * size), part) for size, part in zip((height, width), patch[-2:]))
    if height - rows < patch[-2] and width - columns < patch[-1]:
        raise InputError(
            f"{field.name}: {field.size} is too small to hold out a region and train on patches {patch} beside it; "
            "take smaller patches (data.patch), or hold out nothing (data.validation=0)"
        )
    top, left = (number % 4 in (1, 3)), (number % 4 in (2, 3))
    y = (0, rows) if top else (height - rows, height)
    x = (0, columns) if left else (width - columns, width)
    return (*((0, size) for size in field.size[:-2]), y, x)
