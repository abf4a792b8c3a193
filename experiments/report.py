"""Renders the page of a folder again from its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="report")
@_command.collected
def main(config: Any) -> None:
    """One page."""
    plain, _, _ = _command.settings(config)
    print(_renderer(Path(str(plain["dir"])))(plain["dir"]))


def _renderer(folder: Path) -> Callable[[str], Path]:
    """What renders a folder: a study, a folder of studies, or anything else."""
    if (folder / "study.json").exists():
        from bioflax.studies.report import render_study as render
    elif any(folder.glob("*/study.json")):
        from bioflax.studies.index import render_index as render
    else:
        from bioflax.report import render
    return render


if __name__ == "__main__":
    _command.start("report", main)
