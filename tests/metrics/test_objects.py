"""Scores of label images: StarDist's own numbers, the optimum by trying every assignment, counts by hand, bad input."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics import LabelRates, label_overlaps, match_labels, score_labels

EXPECTED = json.loads(Path(__file__).with_name("expected_detection.json").read_text())["labels"]


def label_case(seed, side=72, count=22, shape=2):
    """Truth and a prediction of overlapping boxes: shifted, resized, split, merged, missed and false, labels with gaps."""
    rng = np.random.default_rng(seed)
    truth, predicted = (np.zeros((side,) * shape, np.int32) for _ in range(2))
    for number in range(1, count + 1):
        corner, size = rng.integers(0, side - 6, shape), rng.integers(4, 14, shape)
        truth[tuple(slice(c, c + s) for c, s in zip(corner, size))] = 3 * number
        corner, size = np.maximum(corner + rng.integers(-2, 3, shape), 0), size + rng.integers(-2, 3, shape)
        box = tuple(slice(c, c + s) for c, s in zip(corner, size))
        fate = rng.uniform()
        if fate < 0.8:
            predicted[box] = 2 * number if fate > 0.15 else 2 * (number // 2 + 1)
        if fate < 0.3:
            predicted[box][: size[0] // 2] = 1000 + number
    return truth, predicted


def overlap_ious(truth, predicted):
    """(n_true, n_predicted) IoU, pixel by pixel."""
    true_labels, predicted_labels = (np.unique(image[image > 0]) for image in (truth, predicted))
    ious = np.zeros((len(true_labels), len(predicted_labels)))
    for (i, a), (j, b) in itertools.product(enumerate(true_labels), enumerate(predicted_labels)):
        ious[i, j] = ((truth == a) & (predicted == b)).sum() / ((truth == a) | (predicted == b)).sum()
    return ious


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: f"seed {case['seed']}")
def test_every_number_is_that_of_stardist(case):
    truth, predicted = label_case(case["seed"], shape=case["axes"], side=case["side"])
    assert int(truth.sum()) == case["truth_sum"] and int(predicted.sum()) == case["predicted_sum"]
    scores = score_labels([(truth, predicted)], EXPECTED["iou"])
    for name in ("tp", "fp", "fn"):
        assert getattr(scores, name)[0].tolist() == case[name]
    for name in LabelRates._fields:
        np.testing.assert_allclose(getattr(scores.pooled, name), case[name], atol=1e-6, err_msg=name)
    for iou, tp in zip(EXPECTED["iou"], case["tp"]):
        assert match_labels(truth, predicted, iou).tp == tp


def test_data_set_pooled_and_by_image_is_that_of_stardist():
    pairs = [label_case(case["seed"], shape=case["axes"], side=case["side"]) for case in EXPECTED["cases"]]
    scores = score_labels(iter(pairs), EXPECTED["iou"])
    for name in LabelRates._fields:
        np.testing.assert_allclose(getattr(scores.pooled, name), EXPECTED["pooled"][name], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(getattr(scores.mean, name), EXPECTED["by_image"][name], atol=1e-6, err_msg=name)
    at = scores.at(0.5)
    k = EXPECTED["iou"].index(0.5)
    assert at["tp"] == scores.tp[:, k].sum() and at["fn"] == scores.n_true.sum() - at["tp"]
    assert at["ap"] == scores.pooled.ap[k] != at["mean_ap"] == scores.mean.ap[k]


@pytest.mark.parametrize("iou", [0.05, 0.1, 0.2, 0.3, 0.5])
def test_assignment_is_the_best_of_all(iou):
    contested = 0
    for seed in range(60):
        truth, predicted = label_case(seed, side=12, count=5)
        ious = overlap_ious(truth, predicted)
        if ious.shape[0] > ious.shape[1]:
            ious, truth, predicted = ious.T, predicted, truth
        rows = range(ious.shape[0])
        partners = itertools.permutations(range(ious.shape[1]), len(rows))
        ways = (np.array([ious[i, j] for i, j in zip(rows, way)]) for way in partners)
        keys = [((way >= iou).sum(), round(way.sum(), 9)) for way in ways]
        best = max(keys, default=(0, 0.0))
        found = match_labels(truth, predicted, iou)
        assert found.tp == best[0]
        assert len(set(found.truth_label)) == len(set(found.predicted_label)) == found.tp and (found.iou >= iou).all()
        good = ious >= iou
        contested += (good.sum(0) > 1).any() or (good.sum(1) > 1).any()
    assert contested > (5 if iou < 0.5 else -1)  # there was something to choose between


def test_counts_by_hand():
    truth = np.zeros((4, 10), np.uint8)
    truth[:, :4], truth[:, 5:9] = 7, 200
    predicted = np.zeros((4, 10), np.int64)
    predicted[:, :5], predicted[:2, 6:9], predicted[3, 9] = 90_000, 5, 1
    overlaps = label_overlaps(truth, predicted)
    assert overlaps.dtype == np.int64
    # rows: background, 7, 200; columns: background, 1, 5, 90000
    assert overlaps.toarray().tolist() == [[3, 1, 0, 4], [0, 0, 0, 16], [10, 0, 6, 0]]
    found = match_labels(truth, predicted, 0.3)
    assert (found.truth_label.tolist(), found.predicted_label.tolist()) == ([7, 200], [90_000, 5])
    np.testing.assert_allclose(found.iou, [16 / 20, 6 / 16])
    assert (found.tp, found.fp, found.fn, found.n_true, found.n_predicted) == (2, 1, 0, 2, 3)
    scores = score_labels([(truth, predicted)], [0.3, 0.5])
    np.testing.assert_allclose(scores.pooled.ap, [2 / 3, 1 / 4])
    np.testing.assert_allclose(scores.pooled.pq, [(0.8 + 0.375) / 2.5, 0.8 / 2.5])
    np.testing.assert_allclose(scores.pooled.mean_true_score, [(0.8 + 0.375) / 2, 0.4])


def test_a_threshold_is_met_by_the_same_fraction_however_it_was_computed():
    truth, predicted = np.zeros((1, 6), int), np.zeros((1, 6), int)
    truth[0, :5], predicted[0, :3] = 1, 1
    assert match_labels(truth, predicted, 3 * 0.2).tp == 1  # 0.6000000000000001
    assert match_labels(truth, predicted, 0.61).tp == 0
    halves = np.array([[1, 1, 2, 2]])
    assert match_labels(np.ones((1, 4), int), halves, 0.5).tp == 1


def test_nothing_to_find_and_nothing_found_is_right():
    none, one = np.zeros((5, 5), np.int32), np.zeros((5, 5), np.int32)
    one[1:3, 1:3] = 1
    scores = score_labels([(none, none), (none, one), (one, none), (one, one)], [0.5])
    for name in LabelRates._fields:
        assert getattr(scores.per_image, name)[:, 0].tolist() == [1, 0, 0, 1], name
        assert getattr(scores.mean, name).tolist() == [0.5], name
    assert scores.pooled.ap.tolist() == [1 / 3] and scores.pooled.f1.tolist() == [0.5]
    assert score_labels([(none, none)]).pooled.ap.tolist() == [1.0] * 9
    for shape in ((0, 4), (0,)):
        assert label_overlaps(np.zeros(shape, int), np.zeros(shape, int)).toarray().tolist() == [[0]]
        assert match_labels(np.zeros(shape, int), np.zeros(shape, int)).n_true == 0


def test_ten_thousand_touching_objects_take_seconds():
    row, column = np.indices((800, 800)) // 8
    truth = (1 + 100 * row + column).astype(np.int32)
    predicted = np.roll(truth, (3, 2), (0, 1))  # each overlaps four others, all in one group
    start = time.perf_counter()
    scores = score_labels([(truth, predicted)], [0.1, 0.3, 0.5])
    assert time.perf_counter() - start < 8
    # 5 x 6 of 8 x 8 pixels are shared with the one it came from: IoU 30 / 98
    assert scores.tp[0].tolist() == [10_000, 10_000, 0]
    np.testing.assert_allclose(scores.pooled.mean_matched_score[1], 30 / 98)


@pytest.mark.parametrize(
    ("truth", "predicted", "iou", "text"),
    [
        (np.zeros((3, 4), int), np.zeros((4, 3), int), 0.5, r"truth/predicted: expected label images of one shape, found \(3, 4\)"),
        (np.zeros((3, 4)), np.zeros((3, 4), int), 0.5, "truth: expected integer labels, found float64"),
        (np.zeros((3, 4), int), np.zeros((3, 4), bool), 0.5, "predicted: expected integer labels, found bool"),
        (np.zeros((3, 4), int), np.full((3, 4), -1), 0.5, "predicted: expected labels of at least 0, found -1"),
        (np.zeros((3, 4), int), np.zeros((3, 4), int), 0.0, "iou: expected thresholds above 0 and at most 1, found"),
        (np.zeros((3, 4), int), np.zeros((3, 4), int), 50, "iou: expected thresholds above 0 and at most 1, found"),
    ],
)  # fmt: skip
def test_bad_input(truth, predicted, iou, text):
    with pytest.raises(InputError, match=text) as error:
        match_labels(truth, predicted, iou)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=text):
        score_labels([(truth, predicted)], [iou])


def test_bad_sets():
    with pytest.raises(InputError, match="pairs: expected at least one"):
        score_labels([])
    with pytest.raises(InputError, match="iou: expected one of 0.5, 0.7, found 0.6"):
        score_labels([(np.zeros((2, 2), int),) * 2], [0.5, 0.7]).at(0.6)
