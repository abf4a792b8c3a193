"""Scenes: in range, different for each key, with the number and size of objects that were asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics.quantities import is_concrete
from bioflax.simulate import Filaments, Mixed, Nuclei, Puncta

SCENES = [Filaments(), Nuclei(), Puncta(), Mixed()]


@functools.partial(jax.jit, static_argnums=(2, 3))
def pictures_of(scene, keys, shape, pixel_nm):
    return jax.vmap(lambda key: scene(key, shape, pixel_nm))(keys)


def draw(scene, key, n=40, shape=(32, 40), pixel_nm=100.0):
    return np.asarray(pictures_of(scene.with_room(shape, pixel_nm), jax.random.split(key, n), shape, pixel_nm))


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: type(s).__name__)
def test_a_scene_is_finite_positive_and_a_function_of_its_key(scene):
    first, again = draw(scene, jax.random.key(0), 12), draw(scene, jax.random.key(0), 12)
    assert first.shape == (12, 32, 40) and first.dtype == np.float32
    assert np.isfinite(first).all() and first.min() >= 0 and 0.3 < first.max() < 40
    np.testing.assert_array_equal(first, again)
    assert len({picture.tobytes() for picture in first}) > 6


@pytest.mark.parametrize("scene", [Filaments(), Puncta(cell=0.0)], ids=["Filaments", "Puncta"])
def test_light_grows_with_density(scene):
    sparse, dense = (
        draw(
            type(scene)(**{**vars(scene), "density_per_um2": rho, "capacity": 90, "room": 0}), jax.random.key(1), 60
        ).mean()
        for rho in (0.3, 1.2)
    )
    assert dense / sparse == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("scene", [Filaments(density_per_um2=0), Nuclei(density_per_um2=0), Puncta(0, cell=0)])
def test_no_objects_give_an_empty_picture(scene):
    assert not draw(scene, jax.random.key(0), 12).any()


def test_light_of_a_spot_does_not_depend_on_the_pixel():
    # The same area at half the pixel size: the density per pixel is a mean, so its mean stays.
    scene = Puncta(density_per_um2=0.5, cell=0.0)
    coarse = draw(scene, jax.random.key(2), 60, (32, 32), 200.0).mean()
    fine = draw(scene, jax.random.key(2), 60, (64, 64), 100.0).mean()
    assert fine == pytest.approx(coarse, rel=0.1)
    expected = 0.5e-6 * 280.0**2 * np.exp(0.6**2 / 2 - 0.18)
    assert coarse == pytest.approx(expected, rel=0.15)


def test_nuclei_have_their_size():
    pictures = draw(Nuclei(density_per_um2=0.002, texture=0.0, radius_nm=1500.0), jax.random.key(3), 64, (96, 96))
    areas = [(p > 0.1).sum() for p in pictures if p[[0, -1]].max() == 0 and p[:, [0, -1]].max() == 0 and p.max() > 0]
    assert np.median(areas) == pytest.approx(np.pi * 15.0**2, rel=0.35)


def test_mixed_shows_different_kinds():
    kinds = Mixed((Filaments(density_per_um2=0.0), Puncta(density_per_um2=0.0, cell=1.0)))
    means = draw(kinds, jax.random.key(4), 40, (16, 16)).mean(axis=(1, 2))
    # The cell body shows fully, in part or not at all.
    assert (means == 0).any() and len(np.unique(means.round(4))) > 10


def test_room_is_found_from_the_density_or_said_to_be_short():
    assert Filaments(density_per_um2=1.0).with_room((100, 100), 100.0).room in (121, 122)
    assert Filaments(density_per_um2=1.0, capacity=200).with_room((100, 100), 100.0).room == 200
    with pytest.raises(InputError, match=r"Puncta.capacity: expected at least 100 objects .* found 99; raise it"):
        Puncta(density_per_um2=1.0, capacity=99).with_room((100, 100), 100.0)
    with pytest.raises(InputError, match=r"Nuclei.capacity: expected a whole number of at least 1, or None, found 0"):
        Nuclei(capacity=0).with_room((100, 100), 100.0)


def test_density_can_be_swept_inside_jit_with_a_capacity():
    densities = jnp.array([0.0, 0.5, 2.0])
    scene = Puncta(cell=0.0, capacity=64)
    sweep = jax.jit(
        jax.vmap(
            lambda rho: jax.tree.map(lambda leaf: leaf, Puncta(rho, cell=0.0, capacity=64))(
                jax.random.key(0), (32, 32), 100.0
            ).sum()
        )
    )
    light = sweep(densities)
    assert light[0] == 0 and light[1] < light[2] and is_concrete(scene)
    with pytest.raises(InputError, match=r"Puncta.capacity: expected a whole number where the density is traced"):
        jax.jit(lambda rho: Puncta(rho)(jax.random.key(0), (32, 32), 100.0))(1.0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Filaments(persistence_nm=0.0), r"Filaments.persistence_nm: expected above 0 \(nm over which"),
        (lambda: Nuclei(texture=1.5), r"Nuclei.texture: expected at least 0 and at most 1 .* found 1.5"),
        (lambda: Puncta(density_per_um2=-1), r"Puncta.density_per_um2: expected at least 0 \(spots per square"),
        (lambda: Mixed(()), r"Mixed.scenes: expected one or more scenes, found \(\)"),
        (lambda: Mixed((3,)), r"Mixed.scenes: expected one or more scenes"),
    ],
)
def test_wrong_scenes_say_what_is_wrong(make, text):
    with pytest.raises(InputError, match=text):
        make()
