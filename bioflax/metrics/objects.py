"""Scores of segmented objects: which predicted label is which true one, and the AP, F1 and PQ that follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bioflax.errors import InputError

IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
ROUNDING = 1e-9  # a threshold of 0.1 * 6 still matches an IoU of 3 / 5


@dataclasses.dataclass(frozen=True)
class LabelMatches:
    """Pairs of a true and a predicted object, sorted by the true label.

    Attributes:
        truth_label, predicted_label: (P,) values in the two label images.
        iou: (P,) intersection over union, 0..1.
        n_true, n_predicted: objects in the two label images.
    """

    truth_label: np.ndarray
    predicted_label: np.ndarray
    iou: np.ndarray
    n_true: int
    n_predicted: int

    def __len__(self) -> int:
        return len(self.iou)

    @property
    def tp(self) -> int:
        """True objects that were found."""
        return len(self.iou)

    @property
    def fp(self) -> int:
        """Predicted objects that are no true one."""
        return self.n_predicted - self.tp

    @property
    def fn(self) -> int:
        """True objects that were missed."""
        return self.n_true - self.tp


class LabelRates(NamedTuple):
    """Shares 0..1, one each IoU threshold (and image). With nothing to find and nothing found all are 1.

    `ap` is TP / (TP + FP + FN) as in the 2018 Data Science Bowl and StarDist, not an area under a curve; `pq` is the sum of
    IoU over TP + FP / 2 + FN / 2 (Kirillov et al. 2019); `mean_matched_score` and `mean_true_score` are that sum over TP
    and over all true objects.
    """

    ap: np.ndarray
    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pq: np.ndarray
    mean_matched_score: np.ndarray
    mean_true_score: np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelScores:
    """Counts of every image at every threshold, and the rates that follow.

    Attributes:
        iou: (K,) thresholds.
        tp, fp, fn: (images, K) counts.
        iou_sum: (images, K) sum of the IoU of the pairs.
        n_true, n_predicted: (images,) objects.
    """

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    iou_sum: np.ndarray
    n_true: np.ndarray
    n_predicted: np.ndarray

    @property
    def pooled(self) -> LabelRates:
        """(K,) rates of the counts of all images together: a crowded image weighs more."""
        return _rates(*(counts.sum(0) for counts in (self.tp, self.fp, self.fn, self.iou_sum)))

    @property
    def per_image(self) -> LabelRates:
        """(images, K) rates of each image."""
        return _rates(self.tp, self.fp, self.fn, self.iou_sum)

    @property
    def mean(self) -> LabelRates:
        """(K,) mean of the rates over images: each weighs the same. Differs from `pooled` on the same objects."""
        return LabelRates(*(values.mean(0) for values in self.per_image))

    def at(self, iou: float) -> dict[str, float]:
        """The numbers at one threshold: `tp`, `fp`, `fn`, pooled rates by name, and means over images as `mean_...`.

        Raises:
            InputError: the threshold was not scored.
        """
        near = np.flatnonzero(abs(self.iou - iou) < ROUNDING)
        if near.size == 0:
            raise InputError(
                f"iou: expected one of {', '.join(f'{one:g}' for one in self.iou)}, found {iou}. Score it."
            )
        k = int(near[0])
        counts = {name: int(getattr(self, name)[:, k].sum()) for name in ("tp", "fp", "fn")}
        rates = {name: float(values[k]) for name, values in self.pooled._asdict().items()}
        return counts | rates | {f"mean_{name}": float(values[k]) for name, values in self.mean._asdict().items()}


class _Overlaps(NamedTuple):
    """Pairs of objects that share pixels: labels of all objects, and a row and column number and an IoU each pair."""

    truth_labels: np.ndarray
    predicted_labels: np.ndarray
    row: np.ndarray
    column: np.ndarray
    iou: np.ndarray


def label_overlaps(truth: Any, predicted: Any) -> Any:
    """Pixels that each true and each predicted object share.

    Args:
        truth, predicted: label images of one shape, 0 the background; labels may have gaps.

    Returns:
        (n_true + 1, n_predicted + 1) int64, `scipy.sparse.csr_array`: 10 000 objects of each kind would fill 800 MB
        dense. Row and column 0 are the background; the others follow the labels in rising order.

    Raises:
        InputError: shapes that differ, no integers, or negative labels.
    """
    return _counted(truth, predicted)[2]


def match_labels(truth: Any, predicted: Any, iou: float = 0.5) -> LabelMatches:
    """Pairs true and predicted objects one to one.

    As many pairs of at least the threshold as can be, and of all ways to do so the one of largest total IoU of all
    objects that are paired, also below the threshold, as StarDist does. From 0.5 up there is but one way. Source:
    Schmidt et al. 2018; its `stardist.matching.matching`.

    Args:
        truth, predicted: label images of one shape, any number of axes, 0 the background.
        iou: least intersection over union of a pair, above 0 and at most 1.

    Returns:
        The pairs.

    Raises:
        InputError: as `label_overlaps`, or a threshold outside (0, 1].
    """
    threshold = _thresholds([iou])[0]
    overlaps = _overlaps(truth, predicted)
    taken = _assigned(overlaps, threshold)
    return LabelMatches(
        overlaps.truth_labels[overlaps.row[taken]],
        overlaps.predicted_labels[overlaps.column[taken]],
        overlaps.iou[taken],
        len(overlaps.truth_labels),
        len(overlaps.predicted_labels),
    )


def score_labels(pairs: Iterable[tuple[Any, Any]], ious: Sequence[float] = IOUS) -> LabelScores:
    """Scores label images against the truth at several thresholds, pooled and image by image.

    Args:
        pairs: (truth, predicted) label images, as `match_labels`; read one after the other, so a generator will do.
        ious: thresholds, above 0 and at most 1.

    Returns:
        Counts and rates.

    Raises:
        InputError: as `match_labels`, or no pair at all.
    """
    thresholds = _thresholds(ious)
    counts, objects = [], []
    for truth, predicted in pairs:
        overlaps = _overlaps(truth, predicted)
        objects.append((len(overlaps.truth_labels), len(overlaps.predicted_labels)))
        taken = [overlaps.iou[_assigned(overlaps, threshold)] for threshold in thresholds]
        counts.append([(len(found), found.sum()) for found in taken])
    if not counts:
        raise InputError("pairs: expected at least one (truth, predicted) pair of label images, found none. Add one.")
    n_true, n_predicted = np.asarray(objects, np.int64).T
    tp, iou_sum = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    tp = tp.astype(np.int64)
    return LabelScores(thresholds, tp, n_predicted[:, None] - tp, n_true[:, None] - tp, iou_sum, n_true, n_predicted)


def _thresholds(ious: Sequence[float]) -> np.ndarray:
    thresholds = np.atleast_1d(np.asarray(ious, np.float64))
    if thresholds.size == 0 or not np.all((thresholds > 0) & (thresholds <= 1)):
        raise InputError(f"iou: expected thresholds above 0 and at most 1, found {ious}. Use 0.5.")
    return thresholds


def _counted(truth: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Labels of the true and of the predicted objects, and the pixels they share."""
    from scipy.sparse import coo_array  # here: half a second that training need not wait for

    truth, predicted = _labels("truth", truth), _labels("predicted", predicted)
    if truth.shape != predicted.shape:
        raise InputError(
            f"truth/predicted: expected label images of one shape, found {truth.shape} and {predicted.shape}. Crop both."
        )
    truth, predicted = truth.ravel(), predicted.ravel()
    # Runs of equal pixels along the rows are far fewer than pixels: what is sorted below is short
    changes = (truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])
    starts = np.append(np.zeros(min(truth.size, 1), np.int64), np.flatnonzero(changes) + 1)
    lengths = np.diff(starts, append=truth.size)
    (true_labels, row), (predicted_labels, column) = (_numbered(image[starts]) for image in (truth, predicted))
    shape = (len(true_labels) + 1, len(predicted_labels) + 1)
    return true_labels, predicted_labels, coo_array((lengths, (row, column)), shape).tocsr()


