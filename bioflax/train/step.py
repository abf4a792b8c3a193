"""The training step, on one screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bioflax.functional import Net, merge
from bioflax.train.devices import Hardware
from bioflax.train.state import TrainState, derive_key
from bioflax.typing import Batch, DeviceSource, Task

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    net: Net,
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    seed: int | jax.Array,
    hardware: Hardware,
) -> Step:
    """Builds the pure step `(state, data) -> (state, scalars)`; `loop.fit` compiles it with the state donated.

    `data` is a `DeviceSource` (a pytree: a simulator, or a stack on the device), sampled in here, or a batch that the loop
    fetched from a `HostSource`. With `hardware.steps_per_call` > 1 it does that many steps in one call: a source is sampled
    anew each time, a fetched batch has a leading axis of that length. The scalars (loss, its parts, gradient norm) come
    back with one value a step.
    """

    def one_step(state: TrainState, data: DeviceSource | Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        key_sample, key_prepare = jax.random.split(derive_key(seed, "train", state.step))
        batch = data.sample(key_sample, batch_size) if isinstance(data, DeviceSource) else data
        batch = hardware.shard_batch(task.prepare(key_prepare, batch))

        def objective(params):
            prediction, statistics = net.train(merge(state.frozen, params), batch["image"], hardware.dtype)
            per_example, parts = task.loss(prediction, batch)
            return jnp.mean(per_example), ({name: jnp.mean(part) for name, part in parts.items()}, statistics)

        (loss, (parts, statistics)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            frozen=merge(state.frozen, statistics),
            opt_state=opt_state,
        )
        return state, {"loss": loss, "grad_norm": optax.tree.norm(gradient), **parts}

    def call(state: TrainState, data: DeviceSource | Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        steps = hardware.steps_per_call
        if steps == 1:
            state, scalars = one_step(state, data)
            return state, {name: value[None] for name, value in scalars.items()}
        if isinstance(data, DeviceSource):
            return jax.lax.scan(lambda carry, _: one_step(carry, data), state, length=steps)
        return jax.lax.scan(one_step, state, data)

    return call
