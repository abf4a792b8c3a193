"""Judges a model against targets, beside classical filters and oracle bounds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="evaluate")
@_command.collected
def main(config: Any) -> None:
    """One evaluation."""
    plain, overrides, folder = _command.settings(config)
    _command.prepare_compute()
    from bioflax import hub
    from bioflax.evaluation import evaluate_files
    from bioflax.report import render_evaluation
    from bioflax.runs import Run

    if str(plain["run_dir"]) == "auto":
        named = Path(str(plain["model"]))
        default = named / "evaluation" if named.is_dir() else Path("runs") / f"evaluation_{named.stem}"
        folder = default / folder.name if folder.name != "auto" else default
    begun = time.monotonic()
    model = hub.load(str(plain["model"]))
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
        print(f"{folder / 'report.html'}")


if __name__ == "__main__":
    _command.start("evaluate", main)
