"""Pictures of super-resolution: measured and prior part, and maps of doubt. Each returns PNG bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bioflax.errors import require
from bioflax.report.figures import add_bar, grey_range
from bioflax.report.localization_figures import draw_bar
from bioflax.report.style import WIDTH, look, new_figure, picture_axes, png

PRIOR = "PRIOR: beyond what was measured"
LEAST_PRIOR = 0.05  # of the grey range: a prior that hardly matters is not blown up to full colour
DOUBT = (4.0, 64.0)  # smallest and largest end of the scale of chi-square


def parts(
    raw: np.ndarray,
    result: np.ndarray,
    measured: np.ndarray,
    prior: np.ndarray,
    *,
    fine_nm: float,
    unit: str = "counts",
) -> bytes:
    """A raw picture, the result, and the two parts that add up to the result.

    Args:
        raw: (h, w) camera pixels.
        result, measured: (s h, s w) of the same place, in the unit of `raw`; one grey scale for the three.
        prior: (s h, s w), on a signed scale of its own.
        fine_nm: side of a pixel of the result.
        unit: of all four.
    """
    ranges = [grey_range(image) for image in (raw, result)]
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    limit = max(float(np.percentile(np.abs(prior), 99.5)), LEAST_PRIOR * (high - low))
    height, width = result.shape
    with look():
        figure, grid = four(height, width)
        shown = None
        titles = ("raw picture", "result", "result: measured")
        for axes, title, image in zip(grid.flat, titles, (raw, result, measured)):
            picture_axes(axes, title)
            extent = (0, width, height, 0)
            shown = axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest", extent=extent)
            finish(axes, height, width, fine_nm)
        add_bar(figure, shown, grid[0], f"{unit}, the three grey pictures")
        axes = grid[1, 1]
        picture_axes(axes, PRIOR)
        drawn = axes.imshow(prior, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        add_bar(figure, drawn, grid[1], f"{unit}, prior (red adds, blue takes away)")
        return png(figure)


def doubts(
    share: np.ndarray,
    chi_square: np.ndarray,
    error: np.ndarray,
    residual: np.ndarray,
    *,
    limit: float,
    fine_nm: float,
    upscale: int,
    window: tuple[slice, slice] | None = None,
    unit: str = "counts",
) -> bytes:
    """Where the result owes its structure to the prior, and where it disagrees with the raw picture.

    Args:
        share: (s H, s W) local share of the prior, 0 to 1.
        chi_square: (H, W) local chi-square.
        error: (H, W) of SQUIRREL.
        residual: (H, W) raw picture minus result through the optics.
        limit: of chi-square; the scale ends at twice as much or further out.
        fine_nm: side of a pixel of the result.
        upscale: s.
        window: camera pixels shown by `parts`: a frame marks them.
        unit: of error and residual.
    """
    norm, end = doubt_scale(chi_square, limit)
    worst = max(float(np.percentile(error, 99.8)), 1e-12)
    off = max(float(np.percentile(np.abs(residual), 99.8)), 1e-12)
    panels = (
        ("share of the prior", share, {"cmap": "viridis", "vmin": 0, "vmax": 1}, "share of the local contrast"),
        ("chi-square", np.clip(chi_square, 1 / end, end), {"cmap": "PuOr_r", "norm": norm}, "1: noise explains it"),
        ("SQUIRREL error map", error, {"cmap": "magma", "vmin": 0, "vmax": worst}, unit),
        ("raw picture − result through the optics", residual, {"cmap": "RdBu_r", "vmin": -off, "vmax": off}, unit),
    )
    height, width = share.shape
    with look():
        figure, grid = four(height, width)
        for axes, (title, image, scale, label) in zip(grid.flat, panels):
            picture_axes(axes, title)
            drawn = axes.imshow(image, interpolation="antialiased", extent=(0, width, height, 0), **scale)
            bar = add_own_bar(figure, drawn, axes, label)
            if title == "chi-square":
                ticks = [2.0**k for k in range(-round(math.log2(end)), round(math.log2(end)) + 1)]
                bar.set_ticks(ticks, labels=[f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
                bar.minorticks_off()
            if window is not None:
                rows, columns = window
                y, x = ([part.start * upscale, part.stop * upscale] for part in (rows, columns))
                axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color="black", linewidth=1.6)
                axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color="white", linewidth=0.7)
            finish(axes, height, width, fine_nm if axes is grid[0, 0] else None)
        return png(figure)


def doubt_scale(chi_square: np.ndarray, limit: float) -> tuple[Any, float]:
    """A logarithmic scale around 1 with ends at a power of two, and its upper end."""
    wanted = max(2 * limit, float(np.percentile(chi_square, 99)), DOUBT[0])
    end = 2.0 ** math.ceil(math.log2(min(wanted, DOUBT[1])))
    return require("matplotlib.colors", "report").LogNorm(1 / end, end), end


def four(height: int, width: int) -> tuple[Any, np.ndarray]:
    """A figure of two by two pictures of one shape."""
    cell = (WIDTH - 1.3) / 2
    figure = new_figure(WIDTH, 2 * (cell * min(height / width, 2.0) + 0.28))
    return figure, figure.subplots(2, 2)


def finish(axes: Any, height: float, width: float, fine_nm: float | None) -> None:
    """Limits of a picture in fine pixels and, where their size is given, a scale bar."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    if fine_nm:
        draw_bar(axes, width, height, fine_nm)


def add_own_bar(figure: Any, drawn: Any, axes: Any, label: str) -> Any:
    """A thin colour bar for one picture."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, aspect=22, pad=0.012)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    return bar
