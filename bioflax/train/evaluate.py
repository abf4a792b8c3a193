"""Validation: the task's metrics over a fixed list of batches, exact for partial batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax

from bioflax.functional import Net
from bioflax.metrics import State
from bioflax.train.devices import Hardware
from bioflax.train.state import derive_key
from bioflax.typing import Batch, Params, Task

Validate = Callable[[Params], dict[str, float]]


def make_validation(net: Net, task: Task, batches: Sequence[Batch], *, seed: int, hardware: Hardware) -> Validate:
    """Builds `variables -> {"validation_loss": ..., ...}`.

    A batch that brings its own `target` (clean truth, or a second noisy frame) is used as it is. One without is prepared by
    the task with a fixed key: for Noise2Void these are fixed blind spots, whose loss is the error of the blind-spot
    prediction plus the noise variance (Batson & Royer 2019, eq. 3): a fair score where the noise is independent.
    """

    states = jax.jit(functools.partial(validation_states, net, task, hardware, seed))

    def validate(variables: Params) -> dict[str, float]:
        total = None
        for number, batch in enumerate(batches):
            new = states(variables, batch, number)
            total = new if total is None else {name: state.merge(new[name]) for name, state in total.items()}
        computed = jax.device_get({name: state.compute() for name, state in (total or {}).items()})
        return {f"validation_{name}": float(value) for name, value in computed.items()}

    return validate


def validation_states(
    net: Net, task: Task, hardware: Hardware, seed: int | jax.Array, variables: Params, batch: Batch, number: int
) -> dict[str, State]:
    """Metric states of one validation batch, inside jit; `seed` is a number or its key."""
    if "target" not in batch:
        batch = task.prepare(derive_key(seed, "validation", number), batch)
    return task.metrics(net.apply(variables, batch["image"], hardware.dtype), batch)
