"""The page of found objects or spots: of an evaluation (summary.json, pictures.npz), or of a plain prediction."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.report import detection_curves as curves
from bioflax.report import detection_figures as pictures
from bioflax.report.detection_tables import by_image, headline, noun, results, worst_table
from bioflax.report.files import read_arrays, read_json, read_table
from bioflax.report.localization import PREDICTED, part
from bioflax.report.page import Figure, Page, Section, number, write_page

GREY = "0.5 and 99.8"
COMPARED = 4  # images that all methods are shown on
Arrays = dict[str, np.ndarray]


def render_detection(run_dir: str | os.PathLike) -> Path:
    """Renders the evaluation of detections in a folder again.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no summary.json of detections, or a file is damaged.
    """
    folder = Path(run_dir)
    summary, result = read_json(folder / "summary.json"), read_json(folder / "result.json")
    if summary.get("task") != "detect":
        raise InputError(
            f"dir: no summary.json of detections in {folder}. Run bioflax evaluate run_dir={folder} first."
        )
    rows, arrays = read_table(folder / "table.csv"), read_arrays(folder / "pictures.npz")
    methods, facts = list(summary["methods"]), summary["facts"]
    sections = [
        results(summary),
        over_threshold(summary),
        worst(summary, rows, arrays),
        compared(methods, arrays, facts.get("pixel_nm")),
        agreement(summary, rows, arrays),
        by_image(summary, rows),
    ]
    page = Page(
        title=f"Evaluation: {Path(str(result.get('model') or folder)).name}",
        subtitle=f"{facts['n_true']} {noun(summary)} in {facts['images']} images.",
        facts=headline(summary, result),
        sections=[section for section in sections if section],
    )
    return write_page(page, folder)


def over_threshold(summary: dict[str, Any]) -> Section:
    """AP over the IoU, or F1 over the distance, of a pair; pooled and as a mean over images."""
    objects = summary["kind"] == "objects"
    rate, words = ("ap", "AP") if objects else ("f1", "F1")
    panels = {
        f"{words}, {kind}": {
            name: np.array(entry["curves"][key][rate], float) for name, entry in summary["methods"].items()
        }
        for key, kind in (("pooled", "pooled"), ("image_mean", "mean of images"))
    }
    label = "IoU that a pair must reach" if objects else "largest distance of a pair (px)"
    png = curves.thresholds(summary["facts"]["thresholds"], panels, label)
    caption = "Pooled, a crowded image weighs more; in the mean, all images weigh the same."
    heading = "Score over the overlap" if objects else "Score over the distance"
    return Section(heading, figures=[Figure("over_threshold", png, caption)])


def panel_of(arrays: Arrays, method: str, k: int, title: str) -> pictures.Panel:
    """Picture k of a method: label images or points, whichever is stored."""
    states = {s: arrays[f"{method}.{s}_{k}"] for s in pictures.MARKS if f"{method}.{s}_{k}" in arrays}
    objects = any(values.dtype.kind in "iu" for values in states.values())
    return pictures.Panel(title, arrays[f"image_{k}"], states if objects else {}, {} if objects else states)


def worst(summary: dict[str, Any], rows: list[dict[str, Any]], arrays: Arrays) -> Section | None:
    """The images of lowest score, with their numbers."""
    chosen = [k for k, bad in enumerate(arrays.get("worst", ())) if bad]
    if not chosen:
        return None
    main, words = summary["main"], "AP50" if summary["kind"] == "objects" else "F1"
    titles = [f"{arrays['names'][k]}\n{words} {arrays['scores'][k]:.3f}" for k in chosen]
    panels = [panel_of(arrays, main, k, title) for k, title in zip(chosen, titles)]
    png = pictures.overlays(panels, pixel_nm=summary["facts"].get("pixel_nm"))
    lines = (
        "Lines: blue on what was found, orange and thick on false alarms; green with a tint where something was missed."
    )
    marks = "Circles: found. Crosses: false alarms. Squares: missed."
    caption = (
        f"{lines if summary['kind'] == 'objects' else marks} Each on its own percentile grey range; large images are "
    )
    caption += "cut where most errors are."
    return Section(
        f"The {len(chosen)} worst images" if len(chosen) > 1 else "The image",
        f"Lowest {words} of {main}; of equal scores, most errors first.",
        tables=[worst_table(summary, rows, [str(arrays["names"][k]) for k in chosen])],
        figures=[Figure("worst", png, caption)],
    )


def compared(methods: Sequence[str], arrays: Arrays, pixel_nm: float | None) -> Section | None:
    """All methods on a few images, from poor to best."""
    bad = arrays.get("worst", np.zeros(0, bool))
    chosen = np.flatnonzero(~bad).tolist()
    if not chosen:  # ten images or fewer: all are among the worst
        if len(methods) < 2 or not len(bad):
            return None
        chosen = np.unique(np.linspace(0, len(bad) - 1, min(COMPARED, len(bad))).round().astype(int)).tolist()
    panels = [panel_of(arrays, name, k, f"{name}\n{arrays['names'][k]}") for name in methods for k in chosen]
    png = pictures.overlays(panels, columns=len(chosen), pixel_nm=pixel_nm)
    text = "A row for each method; from left to right the score of the judged one rises."
    return Section(
        "Other images" if not bad[chosen].any() else "Side by side",
        text,
        figures=[Figure("compared", png, "Colours and marks as above.")],
    )


def agreement(summary: dict[str, Any], rows: list[dict[str, Any]], arrays: Arrays) -> Section:
    """Numbers in an image; sizes and overlaps of objects; distances and probabilities of spots."""
    methods = list(summary["methods"])
    pairs = {
        name: tuple(np.array([row[key] for row in rows if row["method"] == name]) for key in ("n_true", "n_predicted"))
        for name in methods
    }
    what = noun(summary)
    caption = f"A point an image; on the dotted line the numbers of {what} agree. Right: how far they are off."
    drawn = [Figure("counts", curves.counts(pairs, what), caption)]
    own = {name: part(arrays, name) for name in methods}
    if summary["kind"] == "objects":
        drawn += sizes(own)
        iou = {name: values["iou"] for name, values in own.items()}
        if any(len(values) for values in iou.values()):
            png = curves.histogram(iou, np.linspace(0.5, 1, 26), "IoU of a pair")
            drawn.append(Figure("overlaps", png, "Overlap of true and predicted objects; pairs of at least 0.5."))
        return Section("Counts, sizes and outlines", figures=drawn)
    distance = {name: values["distance_px"] for name, values in own.items()}
    if any(len(values) for values in distance.values()):
        edges = np.linspace(0, summary["facts"]["thresholds"][-1], 31)
        png = curves.histogram(distance, edges, "distance of a pair (px)")
        drawn.append(Figure("distances", png, "A peak at the far end is chance: pairs that only the cutoff made."))
    scored = {name: (values["score"], values["hit"]) for name, values in own.items() if len(values.get("score", ()))}
    if scored:
        caption = "Left: a threshold separates hits from false alarms where the two part. Right: above the dotted line "
        caption += "the probabilities are too low, below it too high."
        drawn.append(Figure("probabilities", curves.probabilities(scored), caption))
    return Section("Counts, distances and probabilities" if scored else "Counts and distances", figures=drawn)


def sizes(own: dict[str, Arrays]) -> list[Figure]:
    """True and predicted diameters."""
    pairs = {name: (values["true_diameter_px"], values["predicted_diameter_px"]) for name, values in own.items()}
    pairs = {name: pair for name, pair in pairs.items() if len(pair[0])}
    if not pairs:
        return []
    caption = (
        "Diameters of disks of the same area, of pairs at an IoU of 0.5. Right: medians and quartiles in bins with "
    )
    caption += "equally many pairs; above 0 the outline is too wide."
    return [Figure("sizes", curves.sizes(pairs), caption)]


def render_found(pages: Sequence[str | os.PathLike] | str | os.PathLike) -> list[Path]:
    """Renders `<stem>_report.html` beside each `<stem>_report.npz`; none in an install without the report extra.

    Args:
        pages: the files, or a folder of them. Each holds `image` (H, W), and `labels` (H, W) or `points` (N, d) in px,
            y and x last. Optional: `scores` (N,) probabilities, `pixel_nm`; and where the image is a part of a larger
            one `count` and `sizes_px` (pixels of every object) of the whole.
    """
    if find_spec("matplotlib") is None or find_spec("jinja2") is None:
        return []
    if isinstance(pages, (str, os.PathLike)):
        pages = sorted(Path(pages).glob(f"*{PREDICTED}"))
    return [render_found_page(path) for path in pages]


def holds_found(path: str | os.PathLike) -> bool:
    """Whether a `_report.npz` is one of objects or points."""
    arrays = read_arrays(Path(path))
    return "image" in arrays and ("labels" in arrays or "points" in arrays)


def render_found_page(path: str | os.PathLike) -> Path:
    """The page of one image without a truth.

    Args:
        path: `<stem>_report.npz`, see `render_found`.

    Returns:
        The path of `<stem>_report.html`.

    Raises:
        InputError: other arrays.
    """
    path = Path(path)
    if not holds_found(path):
        raise InputError(f"{path}: expected image, and labels or points. Run bioflax predict again.")
    stem, arrays = path.name.removesuffix(PREDICTED), read_arrays(path)
    labels, points = arrays.get("labels"), arrays.get("points")
    pixel_nm = float(arrays["pixel_nm"]) if "pixel_nm" in arrays else None
    sizes_px = np.zeros(0)
    if labels is not None:
        sizes_px = arrays.get("sizes_px", np.unique(labels[labels > 0], return_counts=True)[1])
    count = int(arrays.get("count", len(points) if labels is None else len(sizes_px)))
    what = "spots" if labels is None else "objects"
    facts = {what: number(count), "image": f"{arrays['image'].shape[0]} x {arrays['image'].shape[1]} px"}
    unit, scale = ("µm", pixel_nm / 1000.0) if pixel_nm else ("px", 1.0)
    diameters = 2 * np.sqrt(sizes_px[sizes_px > 0] / np.pi) * scale
    if len(diameters):
        facts["median diameter"] = number(float(np.median(diameters)), 1 if unit == "px" else 2, unit)
    png = pictures.prediction_overlay(arrays["image"], labels, points, pixel_nm=pixel_nm)
    drawn = [Figure("found", png, f"What was found; grey levels from the {GREY} percentiles of the image.")]
    for name, values, label in (
        ("diameters", diameters, f"equivalent diameter ({unit})"),
        ("probabilities", arrays.get("scores", np.zeros(0)), "probability"),
    ):
        if len(values):
            edges = np.histogram_bin_edges(values, 30, (0, 1) if name == "probabilities" else None)
            drawn.append(
                Figure(name, curves.histogram({what: values}, edges, label, what), f"Share of {what} by {label}.")
            )
    drawn = [dataclasses.replace(figure, name=f"{stem}_{figure.name}") for figure in drawn]
    page = Page(f"Detections: {stem}", f"{count} {what}.", facts, [Section("Pictures", figures=drawn)])
    return write_page(page, path.parent, f"{stem}_report.html")
