"""Renders the page of a folder again from its files."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="report")
@_command.collected
def main(config: Any) -> None:
    """One page."""
    plain, _, _ = _command.settings(config)
    from bioflax.report import render

    print(render(plain["dir"]))


if __name__ == "__main__":
    _command.start("report", main)
