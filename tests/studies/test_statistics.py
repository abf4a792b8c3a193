"""Bootstrap against normal theory and its own coverage, crossings of exact lines, Holm by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.studies.statistics import crossing, difference, holm, interval, resample
from bioflax.studies.tally import Tally


def test_interval_of_a_mean_of_normals_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 100)
    low, high = interval(Tally(values))
    width = 2 * 1.984 * values.std(ddof=1) / 10
    assert high - low == pytest.approx(width, rel=0.15)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * width)
    assert interval(Tally(values[None])) == (low, high)


def test_interval_holds_items_and_seeds() -> None:
    """Each of the two spreads alone gives the error of a mean over it."""
    rng = np.random.default_rng(1)
    seeds, items = 6, 60
    by_seed, by_item = rng.normal(0, 1, seeds)[:, None], rng.normal(0, 1, items)[None]
    zero = np.zeros((seeds, items))
    for values, one in ((zero + by_seed, by_seed), (zero + by_item, by_item)):
        drawn = resample(Tally(values + 1e3), 4000)
        assert drawn.std() == pytest.approx(one.std(ddof=1) / np.sqrt(one.size), rel=0.06)
    both = resample(Tally(by_seed + by_item), 4000).std()
    assert both == pytest.approx(np.hypot(by_seed.std(ddof=1) / seeds**0.5, by_item.std(ddof=1) / items**0.5), rel=0.06)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        values = 5 + rng.normal(0, 0.5, (5, 1)) + rng.normal(0, 2, (1, 30)) + rng.normal(0, 0.5, (5, 30))
        low, high = interval(Tally(values), resamples=400)
        hits += low <= 5 <= high
    assert 0.90 <= hits / 400 <= 0.98  # 0.95; a bootstrap over items alone gives 0.88


def test_interval_of_a_root_follows_error_propagation() -> None:
    """RMSE of pooled squared errors with unequal numbers of pairs, items without any among them."""
    rng = np.random.default_rng(3)
    pairs = rng.integers(0, 6, 200).astype(float)
    squared = np.array([(rng.normal(0, 10.0, int(n)) ** 2).sum() for n in pairs])
    tally = Tally(squared, pairs, "root")
    drawn = resample(tally, 4000)
    influence = (squared - tally.value**2 * pairs) / pairs.mean()
    assert drawn.std() == pytest.approx(influence.std() / np.sqrt(200) / (2 * tally.value), rel=0.1)
    assert (pairs == 0).any() and np.isfinite(drawn).all()


def test_samples_stay_within_the_range_of_the_items() -> None:
    tally = Tally([[0.0, 0.0, 0.1], [100.0, 90.0, 95.0]], np.ones((2, 3)), "root")
    assert resample(tally).min() == 0.0
    assert resample(tally).max() <= 10.0


def test_what_says_nothing_gives_nan() -> None:
    for tally in (Tally([1.0]), Tally([0.0, 0.0], [0.0, 0.0])):
        assert np.isnan(interval(tally)).all()
        assert np.isnan(difference(tally, tally).p)
    mostly = Tally([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])  # many a resample has no item that says anything
    assert interval(mostly) == (1.0, 1.0)
    with pytest.raises(InputError, match="level: expected a probability"):
        interval(Tally([1.0, 2.0]), level=95)


def test_paired_difference_does_not_see_what_the_items_share() -> None:
    rng = np.random.default_rng(4)
    shared, noise = rng.normal(0, 10, 50), rng.normal(0, 0.1, 50)
    effect = difference(Tally(shared + noise + 0.2), Tally(shared))
    half = 1.96 * noise.std(ddof=1) / np.sqrt(50)
    assert effect.value == pytest.approx(0.2 + noise.mean())
    assert (effect.high - effect.low) / 2 == pytest.approx(half, rel=0.15)
    assert effect.p == pytest.approx(2 / 2001)
    back = difference(Tally(shared), Tally(shared + noise + 0.2))
    assert (back.value, back.p) == (-effect.value, effect.p)
    assert difference(Tally(shared), Tally(shared)).p == 1.0


def test_p_is_even_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    p = [difference(Tally(rng.normal(size=40)), Tally(rng.normal(size=40)), resamples=300).p for _ in range(300)]
    assert 0.02 <= np.mean(np.asarray(p) <= 0.05) <= 0.09
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_models_against_a_rival_and_the_same_models_twice() -> None:
    rng = np.random.default_rng(6)
    seeds = rng.normal(0, 1, (6, 1))
    model, rival = Tally(seeds + np.zeros((6, 20))), Tally(np.zeros((1, 20)))
    against = difference(model, rival)
    assert (against.high - against.low) / 2 == pytest.approx(1.96 * seeds.std(ddof=1) / 6**0.5, rel=0.2)
    moved = Tally(model.numerator - 0.3)
    assert difference(model, moved, same_models=True).low == pytest.approx(0.3)
    assert difference(model, moved).low < 0  # seeds drawn apart: other models may be other models
    with pytest.raises(InputError, match="same items"):
        difference(model, Tally(np.zeros(19)))


def flat(values: list[float]) -> list[Tally]:
    return [Tally(np.full((2, 4), value)) for value in values]


@pytest.mark.parametrize(
    ("levels", "values", "log", "expected"),
    [
        ([0, 1, 2, 3], [10, 8, 4, 0], False, 1.5),
        ([3, 2, 1, 0], [0, 4, 8, 10], False, 1.5),
        ([1, 10, 100], [10, 8, 4], True, 10**1.5),
        ([0, 1, 2], [8, 6, 7], False, 1.0),
        ([0, 1, 2], [8, 7, 6], False, 2.0),
        ([0, 1, 2, 3], [5, 7, 5, 7], False, 0.5),
    ],
    ids=["falling", "descending", "log", "touches", "at the last level", "the first of three"],
)
def test_crossing_of_lines(levels: list[float], values: list[float], log: bool, expected: float) -> None:
    found = crossing(levels, flat(values), 6.0, log)
    assert found.value == pytest.approx(expected)
    assert (found.low, found.high) == pytest.approx((expected, expected))
    assert (found.share_found, found.side) == (1.0, "crossed")


@pytest.mark.parametrize(("target", "side"), [(20.0, "below"), (-1.0, "above")])
def test_a_curve_that_never_crosses_says_where_it_lies(target: float, side: str) -> None:
    found = crossing([1, 2, 3], flat([10, 8, 4]), target)
    assert (found.value, found.low, found.high, found.share_found, found.side) == (None, None, None, 0.0, side)


def test_interval_of_a_crossing_is_that_of_the_curve_over_its_slope() -> None:
    """A line of slope -2 a level, moved up and down by the items alike at all levels."""
    items = np.random.default_rng(7).normal(0, 1, 100)
    levels = [0.0, 1.0, 2.0, 3.0, 4.0]
    curve = [Tally(10 - 2 * x + items) for x in levels]
    found = crossing(levels, curve, 6.0)
    low, high = interval(Tally(items))
    assert found.value == pytest.approx(2 + items.mean() / 2)
    assert (found.low, found.high) == pytest.approx((2 + low / 2, 2 + high / 2))
    # held against its own start, what the items share falls out
    level_db = crossing(levels, curve, 10 ** (-4 / 20), of=curve[0], decibel=True)
    assert (level_db.value, level_db.low, level_db.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_crossing_near_the_last_level_is_open_beyond() -> None:
    items = np.random.default_rng(8).normal(0, 1, 30)
    items -= items.mean()
    found = crossing([0.0, 1.0, 2.0], [Tally(10 - 2 * x + items) for x in (0, 1, 2)], 6.05)
    assert found.value == pytest.approx(1.975)
    assert found.low is not None and found.low < 1.975 and found.high is None
    assert 0.4 < found.share_found < 0.8
    mirrored = crossing([0.0, 1.0, 2.0], [Tally(6 + 2 * x + items) for x in (0, 1, 2)], 6.05)
    assert mirrored.low is None and mirrored.high is not None and mirrored.high > 0.025


def test_levels_that_cannot_be() -> None:
    with pytest.raises(InputError, match="levels: expected one a tally, above 0 with log"):
        crossing([0, 1], flat([1, 2]), 1.5, log=True)
    with pytest.raises(InputError, match="for 1 tallies"):
        crossing([1, 2], flat([1]), 1.5)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 after a larger one, 0.5 x 1; a NaN is no test."""
    assert holm([0.03, 0.01, np.nan, 0.5, 0.02]) == pytest.approx([0.06, 0.04, np.nan, 0.5, 0.06], nan_ok=True)
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]).size == 0