def _labels(name: str, labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name}: expected integer labels, found {labels.dtype}. Convert them, such as to int32.")
    if labels.size and labels.min() < 0:
        raise InputError(f"{name}: expected labels of at least 0, found {labels.min()}. Set what is no object to 0.")
    return labels


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels above 0 in rising order, and for each value its number among them from 1; 0 stays 0."""
    unique, number = np.unique(np.append(values, np.zeros(1, values.dtype)), return_inverse=True)
    return unique[1:], number[:-1]


def _overlaps(truth: Any, predicted: Any) -> _Overlaps:
    true_labels, predicted_labels, counts = _counted(truth, predicted)
    true_size, predicted_size = (np.asarray(counts.sum(axis)).ravel() for axis in (1, 0))
    counts = counts.tocoo()
    row, column = counts.coords
    both = (row > 0) & (column > 0)
    row, column, shared = row[both], column[both], counts.data[both]
    iou = shared / (true_size[row] + predicted_size[column] - shared)
    return _Overlaps(true_labels, predicted_labels, row - 1, column - 1, iou)


def _assigned(overlaps: _Overlaps, threshold: float) -> np.ndarray:
    """Places of the chosen pairs of at least the threshold, by row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row, column, iou = overlaps.row, overlaps.column, overlaps.iou
    good = iou >= threshold - ROUNDING
    if not good.any():
        return np.zeros(0, np.int64)
    if threshold > 0.5 + ROUNDING:  # more than half of both: no object has two such partners
        return np.flatnonzero(good)
    rows, columns = len(overlaps.truth_labels), len(overlaps.predicted_labels)
    # A column of its own for each row stands for no partner; 2 more everywhere, as a stored 0 would be no pair
    cost = np.append(2.0 - good - iou / (2 * min(rows, columns)), np.full(rows, 2.0))
    all_rows = np.append(row, np.arange(rows))
    all_columns = np.append(column, columns + np.arange(rows))
    partner = min_weight_full_bipartite_matching(coo_array((cost, (all_rows, all_columns))).tocsr())[1]
    return np.flatnonzero(good & (partner[row] == column))


def _rates(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, iou_sum: np.ndarray) -> LabelRates:
    nothing = tp + fp + fn == 0

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(nothing, 1.0, part / np.where(whole > 0, whole, 1))

    return LabelRates(
        ap=share(tp, tp + fp + fn),
        f1=share(2 * tp, 2 * tp + fp + fn),
        precision=share(tp, tp + fp),
        recall=share(tp, tp + fn),
        pq=share(iou_sum, tp + 0.5 * fp + 0.5 * fn),
        mean_matched_score=share(iou_sum, tp),
        mean_true_score=share(iou_sum, tp + fn),
    )
