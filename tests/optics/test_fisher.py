"""Cramer-Rao bounds: closed forms, symmetry, several emitters, and what the light does not tell."""

import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.fisher import (
    PARAMETERS,
    crlb,
    expected_photons,
    fisher_information,
    invert_information,
    mean_and_slopes,
    mortensen_nm,
    rieger_stallinga_nm,
)
from bioflax.optics.psf import Astigmatic, Gaussian

FLAT = tuple(name for name in PARAMETERS if name != "z_nm")
MIDDLE = {"x_nm": 750.0, "y_nm": 750.0}


@pytest.mark.parametrize(("photons", "background"), [(500, 1), (1000, 10), (4144, 90), (10000, 100)])
def test_a_gaussian_spot_has_the_bound_of_mortensen(photons, background) -> None:
    light = {"photons": photons, "background_photons": background}
    found = crlb(Gaussian(), None, (15, 15), **MIDDLE, **light, unknown=FLAT)
    # Pixels of 100 nm for a spot of 130: the closed form takes the pixelated spot as a Gaussian.
    assert float(found["x_nm"]) == pytest.approx(mortensen_nm(130, 100, photons, background), rel=1e-3)
    assert float(found["y_nm"]) == pytest.approx(float(found["x_nm"]), rel=1e-4)
    assert mortensen_nm(130, 100, photons, background) == pytest.approx(
        rieger_stallinga_nm(130, 100, photons, background), rel=0.02
    )


@pytest.mark.parametrize(("photons", "published"), [(500, 26.2), (1000, 14.2), (2500, 6.7), (4144, 4.6)])
def test_an_emccd_doubles_the_variance_at_high_background(photons, published) -> None:
    camera = EMCCD(quantum_efficiency=1.0)
    found = crlb(Gaussian(), camera, (15, 15), **MIDDLE, photons=photons, background_photons=90, unknown=FLAT)
    assert float(found["x_nm"]) == pytest.approx(published, rel=0.02)


def test_an_emccd_is_better_than_twice_the_variance_in_the_dark() -> None:
    light = {"photons": 300, "background_photons": 0.5, "unknown": FLAT}
    em, ideal = (crlb(Gaussian(), c, (15, 15), **MIDDLE, **light) for c in (EMCCD(quantum_efficiency=1.0), None))
    assert 1.2 < float(em["x_nm"] / ideal["x_nm"]) < 1.41


def test_read_noise_and_lost_light_make_a_camera_worse() -> None:
    light = {"photons": 500, "background_photons": 2, "unknown": FLAT}
    ideal, efficient, noisy = (
        float(crlb(Gaussian(), camera, (11, 11), x_nm=550, y_nm=550, **light)["x_nm"])
        for camera in (None, SCMOS(read_noise_e=0.0, quantum_efficiency=0.5), SCMOS(read_noise_e=3.0))
    )
    assert ideal * 1.35 < efficient < ideal * 1.5 and noisy > ideal * 1.5


def test_astigmatism_tells_z_and_mirrors_with_its_sign() -> None:
    found = crlb(
        Astigmatic(), SCMOS(), (15, 15), **MIDDLE, z_nm=np.array([-400, 400]), photons=2000, background_photons=9
    )
    np.testing.assert_allclose(found["x_nm"], found["y_nm"][::-1], rtol=1e-3)
    assert np.isfinite(found["z_nm"]).all()


def test_a_spot_without_depth_leaves_z_unknown_and_the_rest_as_it_is() -> None:
    light = {"photons": 1000, "background_photons": 10}
    with_z = crlb(Gaussian(), None, (11, 11), x_nm=550, y_nm=550, **light)
    without = crlb(Gaussian(), None, (11, 11), x_nm=550, y_nm=550, **light, unknown=FLAT)
    assert np.isinf(float(with_z["z_nm"]))
    for name in FLAT:
        assert float(with_z[name]) == pytest.approx(float(without[name]), rel=1e-4)


def test_two_emitters_far_apart_are_two_single_ones_and_near_ones_are_worse() -> None:
    def deviation(distance):
        pair = jnp.array([[1000.0 - distance / 2, 750, 0, 1000], [1000.0 + distance / 2, 750, 0, 1000]])
        information = fisher_information(Gaussian(), None, (15, 20), pair, 5.0)
        kept = np.array([0, 1, 3, 4, 5, 7, 8])
        return float(np.sqrt(np.linalg.inv(np.asarray(information, float)[np.ix_(kept, kept)])[0, 0]))

    alone = crlb(Gaussian(), None, (15, 20), x_nm=550.0, y_nm=750.0, photons=1000, background_photons=5, unknown=FLAT)
    assert deviation(900) == pytest.approx(float(alone["x_nm"]), rel=0.02)
    assert deviation(150) > 3 * deviation(900)


def test_slopes_are_those_of_the_picture() -> None:
    emitter, step = np.array([[523.0, 571.0, 80.0, 900.0]]), np.array([1.0, 1.0, 2.0, 10.0])
    mean, slopes = mean_and_slopes(Astigmatic(), (11, 11), emitter, 7.0)
    for i in range(4):
        moved = [
            expected_photons(Astigmatic(), (11, 11), jnp.asarray(emitter + s * step * np.eye(4)[i]), 7.0)
            for s in (1, -1)
        ]
        np.testing.assert_allclose(slopes[i], (moved[0] - moved[1]) / (2 * step[i]), atol=2e-3)
    np.testing.assert_array_equal(slopes[4], np.ones((11, 11)))
    assert float(mean.sum() - 7 * 121) == pytest.approx(900, rel=2e-2)


def test_inverse_of_badly_scaled_information() -> None:
    matrix = np.diag([1e-6, 4e4, 0.0])
    matrix[0, 1] = matrix[1, 0] = 0.1
    covariance = np.asarray(invert_information(jnp.asarray(matrix, jnp.float32)))
    np.testing.assert_allclose(covariance[:2, :2], np.linalg.inv(matrix[:2, :2]), rtol=1e-3)
    assert np.isinf(covariance[2, 2])


def test_unknown_names_are_told() -> None:
    with pytest.raises(InputError, match="unknown: expected some of x_nm"):
        crlb(Gaussian(), None, (5, 5), x_nm=1, y_nm=1, photons=1, background_photons=1, unknown=("depth",))
