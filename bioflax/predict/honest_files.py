"""A super-resolving model on an image file, with the maps that say what of the result was measured and what is prior."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import ImageFile, ImageSink, image_from_array, image_stem, open_image
from bioflax.io.aside import written_aside
from bioflax.ops.tiles import Window
from bioflax.predict.honesty import Honesty, check_size, examine
from bioflax.predict.layout import Layout
from bioflax.predict.physics import Physics
from bioflax.predict.restore import Restorer, layout_for, restore
from bioflax.predict.stream import finer, scale_path

FINE = ("measured", "prior", "null_space")
COARSE = ("chi_square", "error")
HONESTY = "_honesty.json"


@dataclass(frozen=True)
class Examined:
    """`files`: what was written; `page`: the .json that a page is made of; `numbers` of all planes; `flags`, each once."""

    files: list[Path]
    page: Path
    numbers: list[dict[str, float]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def predict_honest_file(
    model: Restorer,
    source: str | Path,
    output: str | Path,
    physics: Physics,
    axes: str | None = None,
    *,
    dtype: Any = None,
    **options: Any,
) -> Examined:
    """Restores an image file and examines the result, plane by plane.

    Beside the result stand, as float32 OME-TIFF, `<name>_measured.tif` and `<name>_prior.tif` (they add up to the result before it
    is rounded), `<name>_null_space.tif` (local share of the prior), and on the camera's grid `<name>_chi_square.tif` and
    `<name>_error.tif`; `<name>_honesty.json` has the numbers, `<name>_honesty.npz` the pictures for the page.

    Args:
        model: a loaded super-resolving model.
        source: an image file, small enough to be held in memory.
        output: `.tif` of the result.
        physics: how the pictures came about.
        axes: of the source; None takes its metadata.
        dtype: of the result; None keeps an integer source's own.
        options: as `predict_file`.

    Raises:
        InputError: as `predict_file`; a model of several output channels.
    """
    if model.channels_out != 1 or model.spatial_dims != 2:
        raise InputError(
            f"honesty: expected a 2-D model that makes one channel, found a {model.spatial_dims}-D one of {model.channels_out}."
        )
    opened, output = open_image(source, axes), Path(output)
    opened = image_from_array(opened.read(), opened.axes, opened.pixel_nm, str(opened.path))
    layout = layout_for(model, opened)
    check_size(tuple(side * model.upscale for side in layout.net_shape[1:-1]))
    if dtype is None:
        dtype = opened.dtype if opened.dtype.kind in "iu" and opened.dtype.itemsize <= 4 else np.float32
    pixel = square_pixel(opened)
    restored = restore_whole(model, opened, layout, options)
    judged = getattr(model.card, "metrics", {}) or {}

    def look(restored: np.ndarray, raw: np.ndarray) -> Honesty:
        return examine(restored, raw, physics, judged=judged, pixel_nm=pixel)

    whole = tuple(slice(0, side) for side in layout.net_shape[1:-1])
    raws = (layout.read(opened.read_window, (slice(n, n + 1), *whole))[0] for n in range(layout.net_shape[0]))
    rows = [look(*pair) for pair in zip(restored["image"], raws)]  # nothing is written before all is known
    written = [write_maps(output, restored["image"], layout, opened, model.upscale, dtype)]
    if "scale" in restored:
        written.append(write_maps(scale_path(output), restored["scale"], layout, opened, model.upscale))
    for name, path in zip((*FINE, *COARSE), map_paths(output)):
        maps = [row.maps[name] for row in rows]
        written.append(write_maps(path, maps, layout, opened, model.upscale if name in FINE else 1))
    flags = gathered(rows)
    page = output.with_name(f"{image_stem(output)}{HONESTY}")
    write_page_files(page, rows, physics, str(opened.path.name), output)
    return Examined([*written, page], page, [row.numbers for row in rows], flags)


def map_paths(output: Path) -> list[Path]:
    """Where the maps of a result go, in the order of `FINE` and `COARSE`."""
    return [output.with_name(f"{image_stem(output)}_{name}.tif") for name in (*FINE, *COARSE)]


def gathered(rows: Sequence[Honesty]) -> list[str]:
    """What speaks against the planes, with the number of the plane where there are several."""
    if len(rows) == 1:
        return list(rows[0].flags)
    return [f"plane {number}: {flag}" for number, row in enumerate(rows, 1) for flag in row.flags]


def square_pixel(source: ImageFile) -> float | None:
    """Side of the camera pixel that a file states, nm; InputError where it is not square."""
    sizes = [size for axis, size in (source.pixel_nm or {}).items() if axis in "YX"]
    if len(sizes) == 2 and abs(sizes[0] / sizes[1] - 1) > 0.01:
        raise InputError(
            f"honesty: expected square pixels, {source.path.name} has {sizes[0]:g} x {sizes[1]:g} nm. Resample it."
        )
    return sizes[0] if sizes else None


def restore_whole(model: Restorer, source: ImageFile, layout: Layout, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """{"image", and "scale" where the model predicts one}: (planes, sH, sW), in the unit of the file and unrounded."""
    shape = (layout.net_shape[0], *(side * model.upscale for side in layout.net_shape[-3:-1]))
    found: dict[str, np.ndarray] = {}

    def write(window: Window, maps: dict[str, np.ndarray]) -> None:
        for name, values in maps.items():
            found.setdefault(name, np.empty(shape, np.float32))[window] = values[..., 0]

    options = dict(options)
    restore(model, source, layout, write, options, posterior=options.pop("posterior", False))
    return found


def write_maps(
    path: Path, maps: Sequence[np.ndarray], layout: Layout, source: ImageFile, upscale: int, dtype: Any = np.float32
) -> Path:
    """One map of every plane as an OME-TIFF with the axes of the result; its path."""
    shape = dict(zip(layout.axes, layout.shape)) | dict(zip("YX", maps[0].shape))
    axes = layout.axes_out
    sizes = tuple(shape[letter] for letter in axes)
    sink = ImageSink(path, sizes, axes, dtype, finer(source.pixel_nm, upscale))
    place = Layout(axes, sizes, 2)
    try:
        for number, values in enumerate(maps):
            window = (slice(number, number + 1), *(slice(0, side) for side in values.shape))
            place.write(sink.write_window, window, values[None, ..., None])
        sink.commit()
    finally:
        sink.abort()
    return path


def write_page_files(page: Path, rows: list[Honesty], physics: Physics, source: str, output: Path) -> None:
    """The numbers as JSON and the pictures of the middle plane as .npz, each aside and then renamed."""
    middle = rows[len(rows) // 2]
    facts = {
        "schema": 1,
        "source": source,
        "output": output.name,
        "upscale": physics.upscale,
        "fine_nm": physics.fine_nm,
        "cutoff_nm": 1.0 / physics.reach_per_nm,
        "frames": physics.frames,
        "same_unit": physics.same_unit,
        "noise": middle.noise,
        "numbers": [row.numbers for row in rows],
        "flags": gathered(rows),
    }
    pictures = {**middle.maps, "image": middle.maps["measured"] + middle.maps["prior"]}
    _aside(page.with_suffix(".npz"), lambda stream: np.savez_compressed(stream, **pictures))
    text = json.dumps(facts, indent=1, allow_nan=False) + "\n"
    _aside(page, lambda stream: stream.write(text.encode()))


def _aside(path: Path, write: Callable[[Any], Any]) -> None:
    with written_aside(path) as part, part.open("wb") as stream:
        write(stream)
