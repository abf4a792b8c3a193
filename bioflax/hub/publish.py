"""From a finished training to its run folder: the model with its card, a preview, `result.json` and the report."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines import calibrate
from bioflax.data.assemble import Prepared
from bioflax.errors import InputError
from bioflax.hub.card import ModelCard
from bioflax.hub.store import LoadedModel, load, save_model
from bioflax.models import describe
from bioflax.optics import bounds
from bioflax.report import render_train
from bioflax.runs import Run, find_versions
from bioflax.train import Fitted

JUDGED = 24  # held-out patches that the summary looks at
FILTERS = ("gaussian", "median", "nlm")


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
    example = _example(prepared, model)
    card = ModelCard(
        name=str(settings["name"]),
        task=type(task).__name__.lower(),
        architecture=describe(model),
        normalization=prepared.normalization.to_json(),
        axes="YX" if model.spatial_dims == 2 else "ZYX",
        scheme=type(task.scheme).__name__.lower(),
        receptive_field=model.receptive_field,
        parameters=fitted.parameters,
        pixel_nm=prepared.pixel_nm,
        trained_on=prepared.trained_on,
        licence=settings["licence"],
        versions=find_versions(),
        seed=settings["seed"],
        command=shlex.join(["bioflax", "train", *run.result["overrides"]]),
    )
    save_model(folder, card, fitted.variables, example)
    judged = judge_held_out(load(folder), prepared, run.folder / "preview.npz")
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


def judge_held_out(model: LoadedModel, prepared: Prepared, preview: Path) -> dict[str, Any]:
    """Metrics, baselines and bounds on held-out patches, under the same names.

    Against clean targets these are `psnr_db`, `si_psnr_db` and `ssim` beside oracle filters. Where the only reference is a
    second noisy capture it is `psnr_to_noisy_db`, whose ceiling the noise of the reference sets:
    E|f(a) - b|^2 = MSE(f) + noise variance (Lehtinen 2018).

    Returns:
        {"metrics", "baselines", "bounds"}; empty where nothing is held out.
    """
    empty: dict[str, Any] = {"metrics": {}, "baselines": {}, "bounds": {}}
    if not prepared.validation:
        return empty
    image = np.concatenate([np.asarray(batch["image"]) for batch in prepared.validation])
    chosen = np.linspace(0, len(image) - 1, min(JUDGED, len(image))).astype(int)
    noisy = np.asarray(prepared.normalization.invert(image[chosen]))
    output = model.restore(noisy)
    arrays = {"input": noisy, "output": output["image"], **({"scale": output["scale"]} if "scale" in output else {})}
    if prepared.reference != "none":
        target = np.concatenate([np.asarray(batch["target"]) for batch in prepared.validation])[chosen]
        arrays["target"] = np.asarray(prepared.normalization.invert(target))
    pictures = {name: _planes(value) for name, value in arrays.items()}
    aside = preview.with_suffix(".part")
    with aside.open("wb") as stream:
        np.savez_compressed(stream, names=np.array([f"held out {n}" for n in range(len(chosen))]), **pictures)
    aside.replace(preview)
    if prepared.reference == "none":
        return empty
    spread = float(np.ptp(pictures["target"]))
    if prepared.reference == "target":
        return _against_truth(pictures, spread)
    # Per patch, as the metric is: the mean of decibels is not the decibels of the mean.
    noise = np.mean((pictures["input"] - pictures["target"]) ** 2, axis=(1, 2)) / 2
    ceiling = float(np.mean([bounds.noisy_reference_ceiling_db(spread, float(variance)) for variance in noise]))

    def score(images: np.ndarray) -> dict[str, float]:
        return {"psnr_to_noisy_db": _psnr(images, pictures["target"], spread)}

    return {
        "metrics": score(pictures["output"]),
        "baselines": {
            "input": score(pictures["input"]),
            **{n: score(v) for n, v in _filtered(pictures["input"]).items()},
        },
        "bounds": {"psnr_to_noisy_db": ceiling},
    }


def _against_truth(pictures: dict[str, np.ndarray], spread: float) -> dict[str, Any]:
    target = pictures["target"]

    def score(images: np.ndarray) -> dict[str, float]:
        return {
            "psnr_db": _psnr(images, target, spread),
            "si_psnr_db": float(np.mean([metrics.si_psnr(a, b) for a, b in zip(images, target)])),
            "ssim": float(np.mean([metrics.ssim(a, b, spread) for a, b in zip(images, target)])),
        }

    noisy = pictures["input"]
    return {
        "metrics": score(pictures["output"]),
        "baselines": {"input": score(noisy), **{name: score(images) for name, images in _filtered(noisy).items()}},
        "bounds": score(np.stack([bounds.oracle_wiener(a, b) for a, b in zip(noisy, target)])),
    }


def _psnr(images: np.ndarray, target: np.ndarray, spread: float) -> float:
    """Mean over patches; the range is that of all targets together."""
    return float(np.mean([metrics.psnr(a, b, spread) for a, b in zip(images, target)]))


def _filtered(images: np.ndarray) -> dict[str, np.ndarray]:
    """Classical filters, each tuned once on patches side by side and without truth; {} in an install without them."""
    try:
        tuned = {name: calibrate(name, np.concatenate(list(images[:8]), axis=0)) for name in FILTERS}
    except InputError as missing:
        print(f"no classical filters beside the model: {missing}")
        return {}
    return {name: np.stack([filter_.apply(image) for image in images]) for name, filter_ in tuned.items()}


def _planes(images: np.ndarray) -> np.ndarray:
    """(N, [Z,] H, W, C) -> (N, H, W): the first channel, the middle plane."""
    images = images[..., 0]
    return images if images.ndim == 3 else images[:, images.shape[1] // 2]


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


def _print(judged: dict[str, Any], reference: str, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    names = [name for name in judged["metrics"] if name != "validation_loss"]
    if names:
        against = "clean targets" if reference == "target" else "a second noisy capture"
        table = Table("method", *names, title=f"held-out patches, against {against}")
        rows = {**judged["baselines"], "model": judged["metrics"], "bound": judged["bounds"]}
        for method, values in rows.items():
            table.add_row(method, *(f"{values[name]:.3f}" if name in values else "" for name in names))
        Console().print(table)
    print(f"model: {folder}")
