"""What became of each object or spot: found, false or missed; for pictures."""

from __future__ import annotations

import numpy as np

from bioflax.metrics.objects import LabelMatches
from bioflax.metrics.points import PointMatches

FOUND, FALSE, MISSED = "found", "false", "missed"

States = dict[str, np.ndarray]


def object_states(truth: np.ndarray, predicted: np.ndarray, matches: LabelMatches) -> States:
    """Label images of the predictions that hit, of those that are false, and of the true objects that were missed."""
    hit = np.isin(predicted, matches.predicted_label) & (predicted > 0)
    known = np.isin(truth, matches.truth_label)
    return {
        FOUND: np.where(hit, predicted, 0),
        FALSE: np.where(hit, 0, predicted),
        MISSED: np.where(known, 0, truth),
    }


def point_states(truth: np.ndarray, predicted: np.ndarray, matches: PointMatches) -> States:
    """Points (N, d) that hit, that are false, and the true ones that were missed."""
    hit, known = np.zeros(len(predicted), bool), np.zeros(len(truth), bool)
    hit[matches.predicted], known[matches.truth] = True, True
    return {FOUND: predicted[hit], FALSE: predicted[~hit], MISSED: truth[~known]}
