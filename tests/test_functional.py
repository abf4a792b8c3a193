"""Module <-> dict of arrays: pure, complete, and with running statistics apart."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax import functional
from bioflax.errors import InputError
from bioflax.models import Direct, DnCNN, Model, Residual, UNet


@pytest.fixture(scope="module")
def plain_net() -> functional.Net:
    return functional.purify(Model(partial(UNet, width=4, depth=1), Residual, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def norm_net() -> functional.Net:
    return functional.purify(Model(partial(UNet, width=4, depth=1, norm="batch"), Direct, rngs=nnx.Rngs(0)))


def test_pure_apply_equals_the_module() -> None:
    model = Model(partial(DnCNN, width=4, layers=3), Direct, rngs=nnx.Rngs(1))
    net = functional.purify(model)
    image = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    np.testing.assert_array_equal(net.apply(net.variables, image)["image"], model(image)["image"])
    jitted = jax.jit(net.apply)(net.variables, image)["image"]
    np.testing.assert_allclose(jitted, model(image)["image"], atol=1e-5)


def test_paths_round_trip(plain_net) -> None:
    flat = functional.flatten_paths(plain_net.variables)
    assert all(isinstance(path, str) and "/" in path for path in flat)
    again = functional.unflatten_paths(flat)
    assert jax.tree.structure(again) == jax.tree.structure(plain_net.variables)


def test_statistics_move_in_training_only(norm_net) -> None:
    assert norm_net.statistics
    image = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 16, 16, 1))
    _, statistics = norm_net.train(norm_net.variables, image)
    flat = functional.flatten_paths(statistics)
    assert set(flat) == set(norm_net.statistics)
    old = functional.flatten_paths(norm_net.variables)
    assert any(np.abs(flat[path] - old[path]).max() > 1e-3 for path in flat)
    first = norm_net.apply(norm_net.variables, image[:1])["image"]
    together = norm_net.apply(norm_net.variables, image)["image"][:1]
    np.testing.assert_allclose(first, together, atol=1e-5)  # prediction does not depend on the rest of the batch


def test_bfloat16_computes_in_bfloat16_and_returns_float32(plain_net) -> None:
    image = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
    exact = plain_net.apply(plain_net.variables, image)["image"]
    rough = plain_net.apply(plain_net.variables, image, jnp.bfloat16)["image"]
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_partition_and_merge(plain_net) -> None:
    frozen = functional.match_patterns(plain_net.variables, ("backbone/encoder/*",))
    params, rest = functional.partition(plain_net.variables, lambda path: path in frozen)
    assert functional.count(params) + functional.count(rest) == functional.count(plain_net.variables)
    merged = functional.merge(params, rest)
    assert jax.tree.structure(merged) == jax.tree.structure(plain_net.variables)


def test_a_pattern_without_a_match_lists_the_paths(plain_net) -> None:
    with pytest.raises(InputError, match=r"'backbone/dwn\*' matches no parameter. There are: backbone/"):
        functional.match_patterns(plain_net.variables, ("backbone/dwn*",))


def test_transplant_takes_what_fits_and_leaves_the_rest() -> None:
    def net(seed, head, width=4):
        return Model(partial(UNet, width=width, depth=1), head, rngs=nnx.Rngs(seed))

    given = functional.purify(net(0, Residual)).variables
    other = net(1, partial(Residual, kernel=3))
    own, mixed = (
        functional.flatten_paths(tree)
        for tree in (functional.purify(other).variables, functional.transplant(other, given))
    )
    for path, leaf in mixed.items():
        source = own if path == "head/mean/kernel" else functional.flatten_paths(given)
        np.testing.assert_array_equal(leaf, source[path], err_msg=path)
    with pytest.raises(InputError, match="no parameter of that model has the path and shape"):
        functional.transplant(other, {"elsewhere": np.zeros(3)})
