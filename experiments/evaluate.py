"""Judges a model against targets, beside classical filters and oracle bounds."""

from __future__ import annotations

from typing import Any

import hydra

from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="evaluate")
def main(config: Any) -> None:
    """One evaluation."""
    plain, overrides, folder = _command.settings(config)
    from bioflax import hub
    from bioflax.evaluation import evaluate_files
    from bioflax.report import render_evaluation
    from bioflax.runs import Run

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
        )
        run.finish(
            task=model.card.task,
            metrics=result.metrics,
            bounds=result.bounds,
            baselines=result.baselines,
            per_item="table.csv",
            model=str(plain["model"]),
            seconds=result.seconds,
            protocol=result.protocol,
        )
        render_evaluation(folder)
        print(f"{folder / 'report.html'}")


if __name__ == "__main__":
    _command.start("evaluate", main)
