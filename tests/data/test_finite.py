"""A finite training set: the same examples whatever its size, made anew; the deformation and the held-out set stay free."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.data import (
    Deformation,
    Finite,
    ScaledEmitters,
    SimulatedData,
    SimulatedEmitters,
    SimulatedObjects,
    SimulatedPairs,
)
from bioflax.errors import InputError
from bioflax.hub.held_out_emitters import truth_columns
from bioflax.optics.psf import Gaussian
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate import BlurredProcess, EmitterSimulator, GaussianProcess, Mislabelled

PROCESS = GaussianProcess(size=8, noise_std=0.5)


@physical
class Dots:
    """Points that are pixels of 1 on noise: an object simulator that compiles fast."""

    level: float = quantity("any", default=0.3)

    def sample(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
        points = jax.random.randint(key, (n, 3, 2), 0, 12)
        image = self.level * jax.random.normal(key, (n, 12, 12, 1))
        image = image.at[jnp.arange(n)[:, None], points[..., 0], points[..., 1], 0].add(1.0)
        return {"image": image, "points": points.astype(jnp.float32), "mask": jnp.ones((n, 3))}


DOTS = Dots()


@pytest.fixture(scope="module")
def draw():
    return jax.jit(lambda source, key, n: source.sample(key, n), static_argnums=2)


def distinct(images: np.ndarray) -> int:
    return len(np.unique(np.asarray(images).reshape(len(images), -1), axis=0))


def prepared(data, mode: str, seed: int = 3):
    return data.prepare(mode, (), spatial_dims=2, seed=seed, batch=4)


def test_a_batch_holds_only_those_examples_noise_included(draw) -> None:
    batch = draw(Finite(PROCESS, 5, 7), jax.random.key(0), 200)
    assert batch["image"].shape == (200, 8, 8, 1)
    assert distinct(batch["image"]) == 5 and distinct(batch["target"]) == 5
    _, counts = np.unique(np.asarray(batch["image"])[:, 0, 0, 0], return_counts=True)
    assert counts.min() > 20  # evenly: 40 each, standard deviation 5.7


def test_a_larger_set_holds_the_smaller_one(draw) -> None:
    small, large = (Finite(PROCESS, fields, 7).examples(np.arange(3)) for fields in (3, 50))
    assert np.array_equal(small["image"], large["image"])
    seen = draw(Finite(PROCESS, 3, 7), jax.random.key(1), 200)["image"]
    assert {image.tobytes() for image in np.asarray(seen)} == {image.tobytes() for image in np.asarray(large["image"])}


def test_example_i_is_the_source_s_own_for_its_key() -> None:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 3), 2)
    expected = PROCESS.sample(key, 1)["image"][0]
    np.testing.assert_allclose(Finite(PROCESS, 4, 7).examples(np.array([2]))["image"][0], expected, atol=1e-5)


def test_the_seed_is_a_leaf_and_chooses_the_examples(draw) -> None:
    first, second = Finite(PROCESS, 3, np.uint32(1)), Finite(PROCESS, 3, np.uint32(2))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert any(leaf is first.seed for leaf in jax.tree.leaves(first))
    images = [np.asarray(draw(source, jax.random.key(0), 64)["image"]) for source in (first, second)]
    assert distinct(np.concatenate(images)) == 6


def test_it_passes_on_what_the_source_knows() -> None:
    source = Finite(PROCESS, 3, 0)
    assert source.noise_std == 0.5
    with pytest.raises(AttributeError):
        source.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (partial(SimulatedData, PROCESS, "none", 4), "target"),
        (partial(SimulatedPairs, BlurredProcess(size=8), "none", 4), "target"),
    ],
    ids=["data", "pairs"],
)
def test_the_training_set_is_finite_and_the_held_out_examples_are_others(data, mode, draw) -> None:
    endless, finite = prepared(data(), mode), prepared(data(fields=2), mode)
    assert not isinstance(endless.source, Finite) and "fields" not in endless.trained_on
    assert isinstance(finite.source, Finite) and finite.trained_on["fields"] == 2
    for one, other in zip(endless.validation, finite.validation):
        assert np.array_equal(one["image"], other["image"])
    seen = np.asarray(draw(finite.source, jax.random.key(0), 32)["image"])
    assert distinct(seen) == 2
    assert distinct(np.concatenate([seen, *[batch["image"] for batch in finite.validation]])) == 6
    assert distinct(draw(prepared(data(fields=2), mode, seed=4).source, jax.random.key(0), 32)["image"]) == 2


def test_emitters_keep_their_endless_simulator_for_the_judge(draw) -> None:
    simulator = EmitterSimulator(size=12, psf=Gaussian(), frames=3)
    made = prepared(SimulatedEmitters(simulator, validation=4, fields=2), "emitters")
    assert isinstance(made.source, Finite) and isinstance(made.source.source, ScaledEmitters)
    assert made.source.simulator is simulator and made.source.scales.frames == 3
    assert distinct(draw(made.source, jax.random.key(0), 32)["image"]) == 2
    assert np.isfinite(truth_columns(made.truth, made.source.simulator)["crlb_x_nm"]).all()


def test_objects_are_finite_and_their_deformation_is_not(draw) -> None:
    # Gain and offset differ from draw to draw, the points underneath are those of two pictures.
    light = Deformation(flip=False, rot90=False, elastic_px=0.0, zoom=1.0, rotate=0.0, blur_px=0.0, noise=0.0)
    deformed = SimulatedObjects(DOTS, validation=4, fields=2, deformation=light)
    batch = draw(prepared(deformed, "points").source, jax.random.key(0), 16)
    assert distinct(batch["image"]) == 16 and distinct(batch["points"]) == 2


def test_labels_of_objects_are_spoiled_in_training_and_held_out_but_pictures_stay(draw) -> None:
    clean = prepared(SimulatedObjects(DOTS, validation=4), "points")
    missing = SimulatedObjects(DOTS, validation=4, mislabel=partial(Mislabelled, missed=1.0))
    spoiled = prepared(missing, "points")
    assert clean.validation[0]["mask"].sum() > 0 and spoiled.validation[0]["mask"].sum() == 0
    assert np.array_equal(clean.validation[0]["image"], spoiled.validation[0]["image"])
    assert sum(len(one["points"]) for one in spoiled.truth) == 0
    assert float(draw(spoiled.source, jax.random.key(0), 16)["mask"].sum()) == 0
    assert spoiled.trained_on["mislabelled"]["missed"] == 1.0 and missing.simulator is DOTS
    none = prepared(SimulatedObjects(DOTS, validation=4, mislabel=Mislabelled), "points")
    assert none.source.simulator is DOTS and "mislabelled" not in none.trained_on


@pytest.mark.parametrize("fields", [0, -3, 2.5, True])
@pytest.mark.parametrize("data", [SimulatedData, SimulatedPairs, SimulatedObjects, SimulatedEmitters])
def test_it_needs_a_whole_number(data, fields) -> None:
    with pytest.raises(InputError, match=r"data\.fields: expected null .* at least 1, found"):
        prepared(data(PROCESS, fields=fields), "target")
