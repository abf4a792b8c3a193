"""Judges a model against targets, beside classical filters and oracle bounds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="evaluate")
def main(config: Any) -> None:
    """One evaluation."""
    plain, overrides, folder = _command.settings(config)
    _command.prepare_compute()
    from bioflax import hub
    from bioflax.evaluation import evaluate_files
    from bioflax.report import render_evaluation
    from bioflax.runs import Run

    if str(plain["run_dir"]) == "auto":
        named = Path(plain["model"])
        default = named / "evaluation" if named.is_dir() else Path("runs") / f"evaluation_{named.stem}"
        folder = default / folder.name if folder.name != "auto" else default
    begun = time.monotonic()
    model = hub.load(plain["model"])
    with Run(folder, "evaluate", plain, overrides) as run:
        result = evaluate_files(
            model,
            plain["input"],
            plain["target"],
            run_dir=folder,
            axes=_command.optional(plain["axes"]),
            data_range=_command.optional(plain["data_range"]),
            affine=plain["affine"],
            augment=plain["augment"],
            tile=_command.tile_size(plain["tile"]),
            baselines=tuple(plain["baselines"]),
            bounds=tuple(plain["bounds"]),
            reference_frames=plain["reference_frames"],
        )
        seconds = {"evaluate": time.monotonic() - begun}
        run.finish(task=model.card.task, model=str(plain["model"]), seconds=seconds, **result.entries())
        render_evaluation(folder)
        print(f"{folder / 'report.html'}")


if __name__ == "__main__":
    _command.start("evaluate", main)
