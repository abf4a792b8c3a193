"""Restores images, localizes the emitters of movies, or finds objects and spots, as the model learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command, _detectors, _localizers, _physics

from bioflax.errors import InputError


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="predict")
@_command.collected
def main(config: Any) -> None:
    """One folder, file or glob of images."""
    plain, overrides, _ = _command.settings(config)
    _command.prepare_compute()
    from bioflax import hub

    if str(plain["model"]) == "mle":
        return localize(plain, overrides, None)
    model = hub.load(str(plain["model"]))
    if model.card.task == "localize":
        return localize(plain, overrides, model)
    if model.card.task == "detect":
        return detect(plain, overrides, model)
    restore(plain, overrides, model)


def restore(plain: dict[str, Any], overrides: list[str], model: Any) -> None:
    """Images to images."""
    from bioflax.predict.files import output_folder, predict_files, result_name
    from bioflax.report import render_honesty_pages
    from bioflax.runs import Run

    honest = _command.flag("honesty", plain["honesty"])
    for group in ("psf", "camera"):
        if plain.get(group) is not None and not (honest and group == "camera"):
            raise InputError(f"{group}: expected none for a model that restores images, found one. Leave it out.")
    given = [name for name, value in plain["optics"].items() if value is not None]
    if given and not honest:
        raise InputError(f"optics.{given[0]}: expected none without honesty=true, found one. Leave it out.")
    physics = _physics.needed(plain, model) if honest else None
    folder, name = output_folder(plain["output"]), result_name(plain["output"])
    with Run(folder, "predict", plain, overrides, write_config=False, result=name) as run:
        done = predict_files(
            model,
            str(plain["input"]),
            str(plain["output"]),
            axes=_command.optional(plain["axes"]),
            tile=_command.tile_size(plain["tile"]),
            dtype=_command.optional(plain["dtype"]),
            augment=_command.flag("augment", plain["augment"]),
            posterior=_command.flag("posterior", plain["posterior"]),
            physics=physics,
        )
        files = done.files + [str(page) for page in render_honesty_pages(done.pages)]
        found = {"metrics": done.numbers, "flags": done.flags} if physics else {}
        run.finish(task=model.card.task, model=str(plain["model"]), files=files, seconds=done.seconds, **found)
    print(f"{len(done.files)} file(s) in {plain['output']}")
    for flag in done.flags:
        print(f"mind: {flag}")


def localize(plain: dict[str, Any], overrides: list[str], model: Any) -> None:
    """Movies to tables; `model` None is maximum likelihood."""
    from bioflax.predict.localizations import is_table, localize_files
    from bioflax.report import render_predictions
    from bioflax.runs import Run

    psf, camera = _localizers.built(plain, model)
    localizer = _localizers.localizer(plain, model, psf, camera)
    output = Path(str(plain["output"]))
    folder = output.parent if is_table(output) else output
    name = f"{output.stem}.result.json" if is_table(output) else "result.json"
    with Run(folder, "predict", plain, overrides, write_config=False, result=name) as run:
        done = localize_files(
            localizer,
            str(plain["input"]),
            output,
            axes=_command.optional(plain["axes"]),
            render_nm=None if plain["render_nm"] is None else _command.positive("render_nm", plain["render_nm"]),
            drift_segments=_command.whole("drift_segments", plain["drift_segments"], least=2),
            page=True,
        )
        metrics = {"localizations": done.localizations}
        drift = {"drift": done.drifts} if done.drifts else {}
        files = done.files + [str(page) for page in render_predictions(done.pages)]
        run.finish(
            task="localize", model=str(plain["model"]), files=files, seconds=done.seconds, metrics=metrics, **drift
        )
    print(f"{done.localizations} localizations in {plain['output']}")


def detect(plain: dict[str, Any], overrides: list[str], model: Any) -> None:
    """Images to label images, tables and outlines."""
    from bioflax.predict.object_files import SUFFIXES, detect_files
    from bioflax.report import render_found
    from bioflax.runs import Run

    output = Path(str(plain["output"]))
    single = output.suffix.lower() in SUFFIXES
    if output.suffix and not single:
        raise InputError(f"output: expected a folder, or a name ending in {', '.join(SUFFIXES)}; found {output}")
    folder, name = (output.parent, f"{output.stem}.result.json") if single else (output, "result.json")
    pixel_nm = plain["pixel_nm"]
    with Run(folder, "predict", plain, overrides, write_config=False, result=name) as run:
        done = detect_files(
            _detectors.detector(plain, model),
            str(plain["input"]),
            output,
            axes=_command.optional(plain["axes"]),
            channels=model.channels_in,
            spatial_dims=model.spatial_dims,
            formats=_command.names("formats", plain["formats"]),
            pixel_nm=None if pixel_nm is None else _command.positive("pixel_nm", pixel_nm),
            page=True,
        )
        files = done.files + [str(page) for page in render_found(done.pages)]
        run.finish(
            task="detect",
            model=str(plain["model"]),
            files=files,
            seconds=done.seconds,
            metrics={"objects": done.objects},
        )
    print(f"{done.objects} objects in {plain['output']}")


if __name__ == "__main__":
    _command.start("predict", main)
