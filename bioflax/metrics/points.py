"""Scores of detected points, such as spots: pairing within a distance, F1 and its kin, close pairs, thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.matching import _assigned, _first_free

POINT_RULES = ("hungarian", "greedy")
EPSILON = 1e-8  # Spotiflow's: nothing to find and nothing found scores 1


@dataclasses.dataclass(frozen=True)
class PointMatches:
    """Pairs of a true and a predicted point, sorted by the row of the truth.

    Attributes:
        truth, predicted: (P,) rows of the two lists.
        distance_px: (P,) their distance.
        n_true, n_predicted: points in the two lists.
    """

    truth: np.ndarray
    predicted: np.ndarray
    distance_px: np.ndarray
    n_true: int
    n_predicted: int

    def __len__(self) -> int:
        return len(self.truth)


class PointRates(NamedTuple):
    """Numbers of a set of points. Shares are 0..1; with nothing to find and nothing found all of them are 1.

    `panoptic` is the sum of (c - d) / c over TP + FP / 2 + FN / 2, with d the distance of a pair and c the largest
    allowed; `rmse_px` is the root of the mean squared distance of the pairs, all axes together, NaN without pairs.
    """

    f1: Any
    precision: Any
    recall: Any
    jaccard: Any
    panoptic: Any
    rmse_px: Any


@dataclasses.dataclass(frozen=True)
class PointScores:
    """Counts of every image, and the rates that follow.

    Attributes:
        distance_px: largest distance of a pair.
        tp, fp, fn: (images,) counts.
        distance_sum_px, square_sum_px2: (images,) sums of the distances of the pairs and of their squares.
    """

    distance_px: float
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    distance_sum_px: np.ndarray
    square_sum_px2: np.ndarray

    @property
    def pooled(self) -> PointRates:
        """Rates of the counts of all images together: a crowded image weighs more."""
        parts = (self.tp, self.fp, self.fn, self.distance_sum_px, self.square_sum_px2)
        return PointRates(*(float(value) for value in _rates(self.distance_px, *(part.sum() for part in parts))))

    @property
    def per_image(self) -> PointRates:
        """(images,) rates of each image."""
        return _rates(self.distance_px, self.tp, self.fp, self.fn, self.distance_sum_px, self.square_sum_px2)

    @property
    def mean(self) -> PointRates:
        """Mean of the rates over images, as Spotiflow reports; `rmse_px` over those with pairs."""
        rates = self.per_image
        seen = rates.rmse_px[np.isfinite(rates.rmse_px)]
        return PointRates(*(float(np.mean(value)) for value in rates[:-1]), float(seen.mean()) if seen.size else np.nan)

    def summary(self) -> dict[str, float]:
        """`tp`, `fp`, `fn`, pooled rates by name, and means over images as `mean_...`."""
        counts = {name: int(getattr(self, name).sum()) for name in ("tp", "fp", "fn")}
        means = {f"mean_{name}": value for name, value in self.mean._asdict().items()}
        return counts | self.pooled._asdict() | means


@dataclasses.dataclass(frozen=True)
class ThresholdCurve:
    """Pooled counts as the threshold on the score falls, at every score where they change.

    Attributes:
        threshold: (K,) falling; what scores at least this much is kept. The first, infinity, keeps nothing.
        tp, fp, fn: (K,) counts.
        f1: (K,) shares.
    """

    threshold: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> tuple[float, float]:
        """Threshold of the largest F1, the highest of equals, and this F1."""
        k = int(np.argmax(self.f1))
        return float(self.threshold[k]), float(self.f1[k])


def match_points(truth: Any, predicted: Any, distance_px: float = 3.0, rule: str = "hungarian") -> PointMatches:
    """Pairs true and predicted points one to one, no farther apart than a distance.

    `hungarian` makes as many pairs as can be and, of all ways to do so, takes that of least total squared distance
    (Spotiflow; Dominguez Mantes et al. 2025); `greedy` takes the closest pair, then the next among those still free.

    Args:
        truth: (M, d) positions, px.
        predicted: (N, d) positions, px, axes in the same order.
        distance_px: largest distance of a pair.
        rule: one of `POINT_RULES`.

    Returns:
        The pairs.

    Raises:
        InputError: an unknown rule, shapes that do not fit, NaN, or a distance that is not positive.
    """
    if rule not in POINT_RULES:
        raise InputError(f"rule: expected one of {', '.join(POINT_RULES)}, found {rule!r}. Choose one of these.")
    truth, predicted, a, b, square = _within(truth, predicted, distance_px)
    counts = len(truth), len(predicted)
    if rule == "hungarian":
        chosen = _assigned(a, b, square, *counts)
    else:
        order = np.lexsort((b, a, square))  # ties go to the earlier rows
        chosen = order[_first_free(a[order], b[order], *counts)]
    chosen = chosen[np.argsort(a[chosen], kind="stable")]
    return PointMatches(a[chosen], b[chosen], np.sqrt(square[chosen]), *counts)


def score_points(pairs: Iterable[tuple[Any, Any]], distance_px: float = 3.0, rule: str = "hungarian") -> PointScores:
    """Scores lists of points against the truth, pooled and image by image.

    F1 is 2 (TP + e) / (2 (TP + e) + FP + FN) with e = 1e-8, and so for the other shares, as in Spotiflow. One number
    departs from it: its panoptic quality of an empty list for an empty image is 0, here 1.

    Args:
        pairs: (truth, predicted) positions, as `match_points`; read one after the other.
        distance_px, rule: as `match_points`.

    Returns:
        Counts and rates.

    Raises:
        InputError: as `match_points`, or no pair at all.
    """
    rows = []
    for truth, predicted in pairs:
        found = match_points(truth, predicted, distance_px, rule)
        d = found.distance_px
        rows.append((len(found), found.n_predicted - len(found), found.n_true - len(found), d.sum(), (d**2).sum()))
    if not rows:
        raise InputError("pairs: expected at least one (truth, predicted) pair of point lists, found none. Add one.")
    tp, fp, fn, distance_sum, square_sum = np.asarray(rows, np.float64).T
    counts = (count.astype(np.int64) for count in (tp, fp, fn))
    return PointScores(float(distance_px), *counts, distance_sum, square_sum)


def f1_integral(truth: Any, predicted: Any, largest_px: float = 3.0, cutoffs: int = 50) -> float:
    """Area under F1 over the cutoff, from 0 to the largest, over this length (deepBlink; Eichenberger et al. 2021).

    At each cutoff: as many pairs nearer than it as can be, of least total distance; at 0 those without any distance. A
    set of images is scored by the mean over them. deepBlink prices a forbidden pair at the largest distance between any
    two points, which is the same unless all points lie within a few cutoffs. It gives an empty list for an empty image
    0; here it is 1, as with `score_points`.

    Args:
        truth, predicted: (M, d) and (N, d) positions, px.
        largest_px: largest cutoff.
        cutoffs: how many, evenly spaced.

    Returns:
        0..1; 1 only where every point is met without any distance.

    Raises:
        InputError: as `match_points`, or fewer than two cutoffs.
    """
    if cutoffs < 2:
        raise InputError(f"cutoffs: expected at least 2, found {cutoffs}. Use 50.")
    truth, predicted, a, b, square = _within(truth, predicted, largest_px)
    total = len(truth) + len(predicted)
    if total == 0:
        return 1.0
    steps, f1 = np.linspace(0.0, largest_px, cutoffs), []
    distance = np.sqrt(square)
    for cutoff in steps:
        near = distance < cutoff if cutoff > 0 else distance == 0
        f1.append(2 * len(_assigned(a[near], b[near], distance[near], len(truth), len(predicted))) / total)
    return float(np.trapezoid(f1, steps) / largest_px)


def both_found(truth: Any, predicted: Any, pairs: Any, distance_px: float = 2.0) -> float:
    """Share of close pairs of true points of which both were found, each by a prediction of its own.

    Args:
        truth, predicted: (M, d) and (N, d) positions, px; all of an image, so that others take what is theirs.
        pairs: (K, 2) rows of the truth.
        distance_px: largest distance of a prediction.

    Returns:
        0..1; NaN without pairs.

    Raises:
        InputError: as `match_points`, or rows that the truth does not have.
    """
    matches = match_points(truth, predicted, distance_px)
    pairs = np.asarray(pairs)
    if pairs.size == 0:
        return float("nan")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise InputError(f"pairs: expected (K, 2) rows of the truth, found {pairs.dtype} {pairs.shape}. Give integers.")
    if pairs.min() < 0 or pairs.max() >= matches.n_true:
        raise InputError(
            f"pairs: expected rows from 0 to {matches.n_true - 1}, found {pairs.min()} to {pairs.max()}. Count from 0."
        )
    found = np.zeros(matches.n_true, bool)
    found[matches.truth] = True
    return float(found[pairs].all(1).mean())


def sweep_threshold(detections: Iterable[tuple[Any, Any, Any]], distance_px: float = 3.0) -> ThresholdCurve:
    """Pooled F1 at every threshold on the score, as `score_points` gives it with the `hungarian` rule.

    Points join by falling score, and each adds a pair where a chain of exchanges frees a partner for it (Kuhn 1955), so
    one pass counts the pairs of every threshold.

    Args:
        detections: (truth (M, d), predicted (N, d), score (N,)) of each image, positions in px.
        distance_px: largest distance of a pair.

    Returns:
        The curve.

    Raises:
        InputError: as `match_points`, or scores that do not fit the points.
    """
    partners: list[list[int]] = []
    scores, true_count = [np.zeros(0)], 0
    for truth, predicted, score in detections:
        truth, predicted, a, b, _ = _within(truth, predicted, distance_px)
        score = np.asarray(score, np.float64)
        if score.shape != (len(predicted),) or not np.isfinite(score).all():
            raise InputError(
                f"score: expected {len(predicted)} finite numbers, one each point, found shape {score.shape}. Fit them."
            )
        order = np.lexsort((a, b))
        edges = np.searchsorted(b[order], np.arange(len(predicted) + 1))
        rows = (a[order] + true_count).tolist()
        partners += [rows[start:end] for start, end in zip(edges[:-1].tolist(), edges[1:].tolist())]
        scores.append(score)
        true_count += len(truth)
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    gained = _gains(partners, order.tolist(), true_count)
    kept = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)[: score.size] + 1
    kept = np.append(0, kept)  # how many points pass each threshold
    tp = np.append(0, np.cumsum(gained))[kept]
    fp, fn = kept - tp, true_count - tp
    f1 = 2 * (tp + EPSILON) / (2 * (tp + EPSILON) + fp + fn)
    return ThresholdCurve(np.append(np.inf, score[order])[kept], tp, fp, fn, f1)


def _gains(partners: list[list[int]], order: list[int], true_count: int) -> np.ndarray:
    """For each point in order, whether it adds a pair to the largest matching."""
    owner = [-1] * true_count
    gained = np.zeros(len(order), bool)
    for place, point in enumerate(order):
        # Breadth first: the rows reached, and the point from which each was
        came, queue, end = {}, [point], -1
        while queue and end < 0:
            current = queue.pop(0)
            for row in partners[current]:
                if row in came:
                    continue
                came[row] = current
                if owner[row] < 0:
                    end = row
                    break
                queue.append(owner[row])
        gained[place] = end >= 0
        while end >= 0:  # hand the rows on along the way back
            giver = came[end]
            before = next((row for row in partners[giver] if owner[row] == giver), -1)
            owner[end] = giver
            end = before
    return gained


def _within(truth: Any, predicted: Any, distance_px: float) -> tuple[np.ndarray, ...]:
    """Checked points, and all pairs no farther apart: rows of the truth, rows of predictions, squared distance."""
    from scipy.spatial import cKDTree  # here: half a second that training need not wait for

    if not (np.isfinite(distance_px) and distance_px > 0):
        raise InputError(f"distance_px: expected a positive distance in px, found {distance_px}. Use 3.")
    truth, predicted = _points("truth", truth), _points("predicted", predicted)
    if len(truth) == 0 or len(predicted) == 0:
        return truth, predicted, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if truth.shape[1] != predicted.shape[1]:
        raise InputError(
            f"truth/predicted: expected points of as many axes, found {truth.shape[1]} and {predicted.shape[1]}. "
            "Leave z out of both."
        )
    found = cKDTree(truth).sparse_distance_matrix(cKDTree(predicted), distance_px * (1 + 1e-6), output_type="ndarray")
    a, b = found["i"].astype(np.int64), found["j"].astype(np.int64)
    square = ((truth[a] - predicted[b]) ** 2).sum(1)
    allowed = square <= distance_px**2
    return truth, predicted, a[allowed], b[allowed], square[allowed]


def _points(name: str, points: Any) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2:
        raise InputError(f"{name}: expected (N, d) positions in px, found shape {points.shape}. Stack axes as columns.")
    if not np.isfinite(points).all():
        raise InputError(f"{name}: expected finite positions, found NaN or infinity. Remove these rows.")
    return points


def _rates(cutoff_px: float, tp: Any, fp: Any, fn: Any, distance_sum: Any, square_sum: Any) -> PointRates:
    nothing = tp + fp + fn == 0
    some = tp + EPSILON
    pairs = np.maximum(tp, 1)
    return PointRates(
        f1=2 * some / (2 * some + fp + fn),
        precision=some / (some + fp),
        recall=some / (some + fn),
        jaccard=some / (some + fp + fn),
        panoptic=np.where(nothing, 1.0, (tp - distance_sum / cutoff_px) / (some + 0.5 * fp + 0.5 * fn)),
        rmse_px=np.where(tp > 0, np.sqrt(square_sum / pairs), np.nan),
    )
