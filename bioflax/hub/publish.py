"""From a finished training to its run folder: the model with its card, a preview, `result.json` and the report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.data.assemble import Prepared
from bioflax.errors import InputError
from bioflax.hub.card import ModelCard
from bioflax.hub.held_out import judge_held_out
from bioflax.hub.held_out_emitters import judge_emitters
from bioflax.hub.held_out_objects import judge_objects, tune_decoding
from bioflax.hub.held_out_pairs import judge_pairs
from bioflax.hub.store import load, save_model
from bioflax.models import describe
from bioflax.report import render_train
from bioflax.runs import Run, find_versions
from bioflax.tasks import SuperResolve
from bioflax.train import Fitted

AGAINST = {
    "target": "clean targets",
    "emitters": "the simulated emitters",
    "labels": "the labelled objects",
    "points": "the marked points",
}
JUDGES = {"emitters": judge_emitters, "labels": judge_objects, "points": judge_objects}


def publish(run: Run, model: Any, task: Any, prepared: Prepared, fitted: Fitted, settings: dict[str, Any]) -> Path:
    """Writes `model/`, `preview.npz`, `result.json` and `report.html` of a training run.

    Args:
        run: the open run.
        model: the NNX model that was trained, for its description.
        task: what was learned.
        prepared: its data; the held-out patches are judged beside filters and bounds.
        fitted: what training left.
        settings: of the command: `name`, `seed`, `licence`.

    Returns:
        The model folder.
    """
    begun = time.monotonic()
    folder = run.folder / "model"
    card, example = make_card(model, task, prepared, fitted, {**settings, "overrides": run.result["overrides"]})
    save_model(folder, card, fitted.variables, example)
    judge = judge_pairs if card.task == "superresolve" else JUDGES.get(prepared.reference, judge_held_out)
    judged = judge(load(folder), task, prepared, run.folder / "preview.npz")
    if fitted.validation_loss is not None:
        judged["metrics"]["validation_loss"] = fitted.validation_loss
    card = ModelCard(**{**card.__dict__, **judged})
    save_model(folder, card, fitted.variables, example)
    seconds = {**fitted.seconds, "evaluate": time.monotonic() - begun}
    run.finish(
        steps=fitted.step,
        best_step=fitted.best_step,
        seconds=seconds,
        model="model/",
        parameters=fitted.parameters,
        **judged,
    )
    _print(judged, prepared.reference, folder)
    try:
        print(f"report: {render_train(run.folder)}")
    except InputError as missing:  # a plain install draws nothing; the run is good without
        print(f"no report: {missing}")
    return folder


def make_card(
    model: Any, task: Any, prepared: Prepared, fitted: Fitted, settings: dict[str, Any]
) -> tuple[ModelCard, np.ndarray]:
    """The card of a trained model before it is judged, and the input that it will be tested with.

    Args:
        model, task, prepared, fitted: as `publish`.
        settings: `name`, `seed`, `licence`, and the `overrides` of the command.
    """
    example = _example(prepared, model)
    card = ModelCard(
        name=str(settings["name"]),
        task=type(task).__name__.lower(),
        architecture=describe(model),
        normalization=prepared.normalization.to_json(),
        axes="YX" if model.spatial_dims == 2 else "ZYX",
        scheme=task.name,
        receptive_field=model.receptive_field,
        parameters=fitted.parameters,
        pixel_nm=prepared.pixel_nm,
        trained_on={**prepared.trained_on, **({"patch": _patch(prepared, example)} if model.whole_image else {})},
        physics=prepared.physics | ({"units": "own"} if getattr(task, "batch_range", False) else {}),
        licence=settings["licence"],
        versions=find_versions(),
        seed=settings["seed"],
        command=shlex.join(["bioflax", "train", *settings["overrides"]]),
    )
    return card, example


def save_trained(
    folder: Path, model: Any, task: Any, prepared: Prepared, fitted: Fitted, settings: dict[str, Any]
) -> ModelCard:
    """Saves a model that a study will judge: the card has no metrics yet, but a detector's thresholds are tuned.

    Args:
        folder: of the model.
        model, task, prepared, fitted, settings: as `make_card`.
    """
    card, example = make_card(model, task, prepared, fitted, settings)
    card = save_model(folder, card, fitted.variables, example)
    if prepared.reference in ("labels", "points"):
        decoding = tune_decoding(load(folder), task, prepared)
        card = save_model(folder, dataclasses.replace(card, decoding=decoding), fitted.variables, example)
    return card


def check_prepared(model: Any, task: Any, prepared: Prepared) -> None:
    """Checks that a model takes what the data give.

    Raises:
        InputError: another number of channels, or another magnification.
    """
    if prepared.channels != model.channels_in:
        raise InputError(
            f"backbone.channels_in: the images have {prepared.channels} channel(s), the model takes {model.channels_in}. "
            f"Set backbone.channels_in={prepared.channels}"
            f"{'' if isinstance(task, SuperResolve) else f' head.channels_out={prepared.channels}'}."
        )
    finer = prepared.physics.get("upscale", 1) if isinstance(task, SuperResolve) else 1
    if finer != model.upscale:
        raise InputError(
            f"head.upscale: the targets have {finer} pixels along a pixel of the images, the model makes {model.upscale}. "
            f"Set head.upscale={finer}."
        )


def check_settings(settings: dict[str, Any]) -> None:
    """Checks what the card will need before anything is trained.

    Raises:
        InputError: an empty name or licence, or a negative seed.
    """
    for field in ("name", "licence"):
        if not isinstance(settings[field], str) or not settings[field].strip():
            raise InputError(f"{field}: expected a text for the model's card, found {settings[field]!r}.")
    if not isinstance(settings["seed"], int) or settings["seed"] < 0:
        raise InputError(f"seed: expected a whole number of 0 or more, found {settings['seed']!r}.")


def _example(prepared: Prepared, model: Any) -> np.ndarray:
    """One input in file units, with which the model is tested wherever it is loaded."""
    if prepared.validation:
        image = np.asarray(prepared.validation[0]["image"])[:1]
        stride = model.stride_total
        cut = tuple(slice(0, size - size % stride) for size in image.shape[1:-1])
        if all(part.stop for part in cut):
            return np.asarray(prepared.normalization.invert(image[(slice(None), *cut)]), np.float32)
    side = -(-32 // model.stride_total) * model.stride_total
    shape = (1, *(side,) * model.spatial_dims, model.channels_in)
    drawn = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return np.asarray(prepared.normalization.invert(drawn), np.float32)


def _patch(prepared: Prepared, example: np.ndarray) -> list[int]:
    """Size of the training patches: a net that looks at the whole of what it is given predicts on tiles of it."""
    held_out = prepared.validation[0]["image"] if prepared.validation else example
    return list(np.shape(held_out)[1:-1])


def _print(judged: dict[str, Any], reference: str, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    names = [name for name in judged["metrics"] if name != "validation_loss"]
    if names:
        lone = [n for n in names if len(names) > 6 and not any(n in row for row in judged["baselines"].values())]
        names = [name for name in names if name not in lone]
        table = Table("method", *names, title=f"held out, against {AGAINST.get(reference, 'a second noisy capture')}")
        rows = {**judged["baselines"], "model": judged["metrics"]} | (
            {"bound": judged["bounds"]} if judged["bounds"] else {}
        )
        for method, values in rows.items():
            table.add_row(method, *(f"{values[name]:.3f}" if values.get(name) is not None else "" for name in names))
        Console().print(table)
        told = (name for name in lone if judged["metrics"][name] is not None)
        if lone:
            print("model alone: " + ", ".join(f"{name} {judged['metrics'][name]:.4g}" for name in told))
    print(f"model: {folder}")
