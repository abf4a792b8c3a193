"""How far a study is, from its files: any process of the sweep can say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bioflax.report.page import duration
from bioflax.studies.plan import Job, Plan


def progress_line(plan: Plan, folder: Path, job: Job) -> str:
    """One line after a job: points done and failed, the time that the rest takes if it goes on like this."""
    results = {point.hash: _read(folder / "points" / point.hash / "result.json") for point in plan.points}
    good = sum(found.get("status") == "ok" for found in results.values())
    bad = sum(bool(found) and found.get("status") != "ok" for found in results.values())
    mine = [results[point.hash] for point in job.points]
    failed = [found.get("error") for found in mine if found.get("status") != "ok"]
    said = f"failed: {failed[0]}" if failed else "done"
    left = time_left(plan, results)
    ahead = f", about {duration(left)} of work left" if left else ""
    return f"study: {good} of {len(results)} points{f', {bad} failed' if bad else ''}{ahead} | {job.name}: {said}"


def time_left(plan: Plan, results: dict[str, dict]) -> float:
    """Seconds of work in the jobs without result, at the mean of those that have one, of their kind."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for job in plan.jobs:
        found = [results[point.hash] for point in job.points]
        if all(found):
            spent[bool(job.models)].append(
                sum(sum(one.get("seconds", {}).get(k, 0.0) for k in ("train", "evaluate")) for one in found)
            )
    mean = {kind: float(np.mean(values)) if values else 0.0 for kind, values in spent.items()}
    return sum(mean[bool(job.models)] for job in plan.jobs if not all(results[point.hash] for point in job.points))


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
