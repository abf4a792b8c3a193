"""The page of localizations: of an evaluation (summary.json, curves.npz), or of a plain prediction (<stem>_report.npz)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.report import localization_curves as curves
from bioflax.report import localization_figures as pictures
from bioflax.report.files import read_arrays, read_json
from bioflax.report.localization_tables import headline, results
from bioflax.report.page import Figure, Page, Section, number, write_page

PREDICTED = "_report.npz"
AGAINST = ("tolerance", "photons", "z_nm", "neighbours_per_um2")
WORDS = {
    "tolerance": "Score against the distance that still counts as found.",
    "photons": "Score against light; bins with equally many emitters.",
    "z_nm": "Score against depth.",
    "neighbours_per_um2": "Score against crowding: other emitters of the frame within 1 µm.",
}


def render_localization(run_dir: str | os.PathLike) -> Path:
    """Renders the evaluation of localizations in a folder again.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no summary.json of localizations, or a file is damaged.
    """
    folder = Path(run_dir)
    summary, result = read_json(folder / "summary.json"), read_json(folder / "result.json")
    if summary.get("task") != "localize":
        raise InputError(
            f"dir: no summary.json of localizations in {folder}. Run bioflax evaluate run_dir={folder} first."
        )
    arrays = read_arrays(folder / "curves.npz")
    methods = {name: part(arrays, name) for name in summary["methods"]}
    everyone = {**methods, "truth": part(arrays, "truth")}
    facts = summary["facts"]
    sections = [
        results(summary),
        frames(arrays, methods, facts.get("pixel_nm")),
        failures(arrays, methods),
        spreads(methods),
        places(everyone),
        tables(everyone),
    ]
    page = Page(
        title=f"Evaluation: {Path(str(result.get('model') or folder)).name}",
        subtitle=f"{facts['emitters']} emitters in {facts['frames']} frames. {facts['caption']}",
        facts=headline(summary, result),
        sections=[section for section in sections if section],
    )
    return write_page(page, folder)


def render_predictions(arrays: Sequence[str | os.PathLike] | str | os.PathLike) -> list[Path]:
    """Renders `<stem>_report.html` beside each `<stem>_report.npz`; none in an install without the report extra.

    Args:
        arrays: the files, or a folder of them.
    """
    if find_spec("matplotlib") is None or find_spec("jinja2") is None:
        return []
    if isinstance(arrays, (str, os.PathLike)):
        arrays = sorted(Path(arrays).glob(f"*{PREDICTED}"))
    return [render_prediction(path) for path in arrays]


def render_prediction(path: str | os.PathLike) -> Path:
    """The page of one table without a truth.

    Args:
        path: `<stem>_report.npz`.

    Returns:
        The path of `<stem>_report.html`.
    """
    path = Path(path)
    stem, arrays = path.name.removesuffix(PREDICTED), read_arrays(path)
    if "per_frame" not in arrays:
        raise InputError(f"{path}: expected the arrays of a localization table. Run bioflax predict again.")
    own = {"localizations": arrays}
    rows, length = int(arrays["rows"]), int(arrays["frames"])
    facts = {"localizations": number(rows), "frames": number(length), "per frame": number(rows / max(length, 1), 1)}
    for name, words, unit, digits in (
        ("photons", "median photons", "", 0),
        ("sigma_x_nm", "median uncertainty of x", "nm", 1),
        ("sigma_z_nm", "median uncertainty of z", "nm", 1),
    ):
        if f"median_{name}" in arrays:
            facts[words] = number(float(arrays[f"median_{name}"]), digits, unit)
    if "grid_ks" in arrays:
        facts["grid bias (KS)"] = number(float(arrays["grid_ks"].max()), 3)
    pixel = float(arrays["pixel_nm"]) if "pixel_nm" in arrays else None
    found = [places(own), frames(arrays, own, pixel), tables(own)]
    sections = [
        dataclasses.replace(section, figures=[dataclasses.replace(f, name=f"{stem}_{f.name}") for f in section.figures])
        for section in found
        if section
    ]
    page = Page(f"Localizations: {stem}", f"{rows} localizations in {length} frames.", facts, sections)
    return write_page(page, path.parent, f"{stem}_report.html")


def part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of one method, without its name."""
    return {key.removeprefix(f"{name}."): values for key, values in arrays.items() if key.startswith(f"{name}.")}


