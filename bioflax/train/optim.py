"""The optimiser recipe: gradient clipping, AdamW, a schedule, and an optional moving average of the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bioflax.errors import InputError
from bioflax.typing import Params

SCHEDULES = ("constant", "cosine", "onecycle")


def make_optimizer(
    steps: int,
    learning_rate: float = 4e-4,
    schedule: str = "cosine",
    warmup: float = 0.05,
    final: float = 0.01,
    clip_norm: float | None = 1.0,
    weight_decay: float = 0.0,
    beta2: float = 0.999,
    ema: float | None = None,
) -> optax.GradientTransformation:
    """Chains clip -> Adam(W) -> schedule -> average.

    Args:
        steps: length of the schedule, steps.
        learning_rate: its peak.
        schedule: `constant`, `cosine` (linear warm-up, cosine decay) or `onecycle` (Smith 2018, as FMD's
            Noise2Noise: 30 % warm-up from a tenth of the peak; it has its own `warmup` and `final`).
        warmup: share of the steps that warms up, 0 to 1.
        final: last learning rate over the peak.
        clip_norm: global norm of the gradient to clip at, None for no clipping.
        weight_decay: decoupled weight decay (Loshchilov 2019) of kernels; biases and scales are left alone.
        beta2: decay of Adam's second moment.
        ema: decay of the moving average of the weights that validation and the final model use, None for none.
    """
    if steps < 1:
        raise InputError(f"train.steps: expected at least 1, found {steps}.")
    if not learning_rate > 0:
        raise InputError(f"optim.learning_rate: expected more than 0, found {learning_rate}.")
    if clip_norm is not None and not clip_norm > 0:
        raise InputError(f"optim.clip_norm: expected more than 0, or null for no clipping, found {clip_norm}.")
    if ema is not None and not 0 < ema < 1:
        raise InputError(f"optim.ema: expected a number between 0 and 1, found {ema}.")
    if not 0 <= warmup < 1:
        raise InputError(f"optim.warmup: expected a share of the steps, 0 to 1, found {warmup}.")
    warm = min(round(warmup * steps), steps - 1)
    if schedule == "constant":
        rate = optax.constant_schedule(learning_rate)
    elif schedule == "cosine":
        first = 0.0 if warm else learning_rate
        rate = optax.warmup_cosine_decay_schedule(first, learning_rate, warm, steps, final * learning_rate)
    elif schedule == "onecycle":
        rate = optax.cosine_onecycle_schedule(steps, learning_rate, pct_start=0.3, div_factor=10)
    else:
        raise InputError(f"optim.schedule: {schedule!r} is not known. Take one of: {', '.join(SCHEDULES)}.")
    kernels_only = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
    chain = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    chain.append(optax.adamw(rate, b2=beta2, weight_decay=weight_decay, mask=kernels_only))
    if ema is not None:
        chain.append(average_weights(ema))
    return optax.chain(*chain)


class AverageState(NamedTuple):
    """`average`: the moving average of the weights, the same tree as they are; `count`: updates so far."""

    average: Params
    count: jax.Array


def average_weights(decay: float) -> optax.GradientTransformation:
    """Keeps a moving average of the weights in the optimiser's state; last in the chain. Updates pass unchanged.

    The decay grows as (1 + n) / (10 + n) up to `decay`, so that the average forgets the initialisation soon.
    """

    def init(params: Params) -> AverageState:
        return AverageState(jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: AverageState, params: Params) -> tuple[Any, AverageState]:
        keep = jnp.minimum(decay, (1.0 + state.count) / (10.0 + state.count))
        new = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, now: keep * old + (1 - keep) * now, state.average, new)
        return updates, AverageState(average, state.count + 1)

    return optax.GradientTransformation(init, update)


def averaged(opt_state: Any, params: Params) -> Params:
    """The moving average if the optimiser keeps one, else `params`."""
    states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, AverageState))
    return next((node.average for node in states if isinstance(node, AverageState)), params)
