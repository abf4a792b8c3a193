"""Pictures: images side by side on one grey scale, signed errors, and galleries. Each function returns PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bioflax.report.style import WIDTH, look, new_figure, picture_axes, png

GREY_PERCENTILES = (0.5, 99.8)  # a few bright pixels must not turn all others black


def grey_range(image: np.ndarray) -> tuple[float, float]:
    """Display limits of an image: its 0.5 and 99.8 percentiles, never empty."""
    low, high = (float(value) for value in np.percentile(image, GREY_PERCENTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def side_by_side(panels: Mapping[str, np.ndarray], reference: str, *, scale: np.ndarray | None = None) -> bytes:
    """Images of one field on one grey scale, and below them their signed errors on one colour scale.

    Args:
        panels: title -> (H, W), one shape and unit.
        reference: the title of the clean image (errors are shown), or of the image that sets the grey scale.
        scale: (H, W) predicted standard deviation, shown below the reference.

    Returns:
        PNG bytes.
    """
    low, high = grey_range(panels[reference])
    clean = reference if reference == "target" else None
    rows = 2 if clean or scale is not None else 1
    columns = max(len(panels), 2)
    tall = next(iter(panels.values())).shape
    cell = (WIDTH - 0.95) / columns  # the rest is for the colour bars
    with look():
        figure = new_figure(WIDTH, rows * (cell * min(tall[0] / tall[1], 2.0) + 0.26))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            picture_axes(axes)
            axes.set_visible(False)
        shown = None
        for axes, (title, image) in zip(grid[0], panels.items()):
            axes.set_visible(True)
            picture_axes(axes, title)
            shown = axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        add_bar(figure, shown, grid[0], "grey level")
        if clean:
            errors = {title: image - panels[clean] for title, image in panels.items() if title != clean}
            limit = max(float(np.percentile(np.abs(list(errors.values())[-1]), 99.5)), 1e-12)
            drawn = None
            for axes, (title, error) in zip(grid[1], errors.items()):
                axes.set_visible(True)
                picture_axes(axes, f"{title}: error")
                drawn = axes.imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            add_bar(figure, drawn, grid[1], "error")
        if scale is not None:
            axes = grid[1][len(panels) - 1]
            axes.set_visible(True)
            picture_axes(axes, "predicted spread")
            axes.imshow(scale, cmap="magma", vmin=0, vmax=float(np.percentile(scale, 99.8)) or 1.0)
        return png(figure)


def add_bar(figure, drawn, axes: Sequence, label: str) -> None:
    """A thin colour bar for one row of pictures."""
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.85, aspect=22, pad=0.012)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)


def gallery(panels: Sequence[tuple[str, np.ndarray]], *, columns: int = 6, signed: bool = False) -> bytes:
    """Many images, each on its own scale: grey by percentiles, or signed around zero.

    Args:
        panels: (title, (H, W)).
        columns: pictures in a row.
        signed: show deviations from zero in blue and red.
    """
    most = min(columns, max(len(panels), 3))
    columns = min(most, len(panels))
    rows = -(-len(panels) // columns)
    cell = WIDTH / most
    with look():
        figure = new_figure(cell * columns, rows * (cell + 0.25))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for axes, (title, image) in zip(grid.flat, panels):
            axes.set_visible(True)
            picture_axes(axes)
            axes.set_title(shorten(title), fontsize=8, fontweight="normal")
            if signed:
                limit = max(float(np.percentile(np.abs(image), 99)), 1e-12)
                axes.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            else:
                low, high = grey_range(image)
                axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        return png(figure)


def shorten(title: str, limit: int = 26) -> str:
    """The end of a long name is what tells files apart; its middle is left out."""
    return title if len(title) <= limit else f"{title[: limit // 2 - 1]}…{title[-(limit // 2) :]}"
