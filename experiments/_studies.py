"""What `bioflax study` does around the engine: compose conditions, deal jobs, tell the time left, collect and render."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioflax.experiments import _command

from bioflax.configuration import as_text, build, explain
from bioflax.errors import InputError

RUN = ("store", "model", "only", "workers", "vectorize", "dry_run")  # how a study is run; the rest is what it is


@dataclass(frozen=True)
class PreparedStudy:
    """A planned study: its plan, where it lives, and what is still to be done, dealt into the jobs of a sweep."""

    plan: Any
    folder: Path
    store: Path
    groups: list[list[Any]]
    dry_run: bool


def prepare(config: Any) -> PreparedStudy:
    """Composes all conditions, writes `study.json` and `plan.json`, and finds what is missing."""
    from omegaconf import OmegaConf

    if OmegaConf.select(config, "study") is None:
        raise InputError(f"study: none was named. Take one of: {', '.join(sorted(known()))}.")
    settings = OmegaConf.to_container(config.study, resolve=True, throw_on_missing=True)
    how = {name: settings.pop(name) for name in RUN}
    folder, store = Path(str(config.run_dir)), Path(os.path.normpath(str(how["store"])))
    workers = _command.whole("study.workers", how["workers"], least=1)
    dry_run = _command.flag("study.dry_run", how["dry_run"])
    if how["vectorize"] not in (True, False, "auto"):
        raise InputError(f"study.vectorize: expected true, false or auto, found {how['vectorize']!r}.")
    if how["model"] is not None:
        settings |= {"train": [], "rows": {}, "helps": {}, "seeds": 1, "given": str(how["model"])}
    from bioflax.studies import chosen, is_done, make_plan, write_plan

    plan = make_plan(build(settings, "study"), compose, lambda failure: explain(failure)[1])
    plan.study["command"] = command(settings["size"])
    broken = [test["error"] for test in plan.tests.values()]
    if all(broken):  # a fault of the base, not of a condition
        raise InputError(broken[0])
    if not dry_run:
        write_plan(plan, folder)
    only = [how["only"]] if isinstance(how["only"], str) else how["only"]
    wanted = only or [job.id for job in plan.jobs]
    jobs = [job for job in chosen(plan, wanted) if not all(is_done(folder, point) for point in job.points)]
    return PreparedStudy(plan, folder, store, deal(jobs, workers, how["vectorize"]), dry_run)


def command(size: str) -> str:
    """The line that repeats a study, wherever it is run."""
    from hydra.core.hydra_config import HydraConfig

    given = [
        part for part in HydraConfig.get().overrides.task if not part.startswith(("run_dir=", "study.only=", "debug="))
    ]
    sized = [] if any(part.startswith("study.size=") for part in given) else [f"study.size={size}"]
    return shlex.join(["bioflax", "study", *given, *sized])


def known() -> list[str]:
    """Names of the studies that ship."""
    from importlib import resources

    files = resources.files("bioflax.conf").joinpath("study").iterdir()
    return [file.name[:-5] for file in files if file.name.endswith(".yaml") and not file.name.startswith("_")]


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """Settings of `bioflax train` under these overrides, plain and resolved."""
    import hydra
    from omegaconf import OmegaConf

    config = hydra.compose("train", overrides=[as_text(part) for part in overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def deal(jobs: Sequence[Any], workers: int | None, vectorize: Any) -> list[list[Any]]:
    """Jobs as those of the sweep: one each, dealt into `workers` parts, or the seeds of a row together."""
    if vectorize is True:
        groups: dict[str, list[Any]] = {}
        for job in jobs:
            groups.setdefault(job.points[0].row if job.models else job.id, []).append(job)
        parts = list(groups.values())
    else:
        parts = [[job] for job in jobs]
    if workers is None:
        return parts
    return [[job for part in parts[n::workers] for job in part] for n in range(min(workers, len(parts)))]


def run_jobs(folder: Path, store: Path, ids: Sequence[str], vectorize: Any) -> None:
    """Does jobs of the plan in `folder`, one after another, and tells how far the study is."""
    from bioflax.ops.memory import keep_compiled
    from bioflax.studies import Engine, chosen, read_plan
    from bioflax.studies.progress import progress_line
    from bioflax.studies.trained import train_together

    plan, store = read_plan(folder), Path(os.path.normpath(store))
    keep_compiled(store / ".compiled")
    quiet = multiprocessing.current_process().name != "MainProcess"  # bars of several processes overwrite one another
    engine = Engine(plan, folder, store, build_parts, build, lambda failure: explain(failure)[1], quiet)
    jobs = chosen(plan, ids)
    if vectorize is not False:
        train_together(store, [spec for job in jobs for spec in job.models], build_parts, forced=vectorize is True)
    for job in jobs:
        engine.run(job)
        print(progress_line(plan, folder, job), flush=True)


def build_parts(config: dict[str, Any]) -> Any:
    """The parts of a training from its settings."""
    from flax import nnx

    from bioflax.studies.trained import Parts

    hardware, task, data = (build(config[name], name) for name in ("hardware", "task", "data"))
    model = build(config["model"], rngs=nnx.Rngs(config["seed"]))
    return Parts(hardware, task, data, model, build(config["optim"], "optim"))


def claim_device() -> None:
    """Beside other jobs of a sweep: a device of its own where there are several, and no grab of all its memory."""
    import re
    from glob import glob

    name = multiprocessing.current_process().name
    number = re.search(r"(\d+)$", name)
    if name == "MainProcess" or number is None:
        return
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if "CUDA_VISIBLE_DEVICES" in os.environ else None
    devices = devices or [str(n) for n in range(len(glob("/dev/nvidia[0-9]*")))]
    if len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[(int(number.group()) - 1) % len(devices)]


def tell(prepared: PreparedStudy) -> None:
    """What a run would do."""
    from bioflax.studies.estimate import estimate

    print(estimate(prepared.plan, prepared.folder, prepared.store, prepared.groups, build_parts))


def finish(prepared: PreparedStudy) -> bool:
    """Collects, writes table, envelope and page, puts the envelope into the models' cards; returns whether all is there."""
    from bioflax.studies.collect import collect, write_table
    from bioflax.studies.publish import publish_envelope

    results = collect(prepared.folder)
    write_table(results, prepared.folder / "table.csv")
    publish_envelope(results, prepared.folder, prepared.store)
    try:
        from bioflax.studies.report import render_study

        print(f"report: {render_study(prepared.folder)}")
    except InputError as missing:  # a plain install draws nothing; the table is there
        print(f"no report: {missing}")
    failed = results.failed
    if failed:
        print(
            f"bioflax study: {len(failed)} of {len(prepared.plan.points)} points failed, the page shows the holes. The first: "
            f"{failed[0].error} The same command tries them once more.",
            file=sys.stderr,
        )
    return not failed
