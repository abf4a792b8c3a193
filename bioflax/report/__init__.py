"""Reports: one self-contained page for a training run, an evaluation or a pre-flight inspection, from files alone."""

from __future__ import annotations

import os
from pathlib import Path

from bioflax.errors import InputError
from bioflax.report.detection import holds_found, render_detection, render_found, render_found_page
from bioflax.report.evaluation import render_evaluation
from bioflax.report.files import read_json
from bioflax.report.localization import PREDICTED, render_localization, render_prediction, render_predictions
from bioflax.report.preflight import render_preflight
from bioflax.report.super_resolution import EXAMINED, render_honesty, render_honesty_pages
from bioflax.report.train import render_train

RENDERERS = {"preflight.json": render_preflight, "summary.json": render_evaluation, "metrics.jsonl": render_train}
SUMMARIES = {"localize": render_localization, "detect": render_detection}  # by the task that summary.json names


def render(run_dir: str | os.PathLike) -> Path:
    """Renders whatever a folder holds again.

    Returns:
        The path of report.html; of predictions, that of the page, or the folder where there are several.

    Raises:
        InputError: the folder holds nothing that a page can be made of.
    """
    folder = Path(run_dir)
    for name, renderer in RENDERERS.items():
        if (folder / name).exists():
            if name == "summary.json":
                renderer = SUMMARIES.get(read_json(folder / name).get("task"), renderer)
            return renderer(folder)
    pages = [
        (render_found_page if holds_found(path) else render_prediction)(path)
        for path in sorted(folder.glob(f"*{PREDICTED}"))
    ]
    pages += [render_honesty(path) for path in sorted(folder.glob(f"*{EXAMINED}"))]
    if pages:
        return pages[0] if len(pages) == 1 else folder
    names = ", ".join([*RENDERERS, f"*{PREDICTED}", f"*{EXAMINED}"])
    raise InputError(f"dir: expected a folder with one of {names}, found none in {folder}.")


__all__ = [
    "render",
    "render_detection",
    "render_evaluation",
    "render_found",
    "render_honesty",
    "render_honesty_pages",
    "render_localization",
    "render_prediction",
    "render_predictions",
    "render_preflight",
    "render_train",
]
