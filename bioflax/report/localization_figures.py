"""Pictures of localizations: points over raw frames, super-resolved renderings, densities. All return PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bioflax.errors import require
from bioflax.ops.colouring import COLOUR_MAPS, scale_bar
from bioflax.report.figures import add_bar, grey_range, shorten
from bioflax.report.style import WIDTH, look, new_figure, picture_axes, png

# state: (legend, marker, colour, size, filled); bright colours that stand out from grey and from one another
MARKS = {
    0: ("found", "o", "#19d3ff", 7.5, False),
    3: ("true place of a found one", "+", "#39ff5a", 5.5, True),
    1: ("false", "x", "#ff4fe0", 6.0, True),
    2: ("missed", "s", "#ffc400", 7.5, False),
    4: ("localization", "o", "#19d3ff", 7.5, False),
}


def overlays(
    frames: np.ndarray,
    numbers: Sequence[int],
    points: Mapping[str, Sequence[np.ndarray]],
    pixel_nm: float | None = None,
) -> bytes:
    """Points over frames: a row for each method, a column for each frame.

    Args:
        frames: (K, h, w) counts.
        numbers: (K,) frame numbers.
        points: method -> for each frame (n, 3): x and y in pixels from the outer corner, state of `MARKS`.
        pixel_nm: adds a scale bar.
    """
    rows, columns = len(points), max(len(frames), 2)
    height, width = frames.shape[1:]
    cell = min((WIDTH - 0.7) / columns, 4.4)
    with look():
        figure = new_figure(cell * columns + 0.7, rows * (cell * height / width + 0.3) + 0.35)
        grid = figure.subplots(rows, columns, squeeze=False)
        seen: dict[int, object] = {}
        low, high = grey_range(frames)
        for line, (method, of_frames) in zip(grid, points.items()):
            for axes in line[len(frames) :]:
                axes.set_visible(False)
            drawn = None
            for axes, frame, number, marked in zip(line, frames, numbers, of_frames):
                picture_axes(axes, f"{shorten(method)}, frame {number}" if rows > 1 else f"frame {number}")
                extent = (0, width, height, 0)
                drawn = axes.imshow(frame, cmap="gray", vmin=low, vmax=high, interpolation="nearest", extent=extent)
                for state, (words, marker, colour, size, filled) in MARKS.items():
                    here = marked[marked[:, 2] == state]
                    if len(here):
                        seen[state] = axes.plot(
                            here[:, 0], here[:, 1], marker, color=colour, markersize=size, markeredgewidth=1.2,
                            markerfacecolor=colour if filled else "none", label=words, clip_on=True,
                        )[0]  # fmt: skip
                axes.set(xlim=(0, width), ylim=(height, 0))
                if pixel_nm:
                    draw_bar(axes, width, height, pixel_nm)
            add_bar(figure, drawn, line[: len(frames)], "counts")
        if seen:
            handles = [seen[state] for state in MARKS if state in seen]
            legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=True)
            legend.get_frame().set(facecolor="#4a525b", edgecolor="none")
            for text in legend.get_texts():
                text.set_color("white")
        return png(figure)


def draw_bar(axes, width: float, height: float, pixel_nm: float) -> None:
    """A scale bar in data units: the largest of 0.5, 1, 2 and 5 µm that fits a third of the width."""
    length_nm = max((n for n in (100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4) if n <= width * pixel_nm / 3), default=0)
    if length_nm:
        right, low = 0.96 * width, 0.95 * height
        axes.plot(
            [right - length_nm / pixel_nm, right], [low, low], color="white", linewidth=2.5, solid_capstyle="butt"
        )
        words = f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"
        axes.annotate(
            words, (right - length_nm / pixel_nm / 2, low - 0.015 * height), color="white", fontsize=7.5,
            ha="center", va="bottom", bbox={"facecolor": "black", "alpha": 0.45, "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip


def renderings(pictures: Mapping[str, tuple[np.ndarray, float, tuple[float, float] | None]]) -> tuple[bytes, float]:
    """Super-resolved pictures side by side, each with a scale bar; depth as colour.

    Args:
        pictures: name -> (uint8 (H, W[, 3]), nm per pixel, depths of the first and last colour or None).

    Returns:
        PNG bytes; length of the bar, nm.
    """
    colours, mappables = require("matplotlib.colors", "report"), require("matplotlib.cm", "report")
    columns = max(len(pictures), 1)
    first = next(iter(pictures.values()))[0]
    cell = min((WIDTH - 0.8) / columns, 7.0)
    with look():
        figure = new_figure(cell * columns + 0.8, cell * min(first.shape[0] / first.shape[1], 2.0) + 0.3)
        grid = figure.subplots(1, columns, squeeze=False)[0]
        depths, length = None, 0.0
        for axes, (name, (image, nm, z_range)) in zip(grid, pictures.items()):
            picture_axes(axes, shorten(name))
            shown, length = scale_bar(image, nm)
            if image.ndim == 2:
                axes.imshow(shown, cmap=listed("fire"), vmin=0, vmax=255, interpolation="antialiased")
            else:
                axes.imshow(shown, interpolation="antialiased")
                depths = z_range
        if depths is not None:
            mappable = mappables.ScalarMappable(colours.Normalize(*depths), listed("depth"))
            add_bar(figure, mappable, grid, "z (nm)")
        return png(figure), length


def listed(name: str):
    """One of `ops.colouring.COLOUR_MAPS` for matplotlib."""
    anchors = np.array(COLOUR_MAPS[name]) / 255
    return require("matplotlib.colors", "report").LinearSegmentedColormap.from_list(name, anchors)


def densities(maps: Mapping[str, tuple[np.ndarray, float]]) -> bytes:
    """Localizations per area and frame over the field, on one scale.

    Args:
        maps: name -> ((h, w) 1 / µm² and frame, nm per cell).
    """
    columns = max(len(maps), 1)
    first = next(iter(maps.values()))[0]
    cell = min((WIDTH - 1.3) / columns, 4.5)
    top = max(float(np.percentile(values, 99.5)) for values, _ in maps.values()) or 1.0
    with look():
        figure = new_figure(cell * columns + 1.3, cell * min(first.shape[0] / first.shape[1], 2.0) + 0.6)
        grid = figure.subplots(1, columns, squeeze=False, sharey=True)[0]
        drawn = None
        for axes, (name, (values, nm)) in zip(grid, maps.items()):
            extent = (0, values.shape[1] * nm / 1000, values.shape[0] * nm / 1000, 0)
            drawn = axes.imshow(values, cmap="magma", vmin=0, vmax=top, extent=extent, interpolation="nearest")
            axes.grid(False)
            axes.set(title=shorten(name), xlabel="x (µm)")
        grid[0].set_ylabel("y (µm)")
        add_bar(figure, drawn, grid, "localizations / (µm² frame)")
        return png(figure)
