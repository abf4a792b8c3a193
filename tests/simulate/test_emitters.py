"""Blinking emitters: counts, light and times against the process they are drawn from; frames against their truth."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.psf import Astigmatic, Gaussian
from bioflax.simulate import EmitterSimulator, simulate_movie


@pytest.fixture(scope="module")
def many():
    simulator = EmitterSimulator(size=24, emitters_per_um2=1.0, photons=1000.0, background_photons=4.0)
    return simulator, jax.device_get(jax.jit(lambda s, k: s.sample(k, 400))(simulator, jax.random.key(0)))


def test_shapes_and_units(many) -> None:
    simulator, batch = many
    assert batch["image"].shape == (400, 24, 24, 3) and batch["background"].shape == (400, 24, 24, 1)
    for name in ("x_nm", "y_nm", "z_nm", "photons", "present"):
        assert batch[name].shape == (400, simulator.room)
    shown = {name: batch[name][batch["present"]] for name in ("x_nm", "y_nm", "z_nm", "photons")}
    assert shown["x_nm"].min() >= 0 and shown["x_nm"].max() < 2400
    assert shown["z_nm"].min() >= -500 and shown["z_nm"].max() <= 500
    assert shown["photons"].min() > 0 and shown["photons"].max() <= 1000


def test_density_and_duty_are_those_of_the_stationary_process(many) -> None:
    _, batch = many
    count = batch["present"].sum(1)
    # Those that shine at any time within one frame: births x (lifetime + 1), by definition the density asked for.
    assert count.mean() == pytest.approx(1.0 * 2.4**2, rel=0.06)
    assert count.var() == pytest.approx(count.mean(), rel=0.25)
    share = batch["photons"][batch["present"]] / 1000
    # On for the whole frame: on at its start and for 1 frame more, 2 exp(-1/2) of 3.
    assert np.mean(share > 0.999) == pytest.approx(2 * np.exp(-0.5) / 3, abs=0.04)
    assert share.mean() == pytest.approx(2 / 3, abs=0.03)  # lifetime / (lifetime + 1)


def test_whole_frames_hold_all_the_light_of_an_emitter() -> None:
    simulator = EmitterSimulator(size=24, emitters_per_um2=1.0, photons=1000.0, whole_frames=True)
    batch = jax.device_get(jax.jit(lambda s, k: s.sample(k, 400))(simulator, jax.random.key(0)))
    assert np.allclose(batch["photons"][batch["present"]], 1000.0)
    assert batch["present"].sum(1).mean() == pytest.approx(2.4**2, rel=0.06)


def test_light_is_conserved_and_the_background_is_the_truth() -> None:
    simulator = EmitterSimulator(psf=Gaussian(), size=40, margin_px=0, structure=0.3)
    light, emitters, background = jax.jit(lambda s, k: s.expected_photons(k))(simulator, jax.random.key(1))
    deep = np.all((np.stack([emitters["x_nm"], emitters["y_nm"]]) > 600), 0)
    deep &= np.all((np.stack([emitters["x_nm"], emitters["y_nm"]]) < 3400), 0)
    one = {name: value[deep] for name, value in emitters.items()}
    np.testing.assert_allclose(simulator.render(one).sum((1, 2)), one["photons"].sum(0), rtol=1e-4)
    assert np.std(background) > 0.1 * np.mean(background) and np.min(background) >= 0
    np.testing.assert_allclose(light - background, simulator.render(emitters), atol=1e-3)


def test_spots_in_windows_are_those_over_the_whole_field() -> None:
    key = jax.random.key(2)
    whole = EmitterSimulator(psf=Gaussian(), size=24)
    windows = dataclasses.replace(whole, spot_px=23)
    np.testing.assert_allclose(windows.expected_photons(key)[0], whole.expected_photons(key)[0], atol=1e-2 * 1.0)


def test_the_simulation_is_differentiable_in_its_optics() -> None:
    emitters = EmitterSimulator(size=16).draw(jax.random.key(3), 5)

    def power(sigma_nm):
        simulator = EmitterSimulator(size=16, psf=Astigmatic(sigma_nm=sigma_nm))
        return jnp.sum(simulator.render(emitters) ** 2)

    numeric = (power(131.0) - power(129.0)) / 2
    assert float(jax.grad(power)(130.0)) == pytest.approx(float(numeric), rel=0.02)


@pytest.mark.parametrize("camera", [SCMOS(), EMCCD()], ids=["scmos", "emccd"])
def test_the_camera_reports_photons(camera) -> None:
    simulator = EmitterSimulator(camera=camera, size=16, emitters_per_um2=0.0, background_photons=50.0)
    image = simulator.sample(jax.random.key(4), 20)["image"]
    assert float(image.mean()) == pytest.approx(50, rel=0.01)
    excess = 2.0 if isinstance(camera, EMCCD) else 1.0
    assert float(image.var()) == pytest.approx(excess * 50 / camera.quantum_efficiency, rel=0.1)


def test_camera_maps_are_seen_in_random_parts() -> None:
    offset = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    simulator = EmitterSimulator(camera=SCMOS(offset_adu=offset, read_noise_e=np.full((30, 40), 2.0)), size=16)
    image = simulator.sample(jax.random.key(5), 8)["image"]
    assert np.isfinite(image).all() and float(image.mean()) < 400  # the offset is subtracted with the right part
    with pytest.raises(InputError, match="at least 64 x 64 px"):
        EmitterSimulator(camera=SCMOS(offset_adu=offset), size=64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 2}, "odd number"),
        ({"size": 4}, "at least 8"),
        ({"spot_px": 8}, "spot_px"),
        ({"emitters_per_um2": -1.0}, "per square micrometre"),
        ({"lifetime_frames": 0.0}, "lifetime_frames"),
        ({"photons": (5.0, 1.0)}, "low <= high"),
    ],
)
def test_impossible_settings_are_told(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        EmitterSimulator(**arguments)


def test_a_movie_is_what_its_truth_says() -> None:
    simulator = EmitterSimulator(
        psf=Gaussian(), size=32, emitters_per_um2=0.3, background_photons=5.0, whole_frames=True
    )
    movie = simulate_movie(simulator, seed=1, frames=40)
    assert movie["image"].shape == (40, 32, 32) and movie["image"].dtype == np.uint16
    table = {name: movie[name] for name in ("frame", "x_nm", "y_nm", "z_nm", "photons", "emitter")}
    assert len({len(values) for values in table.values()}) == 1 and set(np.unique(table["frame"])) <= set(range(1, 41))
    assert len(table["frame"]) / 40 == pytest.approx(0.3 * 3.2**2, rel=0.3)
    light = np.zeros((40, 32, 32))
    for number in range(40):
        rows = table["frame"] == number + 1
        spots = Gaussian().spots((32, 32), *(jnp.asarray(table[f"{axis}_nm"][rows]) for axis in "xyz"))
        light[number] = np.tensordot(table["photons"][rows], np.asarray(spots), 1)
    seen = np.asarray(SCMOS().to_photons(movie["image"].astype(np.float32))) - 5.0
    inner = (slice(None), slice(6, 26), slice(6, 26))  # emitters beyond the border shine in as well
    residual = (seen - light)[inner] / np.sqrt(light[inner] / 0.82 + 5 / 0.82 + 4)
    assert abs(residual.mean()) < 0.05 and 0.8 < residual.std() < 1.2
    again = simulate_movie(simulator, seed=1, frames=40)
    np.testing.assert_array_equal(again["image"], movie["image"])
    # The same emitter shines in frames that follow one another.
    frames = table["frame"][table["emitter"] == np.bincount(table["emitter"]).argmax()]
    np.testing.assert_array_equal(np.diff(np.sort(frames)), 1)
    with pytest.raises(InputError, match="frames"):
        simulate_movie(simulator, seed=1, frames=0)
