"""Thresholds of a detector: the middle of the best, found on held-out images."""

from __future__ import annotations

import numpy as np

from bioflax.hub.held_out_objects import LEVELS, middle_of_best, tune_objects, tune_points
from bioflax.predict.objects import Detections


def test_the_middle_of_an_even_top_is_taken() -> None:
    values = np.zeros(len(LEVELS))
    values[10:21] = 0.8
    values[12] = 0.803  # as good as the others
    values[30] = 0.8  # apart from the top
    assert middle_of_best(values) == LEVELS[15]
    assert middle_of_best(np.zeros(len(LEVELS))) == LEVELS[len(LEVELS) // 2]


def test_points_are_tuned_between_true_and_false_ones() -> None:
    truth = np.array([[5.0, 5.0], [20.0, 9.0], [30.0, 30.0]])
    false = np.array([[12.0, 30.0], [33.0, 4.0]])
    found = Detections((40, 40), np.concatenate([truth, false]), np.array([0.9, 0.85, 0.8, 0.4, 0.3]))
    tuned, kept = tune_points([found], [truth], 1.0)
    assert 0.55 <= tuned["threshold"] <= 0.65 and len(kept[0]) == 3


def test_objects_are_tuned_in_threshold_and_overlap() -> None:
    y, x = np.mgrid[:48, :48]
    truth = np.zeros((48, 48), np.int32)
    truth[(y - 12) ** 2 + (x - 12) ** 2 <= 64] = 1
    truth[(y - 30) ** 2 + (x - 33) ** 2 <= 64] = 2
    position = np.array([[12.0, 12.0], [30.0, 33.0], [13.0, 13.0], [10.0, 40.0]])
    rays = np.full((4, 32), 8.3)
    found = Detections((48, 48), position, np.array([0.9, 0.8, 0.7, 0.3]), rays=rays)
    tuned, kept = tune_objects([found], [truth], 1.0)
    assert 0.45 <= tuned["threshold"] <= 0.65 and len(kept[0]) == 2  # the copy is suppressed, the ghost is below
    assert tuned["overlap"] in (0.3, 0.4, 0.5)
