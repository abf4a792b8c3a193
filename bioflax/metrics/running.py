"""Running means: small states that merge across batches and devices and know about padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.typing import Array


class State(Protocol):
    """What a metric keeps between batches: a pytree that merges in any order."""

    def merge(self, other: Any) -> Any: ...

    def compute(self) -> Array: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean under way: the weighted total and the weight, so a partial batch counts for exactly what it holds.

    Attributes:
        total: () float32, sum of the values that count.
        count: () float32, how many counted (or the sum of their weights).
    """

    total: Array
    count: Array

    @classmethod
    def empty(cls) -> Mean:
        """The mean of nothing: neutral under `merge`, NaN when computed."""
        return cls(total=jnp.zeros((), jnp.float32), count=jnp.zeros((), jnp.float32))

    @classmethod
    def from_values(cls, values: Any, mask: Any = None) -> Mean:
        """Starts from one batch.

        Args:
            values: (N, ...) numbers, one an example (or more axes, all averaged).
            mask: booleans or weights of the leading axes of `values`; None counts everything. What a zero hides may
                be anything, NaN included.

        Returns:
            The state of this batch alone.

        Raises:
            InputError: the mask does not fit the leading axes.
        """
        values = jnp.asarray(values, jnp.float32)
        weights = jnp.ones((), jnp.float32) if mask is None else jnp.asarray(mask, jnp.float32)
        if mask is not None and weights.shape != values.shape[: weights.ndim]:
            raise InputError(
                f"mask: expected the leading axes of values {values.shape}, found {weights.shape}. "
                "Give one entry an example."
            )
        weights = weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
        weights = jnp.broadcast_to(weights, values.shape)
        # where, not a product: 0 * NaN of a padded row would poison the total
        return cls(total=jnp.sum(jnp.where(weights > 0, values * weights, 0.0)), count=jnp.sum(weights))

    def merge(self, other: Mean) -> Mean:
        """The state of both parts together; associative and commutative up to rounding."""
        return Mean(total=self.total + other.total, count=self.count + other.count)

    def across(self, axis_name: str) -> Mean:
        """The state of all devices (or vmap lanes) of a named axis, the same on each."""
        return Mean(total=jax.lax.psum(self.total, axis_name), count=jax.lax.psum(self.count, axis_name))

    def collapse(self) -> Mean:
        """The state of a stack of states, as `scan` or `vmap` leaves them with leading axes."""
        return Mean(total=jnp.sum(self.total), count=jnp.sum(self.count))

    def compute(self) -> Array:
        """The mean; NaN when nothing counted."""
        return jnp.where(self.count > 0, self.total / jnp.where(self.count > 0, self.count, 1.0), jnp.nan)


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two tables of states, name by name.

    Raises:
        InputError: the names differ.
    """
    if first.keys() != second.keys():
        raise InputError(
            f"metrics: expected the same names in both parts, found {sorted(first)} and {sorted(second)}. "
            "Report every metric in every batch; hide what does not apply with a mask."
        )
    return {name: first[name].merge(second[name]) for name in first}


def compute(states: Mapping[str, State]) -> dict[str, float]:
    """Final numbers of a table of states, as Python floats."""
    return {name: float(state.compute()) for name, state in states.items()}
