"""Flips and quarter turns: the whole group, each element equally often, NumPy equal to JAX."""

import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.data.augment import check_augment, draw_turns, turn
from bioflax.errors import InputError

PATCH = np.arange(9.0).reshape(1, 3, 3, 1)
UNIFORM = (np.arange(160, dtype=np.float32) + 0.5) / 160


def results(augment, xp=np):
    patches = xp.asarray(np.repeat(PATCH, len(UNIFORM), 0))
    turned = turn(patches, draw_turns(xp.asarray(UNIFORM), augment, xp), augment, xp)
    return np.asarray(turned)[..., 0]


def symmetries(flip, rot90):
    plane = PATCH[0, ..., 0]
    turned = [np.rot90(plane, k) for k in range(4)] if rot90 else [plane]
    if flip:
        turned += [change(one) for one in turned for change in (np.flipud, np.fliplr, lambda one: np.rot90(one, 2))]
    return turned


@pytest.mark.parametrize("augment", [(), ("flip",), ("rot90",), ("flip", "rot90")])
def test_every_element_of_the_group_is_equally_likely(augment):
    expected = {tuple(one.ravel()) for one in symmetries("flip" in augment, "rot90" in augment)}
    found, counts = np.unique(results(augment).reshape(-1, 9), axis=0, return_counts=True)
    assert set(map(tuple, found)) == expected
    assert len(expected) == {0: 1, 1: 4, 2: 8}[len(augment)]
    assert (counts == len(UNIFORM) // len(expected)).all()


@pytest.mark.parametrize("augment", [("flip",), ("rot90", "flip")])
def test_jax_and_numpy_agree(augment):
    np.testing.assert_array_equal(results(augment, jnp), results(augment))


def test_a_volume_is_turned_in_the_plane_only():
    volume = np.random.default_rng(0).random((len(UNIFORM), 2, 3, 3, 1))
    augment = ("flip", "rot90")
    turned = turn(volume, draw_turns(UNIFORM, augment, np), augment, np)
    np.testing.assert_allclose(turned.sum((2, 3)), volume.sum((2, 3)))


def test_names_and_shapes_are_checked():
    with pytest.raises(InputError, match="augment: expected some of flip, rot90, found elastic"):
        check_augment(("flip", "elastic"), (8, 8))
    with pytest.raises(InputError, match="rot90 needs patches as high as wide"):
        check_augment(("rot90",), (4, 8, 16))
    assert check_augment(["flip"], (8, 16)) == ("flip",)
