import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics import bootstrap, paired_bootstrap

RNG = np.random.default_rng(4)


def test_interval_has_the_width_of_the_normal_theory():
    values = RNG.normal(30.0, 2.0, 400)
    low, high = bootstrap(values)
    error = values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert high - low > np.ptp(bootstrap(values, 0.5)) > 0.5 * error


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    hits = 0
    for trial in range(200):
        low, high = bootstrap(RNG.normal(0, 1, 30), 0.9, seed=trial, resamples=400)
        hits += low <= 0 <= high
    assert 0.82 <= hits / 200 <= 0.96


def test_same_seed_same_interval():
    values = RNG.normal(size=20)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_groups_widen_the_interval_when_captures_of_a_field_agree():
    field = np.repeat(RNG.normal(30, 3, 12), 4)
    names = np.repeat([f"field {i}" for i in range(12)], 4)
    alone = np.ptp(bootstrap(field))
    grouped = np.ptp(bootstrap(field, groups=names.tolist()))
    assert grouped == pytest.approx(2 * alone, rel=0.15)  # sqrt(4) captures that add nothing
    assert grouped == pytest.approx(np.ptp(bootstrap(field[::4])), rel=0.05)


def test_groups_of_unequal_size_weigh_by_their_images():
    values, groups = [0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]
    assert bootstrap(values, groups=groups) == (0.0, 1.0)
    low, high = bootstrap(values, 0.4, groups=groups)
    assert (low, high) == (0.0, 0.25) or (low, high) == (0.25, 0.25)


def test_paired_interval_sees_what_the_plain_ones_cannot():
    base = RNG.normal(30, 5, 40)
    better = base + 0.2 + RNG.normal(0, 0.1, 40)
    low, high = paired_bootstrap(better, base)
    assert 0.1 < low < 0.2 < high < 0.3
    assert bootstrap(better)[0] < bootstrap(base)[1]


def test_one_value_says_nothing_about_its_spread():
    assert np.isnan(bootstrap([31.0])).all()
    assert np.isnan(bootstrap([31.0, 32.0], groups=["a", "a"])).all()


def test_a_perfect_image_in_decibel_does_not_turn_the_interval_into_nan():
    low, high = bootstrap([30.0, 31.0, 32.0, np.inf])
    assert 30 <= low <= 32
    assert high == np.inf


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bootstrap([]), r"values: expected at least one number and no NaN, found 0 values"),
        (lambda: bootstrap([1.0, np.nan]), r"values: .* found 2 values, 1 NaN"),
        (lambda: bootstrap([1.0, 2.0], 95), r"level: expected a probability in \(0, 1\), found 95"),
        (lambda: bootstrap([1.0, 2.0], groups=["a"]), r"groups: expected one an entry of values \(2\), found 1"),
        (lambda: paired_bootstrap([1.0], [1.0, 2.0]), r"a/b: expected results of the same images, found 1 and 2"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call()
