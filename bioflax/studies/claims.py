"""What a study says: effects of conditions, gains and prices of mitigations, who beats the rivals, where curves cross."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.studies.results import Results, RowInfo, TestInfo, is_number
from bioflax.studies.statistics import Threshold, aim, crossing, difference, holm
from bioflax.studies.tally import Tally

RESAMPLES = 2000
# The least p of a bootstrap is 2 / resamples: enough of them that Holm's correction of m claims leaves it at 0.02.
PER_CLAIM = 100

# Rivals that saw the truth, or its spectrum: nobody could pick them.
ORACLES = ("oracle_wiener", "best_linear", "log_oracle", "dog_oracle")


@dataclass(frozen=True)
class Claim:
    """A paired difference in the metric of the question.

    Attributes:
        kind: `effect` of a condition against the matched one, `help` of a mitigation against a plain row in the same test,
            `rival` against the best classical rival in the same test.
        row, test: name and id of what is judged.
        against_row, against_test: of what it is held against.
        metric: its name.
        value: row less what it is held against; where lower is better, a gain is below 0.
        low, high: interval.
        p, p_adjusted: two-sided, raw and Holm-adjusted.
        verdict: `better` or `worse` where p_adjusted is at most 1 - level and the interval leaves 0 out, else `unclear`.
    """

    kind: str
    row: str
    test: str
    against_row: str
    against_test: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    p_adjusted: float = float("nan")
    verdict: str = "unclear"


@dataclass(frozen=True)
class FoundThreshold:
    """A threshold of study.json in the curve of one row; `target` is the value of the metric that was looked for."""

    name: str
    row: str
    kind: str
    factor: str
    metric: str
    target: float
    threshold: Threshold


def effects(results: Results) -> list[Claim]:
    """Each row under each test against its matched condition; what is its own matched condition is left out.

    Args:
        results: of `collect`.

    Returns:
        Claims in the order of rows and tests. p is adjusted over these and those of `helped` together. Cells without a
        result are left out.
    """
    return [claim for claim in _family(results) if claim.kind == "effect"]


def helped(results: Results) -> list[Claim]:
    """Each mitigation against every plain training row in every test; those in the reference test are its price.

    Args:
        results: of `collect`.

    Returns:
        Claims in the order of mitigations, tests and plain rows, adjusted as those of `effects`.
    """
    return [claim for claim in _family(results) if claim.kind == "help"]


def beats_rival(results: Results) -> list[Claim]:
    """Each model row in each test against the rival that is best there; `verdict` says where the row is better.

    The best rival is chosen on the same items, which favours the rival.

    Args:
        results: of `collect`.

    Returns:
        Claims in the order of rows and tests, p adjusted over them; empty without rivals.
    """
    wanted = []
    for row in results.trained:
        for test in results.tests:
            rival = best_rival(results, test)
            if rival is not None:
                wanted.append(("rival", row.name, test.id, rival, test.id))
    return _compare(results, wanted)


def best_rival(results: Results, test: str | TestInfo) -> str | None:
    """Name of the classical rival that is best in a test, oracles left out; None where none has a value."""
    rivals = [row.name for row in results.rows if row.kind == "rival" and row.name not in ORACLES]
    found = {name: results.tally(name, test) for name in rivals}
    values = {name: tally.value for name, tally in found.items() if tally is not None and np.isfinite(tally.value)}
    choose = min if results.lower_is_better else max
    return choose(values, key=values.__getitem__) if values else None


def thresholds(results: Results) -> list[FoundThreshold]:
    """Where the curves of rows and rivals cross the thresholds of study.json.

    With `of: reference` the target is a share of the row's own value in the reference test (of a metric in dB
    20 log10(share) more), with `of: absolute` a value of the metric.

    Args:
        results: of `collect`.

    Returns:
        One for every threshold and row or rival with a curve, in their order.

    Raises:
        InputError: a factor of names, or an unknown `of`.
    """
    return [
        found
        for wanted in results.study.get("thresholds", ())
        for row in results.rows
        if row.kind != "bound" and wanted.get("row") in (None, row.name, row.id)
        if (found := _find_threshold(results, row, wanted)) is not None
    ]


def _find_threshold(results: Results, row: RowInfo, wanted: Mapping[str, Any]) -> FoundThreshold | None:
    name, factor, metric, share = (wanted[key] for key in ("name", "factor", "metric", "target"))
    of = wanted.get("of", "absolute")
    levels, tallies = _curve(results, row, factor, metric)
    if of not in ("reference", "absolute") or not all(map(is_number, levels)):
        raise InputError(
            f"thresholds: {name!r} needs `of: reference` or `of: absolute`, found {of!r}, and a factor with numbers "
            f"for levels, found {levels}."
        )
    own = results.tally(row.name, results.tests[0], metric) if of == "reference" else None
    if not levels or (of == "reference" and own is None):
        return None
    options = {"log": bool(results.study["factors"][factor].get("log")), "level": results.study.get("level", 0.95)}
    decibel = metric.endswith("_db")
    found = crossing(levels, tallies, share, of=own, decibel=decibel, resamples=RESAMPLES, **options)
    target = share if own is None else aim(own.value, share, decibel)
    return FoundThreshold(name, row.name, row.kind, factor, metric, float(target), found)


def _curve(results: Results, row: RowInfo, factor: str, metric: str) -> tuple[list[Any], list[Tally]]:
    """Levels along a factor that have a result; a reference that sets nothing is no level."""
    found = [
        (results.level(test, factor), tally)
        for test in results.sweep(factor)
        if results.level(test, factor) is not None and (tally := results.tally(row.name, test, metric)) is not None
    ]
    return [level for level, _ in found], [tally for _, tally in found]


@lru_cache(maxsize=1)  # seconds for a large study, asked for by every part of a page
def _family(results: Results) -> list[Claim]:
    """All claims about conditions and mitigations, corrected together."""
    wanted = []
    for row in results.trained:
        for test in results.tests:
            against = results.matched(row.name, test)
            if against != (row.name, test.id):
                wanted.append(("effect", row.name, test.id, *against))
    plain = [row.name for row in results.rows if row.kind == "train"]
    helps = [row.name for row in results.rows if row.kind == "help"]
    wanted += [("help", row, test.id, other, test.id) for row in helps for test in results.tests for other in plain]
    return _compare(results, wanted)


def _compare(results: Results, wanted: Iterable[Sequence[str]]) -> list[Claim]:
    pairs = [
        (one, a, b)
        for one in wanted
        if (a := results.tally(one[1], one[2])) is not None and (b := results.tally(one[3], one[4])) is not None
    ]
    level = results.study.get("level", 0.95)
    resamples = max(RESAMPLES, PER_CLAIM * len(pairs))
    claims = []
    for (kind, row, test, other_row, other_test), a, b in pairs:
        same = row == other_row and results.seeds.get((row, test)) == results.seeds.get((other_row, other_test))
        found = difference(a, b, level, resamples, same_models=same)
        sides = (found.value, found.low, found.high, found.p)
        claims.append(Claim(kind, row, test, other_row, other_test, results.metric, *sides))
    adjusted = holm([claim.p for claim in claims])
    return [
        replace(claim, p_adjusted=float(p), verdict=_judge(claim, p, 1 - level, results.lower_is_better))
        for claim, p in zip(claims, adjusted)
    ]


def _judge(claim: Claim, p: float, most: float, lower_is_better: bool) -> str:
    if not p <= most or claim.low <= 0 <= claim.high:
        return "unclear"
    return "better" if (claim.value < 0) == lower_is_better else "worse"
