"""Evaluation of localizers: their tables against the truth, beside the Cramer-Rao bound, on the protocol of the challenge."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation.localization_pictures import picture_arrays, prefixed
from bioflax.evaluation.localization_scores import (
    Columns,
    Protocol,
    bound_curves,
    bound_of,
    compare,
    curves_of,
    edges_of,
    intervals_of,
    numbers_of,
    with_neighbours,
)
from bioflax.evaluation.localization_summary import RULE, LocalizationResult
from bioflax.io import ImageFile, Localizations
from bioflax.metrics import MATCHING_RULES, Comparison
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.emitter_bounds import emitter_bounds
from bioflax.optics.likelihood import sensor
from bioflax.optics.psf import EmitterPSF
from bioflax.predict.movie import movie_shape, read_frames

NEIGHBOURS_UNKNOWN = 4  # nearest emitters that the bound takes as unknown too
RESERVED = ("truth", "bound", "edges")  # what else has arrays in curves.npz

Camera = SCMOS | EMCCD | None


def evaluate_localizations(
    localizers: Mapping[str, Localizations],
    truth: Localizations,
    *,
    run_dir: str | os.PathLike,
    border_nm: float = 450.0,
    lateral_nm: float = 250.0,
    axial_nm: float | None = 500.0,
    photon_quantile: float | None = None,
    psf: EmitterPSF | None = None,
    camera: Camera = None,
    movie: ImageFile | None = None,
    seconds: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> LocalizationResult:
    """Judges tables of one movie; writes `table.csv`, `summary.json` and `curves.npz` and prints the table.

    Numbers are those of `metrics.summarize` for each rule of pairing, `greedy` being the challenge's; the bound is that
    of each emitter with its own light, the camera's pixels below it, and its nearest neighbours as unknown as itself.

    Args:
        localizers: name -> table; the first is judged, the others are baselines.
        truth: `photons` are needed for the bound and the curve against them.
        run_dir: folder for the files.
        border_nm, lateral_nm, axial_nm, photon_quantile: as `metrics.compare_localizations`.
        psf: the spot; None leaves the bound out.
        camera: None is an ideal one.
        movie: the frames, for pictures and, where the truth has none, the background.
        seconds: name -> time it took.
        notes: more for the reader.
        console: where the table goes.

    Returns:
        The result.

    Raises:
        InputError: no tables, no true emitters, a border wider than the field, a movie of another size than the camera.
    """
    if not localizers:
        raise InputError("localizers: expected at least one table of localizations, found none.")
    taken = [name for name in localizers if name in RESERVED or "." in name]
    if taken:
        raise InputError(
            f"localizers: expected names without a dot, none of {', '.join(RESERVED)}; found {taken[0]!r}."
        )
    if len(truth) == 0:
        raise InputError("target: expected true emitters, found an empty table.")
    said = list(notes)
    tables = [*localizers.values(), truth]
    pixel_nm = next((float(t.pixel_nm) for t in tables if t.pixel_nm), None if psf is None else float(psf.pixel_nm))
    protocol = Protocol(
        *_field(tables, movie, pixel_nm, said), pixel_nm, border_nm, lateral_nm, axial_nm, photon_quantile
    )
    columns = _with_bound(truth.columns, psf, camera, movie, said, (lateral_nm, axial_nm))
    methods: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    compared: dict[str, Comparison] = {}
    edges: dict[str, np.ndarray] = {}
    for name, table in localizers.items():
        found, known = with_neighbours(_usable(name, table.columns, said), columns)
        comparisons = {rule: compare(found, known, protocol, rule) for rule in MATCHING_RULES}
        main = compared[name] = comparisons[RULE]
        if len(main.truth["frame"]) == 0:
            raise InputError(f"border_nm: no true emitter lies {border_nm:g} nm inside the field. Give border_nm=0.")
        edges = edges or edges_of(main.truth)
        methods[name] = {
            "numbers": {rule: numbers_of(one, columns, protocol) for rule, one in comparisons.items()},
            "intervals": intervals_of(main),
            "seconds": None if seconds is None else seconds.get(name),
        }
        arrays |= prefixed(name, curves_of(found, known, main, protocol, edges))
    judged = next(iter(compared.values())).truth
    bound = bound_of(judged)
    if bound:
        bound |= {f"rmse_over_crlb_{axis}": 1.0 for axis in "xyz" if f"crlb_{axis}_nm" in judged}
        arrays |= prefixed("bound", bound_curves(judged, edges))
    arrays |= prefixed("edges", edges) | picture_arrays(localizers, truth, compared, protocol, movie)
    facts = {
        "caption": protocol.caption,
        "frames": protocol.frames,
        "emitters": len(judged["frame"]),
        "emitters_with_border": len(truth),
        "size_nm": list(protocol.size_nm),
        "pixel_nm": pixel_nm,
        "density_per_um2": len(judged["frame"]) / (protocol.frames * protocol.area_um2),
        "median_photons": float(np.median(judged["photons"])) if "photons" in judged else None,
        "is_3d": any(one.is_3d for one in compared.values()),
    }
    result = LocalizationResult(next(iter(localizers)), methods, bound, facts, tuple(dict.fromkeys(said)))
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    result.write(folder, arrays)
    (console or Console()).print(result.table())
    return result


def _field(
    tables: Sequence[Localizations], movie: ImageFile | None, pixel_nm: float | None, said: list[str]
) -> tuple[tuple[float, float], int]:
    """Size of the field, nm, and the number of frames: as the movie or a table tells, else as far as the tables reach."""
    frames = max(max(t.frames or 0, int(t["frame"].max(initial=1))) for t in tables)
    sizes = [t.size_px for t in tables if t.size_px]
    if movie is not None:
        length, size = movie_shape(movie)
        if frames > length:
            raise InputError(
                f"target: expected frames from 1 to the {length} of {movie.path.name}, found {frames}. "
                "Give the table of this movie."
            )
        frames, sizes = length, [size]
    if sizes and pixel_nm:
        return tuple(float(side * pixel_nm) for side in sizes[0]), int(frames)
    step = pixel_nm or 1.0
    reach = [max(float(t[axis].max(initial=0.0)) for t in tables) for axis in ("y_nm", "x_nm")]
    said.append("The size of the field is not known: it was taken as far as the tables reach from the corner.")
    return tuple(float(np.ceil(max(far, step) / step) * step) for far in reach), int(frames)


def _usable(name: str, columns: Columns, said: list[str]) -> dict[str, np.ndarray]:
    """Columns without spreads that are not positive."""
    spreads = [key for key in columns if key.startswith(("sigma_", "crlb_"))]
    wrong = [key for key in spreads if not (columns[key] > 0).all()]
    if wrong:
        said.append(f"{name}: {', '.join(wrong)} left out, since not all of their values are above 0.")
    return {key: values for key, values in columns.items() if key not in wrong}


def _with_bound(
    truth: Columns,
    psf: EmitterPSF | None,
    camera: Camera,
    movie: ImageFile | None,
    said: list[str],
    gate_nm: tuple[float, float | None],
) -> dict[str, np.ndarray]:
    """The truth with the bound of each emitter among its neighbours, where there is what that needs."""
    columns = dict(truth)
    if psf is None:
        if "crlb_x_nm" not in columns:
            said.append("No bound: no spot was given (psf=gaussian psf.sigma_nm=..., or another).")
        return columns
    if "photons" not in columns:
        said.append("No bound: the target has no photons.")
        return columns
    if "background_photons" not in columns:
        if movie is None:
            said.append("No bound: the target has no background_photons, and there is no movie to take them from.")
            return columns
        columns["background_photons"] = _backgrounds(columns["frame"], movie, camera)
        said.append("The target has no background: the bound takes the median of each frame, in photons.")
    at = sensor(camera)
    return columns | emitter_bounds(psf, at, columns, neighbours=NEIGHBOURS_UNKNOWN, gate_nm=gate_nm)


def _backgrounds(frame: np.ndarray, movie: ImageFile, camera: Camera) -> np.ndarray:
    """Median photons of the frame of each emitter."""
    numbers, place = np.unique(frame, return_inverse=True)
    found = []
    for number in numbers:
        counts = read_frames(movie, int(number) - 1, int(number))[0]
        photons = counts if camera is None else np.asarray(camera.to_photons(counts))
        found.append(max(float(np.median(photons)), 0.01))
    return np.array(found)[place]
