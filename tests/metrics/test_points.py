"""Scores of points: the published tools' own numbers, written-out brute force, counts by hand, bad input."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from bioflax.errors import InputError
from bioflax.metrics import both_found, f1_integral, match_points, score_points, sweep_threshold

EXPECTED = json.loads(Path(__file__).with_name("expected_detection.json").read_text())["points"]


def point_case(seed, count=40, side_px=64.0, axes=2):
    """Truth and predictions: scattered by about a pixel, missed, doubled and false."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, side_px, (count, axes))
    predicted = truth[rng.uniform(size=count) < 0.8]
    predicted = np.concatenate([predicted, predicted[: count // 8], rng.uniform(0, side_px, (count // 4, axes))])
    return truth, predicted + rng.normal(0, 0.9, predicted.shape)


def case_of(case):
    return point_case(case["seed"], case["count"], case["side_px"], case["axes"])


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: f"seed {case['seed']}")
def test_every_number_is_that_of_spotiflow(case):
    truth, predicted = case_of(case)
    assert truth.sum() == pytest.approx(case["truth_sum"], rel=1e-12)
    for k, cutoff in enumerate(EXPECTED["distance_px"]):
        scores = score_points([(truth, predicted)], cutoff)
        assert [int(scores.tp[0]), int(scores.fp[0]), int(scores.fn[0])] == [
            case[name][k] for name in ("tp", "fp", "fn")
        ]
        rates = {name: case[name][k] for name in ("f1", "precision", "recall", "jaccard", "panoptic")}
        assert {name: getattr(scores.pooled, name) for name in rates} == pytest.approx(rates, abs=1e-6)
        distance = match_points(truth, predicted, cutoff).distance_px
        assert distance.mean() == pytest.approx(case["mean_distance_px"][k], abs=1e-6)
        assert scores.pooled.rmse_px == pytest.approx(np.sqrt((distance**2).mean()))


def test_data_set_pooled_and_by_image_is_that_of_spotiflow():
    pairs = [case_of(case) for case in EXPECTED["cases"]]
    for k, cutoff in enumerate(EXPECTED["distance_px"]):
        scores = score_points(iter(pairs), cutoff)
        for name, values in EXPECTED["pooled"].items():
            assert getattr(scores.pooled, name) == pytest.approx(values[k], abs=1e-6), name
        for name, values in EXPECTED["by_image"].items():
            assert getattr(scores.mean, name) == pytest.approx(values[k], abs=1e-6), name
    summary = scores.summary()
    assert summary["f1"] == scores.pooled.f1 != summary["mean_f1"] == scores.mean.f1
    assert summary["tp"] == scores.tp.sum()


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: f"seed {case['seed']}")
def test_integral_is_that_of_deepblink(case):
    truth, predicted = case_of(case)
    assert f1_integral(truth, predicted) == pytest.approx(case["f1_integral"], abs=1e-6)


def test_integral_written_out():
    for seed in range(5):
        truth, predicted = point_case(seed, 25, 24.0)
        distance = cdist(truth, predicted)
        curve = []
        for cutoff in np.linspace(0, 3, 50):
            cost = np.where(distance < cutoff, distance, 1e4)  # dear: as many pairs as can be
            tp = (cost[linear_sum_assignment(cost)] < 1e4).sum()
            precision, recall = tp / len(predicted), tp / len(truth)
            curve.append(2 * precision * recall / (precision + recall) if tp else 0.0)
        expected = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / 49
        assert f1_integral(truth, predicted) == pytest.approx(expected, abs=1e-12)
    assert f1_integral(truth, truth[::-1]) == pytest.approx(1.0)
    assert f1_integral([[7.0, 7.0]], [[7.0, 8.5]]) == pytest.approx(0.5)
    assert f1_integral(truth, truth[:0]) == f1_integral([], truth) == 0.0
    assert f1_integral([], []) == 1.0


def brute_hungarian(truth, predicted, cutoff):
    """(pairs, least sum of squares) by trying every assignment of the shorter list, none included."""
    square = cdist(truth, predicted, "sqeuclidean")
    if square.shape[0] > square.shape[1]:
        square = square.T
    padded = np.hstack([square, np.full((square.shape[0],) * 2, np.inf)])
    keys = []
    for way in itertools.permutations(range(padded.shape[1]), padded.shape[0]):
        chosen = padded[np.arange(len(way)), way]
        chosen = chosen[chosen <= cutoff**2]
        keys.append((-len(chosen), round(chosen.sum(), 9)))
    return min(keys)


def test_hungarian_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(40):
        truth, predicted = rng.uniform(0, 6, (3, 2)), rng.uniform(0, 6, (4, 2))
        found = match_points(truth, predicted, 3.0)
        assert (-len(found), round((found.distance_px**2).sum(), 9)) == brute_hungarian(truth, predicted, 3.0)


def test_squared_distances_decide():
    # distances 0 and 3, or 2 and 2: the smaller sum has the larger sum of squares
    truth, predicted = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 0.0], [-0.25, 63**0.5 / 4]])
    pair = match_points(truth, predicted, 4.0)
    distance = cdist(truth, predicted)
    ways = {way: distance[[0, 1], way] for way in ((0, 1), (1, 0))}
    least_square, least_sum = (min(ways, key=lambda way: (ways[way] ** k).sum()) for k in (2, 1))
    assert least_square != least_sum
    assert tuple(pair.predicted.tolist()) == least_square


