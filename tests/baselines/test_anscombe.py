import numpy as np
import pytest
from scipy import stats

from bioflax.baselines import Anscombe, anscombe
from bioflax.errors import InputError

RNG = np.random.default_rng(7)


def expose(photons, n, gain, offset, read_variance):
    return gain * RNG.poisson(photons, n) + offset + RNG.normal(0, np.sqrt(read_variance), n)


@pytest.mark.parametrize(("photons", "deviation"), [(5, 1.03**0.5), (20, 1.0), (100, 1.0)])
def test_variance_is_stabilised(photons, deviation):
    values = Anscombe(2.5, 100.0, 4.0).forward(expose(photons, 200_000, 2.5, 100.0, 4.0))
    assert values.std() == pytest.approx(deviation, abs=0.01)


@pytest.mark.parametrize(
    ("photons", "gain", "read_variance"), [(0.3, 1.0, 0.0), (2.0, 2.5, 4.0), (40.0, 0.5, 9.0), (3000.0, 2.0, 1.0)]
)
def test_inverse_of_the_mean_is_unbiased_where_the_algebraic_one_is_not(photons, gain, read_variance):
    transform = Anscombe(gain, 100.0, read_variance)
    values = transform.forward(expose(photons, 400_000, gain, 100.0, read_variance))
    found = (float(transform.inverse(values.mean())) - 100) / gain
    # d(photons) = sqrt(photons + c) d(f): the error of the Monte Carlo mean, carried over
    error = np.sqrt(photons + 0.375 + read_variance / gain**2) / np.sqrt(400_000)
    assert found == pytest.approx(photons, abs=5 * error)
    algebraic = values.mean() ** 2 / 4 - 0.375 - read_variance / gain**2
    assert abs(algebraic - photons) > 10 * abs(found - photons) or photons > 1000


def test_table_is_the_poisson_expectation():
    transform = Anscombe()
    for photons in (0.05, 1.0, 7.7, 123.0):
        counts = np.arange(400)
        expectation = np.sum(stats.poisson.pmf(counts, photons) * 2 * np.sqrt(counts + 0.375))
        assert float(transform.inverse(expectation)) == pytest.approx(photons, abs=2e-5 * max(1, photons))


@pytest.mark.parametrize("read_variance", [0.0, 1.0, 400.0])
def test_inverse_rises_and_has_no_step_where_the_table_ends(read_variance):
    transform = Anscombe(1.0, 0.0, read_variance)
    end = 2 * np.sqrt(400 + 0.375 + read_variance)
    values = np.linspace(end - 0.5, end + 0.5, 4001)
    photons = transform.inverse(values)
    steps = np.diff(photons)
    assert steps.min() > 0
    assert steps.max() < 1.5 * np.median(steps)
    far = transform.inverse(transform.forward(np.array([5e4])))
    assert far[0] == pytest.approx(5e4 + 0.25, abs=0.01)


def test_values_below_no_light_map_to_the_offset():
    assert Anscombe(2.0, 100.0, 3.0).inverse(np.array([0.0]))[0] == pytest.approx(100.0, abs=1e-9)


def test_wrapper_stabilises_filters_and_inverts():
    seen = []
    filtered = anscombe(lambda image: seen.append(image) or np.full_like(image, image.mean()), 2.5, 100.0, 4.0)
    counts = expose(30.0, (64, 64), 2.5, 100.0, 4.0)
    restored = filtered(counts)
    assert seen[0].std() == pytest.approx(1.0, abs=0.05)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, 2.5 * 30 + 100, atol=1.0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.0,), r"gain_adu_per_photon: expected a number above 0, found 0.0"),
        ((float("nan"),), r"gain_adu_per_photon: expected a number above 0, found nan"),
        ((1.0, 0.0, -1.0), r"read_variance_adu2: expected a variance of at least 0, found -1.0"),
    ],
)
def test_bad_cameras_are_named(arguments, text):
    with pytest.raises(InputError, match=text):
        Anscombe(*arguments)
