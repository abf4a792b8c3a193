"""Emitters found in probability maps and duplicates dropped, against loops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from bioflax.errors import InputError
from bioflax.ops import drop_duplicates, find_emitters


def logit(p):
    p = np.asarray(p, np.float64)
    return np.log(p / (1 - p))


def maps(p, seed=0):
    rng = np.random.default_rng(seed)
    shape = np.shape(p)
    draw = {"mean": rng.uniform(-1, 1, (*shape, 4)), "spread": rng.uniform(0.1, 1, (*shape, 4))}
    draw |= {"logit": logit(p)[..., None], "background": rng.uniform(0, 1, (*shape, 1))}
    return {name: jnp.asarray(value, jnp.float32) for name, value in draw.items()}


def oracle(prediction, raw_threshold=0.3, isolated_threshold=0.6, threshold=0.5):
    """Rows (score, row, column) of every frame, by falling score."""
    found = []
    for p in np.asarray(jax.nn.sigmoid(prediction["logit"]))[..., 0]:
        height, width = p.shape
        value = lambda i, j, p=p, h=height, w=width: p[i, j] if 0 <= i < h and 0 <= j < w else np.float32(0)  # noqa: E731
        rows = []
        for i in range(height):
            for j in range(width):
                around = [value(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
                top = p[i, j] > raw_threshold and p[i, j] == max(around)
                if top or p[i, j] > isolated_threshold:
                    total = p[i, j] + value(i - 1, j) + value(i + 1, j) + value(i, j - 1) + value(i, j + 1)
                    score = min(max(total, 0), 1)
                    if score >= threshold:
                        rows.append((float(score), i, j))
        found.append(sorted(rows, key=lambda row: (-row[0], row[1], row[2])))
    return found


@pytest.mark.parametrize("options", [{}, {"raw_threshold": 0.5, "isolated_threshold": 0.9}, {"threshold": 0.99}])
def test_equal_the_loops(options):
    p = np.random.default_rng(1).beta(0.3, 0.9, (4, 9, 7)).clip(1e-4, 1 - 1e-4)
    prediction = maps(p)
    found = find_emitters(prediction, max_emitters=64, **options)
    for n, rows in enumerate(oracle(prediction, **options)):
        number = len(rows)
        assert 0 < number < 40
        assert found["mask"][n].sum() == number and found["mask"][n, :number].all() and found["dropped"][n] == 0
        np.testing.assert_allclose(found["score"][n, :number], [row[0] for row in rows], rtol=1e-6)
        # Scores that agree to rounding may come in either order: places are compared as sets.
        mean, spread = np.asarray(prediction["mean"][n]), np.asarray(prediction["spread"][n])
        expected = [(*mean[i, j], *spread[i, j], float(prediction["background"][n, i, j, 0]), i, j) for _, i, j in rows]
        expected = np.array([(r[0], r[-1] + r[1], r[-2] + r[2], *r[3:-2]) for r in expected])
        names = ("photons", "x_px", "y_px", "z", "spread_photons", "spread_x", "spread_y", "spread_z", "background")
        got = np.stack([np.asarray(found[name][n, :number]) for name in names], axis=1)
        order = lambda rows: rows[np.argsort(rows[:, 1])]  # noqa: E731
        np.testing.assert_allclose(order(got), order(expected), rtol=1e-5, atol=1e-6)
        assert not np.any([found[name][n, number:].any() for name in names])


def test_rules_one_by_one():
    p = np.full((1, 5, 12), 1e-4)
    p[0, 1, 1], p[0, 1, 2] = 0.35, 0.3  # a maximum whose neighbour makes up its probability
    p[0, 1, 6], p[0, 1, 7] = 0.9, 0.7  # two emitters side by side
    p[0, 4, 10] = 0.45  # alone and too weak
    found = find_emitters(maps(p), max_emitters=8)
    assert found["mask"][0].tolist() == [True] * 3 + [False] * 5
    mean = np.asarray(maps(p)["mean"])
    for place, (row, column) in enumerate([(1, 6), (1, 7), (1, 1)]):  # equal scores: in reading order
        assert found["x_px"][0, place] == pytest.approx(column + mean[0, row, column, 1], abs=1e-5)
        assert found["y_px"][0, place] == pytest.approx(row + mean[0, row, column, 2], abs=1e-5)
    np.testing.assert_allclose(found["score"][0, :3], [1.0, 1.0, 0.65 + 3e-4], atol=1e-4)
    assert int(find_emitters(maps(p), raw_threshold=0.4, max_emitters=8)["mask"].sum()) == 2
    assert int(find_emitters(maps(p), isolated_threshold=0.8, max_emitters=8)["mask"].sum()) == 2
    assert int(find_emitters(maps(p), threshold=0.4, max_emitters=8)["mask"].sum()) == 4


def test_the_best_are_kept_and_the_rest_is_counted():
    p = np.full((2, 9, 9), 1e-4)
    p[0, ::4, ::4] = np.linspace(0.55, 0.95, 9).reshape(3, 3)
    found = find_emitters(maps(p), max_emitters=4)
    assert found["dropped"].tolist() == [5, 0] and found["mask"].sum(axis=1).tolist() == [4, 0]
    np.testing.assert_allclose(found["score"][0], [0.95, 0.9, 0.85, 0.8], atol=1e-3)


def test_more_places_than_pixels_and_no_background():
    prediction = maps(np.full((1, 2, 2), 0.55))
    del prediction["background"]
    found = find_emitters(prediction, max_emitters=10)
    assert "background" not in found and found["score"].shape == (1, 10)
    assert found["mask"].sum() == 4  # equal neighbours are all maxima, as published


def test_compiles_once_for_all_thresholds_and_lowers_everywhere():
    prediction = maps(np.full((1, 4, 4), 0.4))
    traced = []

    @jax.jit
    def run(prediction, threshold):
        traced.append(1)
        return find_emitters(prediction, threshold=threshold, max_emitters=3)["mask"]

    assert run(prediction, 0.9).sum() == 3 and run(prediction, 1.0).sum() == 3  # 0.4 and two or more neighbours
    assert find_emitters(prediction, raw_threshold=0.5)["mask"].sum() == 0
    assert len(traced) == 1
    exported = export.export(run, platforms=["cpu", "cuda", "tpu"])(prediction, 0.5)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.5}, "threshold: expected a probability, from 0 to 1; found 1.5"),
        ({"raw_threshold": -0.1}, "raw_threshold: expected a probability"),
        ({"max_emitters": 0}, "max_emitters: expected at least 1; found 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        find_emitters(maps(np.full((1, 2, 2), 0.5)), **options)


@pytest.mark.parametrize("tiled", [False, True])
def test_duplicates_equal_the_loops(tiled):
    rng = np.random.default_rng(0)
    count = 120
    frame, tile = rng.integers(0, 4, count) * 1000, rng.integers(0, 2, count)
    x, y, score = rng.uniform(0, 8, count), rng.uniform(0, 8, count), rng.integers(0, 10, count) / 10
    kept = []
    for i in np.argsort(-score, kind="stable"):
        rivals = [k for k in kept if frame[k] == frame[i] and np.hypot(x[k] - x[i], y[k] - y[i]) < 0.7]
        if not [k for k in rivals if not tiled or tile[k] != tile[i]]:
            kept.append(i)
    keep = drop_duplicates(frame, x, y, score, distance_px=0.7, tile=tile if tiled else None)
    assert sorted(kept) == np.flatnonzero(keep).tolist() and 0 < len(kept) < count


def test_duplicates_in_a_chain_and_none_at_all():
    arguments = (np.zeros(3, int), np.array([0.0, 0.6, 1.2]), np.zeros(3), np.array([0.9, 0.8, 0.7]))
    assert drop_duplicates(*arguments, distance_px=1.0).tolist() == [True, False, True]
    assert drop_duplicates(*arguments, distance_px=0.6).tolist() == [True, True, True]  # closer, not as close
    empty = np.zeros(0)
    assert drop_duplicates(empty, empty, empty, empty, distance_px=1.0).shape == (0,)
    with pytest.raises(InputError, match="distance_px: expected a positive distance"):
        drop_duplicates(*arguments, distance_px=0.0)
    with pytest.raises(InputError, match=r"tile: expected \(3,\), one for each emitter; found shape \(2,\)"):
        drop_duplicates(*arguments, distance_px=1.0, tile=np.zeros(2))
