"""What the pictures of an evaluation of detections need: crops of the worst images and a few others, with every state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioflax.metrics.outcomes import FALSE, FOUND, MISSED, States

CROP = 256  # pixels a side
WORST, OTHERS = 10, 4


def chosen_images(scores: Sequence[float], errors: Sequence[int]) -> tuple[list[int], list[int]]:
    """Images to show: the worst, and a few of the others at even steps of rank up to the best.

    Args:
        scores: (N,) one an image, higher is better.
        errors: (N,) wrong objects; more of them is worse among equal scores.

    Returns:
        The worst, worst first; the others, worst first.
    """
    order = np.lexsort((-np.asarray(errors), np.asarray(scores))).tolist()
    rest = order[WORST:]
    steps = np.unique(np.linspace(0, len(rest) - 1, min(OTHERS, len(rest))).round().astype(int)) if rest else []
    return order[:WORST], [rest[step] for step in steps]


def picture_of(k: int, image: np.ndarray, states: Mapping[str, States]) -> dict[str, np.ndarray]:
    """The arrays `image_k` and `<method>.<state>_k` of one image, cut where the first method has most errors.

    Args:
        k: number of the picture.
        image: (H, W), or (Z, H, W): the brightest plane for points, the middle one for objects.
        states: method -> label images of the shape of the image, or points (N, d) with y, x last.
    """
    main = next(iter(states.values()))
    objects = main[FOUND].shape == image.shape and np.issubdtype(main[FOUND].dtype, np.integer)
    if image.ndim == 3:
        image = image[len(image) // 2] if objects else image.max(0)
    if objects and main[FOUND].ndim == 3:
        states = {name: {s: v[len(v) // 2] for s, v in own.items()} for name, own in states.items()}
        main = next(iter(states.values()))
    places = {state: centres(values) if objects else values[:, -2:] for state, values in main.items()}
    wrong = np.concatenate([places[FALSE], places[MISSED]])
    window = window_of(wrong if len(wrong) else places[FOUND], image.shape)
    arrays: dict[str, np.ndarray] = {f"image_{k}": np.nan_to_num(image[window].astype(np.float32))}
    for name, own in states.items():
        for state, values in own.items():
            cut = values[window] if objects else inside(values[:, -2:], window)
            arrays[f"{name}.{state}_{k}"] = cut.astype(np.int32 if objects else np.float32)
    return arrays


def centres(labels: np.ndarray) -> np.ndarray:
    """(n, 2) mean y and x of each object."""
    rows, columns = np.nonzero(labels)
    numbers = np.unique(labels[rows, columns], return_inverse=True)[1]
    size = np.bincount(numbers)
    return np.column_stack([np.bincount(numbers, at) / size for at in (rows, columns)])


def window_of(points: np.ndarray, shape: Sequence[int], side: int = CROP) -> tuple[slice, slice]:
    """The window of at most side x side pixels that holds most points, on a grid of half windows."""
    starts = [sorted({*range(0, max(n - side, 0) + 1, side // 2), max(n - side, 0)}) for n in shape]
    windows = [
        tuple(slice(at, at + min(side, n)) for at, n in zip((y, x), shape)) for y in starts[0] for x in starts[1]
    ]
    return max(windows, key=lambda window: len(inside(points, window)))


def inside(points: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """Those of the points (n, 2) within a window, from its corner."""
    low, high = (np.array([getattr(part, end) for part in window]) for end in ("start", "stop"))
    kept = np.all((points >= low - 0.5) & (points < high - 0.5), axis=1)
    return points[kept] - low


def heads(worst: Sequence[int], others: Sequence[int], names: Sequence[str], scores: Any) -> dict[str, np.ndarray]:
    """`names`, `scores` and `worst` (whether among the worst) of the pictures."""
    chosen = [*worst, *others]
    return {
        "names": np.array([str(names[i]) for i in chosen], dtype=str),
        "scores": np.array([scores[i] for i in chosen], float),
        "worst": np.arange(len(chosen)) < len(worst),
    }
