"""Binomial thinning: the parts add up, and are independent Poisson counts with the exact moments."""

import jax
import numpy as np
import pytest

from bioflax.data import photon_split
from bioflax.errors import InputError


@pytest.mark.parametrize(("mean", "q"), [(3.0, 0.5), (40.0, 0.3)])
def test_parts_are_independent_poisson(mean, q):
    n = 200_000
    photons = np.random.default_rng(0).poisson(mean, n).astype(np.float32)
    first, second = map(np.asarray, jax.jit(photon_split, static_argnums=2)(jax.random.key(1), photons, q))
    np.testing.assert_array_equal(first + second, photons)
    assert first.dtype == np.float32 and (first == np.round(first)).all() and first.min() >= 0 and second.min() >= 0
    for part, expected in ((first, q * mean), (second, (1 - q) * mean)):
        assert part.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / n))
        # var of the sample variance of a Poisson variable is (m + 2 m^2) / n
        assert part.var() == pytest.approx(expected, abs=5 * np.sqrt((expected + 2 * expected**2) / n))
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    assert abs(covariance) < 5 * mean * np.sqrt(q * (1 - q) / n)
    # independence, not only of the means: the share of empty second parts is the same whatever the first part is
    if mean < 10:
        few, many = (second[first <= 1] == 0).mean(), (second[first >= 2] == 0).mean()
        assert few == pytest.approx(many, abs=5 * np.sqrt(np.exp(-mean * (1 - q)) / (n / 4)))


def test_counts_are_rounded_and_never_negative():
    first, second = photon_split(jax.random.key(0), np.float32([-4.2, 0.4, 0.6, 7.5]))
    assert np.asarray(first + second).tolist() == [0.0, 0.0, 1.0, 8.0]


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, float("nan")])
def test_q_is_a_probability(q):
    with pytest.raises(InputError, match="q: expected a probability between 0 and 1"):
        photon_split(jax.random.key(0), np.ones(3), q)
