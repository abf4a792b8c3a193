"""Every row under every test as one number with its interval, computed once for the whole page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioflax.studies import statistics

RESAMPLES = 2000  # of the intervals that are drawn


@dataclass(frozen=True)
class Cell:
    """One metric of one row under one test.

    Attributes:
        value: over all items and seeds; NaN where no item says anything.
        low, high: of its interval.
        seeds: how many trainings are in it.
    """

    value: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Scores:
    """Cells of one metric by (row name, test id), with the words that a page needs to speak about them."""

    results: Any
    metric: str
    cells: Mapping[tuple[str, str], Cell]

    @property
    def lower_is_better(self) -> bool:
        """Of this metric; that of the question where it is not known better."""
        if self.metric == self.results.study["metric"]:
            return self.results.study["better"] == "lower"
        return any(word in self.metric for word in ("rmse", "error", "width", "ratio", "ence"))

    def at(self, row: str | None, test: str) -> Cell | None:
        return self.cells.get((row, test))

    def better(self, a: float, b: float) -> bool:
        """Whether a is better than b."""
        return a < b if self.lower_is_better else a > b

    def ranked(self, test: str = "", kinds: Sequence[str] = ("train", "help", "rival")) -> list[str]:
        """Names of the rows with a number at a test (the reference where none is named), the best first."""
        test = test or reference_test(self.results)
        found = {
            row.name: self.cells[row.name, test].value
            for row in self.results.rows
            if row.kind in kinds and (row.name, test) in self.cells
        }
        known = {name: value for name, value in found.items() if math.isfinite(value)}
        return sorted(known, key=known.__getitem__, reverse=not self.lower_is_better)


def score(results: Any, metric: str) -> Scores:
    """Values and intervals of one metric for all rows and tests."""
    level, cells = results.study["level"], {}
    for (row, test, name), tally in results.tallies.items():
        if name != metric:
            continue
        low, high = statistics.interval(tally, level=level, resamples=RESAMPLES, seed=0)
        cells[row, test] = Cell(tally.value, low, high, len(tally.by_seed))
    return Scores(results, metric, cells)


def reference_test(results: Any) -> str:
    """The id of the reference condition: the first test."""
    return results.tests[0].id if results.tests else "t0"


def main_row(results: Any) -> str | None:
    """The row that the question is about: trained at the reference level of every factor, else the first that is trained."""
    trained = [row for row in results.rows if row.kind == "train"]
    factors = results.study["factors"]
    for row in trained:
        if all(level == factors[name].get("reference") for name, level in row.levels.items()):
            return row.name
    return trained[0].name if trained else None


def ahead(results: Any, a: tuple[str, str], b: tuple[str, str], metric: str | None = None) -> statistics.Effect | None:
    """How much better (row, test) a is than b on the same items; above 0 is better, whatever the metric.

    Returns:
        None where one of them has no result.
    """
    metric = metric or results.study["metric"]
    tallies = [results.tallies.get((*cell, metric)) for cell in (a, b)]
    if any(tally is None or not math.isfinite(tally.value) for tally in tallies):
        return None
    same = a[0] == b[0] and results.seeds.get(a) == results.seeds.get(b)
    found = statistics.difference(*tallies, level=results.study["level"], resamples=RESAMPLES, same_models=same)
    if Scores(results, metric, {}).lower_is_better:
        return statistics.Effect(-found.value, -found.high, -found.low, found.p)
    return found


def why_missing(results: Any, row: Any, test: str) -> str | None:
    """The reason of a failed point of a row under a test, None where none failed."""
    named = (row.name, row.id) if row.kind not in ("rival", "bound") else (row.name, row.id, None)
    for failure in results.failed:
        if failure.test in (test, None) and failure.row in named:
            return failure.error
    return None


def is_mixed(results: Any, test: str) -> bool:
    """Whether a test moves a factor that rows are trained at to a level where none was: the nearest row stands for it."""
    trained = {name for row in results.rows if row.kind == "train" for name in row.levels}
    info = results.test(test)
    plain = [row for row in results.rows if row.kind == "train" and row.levels]
    exact = any(all(results.trained_at(row, name) == results.level(info, name) for name in trained) for row in plain)
    return bool(set(info.levels) & trained) and not exact
