"""Published losses equal a float64 NumPy oracle; masks leave pixels out of values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bioflax import losses
from bioflax.errors import InputError

SHAPE = (2, 5, 6, 1)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = (rng.random(SHAPE) < 0.4).astype(np.float64)
    return rng.normal(size=SHAPE), rng.normal(size=SHAPE), rng.uniform(0.1, 3, SHAPE), mask


def float32(*values: np.ndarray) -> list[jax.Array]:
    return [jnp.asarray(value, jnp.float32) for value in values]


def test_losses_equal_the_oracle(arrays) -> None:
    prediction, target, scale, mask = arrays
    p, t, s, m = float32(*arrays)
    np.testing.assert_allclose(losses.squared_error(p, t), (prediction - target) ** 2, atol=1e-6)
    np.testing.assert_allclose(losses.absolute_error(p, t), np.abs(prediction - target), atol=1e-6)
    gaussian = -stats.norm.logpdf(target, prediction, scale)
    np.testing.assert_allclose(losses.gaussian_nll(p, s, t), gaussian, rtol=1e-5, atol=1e-5)
    laplace = -stats.laplace.logpdf(target, prediction, scale)
    np.testing.assert_allclose(losses.laplace_nll(p, s, t), laplace, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(losses.laplace_nll(p, s, t, m), laplace * mask, rtol=1e-5, atol=1e-5)


def test_mask_keeps_nan_out_of_value_and_gradient(arrays) -> None:
    prediction, target, _, mask = float32(*arrays)
    target = jnp.where(mask > 0, target, jnp.nan)

    def total(p: jax.Array) -> jax.Array:
        return jnp.sum(losses.squared_error(p, target, mask))

    value, gradient = jax.value_and_grad(total)(prediction)
    assert np.isfinite(value)
    # Left-out pixels have no gradient at all, the others 2 (p - t).
    expected = np.where(np.asarray(mask) > 0, 2 * (prediction - jnp.nan_to_num(target)), 0)
    np.testing.assert_allclose(np.nan_to_num(gradient), expected, atol=1e-5)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(2, 4, 4, 1\) and target \(2, 4, 4\) differ"):
        losses.squared_error(jnp.zeros((2, 4, 4, 1)), jnp.zeros((2, 4, 4)))
