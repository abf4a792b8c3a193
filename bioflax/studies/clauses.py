"""The clauses of the answer: kept region, largest loss, training, mitigations, rivals, thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bioflax.studies.phrases import (
    cells_of,
    gained,
    labels,
    moves_trained,
    short,
    span,
    speaks_for_itself,
    test_words,
    tests_words,
    threshold_words,
    value_words,
    who,
)
from bioflax.studies.scores import ahead, reference_test
from bioflax.studies.wording import (
    digits_of,
    is_number,
    level_text,
    level_with_unit,
    listed,
    metric_unit,
    metric_words,
    plain,
    with_interval,
)


def kept_clauses(results: Any, envelope: Mapping[str, Any], main: str) -> list[str]:
    """Where the reference row keeps its share of the matched condition, factor by factor."""
    entry = (envelope.get("rows") or {}).get(main) or {}
    factors = entry.get("factors") or {}
    parts = [words for name, about in factors.items() if (words := kept_words(results, name, about))]
    if not parts:
        return []
    share, metric = f"{envelope['share'] * 100:g} %", envelope.get("metric", "")
    less = f" (at most {-20 * math.log10(envelope['share']):.2f} dB less)" if metric.endswith("_db") else ""
    if all(all(about["kept"]) for about in factors.values()):
        return [f"{who(results, main)} keeps {share} of the matched condition{less} everywhere: no level tested of "
                f"{listed(labels(results, factors))} lowered it below"]  # fmt: skip
    return [f"{who(results, main)} keeps {share} of the matched condition{less} {'; '.join(parts)}"]


def kept_words(results: Any, name: str, about: Mapping[str, Any]) -> str:
    """`from 12 to 110 photons`; names in words; nothing where nothing is known."""
    factor, levels, kept = results.study["factors"][name], about["levels"], about["kept"]
    known = [level for level, value in zip(levels, about["values"]) if value is not None]
    label = about.get("label") or name
    if len(levels) < 2 or not known:
        return ""
    if all(kept):
        return f"at every level tested of {label} ({span(levels, factor)})"
    if not all(map(is_number, levels)):
        good = [level_text(level) for level, ok in zip(levels, kept) if ok]
        bad = [level_text(level) for level, ok in zip(levels, kept) if not ok and level in known]
        text = f"with {label} {listed(good)}" if good else f"with no {label} tested"
        return text + (f", not with {listed(bad)}" if bad and good else "")
    if about.get("range") is None:
        return f"at no level around its own of {label}"
    low, high = about.get("range_interpolated") or about["range"]
    if low == high:
        only = f"only at {level_with_unit(low, factor)}"
        return only if speaks_for_itself(results, name) else f"{only} of {label}"
    ends = [end for end, edge in ((low, min(known)), (high, max(known))) if end == edge]
    edge = f" ({listed(level_text(end) for end in ends)}: the end of what was tested)" if ends else ""
    unit = f" {factor['unit']}" if factor.get("unit") else ""
    unit = "" if unit.strip() in label and not speaks_for_itself(results, name) else unit
    of = "" if speaks_for_itself(results, name) else f" of {label}"
    return f"from {short(low)} to {short(high)}{unit}{of}{edge}"


def loss_clause(results: Any, claims: Sequence[Any], main: str) -> list[str]:
    """The largest loss of the reference row against a matched condition of the same test, or against itself."""
    sign = 1 if results.study["better"] == "lower" else -1
    mine = [claim for claim in claims if claim.kind == "effect" and claim.row == main and math.isfinite(claim.value)]
    fair = [claim for claim in mine if claim.against_test == claim.test or not moves_trained(results, claim.test)]
    if not fair:
        return []
    worst = max(simple(results, fair) or fair, key=lambda claim: sign * claim.value)
    where = test_words(results, worst.test)
    if worst.verdict != "worse":
        change = f"the largest change, {where}, is {with_interval(worst.value, worst.low, worst.high, worst.metric, sign=True)}"
        return [f"no test shows a loss that is sure: {change}"]
    low, high = sorted((sign * worst.low, sign * worst.high))
    over = "" if worst.against_test == worst.test else " against itself at the reference"
    verb = "it loses up to" if sign < 0 else f"its {metric_words(worst.metric)} grows by up to"
    return [f"{verb} {with_interval(sign * worst.value, low, high, worst.metric)} {where}{over}"]


def best_row_clause(results: Any, main: str) -> list[str]:
    """Where rows are named, not put at levels (architectures): which is the best at the reference."""
    test, cells = reference_test(results), cells_of(results)
    rows = [row.name for row in results.rows if row.kind == "train" and (row.name, test) in cells]
    if len(rows) < 2 or any(
        row.levels and not named_levels(results, row) for row in results.rows if row.kind == "train"
    ):
        return []
    sign = -1 if results.study["better"] == "lower" else 1
    rows.sort(key=lambda name: -sign * cells[name, test])
    best, behind = rows[0], [ahead(results, (rows[0], test), (name, test)) for name in rows[1:]]
    close = [name for name, found in zip(rows[1:], behind) if found and not found.low > 0]
    text = f"the best of {len(rows)} rows at the reference test is {best} with {value_words(results, best, test)}"
    last = behind[-1]
    if last:
        gap = with_interval(last.value, last.low, last.high, results.study["metric"])
        text += f", {gap} better than the last, {rows[-1]}"
    return [text + (f"; its lead is not sure over {listed(close)}" if close else "")]


def named_levels(results: Any, row: Any) -> bool:
    return all(not is_number(level) for level in row.levels.values())


def trained_clauses(results: Any, main: str) -> list[str]:
    """Factors that are swept in training only: from where on the metric keeps its share of the best."""
    test, cells = reference_test(results), cells_of(results)
    info = next(row for row in results.rows if row.name == main)
    clauses = []
    for factor, about in results.study["factors"].items():
        if factor not in info.levels or len(results.sweep(factor)) > 1 or not is_number(info.levels[factor]):
            continue
        others = {name: level for name, level in info.levels.items() if name != factor}
        line = sorted(
            (row.levels[factor], row.name)
            for row in results.rows
            if row.kind == "train" and is_number(row.levels.get(factor)) and (row.name, test) in cells
            and {name: level for name, level in row.levels.items() if name != factor} == others
        )  # fmt: skip
        if len(line) < 2:
            continue
        clauses.append(trained_words(results, about.get("label") or factor, line))
    return clauses


def trained_words(results: Any, label: str, line: Sequence[tuple[float, str]]) -> str:
    """How the metric goes with a level of the training: both ends, the best, and from where on it is as good.

    Args:
        results: of the study.
        label: of the factor.
        line: (level, row name), ascending.
    """
    test, cells, metric = reference_test(results), cells_of(results), results.study["metric"]
    choose = min if results.study["better"] == "lower" else max
    (low, first), (high, last) = line[0], line[-1]
    at, best = choose(line, key=lambda pair: cells[pair[1], test])
    text = (
        f"with {label} from {level_text(low)} to {level_text(high)} in training, the {metric_words(metric)} goes from "
        f"{value_words(results, first, test)} to {value_words(results, last, test)}"
    )
    gain = ahead(results, (last, test), (first, test))
    if gain:
        sides = (-gain.value, -gain.high, -gain.low) if gain.high < 0 else (gain.value, gain.low, gain.high)
        sure = "better by" if gain.low > 0 else "worse by" if gain.high < 0 else "not surely apart:"
        text += f" ({sure} {with_interval(*sides, metric, sign=gain.low <= 0 <= gain.high)})"
    if best not in (first, last):
        text += f", the best is {value_words(results, best, test)} at {level_text(at)}"
    enough = next((level for level, name in line if not is_behind(results, name, best, test)), at)
    return text if enough == at else f"{text}, and from {level_text(enough)} on no gain is sure"


def is_behind(results: Any, row: str, best: str, test: str) -> bool:
    """Whether a row is surely worse than the best."""
    found = ahead(results, (best, test), (row, test))
    return found is not None and found.low > 0


def help_clauses(results: Any, claims: Sequence[Any], main: str) -> list[str]:
    """Of the mitigation that gains most: its price at the reference and its largest gain."""
    sign, reference = (-1 if results.study["better"] == "lower" else 1), reference_test(results)
    mine = [
        claim for claim in claims if claim.kind == "help" and claim.against_row == main and math.isfinite(claim.value)
    ]
    if not mine:
        return []
    sure = [claim for claim in mine if claim.verdict == "better"]
    if not sure:
        return [f"of {listed(dict.fromkeys(claim.row for claim in mine))} no gain is sure"]
    best = max(simple(results, sure) or sure, key=lambda claim: sign * claim.value)
    price = next((claim for claim in mine if claim.row == best.row and claim.test == reference), None)
    gain = gained(best, sign)
    if best.test == reference or price is None:
        return [f"{best.row} brings {gain} {test_words(results, best.test)}"]
    if price.verdict == "worse":
        return [
            f"{best.row} costs {gained(price, -sign)} at the reference and brings {gain} {test_words(results, best.test)}"
        ]
    words = "also gains" if price.verdict == "better" else "has no sure price"
    return [
        f"{best.row} {words} at the reference ({gained(price, sign)}) and brings {gain} {test_words(results, best.test)}"
    ]


def rival_clause(results: Any, claims: Sequence[Any], main: str) -> list[str]:
    """Against the best classical rival: at the reference, and where the rival is better."""
    sign, reference = (-1 if results.study["better"] == "lower" else 1), reference_test(results)
    mine = [claim for claim in claims if claim.kind == "rival" and claim.row == main]
    at = next((claim for claim in mine if claim.test == reference), None)
    if at is None:
        return []
    words = {"better": "ahead of", "worse": "behind", "unclear": "not surely apart from"}[at.verdict]
    amount = gained(at, -sign if at.verdict == "worse" else sign)
    text = f"at the reference it is {amount} {words} the best classical rival, {at.against_row}"
    if at.verdict == "unclear":
        text = f"at the reference it is {words} the best classical rival, {at.against_row} ({amount})"
    worse = [claim for claim in mine if claim.verdict == "worse" and claim.test != reference]
    lost = [claim.test for claim in simple(results, worse) or worse]
    if lost:
        text += f", which is better than it {tests_words(results, lost)}"
    return [text]


def threshold_clauses(results: Any, found: Sequence[Any], main: str) -> list[str]:
    """Each threshold of the reference row, with its interval or the side on which the curve stays."""
    clauses = []
    for one in (one for one in found if one.row == main):
        factor, where = results.study["factors"][one.factor], one.threshold
        amount = f"{plain(one.target, digits_of(one.metric, [one.target]))} {metric_unit(one.metric)}".strip()
        goal = f"{metric_words(one.metric)} {amount}"
        if where.value is not None:
            clauses.append(f"{one.name} ({goal}) at {threshold_words(where, factor)}")
            continue
        side = {"above": "stays above", "below": "stays below"}.get(where.side)
        if side:
            clauses.append(f"{one.name}: not reached, the curve {side} {goal} over the whole range tested")
    return clauses


def simple(results: Any, claims: Sequence[Any]) -> list[Any]:
    """Claims on tests that move one factor at most: they are easier to say and to understand."""
    return [claim for claim in claims if len(results.test(claim.test).levels) < 2]
