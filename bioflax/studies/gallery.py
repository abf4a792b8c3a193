"""The worst pictures of a study: what the number of a row hides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioflax.report.figures import grey_range
from bioflax.report.files import read_arrays
from bioflax.report.style import WIDTH, look, new_figure, picture_axes
from bioflax.studies.drawing import Drawing, wrap
from bioflax.studies.matrices import name_of
from bioflax.studies.scores import Scores, reference_test
from bioflax.studies.wording import digits_of, metric_unit, metric_words, plain

MOST = 6  # rows of pictures
RAW = ("input", "raw")  # panels with a grey scale of their own
SIGNED = ("prior", "error")  # panels around zero, in blue and red


def gallery(scores: Scores, main: str | None) -> Drawing | None:
    """The worst item of the reference row under the reference and under the tests where it is worst; then of other rows.

    Returns:
        None where no picture was kept.
    """
    results, chosen = scores.results, choose_pictures(scores, main)
    found = [(row, test, panels_of(results.pictures[row, test])) for row, test in chosen]
    found = [(row, test, panels) for row, test, panels in found if panels]
    if not found:
        return None
    names = list(dict.fromkeys(name for _, _, panels in found for name in panels))
    with look():
        cell = min((WIDTH - 1.6) / len(names), 2.2)
        tall = max(min(image.shape[0] / image.shape[1], 2.0) for _, _, panels in found for image in panels.values())
        figure = new_figure(cell * len(names) + 1.6, max(cell * tall, 0.6) * len(found) + 0.4)
        grid = figure.subplots(len(found), len(names), squeeze=False)
        for at, (line, (row, test, panels)) in enumerate(zip(grid, found)):
            draw_line(line, panels, names, first=at == 0)
            value = scores.at(row, test)
            digits, unit = digits_of(scores.metric, [value.value] if value else []), metric_unit(scores.metric)
            text = f"\n{metric_words(scores.metric)} {plain(value.value, digits)} {unit}".rstrip() if value else ""
            words = f"{wrap(row, 22)}\non {wrap(name_of(results, test), 22)}{text}"
            line[0].text(
                -0.06, 0.5, words, transform=line[0].transAxes, rotation=0, ha="right", va="center", fontsize=7.5
            )
    caption = (
        "The worst of the test items (seed 0), not the typical one; the number is that of all items. Grey levels: the truth's "
        "for output and truth, its own 0.5 to 99.8 percentiles for an input."
    )
    table = [[row, name_of(results, test), *csv_value(scores, row, test)] for row, test, _ in found]
    return Drawing("worst", figure, caption, ["row", "test", scores.metric], table)


def csv_value(scores: Scores, row: str, test: str) -> list[Any]:
    cell = scores.at(row, test)
    return [cell.value if cell else ""]


def choose_pictures(scores: Scores, main: str | None) -> list[tuple[str, str]]:
    """(row, test): the reference row at the reference and its worst tests, then other rows where they are worst."""
    results, reference = scores.results, reference_test(scores.results)
    known = [key for key in results.pictures if key in scores.cells]
    known.sort(key=lambda key: scores.cells[key].value, reverse=scores.lower_is_better)
    own = [key for key in known if key[0] == main]
    first = [key for key in own if key[1] == reference]
    chosen = [*first, *(key for key in own if key not in first)][: MOST // 2]
    for key in known:
        if len(chosen) < MOST and key[0] not in {row for row, _ in chosen}:
            chosen.append(key)
    chosen += [key for key in own if key not in chosen][: MOST - len(chosen)]
    return chosen[:MOST]


def panels_of(path: Any) -> dict[str, np.ndarray]:
    """The pictures (H, W) of a file; a damaged file has none."""
    from bioflax.errors import InputError

    try:
        found = read_arrays(path)
    except InputError:
        return {}
    flat = {name: np.asarray(array, float).squeeze() for name, array in found.items()}
    return {name: array for name, array in flat.items() if array.ndim == 2 and array.size}


def draw_line(line: Any, panels: Mapping[str, np.ndarray], names: list[str], *, first: bool) -> None:
    """One row of pictures; what shows the same quantity shares its grey scale."""
    truth = panels.get("truth", panels.get("target"))
    for axes, name in zip(line, names):
        picture_axes(axes, name.replace("_", " ") if first else "")
        image = panels.get(name)
        if image is None:
            axes.set_visible(axes is line[0])
            continue
        finite = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
        if name in SIGNED:
            limit = max(float(np.percentile(np.abs(finite), 99.5)), 1e-12)
            axes.imshow(finite, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            continue
        shown = truth if truth is not None and name not in RAW else finite
        if (
            np.ptp(shown) == 0
        ):  # an empty field: on its own scale the least ripple of the result would be black and white
            shown = panels.get("input", finite) if np.any(shown) else finite
        low, high = grey_range(shown)
        axes.imshow(finite, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
