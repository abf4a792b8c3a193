"""Curves of super-resolution: power over spatial frequency, and two lines told apart. Each returns PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioflax.metrics import radial_power
from bioflax.metrics.pairs import wilson_interval
from bioflax.report.style import COLOURS, INK, MUTED, WIDTH, look, new_figure, png

SHADE = "#e6eaee"  # where there is no data
BOUND = "bound, if known to be two"
# name in the files: (words, colour, line, marker); lines and marks are told apart without colour
METHODS = {
    "model": ("model", COLOURS[1], "-", "o"),
    "bicubic": ("bicubic", COLOURS[6], ":", "s"),
    "richardson_lucy": ("Richardson–Lucy", COLOURS[0], "--", "^"),
    "richardson_lucy_tv": ("Richardson–Lucy, total variation", COLOURS[2], "-.", "D"),
}
FURTHER = ((COLOURS[3], (0, (5, 1)), "v"), (COLOURS[4], (0, (3, 1, 1, 1)), "P"), (COLOURS[5], (0, (1, 1)), "X"))
# name in a figure of power: (colour, line, width)
STROKES = {
    "raw picture": ("#8b949d", "-", 1.4),
    "input": ("#8b949d", "-", 1.4),
    "result": (COLOURS[0], "-", 2.6),
    "output": (COLOURS[0], "-", 2.6),
    "its measured part": (COLOURS[4], "--", 1.6),
    "target": ("black", ":", 1.8),
}


def words_of(method: str) -> str:
    """A method's name for readers."""
    return METHODS[method][0] if method in METHODS else method.replace("_", " ")


def power(
    pictures: Mapping[str, tuple[Sequence[np.ndarray], float]],
    *,
    cutoff_nm: float,
    camera_nm: float | None = None,
    unit: str = "counts",
) -> bytes:
    """Radial power spectra in physical units with the cut-off of the optics; the region without data is shaded.

    Args:
        pictures: name -> (pictures (H, W) of one shape and unit, pixel in nm); means are drawn.
        cutoff_nm: 1 / highest frequency that the optics let through.
        camera_nm: of a camera pixel where it limits what was measured, None where it does not.
        unit: of the pictures.
    """
    end = 500.0 / min(nm for _, nm in pictures.values())  # per micrometre, Nyquist of the finest grid
    cutoff = 1000.0 / cutoff_nm
    nyquist = math.inf if camera_nm is None else 500.0 / camera_nm
    edge = min(cutoff, nyquist * math.sqrt(2.0))  # the camera's band is square: its corners reach that far
    with look():
        figure = new_figure(WIDTH, 3.9)
        axes = figure.subplots()
        tops, floors = [], []
        for name, (images, nm) in pictures.items():
            lines = [radial_power(image, window="hann") for image in images]
            frequency, values = lines[0][0][1:] * 1000.0 / nm, np.mean([line[1] for line in lines], 0)[1:]
            values = np.maximum(values * (nm / 1000.0) ** 2, 1e-300)
            colour, line, width = STROKES.get(name, (MUTED, "-", 1.5))
            axes.semilogy(frequency, values, line, color=colour, linewidth=width, label=name)
            tops.append(values.max())
            if name != "its measured part":  # it falls to nothing beyond the cut-off
                floors.append(values.min())
        # What lies far below the noise of the raw picture is not worth the room
        axes.set_ylim(max(min(floors) / 10, max(floors) * 1e-4, max(tops) * 1e-9), max(tops) * 100)
        axes.set_xlim(0, end)
        axes.set(xlabel="spatial frequency (1 / µm)", ylabel=f"power ({unit}² µm²)")
        if edge < end:
            axes.axvspan(edge, end, color=SHADE, linewidth=0, zorder=0)
            words = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "color": INK}
            axes.text((edge + end) / 2, 0.96, "prior: no data", fontsize=10, fontweight="bold", **words)
        mark(axes, cutoff, 0.96, f"cut-off {cutoff_nm:.0f} nm", "black", "-")
        if nyquist < cutoff:
            mark(axes, nyquist, 0.88, f"Nyquist of the camera {2 * camera_nm:.0f} nm", MUTED, ":")
        axes.legend(loc="lower left")
        return png(figure)


def mark(axes: Any, at: float, height: float, words: str, colour: str, line: str) -> None:
    """A vertical line with words left of it, where it lies inside the axes."""
    if axes.get_xlim()[0] < at < axes.get_xlim()[1]:
        axes.axvline(at, color=colour, linestyle=line, linewidth=1.2)
        place = {"transform": axes.get_xaxis_transform(), "ha": "right", "va": "top"}
        axes.text(at, height, f"{words}  ", fontsize=8.5, color=colour, **place)


def two_lines(
    spacing_nm: Sequence[float],
    resolved: Mapping[str, Sequence[float]],
    bound: Sequence[float] | None,
    *,
    cutoff_nm: float,
    repeats: int,
    kind: str = "lines",
) -> bytes:
    """Share of pairs of lines or points that are told apart against their distance, with 95 % Wilson intervals.

    Args:
        spacing_nm: (K,) distances.
        resolved: method -> (K,) share.
        bound: (K,) share of an unbiased estimate that knows of the two lines; None leaves it out.
        cutoff_nm: distance below which only a prior tells the lines apart.
        repeats: pairs at each distance.
        kind: `lines` or `points`.
    """
    x = np.asarray(spacing_nm, float)
    others = iter(FURTHER * len(resolved))
    with look():
        figure = new_figure(WIDTH * 0.85, 4.6)
        axes = figure.subplots()
        pad = 0.04 * (np.ptp(x) or 1.0)
        axes.set(xlim=(x.min() - pad, x.max() + pad), ylim=(-0.04, 1.13))
        if cutoff_nm > axes.get_xlim()[0]:
            axes.axvspan(axes.get_xlim()[0], cutoff_nm, color=SHADE, linewidth=0, zorder=0)
            words = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "fontweight": "bold"}
            axes.text((axes.get_xlim()[0] + cutoff_nm) / 2, 0.975, "prior", fontsize=10, **words)
        axes.axvline(cutoff_nm, color="black", linewidth=1.2)
        for name, values in sorted(resolved.items(), key=lambda item: item[0] == "model"):  # the model on top
            words, colour, line, marker = METHODS[name] if name in METHODS else (words_of(name), *next(others))
            y = np.asarray(values, float)
            low, high = np.transpose([wilson_interval(round(share * repeats), repeats) for share in y])
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            wide = 2.4 if name == "model" else 1.5
            axes.plot(x, y, color=colour, linestyle=line, marker=marker, markersize=5.5, linewidth=wide, label=words)
        if bound is not None:
            axes.plot(x, bound, color="black", linestyle=(0, (6, 3)), linewidth=1.6, label=BOUND)
        axes.set(xlabel=f"distance of the two {kind} (nm)", ylabel="share told apart", yticks=np.linspace(0, 1, 6))
        above = axes.secondary_xaxis("top", functions=(lambda nm: nm / cutoff_nm, lambda share: share * cutoff_nm))
        above.set_xlabel("in units of the cut-off's spacing", fontsize=8.5, color=MUTED)
        above.tick_params(labelsize=8)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4.0)
        return png(figure)