def frames(arrays: dict[str, np.ndarray], methods: dict[str, Any], pixel_nm: float | None) -> Section | None:
    """Raw frames with what was found."""
    if "frames_shown" not in arrays:
        return None
    count = len(arrays["frames_shown"])
    points = {name: [own[f"points_{k}"] for k in range(count)] for name, own in methods.items() if "points_0" in own}
    judged = any((marked[:, 2] < 4).any() for own in points.values() for marked in own)
    png = pictures.overlays(arrays["frames_shown"], arrays["numbers_shown"].tolist(), points, pixel_nm)
    caption = (
        "Frames of fewest, median and most errors, cut where most emitters are; on one grey scale. What "
        "lies in the border is not judged and not marked."
        if judged
        else "Frames of fewest, median and most localizations, cut where most of them are; on one grey scale."
    )
    return Section("Frames", figures=[Figure("frames", png, caption)])


def failures(arrays: dict[str, np.ndarray], methods: dict[str, Any]) -> Section | None:
    """Scores against tolerance, light, depth and crowding."""
    drawn = []
    bound = part(arrays, "bound")
    for by in AGAINST:
        own = {name: part(values, by) for name, values in methods.items() if f"{by}.jaccard" in values}
        if not own:
            continue
        limit = {}
        if by == "tolerance":
            x, count = next(iter(own.values()))["tolerance_nm"], None
        else:
            edges, count = arrays[f"edges.{by}"], next(iter(own.values()))["count"]
            x = np.sqrt(edges[1:] * edges[:-1]) if by == "photons" and edges[0] > 0 else (edges[1:] + edges[:-1]) / 2
            limit = part(bound, by)
        drawn.append(Figure(f"against_{by}", curves.scores(by, x, own, limit, count), WORDS[by]))
    text = "True emitters and pairs go by the true value, false positives by the predicted one. Dotted: the bound."
    return Section("Where it fails", text, figures=drawn) if drawn else None


def spreads(methods: dict[str, Any]) -> Section | None:
    """Errors over predicted spreads and over the bound."""
    own = {name: values for name, values in methods.items() if any(key.startswith("error_over") for key in values)}
    if not own:
        return None
    size = len(next(values for key, values in next(iter(own.values())).items() if key.startswith("error_over")))
    png = curves.error_ratios(own, np.linspace(-5.0, 5.0, size + 1))
    caption = "Wider than the dotted curve: too sure of itself, or worse than the bound. The ends hold all beyond them."
    return Section("Errors and their spread", figures=[Figure("errors", png, caption)])


def places(methods: dict[str, Any]) -> Section | None:
    """Rendered pictures, densities, offsets in the pixel."""
    own = {name: values for name, values in methods.items() if "render" in values}
    shown = {
        name: (v["render"], float(v["render_nm"]), tuple(v["z_range_nm"]) if "z_range_nm" in v else None)
        for name, v in own.items()
    }
    if not shown:
        return None
    png, length = pictures.renderings(shown)
    bar = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
    nm = next(iter(shown.values()))[1]
    caption = f"Each localization as a Gaussian of its uncertainty; {nm:.3g} nm a pixel, scale bar {bar}."
    density = {name: (v["density"], float(v["density_nm"])) for name, v in own.items()}
    drawn = [
        Figure("rendering", png, caption),
        Figure("density", pictures.densities(density), "Density over the field, mean of all frames."),
    ]
    offset = {name: values for name, values in own.items() if "offset_x" in values}
    if offset:
        worst = {name: float(values["grid_ks"].max()) for name, values in offset.items()}
        ks = ", ".join(f"{name} {value:.3f}" for name, value in worst.items())
        words = f"Emitters lie anywhere in a pixel: a localizer that prefers a place is biased. Largest distance: {ks}."
        drawn.append(Figure("offsets", curves.offsets(offset), words))
    return Section("Where they are", figures=drawn)


def tables(methods: dict[str, Any]) -> Section | None:
    """Localizations per frame and histograms of the columns."""
    own = {name: values for name, values in methods.items() if "per_frame" in values}
    drawn = [Figure("over_time", curves.over_time(own), "Localizations per frame; of a long movie means of frames.")]
    if any(key.startswith("count_") for values in own.values() for key in values):
        drawn.append(
            Figure("columns", curves.columns(own), "Columns of the tables; the outermost bins hold all beyond them.")
        )
    return Section("What is in the tables", figures=drawn) if own else None
