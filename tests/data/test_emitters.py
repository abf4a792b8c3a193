"""Simulated emitters as batches: scales, pixel convention, and back to physical units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.data import EmitterScales, ScaledEmitters, SimulatedEmitters
from bioflax.data.emitters import scale_batch
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.optics import SCMOS
from bioflax.optics.psf import Astigmatic, Gaussian
from bioflax.simulate import EmitterSimulator

SCALES = EmitterScales(pixel_nm=100.0, photons=10000.0, z_nm=600.0, background_photons=40.0)


@pytest.fixture(scope="module")
def prepared():
    simulator = EmitterSimulator(size=16, emitters_per_um2=1.0)
    return SimulatedEmitters(simulator, validation=6).prepare("emitters", (), spatial_dims=2, seed=3, batch=4)


def test_a_batch_is_in_the_units_of_the_net(prepared) -> None:
    batch = jax.jit(lambda source, key: source.sample(key, 8))(prepared.source, jax.random.key(0))
    assert batch["image"].shape == (8, 16, 16, 3)
    shown = np.asarray(batch["mask"]) > 0
    assert 0 < np.asarray(batch["photons"])[shown].max() <= 1 / 1.3 + 1e-6
    assert np.abs(np.asarray(batch["z"])[shown]).max() <= 1 / 1.2 + 1e-6
    x = np.asarray(batch["x_px"])[shown]
    assert x.min() >= -0.5 and x.max() < 15.5  # the first pixel's centre is 0
    assert np.asarray(batch["background"]).max() <= 1


def test_held_out_examples_are_fixed_and_keep_their_truth(prepared) -> None:
    again = SimulatedEmitters(prepared.source.simulator, validation=6).prepare(
        "emitters", (), spatial_dims=2, seed=3, batch=4
    )
    assert len(prepared.validation) == len(prepared.truth) == 2 and prepared.reference == "emitters"
    np.testing.assert_array_equal(prepared.validation[1]["image"], again.validation[1]["image"])
    image = prepared.normalization.invert(prepared.validation[0]["image"])
    np.testing.assert_allclose(image, prepared.truth[0]["image"], rtol=1e-4, atol=1e-2)
    assert prepared.physics["camera"]["kind"] == "SCMOS" and prepared.physics["scales"]["frames"] == 3


def test_there_and_back_again() -> None:
    truth = {
        "image": jnp.zeros((1, 4, 4, 3)),
        "background": jnp.full((1, 4, 4, 1), 20.0),
        "x_nm": jnp.array([[150.0, 0]]),
        "y_nm": jnp.array([[320.0, 0]]),
        "z_nm": jnp.array([[-300.0, 0]]),
        "photons": jnp.array([[5000.0, 0]]),
        "present": jnp.array([[True, False]]),
    }
    scaled = scale_batch(truth, Normalization("none"), SCALES)
    assert float(scaled["x_px"][0, 0]) == pytest.approx(1.0)
    found = {"mask": scaled["mask"] > 0, "score": scaled["mask"], "background": jnp.full((1, 2), 0.5)}
    found |= {name: scaled[name] for name in ("x_px", "y_px", "z", "photons")}
    found |= {f"spread_{name}": jnp.full((1, 2), 0.1) for name in ("x", "y", "z", "photons")}
    columns = SCALES.to_columns(found, first_frame=7)
    expected = {"frame": 7, "x_nm": 150, "y_nm": 320, "z_nm": -300, "photons": 5000, "background_photons": 20}
    expected |= {"sigma_x_nm": 10, "sigma_z_nm": 60, "sigma_photons": 1000, "probability": 1}
    for name, value in expected.items():
        assert columns[name] == pytest.approx([value], rel=1e-5)


def test_a_source_is_a_pytree_whose_physics_can_be_swept(prepared) -> None:
    leaves = jax.tree.leaves(prepared.source)
    assert len(leaves) > 10
    assert isinstance(jax.tree.map(lambda leaf: leaf, prepared.source), ScaledEmitters)


@pytest.mark.parametrize(
    ("change", "mode", "dims", "message"),
    [
        ({}, "target", 2, "task=localize"),
        ({}, "emitters", 3, "2-D"),
        ({"pixel_nm": 160.0}, "emitters", 2, "data.pixel_nm: expected the 100 nm"),
    ],
)
def test_what_does_not_fit_is_told(change, mode, dims, message) -> None:
    data = SimulatedEmitters(EmitterSimulator(size=16, psf=Gaussian(), camera=SCMOS()), **change)
    with pytest.raises(InputError, match=message):
        data.prepare(mode, (), spatial_dims=dims, seed=0, batch=4)
    with pytest.raises(InputError, match="scales.z_nm"):
        EmitterScales(100.0, 1.0, 0.0, 1.0)
    assert Astigmatic().pixel_nm == 100.0


def test_two_pixels_that_claim_one_emitter_give_one_row() -> None:
    scales = EmitterScales(pixel_nm=100.0, photons=1000.0, z_nm=500.0, background_photons=10.0)
    found = {"mask": np.array([[True, True, True, False], [True, False, False, False]])}
    for name, row in {
        "x_px": [5.50, 5.52, 7.0, 0.0],
        "y_px": [3.0, 3.01, 3.0, 0.0],
        "score": [0.7, 0.9, 0.8, 0.0],
    }.items():
        found[name] = np.array([row, row])
    for name in ("z", "photons", "spread_x", "spread_y", "spread_z", "spread_photons"):
        found[name] = np.full((2, 4), 0.1)
    table = scales.to_columns(found, first_frame=3)
    assert table["frame"].tolist() == [3, 3, 4]  # the one of the other frame is none of them
    np.testing.assert_allclose(table["x_nm"], [602.0, 750.0, 600.0])
    np.testing.assert_allclose(table["probability"], [0.9, 0.8, 0.7])
