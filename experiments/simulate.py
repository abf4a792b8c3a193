"""Writes simulated fields, noisy and clean; pairs for super-resolution; a movie of emitters; or nuclei and spots with their
labels and positions."""

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
    from bioflax.simulate.emitters import EmitterSimulator
    from bioflax.simulate.files import write_fields, write_movie, write_objects, write_pairs
    from bioflax.simulate.magnified import Magnified
    from bioflax.simulate.nuclei import NucleiSimulator
    from bioflax.simulate.spots import SpotSimulator

    simulator, output = build(plain["simulator"], "simulator"), str(plain["output"])
    if isinstance(simulator, EmitterSimulator):
        check_arguments(write_movie, {name: plain[name] for name in ("seed", "frames")}, "")
        shining = write_movie(simulator, output, seed=plain["seed"], frames=plain["frames"])
        print(f"movie.tif and truth.csv with {shining} rows in {output}")
        return
    if isinstance(simulator, (NucleiSimulator, SpotSimulator)):
        check_arguments(write_objects, {name: plain[name] for name in ("seed", "fields")}, "")
        found = write_objects(simulator, output, seed=plain["seed"], fields=plain["fields"])
        print(f"{plain['fields']} images with {found} objects in {output}")
        return
    if isinstance(simulator, Magnified):
        check_arguments(write_pairs, {name: plain[name] for name in ("seed", "fields")}, "")
        print(f"{write_pairs(simulator, output, seed=plain['seed'], fields=plain['fields'])} pairs in {output}")
        return
    check_arguments(write_fields, {name: plain[name] for name in ("seed", "fields", "repeats")}, "")
    written = write_fields(simulator, output, seed=plain["seed"], fields=plain["fields"], repeats=plain["repeats"])
    print(f"{written} files in {output}")


if __name__ == "__main__":
    _command.start("simulate", main)
