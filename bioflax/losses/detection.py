"""Losses of detectors, elementwise: cross-entropies of heatmaps, weighted distances. The mask or weight comes last."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from bioflax.losses.regression import weigh
from bioflax.typing import Array


def cross_entropy(logit: Array, target: Array, weight: Array | None = None) -> jax.Array:
    """Binary cross-entropy of a probability, against a target that may be soft.

    Args:
        logit: (...) any shape.
        target: (...) in [0, 1].
        weight: broadcasts against them; None is 1.

    Returns:
        (...), zero where the weight is.

    Source: the probability loss of StarDist (Schmidt 2018) and the heatmap loss of Spotiflow (2025).
    """
    return weigh(optax.sigmoid_binary_cross_entropy(logit, target), weight)


def penalty_reduced_focal(
    logit: Array, target: Array, weight: Array | None = None, *, alpha: float = 2.0, beta: float = 4.0
) -> jax.Array:
    """CenterNet's focal loss: a pixel whose target is 1 is positive, one near it is a lesser negative.

    -(1 - p)^alpha log p where the target is 1, -(1 - target)^beta p^alpha log(1 - p) elsewhere; to be summed and divided by
    the number of objects.

    Args:
        logit: (...) any shape.
        target: (...) in [0, 1].
        weight: broadcasts against them; None is 1.
        alpha: how little what is right already counts.
        beta: how little the neighbourhood of a centre counts.

    Returns:
        (...), zero where the weight is.

    Source: Zhou et al., "Objects as points", 2019, eq. 1.
    """
    p = jax.nn.sigmoid(logit)
    positive = -((1.0 - p) ** alpha) * jax.nn.log_sigmoid(logit)
    negative = -((1.0 - target) ** beta) * p**alpha * jax.nn.log_sigmoid(-logit)
    return weigh(jnp.where(target >= 1.0, positive, negative), weight)


def ray_error(rays: Array, target: Array, interior: Array, *, background: float = 1e-4) -> jax.Array:
    """StarDist's distance loss: absolute error weighed by how deep the pixel lies, and short rays on background.

    interior * |rays - target| / mean(interior) + background * (1 - interior) * |rays|, mean over the rays; its mean over
    batch and pixels is the published loss (before the factor 0.2).

    Args:
        rays: (N, h, w, R), px.
        target: (N, h, w, R), px.
        interior: (N, h, w, 1) in [0, 1], the probability target, perhaps times weights of objects.
        background: weight of the second part.

    Returns:
        (N, h, w, 1).

    Source: Schmidt et al., MICCAI 2018, eq. 2; `masked_loss_mae` of stardist 0.9.2.
    """
    error = jnp.mean(jnp.abs(rays - target), axis=-1, keepdims=True)
    size = jnp.mean(jnp.abs(rays), axis=-1, keepdims=True)
    return interior * error / (jnp.mean(interior) + 1e-7) + background * (1.0 - jnp.minimum(interior, 1.0)) * size
