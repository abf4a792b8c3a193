"""What a study would do: its points, the time and the disk that it would take, measured on a few steps."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bioflax.report.page import duration
from bioflax.studies.plan import Job, Plan, Spec
from bioflax.studies.trained import Build, is_trained
from bioflax.train import Hardware, fit

STEPS = 3  # that are timed where no training of the kind has been stored
POINT_BYTES, JUDGED_SECONDS = 60_000, 3.0  # a point on disk; a test condition judged, compilation included


def estimate(plan: Plan, folder: Path, store: Path, groups: Sequence[Sequence[Job]], build: Build) -> str:
    """The points of a study and what is missing of them, in words; nothing is written but a few steps are timed."""
    jobs = [job for group in groups for job in group]
    specs = {spec.hash: spec for job in jobs for spec in _all(job.models)}
    missing = [spec for spec in specs.values() if spec.config is not None and not is_trained(store, spec)]
    lines = [f"{plan.study['name']} ({plan.study['size']}): {plan.study['question']}"]
    tests = {test["id"]: test["name"] for test in plan.study["tests"]}
    for job in plan.jobs:
        mark = "to do" if job in jobs else "done "
        names = [tests[point.test] for point in job.points]
        lines.append(f"  {mark}  {job.id:<26} {job.name}: {', '.join(names)}")
    points = sum(len(job.points) for job in jobs)
    lines.append(f"{points} of {len(plan.points)} points to do, {len(missing)} model(s) to train in {store}")
    bad = [spec for spec in specs.values() if spec.error] + [t for t in plan.tests.values() if t["error"]]
    if bad:
        first = bad[0]
        lines.append(
            f"{len(bad)} condition(s) cannot be composed. The first: {getattr(first, 'error', None) or first['error']}"
        )
    compiled, a_step, size = _time_steps(missing, store, build) if missing else (0.0, 0.0, 0)
    steps = sum(spec.config["train"]["steps"] for spec in missing)
    seconds = len(missing) * compiled + steps * a_step + points * JUDGED_SECONDS
    disk = len(missing) * size + points * POINT_BYTES
    lines.append(
        f"about {duration(seconds)} of work ({steps} steps of {1000 * a_step:.0f} ms), {disk / 1e6:.0f} MB of disk"
    )
    return "\n".join(lines)


def _all(specs: Sequence[Spec]) -> list[Spec]:
    """Models and those that they start from."""
    found = []
    for spec in specs:
        found += [spec, *(_all([spec.start]) if spec.start else [])]
    return found


def _time_steps(missing: Sequence[Spec], store: Path, build: Build) -> tuple[float, float, int]:
    """Seconds to compile, seconds a step, and bytes of a model: of the first that can be built."""
    for spec in missing:
        try:
            parts = build(spec.config)
            plain = Hardware()  # here, not on the machine that the study is meant for
            settings = {
                **spec.config["train"],
                "steps": STEPS * plain.steps_per_call,
                "batch": spec.config["train"]["batch"],
            }
            prepared = parts.data.prepare(
                parts.task.mode,
                parts.task.augment,
                spatial_dims=parts.model.spatial_dims,
                seed=0,
                batch=settings["batch"],
            )
            every = {name: settings["steps"] for name in ("validate_every", "checkpoint_every", "log_every")}
            with tempfile.TemporaryDirectory() as folder:
                fitted = fit(
                    parts.model, parts.task, prepared.source, parts.optimizer,
                    run_dir=folder, hardware=plain, quiet=True, **{**settings, **every},
                )  # fmt: skip
        except Exception:  # this one will fail in the study too, which says why
            continue
        return fitted.seconds["compile"], fitted.seconds["train"] / settings["steps"], 4 * fitted.parameters + 200_000
    return 0.0, 0.0, 0
