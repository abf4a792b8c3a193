"""Evaluation of localizers on files: a movie, or a table that another program made, against a table of the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.evaluation.localization_summary import LocalizationResult
from bioflax.evaluation.localizations import Camera, evaluate_localizations
from bioflax.io import ImageFile, Localizations, image_from_array, list_images, open_image, read_localizations
from bioflax.optics.psf import EmitterPSF
from bioflax.predict.localizations import Localizer, is_table
from bioflax.predict.movie import localize_classically
from bioflax.train.log import ProgressBar


def evaluate_localization_files(
    localizers: Mapping[str, Localizer],
    inputs: str | Path,
    target: str | Path,
    *,
    run_dir: str | Path,
    axes: str | None = None,
    pixel_nm: float | None = None,
    movie: str | Path | None = None,
    psf: EmitterPSF | None = None,
    camera: Camera = None,
    z_nm: tuple[float, float] = (-600.0, 600.0),
    detector: str = "gaussian",
    window_px: int | None = None,
    notes: Sequence[str] = (),
    **protocol: Any,
) -> LocalizationResult:
    """Judges localizers on a movie, or a table that is there already, beside maximum likelihood.

    Args:
        localizers: name -> `(movie, on_progress=...) -> Localizations`; the first is judged. Without any, `inputs` is a
            table.
        inputs: one movie, or a table: `.csv` or `.hdf5`.
        target: the table of the true emitters.
        run_dir: folder for the files.
        axes: of the movie, where it does not say them.
        pixel_nm: camera pixel, nm.
        movie: the movie of a table, for the classical baseline and the pictures.
        psf: the spot: adds the bound and, unless it is judged itself, the classical localizer `mle`.
        camera: of the movie.
        z_nm: range of depths of the classical localizer.
        detector, window_px: of the classical localizer, as `baselines.localize.localize`.
        notes: more for the reader.
        protocol: as `evaluate_localizations`: border_nm, lateral_nm, axial_nm, photon_quantile, console.

    Raises:
        InputError: files that cannot be read, several movies, a target that is no table.
    """
    if not is_table(target):
        raise InputError(f"target: expected the table of the true emitters, .csv or .hdf5, found {target}.")
    if localizers and is_table(inputs):
        raise InputError(f"input: {inputs} is a table already. Leave model out, or give its movie as input.")
    said, tables, seconds = list(notes), {}, {}
    truth = read_localizations(target, pixel_nm=pixel_nm)
    frames = _open(movie if is_table(inputs) else inputs, axes)
    if is_table(inputs):
        tables["table"] = _with_pixel(read_localizations(inputs, pixel_nm=pixel_nm), pixel_nm)
    run = dict(localizers)
    if psf is None:
        said.append("No classical baseline: no spot was given (psf=gaussian psf.sigma_nm=..., or another).")
    elif frames is None:
        said.append("No classical baseline: a table alone has no frames (movie=...).")
    elif "mle" not in run:
        run["mle"] = partial(
            localize_classically, psf, camera=camera, z_range_nm=z_nm, detector=detector, window_px=window_px
        )
    with ProgressBar("evaluate", len(run) * 1000) as bar:
        for done, (name, localizer) in enumerate(run.items()):

            def show(frame: int, total: int, done: int = done, name: str = name) -> None:
                bar.update(done * 1000 + 1000 * frame // total, name)

            begun = time.monotonic()
            tables[name] = localizer(frames, on_progress=show)
            seconds[name] = time.monotonic() - begun
    return evaluate_localizations(
        tables, truth, run_dir=run_dir, psf=psf, camera=camera, movie=frames, seconds=seconds, notes=said, **protocol
    )


def _open(path: str | Path | None, axes: str | None) -> ImageFile | None:
    """The one movie; what cannot be read in parts is read once."""
    if path is None:
        return None
    paths = list_images(path)
    if len(paths) > 1:
        raise InputError(f"input: expected one movie for one table of the truth, found {len(paths)} in {path}.")
    movie = open_image(paths[0], axes)
    return movie if movie.lazy else image_from_array(movie.read(), movie.axes, movie.pixel_nm, str(movie.path))


def _with_pixel(table: Localizations, pixel_nm: float | None) -> Localizations:
    """A CSV does not tell the camera's pixel."""
    if table.pixel_nm or pixel_nm is None:
        return table
    return Localizations(table.columns, pixel_nm, table.size_px, table.frames)
