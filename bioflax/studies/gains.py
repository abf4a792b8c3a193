"""What helps and what it costs, how far seeds lie apart, and quality against speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioflax.errors import require
from bioflax.report.style import INK, look, new_figure
from bioflax.studies.drawing import Drawing, band_words, held_fixed, legend_outside, log_ticks, strokes, wrap
from bioflax.studies.matrices import blank, csv_cell, name_of
from bioflax.studies.scores import Scores, reference_test
from bioflax.studies.wording import digits_of, factor_label, level_text, metric_label, metric_unit, signed

WIDE = 9.4
COSTS = {
    "seconds_per_mpx": "seconds per megapixel",
    "flops_per_px": "operations per pixel (FLOPs)",
    "parameters": "parameters",
    "train_seconds": "training time (s)",
}


@dataclass(frozen=True)
class Gain:
    """How much better one row is than the plain one under a test; above 0 is better, whatever the metric."""

    row: str
    test: str
    value: float
    low: float
    high: float


def gains(scores: Scores, factor: str | None, main: str, found: Sequence[Gain]) -> Drawing:
    """The gain of every help over the plain row at every level of a factor, and its price at the reference.

    Args:
        scores: of the metric of the question.
        factor: swept in the test; None shows the reference alone.
        main: name of the plain row.
        found: gains of helps by test.
    """
    results, reference = scores.results, reference_test(scores.results)
    tests = [test.id for test in results.sweep(factor)] if factor else [reference]
    helps = list(dict.fromkeys(gain.row for gain in found))
    at = {(gain.row, gain.test): gain for gain in found}
    style, unit = strokes(results.rows), metric_unit(scores.metric)
    digits = digits_of(scores.metric, [gain.value for gain in found])
    label = f"gain over {wrap(main, 30)}" + (f"\n({unit})" if unit else "")
    with look():
        width = min(max(4.0 + 0.35 * len(tests) * (1 + len(helps)), 5.5), WIDE)
        figure = new_figure(width, max(3.0, 0.32 * len(helps) + 2.2))
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=1)
        for k, name in enumerate(helps):
            shown = [(i, at[name, test]) for i, test in enumerate(tests) if (name, test) in at]
            if not shown:
                continue
            x = np.array([i for i, _ in shown]) + (0.0 if len(helps) < 2 else 0.6 * (k / (len(helps) - 1) - 0.5))
            colour, marker = style[name]["color"], style[name]["marker"]
            axes.vlines(
                x, [g.low for _, g in shown], [g.high for _, g in shown], color=colour, linewidth=1.8, alpha=0.6
            )
            axes.plot(x, [g.value for _, g in shown], linestyle="none", marker=marker, color=colour, markersize=6,
                      label=wrap(name, 26))  # fmt: skip
            if len(helps) * len(tests) <= 10:
                for place, (_, gain) in zip(x, shown):
                    axes.annotate(signed(gain.value, digits), (place, gain.value),
                                  xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK)  # fmt: skip
        texts = [
            "reference" if test == reference and not factor else level_text(results.level(test, factor))
            for test in tests
        ]
        axes.set_xticks(range(len(tests)), [wrap(text, 14) for text in texts])
        for tick, test in zip(axes.get_xticklabels(), tests):
            tick.set(fontweight="bold" if test == reference else "normal", color=INK)
        axes.set(xlim=(-0.6, len(tests) - 0.4), ylabel=label)
        if factor:
            axes.set_xlabel(factor_label(factor, results.study["factors"][factor]))
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", length=0)
        legend_outside(figure, axes)
    flipped = " (less error counts as a gain)" if scores.lower_is_better else ""
    caption = (
        f"What every help brings over {main!r}, the same items under both{flipped}: above 0 it helps. Bold: the reference; "
        f"below 0 there is its price. Whiskers: {band_words(results.study)}. {held_fixed(results.study, (factor,))}"
    )
    table = [
        [g.row, main, name_of(results, g.test), *map(blank, (g.value, g.low, g.high))] for g in found if g.test in tests
    ]
    name = f"gains_{factor}" if factor else "gains"
    return Drawing(name, figure, caption, ["row", "over", "test", f"gain_{scores.metric}", "low", "high"], table)


def seeds(scores: Scores) -> Drawing:
    """The metric of each seed at the reference test, a line of dots for each trained row."""
    results, test = scores.results, reference_test(scores.results)
    found = {row.name: results.tallies.get((row.name, test, scores.metric)) for row in results.rows
             if row.kind in ("train", "help")}  # fmt: skip
    dots = {name: np.asarray(tally.by_seed) for name, tally in found.items() if tally is not None}
    style, names = strokes(results.rows), list(dots)
    with look():
        figure = new_figure(7.5, max(1.6, 0.3 * sum(wrap(n, 30).count("\n") + 1 for n in names) + 0.9))
        axes = figure.subplots()
        for at, name in enumerate(names):
            mark = {
                "marker": style[name]["marker"],
                "color": style[name]["color"],
                "linestyle": "none",
                "markersize": 5.5,
            }
            axes.plot(dots[name], np.full(len(dots[name]), at), alpha=0.75, clip_on=False, **mark)
            if np.isfinite(dots[name]).any():
                axes.plot(np.nanmean(dots[name]), at, "|", color=INK, markersize=15, markeredgewidth=1.6)
        axes.set_yticks(range(len(names)), [wrap(name, 30) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(xlabel=metric_label(scores.metric), ylim=(max(len(names), 1) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)
    caption = (
        f"Each dot is one training (seed) at the reference test, the tick their mean. {held_fixed(results.study, ())} "
        "A difference between rows that is smaller than the spread of the dots says little."
    )
    table = [
        [name, seed if seed is not None else "", blank(float(value))]
        for name, values in dots.items()
        for seed, value in zip(results.seeds.get((name, test), range(len(values))), values)
    ]
    return Drawing("seeds", figure, caption, ["row", "seed", scores.metric], table)


def quality_and_cost(scores: Scores, cost: str) -> Drawing:
    """The metric at the reference test against what a row costs; the rows that no other beats in both are joined.

    Args:
        scores: of the metric of the question.
        cost: key of `COSTS`.
    """
    results, test = scores.results, reference_test(scores.results)
    found = {}
    for row in results.rows:
        price, cell = results.cost.get(row.name, {}).get(cost), scores.at(row.name, test)
        if price and price > 0 and cell and math.isfinite(cell.value):
            found[row.name] = (float(price), cell)
    style, front = strokes(results.rows), best_front(found, scores.lower_is_better)
    with look():
        figure = new_figure(WIDE * 0.85, 4.6)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(
            [found[n][0] for n in front], [found[n][1].value for n in front], color="#c3cad1", linewidth=3, zorder=1
        )
        for name, (price, cell) in found.items():
            axes.vlines(price, cell.low, cell.high, color=style[name]["color"], linewidth=1.4, alpha=0.5)
            axes.plot(
                price, cell.value, marker=style[name]["marker"], color=style[name]["color"], markersize=6.5, zorder=3
            )
        prices = [price for price, _ in found.values()] or [1.0]
        axes.set_xlim(min(prices) / 1.5, max(prices) * 1.5)
        axes.margins(y=0.12)
        axes.set(xlabel=COSTS.get(cost, cost.replace("_", " ")), ylabel=metric_label(scores.metric))
        log_ticks(axes.xaxis)
        if max(prices) / min(prices) > 100:
            axes.xaxis.set_major_locator(decades())
        label_points(figure, axes, {name: (price, cell.value) for name, (price, cell) in found.items()})
    caption = (
        f"{metric_label(scores.metric)} at the reference test against {COSTS.get(cost, cost)}. Whiskers: "
        f"{band_words(results.study)}. Grey: rows that no cheaper one equals. Names "
        f"that find no room are in the table. {held_fixed(results.study, ())}"
    )
    table = [[name, price, *csv_cell(scores, name, test), int(name in front)] for name, (price, _) in found.items()]
    headings = ["row", cost, scores.metric, "low", "high", "seeds", "on_front"]
    return Drawing(f"quality_{cost}", figure, caption, headings, table)


def decades() -> Any:
    return require("matplotlib.ticker", "report").LogLocator()


def best_front(found: Mapping[str, tuple[float, Any]], lower_is_better: bool) -> list[str]:
    """Names that no cheaper one equals, the cheapest first."""
    front: list[str] = []
    sign = -1.0 if lower_is_better else 1.0
    for name in sorted(found, key=lambda n: (found[n][0], -sign * found[n][1].value)):
        if not front or sign * found[name][1].value > sign * found[front[-1]][1].value:
            front.append(name)
    return front


def label_points(figure: Any, axes: Any, points: Mapping[str, tuple[float, float]]) -> None:
    """Names beside points, where they cover neither a point nor another name; a name without room is left to the table."""
    figure.canvas.draw()
    renderer, inside = figure.canvas.get_renderer(), axes.get_window_extent()
    halo = require("matplotlib.patheffects", "report").withStroke(linewidth=2.2, foreground="white")
    marks = axes.transData.transform(list(points.values())) if points else []
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    offsets = ((8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top"),
               (7, 7, "left", "bottom"), (-7, -7, "right", "top"), (-7, 7, "right", "bottom"), (7, -7, "left", "top"))  # fmt: skip
    for (name, point), own in zip(points.items(), list(taken)):
        short = name if len(name) <= 26 else name[:25] + "…"
        for dx, dy, ha, va in offsets:
            text = axes.annotate(short, point, xytext=(dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7.5,
                                 color=INK, annotation_clip=False)  # fmt: skip
            text.set_path_effects([halo])
            box = text.get_window_extent(renderer)
            fits = box.x0 > inside.x0 and box.x1 < inside.x1 and box.y0 > inside.y0 and box.y1 < inside.y1
            if fits and not any(other != own and overlaps(box, other) for other in taken):
                taken.append((box.x0, box.y0, box.x1, box.y1))
                break
            text.remove()


def overlaps(box: Any, other: tuple[float, float, float, float]) -> bool:
    return box.x0 < other[2] and box.x1 > other[0] and box.y0 < other[3] and box.y1 > other[1]
