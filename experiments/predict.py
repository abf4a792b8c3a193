"""Restores images with a trained model."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="predict")
@_command.collected
def main(config: Any) -> None:
    """One folder, file or glob of images."""
    plain, overrides, _ = _command.settings(config)
    _command.prepare_compute()
    from bioflax import hub
    from bioflax.predict.files import output_folder, predict_files, result_name
    from bioflax.runs import Run

    model = hub.load(str(plain["model"]))
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
        )
        run.finish(task=model.card.task, model=str(plain["model"]), files=done.files, seconds=done.seconds)
    print(f"{len(done.files)} file(s) in {plain['output']}")


if __name__ == "__main__":
    _command.start("predict", main)
