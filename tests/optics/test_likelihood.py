"""Likelihoods: densities that sum to 1, scores of mean 0, information equal to the variance of the score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.likelihood import (
    Sensor,
    crop,
    gather_windows,
    information_table,
    poisson_gaussian_log_likelihood,
    sensor,
    to_electrons,
)


@pytest.mark.parametrize("m", [0.3, 2.0, 30.0])
def test_the_multiplied_density_is_a_density_with_its_score_and_information(m) -> None:
    em = Sensor(0.25, multiplied=True)
    x = jnp.linspace(-2.0, m + 12 * np.sqrt(2 * m) + 30, 40001)
    step = float(x[1] - x[0])
    density = np.exp(np.asarray(em.log_likelihood(x, jnp.full_like(x, m)), float))
    score = np.asarray(em.score(x, jnp.full_like(x, m)), float)
    assert density.sum() * step == pytest.approx(1, abs=1e-3)
    assert (density * np.asarray(x)).sum() * step == pytest.approx(m, rel=1e-3)
    assert (density * score).sum() * step == pytest.approx(0, abs=1e-4)
    assert (density * score**2).sum() * step == pytest.approx(float(em.information(jnp.float32(m))), rel=2e-3)


def test_the_score_is_the_slope_of_the_likelihood() -> None:
    x = jnp.array([-0.3, 0.1, 1.4, 7.0, 90.0])
    for which in (Sensor(0.25, 0.9, 0.002, multiplied=True), Sensor(1.6, 0.8)):
        for photons in (0.4, 5.0, 80.0):
            slope = jax.vmap(jax.grad(which.log_likelihood, 1))(x, jnp.full(5, photons))
            np.testing.assert_allclose(slope, which.score(x, jnp.full(5, photons)), rtol=2e-3, atol=2e-3)


def test_the_multiplied_density_against_the_sum_over_electrons() -> None:
    m, noise, x = 3.0, 0.3, np.linspace(-1, 20, 60)
    fine = np.arange(1e-4, 60, 2e-3)
    light = sum(stats.poisson.pmf(n, m) * stats.gamma.pdf(fine, n) for n in range(1, 40))
    expected = [np.sum(light * stats.norm.pdf(at - fine, 0, noise)) * 2e-3 for at in x]
    expected = np.array(expected) + np.exp(-m) * stats.norm.pdf(x, 0, noise)
    found = Sensor(noise, multiplied=True).log_likelihood(jnp.asarray(x, jnp.float32), jnp.full(60, m))
    np.testing.assert_allclose(np.exp(found), expected, rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize(("m", "published"), [(0.5, 0.81), (1, 0.71), (2, 0.61), (5, 0.53), (20, 0.51)])
def test_information_of_an_em_register_relative_to_poisson(m, published) -> None:
    assert m * float(Sensor(0.02, multiplied=True).information(jnp.float32(m))) == pytest.approx(published, abs=0.03)


def test_the_table_runs_from_poisson_to_half() -> None:
    table = information_table()
    assert np.isfinite(table).all() and table.max() <= 1.0 and table[0, 0] > 0.9
    np.testing.assert_allclose(table[:10, -1], 0.5, atol=0.02)
    at = Sensor(0.25, multiplied=True).information(jnp.array([99.0, 101.0]))
    assert float(at[0] * 99) == pytest.approx(float(at[1] * 101), rel=5e-3)  # no step where the limit takes over


def test_the_exact_scmos_density_is_a_convolution_and_close_to_its_approximation() -> None:
    x, n = np.linspace(-4, 40, 80), np.arange(200)
    for m in (0.5, 4.0, 20.0):
        expected = (stats.poisson.pmf(n, m) * stats.norm.pdf(x[:, None] - n, 0, 1.6)).sum(1)
        found = np.exp(poisson_gaussian_log_likelihood(jnp.asarray(x, jnp.float32), jnp.full(80, m), 1.6))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-7)


def test_cameras_come_to_electrons_and_back() -> None:
    photons = jnp.full((4, 5), 30.0)
    for camera in (SCMOS(), EMCCD()):
        electrons = to_electrons(camera, camera.expected(photons))
        np.testing.assert_allclose(electrons, sensor(camera).expected_e(photons), rtol=1e-5)
    assert float(sensor(EMCCD()).read_noise_e) == pytest.approx(74.4 / 300)
    np.testing.assert_array_equal(to_electrons(None, photons), photons)
    assert float(sensor(None).information(jnp.float32(4.0))) == pytest.approx(0.25)


def test_maps_are_cropped_to_windows() -> None:
    noise = np.arange(30.0, dtype=np.float32).reshape(5, 6)
    windows = crop(Sensor(noise, 0.8), jnp.array([0, 2]), jnp.array([1, 3]), (3, 2))
    np.testing.assert_array_equal(windows.read_noise_e[1], noise[2:5, 3:5])
    assert jnp.ndim(windows.quantum_efficiency) == 0
    frames = jnp.asarray(np.arange(60.0).reshape(2, 5, 6))
    found = gather_windows(frames, jnp.array([1]), jnp.array([2]), jnp.array([3]), (3, 2))
    np.testing.assert_array_equal(found[0], frames[1, 2:5, 3:5])
