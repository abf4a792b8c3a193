"""Suppression of polygons and points, against loops from the highest score down."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.ops import suppression
from bioflax.ops.polygons import intersection_areas, polygon_areas
from bioflax.ops.suppression import (
    close_pairs,
    keep_greedily,
    non_maximum_suppression,
    suppress_points,
    suppress_polygons,
    thin_points,
)


def loop(conflict, mask):
    """Rows that a loop keeps; conflict is (K, K)."""
    keep = np.zeros(len(mask), bool)
    for j in np.flatnonzero(mask):
        keep[j] = not np.any(keep[:j] & conflict[:j, j])
    return keep


def draw(cases, count, rays=8, seed=0, field=40.0):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, field, (cases, count, 2)).astype(np.float32)
    length = rng.uniform(2, 12, (cases, count, 1)) * rng.uniform(0.5, 1.3, (cases, count, rays))
    return centre, length.astype(np.float32), rng.random((cases, count)) < 0.9


def overlaps(centre, rays, measure):
    """(N, K, K) overlaps of each row with the later ones of its case; the others are 0."""
    cases, count, _ = rays.shape
    one, two = np.triu_indices(count, 1)
    pairs = (centre[:, one], rays[:, one], centre[:, two], rays[:, two])
    flat = [values.reshape(-1, values.shape[-1]) for values in pairs]
    common = np.zeros((cases, count, count), np.float32)
    common[:, one, two] = np.asarray(intersection_areas(*flat)).reshape(cases, -1)
    area = np.asarray(polygon_areas(rays))
    a, b = area[:, :, None], area[:, None]
    return common / (np.minimum(a, b) if measure == "smaller" else a + b - common)


@pytest.mark.parametrize("measure, threshold", [("smaller", 0.4), ("iou", 0.25)])
def test_polygons_equal_the_loop_in_1000_cases(measure, threshold):
    centre, rays, mask = draw(1000, 14, seed=len(measure))
    overlap = overlaps(centre, rays, measure)
    assert np.abs(overlap - threshold).min() > 1e-7
    run = lambda *case: suppress_polygons(*case, threshold=threshold, measure=measure, max_pairs=91)  # noqa: E731
    keep, number = jax.jit(jax.vmap(run))(centre, rays, mask)
    expected = np.stack([loop(found > threshold, rows) for found, rows in zip(overlap, mask)])
    np.testing.assert_array_equal(keep, expected)
    conflicts = np.sum(np.triu(overlap > threshold, 1) & mask[:, None] & mask[:, :, None], axis=(1, 2))
    assert np.all(number >= conflicts) and np.all(number <= 91)
    assert 2 < expected.sum(1).mean() < 12


def test_many_polygons_equal_the_loop():
    centre, rays, mask = draw(1, 256, field=130.0, seed=4)
    expected = loop(overlaps(centre, rays, "smaller")[0] > 0.3, mask[0])
    keep, number = suppress_polygons(centre[0], rays[0], mask[0], threshold=0.3, measure="smaller", max_pairs=2048)
    assert 300 < number < 2048 and 30 < expected.sum() < 200
    np.testing.assert_array_equal(keep, expected)


def test_polygons_that_only_touch_stay():
    centre = np.array([[0.0, 0.0], [0.0, 10.0], [9.0, 5.0]])  # the second touches, the third stands clear
    assert non_maximum_suppression(centre, np.full((3, 8), 5.0), [3, 2, 1], threshold=0.0).tolist() == [0, 1, 2]
    assert non_maximum_suppression(centre, np.full((3, 8), 6.0), [3, 2, 1], threshold=0.0).tolist() == [0]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_close_pairs_are_all_found(axes):
    rng = np.random.default_rng(axes)
    position = rng.uniform(-50, 200, (150, axes)).astype(np.float32)
    reach, mask = rng.uniform(0, 30, 150).astype(np.float32), rng.random(150) < 0.8
    apart = np.linalg.norm(position[:, None].astype(float) - position, axis=-1)
    close = (apart < reach[:, None] + reach) & mask[:, None] & mask
    expected = set(zip(*map(np.ndarray.tolist, np.nonzero(np.triu(close, 1)))))
    first, second, number = close_pairs(position, reach, mask, 12000)
    assert number == len(expected) > 50
    assert set(zip(first[:number].tolist(), second[:number].tolist())) == expected
    assert not np.any(first[number:]) and not np.any(second[number:])
    if axes == 2:
        first, second, few = close_pairs(position, reach, mask, 32)
        assert few == number and len(first) == 32 and set(zip(first.tolist(), second.tolist())) <= expected


def test_pairs_at_the_very_distance_are_not_close():
    position = (np.arange(150)[:, None] * [0.0, 3.0] + [1000.0, 5.0]).astype(np.float32)
    reach, mask = np.full(150, 1.5, np.float32), np.ones(150, bool)
    assert close_pairs(position, reach, mask, 12000)[2] == 0
    assert close_pairs(position, np.nextafter(reach, np.float32(2)), mask, 12000)[2] == 149


def test_greedy_equals_the_loop_in_1000_cases():
    rng = np.random.default_rng(3)
    first, second = np.triu_indices(12, 1)
    conflict = rng.random((1000, len(first))) < rng.uniform(0.02, 0.6, (1000, 1))
    mask = rng.random((1000, 12)) < 0.8
    conflict &= mask[:, first] & mask[:, second]
    square = np.zeros((1000, 12, 12), bool)
    square[:, first, second] = conflict
    keep = jax.vmap(keep_greedily, in_axes=(None, None, 0, 0))(first, second, conflict, mask)
    np.testing.assert_array_equal(keep, [loop(*case) for case in zip(square, mask)])
    with jax.disable_jit():
        eager = keep_greedily(jnp.asarray(first), jnp.asarray(second), jnp.asarray(conflict[0]), jnp.asarray(mask[0]))
    np.testing.assert_array_equal(eager, keep[0])


def test_a_chain_keeps_every_other_row():
    rows = np.arange(499)
    keep = keep_greedily(rows, rows + 1, np.ones(499, bool), np.ones(500, bool))
    np.testing.assert_array_equal(keep, np.arange(500) % 2 == 0)


@pytest.mark.parametrize("axes", [2, 3])
def test_points_equal_the_loop(axes):
    rng = np.random.default_rng(axes)
    position, score = rng.uniform(0, 32, (512, axes)).astype(np.float32), rng.integers(0, 50, 512)
    order = sorted(range(512), key=lambda k: -score[k])
    apart = np.linalg.norm(position[:, None].astype(float) - position, axis=-1)[np.ix_(order, order)]
    expected = np.array(order)[loop(apart < 3.0, np.ones(512, bool))]
    assert 40 < len(expected) < 450
    np.testing.assert_array_equal(thin_points(position, score, distance_px=3.0), expected)
    keep, number = suppress_points(position[order], np.ones(512, bool), distance_px=3.0, max_pairs=4096)
    assert number == np.sum(np.triu(apart < 3.0, 1))
    np.testing.assert_array_equal(np.array(order)[np.asarray(keep)], expected)


@pytest.mark.parametrize("settings", [{}, {"ROWS": 200, "LEAST_ROWS": 128, "MOST_PAIRS": 3000}])
def test_no_pair_is_lost_when_there_are_many(monkeypatch, settings):
    for name, value in settings.items():
        monkeypatch.setattr(suppression, name, value)
    centre, rays, _ = draw(1, 256, field=30.0, seed=6)
    score = np.random.default_rng(0).random(256)
    order = np.argsort(-score)
    overlap = overlaps(centre[:, order], rays[:, order], "smaller")[0]
    expected = order[loop(overlap > 0.4, np.ones(256, bool))]
    ones = np.ones(256, bool)
    number = suppress_polygons(centre[0], rays[0], ones, threshold=0.4, measure="smaller", max_pairs=2048)[1]
    assert number > 2048  # more than the room that is tried first
    np.testing.assert_array_equal(non_maximum_suppression(centre[0], rays[0], score), expected)


def test_ten_thousand_candidates():
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(33)] * 2), -1).reshape(-1, 2)[:1000] * 20.0
    centre = np.repeat(grid, 10, axis=0) + rng.uniform(-1, 1, (10000, 2))
    score = rng.random(10000)
    best = score.reshape(1000, 10).argmax(1) + np.arange(1000) * 10
    expected = best[np.argsort(-score[best])]
    rays = np.full((10000, 8), 8.0)
    np.testing.assert_array_equal(non_maximum_suppression(centre, rays, score), expected)
    np.testing.assert_array_equal(thin_points(centre, score, distance_px=8.0), expected)


def test_equal_scores_keep_the_earlier_row():
    rays = np.full((6, 8), 5.0)
    centre = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0], [50.0, 1.0], [90.0, 0.0], [90.0, 1.0]])
    score = np.array([0.5, 0.5, 0.5, 0.7, 0.9, 0.5])
    assert non_maximum_suppression(centre, rays, score).tolist() == [4, 3, 0]


def test_no_candidates():
    assert non_maximum_suppression(np.zeros((0, 2)), np.zeros((0, 32)), np.zeros(0)).shape == (0,)
    assert thin_points(np.zeros((0, 3)), np.zeros(0), distance_px=2.0).shape == (0,)
    centre, rays, _ = draw(1, 14)
    keep, number = suppress_polygons(centre[0], rays[0], np.zeros(14, bool), threshold=0.4, max_pairs=91)
    assert number == 0 and not keep.any()
    keep, number = suppress_polygons(centre[0, :0], rays[0, :0], np.zeros(0, bool), threshold=0.4, max_pairs=91)
    assert number == 0 and keep.shape == (0,)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"threshold": 1.5}, r"threshold: expected an overlap, from 0 to 1; found 1.5"),
        ({"measure": "area"}, "measure: expected one of smaller, iou; found 'area'"),
        ({"score": np.zeros(3)}, r"score: expected \(2,\), one number for each row; found shape \(3,\) or NaN"),
        ({"score": np.full(2, np.nan)}, r"score: expected \(2,\)"),
        ({"rays": np.full((2, 8), -1.0)}, "rays: expected finite distances of at least 0"),
    ],
)
def test_bad_input_is_named(change, text):
    good = {"centre": np.zeros((2, 2)), "rays": np.ones((2, 8)), "score": np.ones(2)}
    with pytest.raises(InputError, match=text):
        non_maximum_suppression(**(good | change))


def test_bad_points_are_named():
    with pytest.raises(InputError, match="distance_px: expected a positive distance in pixels; found 0"):
        thin_points(np.zeros((2, 2)), np.ones(2), distance_px=0)
    with pytest.raises(InputError, match=r"position: expected finite numbers \(K, d\); found shape \(2,\)"):
        thin_points(np.zeros(2), np.ones(2), distance_px=1)
    with pytest.raises(InputError, match="measure: expected one of smaller, iou; found 'x'"):
        arrays = np.zeros((2, 2), np.float32), np.ones((2, 8), np.float32), np.ones(2, bool)
        suppress_polygons(*arrays, threshold=0.4, measure="x", max_pairs=4)
