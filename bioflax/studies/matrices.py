"""Heat maps of a study: rows by tests with its difference to the matched condition, and two crossed factors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioflax.report.figures import shorten
from bioflax.report.style import INK, look, new_figure
from bioflax.studies.cells import difference_tint, frame, outline, paint, printed, values_tint
from bioflax.studies.drawing import Drawing, held_fixed, wrap
from bioflax.studies.scores import Scores, is_mixed, reference_test, why_missing
from bioflax.studies.wording import factor_label, level_text, metric_label

BESIDE = 7  # columns with which the two panels still fit side by side
CELL, TALL, LEAST = 0.62, 0.36, 1.9  # inches: a cell, and the least width of a panel, for its title
PALE = " Grey: no row was trained at this level, so the difference to the reference also holds the change of the test itself."


@dataclass(frozen=True)
class Grid:
    """Rows by tests.

    Attributes:
        rows, columns: rows, and ids of tests.
        groups: (factor, first column, past the last).
        values, apart: the metric, and less that of the matched condition; NaN where there is none.
        matched: (row, test) that a cell is held against.
        framed: whether that is the cell itself.
        missing: why a cell has no value; None where nothing failed.
        mixed: of each column, whether it has no matched condition.
        partial: whether a cell lacks some of its seeds.
    """

    rows: Sequence[Any]
    columns: Sequence[str]
    groups: Sequence[tuple[str, int, int]]
    values: np.ndarray
    apart: np.ndarray
    matched: Sequence[Sequence[tuple[str, str]]]
    framed: np.ndarray
    missing: Sequence[Sequence[str | None]]
    mixed: Sequence[bool]
    partial: np.ndarray


def matrix(scores: Scores) -> Drawing:
    """Rows by tests: the metric, and its difference to the matched condition.

    Args:
        scores: of the metric of the question.
    """
    results, grid = scores.results, grid_of(scores)
    label, worse = metric_label(scores.metric), "higher" if scores.lower_is_better else "lower"
    swept = sorted({name for name, _, _ in grid.groups})
    compared = bool((~grid.framed & np.isfinite(grid.values)).any()) or not np.isfinite(grid.values).any()
    words = (
        ", and its difference to the matched condition (framed: trained as it is tested; else the row of the nearest level, "
        f"or the row itself at the reference). Blue is better, red is worse; {worse} is worse.{PALE if any(grid.mixed) else ''}"
    )
    caption = (
        f"{label} of every row under every test{words if compared else f'; {worse} is worse.'} Hatched: the point failed; a "
        f"dash: not run.{' *: of fewer seeds, as some failed.' if grid.partial.any() else ''} {held_fixed(results.study, swept)}"
    )
    headings = [
        "row",
        "kind",
        "test",
        scores.metric,
        "low",
        "high",
        "seeds",
        "matched_row",
        "matched_test",
        "difference",
        "failed",
    ]
    table = [
        [row.name, row.kind, name_of(results, test), *csv_cell(scores, row.name, test), grid.matched[i][j][0],
         name_of(results, grid.matched[i][j][1]), blank(grid.apart[i, j]), grid.missing[i][j] or ""]
        for i, row in enumerate(grid.rows) for j, test in enumerate(grid.columns)
    ]  # fmt: skip
    return Drawing("matrix", draw_grid(scores, grid, compared), caption, headings, table)


def grid_of(scores: Scores) -> Grid:
    """All that the heat map shows."""
    results = scores.results
    # A rival or a bound may have other metrics only.
    other = {row for row, _, _ in results.tallies} - {row for row, _ in scores.cells}
    rows = [row for row in results.rows if row.kind in ("train", "help") or row.name not in other]
    columns, groups = columns_of(results)
    shape = (len(rows), len(columns))
    cells = [[(row.name, test) for test in columns] for row in rows]
    matched = [[results.matched(*cell) for cell in line] for line in cells]
    values, others = (
        np.array([[value_at(scores, cell) for cell in line] for line in part], float).reshape(shape)
        for part in (cells, matched)
    )
    framed = np.array([[a == b for a, b in zip(*lines)] for lines in zip(cells, matched)], bool).reshape(shape)
    missing = [
        [why_missing(results, row, test) if math.isnan(values[i, j]) else None for j, test in enumerate(columns)]
        for i, row in enumerate(rows)
    ]
    mixed = [is_mixed(results, test) for test in columns]
    framed &= ~np.array(mixed, bool)
    partial = np.array([[lacks_seeds(scores, row, test) for test in columns] for row in rows], bool).reshape(shape)
    return Grid(rows, columns, groups, values, values - others, matched, framed, missing, mixed, partial)


def lacks_seeds(scores: Scores, row: Any, test: str) -> bool:
    """Whether a cell has a value of fewer seeds than were planned."""
    cell = scores.at(row.name, test)
    return cell is not None and row.kind in ("train", "help") and cell.seeds < scores.results.study["seeds"]


def draw_grid(scores: Scores, grid: Grid, compared: bool) -> Any:
    """One panel, or two side by side, or two on top of each other where columns are many."""
    names, lower = [wrap(row.name, 26) for row in grid.rows], scores.lower_is_better
    count, side = len(grid.columns), len(grid.columns) <= BESIDE
    across, down = (1 + (compared and side), 1 + (compared and not side))
    with look():
        body = max((TALL if len(names) < 16 else 0.27) * sum(name.count("\n") + 1 for name in names), 0.9)
        figure = new_figure(3.0 + max(CELL * count, LEAST) * across, (body + 1.3) * down)
        panels = figure.subplots(down, across, sharey=side, squeeze=False).flat
        colours = np.where(grid.mixed, np.nan, grid.apart)  # what mixes two changes gets a number but no colour
        shown = [(metric_label(scores.metric), grid.values, values_tint(grid.values, lower), False, [])]
        if compared:
            title = "difference to matched" if count < 5 else "difference to the matched condition"
            shown.append((title, grid.apart, difference_tint(colours, lower), True, grid.mixed))
        for axes, (title, numbers, tint, sign, pale) in zip(panels, shown):
            texts = printed(numbers, scores.metric, sign)
            paint(axes, numbers, tint, np.where(grid.partial, np.char.add(texts, "*"), texts), grid.missing, pale)
            mark_columns(axes, scores.results, grid.columns, grid.groups)
            axes.set_yticks(np.arange(len(names)) + 0.5, names)
            axes.tick_params(axis="y", labelcolor=INK)
            axes.set_title(title)
            for i, j in np.argwhere(grid.framed & compared):
                axes.add_patch(frame(i, j))
    return figure


def crossed(scores: Scores, first: str, second: str, row: str, kept: Mapping[tuple[Any, Any], bool]) -> Drawing:
    """The metric of one row over two factors, with the region that keeps its share outlined.

    Args:
        scores: of the metric of the question.
        first, second: factors, along x and y.
        row: name of the row.
        kept: (level of first, level of second) -> whether the envelope holds it.
    """
    results = scores.results
    factors = results.study["factors"]
    x, y = (levels_of(results, name) for name in (first, second))
    tests = {
        (level_text(results.level(test.id, first)), level_text(results.level(test.id, second))): test.id
        for test in results.tests
        if set(test.levels) <= {first, second}
    }
    at = [[tests.get((level_text(a), level_text(b))) for a in x] for b in y]
    values = np.array([[value_at(scores, (row, test)) for test in line] for line in at])
    shown = next((r for r in results.rows if r.name == row), None)
    missing = [[why_missing(results, shown, test) if shown and test and math.isnan(values[i, j]) else None
                for j, test in enumerate(line)] for i, line in enumerate(at)]  # fmt: skip
    inside = np.array([[bool(kept.get((a, b), False)) for a in x] for b in y])
    with look():
        figure = new_figure(max(2.4 + 0.8 * len(x), 4.5), 1.4 + 0.5 * len(y))
        axes = figure.subplots()
        paint(axes, values, values_tint(values, scores.lower_is_better), printed(values, scores.metric, False), missing)
        outline(axes, inside)
        axes.invert_yaxis()  # small levels below, as on any axis
        axes.set_xticks(np.arange(len(x)) + 0.5, [wrap(level_text(level), 12) for level in x])
        axes.set_yticks(np.arange(len(y)) + 0.5, [wrap(level_text(level), 20) for level in y])
        axes.set(xlabel=factor_label(first, factors[first]), ylabel=factor_label(second, factors[second]))
        axes.set_title(f"{metric_label(scores.metric)}: {row}")
    caption = (
        f"{metric_label(scores.metric)} of {row!r} over two factors at once. Green outline: it keeps at least "
        f"{results.study['share'] * 100:g} % of the matched condition. Hatched: the point failed. "
        f"{held_fixed(results.study, (first, second))}"
    )
    table = [
        [row, level_text(a), level_text(b), *csv_cell(scores, row, at[i][j]), int(inside[i, j])]
        for i, b in enumerate(y) for j, a in enumerate(x)
    ]  # fmt: skip
    headings = ["row", first, second, scores.metric, "low", "high", "seeds", "kept"]
    return Drawing(f"crossed_{first}_{second}", figure, caption, headings, table)


def levels_of(results: Any, factor: str) -> list[Any]:
    """The levels of a factor in the study's order, with the reference in its place."""
    found = results.study["factors"][factor]
    levels, reference = list(found["levels"]), found.get("reference")
    if reference in levels or (reference is None and not any(factor not in test.levels for test in results.tests)):
        return levels
    if reference is not None and all(isinstance(level, (int, float)) for level in [*levels, reference]):
        return sorted([*levels, reference])
    return [reference, *levels]


