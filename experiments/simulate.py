"""Writes simulated fields, noisy and clean, as OME-TIFF."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command

from bioflax.configuration import build, check_arguments


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="simulate")
@_command.collected
def main(config: Any) -> None:
    """One simulated data set."""
    plain, _, _ = _command.settings(config)
    from bioflax.simulate.files import write_fields

    check_arguments(write_fields, {name: plain[name] for name in ("seed", "fields", "repeats")}, "")
    simulator = build(plain["simulator"], "simulator")
    written = write_fields(
        simulator, str(plain["output"]), seed=plain["seed"], fields=plain["fields"], repeats=plain["repeats"]
    )
    print(f"{written} files in {plain['output']}")


if __name__ == "__main__":
    _command.start("simulate", main)
