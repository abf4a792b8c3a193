"""Localization of files: a movie, a folder or a glob of them; each gives a table and a rendered picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bioflax.errors import InputError
from bioflax.io import (
    Localizations,
    image_from_array,
    image_stem,
    list_images,
    open_image,
    save_image,
    write_localizations,
)
from bioflax.io.aside import written_aside
from bioflax.io.png import write_png
from bioflax.ops.colouring import colour_by_z, scale_bar, tone
from bioflax.ops.drift import Drift, correct, estimate_drift
from bioflax.ops.rendering import render_gaussian
from bioflax.predict.files import Predicted
from bioflax.predict.inspection import PAGE_ARRAYS, inspect_prediction
from bioflax.train.log import ProgressBar

TABLES = (".csv", ".hdf5", ".h5")
RENDER_PX = 16_000  # widest picture that is rendered

Localizer = Callable[..., Localizations]


def localize_files(
    localizer: Localizer,
    inputs: str | Path,
    output: str | Path,
    *,
    axes: str | None = None,
    render_nm: float | None = 20.0,
    drift_segments: int | None = None,
    page: bool = False,
) -> Predicted:
    """Localizes movies into tables, each with a picture beside it.

    Args:
        localizer: `(movie, on_progress=...) -> Localizations`, such as `localize_movie` with a model and a camera bound.
        inputs: a file, a folder or a glob.
        output: a folder, or the name of the table for a single input: `.csv` (ThunderSTORM) or `.hdf5` (Picasso).
        axes: of the inputs, where they do not say them: TYX.
        render_nm: pixel of the rendered picture; None renders nothing.
        drift_segments: corrects the drift of the sample by redundant cross-correlation of so many parts of the movie, and
            writes its course with its error as `<stem>_drift.csv`; None leaves the positions as they were found.
        page: write `<stem>_report.npz` beside each table, which `report.render_predictions` makes a page of.

    Returns:
        The files, and the seconds they took.

    Raises:
        InputError: a movie in which no drift is found, once all are localized; inputs that cannot be read,
            one table for several inputs, an output that is no table.
    """
    paths, output = list_images(inputs), Path(output)
    single = output.suffix.lower() in TABLES
    if not single and output.suffix:
        raise InputError(f"output: expected a folder or a table ({', '.join(TABLES)}), found {output}.")
    if single and len(paths) > 1:
        raise InputError(f"output: {output} is one table, {inputs} holds {len(paths)} movies. Give a folder.")
    if render_nm is not None and not render_nm > 0:
        raise InputError(f"render_nm: expected more than 0, or null for no picture, found {render_nm}.")
    begun, written, pages, number = time.monotonic(), [], [], 0
    drifts: dict[str, dict[str, float | None]] = {}
    failed: dict[str, InputError] = {}
    with ProgressBar("localize", len(paths) * 1000) as bar:
        for done, path in enumerate(paths):
            name = output if single else output / f"{image_stem(path)}.csv"
            name.parent.mkdir(parents=True, exist_ok=True)
            movie = open_image(path, axes)
            if not movie.lazy:  # else every chunk would decode the whole file again
                movie = image_from_array(movie.read(), movie.axes, movie.pixel_nm, str(movie.path))

            def show(frame: int, frames: int, done: int = done, path: Path = path) -> None:
                bar.update(done * 1000 + 1000 * frame // frames, path.name)

            found = table = localizer(movie, on_progress=show)
            number += len(table)
            write_localizations(table, name)
            if drift_segments is not None:
                try:
                    table, course = without_drift(found, drift_segments)
                except InputError as cause:  # the table as found is safe by now, and the other movies go on
                    failed[path.name] = cause
                else:
                    write_localizations(table, name)
                    written.append(str(write_drift(name.with_name(f"{image_stem(name)}_drift.csv"), course)))
                    drifts[path.name] = drift_of(course)
            written.append(str(name))
            if render_nm is not None:
                written += [str(made) for made in render(table, name, render_nm)]
            if page:
                pages.append(str(name.with_name(f"{image_stem(name)}{PAGE_ARRAYS}")))
                with written_aside(pages[-1]) as aside, aside.open("wb") as stream:
                    np.savez_compressed(stream, **inspect_prediction(found, movie))  # on frames as they were taken
    if failed:
        cause = next(iter(failed.values()))
        raise InputError(
            f"drift_segments: no drift found in {', '.join(failed)}; tables are written as found. {cause}"
        ) from cause
    return Predicted(written + pages, {"predict": time.monotonic() - begun}, number, pages, drifts)


def without_drift(table: Localizations, segments: int) -> tuple[Localizations, Drift]:
    """The table with the drift of the sample taken off, and its course; as `ops.drift.estimate_drift`."""
    course = estimate_drift(table["x_nm"], table["y_nm"], table["frame"], segments=segments)
    x_nm, y_nm = correct(table["x_nm"], table["y_nm"], table["frame"], course)
    return table.with_columns(x_nm=x_nm, y_nm=y_nm), course


def write_drift(path: Path, course: Drift) -> Path:
    """Writes frame, x_nm, y_nm and error_nm: where the sample had moved to, and the standard error per axis."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8") as stream:
        stream.write("frame,x_nm,y_nm,error_nm\n")
        for frame, x, y, error in zip(course.frames, course.x_nm, course.y_nm, course.error_nm):
            stream.write(f"{int(frame)},{x:.3f},{y:.3f},{error:.3f}\n")
    return path


def drift_of(course: Drift) -> dict[str, float | None]:
    """Extent of a drift, its median standard error per axis (None for two segments), and the share of pairs that agreed."""
    error = float(np.median(course.error_nm))
    return {
        "drift_x_nm": float(np.ptp(course.x_nm)),
        "drift_y_nm": float(np.ptp(course.y_nm)),
        "error_nm": error if np.isfinite(error) else None,
        "pairs_used": float(course.pairs_used),
    }


def render(table: Localizations, beside: Path, render_nm: float) -> list[Path]:
    """Writes `<stem>_render.tif` (localizations per pixel, float32) and `<stem>_render.png` (by depth where there is one).

    Args:
        table: with its pixel size and the size of its frames.
        beside: the table's file.
        render_nm: pixel of the picture; made larger where the picture would be wider than 16,000 px.

    Returns:
        The files; the PNG is left out in an install without Pillow.
    """
    size_nm = tuple(side * table.pixel_nm for side in table.size_px)
    render_nm = max(render_nm, max(size_nm) / RENDER_PX)
    stem = image_stem(beside)
    where = {"pixel_nm": render_nm, "size_nm": size_nm}
    sigma = np.maximum(table.columns.get("sigma_x_nm", np.full(len(table), render_nm)), 0.5 * render_nm)
    picture = render_gaussian(table["x_nm"], table["y_nm"], sigma, **where)
    made = [beside.with_name(f"{stem}_render.tif")]
    save_image(made[0], picture.astype(np.float32), "YX", {"Y": render_nm, "X": render_nm})
    if "z_nm" in table.columns and len(table):
        shown = colour_by_z(table["x_nm"], table["y_nm"], table["z_nm"], sigma, **where)
    else:
        shown = np.round(255 * tone(picture)).astype(np.uint8) if picture.max() > 0 else picture.astype(np.uint8)
    try:
        write_png(beside.with_name(f"{stem}_render.png"), scale_bar(shown, render_nm)[0])
        made.append(beside.with_name(f"{stem}_render.png"))
    except InputError:  # a plain install draws nothing; the table is good without
        pass
    return made


def is_table(output: str | Path) -> bool:
    """Whether an output names a localization table."""
    return Path(output).suffix.lower() in TABLES
