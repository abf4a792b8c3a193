"""Looks into images before anyone trains on them."""

from __future__ import annotations

from typing import Any

import hydra
from bioflax.experiments import _command


@hydra.main(version_base="1.3", config_path="pkg://bioflax.conf", config_name="preflight")
@_command.collected
def main(config: Any) -> None:
    """One inspection."""
    plain, overrides, folder = _command.settings(config)
    from bioflax import preflight
    from bioflax.report import render_preflight
    from bioflax.runs import Run

    repeats = plain["repeats"]
    axes = _command.optional(plain["axes"])
    report = preflight.inspect(plain["input"], axes=axes, repeats=repeats, target=plain["target"])
    with Run(folder, "preflight", plain, overrides) as run:
        preflight.write(report, folder)
        run.finish(metrics={"warnings": len(report["warnings"])})
        render_preflight(folder)
    for warning in report["warnings"]:
        print(f"warning: {warning}")
    print(f"recommended scheme: {report['recommended_scheme']}")
    print(f"{folder / 'report.html'}")


if __name__ == "__main__":
    _command.start("preflight", main)
