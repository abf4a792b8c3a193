"""The store of trained models: each in a folder named by its hash, trained once and shared by all studies beside it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioflax.errors import InputError, TrainingError
from bioflax.functional import transplant
from bioflax.hub.publish import check_prepared, save_trained
from bioflax.hub.store import LoadedModel, load
from bioflax.runs import Run
from bioflax.studies.plan import BESIDE, Spec
from bioflax.train import fit, fit_together, pays


@dataclass(frozen=True)
class Parts:
    """What a training is put together from."""

    hardware: Any
    task: Any
    data: Any
    model: Any
    optimizer: Any


Build = Callable[[dict[str, Any]], Parts]


def folder_of(store: Path, spec: Spec) -> Path:
    """Where a model lies."""
    return store / spec.hash


def is_trained(store: Path, spec: Spec) -> bool:
    """Whether its training has finished."""
    folder = folder_of(store, spec)
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return False
    return result.get("status") == "ok" and (folder / "model" / "card.json").exists()


def obtain(store: Path, spec: Spec, build: Build, *, quiet: bool) -> LoadedModel:
    """The trained model: from the store, or trained now, going on from its last checkpoint.

    Raises:
        InputError: the settings do not fit together.
        TrainingError: the loss is not finite.
        SystemExit: a signal asked to stop; the checkpoint is kept.
    """
    if spec.given is not None:
        return load(spec.given)
    if spec.config is None:
        raise InputError(spec.error or "the settings cannot be composed.")
    folder = folder_of(store, spec)
    with locked(folder):
        if not is_trained(store, spec):
            start = obtain(store, spec.start, build, quiet=quiet) if spec.start else None
            _train(folder, spec, start, build, quiet)
    return load(folder / "model")


def _train(folder: Path, spec: Spec, start: LoadedModel | None, build: Build, quiet: bool) -> None:
    config, begun = spec.config, time.monotonic()
    with Run(folder, "train", config, spec_overrides(spec)) as run:
        parts = build(config)
        parts.hardware.check_batch(config["train"]["batch"])
        prepared = parts.data.prepare(
            parts.task.mode,
            parts.task.augment,
            spatial_dims=parts.model.spatial_dims,
            seed=config["seed"],
            batch=config["train"]["batch"],
        )
        check_prepared(parts.model, parts.task, prepared)
        fitted = fit(
            parts.model,
            parts.task,
            prepared.source,
            parts.optimizer,
            run_dir=folder,
            seed=config["seed"],
            validation=prepared.validation,
            hardware=parts.hardware,
            variables=transplant(parts.model, start.variables) if start else None,
            freeze=spec.freeze,
            quiet=quiet,
            **config["train"],
        )
        if fitted.interrupted:
            run.fail(f"interrupted by {fitted.interrupted} at step {fitted.step}", steps=fitted.step)
            raise SystemExit(128 + signal.Signals[fitted.interrupted])
        finish_training(run, parts, prepared, fitted, config, begun)


def finish_training(run: Run, parts: Parts, prepared: Any, fitted: Any, config: dict[str, Any], begun: float) -> None:
    """Saves the model and marks the training as done; checkpoints are not needed any more."""
    settings = {**config, "overrides": run.result["overrides"]}
    save_trained(run.folder / "model", parts.model, parts.task, prepared, fitted, settings)
    run.finish(
        steps=fitted.step,
        best_step=fitted.best_step,
        seconds={**fitted.seconds, "total": time.monotonic() - begun},
        model="model/",
        parameters=fitted.parameters,
    )
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)


def spec_overrides(spec: Spec) -> list[str]:
    """What defines the model, for `result.json` and its card."""
    start = [f"fit.start={spec.start.hash}"] if spec.start else []
    return [*spec.overrides, *start, *([f"fit.freeze={list(spec.freeze)}"] if spec.freeze else [])]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time trains a model; a killed one leaves no lock behind."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on this system: two processes may train the same model twice
        yield
        return
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def train_together(store: Path, specs: Sequence[Spec], build: Build, *, forced: bool) -> None:
    """Trains those of equal shape that are missing in one compiled program, where that pays; `obtain` does the others.

    Args:
        store, build: as `obtain`.
        specs: models; those that start from others or are trained already are left out.
        forced: also where it does not pay.
    """
    groups: dict[str, list[Spec]] = {}
    for spec in specs:
        if spec.config is not None and spec.start is None and not is_trained(store, spec):
            groups.setdefault(_shape(spec), []).append(spec)
    for group in groups.values():
        if len(group) > 1:
            try:
                _train_group(store, group, build, forced)
            except Exception as failure:  # one by one: who is at fault fails alone, and says so in its points
                print(f"not trained together: {failure}")


def _shape(spec: Spec) -> str:
    """What models that train together have in common: all but the seed and the numbers of the simulator."""
    config = {**spec.config, "seed": None, "data": {**spec.config["data"], "simulator": None}, "freeze": spec.freeze}
    return json.dumps(
        {name: value for name, value in config.items() if name not in BESIDE}, sort_keys=True, default=str
    )


def _train_group(store: Path, group: Sequence[Spec], build: Build, forced: bool) -> None:
    begun, parts = time.monotonic(), [build(spec.config) for spec in group]
    first, settings = parts[0], group[0].config
    if not forced and not pays(first.hardware):
        return
    with contextlib.ExitStack() as stack:
        # Always in one order, so that no two processes wait for each other.
        for spec in sorted(group, key=lambda spec: spec.hash):
            stack.enter_context(locked(folder_of(store, spec)))
        prepared = [
            part.data.prepare(
                part.task.mode,
                part.task.augment,
                spatial_dims=part.model.spatial_dims,
                seed=spec.config["seed"],
                batch=settings["train"]["batch"],
            )
            for part, spec in zip(parts, group)
        ]
        for part, ready in zip(parts, prepared):
            check_prepared(part.model, part.task, ready)
        runs = [
            stack.enter_context(Run(folder_of(store, spec), "train", spec.config, spec_overrides(spec)))
            for spec in group
        ]
        fitted = fit_together(
            [part.model for part in parts],
            first.task,
            [one.source for one in prepared],
            first.optimizer,
            run_dirs=[run.folder for run in runs],
            seeds=[spec.config["seed"] for spec in group],
            validations=[one.validation for one in prepared],
            hardware=first.hardware,
            freeze=group[0].freeze,
            **settings["train"],
        )
        for run, part, ready, one, spec in zip(runs, parts, prepared, fitted, group):
            if isinstance(one, TrainingError):
                run.fail(str(one))
            else:
                finish_training(run, part, ready, one, spec.config, begun)
