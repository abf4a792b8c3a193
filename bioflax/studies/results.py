"""All of a study in one object: what was trained, on what it was tested, and every per-item sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.studies.tally import Tally


@dataclass(frozen=True)
class RowInfo:
    """A way to get results: a training condition, a mitigation, a classical rival or the physical bound.

    Attributes:
        id: its id in study.json; rivals and the bound have their name.
        name: for people; the key of `Results.tallies`.
        kind: `train`, `help`, `rival` or `bound`.
        levels: factor -> level it was trained at.
        overrides: what it changes in the training.
    """

    id: str
    name: str
    kind: str
    levels: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestInfo:
    """A test condition; factors that `levels` does not name stand at their reference."""

    __test__ = False  # not a test case of pytest

    id: str
    name: str
    levels: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A point without a result; `row` is the row's name, None for the rivals and bounds of a test."""

    row: str | None
    test: str
    seed: int | None
    error: str


@dataclass(frozen=True, eq=False)
class Results:
    """All of a study.

    Attributes:
        study: study.json.
        rows: training conditions and mitigations, then rivals, then the bound.
        tests: the first is the reference.
        tallies: (row name, test id, metric) -> sums (S, N); S is 1 for rivals and the bound. A cell of which no seed
            has a result is missing.
        seeds: (row name, test id) -> the seeds in that order, (None,) for rivals and the bound.
        failed: points without a result.
        cost: row name -> median cost of its points.
        pictures: (row name, test id) -> picture.npz.
    """

    study: Mapping[str, Any]
    rows: tuple[RowInfo, ...]
    tests: tuple[TestInfo, ...]
    tallies: Mapping[tuple[str, str, str], Tally]
    failed: tuple[Failure, ...] = ()
    cost: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pictures: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    seeds: Mapping[tuple[str, str], tuple[int | None, ...]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric of the question."""
        return self.study["metric"]

    @property
    def lower_is_better(self) -> bool:
        """Of the metric of the question."""
        return self.study["better"] == "lower"

    @property
    def trained(self) -> tuple[RowInfo, ...]:
        """Rows of models: training conditions and mitigations."""
        return tuple(row for row in self.rows if row.kind in ("train", "help"))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metric of the question, those that the study adds, then others found."""
        found = sorted({metric for _, _, metric in self.tallies})
        return tuple(dict.fromkeys([self.metric, *self.study.get("more", ()), *found]))

    def row(self, name: str) -> RowInfo:
        """The row of this name."""
        return _pick(self.rows, name, lambda row: row.name, "row")

    def test(self, name: str | TestInfo) -> TestInfo:
        """The test of this id."""
        return name if isinstance(name, TestInfo) else _pick(self.tests, name, lambda test: test.id, "test")

    def tally(self, row: str, test: str | TestInfo, metric: str | None = None) -> Tally | None:
        """Sums of a cell; None where it has no result."""
        return self.tallies.get((row, self.test(test).id, metric or self.metric))

    def level(self, test: str | TestInfo, factor: str) -> Any:
        """Level of the factor in that test: the swept one, or the factor's reference (None: nothing is set)."""
        factors = self.study["factors"]
        if factor not in factors:
            raise InputError(f"factor: {factor!r} is not in the study. Take one of: {', '.join(factors)}.")
        return self.test(test).levels.get(factor, factors[factor].get("reference"))

    def find(self, levels: Mapping[str, Any]) -> TestInfo | None:
        """The test at these levels and at the reference of every other factor; None where it was not made."""
        wanted = {name: levels.get(name, about.get("reference")) for name, about in self.study["factors"].items()}
        same = (test for test in self.tests if all(self.level(test, name) == wanted[name] for name in wanted))
        return next(same, None)

    def sweep(self, factor: str) -> list[TestInfo]:
        """Tests along this factor alone, the reference included, in the order of the study's levels.

        A reference that is not among the levels goes to its place between numbers, otherwise it comes first.
        """
        about = self.study["factors"]
        reference = self.level(self.tests[0], factor)
        levels = list(about[factor]["levels"])
        if reference not in levels:
            number = all(is_number(level) for level in [reference, *levels])
            levels = sorted([reference, *levels]) if number else [reference, *levels]
        found = (self.find({factor: level}) for level in levels)
        return [test for test in found if test is not None]

    def crossed(self) -> list[tuple[str, str]]:
        """Pairs of factors that were crossed."""
        order = list(self.study["factors"])
        pairs = [tuple(sorted(test.levels, key=order.index)) for test in self.tests if len(test.levels) == 2]
        return list(dict.fromkeys(pairs))

    def matched(self, row: str, test: str | TestInfo) -> tuple[str, str]:
        """The condition that a result is held against: (row name, test id).

        The training condition that equals the test in every factor the rows were trained at, in that same test, or comes
        nearest to it where the levels are numbers; where there is none, or the test changes a factor that no row was
        trained at, the row itself at the reference.
        """
        test = self.test(test)
        plain = [info for info in self.rows if info.kind == "train" and info.levels]
        factors = {name for info in plain for name in info.levels}
        moved = {name for name in test.levels if self.level(test, name) != self.level(self.tests[0], name)}
        if factors and moved <= factors:
            far = {info.name: self._distance(info, test, factors) for info in plain}
            nearest = min(far, key=far.__getitem__)
            if math.isfinite(far[nearest]):
                return nearest, test.id
        return row, self.tests[0].id

    def _distance(self, row: RowInfo, test: TestInfo, factors: set[str]) -> float:
        """Between the levels that a row was trained at and those of a test; names are equal or infinitely far."""
        total = 0.0
        for name in factors:
            trained, tested = self.trained_at(row, name), self.level(test, name)
            if trained == tested:
                continue
            numbers = [trained, tested]
            if any(isinstance(one, (str, bool)) or one is None for one in numbers):
                return math.inf
            if self.study["factors"][name].get("log") and min(numbers) > 0:
                numbers = [math.log(one) for one in numbers]
            total += abs(numbers[0] - numbers[1])
        return total

    def trained_at(self, row: RowInfo, factor: str) -> Any:
        """Level of the factor in the training of the row: its own, or the factor's reference."""
        return row.levels.get(factor, self.study["factors"][factor].get("reference"))


def is_number(level: Any) -> bool:
    """True for a level on a scale, False for a name or None."""
    return isinstance(level, (int, float)) and not isinstance(level, bool)


def _pick(entries: Sequence[Any], name: str, key: Callable[[Any], str], what: str) -> Any:
    for entry in entries:
        if key(entry) == name:
            return entry
    raise InputError(f"{what}: {name!r} is not in the study. Take one of: {', '.join(map(key, entries))}.")
