"""Maximum likelihood against the Cramer-Rao bound, for both cameras, with maps, in two and three dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.baselines.mle import centre_of_mass_nm, fit_windows, solve
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.fisher import PARAMETERS, crlb, expected_photons
from bioflax.optics.likelihood import Sensor, sensor, to_electrons
from bioflax.optics.psf import Astigmatic, Gaussian

SIDE = 11


def simulate(psf, camera, photons, background, count=600, seed=0):
    """Windows in electrons and the truth (count, 5)."""
    rng = np.random.default_rng(seed)
    xy = SIDE * 50 + rng.uniform(-50, 50, (count, 2))
    truth = np.column_stack([xy, rng.uniform(-300, 300, count), np.full(count, photons), np.full(count, background)])
    draw = jax.jit(jax.vmap(lambda row: expected_photons(psf, (SIDE, SIDE), row[None, :4], row[4])))
    light = draw(jnp.asarray(truth, jnp.float32))
    key = jax.random.key(seed)
    counts = jax.random.poisson(key, light).astype(jnp.float32) if camera is None else camera.expose(key, light)
    return np.asarray(to_electrons(camera, counts)), truth


def efficiency(psf, camera, fits, truth, names):
    """Root mean square error over the bound, by name."""
    columns = dict(zip(PARAMETERS, truth.T))
    bound = crlb(psf, camera, (SIDE, SIDE), **columns, unknown=names)
    errors = dict(zip(PARAMETERS, (fits.values - truth).T))
    return {name: float(np.sqrt(np.mean((errors[name] / np.asarray(bound[name])) ** 2))) for name in names}


FLAT = ("x_nm", "y_nm", "photons", "background_photons")
CASES = [
    (Gaussian(), None, 500, 1, FLAT),
    (Gaussian(), SCMOS(), 2000, 20, FLAT),
    (Gaussian(), EMCCD(), 500, 1, FLAT),
    (Astigmatic(), SCMOS(), 10000, 100, PARAMETERS),
    (Astigmatic(), EMCCD(), 2000, 20, PARAMETERS),
]


@pytest.mark.parametrize(
    ("psf", "camera", "photons", "background", "names"),
    CASES,
    ids=[f"{type(c[0]).__name__} {type(c[1]).__name__} {c[2]} {c[3]}" for c in CASES],
)
def test_fits_reach_the_bound(psf, camera, photons, background, names) -> None:
    read, truth = simulate(psf, camera, photons, background)
    fits = fit_windows(psf, sensor(camera), read)
    assert fits.converged.mean() > 0.99
    found = efficiency(psf, camera, fits, truth, names)
    assert all(0.92 < value < 1.09 for value in found.values()), found  # 600 fits tell the ratio to 3 %
    assert fits.chi_square.mean() == pytest.approx(1, abs=0.05)
    # The bound that comes with each fit is the one at the truth, up to what the fit got wrong.
    bound = crlb(psf, camera, (SIDE, SIDE), **dict(zip(PARAMETERS, truth.T)), unknown=names)
    assert np.median(fits.deviations[:, 0]) == pytest.approx(float(np.median(bound["x_nm"])), rel=0.05)


def test_a_spot_without_depth_says_so() -> None:
    read, _ = simulate(Gaussian(), None, 1000, 5, count=20)
    assert np.isinf(fit_windows(Gaussian(), Sensor(), read).deviations[:, 2]).all()


def test_noise_maps_count_pixel_by_pixel() -> None:
    read, truth = simulate(Gaussian(), None, 800, 2, count=400)
    noise = np.zeros((400, SIDE, SIDE), np.float32)
    noise[:, 4, 5] = 60.0  # one bad pixel beside the middle of each window
    rng = np.random.default_rng(1)
    read = read + noise * rng.normal(size=read.shape).astype(np.float32)
    error = {}
    for name, known in (("map", noise), ("flat", np.float32(noise.mean()))):
        fits = fit_windows(Gaussian(), Sensor(known), read, start_nm=truth[:, :2])
        error[name] = np.median(np.abs(fits.values[:, 1] - truth[:, 1]))
    assert error["map"] < 0.6 * error["flat"]


def test_any_number_of_windows_and_the_order_stays() -> None:
    read, truth = simulate(Gaussian(), None, 5000, 2, count=530)
    whole = fit_windows(Gaussian(), Sensor(), read)
    assert len(whole.values) == 530 and np.abs(whole.values[:, 0] - truth[:, 0]).max() < 15
    one = fit_windows(Gaussian(), Sensor(), read[529:])
    np.testing.assert_allclose(one.values[0, :2], whole.values[529, :2], atol=0.05)
    assert fit_windows(Gaussian(), Sensor(), read[:0]).values.shape == (0, 5)


def test_an_empty_or_strange_window_breaks_nothing() -> None:
    read = np.zeros((4, SIDE, SIDE), np.float32)
    read[1] = 1e5
    read[2, 5, 5] = 1e6
    read[3] = -50
    fits = fit_windows(Gaussian(), Sensor(), read)
    assert np.isfinite(fits.values).all() and (fits.values[:, 3] >= 0).all()


def test_start_is_the_centre_of_mass() -> None:
    image = np.ones((1, 7, 9), np.float32)
    image[0, 3, 6] = 50
    np.testing.assert_allclose(centre_of_mass_nm(image, 100.0), [[650, 350]], atol=1)


def test_solve_is_a_linear_solve() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 5, 5)) * np.array([1e-2, 1, 1, 1e2, 10])
    matrix, right = root.transpose(0, 2, 1) @ root + 1e-3 * np.eye(5), rng.normal(size=(6, 5))
    found = solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32), jnp.zeros(6))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right[..., None])[..., 0], rtol=2e-2, atol=1e-3)
    matrix[:, 2] = matrix[:, :, 2] = 0
    assert np.all(
        np.asarray(solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32), jnp.zeros(6)))[:, 2] == 0
    )
