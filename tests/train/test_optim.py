"""The optimiser recipe."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bioflax.errors import InputError
from bioflax.train.optim import average_weights, averaged, make_optimizer


def descend(optimizer: optax.GradientTransformation, steps: int) -> tuple[dict, object]:
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full((2,), 3.0)}
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(params, state, params)  # gradient of |params|^2 / 2
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_it_descends(schedule) -> None:
    params, _ = descend(make_optimizer(200, 0.1, schedule), 200)
    assert float(jnp.abs(params["kernel"]).max()) < 0.5


def test_the_first_step_of_cosine_without_warmup_is_the_peak() -> None:
    params, _ = descend(make_optimizer(10, 0.1, "cosine", warmup=0.0), 1)
    np.testing.assert_allclose(params["kernel"], 2.9, atol=1e-5)  # Adam's first step is the learning rate


def test_weight_decay_leaves_biases_alone() -> None:
    optimizer = make_optimizer(10, 0.1, "constant", weight_decay=1.0)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((2,))}
    updates, _ = optimizer.update(
        {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros((2,))}, optimizer.init(params), params
    )
    np.testing.assert_allclose(updates["kernel"], -0.1, atol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_average_follows_the_weights() -> None:
    optimizer = optax.chain(optax.sgd(0.1), average_weights(0.5))
    params = {"w": jnp.array([1.0])}
    state, expected = optimizer.init(params), 1.0
    for count in range(5):
        updates, state = optimizer.update({"w": jnp.array([1.0])}, state, params)
        params = optax.apply_updates(params, updates)
        keep = min(0.5, (1 + count) / (10 + count))
        expected = keep * expected + (1 - keep) * float(params["w"][0])
    np.testing.assert_allclose(averaged(state, params)["w"], expected, rtol=1e-6)
    assert averaged(optax.sgd(0.1).init(params), params) is params


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "train.steps"),
        ({"steps": 5, "learning_rate": -1.0}, "optim.learning_rate"),
        ({"steps": 5, "schedule": "linear"}, "Take one of: constant, cosine, onecycle"),
        ({"steps": 5, "ema": 1.0}, "optim.ema"),
        ({"steps": 5, "warmup": 1.0}, "optim.warmup"),
    ],
)
def test_errors_name_the_field(arguments, text) -> None:
    with pytest.raises(InputError, match=text):
        make_optimizer(**arguments)
