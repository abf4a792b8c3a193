"""Splitting photon counts in two independent parts: a judge that needs neither clean data nor a second capture."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.typing import Array


def photon_split(key: jax.Array, photons: Array, q: float = 0.5) -> tuple[jax.Array, jax.Array]:
    """Binomial thinning: each photon goes to the first part with probability `q`.

    If the counts are Poisson with mean m, the parts are independent Poisson with means q m and (1 - q) m, so that
    one may be restored and the other used to judge it. That holds for shot noise; read noise and the excess noise of
    an EMCCD are shared between the parts and make the judge optimistic.

    Args:
        key: random key.
        photons: detected photons, any shape; rounded to whole photons, negative values (read noise) count as none.
        q: probability of the first part, between 0 and 1.

    Returns:
        Two arrays of the same shape, float32 whole numbers, that add up to the rounded photons. Divide them by `q` and
        `1 - q` for two estimates of the same intensity.

    Raises:
        InputError: `q` is not between 0 and 1.
    """
    if not 0.0 < q < 1.0:
        raise InputError(f"q: expected a probability between 0 and 1, found {q}")
    whole = jnp.maximum(jnp.round(jnp.asarray(photons, jnp.float32)), 0.0)
    first = jax.random.binomial(key, whole, q, dtype=jnp.float32)
    return first, whole - first
