"""From a study to jobs: every condition composed, every model and every point named by a hash of what defines it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bioflax.errors import InputError
from bioflax.hub.store import read_card
from bioflax.runs import FREE, plain
from bioflax.studies.judges import make_judge
from bioflax.studies.options import split_options
from bioflax.studies.study import Condition, Study

Compose = Callable[[Sequence[str]], dict[str, Any]]
# Settings that do not change what is learned, up to rounding: a model is the same model without them.
BESIDE = (*FREE, "name", "hardware")
MEMBER = 100  # seed of member j of an ensemble: seed + 100 j
JUDGED = 1  # raise it when a judge changes what it computes, so that no old point stands for a new one
DIGITS = 12


@dataclass(frozen=True)
class Spec:
    """One model to train.

    Attributes:
        hash: of all that defines it.
        config: composed settings of `bioflax train`; None where they cannot be composed.
        freeze: patterns of parameters that stay as they are.
        start: the model whose weights it starts from.
        error: why there is no config.
        given: where it lies if it was trained elsewhere.
        overrides: of `bioflax train`, that train it again.
    """

    hash: str
    config: dict[str, Any] | None
    freeze: tuple[str, ...] = ()
    start: Spec | None = None
    error: str | None = None
    given: str | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """One cell of the study's table: a row (None: classical rivals and bounds) of one seed under one test condition."""

    hash: str
    row: str | None
    test: str
    seed: int | None


@dataclass(frozen=True)
class Job:
    """What is done in one piece: the models of a row of one seed and all their points, or the rivals of one condition."""

    id: str
    name: str
    models: tuple[Spec, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plan:
    """A study with all that it takes to run it; plain JSON in `plan.json`."""

    study: dict[str, Any]
    tests: dict[str, dict[str, Any]]
    jobs: tuple[Job, ...]

    @property
    def points(self) -> list[Point]:
        """All of them."""
        return [point for job in self.jobs for point in job.points]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"study": self.study, "tests": self.tests, "jobs": [asdict(job) for job in self.jobs]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Plan:
        """Back from plain JSON."""
        jobs = [
            Job(
                job["id"],
                job["name"],
                tuple(_spec_from(spec) for spec in job["models"]),
                tuple(Point(**point) for point in job["points"]),
            )
            for job in found["jobs"]
        ]
        return cls(found["study"], found["tests"], tuple(jobs))


def make_plan(study: Study, compose: Compose, explain: Callable[[Exception], str]) -> Plan:
    """Composes every condition of a study; one that cannot be composed becomes points that say why.

    Args:
        study: the study.
        compose: overrides of `bioflax train` -> plain settings.
        explain: an exception in one line.
    """

    @functools.cache  # the seeds of a row differ in nothing but the seed, and composing takes a tenth of a second
    def composed(overrides: tuple[str, ...]) -> tuple[dict[str, Any] | None, str | None]:
        try:
            return plain(compose(overrides)), None
        except Exception as failure:
            return None, explain(failure)

    rows, tests = study.conditions(), study.tests()
    conditions = {}
    for test in tests:
        config, error = composed(test.overrides)
        asked = {"data": config["data"], "task": config["task"]} if config else {"overrides": list(test.overrides)}
        conditions[test.id] = {**asked, "options": dict(test.options), "error": error}

    def point(models: Sequence[Spec], row: str | None, test: Condition, seed: int | None) -> Point:
        method = [spec.hash for spec in models] if models else list(study.baselines)
        judged = {"judged": JUDGED, "task": study.task, "items": study.items, "test_seed": study.test_seed}
        judged |= {"metrics": [study.metric, *study.more], "picture": seed == 0, "costs": study.costs}
        return Point(digest([conditions[test.id], conditions["t0"], judged, method]), row, test.id, seed)

    jobs = [
        Job(f"rivals-{point((), None, test, None).hash}", f"rivals, {test.name}", (), (point((), None, test, None),))
        for test in tests
    ]
    for row in rows:
        for seed in range(study.seeds):
            models = (_given(study.given),) if study.given is not None else _models(row, seed, composed)
            points = tuple(point(models, row.id, test, seed) for test in tests)
            jobs.append(
                Job(f"{row.id}-{seed}-{digest([p.hash for p in points])}", f"{row.name}, seed {seed}", models, points)
            )
    lower = make_judge(study.task).lower_is_better
    better = {"better": "lower" if study.metric in lower else "higher", "lower_is_better": sorted(lower)}
    definition = {"schema": 1, **study.to_json(), **better, "rows": [_described(row) for row in rows]}
    definition["tests"] = [_described(test) for test in tests]
    definition["points"] = [asdict(one) for job in jobs for one in job.points]
    return Plan(plain(definition), plain(conditions), tuple(jobs))


def digest(value: Any) -> str:
    """Short sha256 of plain JSON."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _given(model: str) -> Spec:
    """A model from elsewhere, named by its files' digests."""
    return Spec(digest(read_card(model).sha256), None, given=model)


def _models(row: Condition, seed: int, composed: Callable[..., Any]) -> tuple[Spec, ...]:
    members = row.options.get("members", 1)
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise InputError(f"fit.members: expected a whole number of at least 1, found {members!r}.")
    return tuple(_spec(row.overrides, row.options, seed + MEMBER * member, composed) for member in range(members))


def _spec(overrides: Sequence[str], options: Mapping[str, Any], seed: int, composed: Callable[..., Any]) -> Spec:
    config, error = composed(tuple(overrides))
    config = config and {**config, "seed": seed}
    start = None
    if options.get("start") is not None:
        first, fit, _ = split_options(_texts("fit.start", options["start"]))
        start = _spec(first, fit, seed, composed)
        error = error or start.error
    freeze = _texts("fit.freeze", options.get("freeze") or [])
    learned = {name: value for name, value in (config or {"overrides": list(overrides)}).items() if name not in BESIDE}
    parts = [learned, list(freeze), start.hash if start else None]
    again = (*overrides, f"seed={seed}")
    return Spec(digest(parts), config if error is None else None, freeze, start, error, overrides=again)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{name}: expected a list of texts, found {value!r}.")
    return tuple(value)


def _described(condition: Condition) -> dict[str, Any]:
    found = asdict(condition)
    if condition.kind == "test":
        del found["kind"]
    return found | {"overrides": list(condition.overrides), "levels": dict(condition.levels)}


def _spec_from(found: Mapping[str, Any] | None) -> Spec | None:
    if found is None:
        return None
    return Spec(
        found["hash"],
        found["config"],
        tuple(found["freeze"]),
        _spec_from(found["start"]),
        *(found[name] for name in ("error", "given")),
        tuple(found["overrides"]),
    )
