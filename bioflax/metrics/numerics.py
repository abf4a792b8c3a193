"""Which array library a metric runs in: float64 NumPy on the host, float32 JAX when any input is a JAX array."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.typing import Array


def as_float(**arrays: Any) -> tuple[ModuleType, list[Array]]:
    """Brings arrays of one shape to the floating type that a metric computes in.

    Host arrays are judged in float64; JAX arrays and tracers stay in JAX, so that the same formula runs inside jit.

    Args:
        **arrays: named arrays of one shape, any real dtype.

    Returns:
        The array module (`numpy` or `jax.numpy`) and the converted arrays in the order given.

    Raises:
        InputError: the shapes differ, or an array is empty.
    """
    module, dtype = (jnp, jnp.float32) if any(isinstance(a, jax.Array) for a in arrays.values()) else (np, np.float64)
    converted = [module.asarray(array, dtype) for array in arrays.values()]
    if len({array.shape for array in converted}) > 1 or converted[0].size == 0:
        found = ", ".join(f"{name} {array.shape}" for name, array in zip(arrays, converted))
        raise InputError(
            f"{'/'.join(arrays)}: expected arrays of one non-empty shape, found {found}. Crop or match them."
        )
    return module, converted
