"""Curves of a study: the metric against a factor that is swept in the test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioflax.errors import require
from bioflax.report.style import INK, MUTED, look, new_figure
from bioflax.studies.drawing import (
    KEPT,
    KEPT_EDGE,
    Drawing,
    band_words,
    choose,
    held_fixed,
    legend_outside,
    log_ticks,
    strokes,
    wrap,
)
from bioflax.studies.matrices import csv_cell
from bioflax.studies.scores import Cell, Scores
from bioflax.studies.wording import factor_label, is_number, level_text, metric_label

WIDE, HIGH = 9.4, 4.0  # inches, with the legend
Series = list[tuple[Any, Cell]]


def curve(
    scores: Scores, factor: str, main: str | None, kept: Sequence[Any] = (), ends: Sequence[float] | None = None
) -> Drawing:
    """The metric of every row over the levels of a factor that is swept in the test.

    Args:
        scores: of the metric of the question.
        factor: its name.
        main: the row whose kept region is shaded.
        kept: levels of this factor at which that row keeps its share.
        ends: of the interpolated region around its own level; without them the kept levels alone are shaded.
    """
    results = scores.results
    sweep, found = results.sweep(factor), results.study["factors"][factor]
    rows, left_out = choose(results, main, scores.ranked())
    series = {
        row.name: [(results.level(test.id, factor), cell) for test in sweep if (cell := scores.at(row.name, test.id))]
        for row in rows
    }
    levels = [results.level(test.id, factor) for test in sweep]
    trained = {row.name: row.levels.get(factor) for row in rows if row.kind == "train"}
    with look():
        figure = new_figure(WIDE, HIGH)
        axes = figure.subplots()
        place = places_of(axes, levels, found)
        shaded = shade(axes, place, levels, kept, ends)
        mark_reference(axes, place, found.get("reference"))
        draw_rows(axes, place, series, strokes(results.rows), main)
        ring_trained(axes, place, series, trained)
        matched = draw_matched(axes, place, scores, factor)
        axes.set(xlabel=factor_label(factor, found), ylabel=metric_label(scores.metric))
        spread_out(axes, scores, [cell for points in series.values() for _, cell in points])
        legend_outside(
            figure,
            axes,
            proxies(main if shaded else None, bool(matched), any(level is not None for level in trained.values())),
        )
    share = f"{results.study['share'] * 100:g} %"
    shade_words = f" Shaded: {main!r} keeps at least {share} of the matched condition." if shaded else ""
    ring_words = " Ringed: tested as it was trained." if any(level is not None for level in trained.values()) else ""
    bound_words = " Black: the physical bound." if any(row.kind == "bound" and series[row.name] for row in rows) else ""
    caption = (
        f"{metric_label(scores.metric)} over {factor_label(factor, found)} of the test. Bands: {band_words(results.study)}. "
        f"Solid: trained rows, dash-dotted: what may help, dashed: classical rivals.{bound_words}{ring_words}{shade_words} "
        f"{held_fixed(results.study, (factor,))}{left_out}"
    )
    table = [
        [row.name, row.kind, level_text(results.level(test.id, factor)), *csv_cell(scores, row.name, test.id)]
        for row in results.rows for test in sweep
    ]  # fmt: skip
    headings = ["row", "kind", factor, scores.metric, "low", "high", "seeds"]
    name = f"curve_{factor}" if scores.metric == results.study["metric"] else f"curve_{factor}_{scores.metric}"
    return Drawing(name, figure, caption, headings, table)


class Places:
    """Where levels lie along x: numbers where they are, names side by side."""

    def __init__(self, levels: Sequence[Any], found: Mapping[str, Any]) -> None:
        known = [level for level in levels if level is not None]
        self.numeric = bool(known) and all(is_number(level) for level in known) and len(known) == len(levels)
        self.log = bool(self.numeric and found.get("log") and min(known) > 0)
        self.levels = list(levels)

    def __call__(self, level: Any) -> float | None:
        if self.numeric:
            return float(level) if is_number(level) else None
        return float(self.levels.index(level)) if level in self.levels else None


def places_of(axes: Any, levels: Sequence[Any], found: Mapping[str, Any]) -> Places:
    """Prepares the x axis."""
    place = Places(levels, found)
    if place.log:
        axes.set_xscale("log")
        low, high = min(levels), max(levels)
        room = (high / low) ** 0.05 if high > low else 1.5
        axes.set_xlim(low / room, high * room)
        log_ticks(axes.xaxis, sorted(levels))
    elif place.numeric and len(set(levels)) > 1:
        room = 0.05 * (max(levels) - min(levels))
        axes.set_xlim(min(levels) - room, max(levels) + room)
        if len(levels) <= 8 and min(np.diff(sorted(set(levels)))) > 1.4 * room:
            axes.set_xticks(sorted(set(levels)), [level_text(level) for level in sorted(set(levels))])
    elif place.numeric:
        axes.set_xticks(list(set(levels)))
    else:
        most = max(6, 60 // max(len(levels), 1))
        names = [level_text(level) for level in levels]
        if len(names) > 4 and max(map(len, names)) > most:  # words broken in the middle are no words
            axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(range(len(names)), [wrap(name, most) for name in names])
        axes.tick_params(axis="x", labelcolor=INK, length=0)
        axes.set_xlim(-0.6, len(levels) - 0.4)
        axes.grid(axis="x", visible=False)
    return place


def draw_rows(
    axes: Any, place: Places, series: Mapping[str, Series], style: Mapping[str, Mapping[str, Any]], main: str | None
) -> None:
    """Lines with bands, or dots with whiskers side by side where the levels are names."""
    drawn = [name for name, points in series.items() if points]
    for at, name in enumerate(drawn):
        points, stroke = series[name], dict(style[name])
        stroke["linewidth"] = 2.6 if name == main else stroke.get("linewidth", 1.5)
        x = np.array([place(level) for level, _ in points], float)
        y, low, high = (np.array([getattr(cell, key) for _, cell in points], float) for key in ("value", "low", "high"))
        if place.numeric:
            order = np.argsort(x)
            axes.plot(x[order], y[order], label=wrap(name, 26), zorder=3 + (name == main), **stroke)
            axes.fill_between(x[order], low[order], high[order], color=stroke["color"], alpha=0.15, linewidth=0)
            continue
        x = x + (0.0 if len(drawn) < 2 else 0.7 * (at / (len(drawn) - 1) - 0.5))
        stroke.update(linestyle="none", marker=stroke["marker"] or "_", markersize=9 if not stroke["marker"] else 5.5)
        if name == main:
            stroke.update(markersize=9, markeredgecolor=INK, markeredgewidth=1.2)
        axes.vlines(x, low, high, color=stroke["color"], linewidth=1.6, alpha=0.6)
        axes.plot(x, y, label=wrap(name, 26), zorder=3, **stroke)


def draw_matched(axes: Any, place: Places, scores: Scores, factor: str) -> list[tuple[Any, float]]:
    """The matched condition: at every level, the row that was trained there; drawn where there are two of them or more."""
    results = scores.results
    if not place.numeric or not any(factor in row.levels for row in results.rows):
        return []
    points = []
    for test in results.sweep(factor):
        level = results.level(test.id, factor)
        row = next((row for row in results.rows if row.kind == "train" and row.levels.get(factor) == level
                    and all(results.level(test.id, other) == value for other, value in row.levels.items())), None)  # fmt: skip
        cell = scores.at(row.name, test.id) if row else None
        if cell and math.isfinite(cell.value):
            points.append((level, cell.value))
    if len(points) > 1:
        points.sort()
        axes.plot(*zip(*points), color="#9aa3ac", linewidth=5, alpha=0.35, zorder=1.5, solid_capstyle="round")
    return points if len(points) > 1 else []


def spread_out(axes: Any, scores: Scores, cells: Sequence[Cell]) -> None:
    """A log scale for errors that differ by more than ten times: else small ones cannot be told apart."""
    values = [cell.value for cell in cells if math.isfinite(cell.value)]
    if scores.lower_is_better and values and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
        log_ticks(axes.yaxis)


def ring_trained(axes: Any, place: Places, series: Mapping[str, Series], trained: Mapping[str, Any]) -> None:
    """Rings around the points of a row at its own training level."""
    if not place.numeric:
        return
    for name, level in trained.items():
        for at, cell in series.get(name, ()):
            if level is not None and at == level:
                axes.plot(
                    place(at), cell.value, "o", markersize=11, markerfacecolor="none", color=INK, markeredgewidth=1.1
                )


def mark_reference(axes: Any, place: Places, reference: Any) -> None:
    """A dotted line at the level where the factor stands otherwise."""
    at = place(reference) if reference is not None else None
    if at is not None and place.numeric:
        axes.axvline(at, color=MUTED, linestyle=":", linewidth=1.1)
        axes.annotate("reference", (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3), ha="center",
                      textcoords="offset points", fontsize=8, color=MUTED)  # fmt: skip


def shade(
    axes: Any, place: Places, levels: Sequence[Any], kept: Sequence[Any], ends: Sequence[float] | None = None
) -> bool:
    """A tinted ground over the kept region, or over runs of levels that are kept."""
    if ends is not None and place.numeric and ends[0] < ends[1]:
        axes.axvspan(place(ends[0]), place(ends[1]), color=KEPT, zorder=0, linewidth=0)
        return True
    order = sorted(range(len(levels)), key=lambda i: place(levels[i])) if place.numeric else range(len(levels))
    run: list[float] = []
    runs: list[list[float]] = []
    for i in order:
        if levels[i] in kept:
            run.append(place(levels[i]))
        elif run:
            runs.append(run)
            run = []
    runs += [run] if run else []
    for part in runs:
        if place.log:
            low, high = part[0] / 1.04, part[-1] * 1.04
        else:
            room = 0.45 if not place.numeric else 0.008 * (max(map(place, levels)) - min(map(place, levels)))
            low, high = part[0] - room, part[-1] + room
        axes.axvspan(low, high, color=KEPT, zorder=0, linewidth=0)
    return bool(runs)


def proxies(main: str | None, matched: bool, ringed: bool) -> list[Any]:
    """Legend entries of what has no line of its own."""
    patches, lines = require("matplotlib.patches", "report"), require("matplotlib.lines", "report")
    found: list[Any] = []
    if matched:
        found.append(lines.Line2D([], [], color="#9aa3ac", linewidth=5, alpha=0.5, label="matched condition"))
    if ringed:
        found.append(lines.Line2D([], [], color=INK, marker="o", markersize=9, markerfacecolor="none", linestyle="none",
                                  label="tested as trained"))  # fmt: skip
    if main:
        found.append(
            patches.Patch(facecolor=KEPT, edgecolor=KEPT_EDGE, linewidth=0.6, label=wrap(f"kept by {main}", 26))
        )
    return found
