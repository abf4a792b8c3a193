"""The simulator: a batch is a function of its key, truth and noise fit the camera, physics can be swept."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import EMCCD, SCMOS, WidefieldOptics
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate import Simulator, simulate_stack
from bioflax.typing import DeviceSource


@physical
class Ridge:
    """A scene of its own: one bright line across the picture, somewhere."""

    brightness: float = quantity("relative", at_least=0.0, default=1.0)

    def __call__(self, key, shape, pixel_nm=100.0):
        row = jax.random.uniform(key, (), jnp.float32, 0.3, 0.7) * shape[0]
        across = jnp.exp(-0.5 * (jnp.arange(shape[0]) - row) ** 2) * self.brightness
        return jnp.broadcast_to(across[:, None], shape)

    def with_room(self, shape, pixel_nm):
        return self


SCENE = Ridge()
BASE = Simulator(scene=SCENE, size=32, margin=8, photons=40.0, background_photons=3.0)
sample = jax.jit(lambda simulator, key, n: simulator.sample(key, n), static_argnums=2)


def change(**fields):
    return dataclasses.replace(BASE, **fields)


def test_a_batch_has_the_asked_shape_and_is_a_function_of_its_key():
    assert isinstance(BASE, DeviceSource)
    batch, again, other = (sample(BASE, jax.random.key(seed), 16) for seed in (0, 0, 1))
    assert set(batch) == {"image", "target"}
    assert batch["image"].shape == batch["target"].shape == (16, 32, 32, 1)
    assert batch["image"].dtype == batch["target"].dtype == jnp.float32
    np.testing.assert_array_equal(batch["image"], again["image"])
    assert not np.array_equal(batch["image"], other["image"])


@pytest.mark.parametrize("camera", [SCMOS(), EMCCD()], ids=["sCMOS", "EMCCD"])
def test_noise_around_the_target_is_the_cameras(camera):
    simulator = change(camera=camera)
    batch = sample(simulator, jax.random.key(3), 16)
    variance = simulator.camera.variance(simulator.camera.to_photons(batch["target"]))
    residual = (batch["image"] - batch["target"]) / np.sqrt(variance)
    assert float(residual.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(residual.var()) == pytest.approx(1.0, abs=0.06)


def test_two_exposures_share_the_scene_and_nothing_else():
    batch = sample(change(exposures=2), jax.random.key(4), 16)
    assert set(batch) == {"image", "target", "clean"}
    first, second = (np.asarray(batch[name] - batch["clean"]).ravel() for name in ("image", "target"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04
    assert np.corrcoef(np.ravel(batch["image"]), np.ravel(batch["target"]))[0, 1] > 0.5


def test_jit_equals_eager():
    key = jax.random.key(5)
    simulator = change(camera=SCMOS(bits=None))
    eager, compiled = simulator.sample(key, 16), sample(simulator, key, 16)
    np.testing.assert_allclose(eager["target"], compiled["target"], rtol=1e-4)
    # A count may flip where its uniform lies on a step of the distribution.
    assert np.mean(np.abs(eager["image"] - compiled["image"]) > 0.01) < 2e-3


def test_photons_and_background_scale_the_truth():
    def truth(**fields):
        simulator = change(**fields)
        return simulator.camera.to_photons(sample(simulator, jax.random.key(6), 16)["target"])

    np.testing.assert_allclose(truth(photons=80.0) - 3.0, 2.0 * (truth(photons=40.0) - 3.0), atol=1e-2)
    np.testing.assert_allclose(truth(background_photons=13.0), truth() + 10.0, atol=1e-3)


def test_spans_draw_one_value_per_picture_within_range():
    empty = Ridge(brightness=0.0)
    simulator = change(scene=empty, background_photons=(2.0, 9.0))
    photons = np.asarray(simulator.camera.to_photons(sample(simulator, jax.random.key(7), 16)["target"]))
    assert (np.ptp(photons, axis=(1, 2, 3)) < 1e-3).all()
    assert 2.0 <= photons.min() < 4.0 and 7.0 < photons.max() <= 9.001
    assert len(np.unique(photons[:, 0, 0, 0])) == 16


def test_light_from_outside_the_picture_enters_without_wrapping():
    lens = WidefieldOptics(pixel_nm=100.0)
    assert change(optics=lens).canvas == (48, 48)
    assert Simulator(scene=SCENE, size=[20, 30], margin=0).canvas == (20, 30)
    whole, inner = (
        sample(change(size=size, margin=margin), jax.random.key(2), 16) for size, margin in ((48, 0), (32, 8))
    )
    # The same canvas, cut: the borders of the inner picture carry the light of what was cut away.
    np.testing.assert_allclose(whole["target"][:, 8:-8, 8:-8], inner["target"], rtol=1e-4)


def test_a_defocus_sweep_maps_over_a_leaf():
    simulator = change(optics=WidefieldOptics(defocus_nm=0.0))
    depths = jnp.array([0.0, 400.0, 800.0])

    def contrast(defocus_nm):
        optics = dataclasses.replace(simulator.optics, defocus_nm=defocus_nm)
        return dataclasses.replace(simulator, optics=optics).sample(jax.random.key(8), 16)["target"].std()

    swept = jax.jit(jax.vmap(contrast))(depths)
    assert swept[0] > swept[1] > swept[2]
    single = sample(change(optics=WidefieldOptics(defocus_nm=800.0)), jax.random.key(8), 16)["target"].std()
    assert swept[2] == pytest.approx(float(single), rel=1e-3)


def test_gradients_flow_to_light_optics_and_camera():
    def brightness(simulator):
        return simulator.sample(jax.random.key(9), 16)["target"].mean()

    slope = jax.jit(jax.grad(brightness))(BASE)
    truth = BASE.camera.to_photons(sample(BASE, jax.random.key(9), 16)["target"])
    gain = BASE.camera.gain_adu_per_e * BASE.camera.quantum_efficiency
    assert slope.background_photons == pytest.approx(gain, rel=1e-4)
    assert slope.photons == pytest.approx(gain * (float(truth.mean()) - 3.0) / 40.0, rel=1e-3)
    assert slope.camera.offset_adu == pytest.approx(1.0, rel=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_one_compile_serves_every_physical_value():
    compiled = jax.jit(lambda simulator, key: simulator.sample(key, 2))
    for photons, na in ((10.0, 1.4), (20.0, 1.2), (33.0, 0.9)):
        compiled(change(photons=photons, optics=WidefieldOptics(na=na)), jax.random.key(0))
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_batch_lowers_for_accelerators(platform):
    exported = jax.export.export(
        jax.jit(lambda seed: Simulator(size=32).sample(jax.random.key(seed), 16)["image"]), platforms=[platform]
    )(jax.ShapeDtypeStruct((), jnp.int32))
    assert exported.out_avals[0].shape == (16, 32, 32, 1)


def test_a_stack_is_a_function_of_the_seed_picture_by_picture():
    few, more = (simulate_stack(BASE, 11, frames, repeats) for frames, repeats in ((2, 2), (3, 4)))
    assert few["image"].shape == (2, 2, 32, 32) and few["image"].dtype == np.uint16
    assert few["clean"].shape == (2, 32, 32) and few["clean"].dtype == np.float32
    np.testing.assert_array_equal(few["image"], more["image"][:2, :2])
    np.testing.assert_array_equal(few["clean"], more["clean"][:2])
    assert not np.array_equal(few["image"][0, 0], few["image"][0, 1])
    error = more["image"].mean(axis=1) - more["clean"]
    assert error.mean() == pytest.approx(0.0, abs=0.5)
    with pytest.raises(InputError, match=r"frames: expected a whole number of at least 1, found 0"):
        simulate_stack(BASE, 0, 0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"size": 0}, r"Simulator.size: expected pixels, one whole number or \(H, W\), found 0"),
        ({"size": (64, -1)}, r"Simulator.size: .* found \(64, -1\)"),
        ({"exposures": 3}, r"Simulator.exposures: expected 1 .* or 2 .* found 3"),
        ({"margin": -1}, r"Simulator.margin: expected pixels, 0 or more, found -1"),
        ({"photons": 0}, r"Simulator.photons: expected above 0 \(photons per pixel and exposure\), found 0"),
        (
            {"photons": (50.0, 10.0)},
            r"Simulator.photons: expected \(low, high\) with low <= high, found \(50.0, 10.0\)",
        ),
        (
            {"photons": (1.0, 2.0, 3.0)},
            r"Simulator.photons: expected one number or a pair \(low, high\), found 3 values",
        ),
        (
            {"camera": SCMOS(offset_adu=np.zeros((8, 8)))},
            r"Simulator.camera: expected maps .* \(32, 32\), found \(8, 8\)",
        ),
    ],
)
def test_wrong_simulators_say_what_is_wrong(fields, text):
    with pytest.raises(InputError, match=text):
        change(**fields)
