"""Reports: one self-contained page for a training run, an evaluation or a pre-flight inspection, from files alone."""

from __future__ import annotations

import os
from pathlib import Path

from bioflax.errors import InputError
from bioflax.report.evaluation import render_evaluation
from bioflax.report.preflight import render_preflight
from bioflax.report.train import render_train

RENDERERS = {"preflight.json": render_preflight, "summary.json": render_evaluation, "metrics.jsonl": render_train}


def render(run_dir: str | os.PathLike) -> Path:
    """Renders whatever a folder holds again.

    Returns:
        The path of report.html.

    Raises:
        InputError: the folder holds nothing that a page can be made of.
    """
    folder = Path(run_dir)
    for name, renderer in RENDERERS.items():
        if (folder / name).exists():
            return renderer(folder)
    raise InputError(f"dir: expected a folder with one of {', '.join(RENDERERS)}, found none in {folder}.")


__all__ = ["render", "render_evaluation", "render_preflight", "render_train"]