def test_greedy_takes_the_closest_first():
    truth, predicted = np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 0.9], [0.0, -1.8]])
    greedy = match_points(truth, predicted, 2.0, "greedy")
    assert (greedy.truth.tolist(), greedy.predicted.tolist(), greedy.distance_px.tolist()) == ([0], [0], [0.9])
    full = match_points(truth, predicted, 2.0)
    assert (full.truth.tolist(), full.predicted.tolist()) == ([0, 1], [1, 0])
    assert score_points([(truth, predicted)], 2.0, "greedy").tp.tolist() == [1]
    for seed in range(5):
        truth, predicted = point_case(seed, 60, 30.0)
        square, found = cdist(truth, predicted), []
        while square.min() <= 3.0:
            i, j = np.unravel_index(square.argmin(), square.shape)
            found.append((i, j))
            square[i], square[:, j] = np.inf, np.inf
        greedy = match_points(truth, predicted, 3.0, "greedy")
        assert sorted(found) == list(zip(greedy.truth, greedy.predicted))


def test_the_distance_itself_is_near_enough():
    assert len(match_points([[0, 0]], [[0, 3]], 3.0)) == 1
    assert len(match_points([[0, 0]], [[0, 3.0001]], 3.0)) == 0
    assert len(match_points([[0, 0, 0]], [[2, 2, 1]], 3.0)) == 1
    assert match_points([[1, 1]], [[1, 1]]).distance_px.tolist() == [0.0]


def test_nothing_to_find_and_nothing_found_is_right():
    none, one = np.zeros((0, 2)), [[4.0, 4.0]]
    scores = score_points([(none, none), (none, one), (one, none), (one, one), ([], [])])
    for name in ("f1", "recall", "jaccard", "panoptic"):
        expected = [1, 0, 0, 1, 1] if name != "recall" else [1, 1, 0, 1, 1]
        np.testing.assert_allclose(getattr(scores.per_image, name), expected, atol=1e-7, err_msg=name)
    assert np.isnan(scores.per_image.rmse_px).tolist() == [True, True, True, False, True]
    assert scores.mean.rmse_px == 0.0 and scores.pooled.rmse_px == 0.0
    assert scores.mean.f1 == pytest.approx(0.6) and scores.pooled.f1 == pytest.approx(0.5)
    assert np.isnan(score_points([(none, one)]).mean.rmse_px)


def test_both_of_a_pair_need_their_own():
    truth = np.array([[10.0, 10.0], [10.0, 12.0], [30.0, 30.0], [30.0, 32.0]])
    pairs = [[0, 1], [2, 3]]
    assert both_found(truth, truth, pairs) == 1.0
    between = np.array([[10.0, 11.0], [30.0, 30.2], [30.0, 31.8]])
    assert both_found(truth, between, pairs) == 0.5
    assert both_found(truth, between[1:] + np.array([0.0, 5.0]), pairs) == 0.0
    assert both_found(truth, between, [[0, 2]]) in (0.0, 1.0)
    assert both_found(truth, between, pairs, distance_px=0.1) == 0.0
    assert np.isnan(both_found(truth, between, np.zeros((0, 2), int)))


def test_sweep_is_the_score_at_every_threshold():
    rng = np.random.default_rng(8)
    images = [point_case(seed, 30, 26.0) for seed in range(3)] + [(np.zeros((0, 2)), rng.uniform(0, 9, (3, 2)))]
    images = [(truth, predicted, rng.integers(0, 25, len(predicted)) / 25) for truth, predicted in images]
    curve = sweep_threshold(images, 3.0)
    assert curve.threshold[0] == np.inf and curve.tp[0] == 0
    assert len(curve.threshold) == 1 + len(np.unique(np.concatenate([score for *_, score in images])))
    for k, threshold in enumerate(curve.threshold):
        scores = score_points([(truth, predicted[score >= threshold]) for truth, predicted, score in images], 3.0)
        assert (curve.tp[k], curve.fp[k], curve.fn[k]) == (scores.tp.sum(), scores.fp.sum(), scores.fn.sum())
        assert curve.f1[k] == pytest.approx(scores.pooled.f1)
    assert curve.best == (curve.threshold[np.argmax(curve.f1)], curve.f1.max())
    assert sweep_threshold([([], [], [])]).best == (np.inf, 1.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: match_points([[0, 0]], [[0, 0]], rule="nearest"), "rule: expected one of hungarian, greedy, found 'nearest'"),
        (lambda: match_points([[0, 0]], [[0, 0]], 0.0), "distance_px: expected a positive distance in px, found 0.0"),
        (lambda: match_points([[0, 0]], [[0, 0, 0]]), "truth/predicted: expected points of as many axes, found 2 and 3"),
        (lambda: match_points([0.0, 1.0], [[0, 0]]), r"truth: expected \(N, d\) positions in px, found shape \(2,\)"),
        (lambda: match_points([[0, 0]], [[0, np.nan]]), "predicted: expected finite positions, found NaN"),
        (lambda: score_points([]), "pairs: expected at least one"),
        (lambda: f1_integral([[0, 0]], [[0, 0]], cutoffs=1), "cutoffs: expected at least 2, found 1"),
        (lambda: both_found([[0, 0]], [[0, 0]], [[0, 1]]), "pairs: expected rows from 0 to 0, found 0 to 1"),
        (lambda: both_found([[0, 0]], [[0, 0]], [0, 1]), r"pairs: expected \(K, 2\) rows of the truth"),
        (lambda: sweep_threshold([([[0, 0]], [[0, 0]], [1, 2])]), r"score: expected 1 finite numbers, one each point, found"),
    ],
)  # fmt: skip
def test_bad_input(call, text):
    with pytest.raises(InputError, match=text) as error:
        call()
    assert "\n" not in str(error.value)
