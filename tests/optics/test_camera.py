"""Cameras against the moments of their noise, their inverses and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bioflax.errors import InputError
from bioflax.optics import EMCCD, SCMOS, noise

KEY = jax.random.key(7)
SHAPE = (256, 256)
poisson = jax.jit(noise.poisson)
expose = jax.jit(lambda camera, key, photons: camera.expose(key, photons))


def moments(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.var()


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.7, 5.0, 11.99, 12.01, 40.0, 1000.0, 1e5])
def test_poisson_variance_is_its_mean(mean):
    counts = np.asarray(poisson(KEY, jnp.full(SHAPE, mean)))
    assert (counts == np.round(counts)).all() and (counts >= 0).all()
    if mean == 0.0:
        assert not counts.any()
        return
    average, variance = moments(counts)
    spread = np.sqrt(mean / counts.size)
    assert abs(average - mean) < 5 * spread
    assert abs(variance - mean) < 5 * np.sqrt((2 * mean**2 + mean) / counts.size)


@pytest.mark.parametrize(
    ("mean", "off"), [(0.3, 2e-5), (4.0, 2e-5), (11.9, 3e-5), (12.0, 5e-4), (30.0, 2e-4), (300.0, 1e-4)]
)
def test_poisson_is_the_inverse_distribution_function(mean, off):
    two_sided = (np.arange(1, 2**18) / 2**17 - 1).astype(np.float32)
    branch = noise._poisson_series if mean < 12 else noise._poisson_expansion
    counts = np.asarray(branch(jnp.asarray(two_sided), jnp.full(two_sided.shape, mean)))
    exact = stats.poisson.ppf(0.5 * (1.0 + two_sided.astype(np.float64)), mean)
    assert np.mean(counts != exact) <= off
    assert np.abs(counts - exact).max() <= 1


def test_poisson_pixels_and_keys_are_independent():
    first, second = (np.asarray(poisson(k, jnp.full(SHAPE, 20.0))) for k in jax.random.split(KEY))
    shifted = np.corrcoef(first[:, 1:].ravel(), first[:, :-1].ravel())[0, 1]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02 and abs(shifted) < 0.02


@pytest.mark.parametrize("electrons", [1, 2, 5, 60])
def test_multiplication_is_a_gamma_distribution(electrons):
    values = np.asarray(noise.multiplied(KEY, jnp.full((100, 200), float(electrons)))).ravel()
    assert stats.kstest(values, "gamma", args=(electrons,)).pvalue > 1e-3


def test_no_electron_is_not_multiplied():
    assert not np.asarray(noise.multiplied(KEY, jnp.zeros((8, 8)))).any()


def test_scmos_mean_and_variance():
    camera = SCMOS(offset_adu=100.0, gain_adu_per_e=2.2, read_noise_e=1.6, quantum_efficiency=0.8, bits=None)
    average, variance = moments(expose(camera, KEY, jnp.full(SHAPE, 30.0)))
    assert average == pytest.approx(100.0 + 2.2 * 0.8 * 30.0, abs=0.2)
    assert variance == pytest.approx(2.2**2 * (0.8 * 30.0 + 1.6**2), rel=0.02)
    assert camera.expected(30.0) == pytest.approx(152.8) and camera.variance(30.0) == pytest.approx(128.5504)


def test_rounding_adds_a_twelfth_and_no_bias():
    exact, rounded = (expose(SCMOS(bits=bits), KEY, jnp.full(SHAPE, 10.0)) for bits in (None, 16))
    assert (rounded == jnp.round(rounded)).all()
    assert moments(rounded)[0] == pytest.approx(moments(exact)[0], abs=0.01)
    assert moments(rounded)[1] == pytest.approx(moments(exact)[1] + 1 / 12, abs=0.1)


def test_counts_saturate_at_the_bits():
    bright = expose(SCMOS(bits=12), KEY, jnp.full(SHAPE, 1e5))
    dark = expose(SCMOS(offset_adu=0.0, read_noise_e=3.0, bits=12), KEY, jnp.zeros(SHAPE))
    assert (bright == 4095).all() and dark.min() == 0


def test_emccd_counts_shot_noise_twice():
    camera = EMCCD(em_gain=200.0, gain_adu_per_e=0.05, read_noise_e=40.0, quantum_efficiency=0.9, bits=None)
    average, variance = moments(expose(camera, KEY, jnp.full(SHAPE, 8.0)))
    electrons = 0.9 * 8.0 + 0.002
    assert average == pytest.approx(100.0 + 10.0 * electrons, rel=0.01)
    assert variance == pytest.approx(0.05**2 * (2 * 200.0**2 * electrons + 40.0**2), rel=0.03)
    assert camera.variance(8.0) == pytest.approx(100 * 2 * electrons + 4.0)


def test_emccd_excess_noise_factor_is_two():
    camera = EMCCD(read_noise_e=0.0, spurious_e=0.0, quantum_efficiency=1.0, bits=None)
    photons = camera.to_photons(expose(camera, KEY, jnp.full(SHAPE, 50.0)))
    average, variance = moments(photons)
    assert average == pytest.approx(50.0, rel=5e-3) and variance / average == pytest.approx(2.0, rel=0.03)


def test_the_challenge_camera_gives_six_counts_a_photon():
    camera = EMCCD()
    assert camera.expected(101.0) - camera.expected(100.0) == pytest.approx(6.0, abs=1e-6)
    adu = 640.0
    assert camera.to_photons(adu) == pytest.approx(((adu - 100.0) * 45.0 / 300.0 - 0.002) / 0.9, rel=1e-6)


@pytest.mark.parametrize("camera", [SCMOS(), EMCCD(), SCMOS(offset_adu=np.full((4, 6), 90.0), gain_adu_per_e=0.5)])
def test_to_photons_inverts_expected(camera):
    photons = np.linspace(0.0, 500.0, 24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_allclose(camera.to_photons(camera.expected(photons)), photons, atol=1e-3)


def test_maps_act_pixel_by_pixel():
    read_noise = np.full((32, 32), 1.0)
    read_noise[5, 9] = 25.0
    camera = SCMOS(read_noise_e=read_noise, gain_adu_per_e=1.0, bits=None)
    frames = np.asarray(expose(camera, KEY, jnp.zeros((400, 32, 32))))
    spread = frames.std(axis=0)
    assert spread[5, 9] == pytest.approx(25.0, rel=0.15)
    assert np.median(spread) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("camera", [SCMOS(), EMCCD()])
def test_exposures_are_independent_and_jit_equals_eager(camera):
    photons = jnp.full((64, 64), 20.0)
    first, second = (np.asarray(camera.expose(k, photons)) for k in jax.random.split(KEY))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.06
    compiled = expose(camera, jax.random.split(KEY)[0], photons)
    # Fused arithmetic may move a value across a rounding step: one count in a few thousand pixels.
    assert np.mean(compiled != first) < 2e-3


def test_gradients_and_vmap_over_physical_leaves():
    slope = jax.grad(lambda c: c.variance(20.0))(EMCCD(em_gain=10.0, gain_adu_per_e=0.5))
    assert slope.em_gain == pytest.approx(0.25 * 4 * 10.0 * (18.0 + 0.002), rel=1e-5)
    gains = jnp.array([1.0, 2.0, 4.0])
    cameras = SCMOS(gain_adu_per_e=gains)  # a sweep: one camera per gain
    swept = jax.vmap(
        lambda c: c.expected(10.0), in_axes=(jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, cameras),)
    )
    np.testing.assert_allclose(swept(cameras), 100.0 + 8.2 * gains, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: EMCCD(em_gain=0),
            r"EMCCD.em_gain: expected at least 1 \(electrons out per electron in\), found 0; 1 means",
        ),
        (
            lambda: SCMOS(read_noise_e=-1.0),
            r"SCMOS.read_noise_e: expected at least 0 \(electrons rms\), found -1.0; take it",
        ),
        (
            lambda: SCMOS(quantum_efficiency=82),
            r"expected above 0 and at most 1 \(electrons per photon\), found 82; .*0.82",
        ),
        (lambda: SCMOS(gain_adu_per_e=0.0), r"SCMOS.gain_adu_per_e: expected above 0 \(ADU per electron\), found 0.0"),
        (lambda: SCMOS(offset_adu=float("inf")), r"SCMOS.offset_adu: expected at least 0 \(ADU\), found inf"),
        (lambda: SCMOS(read_noise_e=np.array([[1.0, -2.0]])), r"found a map of shape \(1, 2\) with values -2 to 1"),
        (
            lambda: SCMOS(read_noise_e=np.array([[1.0, np.nan]])),
            r"map of shape \(1, 2\) with 1 values that are not finite",
        ),
        (lambda: EMCCD(spurious_e=None), r"EMCCD.spurious_e: expected a number, .*found None"),
        (lambda: SCMOS(bits=99), r"SCMOS.bits: expected a whole number 1 to 24 \(bits per pixel\) or None, found 99"),
    ],
)
def test_wrong_cameras_say_what_is_wrong(make, text):
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)
