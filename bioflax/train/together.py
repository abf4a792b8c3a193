"""Several runs of one shape in one compiled program: seeds, and simulators whose numbers differ, side by side."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bioflax.errors import InputError, TrainingError
from bioflax.functional import count, merge, partition, purify
from bioflax.train.checkpoint import Checkpoints
from bioflax.train.devices import Hardware
from bioflax.train.evaluate import validation_states
from bioflax.train.log import MetricsLog, ProgressBar
from bioflax.train.loop import Fitted, check_intervals
from bioflax.train.optim import averaged
from bioflax.train.signals import catch_signals
from bioflax.train.state import create_state
from bioflax.train.step import make_step
from bioflax.typing import Batch, DeviceSource, Task


def pays(hardware: Hardware) -> bool:
    """Whether runs train faster side by side than one after another.

    An accelerator that small nets leave idle is taken to be the place for it. On a CPU it does not pay: XLA runs the
    convolutions of several nets as grouped ones. Four U-Nets of width 16 with 8 patches of 64 x 64 took 2.3 times as long
    together as one after another, on two cores (`benchmarks/vectorised_seeds.py`).
    """
    del hardware
    return jax.devices()[0].platform != "cpu"


def fit_together(
    models: Sequence[Any],
    task: Task,
    sources: Sequence[DeviceSource],
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    run_dirs: Sequence[str | Path],
    seeds: Sequence[int],
    batch: int = 16,
    validations: Sequence[Sequence[Batch]] = (),
    validate_every: int = 200,
    checkpoint_every: int = 200,
    log_every: int = 20,
    hardware: Hardware | None = None,
    freeze: tuple[str, ...] = (),
    quiet: bool = False,
) -> list[Fitted | TrainingError]:
    """Trains R runs as `fit` would train each of them, up to rounding, in one program (`vmap` over state, data and seed).

    Each run folder gets what `fit` leaves there, so a run that was stopped can go on in either way.

    Args:
        models, sources, run_dirs, seeds: one a run; models and sources of one shape.
        validations: the fixed batches of each run, or none.
        task, optimizer, steps, batch, validate_every, checkpoint_every, log_every, hardware, freeze, quiet: as `fit`.

    Returns:
        One a run; a run whose loss was not finite is a `TrainingError` and does not stop the others.

    Raises:
        InputError: runs of different shape, or that stand at different steps.
        SystemExit: a signal asked to stop; every run has a checkpoint to go on from.
    """
    hardware = hardware or Hardware()
    check_intervals(
        hardware, steps=steps, validate_every=validate_every, checkpoint_every=checkpoint_every, log_every=log_every
    )
    if hardware.number != 1:
        raise InputError(f"hardware.devices: runs that train together share one device, found {hardware.number}.")
    nets = [purify(model) for model in models]
    net = nets[0]
    state = stack_runs("model", [create_state(one, optimizer, freeze=freeze) for one in nets])
    data = stack_runs("data", [jax.tree.map(jnp.asarray, source) for source in sources])
    held_out = [stack_runs("validation", list(batches)) for batches in zip(*validations)] if validations else []
    roots = jnp.stack([jax.random.key(seed) for seed in seeds])
    runs = range(len(seeds))
    metas: list[dict[str, Any]] = [{"best_loss": None, "best_step": None, "elapsed": 0.0} for _ in runs]
    broken: dict[int, int] = {}  # run -> step at which its loss was not finite

    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(catch_signals())
        stores = [stack.enter_context(Checkpoints(Path(folder) / "checkpoints")) for folder in run_dirs]
        first = _common_step(stores)
        if first:
            restored = [store.restore(_take(state, run)) for run, store in enumerate(stores)]
            state, metas = stack_runs("checkpoint", [one for one, _ in restored]), [meta for _, meta in restored]
        for store in stores:
            store.discard_after(first)
        begun = time.monotonic()

        def step(state: Any, data: Any, root: jax.Array) -> Any:
            return make_step(net, task, optimizer, batch_size=batch, seed=root, hardware=hardware)(state, data)

        call = jax.jit(jax.vmap(step), donate_argnums=0).lower(state, data, roots).compile()
        judge = _Judge(net, task, hardware, roots)
        compile_seconds = time.monotonic() - begun
        logs = [stack.enter_context(MetricsLog(Path(folder) / "metrics.jsonl", first)) for folder in run_dirs]
        bar = stack.enter_context(ProgressBar(f"train {len(seeds)} together", steps, first, quiet=quiet))
        begun = time.monotonic() - metas[0]["elapsed"]
        done, pending = first, []
        while done < steps and caught.signal is None:
            state, scalars = call(state, data, roots)
            pending.append(scalars)
            done += hardware.steps_per_call
            last = done >= steps
            if last or any(done % every == 0 for every in (log_every, validate_every, checkpoint_every)):
                means = _fetch(pending, done, broken)
                for run in runs:
                    line = {name: float(values[run]) for name, values in means.items()}
                    logs[run].write({"step": done, "seconds": time.monotonic() - begun, **line})
                bar.update(done, f"loss {np.nanmean(means['loss']):.4g}")
            if held_out and (last or done % validate_every == 0):
                candidates = merge(state.frozen, averaged(state.opt_state, state.params))
                judged = judge(candidates, held_out)
                for run in runs:
                    line = {f"validation_{name}": float(values[run]) for name, values in judged.items()}
                    loss, best = line["validation_loss"], metas[run]["best_loss"]
                    logs[run].write({"step": done, "seconds": time.monotonic() - begun, **line})
                    if run not in broken and math.isfinite(loss) and (best is None or loss < best):
                        metas[run] = {**metas[run], "best_loss": loss, "best_step": done}
                        stores[run].save_best(done, _take(candidates, run), metas[run])
            if last or done % checkpoint_every == 0 or caught.signal is not None:
                if pending:  # a signal: what is saved must be sound
                    _fetch(pending, done, broken)
                for run in (run for run in runs if run not in broken):
                    stores[run].save(done, _take(state, run), {**metas[run], "elapsed": time.monotonic() - begun})
        for store in stores:
            store.wait()
        if done < steps:
            raise SystemExit(128 + signal.Signals[caught.signal])
        seconds = {"compile": compile_seconds, "train": (time.monotonic() - begun) / len(seeds)}
        return [
            TrainingError(f"train: the loss or its gradient is not finite near step {broken[run]}.")
            if run in broken
            else _fitted(nets[run], _take(state, run), stores[run], metas[run], done, seconds)
            for run in runs
        ]


def stack_runs(name: str, trees: Sequence[Any]) -> Any:
    """Trees of one structure as one with a leading axis.

    Raises:
        InputError: they differ, such as a number in one and a range in another; the message names the place.
    """
    places = [dict(jax.tree_util.tree_flatten_with_path(tree)[0]) for tree in trees]
    for other in places[1:]:
        shapes = [{path: np.shape(leaf) for path, leaf in place.items()} for place in (places[0], other)]
        differ = [path for path in {**shapes[0], **shapes[1]} if shapes[0].get(path) != shapes[1].get(path)]
        if differ:
            raise InputError(
                f"{name}: {jax.tree_util.keystr(differ[0])} is of another shape in one of the runs that train together."
            )
    structures = {jax.tree.structure(tree) for tree in trees}
    if len(structures) > 1:
        raise InputError(f"{name}: settings that are no numbers differ between the runs that train together.")
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def _take(tree: Any, run: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[run], tree)


def _common_step(stores: Sequence[Checkpoints]) -> int:
    found = {store.latest_step() or 0 for store in stores}
    if len(found) > 1:
        raise InputError(f"run_dirs: runs that train together go on from one step, found {sorted(found)}.")
    return found.pop()


class _Judge:
    """The validation metrics of all runs, each on its own batches with its own key: `(R,)` by name."""

    def __init__(self, net: Any, task: Task, hardware: Hardware, roots: jax.Array) -> None:
        def states(variables: Any, batch: Batch, root: jax.Array, number: jax.Array) -> Any:
            return validation_states(net, task, hardware, root, variables, batch, number)

        self._roots, self._states = roots, jax.jit(jax.vmap(states, in_axes=(0, 0, 0, None)))

    def __call__(self, candidates: Any, held_out: Sequence[Any]) -> dict[str, np.ndarray]:
        total = None
        for number, batches in enumerate(held_out):
            new = self._states(candidates, batches, self._roots, number)
            total = new if total is None else _merge(total, new)
        return jax.device_get(_compute(total))


@jax.jit
@jax.vmap
def _merge(total: Any, new: Any) -> Any:
    return {name: state.merge(new[name]) for name, state in total.items()}


@jax.jit
@jax.vmap
def _compute(total: Any) -> Any:
    return {name: state.compute() for name, state in total.items()}


def _fetch(pending: list[Any], done: int, broken: dict[int, int]) -> dict[str, np.ndarray]:
    """Means (R,) since the last time, in one transfer; notes the runs that are not finite any more."""
    values = jax.device_get(pending)
    pending.clear()
    joined = {name: np.concatenate([one[name] for one in values], axis=1) for name in values[0]}
    finite = np.isfinite(joined["loss"]) & np.isfinite(joined["grad_norm"])
    for run in np.flatnonzero(~finite.all(1)):
        broken.setdefault(int(run), done)
    return {name: value.mean(1) for name, value in joined.items()}


def _fitted(
    net: Any, state: Any, store: Checkpoints, meta: dict[str, Any], done: int, seconds: dict[str, float]
) -> Fitted:
    variables = merge(state.frozen, averaged(state.opt_state, state.params))
    if meta["best_step"] is not None:
        variables = store.restore_best(variables, meta["best_step"])
    trained = count(partition(net.variables, lambda path: path in net.statistics)[0])
    return Fitted(net, variables, state, done, meta["best_step"], meta["best_loss"], dict(seconds), trained)
