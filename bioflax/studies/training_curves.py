"""The metric against the level that was trained, where a factor differs between trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bioflax.report.style import look, new_figure
from bioflax.studies.curves import HIGH, WIDE, draw_rows, mark_reference, places_of
from bioflax.studies.drawing import MOST, Drawing, band_words, held_fixed, legend_outside, strokes, wrap
from bioflax.studies.matrices import csv_cell
from bioflax.studies.scores import Scores, reference_test
from bioflax.studies.wording import factor_label, is_number, level_text, metric_label


def train_curve(scores: Scores, factor: str, main: str | None) -> Drawing:
    """The metric at the reference test over the level of a factor that the rows were trained at.

    Args:
        scores: of the metric of the question.
        factor: a factor of `train`.
        main: the reference row.
    """
    results, test = scores.results, reference_test(scores.results)
    found = results.study["factors"][factor]
    lines = trained_lines(results, factor)
    series = {
        name: [(row.levels[factor], cell) for row in rows if (cell := scores.at(row.name, test))]
        for name, rows in lines.items()
    }
    levels = list(found["levels"])
    flat = [row for row in results.rows if factor not in row.levels]
    if len(series) > MOST:
        series = dict(list(series.items())[:MOST])
    style = strokes([*(rows[0] for rows in lines.values()), *flat])
    style = {name: style[rows[0].name] for name, rows in lines.items()} | {row.name: style[row.name] for row in flat}
    with look():
        figure = new_figure(WIDE, HIGH)
        axes = figure.subplots()
        place = places_of(axes, levels, found)
        mark_reference(axes, place, found.get("reference"))
        for row in flat:
            if cell := scores.at(row.name, test):
                stroke = {**style[row.name], "marker": None}
                axes.axhline(cell.value, label=wrap(row.name, 26), **stroke)
                axes.axhspan(cell.low, cell.high, color=stroke["color"], alpha=0.08, linewidth=0)
        draw_rows(axes, place, series, style, next((name for name, rows in lines.items() if has(rows, main)), None))
        axes.set(xlabel=f"{factor_label(factor, found)}, in training", ylabel=metric_label(scores.metric))
        legend_outside(figure, axes)
    caption = (
        f"{metric_label(scores.metric)} at the reference test over {factor_label(factor, found)} of the training. Bands: "
        f"{band_words(results.study)}. Horizontal: rows, rivals and the bound that have no level of this factor. "
        f"{held_fixed(results.study, (factor,))}"
    )
    table = [
        [
            row.name,
            row.kind,
            level_text(row.levels[factor]) if factor in row.levels else "",
            *csv_cell(scores, row.name, test),
        ]
        for row in results.rows
    ]
    headings = ["row", "kind", f"{factor}_in_training", scores.metric, "low", "high", "seeds"]
    return Drawing(f"training_{factor}", figure, caption, headings, table)


def has(rows: Sequence[Any], name: str | None) -> bool:
    return any(row.name == name for row in rows)


def trained_lines(results: Any, factor: str) -> dict[str, list[Any]]:
    """Rows along one trained factor, a line for each combination of the other trained levels."""
    lines: dict[str, list[Any]] = {}
    factors = results.study["factors"]
    for row in results.rows:
        if row.kind == "train" and factor in row.levels:
            others = {name: level for name, level in row.levels.items() if name != factor}
            words = [
                f"{factors[name].get('label') or name} {level_text(level)}" if is_number(level) else level_text(level)
                for name, level in others.items()
            ]
            lines.setdefault(", ".join(words) or "trained", []).append(row)
    return lines
