"""The training state: plain nested dicts of arrays, and keys that are derived, never stored."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bioflax.functional import Net, match_patterns, partition
from bioflax.typing import Params


class TrainState(NamedTuple):
    """What a checkpoint holds, and all of it.

    `step` counts finished steps (int32); `params` is what the gradient changes; `frozen` what it does not: frozen parameters
    and running statistics; `opt_state` is optax's, including the moving average of `params` where there is one.
    """

    step: jax.Array
    params: Params
    frozen: Params
    opt_state: Any


def create_state(
    net: Net, optimizer: optax.GradientTransformation, variables: Params | None = None, freeze: tuple[str, ...] = ()
) -> TrainState:
    """Builds the state of step 0.

    Args:
        net: the model as pure functions.
        optimizer: optax transformation; it only ever sees the trainable half.
        variables: weights to start from; default is the net's own initialisation.
        freeze: shell-style patterns of parameter paths that stay as they are, such as `backbone/down*`.
    """
    variables = net.variables if variables is None else variables
    still = net.statistics | (match_patterns(variables, freeze) if freeze else frozenset())
    params, frozen = partition(variables, lambda path: path in still)
    # A copy: the state is donated to the step, the caller's weights must outlive it.
    params, frozen = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), (params, frozen))
    return TrainState(jnp.zeros((), jnp.int32), params, frozen, optimizer.init(params))


def derive_key(seed: int | jax.Array, stream: str, step: int | jax.Array = 0) -> jax.Array:
    """The key of (seed, stream name, step). Nothing random is ever stored, so a resumed run draws what it would have drawn.

    `seed` is a number, or the key `jax.random.key(seed)`: inside jit it is an argument, and one program serves all seeds.
    """
    root = jax.random.key(seed) if isinstance(seed, int) else seed
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(stream.encode())), step)
