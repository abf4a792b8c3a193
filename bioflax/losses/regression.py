"""Pixel losses: elementwise, never reduced, mask last.

Shapes are those of the images, (N, [Z,] H, W, C); the units are those of the normalised image. A mask of the same shape
weights the pixels: zeros leave a pixel out of the loss and out of its gradient.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from bioflax.errors import InputError


def squared_error(prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """(prediction - target)^2. Its minimiser is the conditional mean, so noisy targets leave it unbiased (Lehtinen 2018)."""
    check_shapes(prediction, target)
    return weigh((prediction - target) ** 2, mask)


def absolute_error(prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """|prediction - target|, the loss of CARE (Weigert 2018); its minimiser is the conditional median."""
    check_shapes(prediction, target)
    return weigh(jnp.abs(prediction - target), mask)


def charbonnier(
    prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None, *, epsilon: float = 1e-3
) -> jax.Array:
    """sqrt((prediction - target)^2 + epsilon^2), a rounded absolute error (Lai et al., "LapSRN", CVPR 2017)."""
    check_shapes(prediction, target)
    return weigh(jnp.sqrt((prediction - target) ** 2 + epsilon**2), mask)


def gaussian_nll(mean: jax.Array, scale: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """-log N(target; mean, scale^2), `scale` the standard deviation."""
    check_shapes(mean, target)
    return weigh(0.5 * ((target - mean) / scale) ** 2 + jnp.log(scale) + 0.5 * math.log(2 * math.pi), mask)


def laplace_nll(mean: jax.Array, scale: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """|mean - target| / scale + log scale + log 2, the probabilistic CARE loss (Weigert 2018, supplementary note 2)."""
    check_shapes(mean, target)
    return weigh(jnp.abs(mean - target) / scale + jnp.log(scale) + math.log(2.0), mask)


def weigh(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """values * mask; what the mask leaves out has no gradient either."""
    # where, not only a product: a left-out pixel may hold NaN, and NaN * 0 is NaN.
    return values if mask is None else jnp.where(mask > 0, values, 0.0) * mask


def check_shapes(prediction: jax.Array, target: jax.Array) -> None:
    """Raises an InputError unless a prediction has the shape of its target."""
    if prediction.shape != target.shape:
        raise InputError(f"loss: prediction {prediction.shape} and target {target.shape} differ in shape.")
