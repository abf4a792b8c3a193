"""Per-image sums behind the scores of objects and of spots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioflax.metrics.objects import match_labels, score_labels
from bioflax.metrics.points import match_points, score_points
from bioflax.studies.tally import Tally

FAR_PX, NEAR_PX = 3.0, 1.0
GAP_PX = 2  # objects with at most one pixel of background between them touch


def label_tallies(truth: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> dict[str, Tally]:
    """Sums of `ap50`, `ap75`, `f1_50`, `false_per_mpx` and `pair_recall`, one each image.

    `false_per_mpx` counts objects that are no true one at an IoU of 0.5, over millions of pixels: on blank images all that
    is found. `pair_recall` is the share of touching pairs of which both were found. An image with nothing in it and nothing
    found says nothing about AP and F1.

    Args:
        truth: label images, 0 the background.
        made: label images that were found, of the same shapes.
    """
    scores = score_labels(zip(truth, made), (0.5, 0.75))
    tp, fp, fn = (np.asarray(counts, np.float64) for counts in (scores.tp, scores.fp, scores.fn))
    either = tp + fp + fn
    pairs = [_found_labels(one, other) for one, other in zip(truth, made)]
    return {
        "ap50": Tally(tp[:, 0], either[:, 0]),
        "ap75": Tally(tp[:, 1], either[:, 1]),
        "f1_50": Tally(2.0 * tp[:, 0], (tp + either)[:, 0]),
        "false_per_mpx": Tally(fp[:, 0], 1e-6 * np.array([one.size for one in truth])),
        "pair_recall": _both(pairs),
    }


def point_tallies(
    truth: Sequence[np.ndarray], made: Sequence[np.ndarray], pixels: Sequence[int], pair_px: float
) -> dict[str, Tally]:
    """Sums of `f1_3px`, `f1_1px`, `rmse_px`, `false_per_mpx` and `pair_recall`, one each image.

    `rmse_px` is that of the pairs within 3 px; `false_per_mpx` counts spots that are farther from any true one, over millions
    of pixels; `pair_recall` is the share of close pairs (two that are each other's nearest) of which both were found within
    half their distance, at most 3 px.

    Args:
        truth: (P, d) px each.
        made: (N, d) px each.
        pixels: of each image.
        pair_px: largest distance of a close pair.
    """
    both = list(zip(truth, made))
    far, near = score_points(both, FAR_PX), score_points(both, NEAR_PX)
    pairs = [_found_points(one, other, pair_px) for one, other in both]
    return {
        "f1_3px": Tally(2.0 * far.tp, 2.0 * far.tp + far.fp + far.fn),
        "f1_1px": Tally(2.0 * near.tp, 2.0 * near.tp + near.fp + near.fn),
        "rmse_px": Tally(far.square_sum_px2, far.tp, "root"),
        "false_per_mpx": Tally(far.fp, 1e-6 * np.asarray(pixels)),
        "pair_recall": _both(pairs),
    }


def touching_pairs(labels: np.ndarray) -> np.ndarray:
    """(K, 2) labels of objects of which some pixels are at most two apart along an axis or a diagonal."""
    found = []
    for axis in range(labels.ndim):
        for step in range(1, GAP_PX + 1):
            front, back = [slice(None)] * labels.ndim, [slice(None)] * labels.ndim
            front[axis], back[axis] = slice(step, None), slice(None, -step)
            one, other = labels[tuple(front)], labels[tuple(back)]
            meet = (one > 0) & (other > 0) & (one != other)
            found.append(np.stack([one[meet], other[meet]], axis=-1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def close_pairs(points: np.ndarray, pair_px: float) -> np.ndarray:
    """(K, 2) rows of points that are each other's nearest, nearer than a distance."""
    from scipy.spatial import cKDTree  # here: half a second that training need not wait for

    if len(points) < 2:
        return np.zeros((0, 2), int)
    distance_px, nearest = (part[:, 1] for part in cKDTree(points).query(points, k=2))
    rows = np.arange(len(points))
    mutual = (nearest[nearest] == rows) & (rows < nearest) & (distance_px < pair_px)
    return np.stack([rows, nearest], axis=-1)[mutual]


def _found_labels(truth: np.ndarray, made: np.ndarray) -> np.ndarray:
    """(K,) whether both of each touching pair were found."""
    pairs = touching_pairs(truth)
    seen = match_labels(truth, made, 0.5).truth_label if len(pairs) else np.zeros(0, int)
    return np.isin(pairs, seen).all(axis=1)


def _found_points(truth: np.ndarray, made: np.ndarray, pair_px: float) -> np.ndarray:
    """(K,) whether both of each close pair were found, with all points of the image taking what is theirs."""
    pairs = close_pairs(truth, pair_px)
    if not len(pairs):
        return np.zeros(0, bool)
    matches = match_points(truth, made, FAR_PX)
    distance_px = np.full(len(truth), np.inf)
    distance_px[matches.truth] = matches.distance_px
    apart_px = np.linalg.norm(truth[pairs[:, 0]] - truth[pairs[:, 1]], axis=1)
    return (distance_px[pairs] <= 0.5 * apart_px[:, None]).all(axis=1)


def _both(found: Sequence[np.ndarray]) -> Tally:
    return Tally(np.array([one.sum() for one in found], np.float64), np.array([len(one) for one in found], np.float64))
