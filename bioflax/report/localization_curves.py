"""Curves and histograms of localizations: score against what makes it hard, errors over spreads, light. All return PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bioflax.errors import require
from bioflax.report.figures import shorten
from bioflax.report.style import COLOURS, MUTED, WIDTH, look, new_figure, png

Arrays = Mapping[str, np.ndarray]
LABELS = {
    "photons": "photons",
    "background_photons": "background (photons / pixel)",
    "z_nm": "z (nm)",
    "sigma_x_nm": "uncertainty of x (nm)",
    "sigma_y_nm": "uncertainty of y (nm)",
    "sigma_z_nm": "uncertainty of z (nm)",
    "probability": "probability",
    "neighbours_per_um2": "neighbours within 1 µm (1 / µm²)",
    "tolerance": "lateral tolerance (nm)",
}
BOUND = "√CRLB"


def colour_of(name: str, names: Sequence[str]) -> str:
    """One colour for one method in all figures; the truth is grey."""
    others = [other for other in names if other != "truth"]
    return MUTED if name not in others else COLOURS[others.index(name) % (len(COLOURS) - 2)]


def scores(by: str, x: np.ndarray, methods: Mapping[str, Arrays], bound: Arrays, count: np.ndarray | None) -> bytes:
    """Detection and errors of each method against one quantity.

    Args:
        by: key of `LABELS`.
        x: (B,) where the points lie.
        methods: name -> `jaccard`, `recall`, `rmse_lateral_nm` and perhaps `rmse_axial_nm`, (B,) each.
        bound: `rmse_lateral_nm`, `rmse_axial_nm` of the best possible localizer; may be empty.
        count: (B,) true emitters in each bin, for the caption under the axis; None draws none.
    """
    names = list(methods)
    axial = any(np.isfinite(values.get("rmse_axial_nm", np.nan)).any() for values in methods.values())
    with look():
        figure = new_figure(WIDTH, 3.1)
        panels = figure.subplots(1, 3 if axial else 2)
        for name, values in methods.items():
            colour, shown = colour_of(name, names), shorten(name)
            mark = {"marker": "o", "markersize": 3.5, "color": colour}
            panels[0].plot(x, values["jaccard"], label=f"{shown}: Jaccard", **mark)
            panels[0].plot(x, values["recall"], label=f"{shown}: recall", linestyle="--", alpha=0.65, **mark)
            for panel, key in zip(panels[1:], ("rmse_lateral_nm", "rmse_axial_nm")):
                if np.isfinite(values.get(key, np.nan)).any():
                    panel.plot(x, values[key], label=shown, **mark)
        for panel, key in zip(panels[1:], ("rmse_lateral_nm", "rmse_axial_nm")):
            if key in bound:
                panel.plot(x, bound[key], color="black", linestyle=":", linewidth=1.4, label=BOUND)
            panel.set(ylabel=f"RMSE, {'lateral' if 'lateral' in key else 'axial'} (nm)", ylim=(0, None))
            if panel.lines:
                panel.legend()
        panels[0].set(ylabel="share", ylim=(0, 1.03))
        panels[0].legend()
        for panel in panels:
            panel.set_xlabel(LABELS[by])
            if by == "photons" and np.min(x) > 0 and np.max(x) > 5 * np.min(x):
                panel.set(xscale="log", xlim=(0.8 * np.min(x), 1.25 * np.max(x)))
                log_ticks(panel)
        if count is not None:
            panels[0].set_title(f"{int(count.min())} to {int(count.max())} emitters a point", color=MUTED, fontsize=8)
        return png(figure)


def log_ticks(axes) -> None:
    """Plain numbers at 1, 2 and 5 times powers of ten."""
    ticker = require("matplotlib.ticker", "report")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def error_ratios(methods: Mapping[str, Arrays], edges: np.ndarray) -> bytes:
    """Errors over their predicted spread, and over the bound, beside the normal density that they should have.

    Args:
        methods: name -> `error_over_sigma.x` .., `error_over_crlb.x` .. counts.
        edges: of the bins; the outermost hold all that is farther.
    """
    kinds = [
        (f"{kind}.{axis}", f"error of {axis} / {words}")
        for kind, words in (("error_over_sigma", "predicted spread"), ("error_over_crlb", BOUND))
        for axis in "xyz"
        if any(f"{kind}.{axis}" in values for values in methods.values())
    ]
    columns = 3 if len(kinds) % 3 == 0 else 2
    rows = -(-len(kinds) // columns)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    t = np.linspace(edges[0], edges[-1], 300)
    with look():
        figure = new_figure(WIDTH, 2.5 * rows + 0.2)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(kinds) :]:
            axes.set_visible(False)
        for axes, (key, label) in zip(grid.flat, kinds):
            for name, values in methods.items():
                if key in values and values[key].sum():
                    density = values[key] / values[key].sum() / width
                    axes.step(middle, density, where="mid", color=colour_of(name, list(methods)), label=shorten(name))
            axes.plot(t, np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi), color="black", linestyle=":", label="normal")
            axes.set(xlabel=label, ylabel="density", xlim=(edges[0], edges[-1]))
        grid.flat[0].legend()
        return png(figure)


def offsets(methods: Mapping[str, Arrays]) -> bytes:
    """Place in the camera pixel; flat where a localizer has no preference.

    Args:
        methods: name -> `offset_x`, `offset_y` counts.
    """
    with look():
        figure = new_figure(WIDTH * 0.8, 2.7)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, axis in zip(panels, "xy"):
            for name, values in methods.items():
                counts = values[f"offset_{axis}"]
                edges = np.linspace(0, 1, len(counts) + 1)
                share = counts / max(counts.sum(), 1) * len(counts)
                axes.stairs(share, edges, color=colour_of(name, list(methods)), label=shorten(name), linewidth=1.6)
            axes.axhline(1.0, color="black", linestyle=":", linewidth=1)
            axes.set(xlabel=f"offset of {axis} in the camera pixel (pixels)", xlim=(0, 1), ylim=(0, None))
        panels[0].set_ylabel("density (1: even)")
        panels[0].legend(loc="lower center", ncols=3)
        return png(figure)


def columns(methods: Mapping[str, Arrays]) -> bytes:
    """Histograms of the columns that the tables have: light, background, depth, uncertainties."""
    keys = [key for key in LABELS if any(f"count_{key}" in values for values in methods.values())]
    across = min(3, max(len(keys), 2))
    rows = -(-len(keys) // across)
    with look():
        figure = new_figure(WIDTH, 2.3 * rows + 0.2)
        grid = figure.subplots(rows, across, squeeze=False)
        for axes in grid.flat[len(keys) :]:
            axes.set_visible(False)
        for axes, key in zip(grid.flat, keys):
            for name, values in methods.items():
                if f"count_{key}" in values:
                    counts, edges = values[f"count_{key}"], values[f"edges_{key}"]
                    colour = colour_of(name, list(methods))
                    axes.stairs(counts, edges, color=colour, label=shorten(name), linewidth=1.4)
                    if len(methods) == 1:
                        axes.stairs(counts, edges, color=colour, alpha=0.2, fill=True)
                    if key in ("photons", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm") and edges[0] > 0:
                        axes.set_xscale("log")
                        log_ticks(axes)
                        if edges[-1] > 30 * edges[0]:
                            axes.tick_params(axis="x", labelsize=7)
            axes.set(xlabel=LABELS[key], ylabel="localizations")
        if len(methods) > 1:
            grid.flat[0].legend()
        return png(figure)


def over_time(methods: Mapping[str, Arrays]) -> bytes:
    """Localizations per frame."""
    with look():
        figure = new_figure(WIDTH, 2.4)
        axes = figure.subplots()
        for name, values in methods.items():
            short = len(values["per_frame"]) <= 60
            axes.plot(
                values["frame_number"], values["per_frame"], color=colour_of(name, list(methods)), label=shorten(name),
                linewidth=1.3, marker="o" if short else None, markersize=3,
            )  # fmt: skip
        axes.set(xlabel="frame", ylabel="localizations / frame", ylim=(0, None))
        if len(methods) > 1:
            axes.legend(ncols=len(methods), loc="lower right")
        return png(figure)
