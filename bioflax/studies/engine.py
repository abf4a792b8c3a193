"""Runs the jobs of a study: train or take from the store, judge, write every point, and go on after a failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.io.aside import written_aside
from bioflax.runs import Run, plain, write_text
from bioflax.studies.costs import measure_costs
from bioflax.studies.judges import make_judge
from bioflax.studies.plan import Job, Plan, Point
from bioflax.studies.trained import Build, obtain

KEPT = 64  # drawn test sets that one process keeps
_drawn: dict[str, Any] = {}


@dataclass(frozen=True)
class Engine:
    """All that a job needs beside the plan.

    Args:
        plan: of the study.
        folder: of the study; a point is `points/<hash>/`.
        store: folder of the trained models, shared by studies.
        build: settings -> the parts of a training.
        build_node: a node such as `data` and its name -> the object.
        explain: an exception in one line.
        quiet: no progress bar of the trainings.
    """

    plan: Plan
    folder: Path
    store: Path
    build: Build
    build_node: Callable[[Any, str], Any]
    explain: Callable[[BaseException], str]
    quiet: bool = True

    def missing(self, job: Job) -> list[Point]:
        """Points of a job that have no good result."""
        return [point for point in job.points if not is_done(self.folder, point)]

    def run(self, job: Job) -> list[Point]:
        """Does what is missing of a job; what fails is written down, and the rest goes on.

        Returns:
            The points that failed.

        Raises:
            SystemExit, KeyboardInterrupt: somebody asked to stop.
        """
        missing = self.missing(job)
        if not missing:
            return []
        begun = time.monotonic()
        try:
            models = [obtain(self.store, spec, self.build, quiet=self.quiet) for spec in job.models]
            config = job.models[0].config if job.models else None
            task = self.build_node(config["task"], "task") if config else None
        except Exception as failure:
            for point in missing:
                self._fail(job, point, failure)
            return missing
        took = {"train": time.monotonic() - begun}
        failed = []
        for point in missing:
            try:
                self._judge(job, point, models, task, took)
            except Exception as failure:
                self._fail(job, point, failure)
                failed.append(point)
        return failed

    def _judge(self, job: Job, point: Point, models: list[Any], task: Any, took: dict[str, float]) -> None:
        study, judge = self.plan.study, make_judge(self.plan.study["task"])
        options = self._options(judge, point.test)
        with self._open(job, point) as run:
            begun = time.monotonic()
            task, tests = task or self._node("task", point.test), self._tests(judge, point.test)
            if job.models:
                judged = judge.score(models, task, tests, options)
                _check_metrics(judged.tallies, study["metric"])
                fields, items = {"metrics": _values(judged.tallies)}, {"tallies": _plain(judged.tallies)}
                fields["cost"] = measure_costs(models, self._trainings(job), study["costs"] and point.test == "t0")
                fields |= {"model": models[0].card.name, "models": [spec.hash for spec in job.models]}
                if point.seed == 0:
                    _save_picture(run.folder, judged.picture)
            else:
                rivals = judge.rivals(tests, task, study["baselines"], options)
                fields, items = (
                    {"baselines": {n: act(one) for n, one in rivals.baselines.items()}, "bounds": act(rivals.bounds)}
                    for act in (_values, _plain)
                )
            write_text(run.folder / "items.json", json.dumps(plain(items)) + "\n")
            run.finish(seconds={**took, "evaluate": time.monotonic() - begun}, per_item="items.json", **fields)
        took.clear()  # the training is counted once, at the first point that it serves

    def _open(self, job: Job, point: Point) -> Run:
        study = self.plan.study
        settings = {"seed": point.seed}
        run = Run(self.folder / "points" / point.hash, "study", settings, write_config=False)
        run.result.update(task=study["task"], experiment=study["name"], row=point.row, test=point.test, name=job.name)
        return run

    def _fail(self, job: Job, point: Point, failure: BaseException) -> None:
        with self._open(job, point) as run:
            run.fail(self.explain(failure))

    def _trainings(self, job: Job) -> list[dict[str, Any]]:
        if any(spec.given for spec in job.models):
            return [{} for _ in job.models]
        return [json.loads((self.store / spec.hash / "result.json").read_text()) for spec in job.models]

    def _node(self, name: str, test: str) -> Any:
        condition = self.plan.tests[test]
        if condition["error"]:
            raise InputError(condition["error"])
        return self.build_node(condition[name], name)

    def _options(self, judge: Any, test: str) -> dict[str, Any]:
        """Options of the judge; for one that asks, with the data of the reference condition: what a user would believe in."""
        options = dict(self.plan.tests[test]["options"])
        if getattr(judge, "believes", False) and self.plan.tests["t0"]["error"] is None:
            options["believed"] = self._node("data", "t0")
        return options

    def _tests(self, judge: Any, test: str) -> Any:
        study = self.plan.study
        drawn_from = [study["task"], self.plan.tests[test], self.plan.tests["t0"], study["items"], study["test_seed"]]
        key = json.dumps(drawn_from, sort_keys=True)
        if key not in _drawn:
            data, task = self._node("data", test), self._node("task", test)
            drawn = judge.draw(data, task, study["items"], study["test_seed"], self._options(judge, test))
            while len(_drawn) >= KEPT:
                _drawn.pop(next(iter(_drawn)))
            _drawn[key] = drawn
        return _drawn[key]


def is_done(folder: Path, point: Point) -> bool:
    """Whether a point has a good result."""
    try:
        return json.loads((folder / "points" / point.hash / "result.json").read_text())["status"] == "ok"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_plan(folder: Path) -> Plan:
    """The plan that the study's first process wrote."""
    try:
        return Plan.from_json(json.loads((folder / "plan.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise InputError(
            f"run_dir: {folder / 'plan.json'} cannot be read ({failure}). Start the study again."
        ) from None


def write_plan(plan: Plan, folder: Path) -> None:
    """Writes `study.json`, which the report reads, and `plan.json`, which the jobs read."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "plan.json", json.dumps(plan.to_json()) + "\n")
    write_text(folder / "study.json", json.dumps(plain(plan.study), indent=1) + "\n")


def chosen(plan: Plan, ids: Iterable[str]) -> list[Job]:
    """The jobs of these names."""
    jobs = {job.id: job for job in plan.jobs}
    unknown = [one for one in ids if one not in jobs]
    if unknown:
        raise InputError(f"study.only: there is no job {unknown[0]!r}. See them with study.dry_run=true.")
    return [jobs[one] for one in ids]


def _values(tallies: dict[str, Any]) -> dict[str, float]:
    return {name: tally.value for name, tally in tallies.items()}


def _plain(tallies: dict[str, Any]) -> dict[str, Any]:
    return {name: tally.to_json() for name, tally in tallies.items()}


def _check_metrics(tallies: dict[str, Any], metric: str) -> None:
    if metric not in tallies:
        raise InputError(f"study.metric: {metric!r} is not what this task measures. Take one of: {', '.join(tallies)}.")


def _save_picture(folder: Path, panels: dict[str, Any]) -> None:
    import numpy as np

    if panels:
        with written_aside(folder / "picture.npz") as aside, open(aside, "wb") as stream:
            np.savez_compressed(stream, **{name: np.asarray(panel, np.float32) for name, panel in panels.items()})
