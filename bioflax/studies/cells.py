"""Cells of heat maps: colours, numbers, hatches, frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioflax.errors import require
from bioflax.report.style import INK, MUTED
from bioflax.studies.drawing import KEPT_EDGE, ink_on
from bioflax.studies.wording import digits_of, plain, signed


def paint(
    axes: Any,
    values: np.ndarray,
    tint: Any,
    texts: np.ndarray,
    missing: Sequence[Sequence[str | None]],
    pale: Sequence[bool] = (),
) -> None:
    """Coloured cells with their numbers, those of `pale` columns without colour; hatched where a point failed."""
    patches = require("matplotlib.patches", "report")
    axes.grid(False)
    rows, columns = values.shape
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i in range(rows):
        for j in range(columns):
            known = math.isfinite(values[i, j])
            dull = bool(len(pale) and pale[j])
            colour = (0.94, 0.95, 0.96) if known and dull else tint(values[i, j]) if known else (1.0, 1.0, 1.0)
            hatch = "////" if missing[i][j] and not known else None
            axes.add_patch(patches.Rectangle((j, i), 1, 1, facecolor=colour, edgecolor="#b9c1c9" if hatch else "white",
                                             linewidth=1.0, hatch=hatch))  # fmt: skip
            if known:
                axes.text(j + 0.5, i + 0.5, texts[i, j], ha="center", va="center", fontsize=8,
                          color=MUTED if dull else ink_on(colour))  # fmt: skip
            elif hatch is None:
                axes.text(j + 0.5, i + 0.5, "–", ha="center", va="center", fontsize=8, color=MUTED)


def values_tint(values: np.ndarray, lower_is_better: bool) -> Any:
    """Colours of a metric: bright is good."""
    colormaps = require("matplotlib", "report").colormaps
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    scale = colormaps["cividis_r" if lower_is_better else "cividis"]
    return lambda value: scale(0.5 if high <= low else 0.08 + 0.9 * (value - low) / (high - low))


def difference_tint(values: np.ndarray, lower_is_better: bool) -> Any:
    """Colours of a difference: white is none, blue better, red worse."""
    colormaps = require("matplotlib", "report").colormaps
    known = np.abs(values[np.isfinite(values)])
    limit = float(known.max()) if known.size and known.max() > 0 else 1.0
    scale = colormaps["RdBu_r" if lower_is_better else "RdBu"]
    return lambda value: scale(0.5 + 0.42 * value / limit)


def printed(values: np.ndarray, metric: str, sign: bool) -> np.ndarray:
    """The numbers of the cells as text."""
    known = values[np.isfinite(values)]
    digits = digits_of(metric, known)
    digits = min(digits, 1) if known.size and np.abs(known).max() >= 100 else digits
    show = signed if sign else plain
    return np.array([[show(float(value), digits) for value in line] for line in values]).reshape(values.shape)


def frame(i: int, j: int) -> Any:
    """The frame of a matched cell."""
    patches = require("matplotlib.patches", "report")
    return patches.Rectangle((j + 0.05, i + 0.06), 0.9, 0.88, fill=False, edgecolor=INK, linewidth=1.4, zorder=5)


def outline(axes: Any, inside: np.ndarray) -> None:
    """A line around the cells that are inside."""
    padded = np.pad(inside, 1)
    for i, j in np.argwhere(inside):
        for (di, dj), ends in {
            (-1, 0): ((j, j + 1), (i, i)), (1, 0): ((j, j + 1), (i + 1, i + 1)),
            (0, -1): ((j, j), (i, i + 1)), (0, 1): ((j + 1, j + 1), (i, i + 1)),
        }.items():  # fmt: skip
            if not padded[i + 1 + di, j + 1 + dj]:
                axes.plot(*ends, color="white", linewidth=5, solid_capstyle="projecting", zorder=4, clip_on=False)
                axes.plot(*ends, color=KEPT_EDGE, linewidth=3, solid_capstyle="projecting", zorder=5, clip_on=False)
