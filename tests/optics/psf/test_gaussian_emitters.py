"""Gaussian emitters against the error function, and what every `EmitterPSF` has to keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from bioflax.errors import InputError
from bioflax.optics import psf


def measured():
    planes = psf.Astigmatic(sigma_nm=150.0).spots((19, 19), 950.0, 950.0, jnp.arange(-600.0, 601.0, 100.0))
    return psf.Measured.from_volume(planes, pixel_nm=100.0, z_step_nm=100.0, z_first_nm=-600.0)


MODELS = {
    "gaussian": psf.Gaussian,
    "astigmatic": psf.Astigmatic,
    "pupil": lambda: psf.Pupil(zernikes_nm=[10.0, 60.0, 20.0], pupil_px=24),
    "dipole": lambda: psf.Pupil(vectorial=True, na=1.2, medium_index=1.33, depth_nm=900.0, pupil_px=24),
    "measured": measured,
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def test_spots_follow_the_shape_of_the_positions(model):
    assert model.spots((7, 9), 400.0, 350.0, 0.0).shape == (7, 9)
    x = jnp.linspace(300.0, 600.0, 6).reshape(2, 3)
    many = model.spots((7, 9), x, 350.0, jnp.array([0.0, 100.0, -200.0]))
    assert many.shape == (2, 3, 7, 9)
    np.testing.assert_allclose(many[1, 2], model.spots((7, 9), x[1, 2], 350.0, -200.0), atol=2e-7)


def test_a_pixel_of_shift_moves_the_picture_by_a_pixel_along_the_right_axis(model):
    still = np.asarray(model.spots((12, 12), 580.0, 610.0, 150.0))
    np.testing.assert_allclose(model.spots((12, 12), 680.0, 610.0, 150.0)[:, 1:], still[:, :-1], atol=3e-7)
    np.testing.assert_allclose(model.spots((12, 12), 580.0, 710.0, 150.0)[1:], still[:-1], atol=3e-7)


def test_shares_are_positive_and_come_to_one(model):
    for z_nm in (-300.0, 0.0, 300.0):
        spot = np.asarray(model.spots((41, 41), 2050.0, 2050.0, z_nm))
        assert spot.min() >= 0.0 and 0.93 < spot.sum() < 1.0 + 1e-5
    assert model.spots((8, 8), 1e6, -1e6, 0.0).sum() == 0.0


def test_jit_and_vmap_say_the_same(model):
    x, y, z = jnp.array([400.0, 433.0]), jnp.array([350.0, 290.0]), jnp.array([50.0, -120.0])
    eager = model.spots((8, 8), x, y, z)
    np.testing.assert_allclose(jax.jit(lambda m, *at: m.spots((8, 8), *at))(model, x, y, z), eager, atol=3e-7)
    np.testing.assert_allclose(jax.vmap(lambda *at: model.spots((8, 8), *at))(x, y, z), eager, atol=3e-7)


@pytest.mark.parametrize("name", MODELS)
def test_slopes_in_position_and_leaves_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), MODELS[name]())
        weights = np.random.default_rng(0).normal(size=(9, 9))

        def light(model, at):
            return jnp.sum(weights * model.spots((9, 9), *at))

        at = jnp.array([467.0, 421.0, 130.0])
        by_model, by_at = jax.jit(jax.grad(light, argnums=(0, 1)))(model, at)
        light = jax.jit(light)
        steps = 1e-2 * np.eye(3)
        slopes = [(light(model, at + step) - light(model, at - step)) / 2e-2 for step in steps]
        np.testing.assert_allclose(by_at, slopes, rtol=1e-5, atol=1e-9)
        leaves, tree = jax.tree.flatten(model)
        for place, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(by_model))):
            step = 1e-5 * max(float(jnp.max(jnp.abs(leaf))), 1e-3)
            way = np.random.default_rng(1).normal(size=np.shape(leaf))
            ends = [
                tree.unflatten([*leaves[:place], leaf + side * step * way, *leaves[place + 1 :]]) for side in (1, -1)
            ]
            expected = (light(ends[0], at) - light(ends[1], at)) / (2 * step)
            assert float(jnp.sum(slope * way)) == pytest.approx(float(expected), rel=2e-4, abs=1e-8)


def test_gaussian_is_the_error_function_between_the_pixel_edges():
    spot = psf.Gaussian(sigma_nm=120.0, pixel_nm=80.0).spots((9, 11), 430.0, 350.0, 0.0)
    y, x = (special.ndtr((80.0 * np.arange(n + 1) - at) / 120.0) for n, at in ((9, 350.0), (11, 430.0)))
    np.testing.assert_allclose(spot, np.diff(y)[:, None] * np.diff(x), atol=1e-7)


def test_gaussian_width_is_that_of_the_airy_spot():
    assert float(psf.gaussian_sigma_nm(1.4, 520.0)) == pytest.approx(0.21 * 520.0 / 1.4, rel=2e-3)


def test_astigmatic_widths_are_the_moments_of_the_picture():
    model = psf.Astigmatic(sigma_nm=140.0, astigmatism_nm=200.0, depth_nm=350.0, third_order=0.1, fourth_order=0.2)
    at = 100.0 * (np.arange(41) + 0.5) - 2050.0
    for z_nm in (-400.0, 0.0, 250.0):
        spot = np.asarray(model.spots((41, 41), 2050.0, 2050.0, z_nm), np.float64)
        u = (z_nm - 200.0) / 350.0, (z_nm + 200.0) / 350.0
        expected = [140.0 * np.sqrt(1 + v**2 + 0.1 * v**3 + 0.2 * v**4) for v in u]
        np.testing.assert_allclose(model.widths_nm(z_nm), expected, rtol=1e-6)
        for axis, width in zip((0, 1), expected):
            variance = (spot.sum(axis=axis) * at**2).sum() - 100.0**2 / 12
            assert np.sqrt(variance) == pytest.approx(width, rel=1e-3)


def test_astigmatic_is_round_in_the_middle_and_sharp_along_x_above():
    model = psf.Astigmatic()
    x, y = model.widths_nm(jnp.array([-250.0, 0.0, 250.0]))
    assert x[1] == y[1] and x[2] == pytest.approx(130.0) and y[0] == pytest.approx(130.0) and x[0] > y[0]


def test_ranges_are_checked():
    with pytest.raises(InputError, match=r"Gaussian.sigma_nm: expected above 0 \(nm\), found 0"):
        psf.Gaussian(sigma_nm=0.0)
    with pytest.raises(InputError, match="Astigmatic.depth_nm"):
        psf.Astigmatic(depth_nm=-1.0)


def test_lists_of_a_configuration_are_taken():
    omegaconf = pytest.importorskip("omegaconf")
    listed = psf.Pupil(zernikes_nm=omegaconf.OmegaConf.create([0.0, 60.0]))
    np.testing.assert_array_equal(listed.zernikes_nm, np.array([0.0, 60.0], np.float32))
