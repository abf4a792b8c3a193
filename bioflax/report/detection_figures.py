"""Pictures of found objects and spots: what was hit, missed and false over the image. All return PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bioflax.errors import InputError, require
from bioflax.metrics import match_labels, match_points
from bioflax.metrics.outcomes import FALSE, FOUND, MISSED, object_states, point_states
from bioflax.report.figures import grey_range, shorten
from bioflax.report.localization_figures import draw_bar
from bioflax.report.style import WIDTH, look, new_figure, picture_axes, png

PREDICTED = "predicted"
LISTED = (FOUND, FALSE, MISSED, PREDICTED)  # in the order of the legend
TALLEST = 2.0  # height over width of a picture, at most


@dataclass(frozen=True)
class Mark:
    """How a state is drawn. Colour never tells alone: markers, line widths and the tint differ too."""

    words: str
    colour: str
    marker: str
    size: float
    width: float
    tint: float = 0.0


# In the order of drawing. Of bright colours these keep far from one another and from grey with any colour vision.
MARKS = {
    MISSED: Mark("missed", "#a6ff00", "s", 8.0, 1.3, 0.3),
    FOUND: Mark("found", "#3d94ff", "o", 7.0, 1.3),
    FALSE: Mark("false alarm", "#ff8052", "x", 6.5, 1.9),
    PREDICTED: Mark("predicted", "#3d94ff", "o", 7.0, 1.3),
}


@dataclass(frozen=True)
class Panel:
    """One picture.

    Args:
        title: above it; a second line is allowed.
        image: (H, W).
        labels: state of `MARKS` -> (H, W) label image of the objects in that state.
        points: state -> (N, 2), y and x in pixels, pixel centres at integers.
    """

    title: str
    image: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    points: Mapping[str, np.ndarray] = field(default_factory=dict)


def judged_panel(title: str, image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> Panel:
    """The panel of an image with its truth: label images are matched at an IoU of 0.5, points (N, d) within 3 px.

    Of a volume the brightest pixels along z are shown, with the points of all planes.
    """
    flat = image if image.ndim == 2 else image.max(axis=0)
    if np.issubdtype(found.dtype, np.integer) and found.shape == image.shape:
        states = object_states(truth, found, match_labels(truth, found))
        return Panel(title, flat, labels={n: own if own.ndim == 2 else own.max(axis=0) for n, own in states.items()})
    states = point_states(truth, found, match_points(truth, found))
    return Panel(title, flat, points={state: points[:, -2:] for state, points in states.items()})


def overlays(panels: Sequence[Panel], *, columns: int = 5, pixel_nm: float | None = None) -> bytes:
    """Pictures with outlines and markers in a grid, each on its own percentile grey range, and one legend.

    Args:
        panels: in reading order.
        columns: pictures in a row.
        pixel_nm: adds a scale bar.
    """
    columns = max(min(columns, len(panels)), 1)
    rows = max(-(-len(panels) // columns), 1)
    cell = min(WIDTH / columns, 5.2)
    tall = max((min(panel.image.shape[0] / panel.image.shape[1], TALLEST) for panel in panels), default=1.0)
    lines = max((panel.title.count("\n") + 1 for panel in panels), default=1)
    with look():
        figure = new_figure(cell * columns, rows * (cell * tall + 0.08 + 0.16 * lines) + 0.35)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        # Small pictures need smaller markers
        scale = min(1.0, 0.45 + cell / 6.5)
        scales = set()
        for axes, panel in zip(grid.flat, panels):
            draw_panel(axes, panel, scale)
            # Equal sizes are drawn on one scale: a bar in each would only hide what lies below it
            if pixel_nm and panel.image.shape not in scales:
                scales.add(panel.image.shape)
                draw_bar(axes, panel.image.shape[1], panel.image.shape[0], pixel_nm)
        add_legend(figure, panels)
        return png(figure)


def draw_panel(axes, panel: Panel, scale: float = 1.0, marker: float | None = None) -> None:
    """An image with its outlines and points; `scale` of lines and, unless `marker` says otherwise, of markers."""
    collections = require("matplotlib.collections", "report")
    picture_axes(axes)
    for side in axes.spines.values():  # where a bright image ends on a white page
        side.set(visible=True, linewidth=0.6)
    first, _, second = panel.title.partition("\n")
    axes.set_title("\n".join(filter(None, [shorten(first, 30), second])), fontsize=7.5, fontweight="normal")
    low, high = grey_range(panel.image)
    axes.imshow(panel.image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for state, labels in panel.labels.items():
        mark = MARKS[state]
        if mark.tint:
            axes.imshow(tinted(labels, mark), interpolation="nearest")
        lines = outlines(labels)
        # A dark line below the bright one, for bright images
        for width, colour, alpha in ((mark.width + 0.7, "black", 0.45), (mark.width, mark.colour, 1.0)):
            axes.add_collection(
                collections.LineCollection(
                    lines, linewidths=width * scale, colors=colour, alpha=alpha, capstyle="round"
                )
            )
    size = scale if marker is None else marker
    for state, points in panel.points.items():
        mark = MARKS[state]
        for width, colour, alpha in ((2.2, "black", 0.45), (1.2, mark.colour, 1.0)):
            axes.plot(
                points[:, 1], points[:, 0], mark.marker, color=colour, alpha=alpha, markersize=mark.size * size,
                markeredgewidth=width * scale + 0.2, markerfacecolor="none",
            )  # fmt: skip
    axes.set(xlim=(-0.5, panel.image.shape[1] - 0.5), ylim=(panel.image.shape[0] - 0.5, -0.5))


def outlines(labels: np.ndarray) -> np.ndarray:
    """Sides of pixels between one label and another, (N, 2, 2) as x, y; touching objects keep a line between them.

    An object that the border cuts stays open there.
    """
    rows, columns = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = np.stack([columns + 0.5, rows - 0.5, columns + 0.5, rows + 0.5], -1)
    rows, columns = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([columns - 0.5, rows + 0.5, columns + 0.5, rows + 0.5], -1)
    return np.concatenate([upright, level]).reshape(-1, 2, 2)


def tinted(labels: np.ndarray, mark: Mark) -> np.ndarray:
    """(H, W, 4): the colour of a state where its objects are, clear elsewhere."""
    colour = require("matplotlib.colors", "report").to_rgb(mark.colour)
    filled = np.zeros((*labels.shape, 4), np.float32)
    filled[labels > 0] = (*colour, mark.tint)
    return filled


def add_legend(figure, panels: Sequence[Panel]) -> None:
    """The states that occur, on a dark ground: the colours are made for pictures."""
    lines, patches = require("matplotlib.lines", "report"), require("matplotlib.patches", "report")
    handles = []
    for state, mark in sorted(MARKS.items(), key=lambda item: LISTED.index(item[0])):
        if any(np.any(panel.labels.get(state, 0)) for panel in panels):
            handles.append(
                patches.Patch(
                    facecolor=(*require("matplotlib.colors", "report").to_rgb(mark.colour), mark.tint),
                    edgecolor=mark.colour, linewidth=mark.width, label=mark.words,
                )
            )  # fmt: skip
        elif any(len(panel.points.get(state, ())) for panel in panels):
            handles.append(
                lines.Line2D(
                    [], [], marker=mark.marker, linestyle="none", color=mark.colour, markersize=mark.size,
                    markeredgewidth=1.3, markerfacecolor="none", label=mark.words,
                )
            )  # fmt: skip
    if handles:
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=True)
        legend.get_frame().set(facecolor="#2f363d", edgecolor="none")
        for text in legend.get_texts():
            text.set_color("white")


def prediction_overlay(
    image: np.ndarray,
    labels: np.ndarray | None = None,
    points: np.ndarray | None = None,
    *,
    pixel_nm: float | None = None,
) -> bytes:
    """One image with the outlines of its objects or markers on its spots.

    Args:
        image: (H, W).
        labels: (H, W) label image; 0 is background.
        points: (N, d) y, x in pixels last, pixel centres at integers.
        pixel_nm: adds a scale bar.

    Returns:
        PNG bytes.

    Raises:
        InputError: another shape.
    """
    image = np.asarray(image)
    if image.ndim != 2:
        raise InputError(f"image: expected (H, W), found {image.shape}. Project a stack first.")
    if labels is not None and np.shape(labels) != image.shape:
        raise InputError(f"labels: expected the shape of the image {image.shape}, found {np.shape(labels)}.")
    if points is not None and (np.ndim(points) != 2 or np.shape(points)[1] not in (2, 3)):
        raise InputError(f"points: expected (N, 2) or (N, 3), found {np.shape(points)}.")
    panel = Panel(
        "",
        image,
        {} if labels is None else {PREDICTED: np.asarray(labels)},
        {} if points is None else {PREDICTED: np.asarray(points)[:, -2:]},
    )
    height, width = image.shape
    side = WIDTH * 0.85 * min(1.0, TALLEST * width / height * 0.5)
    with look():
        figure = new_figure(side, max(side * height / width, 0.5))
        axes = figure.subplots()
        # Many objects need thin lines
        scale = float(np.clip(600.0 / max(height, width), 0.55, 1.0))
        # A ring about six pixels wide lies around a spot, not on it
        draw_panel(axes, panel, scale, float(np.clip(6.0 * side * 72 / width / MARKS[PREDICTED].size, 0.4, 2.0)))
        if pixel_nm:
            draw_bar(axes, width, height, pixel_nm)
        return png(figure)
