"""Curves: losses, spectra, ring correlation, variance against mean, noise correlation; all return PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bioflax.report.figures import shorten
from bioflax.report.style import COLOURS, MUTED, WIDTH, look, new_figure, png

Line = tuple[np.ndarray, np.ndarray]


def losses(train: Sequence[Mapping[str, float]], validation: Sequence[Mapping[str, float]]) -> bytes:
    """Training and validation loss over steps and over minutes.

    Args:
        train: lines with `step`, `seconds`, `loss`.
        validation: lines with `step`, `seconds`, `validation_loss`.
    """
    with look():
        figure = new_figure(WIDTH, 3.2)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (key, label, unit) in zip(panels, (("step", "step", 1.0), ("seconds", "minutes", 60.0))):
            for lines, name, colour in ((train, "loss", COLOURS[0]), (validation, "validation_loss", COLOURS[1])):
                kept = [line for line in lines if key in line and name in line]
                if not kept:
                    continue
                x, y = (np.array([line[field] for line in kept], float) for field in (key, name))
                raw = name == "loss" and len(y) > 40
                axes.plot(
                    x / unit,
                    y,
                    color=colour,
                    alpha=0.25 if raw else 1.0,
                    linewidth=1.0 if raw else 1.8,
                    marker="o" if len(y) < 40 else None,
                    markersize=3,
                    label=None if raw else ("training" if name == "loss" else "validation"),
                )
                if raw:
                    axes.plot(x / unit, running_mean(y, max(3, len(y) // 40)), color=colour, label="training (mean)")
            axes.set_xlabel(label)
        values = [line["loss"] for line in train if "loss" in line]
        values += [line["validation_loss"] for line in validation if "validation_loss" in line]
        if values and min(values) > 0 and max(values) > 20 * min(values):
            panels[0].set_yscale("log")
        panels[0].set_ylabel("loss")
        panels[0].legend()
        return png(figure)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over a window that shrinks at both ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - width // 2, 0), np.minimum(at + width // 2 + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def series(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> bytes:
    """Small multiples of the other numbers of a run, over steps."""
    with look():
        columns = min(3, max(len(names), 2))
        rows = -(-len(names) // columns)
        figure = new_figure(WIDTH, 2.2 * rows + 0.2)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(grid.flat, names):
            kept = [line for line in lines if name in line]
            axes.plot([line["step"] for line in kept], [line[name] for line in kept], color=COLOURS[0])
            axes.set(title=name, xlabel="step")
        return png(figure)


def spectra(power: Mapping[str, Line], correlation: Mapping[str, Line], threshold: float = 1 / 7) -> bytes:
    """Radial power spectra, and ring correlation with the target (empty: left out).

    Args:
        power: name -> (cycles per pixel, power).
        correlation: name -> (cycles per pixel, Fourier ring correlation).
    """
    with look():
        figure = new_figure(WIDTH, 3.4)
        panels = figure.subplots(1, 2 if correlation else 1, squeeze=False)[0]
        for name, (frequency, values) in power.items():
            panels[0].semilogy(frequency[1:], np.maximum(values[1:], 1e-30), label=name, **stroke(name, list(power)))
        panels[0].set(title="power spectrum", xlabel="spatial frequency (cycles / pixel)", ylabel="power")
        panels[0].legend()
        if correlation:
            for name, (frequency, values) in correlation.items():
                panels[1].plot(frequency[1:], values[1:], label=name, **stroke(name, list(power)))
            panels[1].axhline(threshold, color=MUTED, linewidth=1, linestyle=":")
            panels[1].annotate("1/7", (0.5, threshold), color=MUTED, fontsize=8, ha="right", va="bottom")
            panels[1].set(title="ring correlation with the target", xlabel="spatial frequency (cycles / pixel)")
            panels[1].set_ylim(-0.05, 1.02)
        return png(figure)


def stroke(name: str, names: Sequence[str]) -> dict:
    """One colour for one name in all panels; the truth is black and dashed, the noisy input grey."""
    if name == "target":
        return {"color": "black", "linestyle": "--", "linewidth": 1.4}
    if name == "input":
        return {"color": "#9aa3ac"}
    others = [other for other in names if other not in ("target", "input")]
    return {"color": COLOURS[others.index(name) % len(COLOURS)] if name in others else MUTED}


def bars(methods: Mapping[str, tuple[float, float | None, float | None, str]], label: str) -> bytes:
    """Means with intervals, one row for each method.

    Args:
        methods: name -> (mean, low, high, kind); bounds are drawn as open marks.
        label: axis label with unit.
    """
    colour = {"input": "#9aa3ac", "baseline": COLOURS[0], "model": COLOURS[1], "bound": COLOURS[2]}
    with look():
        figure = new_figure(WIDTH * 0.75, 0.32 * len(methods) + 0.7)
        axes = figure.subplots()
        for row, (mean, low, high, kind) in enumerate(methods.values()):
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], color=colour[kind], linewidth=2, alpha=0.5)
            face = "white" if kind == "bound" else colour[kind]
            axes.plot(mean, row, "o", color=colour[kind], markerfacecolor=face, markersize=7)
            axes.annotate(
                f"{mean:.2f}", (mean, row), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8
            )
        axes.set_yticks(range(len(methods)), list(methods))
        axes.tick_params(axis="y", length=0, labelcolor="#1d2733")
        axes.set(xlabel=label, ylim=(len(methods) - 0.5, -0.7))
        axes.grid(axis="y", visible=False)
        return png(figure)


def gains(before: np.ndarray, after: np.ndarray) -> bytes:
    """Quality out against quality in, one point an image; below the diagonal the model does harm."""
    with look():
        figure = new_figure(WIDTH * 0.45, 3.6)
        axes = figure.subplots()
        low, high = min(before.min(), after.min()) - 1, max(before.max(), after.max()) + 1
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=":")
        harm = after < before
        axes.plot(before[~harm], after[~harm], "o", color=COLOURS[0], markersize=5, alpha=0.8)
        axes.plot(before[harm], after[harm], "X", color=COLOURS[1], markersize=7, label="made worse")
        if harm.any():
            axes.legend()
        axes.set(xlabel="input PSNR (dB)", ylabel="model PSNR (dB)", xlim=(low, high), ylim=(low, high))
        return png(figure)


def photon_transfer(groups: Sequence[tuple[str, Line, float | None, float]]) -> bytes:
    """Noise variance against mean with the fitted line, one panel for each scene.

    Args:
        groups: (name, (means, variances), gain or None, intercept).
    """
    with look():
        figure, grid = small_multiples(len(groups), 1.9)
        for axes, (name, (means, variances), gain, intercept) in zip(grid.flat, groups):
            axes.plot(means, variances, "o", color=COLOURS[0], markersize=3)
            x = np.array([means.min(), means.max()])
            axes.plot(x, np.maximum((gain or 0.0) * x + intercept, 0.0), color=COLOURS[1], linewidth=1.4)
            axes.set_title(shorten(name), fontsize=8, fontweight="normal")
            axes.tick_params(labelsize=7)
            axes.set_ylim(bottom=0)
            slope = "flat" if gain is None else f"{gain:.3g} / photon"
            axes.annotate(slope, (0.96, 0.06), xycoords="axes fraction", fontsize=8, color=COLOURS[1], ha="right")
        figure.supxlabel("mean (counts)", fontsize=8.5)
        figure.supylabel("noise variance (counts²)", fontsize=8.5)
        return png(figure)


def noise_correlation(groups: Sequence[tuple[str, Mapping[str, Sequence[float]], bool]], threshold: float) -> bytes:
    """Autocorrelation of the noise over pixel lags, one panel for each scene; correlated scenes on a tinted ground."""
    with look():
        figure, grid = small_multiples(len(groups), 1.7, sharey=True)
        for axes, (name, correlation, warned) in zip(grid.flat, groups):
            for axis, colour in (("X", COLOURS[0]), ("Y", COLOURS[1]), ("Z", COLOURS[2])):
                if axis in correlation:
                    values = [1.0, *correlation[axis]]
                    axes.plot(range(len(values)), values, "o-", color=colour, markersize=3, linewidth=1.3, label=axis)
            axes.axhline(threshold, color=MUTED, linewidth=1, linestyle=":")
            axes.set_title(shorten(name), fontsize=8, fontweight="normal")
            axes.tick_params(labelsize=7)
            axes.set_ylim(-0.25, 1.05)
            if warned:
                axes.set_facecolor("#fdeee4")
        grid.flat[0].legend(ncols=3, handlelength=1, columnspacing=0.8)
        figure.supxlabel("lag (pixels)", fontsize=8.5)
        return png(figure)


def small_multiples(count: int, height: float, *, columns: int = 6, sharey: bool = False):
    """A figure and its grid of panels, unused ones hidden."""
    most = min(columns, max(count, 3))
    columns = min(most, count)
    rows = -(-count // columns)
    figure = new_figure(WIDTH * columns / most, rows * height * (1 + 0.4 * (most < 5)) + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, grid
