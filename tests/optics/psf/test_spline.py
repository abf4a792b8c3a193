"""The measured spot against its own nodes, SciPy's spline, and the models it was rendered from."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bioflax.errors import InputError
from bioflax.optics import psf
from bioflax.optics.psf.spline import MARGIN_PX, spline_weights

Z_NM = np.arange(-600.0, 601.0, 50.0)


@pytest.fixture(scope="module")
def astigmatic():
    return psf.Astigmatic(sigma_nm=160.0)


@pytest.fixture(scope="module")
def volume(astigmatic):
    return np.asarray(astigmatic.spots((23, 25), 1250.0, 1150.0, jnp.asarray(Z_NM)))


@pytest.fixture(scope="module")
def spline(volume):
    return psf.Measured.from_volume(volume, pixel_nm=100.0, z_step_nm=50.0, z_first_nm=-600.0)


def test_it_goes_through_the_volume(spline, volume):
    np.testing.assert_allclose(
        spline.spots((23, 25), 1250.0, 1150.0, jnp.asarray(Z_NM)), volume, atol=1e-5 * volume.max()
    )
    assert spline.z_range_nm == (-600.0, 600.0)


def test_it_is_scipys_spline_at_any_place(spline):
    noise = np.random.default_rng(0).uniform(0.5, 1.0, (9, 15, 15))
    model = psf.Measured.from_volume(noise, pixel_nm=100.0, z_step_nm=50.0, z_first_nm=0.0)
    rng = np.random.default_rng(1)
    padded = np.pad(noise, [(0, 0), (20, 20), (20, 20)])
    # Filtered as here sideways; the ends in z are far from the planes asked for.
    for x, y, z in zip(rng.uniform(680, 820, 8), rng.uniform(680, 820, 8), rng.uniform(190, 210, 8)):
        rows = 20 + np.arange(5, 10) + 7.5 - y / 100.0
        columns = 20 + np.arange(5, 10) + 7.5 - x / 100.0
        at = np.meshgrid([z / 50.0], rows, columns, indexing="ij")
        expected = ndimage.map_coordinates(padded, at, order=3, mode="mirror")[0]
        found = model.spots((15, 15), x, y, z)[5:10, 5:10]
        np.testing.assert_allclose(found, expected, atol=5e-3)
    for z in (200.0, 150.0):  # on planes no end matters
        at = np.meshgrid([z / 50.0], 20 + np.arange(15) - 0.3, 20 + np.arange(15) + 0.4, indexing="ij")
        expected = ndimage.map_coordinates(padded, at, order=3, mode="mirror")[0]
        np.testing.assert_allclose(model.spots((15, 15), 710.0, 780.0, z), np.maximum(expected, 0), atol=2e-5)


def test_it_stands_for_the_model_it_was_rendered_from(spline, astigmatic):
    rng = np.random.default_rng(2)
    x, y, z = rng.uniform(300, 1000, 100), rng.uniform(300, 1000, 100), rng.uniform(-600, 600, 100)
    expected = np.asarray(astigmatic.spots((13, 13), x, y, z))
    np.testing.assert_allclose(spline.spots((13, 13), x, y, z), expected, atol=1.5e-3 * expected.max())


def test_it_stands_for_a_pupil_off_the_middle_of_its_volume():
    pupil = psf.Pupil(na=1.3, zernikes_nm=[0.0, 50.0, 20.0])
    z_nm = jnp.arange(-300.0, 301.0, 60.0)
    volume = pupil.spots((25, 25), 1270.0, 1210.0, z_nm)
    model = psf.Measured.from_volume(
        volume, pixel_nm=100.0, z_step_nm=60.0, z_first_nm=-300.0, centre_px=(1210.0 / 100 - 0.5, 1270.0 / 100 - 0.5)
    )
    expected = np.asarray(pupil.spots((11, 11), 517.0, 588.0, jnp.array([-210.0, 33.0, 280.0])))
    found = model.spots((11, 11), 517.0, 588.0, jnp.array([-210.0, 33.0, 280.0]))
    np.testing.assert_allclose(found, expected, atol=1.3e-2 * expected.max())


def test_beyond_the_planes_the_last_one_goes_on(spline, volume):
    np.testing.assert_allclose(spline.spots((23, 25), 1250.0, 1150.0, 5000.0), volume[-1], atol=1e-6)
    np.testing.assert_allclose(spline.spots((23, 25), 1250.0, 1150.0, -5000.0), volume[0], atol=1e-6)
    assert jax.grad(lambda z: spline.spots((9, 9), 450.0, 430.0, z)[4, 2])(900.0) == 0.0


def test_windows_of_any_size_and_place_hold_the_same_light(spline):
    small = spline.spots((9, 9), 430.0, 470.0, 20.0)
    large = spline.spots((64, 48), 430.0 + 2000.0, 470.0 + 3000.0, 20.0)
    np.testing.assert_allclose(large[30:39, 20:29], small, atol=1e-7)
    assert large.sum() == pytest.approx(1.0, abs=2e-3) and large[:15].sum() == 0.0
    corner = spline.spots((64, 48), 30.0, 6370.0, 20.0)
    np.testing.assert_allclose(corner[63, 0], spline.spots((1, 1), 30.0, 70.0, 20.0)[0, 0], atol=1e-7)


@pytest.mark.parametrize("planes", [1, 2, 3, 4, 5])
def test_few_planes_are_enough(volume, planes):
    model = psf.Measured.from_volume(volume[:planes], pixel_nm=100.0, z_step_nm=50.0, z_first_nm=0.0)
    found = model.spots((23, 25), 1250.0, 1150.0, 50.0 * jnp.arange(planes))
    np.testing.assert_allclose(found, volume[:planes], atol=1e-7)


def test_a_cubic_along_z_is_kept_up_to_the_ends():
    z = np.arange(8.0)
    volume = (5 + z - 0.4 * z**2 + 0.06 * z**3)[:, None, None] * np.ones((1, 9, 9))
    model = psf.Measured.from_volume(volume, pixel_nm=1.0, z_step_nm=1.0, z_first_nm=0.0)
    at = np.linspace(0, 7, 29)
    expected = 5 + at - 0.4 * at**2 + 0.06 * at**3
    np.testing.assert_allclose(model.spots((9, 9), 4.5, 4.5, jnp.asarray(at))[:, 4, 4], expected, rtol=1e-5)


def test_the_weights_are_a_smooth_partition():
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(sum(spline_weights(t)), 1.0)
    np.testing.assert_allclose([w[-1] for w in spline_weights(t)][1:], [w[0] for w in spline_weights(t)][:3])


def test_a_thousand_spots_take_milliseconds(spline):
    spots = jax.jit(lambda model, *at: model.spots((13, 13), *at))
    at = [jnp.asarray(np.random.default_rng(k).uniform(500, 800, 1000), jnp.float32) for k in range(3)]
    spots(spline, *at).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        spots(spline, *at).block_until_ready()
        times.append(time.perf_counter() - start)
    print(f"1000 spots of 13 x 13: {1e3 * min(times):.1f} ms")
    assert min(times) < 0.1


def test_wrong_volumes_are_named(volume):
    frame = {"pixel_nm": 100.0, "z_step_nm": 50.0, "z_first_nm": 0.0}
    with pytest.raises(InputError, match=r"volume: expected numbers \(Z, H, W\), found shape \(23, 25\)"):
        psf.Measured.from_volume(volume[0], **frame)
    with pytest.raises(InputError, match="volume: expected finite shares of light, found 1 that are not"):
        psf.Measured.from_volume(np.where(volume == volume.max(), np.nan, volume), **frame)
    with pytest.raises(InputError, match="Measured.z_step_nm: expected above 0"):
        psf.Measured.from_volume(volume, **{**frame, "z_step_nm": 0.0})
    with pytest.raises(InputError, match=r"Measured.coefficients: expected \(Z \+ 2, H, W\)"):
        psf.Measured(coefficients=volume[0], **frame, centre_x_px=MARGIN_PX, centre_y_px=MARGIN_PX)
