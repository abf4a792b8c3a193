"""Simulated fields as files: what a newcomer starts from, and what a study is tested on."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.io import Localizations, save_image, write_localizations
from bioflax.io.labels import write_labels, write_points_csv
from bioflax.simulate.emitters import EmitterSimulator
from bioflax.simulate.magnified import Magnified
from bioflax.simulate.movie import simulate_movie
from bioflax.simulate.nuclei import NucleiSimulator
from bioflax.simulate.simulator import Simulator
from bioflax.simulate.spots import SpotSimulator
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


def write_pairs(simulator: Magnified, output: str | Path, *, seed: int, fields: int) -> int:
    """Writes `images/field<n>.tif` (counts, uint16; raw frames as axis C) and `targets/field<n>.tif` (float32, fine grid).

    Args:
        simulator: of pairs for super-resolution.
        output: folder; made if missing.
        seed: of scenes and noise.
        fields: number of pairs; each has its own key, so more of them begin with the same.

    Returns:
        Number of pairs.

    Raises:
        InputError: the folder holds further pairs of an earlier run.
    """
    output = Path(output)
    names = [f"field{field + 1:04d}.tif" for field in range(fields)]
    left = sorted(path.name for path in output.glob("*/field*.tif") if path.name not in names)
    if left:
        raise InputError(f"output: {output} holds {left[0]} of an earlier run, which would stay. Take an empty folder.")
    pixel_nm = float(simulator.optics.pixel_nm)
    draw = jax.jit(lambda simulator, key: simulator.sample(key, 1))
    for field, name in enumerate(names):
        drawn = jax.device_get(draw(simulator, jax.random.fold_in(jax.random.key(seed), field)))
        counts = np.clip(np.rint(drawn["image"][0]), 0, np.iinfo(np.uint16).max).astype(np.uint16)
        image, axes = (counts[..., 0], "YX") if simulator.channels == 1 else (np.moveaxis(counts, -1, 0), "CYX")
        save_image(output / "images" / name, image, axes, {axis: pixel_nm for axis in "YX"})
        fine_nm = {axis: pixel_nm / simulator.upscale for axis in "YX"}
        save_image(output / "targets" / name, drawn["target"][0, ..., 0], "YX", fine_nm)
    return fields


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


def write_objects(simulator: NucleiSimulator | SpotSimulator, output: str | Path, *, seed: int, fields: int) -> int:
    """Writes `images/field<n>.tif` (counts, uint16) and `targets/field<n>.tif` (labels) or `.csv` (x_px, y_px[, z_px]).

    Args:
        simulator: of nuclei or of spots.
        output: folder; made if missing.
        seed: of objects and noise.
        fields: number of pictures; each has its own key, so more of them begin with the same.

    Returns:
        Number of objects.
    """
    output, number = Path(output), 0
    draw = jax.jit(lambda simulator, key: simulator.sample(key, 1))
    for field in range(fields):
        drawn = jax.device_get(draw(simulator, jax.random.fold_in(jax.random.key(seed), field)))
        image, name = drawn["image"][0, ..., 0], f"field{field + 1:04d}"
        counts = np.clip(np.rint(image), 0, np.iinfo(np.uint16).max).astype(np.uint16)
        save_image(output / "images" / f"{name}.tif", counts, "ZYX"[-image.ndim :])
        if "labels" in drawn:
            write_labels(output / "targets" / f"{name}.tif", drawn["labels"][0])
            number += len(np.unique(drawn["labels"])) - 1
        else:
            points = drawn["points"][0][drawn["mask"][0] > 0]
            write_points_csv(output / "targets" / f"{name}.csv", points)
            number += len(points)
    return number