def columns_of(results: Any) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Test ids in the order of the columns, and (factor, first column, past the last) of each sweep."""
    columns, groups = [], []
    for factor in results.study["factors"]:
        sweep = [test.id for test in results.sweep(factor)]
        if len(sweep) > 1 or (sweep and sweep[0] != reference_test(results)):
            groups.append((factor, len(columns), len(columns) + len(sweep)))
            columns += sweep
    return (columns, groups) if columns else ([reference_test(results)], [])


def mark_columns(axes: Any, results: Any, columns: Sequence[str], groups: Sequence[tuple[str, int, int]]) -> None:
    """Levels below the columns, the reference in bold; the factor below its levels, or above where there are several."""
    factors, texts = results.study["factors"], ["reference"] * len(columns)
    for factor, start, stop in groups:
        texts[start:stop] = [level_text(results.level(test, factor)) for test in columns[start:stop]]
    long = len(columns) > 1 and max(map(len, texts)) > 7
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks(np.arange(len(columns)) + 0.5, [shorten(text, 24) for text in texts], **turn)
    for tick, test in zip(axes.get_xticklabels(), columns):
        tick.set(fontweight="bold" if test == reference_test(results) else "normal", color=INK)
    if len(groups) == 1:
        axes.set_xlabel(factor_label(groups[0][0], factors[groups[0][0]]))
    if len(groups) < 2:
        return
    for _, start, _ in groups[1:]:
        axes.axvline(start, color="white", linewidth=5)
    words = [wrap(factor_label(name, factors[name]), max(9 * (stop - start), 12)) for name, start, stop in groups]
    top = axes.secondary_xaxis("top")
    top.set_xticks([(start + stop) / 2 for _, start, stop in groups], words)
    top.tick_params(length=0, labelsize=8)
    top.spines[:].set_visible(False)


def value_at(scores: Scores, cell: tuple[str | None, str | None]) -> float:
    found = scores.cells.get(cell)
    return found.value if found else math.nan


def csv_cell(scores: Scores, row: str, test: str | None) -> list[Any]:
    """Value, low, high, seeds of a cell; empty where there is none."""
    found = scores.cells.get((row, test))
    return [*map(blank, (found.value, found.low, found.high)), found.seeds] if found else ["", "", "", 0]


def blank(value: float) -> Any:
    return value if value is not None and math.isfinite(value) else ""


def name_of(results: Any, test: str | None) -> str:
    """The name of a test by its id."""
    return next((found.name for found in results.tests if found.id == test), "")
