"""Scenes: in range, different for each key, with the number and size of objects that were asked for."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate import Filaments, Mixed, Nuclei, Puncta

SCENES = [Filaments(), Nuclei(), Puncta(), Mixed()]


@functools.partial(jax.jit, static_argnums=2)
def pictures_of(scene, keys, shape, pixel_nm):
    return jax.vmap(lambda key: scene(key, shape, pixel_nm))(keys)


def draw(scene, key, n=40, shape=(32, 40), pixel_nm=100.0):
    keys = jax.random.split(key, n)
    return np.asarray(pictures_of(scene.with_room(shape, pixel_nm), keys, shape, pixel_nm))


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: type(s).__name__)
def test_a_scene_is_finite_positive_and_a_function_of_its_key(scene):
    first, again = draw(scene, jax.random.key(0)), draw(scene, jax.random.key(0))
    assert first.shape == (40, 32, 40) and first.dtype == np.float32
    assert np.isfinite(first).all() and first.min() >= 0 and 0.3 < first.max() < 40
    np.testing.assert_array_equal(first, again)
    assert len({picture.tobytes() for picture in first}) > 20


@pytest.mark.parametrize("scene", [Filaments(capacity=40), Puncta(capacity=40, cell=0.0)], ids=["Filaments", "Puncta"])
def test_light_grows_with_density(scene):
    none, sparse, dense = (
        draw(dataclasses.replace(scene, density_per_um2=rho), jax.random.key(1)).mean() for rho in (0.0, 0.6, 2.4)
    )
    assert none == 0 and dense / sparse == pytest.approx(4.0, rel=0.25)


def test_light_of_a_spot_does_not_depend_on_the_pixel():
    scene = Puncta(density_per_um2=0.4, cell=0.0, capacity=40)
    expected = 0.4e-6 * 280.0**2 * np.exp(0.6**2 / 2 - 0.18)
    for pixel_nm in (100.0, 200.0):
        assert draw(scene, jax.random.key(2), pixel_nm=pixel_nm).mean() == pytest.approx(expected, rel=0.15)


def test_nuclei_have_their_size():
    pictures = draw(Nuclei(density_per_um2=0.002, texture=0.0, radius_nm=1500.0), jax.random.key(3), 64, (96, 96))
    areas = [(p > 0.1).sum() for p in pictures if p[[0, -1]].max() == 0 and p[:, [0, -1]].max() == 0 and p.max() > 0]
    assert np.median(areas) == pytest.approx(np.pi * 15.0**2, rel=0.35)


@physical
class Flat:
    """A picture of one value."""

    value: float = quantity("relative", default=1.0)

    def __call__(self, key, shape, pixel_nm=100.0):
        return jnp.full(shape, self.value)

    def with_room(self, shape, pixel_nm):
        return self


def test_mixed_shows_mainly_one_kind():
    kinds = Mixed([Flat(1.0), Flat(10.0), Flat(100.0)])
    means = draw(kinds, jax.random.key(4), 200, (2, 2)).mean(axis=(1, 2))
    main = [(np.abs(means - value) < 1e-4).mean() for value in (1.0, 10.0, 100.0)]
    # Each kind is alone in a sixth of the pictures, the other half has a second kind.
    np.testing.assert_allclose(main, 1 / 6, atol=0.09)
    assert 1.0 - sum(main) == pytest.approx(0.5, abs=0.12)


def test_room_is_found_from_the_density_or_said_to_be_short():
    assert Filaments(density_per_um2=1.0).with_room((100, 100), 100.0).room in (121, 122)
    assert Filaments(density_per_um2=1.0, capacity=200).with_room((100, 100), 100.0).room == 200
    with pytest.raises(InputError, match=r"Puncta.capacity: expected at least 100 objects .* found 99; raise it"):
        Puncta(density_per_um2=1.0, capacity=99).with_room((100, 100), 100.0)
    with pytest.raises(InputError, match=r"Nuclei.capacity: expected a whole number of at least 1, or None, found 0"):
        Nuclei(capacity=0).with_room((100, 100), 100.0)


def test_density_can_be_swept_inside_jit_with_a_capacity():
    def light(rho):
        return Puncta(rho, cell=0.0, capacity=64)(jax.random.key(0), (32, 32), 100.0).sum()

    swept = jax.jit(jax.vmap(light))(jnp.array([0.0, 0.5, 2.0]))
    assert swept[0] == 0 and 0 < swept[1] < swept[2]
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
