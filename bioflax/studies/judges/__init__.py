"""One judge per task: draws paired test items, scores models, and their classical rivals beside the bound."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bioflax.errors import InputError
from bioflax.studies.judges.base import Judged, Rivals

JUDGES = {
    "denoise": "denoise.DenoiseJudge",
    "superresolve": "superresolve.SuperResolveJudge",
    "localize": "localize.LocalizeJudge",
    "detect": "detect.DetectJudge",
}


def make_judge(task: str) -> Any:
    """The judge of a task; only its own code is imported."""
    if task not in JUDGES:
        raise InputError(f"study.task: {task!r} is not known. Take one of: {', '.join(JUDGES)}.")
    module, _, name = JUDGES[task].partition(".")
    return getattr(import_module(f"bioflax.studies.judges.{module}"), name)()


__all__ = ["JUDGES", "Judged", "Rivals", "make_judge"]
