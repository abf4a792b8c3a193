"""What all figures of a study share: a figure with its caption and its numbers, one stroke for each row, and the files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioflax.errors import require
from bioflax.report.page import Figure, replace
from bioflax.report.style import COLOURS, png
from bioflax.studies.wording import count, factor_label, level_with_unit, listed

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HUES = COLOURS[:7]  # black is the bound's
MOST = 8  # lines in one figure: more cannot be told apart
DASHES = {"train": "-", "help": (0, (5, 1.2, 1, 1.2)), "rival": (0, (4, 2)), "bound": "-"}
KEPT, KEPT_EDGE = "#e3f1ea", "#009e73"


@dataclass(frozen=True)
class Drawing:
    """A figure with what it takes to read it and to draw it again.

    Attributes:
        name: of its files.
        figure: a matplotlib figure.
        caption: what is shown, what was held fixed, what the bands are.
        headings, rows: its numbers, for the CSV file.
    """

    name: str
    figure: Any
    caption: str
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = field(default_factory=tuple)


def write(drawing: Drawing, folder: Path) -> Figure:
    """Writes `<name>.png`, `.svg` and `.csv` aside and renames them.

    Returns:
        The figure for a page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = png(drawing.figure)
    drawing.figure.set_layout_engine("none")  # laid out already; once is slow enough
    replace(folder / f"{drawing.name}.png", picture)
    replace(folder / f"{drawing.name}.svg", svg(drawing.figure))
    if drawing.headings:
        stream = io.StringIO()
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(drawing.headings)
        lines.writerows([["" if cell is None else cell for cell in row] for row in drawing.rows])
        replace(folder / f"{drawing.name}.csv", stream.getvalue().encode())
    return Figure(drawing.name, picture, drawing.caption)


def svg(figure: Any) -> bytes:
    """The figure as SVG; its text stays text, the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with require("matplotlib", "report").rc_context({"svg.fonttype": "none", "svg.hashsalt": "bioflax"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "bioflax"})
    return buffer.getvalue()


def strokes(rows: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Row name -> colour, marker and dash, the same in all figures of a study; the bound is black."""
    found, at = {}, 0
    for row in rows:
        if row.kind == "bound":
            found[row.name] = {"color": "black", "marker": None, "linestyle": "-", "linewidth": 1.3}
            continue
        colour, marker = HUES[at % len(HUES)], MARKERS[(at + at // len(HUES)) % len(MARKERS)]
        found[row.name] = {"color": colour, "marker": marker, "linestyle": DASHES[row.kind], "markersize": 4.5}
        at += 1
    return found


def choose(results: Any, main: str | None, best: Sequence[str]) -> tuple[list[Any], str]:
    """At most `MOST` rows for one figure beside the bound: the reference row, helps, rivals, then the best.

    Args:
        results: of the study.
        main: name of the reference row.
        best: names, the best first.

    Returns:
        The rows in their order, and a sentence on those left out.
    """
    lines = [row for row in results.rows if row.kind != "bound"]
    if len(lines) > MOST:
        trained = [name for name in best if any(row.name == name and row.kind == "train" for row in lines)]
        ranked = [main, *(row.name for row in lines if row.kind in ("help", "rival")), *trained]
        kept = set(list(dict.fromkeys(name for name in ranked if name))[:MOST])
        drawn = [row for row in results.rows if row.kind == "bound" or row.name in kept]
        return drawn, f" Drawn: {len(kept)} of {len(lines)} rows; the others are in the matrix and in the CSV file."
    return list(results.rows), ""


def held_fixed(study: Mapping[str, Any], swept: Sequence[str]) -> str:
    """What stood still while `swept` changed, and over what was averaged."""
    others = {name: factor for name, factor in study["factors"].items() if name not in swept}
    fixed = [
        f"{factor_label(name, {**factor, 'unit': ''})} {level_with_unit(factor['reference'], factor)}"
        for name, factor in others.items()
        if factor.get("reference") is not None
    ]
    fixed = f"Held fixed: {listed(fixed, 8)}. " if fixed else ""
    return f"{fixed}Each value: {count(study['items'], 'test item')}, the same for all rows, {count(study['seeds'], 'seed')}."


def band_words(study: Mapping[str, Any]) -> str:
    """What a band or whisker is."""
    over = "items and seeds" if study["seeds"] > 1 else "items"
    return f"{study['level'] * 100:g} % interval, bootstrap over {over}"


def log_ticks(axes: Any, ticks: Sequence[float] = ()) -> None:
    """Plain numbers on a log axis; at the levels themselves where there are few of them."""
    ticker = require("matplotlib.ticker", "report")
    if 0 < len(ticks) <= 8:
        axes.set_major_locator(ticker.FixedLocator(list(ticks)))
        axes.set_minor_locator(ticker.NullLocator())
    else:
        axes.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_minor_formatter(ticker.NullFormatter())


def legend_outside(figure: Any, axes: Any, extra: Sequence[Any] = ()) -> None:
    """A legend to the right of the axes, so that it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = [*handles, *extra], [*labels, *(handle.get_label() for handle in extra)]
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=8, handlelength=2.6, labelspacing=0.6)


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever can be read on a colour (r, g, b in 0..1)."""
    red, green, blue = colour[:3]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.52 else "black"


def wrap(text: str, width: int = 24) -> str:
    """A long name on several lines."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width)) or text
