"""Curves of found objects and spots: scores over the threshold, counts, sizes, overlaps, probabilities. All return PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bioflax.report.figures import shorten
from bioflax.report.localization_curves import colour_of
from bioflax.report.style import MUTED, WIDTH, look, new_figure, png

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]
DRAWN = 4000  # points of a scatter plot; more hide one another
BINS = 8  # of size, with equally many objects each


def thresholds(x: Sequence[float], panels: Mapping[str, Mapping[str, np.ndarray]], label: str) -> bytes:
    """Scores of each method over the threshold of a match, one panel a kind of score.

    Args:
        x: (T,) thresholds.
        panels: what is drawn -> method -> (T,) in 0 to 1; NaN is left out.
        label: of the x axis.
    """
    with look():
        figure = new_figure(WIDTH, 3.2)
        grid = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        for axes, (words, methods) in zip(grid, panels.items()):
            for name, values in methods.items():
                axes.plot(
                    x, values, marker="o", markersize=4, color=colour_of(name, list(methods)), label=shorten(name)
                )
            axes.set(xlabel=label, ylabel=words, ylim=(-0.02, 1.03))
        grid[0].legend()
        return png(figure)


def counts(methods: Pairs, noun: str) -> bytes:
    """Predicted over true number, a point an image; on the line they agree.

    Args:
        methods: name -> true and predicted numbers of each image, (N,) each.
        noun: what is counted.
    """
    most = max((max(np.max(one, initial=0) for one in pair) for pair in methods.values()), default=0)
    with look():
        figure = new_figure(WIDTH, 3.6)
        axes, differences = figure.subplots(1, 2)
        edge = 1.06 * max(float(most), 1.0)
        axes.plot([0, edge], [0, edge], color=MUTED, linestyle=":", linewidth=1.3)
        # The judged method is drawn last, above all others
        for name, (true, predicted) in reversed(list(methods.items())):
            style = {"color": colour_of(name, list(methods)), "alpha": 0.75, "label": shorten(name)}
            axes.plot(true, predicted, "o", markersize=4.5, markeredgewidth=0, **style)
        axes.set(xlabel=f"true {noun} in an image", ylabel=f"predicted {noun}", aspect="equal")
        axes.set(xlim=(-0.03 * edge, edge), ylim=(-0.03 * edge, edge))
        handles, words = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], words[::-1], loc="upper left")
        off = {name: np.asarray(predicted, float) - true for name, (true, predicted) in methods.items()}
        edges = whole_edges(np.concatenate([*off.values(), [0.0]]))
        for name, values in off.items():
            colour = colour_of(name, list(methods))
            axes = differences
            axes.hist(values, edges, histtype="step", color=colour, linewidth=1.6)
            if len(off) == 1:
                axes.hist(values, edges, color=colour, alpha=0.2)
        differences.axvline(0, color=MUTED, linestyle=":", linewidth=1.3)
        differences.set(xlabel=f"predicted minus true {noun}", ylabel="images")
        return png(figure)


def whole_edges(values: np.ndarray, most: int = 41) -> np.ndarray:
    """Edges of bins of a whole width, centred on whole numbers."""
    low, high = np.floor(values.min()), np.ceil(values.max())
    step = max(int(np.ceil((high - low + 1) / most)), 1)
    return np.arange(low - 0.5, high + 0.5 + step, step)


def sizes(methods: Pairs, unit: str = "px") -> bytes:
    """Equivalent diameter of matched objects, predicted over true, and relative error of size over the true diameter.

    Args:
        methods: name -> true and predicted diameters of its pairs, (P,) each; the first is drawn pair by pair.
        unit: of the diameters.
    """
    main = next(iter(methods))
    true, predicted = methods[main]
    with look():
        figure = new_figure(WIDTH, 3.6)
        axes, errors = figure.subplots(1, 2)
        edge = 1.06 * max(np.max(true, initial=1.0), np.max(predicted, initial=1.0))
        axes.plot([0, edge], [0, edge], color=MUTED, linestyle=":", linewidth=1.3)
        drawn = thinned(len(true))
        axes.plot(
            true[drawn], predicted[drawn], "o", markersize=3.5, markeredgewidth=0, color=colour_of(main, list(methods)),
            alpha=0.6 if len(drawn) < 500 else 0.25, label=f"{shorten(main)}, {len(true)} pairs",
        )  # fmt: skip
        axes.set(xlabel=f"true equivalent diameter ({unit})", ylabel=f"predicted ({unit})", aspect="equal")
        axes.set(xlim=(0, edge), ylim=(0, edge))
        axes.legend(loc="upper left")
        for name, pair in methods.items():
            at, low, middle, high = size_bins(*pair)
            colour = colour_of(name, list(methods))
            errors.plot(at, middle, marker="o", markersize=4, color=colour, label=shorten(name))
            errors.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        errors.axhline(0, color=MUTED, linestyle=":", linewidth=1.3)
        errors.set(xlabel=f"true equivalent diameter ({unit})", ylabel="error of the diameter (%)")
        errors.legend()
        return png(figure)


def size_bins(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Median true diameter, and the quartiles and the median of the relative error in %, in bins of equally many."""
    order = np.argsort(true, kind="stable")
    parts = [part for part in np.array_split(order, min(BINS, max(len(order) // 5, 1))) if len(part)]
    error = 100.0 * (np.asarray(predicted, float) / np.maximum(true, 1e-9) - 1.0)
    quartiles = [np.percentile(error[part], (25, 50, 75)) for part in parts]
    low, middle, high = np.array(quartiles).reshape(-1, 3).T
    return np.array([np.median(true[part]) for part in parts]), low, middle, high


def thinned(count: int) -> np.ndarray:
    """Indices of at most `DRAWN` evenly spaced of `count` points."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, DRAWN)).astype(int)) if count else np.empty(0, int)


def histogram(methods: Mapping[str, np.ndarray], edges: np.ndarray, label: str, noun: str = "pairs") -> bytes:
    """Share of values in bins, a line a method.

    Args:
        methods: name -> values; those outside the edges go into the outermost bins.
        edges: of the bins.
        label: of the x axis.
        noun: what the values belong to.
    """
    with look():
        figure = new_figure(WIDTH * 0.62, 2.8)
        axes = figure.subplots()
        for name, values in methods.items():
            found = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            share = 100.0 * found / max(len(values), 1)
            colour = colour_of(name, list(methods))
            axes.stairs(share, edges, color=colour, linewidth=1.6, label=f"{shorten(name)} ({len(values)})")
            if len(methods) == 1:
                axes.stairs(share, edges, color=colour, alpha=0.2, fill=True)
        axes.set(xlabel=label, ylabel=f"share of {noun} (%)", xlim=(edges[0], edges[-1]))
        axes.legend()
        return png(figure)


def probabilities(methods: Pairs) -> bytes:
    """How the probabilities of hits and false alarms lie, and how often each probability is right.

    Args:
        methods: name -> probability of each prediction, and whether it was a hit, (P,) each; the first is drawn left.
    """
    main = next(iter(methods))
    score, hit = (np.asarray(values) for values in methods[main])
    edges = np.linspace(0, 1, 21)
    with look():
        figure = new_figure(WIDTH, 3.2)
        axes, right = figure.subplots(1, 2)
        for words, chosen, colour in (("hits", hit > 0, "#0072b2"), ("false alarms", hit == 0, "#d55e00")):
            found = np.histogram(np.clip(score[chosen], 0, 1), edges)[0]
            axes.stairs(found, edges, color=colour, linewidth=1.6, label=f"{words} ({int(chosen.sum())})")
            axes.stairs(found, edges, color=colour, alpha=0.2, fill=True)
        axes.set(xlabel=f"probability, {shorten(main)}", ylabel="predictions", xlim=(0, 1))
        axes.legend(loc="upper left")
        right.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1.3)
        for name, (values, hits) in methods.items():
            place = np.clip((np.asarray(values) * 10).astype(int), 0, 9)
            full = [part for part in range(10) if (place == part).any()]
            mean = [float(np.mean(values[place == part])) for part in full]
            share = [float(np.mean(hits[place == part])) for part in full]
            right.plot(mean, share, "o-", markersize=4, color=colour_of(name, list(methods)), label=shorten(name))
        right.set(xlabel="mean probability", ylabel="share of hits", xlim=(0, 1), ylim=(-0.02, 1.03))
        right.legend(loc="upper left")
        return png(figure)
