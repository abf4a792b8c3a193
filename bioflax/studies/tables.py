"""The tables of a study's page: what was run, what helps and its price, envelope, thresholds, claims, architectures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bioflax.report.page import Table, duration, number
from bioflax.studies.phrases import gained, test_words, threshold_words
from bioflax.studies.scores import Scores, reference_test
from bioflax.studies.wording import (
    count,
    digits_of,
    factor_label,
    is_number,
    level_text,
    level_with_unit,
    listed,
    metric_label,
    metric_unit,
    plain,
    with_interval,
)

KINDS = {"train": "trained", "help": "mitigation", "rival": "classical rival", "bound": "bound"}
LISTED = 40  # lines of a table on the page; all are in the CSV files


def rows_table(results: Any) -> Table:
    """What was trained and with what it was compared."""
    lines = []
    for row in results.rows:
        done = sum((row.name, test.id, results.study["metric"]) in results.tallies for test in results.tests)
        levels = ", ".join(
            f"{factor_label(name, {**results.study['factors'][name], 'unit': ''})} "
            f"{level_with_unit(level, results.study['factors'][name])}"
            for name, level in row.levels.items()
        )
        seeds = [len(results.seeds.get((row.name, test.id), ())) for test in results.tests]
        trained = row.kind in ("train", "help")
        span = f"{min(seeds)} to {max(seeds)}" if seeds and min(seeds) < max(seeds) else str(max(seeds, default=0))
        lines.append(
            [row.name, KINDS[row.kind], levels or "–", span if trained else "–", f"{done} of {len(results.tests)}"]
        )
    return Table(["row", "kind", "trained at", "seeds", "tests with a result"], lines)


def tests_table(results: Any) -> Table:
    """The test conditions."""
    lines = [
        [capital_id(test), test_words(results, test.id), shown(test.overrides, 3)] for test in results.tests[:LISTED]
    ]
    more = f"The first {LISTED} of {len(results.tests)}; all are in study.json." if len(results.tests) > LISTED else ""
    return Table(["test", "condition", "its last overrides"], lines, more)


def capital_id(test: Any) -> str:
    return "reference" if not test.levels else test.id


def shown(overrides: Sequence[str], most: int) -> str:
    return " ".join(map(str, overrides[-most:])) or "–"


def failures_table(results: Any) -> Table:
    """Points without a result and why; equal reasons of one row together."""
    reasons: dict[tuple[str, str], list[Any]] = {}
    for failure in results.failed:
        reasons.setdefault((failure.row or "rivals and bound", failure.error), []).append(failure)
    lines = []
    for (row, error), found in reasons.items():
        tests = list(dict.fromkeys(one.test for one in found))
        seeds = sorted({one.seed for one in found if one.seed is not None})
        where = listed((test_words(results, test) for test in tests), 4)
        lines.append([row, where, ", ".join(map(str, seeds)) or "–", str(len(found)), error])
    return Table(["row", "test", "seeds", "points", "reason"], lines[:LISTED], over(len(lines)))


def over(lines: int) -> str:
    return f"The first {LISTED} of {lines}." if lines > LISTED else ""


def cost_table(scores: Scores) -> Table:
    """Value and price of every trained row at the reference test, the best first."""
    results, test = scores.results, reference_test(scores.results)
    unit = metric_unit(scores.metric)
    lines, order = [], scores.ranked(kinds=("train", "help"))
    for name in [*order, *(row.name for row in results.trained if row.name not in order)]:
        cell, cost = scores.at(name, test), results.cost.get(name, {})
        value = with_interval(cell.value, cell.low, cell.high, scores.metric, unit=False) if cell else "failed"
        lines.append([
            name, value, number(as_whole(cost.get("parameters"))), compact(cost.get("flops_per_px")),
            compact(cost.get("seconds_per_mpx")), compact(cost.get("memory_mb")),
            duration(cost["train_seconds"]) if cost.get("train_seconds") else "–",
        ])  # fmt: skip
    headings = [
        "row", f"{metric_label(scores.metric)} [{results.study['level'] * 100:g} %]", "parameters", "FLOPs / px",
        "s / Mpx", "memory (MB)", "training",
    ]  # fmt: skip
    empty = [k for k in range(2, len(headings)) if all(line[k] == "–" for line in lines)]
    kept = [k for k in range(len(headings)) if k not in empty]
    caption = (
        f"At the reference test{f', in {unit}' if unit else ''}, the best first. Costs: median over seeds and tests."
    )
    return Table(
        [headings[k] for k in kept], [[line[k] for k in kept] for line in lines], caption, [0] if order else []
    )


def as_whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value)


def compact(value: float | None) -> str:
    """Three digits."""
    if value is None or not math.isfinite(value):
        return "–"
    return number(round(value)) if abs(value) >= 100 else f"{value:.3g}"


def helps_table(results: Any, claims: Sequence[Any], main: str) -> Table:
    """Every mitigation against the plain row: gain by test, price at the reference."""
    sign, reference = (-1 if results.lower_is_better else 1), reference_test(results)
    lines = []
    for row in (row for row in results.rows if row.kind == "help"):
        mine = {claim.test: claim for claim in claims if claim.kind == "help" and claim.row == row.name
                and claim.against_row == main and math.isfinite(claim.value)}  # fmt: skip
        if not mine:
            lines.append([row.name, "–", "no result", "–", *price_of(results, row.name, main)])
            continue
        best = max(mine.values(), key=lambda claim: sign * claim.value)
        at = mine.get(reference)
        better = sum(claim.verdict == "better" for claim in mine.values())
        lines.append([
            row.name, f"{gained(at, sign)} ({at.verdict})" if at else "–",
            f"{gained(best, sign)} ({best.verdict}) {test_words(results, best.test)}", f"{better} of {len(mine)}",
            *price_of(results, row.name, main),
        ])  # fmt: skip
    headings = [
        "mitigation",
        "gain at the reference",
        "largest gain",
        "surely better in tests",
        "training time",
        "parameters",
    ]
    caption = f"Against {main!r} on the same items; above 0 is better. Verdicts are after Holm's correction."
    return Table(headings, lines, caption)


def price_of(results: Any, row: str, main: str) -> list[str]:
    """Training time and parameters, each with its ratio to the plain row."""
    own, plain_row = results.cost.get(row, {}), results.cost.get(main, {})
    cells = []
    for name, show in (("train_seconds", duration), ("parameters", lambda value: number(as_whole(value)))):
        value, other = own.get(name), plain_row.get(name)
        ratio = f" (×{value / other:.3g})" if value and other else ""
        cells.append(f"{show(value)}{ratio}" if value else "–")
    return cells


def envelope_table(results: Any, envelope: Mapping[str, Any]) -> Table:
    """Kept levels of every row and factor."""
    lines = []
    for row, entry in (envelope.get("rows") or {}).items():
        for name, about in (entry.get("factors") or {}).items():
            factor = results.study["factors"][name]
            lines.append([row, factor_label(name, factor), kept_range(about), kept_levels(about)])
    caption = f"Rule: {envelope.get('rule', '')}. An edge between two levels is interpolated."
    return Table(["row", "factor", "kept", "levels kept (✓), lost (✗), without result (?)"], lines, caption)


def kept_range(about: Mapping[str, Any]) -> str:
    """`12 to 110`, names, or `nowhere`."""
    found = about.get("range_interpolated") or about.get("range")
    if not found:
        return "nowhere"
    if all(map(is_number, found)):
        low, high = found[0], found[-1]
        return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return listed(map(level_text, found), 10)


def kept_levels(about: Mapping[str, Any]) -> str:
    marks = ["?" if value is None else "✓" if kept else "✗" for value, kept in zip(about["values"], about["kept"])]
    return ", ".join(f"{level_text(level)} {mark}" for level, mark in zip(about["levels"], marks))


def thresholds_table(results: Any, found: Sequence[Any]) -> Table:
    """Where each row's curve crosses."""
    lines = []
    for one in found:
        factor = results.study["factors"][one.factor]
        goal = f"{plain(one.target, digits_of(one.metric, [one.target]))} {metric_unit(one.metric)}".strip()
        crossed = f"{one.threshold.share_found * 100:.0f} %"
        lines.append([one.name, one.row, factor_label(one.factor, factor), f"{metric_label(one.metric)}: {goal}",
                      threshold_words(one.threshold, factor), crossed])  # fmt: skip
    headings = ["threshold", "row", "factor", "target", "crossed at", "resamples that cross"]
    return Table(headings, lines[:LISTED], over(len(lines)))


