"""The training loop: plain Python in a deliberate order: step, log, validate, checkpoint."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bioflax.data.prefetch import Prefetch
from bioflax.errors import InputError, TrainingError
from bioflax.functional import Net, count, merge, partition, purify
from bioflax.train.checkpoint import Checkpoints, SharedCheckpoints, open_checkpoints
from bioflax.train.devices import Hardware
from bioflax.train.distributed import any_of_us, bring_home, is_first, is_one_of_several, place
from bioflax.train.evaluate import make_validation
from bioflax.train.log import MetricsLog, ProgressBar
from bioflax.train.optim import averaged
from bioflax.train.signals import catch_signals
from bioflax.train.state import TrainState, create_state
from bioflax.train.step import make_step
from bioflax.typing import Batch, DeviceSource, HostSource, Params, Task


@dataclass(frozen=True)
class Fitted:
    """What training leaves.

    `variables` are the best by validation where there is any, else the last (their moving average where one is kept);
    `state` is the last state; `interrupted` names the signal that ended the run early; `seconds` has compile and train.
    """

    net: Net
    variables: Params
    state: TrainState
    step: int
    best_step: int | None
    validation_loss: float | None
    seconds: dict[str, float]
    parameters: int
    interrupted: str | None = None


def fit(
    model: Any,
    task: Task,
    source: DeviceSource | HostSource,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    run_dir: str | Path,
    batch: int = 16,
    seed: int = 0,
    validation: Sequence[Batch] = (),
    validate_every: int = 200,
    checkpoint_every: int = 200,
    log_every: int = 20,
    hardware: Hardware | None = None,
    variables: Params | None = None,
    freeze: tuple[str, ...] = (),
    quiet: bool = False,
) -> Fitted:
    """Trains, and goes on where the same call stopped.

    Of several processes (`distributed.join`) each makes the same call; the first one writes, all get the result.

    Args:
        model: NNX model; its weights are the start unless `variables` are given.
        task: prepares batches and defines the loss.
        source: `DeviceSource` (sampled inside the compiled step) or `HostSource` (fetched ahead by a thread).
        optimizer: optax transformation.
        steps: total number of steps.
        run_dir: folder for `metrics.jsonl` and `checkpoints/`; a checkpoint there is gone on from, bit for bit.
        batch: examples a step.
        seed: root of all randomness.
        validation: fixed batches; the weights with the lowest `validation_loss` are kept.
        validate_every, checkpoint_every, log_every: steps; multiples of `hardware.steps_per_call`.
        hardware: precision, steps a call, devices.
        variables: weights to start from.
        freeze: patterns of parameter paths that stay as they are.
        quiet: no progress bar.

    Raises:
        InputError: an argument or a checkpoint does not fit.
        TrainingError: the loss is not finite; the message has the step, the last good checkpoint is kept.
    """
    hardware = hardware or Hardware()
    hardware.check_batch(batch)
    check_intervals(
        hardware, steps=steps, validate_every=validate_every, checkpoint_every=checkpoint_every, log_every=log_every
    )
    run_dir = Path(run_dir)
    writes, several = is_first(), is_one_of_several()
    if writes:
        run_dir.mkdir(parents=True, exist_ok=True)
    net = purify(model)
    state = place(create_state(net, optimizer, variables, freeze), hardware.replicated())
    meta: dict[str, Any] = {"best_loss": None, "best_step": None, "elapsed": 0.0}
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(catch_signals())
        checkpoints = stack.enter_context(open_checkpoints(run_dir / "checkpoints"))
        if checkpoints.latest_step() is not None:
            state, meta = checkpoints.restore(state)
        done = first = int(state.step)
        checkpoints.discard_after(first)

        begun = time.monotonic()
        call, data = _compile(net, task, optimizer, source, state, batch, seed, hardware, first, steps)
        stack.enter_context(data)
        validate = make_validation(net, task, validation, seed=seed, hardware=hardware) if validation else None
        compile_seconds = time.monotonic() - begun
        log = stack.enter_context(MetricsLog(run_dir / "metrics.jsonl" if writes else None, first))
        bar = stack.enter_context(ProgressBar("train", steps, first, quiet=quiet or not writes))
        begun = time.monotonic() - meta["elapsed"]
        logged_at, logged_step = time.monotonic(), first
        pending: list[tuple[int, dict[str, jax.Array]]] = []
        saved, stopped = first, False

        def save(step: int) -> int:
            checkpoints.save(step, state, {**meta, "elapsed": time.monotonic() - begun})
            return step

        while done < steps and not stopped:
            state, scalars = call(state, data(done))
            pending.append((done, scalars))
            done += hardware.steps_per_call
            last = done >= steps
            looks = last or any(done % every == 0 for every in (log_every, validate_every, checkpoint_every))
            if looks:
                means = _fetch(pending, checkpoints, run_dir)
                now = time.monotonic()
                rate = (done - logged_step) * batch / max(now - logged_at, 1e-9)
                log.write({"step": done, "seconds": now - begun, **means, "examples_per_s": rate})
                bar.update(done, f"loss {means['loss']:.4g}, {rate:.0f} examples/s")
            if validate and (last or done % validate_every == 0):
                candidate = merge(state.frozen, averaged(state.opt_state, state.params))
                judged = validate(bring_home(candidate) if several else candidate)
                log.write({"step": done, "seconds": time.monotonic() - begun, **judged})
                if not math.isfinite(judged["validation_loss"]):
                    raise TrainingError(
                        f"train: the validation loss is not finite at step {done}; the last checkpoint is kept."
                    )
                if meta["best_loss"] is None or judged["validation_loss"] < meta["best_loss"]:
                    meta = {**meta, "best_loss": judged["validation_loss"], "best_step": done}
                    checkpoints.save_best(done, candidate, meta)
            if last or done % checkpoint_every == 0:
                saved = save(done)
            if not pending:
                logged_at, logged_step = time.monotonic(), done
            # Processes must stop at one step: they ask each other, and not at every step, since that waits for the devices.
            stopped = any_of_us(caught.signal is not None) if looks or not several else False
        if saved < done:  # a signal: keep what there is, if it is sound
            _fetch(pending, checkpoints, run_dir)
            save(done)
        checkpoints.wait()
        variables = merge(state.frozen, averaged(state.opt_state, state.params))
        if meta["best_step"] is not None:
            variables = checkpoints.restore_best(variables, meta["best_step"])
        if several:  # what follows is computed by each process for itself
            variables, state = jax.tree.map(jnp.asarray, bring_home((variables, state)))
    return Fitted(
        net=net,
        variables=variables,
        state=state,
        step=done,
        best_step=meta["best_step"],
        validation_loss=meta["best_loss"],
        seconds={"compile": compile_seconds, "train": time.monotonic() - begun},
        parameters=count(partition(net.variables, lambda path: path in net.statistics)[0]),
        interrupted=(caught.signal or "SIGTERM") if done < steps else None,
    )


def check_intervals(hardware: Hardware, **every: int) -> None:
    """Checks numbers of steps against the steps in one call.

    Raises:
        InputError: one is not a positive multiple.
    """
    for name, number in every.items():
        if number < 1 or number % hardware.steps_per_call:
            raise InputError(
                f"train.{name}: expected a positive multiple of hardware.steps_per_call = {hardware.steps_per_call}, "
                f"found {number}."
            )


class _Data:
    """Data of a step: a device source is handed over as it is, a host source is fetched ahead."""

    def __init__(self, fetch: Callable[[int], Any], close: Callable[[], None] = lambda: None) -> None:
        self._fetch, self._close = fetch, close

    def __call__(self, step: int) -> Any:
        return self._fetch(step)

    def __enter__(self) -> _Data:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()


def _compile(
    net: Net,
    task: Task,
    optimizer: optax.GradientTransformation,
    source: DeviceSource | HostSource,
    state: TrainState,
    batch: int,
    seed: int,
    hardware: Hardware,
    first: int,
    steps: int,
) -> tuple[Callable[[TrainState, Any], Any], _Data]:
    """Compiles the step for the shapes of this run, once; returns it with a function `step -> data`."""
    root = place(jax.random.key(seed), hardware.replicated())

    def step(state: TrainState, data: Any, key: jax.Array) -> Any:
        return make_step(net, task, optimizer, batch_size=batch, seed=key, hardware=hardware)(state, data)

    copies = {"out_shardings": hardware.replicated()} if is_one_of_several() else {}
    jitted = jax.jit(step, donate_argnums=0, **copies)
    if isinstance(source, DeviceSource):
        resident = place(source, hardware.replicated())
        compiled = jitted.lower(state, resident, root).compile()
        return lambda state, data: compiled(state, data, root), _Data(lambda _: resident)
    chunk = _Chunks(source, hardware.steps_per_call)
    example = place(chunk.batch(first // chunk.length), hardware.divided())
    compiled = jitted.lower(state, example, root).compile()
    queue = Prefetch(
        chunk, first // chunk.length, steps // chunk.length, lambda value: place(value, hardware.divided())
    )
    fetched = iter(queue)
    return lambda state, data: compiled(state, data, root), _Data(lambda _: next(fetched), queue.close)


@dataclass(frozen=True)
class _Chunks:
    """A host source whose batches are stacked to the number of steps in one call."""

    source: HostSource
    length: int

    def batch(self, step: int) -> Any:
        if self.length == 1:
            return self.source.batch(step)
        parts = [self.source.batch(step * self.length + number) for number in range(self.length)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def _fetch(
    pending: list[tuple[int, dict[str, jax.Array]]], checkpoints: Checkpoints | SharedCheckpoints, run_dir: Path
) -> dict[str, float]:
    """Brings the scalars of the steps since the last time to the host, in one transfer,
    empties the list, and checks that they are finite."""
    if not pending:
        return {}
    values = jax.device_get([scalars for _, scalars in pending])
    begins = [begin for begin, _ in pending]
    pending.clear()
    for begin, scalars in zip(begins, values):
        finite = np.isfinite(scalars["loss"]) & np.isfinite(scalars["grad_norm"])
        if not finite.all():
            step = begin + int(np.argmin(finite)) + 1
            checkpoints.wait()
            kept = checkpoints.latest_step()
            raise TrainingError(
                f"train: the loss or its gradient is not finite at step {step}. The checkpoint of step {kept} in "
                f"{run_dir / 'checkpoints'} is kept. Try a lower optim.learning_rate or optim.clip_norm=0.1, and look for "
                "extreme pixels with: bioflax preflight."
                if kept is not None
                else f"train: the loss or its gradient is not finite at step {step}, before the first checkpoint. "
                "Try a lower optim.learning_rate, and look for extreme pixels with: bioflax preflight."
            )
    names = values[0].keys()
    return {
        name: math.fsum(float(np.sum(v[name])) for v in values) / sum(len(v[name]) for v in values) for name in names
    }
