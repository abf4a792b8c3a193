"""Which prediction is which emitter? Three rules of pairing within a frame, inside a cylinder of tolerance."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bioflax.errors import InputError

MATCHING_RULES = ("greedy", "hungarian", "nearest")


@dataclasses.dataclass(frozen=True)
class Matches:
    """Pairs of a prediction and a true emitter, sorted by the row of the truth.

    Attributes:
        predicted: (P,) rows of the predictions.
        truth: (P,) rows of the truth.
        distance_nm: (P,) their distance, of 3-D positions in 3-D.
    """

    predicted: np.ndarray
    truth: np.ndarray
    distance_nm: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)


def match_emitters(
    predicted: Any,
    predicted_frame: Any,
    truth: Any,
    truth_frame: Any,
    *,
    lateral_nm: float = 250.0,
    axial_nm: float | None = 500.0,
    rule: str = "greedy",
) -> Matches:
    """Pairs predictions with true emitters of the same frame, each at most once.

    A pair is allowed when its lateral distance is at most `lateral_nm` and, in 3-D, its axial one at most `axial_nm`.
    The rules: `greedy` takes the closest pair of the frame, then the next among those still free, as the Matlab scorer
    of the 2016 challenge and DECODE do (Sage et al. 2019); `hungarian` makes as many pairs as possible and, of all ways
    to do so, takes that of least total distance; `nearest` gives each true emitter, in the order of the rows, the
    closest prediction still free.

    Args:
        predicted: (N, 2) or (N, 3) x, y[, z], nm.
        predicted_frame: (N,) frame of each.
        truth: (M, 2) or (M, 3) x, y[, z], nm.
        truth_frame: (M,) frame of each.
        lateral_nm: radius of the cylinder, nm.
        axial_nm: half its height, nm; None leaves z out of the gate (not out of the distance). Ignored in 2-D.
        rule: one of `MATCHING_RULES`.

    Returns:
        The pairs.

    Raises:
        InputError: an unknown rule, shapes that do not fit, NaN, or a tolerance that is not positive.
    """
    if rule not in MATCHING_RULES:
        raise InputError(f"rule: expected one of {', '.join(MATCHING_RULES)}, found {rule!r}. Choose one of these.")
    for name, value in (("lateral_nm", lateral_nm), ("axial_nm", axial_nm)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}: expected a positive tolerance in nm, found {value}. Use 250 and 500.")
    predicted, predicted_frame = _points("predicted", predicted, predicted_frame)
    truth, truth_frame = _points("truth", truth, truth_frame)
    if len(predicted) and len(truth) and predicted.shape[1] != truth.shape[1]:
        raise InputError(
            f"predicted/truth: expected both in 2-D or both in 3-D, found {predicted.shape[1]} and {truth.shape[1]} "
            "coordinates. Leave z out of both."
        )
    a, b, distance = _candidates(predicted, predicted_frame, truth, truth_frame, lateral_nm, axial_nm)
    if rule == "hungarian":
        chosen = _assigned(a, b, distance, len(predicted), len(truth))
    else:
        # Ties go to the earlier rows, so that the result does not depend on the search
        order = np.lexsort((a, b, distance) if rule == "greedy" else (a, distance, b))
        chosen = order[_first_free(a[order], b[order], len(predicted), len(truth))]
    chosen = chosen[np.argsort(b[chosen], kind="stable")]
    return Matches(a[chosen], b[chosen], distance[chosen])


def _points(name: str, points: Any, frame: Any) -> tuple[np.ndarray, np.ndarray]:
    points, frame = np.asarray(points, np.float64), np.asarray(frame)
    if points.size == 0:
        return np.zeros((0, 3)), np.zeros(0, np.int64)
    if points.ndim != 2 or points.shape[1] not in (2, 3) or frame.shape != points.shape[:1]:
        raise InputError(
            f"{name}: expected (N, 2) or (N, 3) positions and (N,) frames, found {points.shape} and {frame.shape}. "
            "Stack x, y and z as columns."
        )
    if not np.isfinite(points).all():
        raise InputError(f"{name}: expected finite positions, found NaN or infinity. Remove these rows.")
    return points, frame


def _candidates(
    predicted: np.ndarray,
    predicted_frame: np.ndarray,
    truth: np.ndarray,
    truth_frame: np.ndarray,
    lateral_nm: float,
    axial_nm: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All allowed pairs: rows of predictions, rows of truth, distance."""
    from scipy.spatial import cKDTree  # here: half a second that training need not wait for

    none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if len(predicted) == 0 or len(truth) == 0:
        return none
    # One search for all frames: each gets a layer of its own, farther from the next than the search reaches
    number = np.unique(np.concatenate([predicted_frame, truth_frame]), return_inverse=True)[1]
    layer = number * (4.0 * lateral_nm)
    trees = [
        cKDTree(np.column_stack([points[:, :2], level]))
        for points, level in ((predicted, layer[: len(predicted)]), (truth, layer[len(predicted) :]))
    ]
    found = trees[0].sparse_distance_matrix(trees[1], lateral_nm * (1 + 1e-6) + 1e-9, output_type="ndarray")
    a, b = found["i"].astype(np.int64), found["j"].astype(np.int64)
    step = predicted[a] - truth[b]
    allowed = np.hypot(step[:, 0], step[:, 1]) <= lateral_nm
    if axial_nm is not None and step.shape[1] == 3:
        allowed &= abs(step[:, 2]) <= axial_nm
    return a[allowed], b[allowed], np.sqrt((step[allowed] ** 2).sum(1))


def _first_free(a: np.ndarray, b: np.ndarray, count_a: int, count_b: int) -> np.ndarray:
    """Goes through pairs in order and takes each whose both ends are free; returns the places of those taken."""
    free_a, free_b = bytearray(b"\x01") * count_a, bytearray(b"\x01") * count_b
    taken = []
    for place, (i, j) in enumerate(zip(a.tolist(), b.tolist())):
        if free_a[i] and free_b[j]:
            free_a[i] = free_b[j] = 0
            taken.append(place)
    return np.asarray(taken, np.int64)


def _assigned(a: np.ndarray, b: np.ndarray, distance: np.ndarray, count_a: int, count_b: int) -> np.ndarray:
    """Most pairs of least total distance, solved for each group of points that can reach one another."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if len(a) == 0:
        return np.zeros(0, np.int64)
    size = count_a + count_b
    _, group = connected_components(coo_matrix((np.ones(len(a)), (a, b + count_a)), (size, size)), directed=False)
    order = np.argsort(group[a], kind="stable")
    starts = np.flatnonzero(np.diff(group[a][order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    alone = ends - starts == 1
    taken = [order[starts[alone]]]
    for start, end in zip(starts[~alone].tolist(), ends[~alone].tolist()):
        pairs = order[start:end]
        rows, i = np.unique(a[pairs], return_inverse=True)
        columns, j = np.unique(b[pairs], return_inverse=True)
        # A forbidden pair costs more than all allowed ones together: none is taken where one more could be made
        forbidden = 1.0 + distance[pairs].max() * (min(len(rows), len(columns)) + 1)
        cost = np.full((len(rows), len(columns)), forbidden)
        cost[i, j] = distance[pairs]
        number = np.full(cost.shape, -1)
        number[i, j] = pairs
        chosen = number[linear_sum_assignment(cost)]
        taken.append(chosen[chosen >= 0])
    return np.concatenate(taken)
