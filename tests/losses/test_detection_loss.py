"""Losses of detectors against float64 oracles that are written out."""

from __future__ import annotations

import numpy as np

from bioflax import losses


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_cross_entropy_with_soft_targets_and_weights() -> None:
    random = np.random.default_rng(0)
    logit, target, weight = random.normal(0, 3, (3, 5)), random.uniform(0, 1, (3, 5)), random.uniform(0, 2, (3, 5))
    p = sigmoid(logit)
    expected = weight * -(target * np.log(p) + (1 - target) * np.log(1 - p))
    np.testing.assert_allclose(losses.cross_entropy(logit, target, weight), expected, rtol=1e-4)


def test_focal_loss_of_centernet() -> None:
    random = np.random.default_rng(1)
    logit, target = random.normal(0, 3, (4, 6)), random.uniform(0, 1, (4, 6))
    target[0, :3] = 1.0
    p = sigmoid(logit)
    expected = np.where(target == 1, -((1 - p) ** 2) * np.log(p), -((1 - target) ** 4) * p**2 * np.log(1 - p))
    np.testing.assert_allclose(losses.penalty_reduced_focal(logit, target), expected, rtol=2e-4, atol=1e-6)


def test_ray_error_is_the_published_distance_loss() -> None:
    random = np.random.default_rng(2)
    rays, target = random.normal(5, 3, (2, 4, 3, 8)), random.uniform(0, 9, (2, 4, 3, 8))
    interior = random.uniform(0, 1, (2, 4, 3, 1)) * (random.uniform(size=(2, 4, 3, 1)) > 0.5)
    expected = np.mean(interior * np.abs(rays - target)) / np.mean(interior)
    expected += 1e-4 * np.mean((1 - interior) * np.abs(rays))
    np.testing.assert_allclose(np.mean(losses.ray_error(rays, target, interior)), expected, rtol=1e-4)


def test_an_empty_batch_has_a_finite_ray_error() -> None:
    value = losses.ray_error(np.ones((1, 2, 2, 4)), np.zeros((1, 2, 2, 4)), np.zeros((1, 2, 2, 1)))
    np.testing.assert_allclose(value, 1e-4, rtol=1e-5)
