"""Simulated fields as files: what a newcomer starts from, and what a study is tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bioflax.io import Localizations, save_image, write_localizations
from bioflax.simulate.emitters import EmitterSimulator
from bioflax.simulate.movie import simulate_movie
from bioflax.simulate.simulator import Simulator
from bioflax.simulate.stack import simulate_stack


def write_fields(simulator: Simulator, output: str | Path, *, seed: int, fields: int, repeats: int) -> int:
    """Writes `noisy/field<n>_<repeat>.tif` (counts) and `clean/field<n>.tif` (expected counts, float32) as OME-TIFF.

    Args:
        simulator: scene, optics and camera.
        output: folder; made if missing.
        seed: of scenes and noise.
        fields: number of fields of view.
        repeats: exposures of each.

    Returns:
        Number of files.
    """
    stack = simulate_stack(simulator, seed, fields, repeats)
    pixel_nm = {axis: float(simulator.optics.pixel_nm) for axis in "YX"}
    output = Path(output)
    for name in ("noisy", "clean"):
        (output / name).mkdir(parents=True, exist_ok=True)
    for field in range(fields):
        save_image(output / "clean" / f"field{field + 1}.tif", stack["clean"][field], "YX", pixel_nm)
        for repeat in range(repeats):
            name = f"field{field + 1}_{repeat + 1}.tif"
            save_image(output / "noisy" / name, stack["image"][field, repeat], "YX", pixel_nm)
    return fields * (1 + repeats)


def write_movie(simulator: EmitterSimulator, output: str | Path, *, seed: int, frames: int) -> int:
    """Writes `movie.tif` (counts, TYX) and `truth.csv` (every emitter in every frame, as ThunderSTORM writes tables).

    Args:
        simulator: emitters, spot and camera.
        output: folder; made if missing.
        seed: of emitters and noise.
        frames: of the movie.

    Returns:
        Number of emitters in the table, each frame counted.
    """
    movie = simulate_movie(simulator, seed, frames)
    pixel_nm = float(simulator.psf.pixel_nm)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    columns = ("frame", "x_nm", "y_nm", "z_nm", "photons", "background_photons")
    truth = Localizations(
        {name: np.asarray(movie[name]) for name in columns},
        pixel_nm=pixel_nm,
        size_px=(simulator.size, simulator.size),
        frames=frames,
    )
    save_image(output / "movie.tif", movie["image"], "TYX", {axis: pixel_nm for axis in "YX"})
    write_localizations(truth, output / "truth.csv")
    return len(truth)
