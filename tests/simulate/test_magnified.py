"""Pairs for super-resolution: one unit for picture and target, the physics asked for, functions of their key."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import SCMOS, WidefieldOptics
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import bin_mean
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate import Magnified
from bioflax.typing import DeviceSource


@physical
class Dots:
    """A scene of its own: random light on every pixel of the inner part, nothing near the borders."""

    brightness: float = quantity("relative", at_least=0.0, default=1.0)

    def __call__(self, key, shape, pixel_nm=100.0):
        inner = jax.random.uniform(key, tuple(side // 4 for side in shape)) * self.brightness
        return jnp.pad(
            inner,
            [((side - small) // 2, side - small - (side - small) // 2) for side, small in zip(shape, inner.shape)],
        )

    def with_room(self, shape, pixel_nm):
        return self


@physical
class Even:
    """Density 1 everywhere."""

    def __call__(self, key, shape, pixel_nm=100.0):
        return jnp.ones(shape)

    def with_room(self, shape, pixel_nm):
        return self


OFFSET = np.full((24, 24), 100.0, np.float32)
OFFSET[0, 0] = 300.0
BASE = Magnified(scene=Dots(), camera=SCMOS(offset_adu=OFFSET), size=24, margin=2, photons=50.0, background_photons=3.0)
BARE = dataclasses.replace(BASE, camera=SCMOS(), size=28, margin=0)  # the canvas of BASE, uncut
N = 6
expected = jax.jit(lambda simulator, key: simulator.expected(key, N))
sample = jax.jit(lambda simulator, key: simulator.sample(key, N))


def change(simulator=BASE, **fields):
    return dataclasses.replace(simulator, **fields)


def test_a_batch_has_its_shapes_and_is_a_function_of_its_key() -> None:
    assert isinstance(BASE, DeviceSource) and BASE.channels == 1 and BASE.canvas == (56, 56)
    batch, again, other = (sample(BASE, jax.random.key(seed)) for seed in (0, 0, 1))
    assert batch["image"].shape == (N, 24, 24, 1) and batch["target"].shape == (N, 48, 48, 1)
    assert batch["image"].dtype == batch["target"].dtype == jnp.float32
    np.testing.assert_array_equal(batch["image"], again["image"])
    assert not np.array_equal(batch["target"], other["target"])


@pytest.mark.parametrize("upscale", [2, 3])
def test_the_binned_blurred_object_is_the_picture(upscale: int) -> None:
    """With a sharpness without end the target is the object, and `imaging` maps it onto the expected picture."""
    simulator = change(BARE, sharpness=1e6, upscale=upscale)
    coarse, fine = expected(simulator, jax.random.key(1))
    np.testing.assert_allclose(coarse[..., 0], simulator.imaging.forward(fine), rtol=2e-4)
    # The light is kept to rounding, by the blur and by the pixels.
    np.testing.assert_allclose(coarse.mean((1, 2, 3)), fine.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(bin_mean(fine, upscale).mean(), fine.mean(), rtol=1e-6)
    density = (np.asarray(fine) - 3.0) / 50.0
    assert density.max() == pytest.approx(1.0, abs=0.02) and density.min() == pytest.approx(0.0, abs=1e-3)


def test_the_target_is_what_optics_of_twice_the_cut_off_see() -> None:
    _, fine = expected(change(BARE, optics=WidefieldOptics(haze=0.4)), jax.random.key(2))
    _, density = expected(change(BARE, sharpness=1e6), jax.random.key(2))
    sharper = WidefieldOptics(wavelength_nm=260.0, pixel_nm=50.0)
    transfer = np.asarray(sharper.otf((56, 56)), np.float64)
    brute = np.fft.ifft2(np.fft.fft2(np.asarray(density, np.float64)) * transfer).real
    np.testing.assert_allclose(fine, np.maximum(brute, 3.0), atol=2e-3)


def test_noise_around_the_picture_is_the_cameras_and_maps_reach_the_target() -> None:
    batch = sample(BASE, jax.random.key(3))
    coarse, fine = expected(BASE, jax.random.split(jax.random.key(3))[0])
    mean, variance = (np.asarray(f(coarse[..., 0])) for f in (BASE.camera.expected, BASE.camera.variance))
    residual = (np.asarray(batch["image"][..., 0]) - mean) / np.sqrt(variance)
    assert residual.mean() == pytest.approx(0.0, abs=0.06) and residual.var() == pytest.approx(1.0, abs=0.09)
    light = 2.0 * 0.82 * np.asarray(fine)
    np.testing.assert_allclose(batch["target"][:, :2, :2, 0], 300.0 + light[:, :2, :2], rtol=1e-5)
    np.testing.assert_allclose(batch["target"][:, 2:, 2:, 0], 100.0 + light[:, 2:, 2:], rtol=1e-5)


def test_frames_average_to_the_even_picture_and_carry_the_pattern() -> None:
    lit = change(illumination=Illumination(phase_deg=40.0), random_phase=False)
    coarse, fine = expected(lit, jax.random.key(4))
    plain, same = expected(BASE, jax.random.key(4))
    assert lit.channels == 9 and coarse.shape == (N, 24, 24, 9)
    np.testing.assert_allclose(fine, same, rtol=1e-6)
    for angle in range(3):
        np.testing.assert_allclose(coarse[..., 3 * angle : 3 * angle + 3].mean(-1), plain[..., 0], rtol=1e-4)
    # The phase is counted from the corner of the picture, not of its canvas.
    _, density = expected(change(BARE, sharpness=1e6), jax.random.key(4))
    pattern = lit.illumination.patterns((56, 56), 50.0, before_px=4)[4]
    frame = lit.imaging.forward((density - 3.0) * pattern)[:, 2:-2, 2:-2] + 3.0
    np.testing.assert_allclose(coarse[..., 4], frame, rtol=1e-3)


def test_phases_are_drawn_for_each_picture() -> None:
    even = change(scene=Dots(brightness=0.0), background_photons=0.0, illumination=Illumination())
    assert float(expected(even, jax.random.key(5))[0].max()) == 0.0
    lit = change(even, scene=Even(), photons=80.0)
    coarse = np.asarray(expected(lit, jax.random.key(5))[0])
    first = coarse[:, 12, 12, :3]  # the even scene shows the stripes alone
    assert np.ptp(first, axis=1).min() > 1.0 and np.ptp(first[:, 0]) > 2.0
    np.testing.assert_allclose(first.mean(1), 80.0, rtol=1e-3)


def test_the_blur_is_drawn_for_each_picture() -> None:
    key = jax.random.key(7)
    spans = expected(change(blur_scale=(0.8, 2.0)), key)[0]
    wide, narrow = (expected(change(blur_scale=scale), key)[0] for scale in (2.0, 0.8))
    contrast = [np.asarray(images).std((1, 2, 3)) for images in (wide, spans, narrow)]
    assert (contrast[0] < contrast[1]).all() and (contrast[1] < contrast[2]).all()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"upscale": 0}, "Magnified.upscale: expected a whole number from 1 to 8, found 0"),
        ({"margin": -1}, "Magnified.margin: expected a whole number of at least 0"),
        ({"size": (24, 4)}, "Magnified.size: expected pixels"),
        ({"sharpness": 0.5}, "Magnified.sharpness: expected at least 1"),
        ({"camera": SCMOS(offset_adu=np.ones((8, 8)))}, "Magnified.camera: expected maps of the picture's size"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        change(**fields)
