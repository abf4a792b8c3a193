"""Trains a model: config -> task, data, model, optimiser -> loop -> model folder, result, report."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import hydra
from bioflax.experiments import _command

from bioflax.configuration import build, check_arguments

PROCESSES = ("coordinator", "processes", "process")


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="train")
@_command.collected
def main(config: Any) -> None:
    """One training run."""
    plain, overrides, folder = _command.settings(config)
    _command.prepare_compute()
    from flax import nnx

    from bioflax.hub.publish import check_prepared, check_settings, publish
    from bioflax.runs import Run, is_finished
    from bioflax.train import distributed, fit

    check_arguments(fit, {**plain["train"], "seed": plain["seed"]}, "train")
    check_settings(plain)
    hardware = build(plain["hardware"], "hardware")
    hardware.join()  # before anything is computed
    # Who the processes are belongs to the moment: the run goes on whatever their number and address.
    plain["hardware"] = {name: value for name, value in plain["hardware"].items() if name not in PROCESSES}
    task, data = (build(plain[name], name) for name in ("task", "data"))
    model = build(plain["model"], rngs=nnx.Rngs(plain["seed"]))
    optimizer = build(plain["optim"], "optim")
    hardware.check_batch(plain["train"]["batch"])
    writes = distributed.is_first()
    if distributed.told(writes and is_finished(folder, "train", plain)):
        print(f"{folder} is finished with these settings. Delete it to train again.")
        return
    with contextlib.ExitStack() as stack:
        run = Run(folder, "train", plain, overrides, keep_config=True)
        distributed.enter_first(stack, run)
        run.result.update(
            task=plain["task"]["_target_"].rpartition(".")[2].lower(), experiment=_command.experiment_name()
        )
        prepared = data.prepare(
            task.mode,
            task.augment,
            spatial_dims=model.spatial_dims,
            seed=plain["seed"],
            batch=plain["train"]["batch"],
        )
        check_prepared(model, task, prepared)
        fitted = fit(
            model,
            task,
            prepared.source,
            optimizer,
            run_dir=folder,
            seed=plain["seed"],
            validation=prepared.validation,
            hardware=hardware,
            **plain["train"],
        )
        distributed.leave()
        if fitted.interrupted and writes:
            run.fail(
                f"interrupted by {fitted.interrupted} at step {fitted.step}; start the same command again to go on",
                steps=fitted.step,
            )
            print(f"Saved at step {fitted.step}. Start the same command again to go on.")
        if fitted.interrupted:
            raise SystemExit(128 + signal.Signals[fitted.interrupted])
        if writes:
            publish(run, model, task, prepared, fitted, plain)


if __name__ == "__main__":
    _command.start("train", main)
