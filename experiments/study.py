"""A limitation study: conditions -> jobs of a Hydra sweep -> points -> table, envelope, page. Goes on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command, _studies

from bioflax.configuration import FAILURES
from bioflax.errors import InputError


def main() -> None:
    """One study: plan it, sweep over what is missing, collect and render."""
    overrides, found = sys.argv[1:], []

    @hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="study")
    @_command.collected
    def prepare(config: Any) -> None:
        found.append(_studies.prepare(config))

    prepare()
    if not found:  # it failed, or was --help, --cfg and the like
        return
    prepared = found[0]
    if prepared.dry_run:
        _studies.tell(prepared)
        return
    if prepared.groups:
        swept = ",".join(f"[{','.join(job.id for job in group)}]" for group in prepared.groups)
        sys.argv = [sys.argv[0], "-m", *overrides, f"study.only={swept}"]
        work()
    complete = _studies.finish(prepared)
    if FAILURES:  # a job that broke before it could write what broke
        raise FAILURES[0]
    if not complete:
        raise SystemExit(1)


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="study")
@_command.collected
def work(config: Any) -> None:
    """One job of the sweep, or a few."""
    _studies.claim_device()
    _command.prepare_compute()
    folder, settings = Path(str(config.run_dir)), config.study
    if settings.only is None:
        raise InputError("study.only: expected a list of jobs.")
    _studies.run_jobs(folder, Path(str(settings.store)), list(settings.only), settings.vectorize)


if __name__ == "__main__":
    _command.start("study", main)
