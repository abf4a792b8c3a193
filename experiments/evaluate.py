"""Judges a model against targets: restored images beside filters and oracles, localizations beside the classical fit,
objects and spots beside classical finders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command, _detectors, _localizers, _physics

from bioflax.errors import InputError


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="evaluate")
@_command.collected
def main(config: Any) -> None:
    """One evaluation."""
    plain, overrides, folder = _command.settings(config)
    _command.prepare_compute()
    from bioflax import hub
    from bioflax.predict.localizations import is_table

    name = None if plain["model"] in (None, "table") else str(plain["model"])
    if name is None and not is_table(str(plain["input"])):
        raise InputError("model: missing. Give it on the command line: model=...; only a table as input needs none.")
    if str(plain["run_dir"]) == "auto":
        named = Path(str(plain["input"])) if name is None else Path(name)
        default = named / "evaluation" if named.is_dir() else Path("runs") / f"evaluation_{named.stem}"
        folder = default / folder.name if folder.name != "auto" else default
    model = None if name in (None, "mle") else hub.load(name)
    if model is None or model.card.task == "localize":
        localized(plain, overrides, folder, model)
    elif model.card.task == "detect":
        detected(plain, overrides, folder, model)
    elif model.card.task == "superresolve":
        magnified(plain, overrides, folder, model)
    else:
        restored(plain, overrides, folder, model)
    print(f"{folder / 'report.html'}")


def restored(plain: dict[str, Any], overrides: list[str], folder: Path, model: Any) -> None:
    """Images against images."""
    from bioflax.evaluation import evaluate_files
    from bioflax.report import render_evaluation
    from bioflax.runs import Run

    begun = time.monotonic()
    with Run(folder, "evaluate", plain, overrides) as run:
        result = evaluate_files(
            model,
            str(plain["input"]),
            str(plain["target"]),
            run_dir=folder,
            axes=_command.optional(plain["axes"]),
            data_range=_command.optional(plain["data_range"]),
            affine=_command.flag("affine", plain["affine"]),
            augment=_command.flag("augment", plain["augment"]),
            posterior=_command.flag("posterior", plain["posterior"]),
            tile=_command.tile_size(plain["tile"]),
            baselines=_command.names("baselines", plain["baselines"]),
            bounds=_command.names("bounds", plain["bounds"]),
            reference_frames=plain["reference_frames"],
        )
        seconds = {"evaluate": time.monotonic() - begun}
        run.finish(task=model.card.task, model=str(plain["model"]), seconds=seconds, **result.entries())
        render_evaluation(folder)


def magnified(plain: dict[str, Any], overrides: list[str], folder: Path, model: Any) -> None:
    """Camera images against images on a finer grid."""
    from bioflax.evaluation.finer_files import evaluate_finer_files
    from bioflax.report import render_evaluation
    from bioflax.runs import Run

    begun = time.monotonic()
    if _command.flag("posterior", plain["posterior"]) or plain["reference_frames"] is not None:
        raise InputError("posterior, reference_frames: expected neither for a super-resolving model. Leave them out.")
    same_unit = model.card.physics.get("units", "input") == "input"
    with Run(folder, "evaluate", plain, overrides) as run:
        result = evaluate_finer_files(
            model,
            str(plain["input"]),
            str(plain["target"]),
            run_dir=folder,
            physics=_physics.known(plain, model),
            axes=_command.optional(plain["axes"]),
            tile=_command.tile_size(plain["tile"]),
            augment=_command.flag("augment", plain["augment"]),
            register=_command.flag("register", plain["register"]),
            box=plain["box"],
            baselines=_command.names("baselines", plain["baselines"]),
            data_range=_command.optional(plain["data_range"]),
            affine=_command.flag("affine", plain["affine"]) or not same_unit,
        )
        seconds = {"evaluate": time.monotonic() - begun}
        run.finish(task=model.card.task, model=str(plain["model"]), seconds=seconds, **result.entries())
        render_evaluation(folder)


def localized(plain: dict[str, Any], overrides: list[str], folder: Path, model: Any) -> None:
    """A movie, or a table of it, against the table of the truth; `model` None is maximum likelihood, or the table."""
    from bioflax.evaluation import evaluate_localization_files
    from bioflax.report import render_localization
    from bioflax.runs import Run

    begun = time.monotonic()
    psf, camera = _localizers.built(plain, model)
    judged = {}
    if str(plain["model"]) == "mle" or model is not None:
        judged["mle" if model is None else "model"] = _localizers.localizer(plain, model, psf, camera)
    with Run(folder, "evaluate", plain, overrides) as run:
        result = evaluate_localization_files(
            judged,
            str(plain["input"]),
            str(plain["target"]),
            run_dir=folder,
            axes=_command.optional(plain["axes"]),
            pixel_nm=_localizers.pixel_nm(plain, model),
            movie=plain["movie"],
            psf=psf,
            camera=camera,
            z_nm=_localizers.depths(plain),
            **_localizers.search(plain),
            border_nm=_command.number("border_nm", plain["border_nm"]),
            lateral_nm=_command.positive("lateral_nm", plain["lateral_nm"]),
            axial_nm=None if plain["axial_nm"] is None else _command.positive("axial_nm", plain["axial_nm"]),
            photon_quantile=plain["photon_quantile"],
        )
        seconds = {"evaluate": time.monotonic() - begun}
        run.finish(task="localize", model=str(plain["model"] or "table"), seconds=seconds, **result.entries())
        render_localization(folder)


def detected(plain: dict[str, Any], overrides: list[str], folder: Path, model: Any) -> None:
    """Images against label images, or against tables of points."""
    from bioflax.evaluation import evaluate_detection_files
    from bioflax.predict.objects import scheme_of
    from bioflax.report import render_detection
    from bioflax.runs import Run

    begun = time.monotonic()
    with Run(folder, "evaluate", plain, overrides) as run:
        result = evaluate_detection_files(
            _detectors.detector(plain, model),
            str(plain["input"]),
            str(plain["target"]),
            run_dir=folder,
            mode=scheme_of(model).mode,
            spatial_dims=model.spatial_dims,
            axes=_command.optional(plain["axes"]),
            split=plain["split"],
            part=str(plain["part"]),
            baselines=bool(_command.names("baselines", plain["baselines"])),
        )
        seconds = {"evaluate": time.monotonic() - begun}
        run.finish(task="detect", model=str(plain["model"]), seconds=seconds, **result.entries())
        render_detection(folder)


if __name__ == "__main__":
    _command.start("evaluate", main)
