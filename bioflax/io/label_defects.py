"""What is wrong with the objects of a label image, and filling their holes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bioflax.io.label_image import check_labels

_MOST_PIECES = 512  # of one label that are compared with one another


def label_defects(labels: np.ndarray, dtype: np.typing.DTypeLike | None = None) -> dict[str, int | bool]:
    """Counts what is unusual in a label image.

    An overflow of 8-bit labels is suspected where the pixels are uint8, the largest label is 255 and either all
    labels 1 to 255 occur, or a label occurs in places far apart (the gap between two of its pieces is wider than the
    longest side of either), as object 257 gets label 1 by wrapping round and 255 collects the rest by clipping.

    Args:
        labels: (Y, X) or (Z, Y, X) whole numbers from 0.
        dtype: pixel type in the file, such as `open_image(path).dtype`; None takes that of `labels`. `read_labels`
            gives int32 whatever the file has.

    Returns:
        `objects`: labels present; `holes`: labels that enclose background; `pieces`: labels in several pieces that do
        not even touch at a corner; `one_pixel`: labels of one pixel; `overflow`: True where suspected.

    Raises:
        InputError: as `check_labels`.
    """
    eight_bit = np.dtype(np.asarray(labels).dtype if dtype is None else dtype) == np.uint8
    labels = check_labels(labels)
    from scipy import ndimage

    corners = np.ones((3,) * labels.ndim)
    full = eight_bit and labels.max() == 255
    counts = {"objects": 0, "holes": 0, "pieces": 0, "one_pixel": 0}
    scattered = False
    for label, box in _objects(labels):
        window = labels[box]
        mask = window == label
        parts, number = ndimage.label(mask, corners)
        counts["objects"] += 1
        counts["one_pixel"] += int(mask.sum() == 1)
        counts["pieces"] += int(number > 1)
        counts["holes"] += int((_holes(mask) & (window == 0)).any())
        if full and number > 1:
            scattered |= _far_apart(ndimage.find_objects(parts))
    return {**counts, "overflow": bool(full and (counts["objects"] == 255 or scattered))}


def fill_label_holes(labels: np.ndarray) -> np.ndarray:
    """Gives the background that an object encloses to this object; pixels of other objects stay as they are.

    A hole is what cannot be left by steps along rows and columns without crossing the object: a ring closed by a
    diagonal step encloses it. Where objects lie in one another the inner one (of the smaller bounding box) gets it.

    Args:
        labels: (Y, X) or (Z, Y, X) whole numbers from 0.

    Returns:
        int32 of the same shape.

    Raises:
        InputError: as `check_labels`.
    """
    labels = check_labels(labels)
    filled = labels.copy()
    boxes = [(int(np.prod([part.stop - part.start for part in box])), label, box) for label, box in _objects(labels)]
    for _, label, box in sorted(boxes, key=lambda entry: (-entry[0], entry[1])):
        window = labels[box]
        hole = _holes(window == label) & (window == 0)
        if hole.any():
            filled[box][hole] = label
    return filled


def _objects(labels: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each label with its bounding box, in increasing order."""
    from scipy import ndimage

    values = None
    if labels.max() > labels.size:  # find_objects makes a list as long as the largest label
        values, labels = np.unique(labels, return_inverse=True)
        if values[0] != 0:
            values, labels = np.concatenate([[0], values]), labels + 1
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield (number if values is None else int(values[number])), box


def _holes(mask: np.ndarray) -> np.ndarray:
    """Where a mask encloses what it does not hold."""
    from scipy import ndimage

    regions, number = ndimage.label(~np.pad(mask, 1))
    if number == 1:
        return np.zeros_like(mask)
    inner = regions[(slice(1, -1),) * mask.ndim]
    return (inner > 0) & (inner != regions.flat[0])


def _far_apart(boxes: list[tuple[slice, ...]]) -> bool:
    """True if the gap between two boxes is wider than the longest side of either."""
    low = np.array([[part.start for part in box] for box in boxes])
    high = np.array([[part.stop for part in box] for box in boxes])
    side = (high - low).max(1)
    largest = np.argsort(-side, kind="stable")[:_MOST_PIECES]
    low, high, side = low[largest], high[largest], side[largest]
    gap = np.maximum(low[:, None] - high[None], low[None] - high[:, None]).max(-1)
    return bool((gap > np.maximum(side[:, None], side[None])).any())
