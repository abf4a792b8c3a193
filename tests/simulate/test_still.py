"""A scene that does not change: its density through any simulator, many of them mapped over, and only in its own size."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.simulate import Magnified
from bioflax.simulate.still import Still

BASE = Magnified(size=12, margin=2, photons=50.0, background_photons=3.0, sharpness=1e6)
DENSITIES = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)


def test_the_density_is_shown_whatever_the_key() -> None:
    still = Still(DENSITIES[0])
    for key, pixel_nm in ((0, 50.0), (1, 80.0)):
        np.testing.assert_array_equal(still(jax.random.key(key), (32, 32), pixel_nm), DENSITIES[0])
    assert still.with_room((32, 32), 50.0) is still


def test_many_densities_are_mapped_over() -> None:
    """The object comes back as the target of a simulator of endless sharpness: cut, with light and background."""

    @jax.jit
    def show(densities):
        def one(density):
            return dataclasses.replace(BASE, scene=Still(density)).expected(jax.random.key(0), 1)

        return jax.vmap(one)(densities)

    coarse, fine = show(jnp.asarray(DENSITIES))
    assert coarse.shape == (3, 1, 12, 12, 1) and fine.shape == (3, 1, 24, 24)
    np.testing.assert_allclose(fine[:, 0], 3.0 + 50.0 * DENSITIES[:, 4:28, 4:28], atol=0.01)


def test_a_density_of_another_size_is_refused() -> None:
    says = r"Still.density: expected the size of the canvas \(32, 32\), found \(32, 30\)"
    with pytest.raises(InputError, match=says):
        dataclasses.replace(BASE, scene=Still(DENSITIES[0, :, :30]))
