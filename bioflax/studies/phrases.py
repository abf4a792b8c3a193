"""Phrases about rows and tests, which the answer, the tables and the captions share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bioflax.studies.scores import RESAMPLES
from bioflax.studies.statistics import interval
from bioflax.studies.wording import is_number, level_text, level_with_unit, listed, with_interval


def who(results: Any, row: str) -> str:
    """`trained at 30 photons, the model`; rows without a level by their name."""
    found = next(info for info in results.rows if info.name == row)
    factors = results.study["factors"]
    at = [
        f"{level_with_unit(level, factors[name])}" if factors[name].get("unit") and is_number(level)
        else f"{factors[name].get('label') or name} {level_text(level)}"
        for name, level in found.levels.items()
    ]  # fmt: skip
    return f"trained at {listed(at)}, the model" if at else "the model" if row == "reference" else f"the model {row!r}"


def short(value: float) -> str:
    """Three digits are enough for what was interpolated."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span(levels: Sequence[Any], factor: Mapping[str, Any]) -> str:
    """`3 to 300 photons`, or the names."""
    if all(map(is_number, levels)):
        return f"{level_text(min(levels))} to {level_with_unit(max(levels), factor)}"
    return listed(map(level_text, levels))


def labels(results: Any, names: Any) -> list[str]:
    return [results.study["factors"][name].get("label") or name for name in names]


def moves_trained(results: Any, test: str) -> bool:
    """Whether a test moves a factor that rows were trained at."""
    trained = {name for row in results.rows if row.kind == "train" for name in row.levels}
    return bool(trained & set(results.test(test).levels))


def gained(claim: Any, sign: int) -> str:
    """A claim as a gain with its interval."""
    low, high = sorted((sign * claim.low, sign * claim.high))
    return with_interval(sign * claim.value, low, high, claim.metric)


def threshold_words(where: Any, factor: Mapping[str, Any]) -> str:
    """`12.1 photons [10.4, 14.0]`; an end beyond the levels is said."""
    if where.value is None:
        return f"not crossed ({where.side})"
    ends = [
        short(where.low) if where.low is not None else "below the range",
        short(where.high) if where.high is not None else "above the range",
    ]
    return f"{short(where.value)} {factor.get('unit') or ''}".rstrip() + f" [{', '.join(ends)}]"


def speaks_for_itself(results: Any, name: str) -> bool:
    """Whether a number with its unit says which factor it is of: the only one with a unit that is tested or trained at."""
    factors = results.study["factors"]
    used = {*(n for test in results.tests for n in test.levels), *(n for row in results.rows for n in row.levels)}
    return bool(factors[name].get("unit")) and used <= {name}


def label_of(results: Any, name: str) -> str:
    """The label of a factor."""
    return results.study["factors"][name].get("label") or name


def test_words(results: Any, test: str) -> str:
    """`at 3 photons`, `with camera hot pixels`, `at the reference`."""
    info, factors = results.test(test), results.study["factors"]
    if not info.levels:
        return "at the reference"
    parts = []
    for name, level in info.levels.items():
        if is_number(level):
            said = level_with_unit(level, factors[name])
            parts.append(f"at {said}" if speaks_for_itself(results, name) else f"at {label_of(results, name)} {said}")
        else:
            parts.append(f"with {factors[name].get('label') or name} {level_text(level)}")
    return listed(parts)


def value_words(results: Any, row: str, test: str) -> str:
    """The value of a cell with its interval."""
    tally = results.tallies[row, test, results.study["metric"]]
    return with_interval(tally.value, *interval(tally, results.study["level"], RESAMPLES), results.study["metric"])


def cells_of(results: Any) -> dict[tuple[str, str], float]:
    """(row, test) -> value of the metric of the question, where there is one."""
    metric = results.study["metric"]
    return {
        (row, test): t.value
        for (row, test, name), t in results.tallies.items()
        if name == metric and math.isfinite(t.value)
    }


def tests_words(results: Any, tests: Sequence[str], most: int = 4) -> str:
    """`at 3, 10 and 30 photons and with camera hot pixels`: levels of one factor are named together."""
    together: dict[str, list[Any]] = {}
    parts = []
    for test in tests:
        levels = results.test(test).levels
        if len(levels) == 1 and all(map(is_number, levels.values())):
            together.setdefault(next(iter(levels)), []).append(next(iter(levels.values())))
        else:
            parts.append(test_words(results, test))
    for name, levels in together.items():
        factor = results.study["factors"][name]
        numbers = f"{listed(map(level_text, levels), 8)} {factor.get('unit') or ''}".rstrip()
        parts.insert(
            0, f"at {numbers}" if speaks_for_itself(results, name) else f"at {label_of(results, name)} {numbers}"
        )
    return listed(parts, most)
