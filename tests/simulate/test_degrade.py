"""Steps from object to counts: each is what it says, a chain is their composition, all are pytrees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import SCMOS, WidefieldOptics
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import Imaging
from bioflax.simulate.degrade import (
    background,
    bin_pixels,
    blur,
    camera,
    chain,
    convolve,
    crop,
    illuminate,
    light,
    quantize,
    read_noise,
    shot_noise,
)

KEY = jax.random.key(0)
OBJECT = np.random.default_rng(0).random((24, 32)).astype(np.float32)
FINE = WidefieldOptics(pixel_nm=50.0)


def test_a_chain_is_imaging_then_the_camera() -> None:
    imaging, scmos = Imaging(WidefieldOptics(pixel_nm=100.0), 2), SCMOS()
    see = chain(light(200.0), blur(imaging), bin_pixels(2), background(5.0), camera(scmos))

    @jax.jit
    def both(step, key, image):
        photons = 200.0 * imaging.forward(image) + 5.0
        return step(key, image), scmos.expose(jax.random.fold_in(key, 4), photons)

    seen, expected = both(see, KEY, OBJECT)
    assert seen.shape == (12, 16)
    assert np.mean(np.abs(seen - expected) > 0.01) < 0.01  # a count may flip where its uniform lies on a step


def test_optics_and_imaging_blur_alike() -> None:
    with_pixel = blur(FINE)(KEY, OBJECT)
    np.testing.assert_allclose(with_pixel, blur(Imaging(WidefieldOptics(pixel_nm=100.0), 2))(KEY, OBJECT), atol=1e-6)
    transfer = np.asarray(FINE.otf(OBJECT.shape), np.float64)
    np.testing.assert_allclose(with_pixel, np.fft.ifft2(np.fft.fft2(OBJECT) * transfer).real, atol=1e-5)


def test_a_spot_in_the_middle_of_its_array_moves_nothing() -> None:
    np.testing.assert_allclose(convolve(np.pad([[1.0]], 2))(KEY, OBJECT), OBJECT, atol=1e-6)
    spot = np.random.default_rng(1).random((3, 4))
    brute = np.zeros(OBJECT.shape)
    for i, j in np.ndindex(3, 4):
        brute += spot[i, j] * np.roll(OBJECT.astype(np.float64), (i - 1, j - 2), axis=(0, 1))
    np.testing.assert_allclose(convolve(spot)(KEY, OBJECT), brute, atol=1e-5)


def test_frames_stand_before_the_rows_and_average_to_even_light() -> None:
    step = illuminate(Illumination(phase_deg=20.0), 50.0, before_px=2)
    lit = jax.jit(lambda one, image: one(KEY, image))(step, jnp.stack([OBJECT, 2 * OBJECT]))
    assert lit.shape == (2, 9, 24, 32)
    np.testing.assert_allclose(lit.mean(1), np.stack([OBJECT, 2 * OBJECT]), atol=1e-5)
    expected = Illumination(phase_deg=20.0).patterns((24, 32), 50.0, before_px=2)[4]
    np.testing.assert_allclose(lit[1, 4], 2 * OBJECT * expected, rtol=1e-5)


def test_noise_has_its_mean_and_variance_and_its_own_stream() -> None:
    flat = jnp.full((200, 100), 7.0)
    counts = np.asarray(chain(shot_noise(), read_noise(3.0))(KEY, flat))
    assert counts.mean() == pytest.approx(7.0, abs=0.15) and counts.var() == pytest.approx(16.0, rel=0.05)
    first = shot_noise()(jax.random.fold_in(KEY, 0), flat)
    # What the second step adds does not depend on what the first step is.
    np.testing.assert_allclose(
        counts - first, chain(background(0.0), read_noise(3.0))(KEY, flat) - 7.0, rtol=0, atol=1e-5
    )
    assert not np.array_equal(shot_noise()(jax.random.key(1), flat), first)


def test_crop_and_quantize() -> None:
    np.testing.assert_array_equal(crop(3)(KEY, OBJECT), OBJECT[3:-3, 3:-3])
    np.testing.assert_array_equal(crop(0)(KEY, OBJECT), OBJECT)
    np.testing.assert_array_equal(quantize(8)(KEY, jnp.asarray([-2.0, 3.6, 300.0])), [0.0, 4.0, 255.0])


def test_leaves_of_a_chain_can_be_swept_and_any_function_is_a_step() -> None:
    see = jax.vmap(
        lambda wave: chain(
            blur(WidefieldOptics(wavelength_nm=wave, pixel_nm=50.0)), background(0.0), lambda _, x: 2 * x
        )
    )
    # Built inside jit, where the numbers may be traced or plain, and as a batch of chains.
    both = jax.jit(lambda waves: jax.vmap(lambda one: one(KEY, OBJECT))(see(waves)))(jnp.asarray([500.0, 900.0]))
    for image, wave in zip(both, (500.0, 900.0)):
        np.testing.assert_allclose(
            image, 2 * blur(WidefieldOptics(wavelength_nm=wave, pixel_nm=50.0))(KEY, OBJECT), atol=1e-4
        )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: chain(light(1.0), SCMOS()), r"found SCMOS\(.*at position 1; wrap it"),
        (lambda: background(-1.0), "background.photons: expected numbers of at least 0, found -1.0"),
        (lambda: quantize(0), "quantize.bits: expected a whole number 1 to 24, found 0"),
        (lambda: bin_pixels(5)(KEY, OBJECT), r"multiples of 5, found \(24, 32\)"),
        (lambda: convolve(np.ones((99, 3)))(KEY, OBJECT), r"no larger than the image \(24, 32\), found \(99, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, text) -> None:
    with pytest.raises(InputError, match=text):
        make()