def claims_table(results: Any, claims: Sequence[Any], main: str | None) -> Table:
    """Claims with their p, those of the reference row first."""
    ranked = sorted(claims, key=lambda claim: (claim.row != main, claim.kind != "effect", claim.p_adjusted))
    lines = []
    for claim in ranked[:LISTED]:
        other = claim.against_row if claim.against_row != claim.row else "itself"
        against = other if claim.against_test == claim.test else f"{other} {test_words(results, claim.against_test)}"
        value = with_interval(claim.value, claim.low, claim.high, claim.metric, sign=True)
        lines.append(
            [
                claim.row,
                test_words(results, claim.test),
                against,
                value,
                small(claim.p),
                small(claim.p_adjusted),
                claim.verdict,
            ]
        )
    better = sum(claim.verdict == "better" for claim in claims)
    worse = sum(claim.verdict == "worse" for claim in claims)
    rest = f" The first {LISTED}; all are in figures/claims.csv." if len(claims) > LISTED else ""
    caption = (
        f"{count(len(claims), 'claim')}: {better} better, {worse} worse, {len(claims) - better - worse} unclear after Holm's "
        f"correction.{rest}"
    )
    return Table(["row", "test", "against", f"difference in {metric_label(results.study['metric'])}", "p", "p (Holm)", "verdict"],
                 lines, caption)  # fmt: skip


def small(p: float) -> str:
    """A p value."""
    return "–" if p is None or not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
