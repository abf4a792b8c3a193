"""Layers: convolution with bias, batch norm against NumPy in both modes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import BatchNorm, Conv
from bioflax.models.blocks import ACTIVATIONS, INITIALIZERS, Stage


def test_conv_adds_its_bias_and_follows_the_kernel_type():
    conv = Conv(2, 3, 3, rngs=nnx.Rngs(0))
    conv.bias[...] = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(conv(jnp.zeros((1, 4, 4, 2)))[0, 1, 1], [1.0, 2.0, 3.0])
    nnx.update(conv, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), nnx.state(conv)))
    assert conv(jnp.ones((1, 4, 4, 2), jnp.float32)).dtype == jnp.bfloat16


def test_conv_without_bias_has_a_kernel_only():
    conv = Conv(2, 3, 1, 3, bias=False, rngs=nnx.Rngs(0))
    assert [leaf.shape for leaf in jax.tree.leaves(nnx.state(conv))] == [(1, 1, 1, 2, 3)]


def test_glorot_limit_and_orthogonal_columns():
    kernel = np.asarray(Conv(16, 32, 3, rngs=nnx.Rngs(0)).kernel[...])
    limit = np.sqrt(6 / (9 * (16 + 32)))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    columns = np.asarray(Conv(8, 16, 3, init="orthogonal", rngs=nnx.Rngs(0)).kernel[...]).reshape(-1, 16)
    np.testing.assert_allclose(columns.T @ columns, np.eye(16), atol=1e-5)


def test_batch_norm_trains_on_the_batch_and_predicts_by_its_running_statistics():
    images = np.random.default_rng(0).normal(3.0, 2.0, size=(4, 5, 6, 2)).astype(np.float32)
    norm = BatchNorm(2, momentum=0.9, epsilon=1e-3)
    norm.scale[...], norm.bias[...] = jnp.array([2.0, 1.0]), jnp.array([0.5, -1.0])
    mean, var = images.mean((0, 1, 2), dtype=np.float64), images.var((0, 1, 2), dtype=np.float64)

    norm.training = True
    expected = (images - mean) / np.sqrt(var + 1e-3) * [2.0, 1.0] + [0.5, -1.0]
    np.testing.assert_allclose(norm(jnp.asarray(images)), expected, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * var, rtol=1e-5)

    norm.training = False
    expected = (images - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var + 1e-3) * [2.0, 1.0] + [0.5, -1.0]
    np.testing.assert_allclose(norm(jnp.asarray(images)), expected, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-5)


def test_batch_norm_splits_into_parameters_and_statistics():
    norm = BatchNorm(3)
    assert set(nnx.to_pure_dict(nnx.state(norm, nnx.Param))) == {"scale", "bias"}
    assert set(nnx.to_pure_dict(nnx.state(norm, nnx.BatchStat))) == {"mean", "var"}


def test_batch_norm_keeps_bfloat16_and_sums_in_float32():
    norm = BatchNorm(1)
    norm.training = True
    ramp = jnp.linspace(100.0, 102.0, 4096).reshape(1, 64, 64, 1).astype(jnp.bfloat16)
    result = norm(ramp)
    assert result.dtype == jnp.bfloat16
    assert abs(float(norm.mean[0]) - 0.01 * float(ramp.astype(jnp.float32).mean())) < 1e-5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_stage_applies_the_named_activation(name):
    stage = Stage(1, 1, 1, 2, activation=name, init="zeros", rngs=nnx.Rngs(0))
    stage.conv.bias[...] = jnp.array([-1.0])
    expected = {"relu": 0.0, "leaky_relu": -0.1, "elu": np.expm1(-1.0), "silu": -0.268941}
    expected |= {"gelu": -0.158808, "gelu_exact": -0.158655}  # -Phi(-1)
    assert float(stage(jnp.ones((1, 1, 1, 1)))[0, 0, 0, 0]) == pytest.approx(expected.get(name, -1.0), abs=1e-5)


def test_bad_initializer_lists_the_valid_names():
    with pytest.raises(InputError, match=", ".join(INITIALIZERS)):
        Conv(1, 1, init="he", rngs=nnx.Rngs(0))
