"""The envelope: under which conditions is a model about as good as one that was made for them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.studies.results import Results, RowInfo, TestInfo, is_number
from bioflax.studies.statistics import aim, interval

SCHEMA = 1
RESAMPLES = 2000


def measure_envelope(results: Results, share: float = 0.9) -> dict[str, Any]:
    """Levels of every factor, and of crossed factors, at which each model row keeps its quality.

    A level is kept where the metric is no worse than `share` of that of the matched condition (`Results.matched`): at
    least share x matched where higher is better, at most matched / share where lower is; of a metric in dB at least
    matched + 20 log10(share), so that the RMSE below it grows by no more than 1 / share.

    Args:
        results: of `collect`.
        share: of the matched condition's quality, in (0, 1].

    Returns:
        Plain JSON: `rule` in words and for every row `matched` (the reference test's), `factors` and `pairs`. `range` is
        the unbroken run of kept levels around the level the row was made at, [lowest, highest], None where that level
        is not kept; of names all kept ones. `range_interpolated` goes on to where the curve meets the limit.

    Raises:
        InputError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"share: expected a number in (0, 1], found {share}. Use 0.9 for 90 % of the quality.")
    return {
        "schema": SCHEMA,
        "study": results.study["name"],
        "metric": results.metric,
        "share": share,
        "rule": _say_rule(results, share),
        "rows": {row.name: _measure_row(results, row, share) for row in results.trained},
    }


def find_limit(results: Results, matched: float, share: float) -> float:
    """The worst value of the study's metric that is still kept."""
    if results.lower_is_better:
        return aim(matched, 1 / share, results.metric.endswith("_db"))
    return aim(matched, share, results.metric.endswith("_db"))


def _measure_row(results: Results, row: RowInfo, share: float) -> dict[str, Any]:
    name, test = results.matched(row.name, results.tests[0])
    swept = [factor for factor in results.study["factors"] if len(results.sweep(factor)) > 1]
    return {
        "matched": {"row": name, "test": test, "value": _value(results, name, test)},
        "factors": {factor: _measure_factor(results, row, factor, share) for factor in swept},
        "pairs": {f"{a} x {b}": _measure_pair(results, row, a, b, share) for a, b in results.crossed()},
    }


def _measure_factor(results: Results, row: RowInfo, factor: str, share: float) -> dict[str, Any]:
    about = results.study["factors"][factor]
    # A reference that sets nothing is no level of the factor
    tests = [test for test in results.sweep(factor) if results.level(test, factor) is not None]
    levels = [results.level(test, factor) for test in tests]
    found = {"label": about.get("label", factor), "unit": about.get("unit", ""), "levels": levels}
    found |= _judge(results, row, tests, share)
    tallies = [results.tally(row.name, test) for test in tests]
    ends = [interval(t, results.study.get("level", 0.95), RESAMPLES) if t else (None, None) for t in tallies]
    found |= {"low": [_finite(low) for low, _ in ends], "high": [_finite(high) for _, high in ends]}
    if not all(map(is_number, levels)):
        return found | {"range": [level for level, kept in zip(levels, found["kept"]) if kept]}
    first, last = _run_around(found["kept"], _home(results, row, factor, levels)) or (None, None)
    if first is None:
        return found | {"range": None, "range_interpolated": None}
    outer = [_meet(found, results, share, inner, step, about.get("log")) for inner, step in ((first, -1), (last, 1))]
    return found | {"range": sorted([levels[first], levels[last]]), "range_interpolated": sorted(outer)}


def _measure_pair(results: Results, row: RowInfo, a: str, b: str, share: float) -> dict[str, Any]:
    levels = [[results.level(test, name) for test in results.sweep(name)] for name in (a, b)]
    grid = [[results.find({a: one, b: other}) for other in levels[1]] for one in levels[0]]
    lines = [_judge(results, row, line, share) for line in grid]
    found = {name: [line[name] for line in lines] for name in ("values", "matched_values", "kept")}
    return {"factors": [a, b], "levels": levels, **found}


def _judge(results: Results, row: RowInfo, tests: Sequence[TestInfo | None], share: float) -> dict[str, list[Any]]:
    """Value, matched value and whether it is kept, of each test; a test without a result is not kept."""
    values = [test and _value(results, row.name, test.id) for test in tests]
    matched = [test and _value(results, *results.matched(row.name, test)) for test in tests]
    kept = [
        value is not None and other is not None and bool(_excess(results, value, other, share) >= 0)
        for value, other in zip(values, matched)
    ]
    return {"values": values, "matched_values": matched, "kept": kept}


def _excess(results: Results, value: float, matched: float, share: float) -> float:
    """How far a value lies on the good side of its limit; above 0 is kept."""
    beyond = value - find_limit(results, matched, share)
    # The matched condition itself is always kept, whatever the sign of the metric
    return max(-beyond if results.lower_is_better else beyond, 0.0 if value == matched else -np.inf)


def _home(results: Results, row: RowInfo, factor: str, levels: Sequence[float]) -> int:
    """The level that the row was made at, or the reference; the first where neither was tested."""
    home = results.trained_at(row, factor)
    return levels.index(home) if home in levels else 0


def _run_around(kept: Sequence[bool], home: int) -> tuple[int, int] | None:
    if not kept or not kept[home]:
        return None
    first = last = home
    while first > 0 and kept[first - 1]:
        first -= 1
    while last + 1 < len(kept) and kept[last + 1]:
        last += 1
    return first, last


def _meet(found: dict[str, Any], results: Results, share: float, inner: int, step: int, log: bool | None) -> float:
    """Where the curve meets its limit between the last kept level and the next; the kept level where nothing is known."""
    levels, outer = found["levels"], inner + step
    if not 0 <= outer < len(levels) or found["values"][outer] is None or found["matched_values"][outer] is None:
        return levels[inner]
    near, far = (_excess(results, found["values"][i], found["matched_values"][i], share) for i in (inner, outer))
    part = near / (near - far)
    a, b = (np.log(levels[i]) if log else levels[i] for i in (inner, outer))
    met = a + part * (b - a)
    return float(np.exp(met) if log else met)


def _value(results: Results, row: str, test: str) -> float | None:
    tally = results.tally(row, test)
    return None if tally is None else _finite(tally.value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _say_rule(results: Results, share: float) -> str:
    name = results.metric
    if name.endswith("_db"):
        less = abs(20 * np.log10(share))
        limit = f"at most {less:.2f} dB worse than"
    elif results.lower_is_better:
        limit = f"at most {1 / share:.2f} times that of"
    else:
        limit = f"at least {share:.2f} times that of"
    return f"kept where {name} is {limit} the matched condition: the row trained at that level, or the row itself at the reference"
