"""Detection on files: label images, tables and outlines that napari, Fiji and QuPath open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError, require
from bioflax.io import ImageFile, list_images, open_image, rearrange, save_image
from bioflax.io.aside import written_aside
from bioflax.io.labels import (
    label_outlines,
    write_imagej_points,
    write_imagej_rois,
    write_labels,
    write_napari_points,
    write_napari_shapes,
    write_objects_geojson,
    write_points_csv,
    write_points_geojson,
)
from bioflax.ops.polygons import polygon_vertices
from bioflax.predict.files import Predicted, check_apart, check_stems
from bioflax.predict.layout import SPATIAL
from bioflax.predict.objects import Detections
from bioflax.train.log import ProgressBar

FORMATS = ("tif", "csv", "geojson", "napari", "rois")
DEFAULT = ("tif", "csv", "geojson")
SUFFIXES = (".tif", ".tiff", ".csv", ".geojson")
ENDINGS = (".tif", ".csv", ".geojson", "_napari.csv", ".zip")
PAGE_ARRAYS = "_report.npz"
MOST_PAGE_PIXELS = 4_000_000  # of the picture on the page; a larger one is shown in its middle

Detector = Callable[..., Detections]


@dataclass(frozen=True)
class Frame:
    """One picture of a file: its place along the other axes, from 0, and what was found."""

    number: int
    image: np.ndarray
    found: Detections
    labels: np.ndarray | None


def detect_files(
    detector: Detector,
    inputs: str | Path,
    output: str | Path,
    *,
    axes: str | None = None,
    channels: int = 1,
    spatial_dims: int = 2,
    formats: Sequence[str] = DEFAULT,
    pixel_nm: float | None = None,
    page: bool = False,
) -> Predicted:
    """Finds the objects of images, one set of files beside another.

    A file with further axes (a movie TYX, a stack for a 2-D model) is detected picture by picture; its table says which in
    `frame`, from 1, and its label image has them all. Labels count from 1 in each picture, row by row of the table.

    Args:
        detector: `(image (…, C), on_progress=...) -> Detections`, such as `detect_objects` with a model bound.
        inputs: a file, a folder or a glob.
        output: a folder; for a single input also a name ending in .tif, .csv or .geojson, whose stem all files take.
        axes: of the inputs, where they do not say them.
        channels: C of the model.
        spatial_dims: 2 or 3, of the model.
        formats: some of `FORMATS`: label images, tables, GeoJSON (QuPath), napari CSV, ImageJ ROIs (.zip).
        pixel_nm: pixel size, where the files do not say it: adds columns in nm.
        page: write `<stem>_report.npz`, which `report.render_found` makes a page of.

    Returns:
        The files, and how many objects were found.

    Raises:
        InputError: inputs that cannot be read, unknown formats, one output name for several inputs.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"formats: expected some of {', '.join(FORMATS)}; found {', '.join(unknown) or 'none'}")
    paths, output = list_images(inputs), Path(output)
    single = output.suffix.lower() in SUFFIXES
    if output.suffix and not single:
        raise InputError(f"output: expected a folder, or a name ending in {', '.join(SUFFIXES)}; found {output}")
    if single and len(paths) > 1:
        raise InputError(f"output: {output} is one file, {inputs} holds {len(paths)} images. Give a folder.")
    if "rois" in formats:
        require("roifile", "rois")  # missing parts are told before the work, not after
    names = [output.with_suffix("")] if single else [output / stem for stem in check_stems(paths)]
    check_apart(paths, [name.with_name(name.name + ending) for name in names for ending in ENDINGS])
    begun, written, pages, number = time.monotonic(), [], [], 0
    with ProgressBar("detect", len(paths) * 1000) as bar:
        for done, (path, name) in enumerate(zip(paths, names)):

            def show(part: int, parts: int, done: int = done, path: Path = path) -> None:
                bar.update(done * 1000 + 1000 * part // parts, path.name)

            image = open_image(path, axes)
            frames = _detected(detector, image, channels, spatial_dims, show)
            number += sum(len(frame.found) for frame in frames)
            size = _pixel_size(image, spatial_dims, pixel_nm)
            outer = {
                axis: length for axis, length in zip(image.axes, image.shape) if axis not in SPATIAL[spatial_dims] + "C"
            }
            written += _write(name, frames, formats, size, outer)
            if page:
                pages.append(_write_page(name, frames[0], size))
            bar.update((done + 1) * 1000, path.name)
    return Predicted(written, {"predict": time.monotonic() - begun}, objects=number, pages=pages)


def _pixel_size(image: ImageFile, spatial_dims: int, pixel_nm: float | None) -> dict[str, float] | None:
    """The file's pixel size, its gaps filled by `pixel_nm`; None where an axis stays unknown."""
    known = {axis: (image.pixel_nm or {}).get(axis, pixel_nm) for axis in SPATIAL[spatial_dims]}
    return known if all(known.values()) else None


def _detected(
    detector: Detector, image: ImageFile, channels: int, spatial_dims: int, show: Callable[[int, int], None]
) -> list[Frame]:
    """What is in each picture of a file; one picture's pixels are in memory at a time, and all label images (16 bits)."""
    wanted = SPATIAL[spatial_dims]
    missing = [axis for axis in wanted if axis not in image.axes]
    if missing:
        raise InputError(f"{image.path}: expected the axes {wanted} for a {spatial_dims}-D model, found {image.axes}")
    inner = wanted + ("C" if "C" in image.axes else "")
    sizes = dict(zip(image.axes, image.shape))
    if sizes.get("C", 1) != channels:
        raise InputError(f"{image.path}: expected {channels} channel(s), as the model takes, found {sizes.get('C', 1)}")
    outer = [axis for axis in image.axes if axis not in inner]
    places = list(np.ndindex(*(sizes[axis] for axis in outer)))
    frames = []
    for done, place in enumerate(places):
        at = dict(zip(outer, place))
        picture = image.read_window([at.get(axis, slice(None)) for axis in image.axes])
        left = "".join(axis for axis in image.axes if axis in inner)
        picture = np.asarray(rearrange(picture, left, wanted + "C"))

        def tell(part: int, parts: int, done: int = done) -> None:
            show(1000 * done + 1000 * part // parts, 1000 * len(places))

        found, labels = visible(detector(picture, on_progress=tell))
        if labels is not None and len(found) <= np.iinfo(np.uint16).max:
            labels = labels.astype(np.uint16)
        frames.append(Frame(done, picture[..., 0] if done == 0 else np.zeros(0), found, labels))
    return frames


def visible(found: Detections) -> tuple[Detections, np.ndarray | None]:
    """Objects that have a pixel of their own, and their label image: row k is label k + 1; points keep all their rows."""
    if found.rays is None and found.size is None:
        return found, None
    labels = found.labels()
    shown = np.unique(labels)
    shown = shown[shown > 0]
    if len(shown) == len(found):
        return found, labels
    number = np.zeros(len(found) + 1, np.int32)
    number[shown] = np.arange(1, len(shown) + 1)
    return found.select(shown - 1), number[labels]


def columns_of(frames: Sequence[Frame]) -> dict[str, np.ndarray]:
    """Columns beside the positions: `frame` where there are several, `label`, `probability`, area and box."""
    parts: dict[str, list[np.ndarray]] = {}
    for frame in frames:
        found, own = frame.found, {}
        if len(frames) > 1:
            own["frame"] = np.full(len(found), frame.number + 1)
        own["probability"] = found.score.astype(np.float64)
        if frame.labels is not None:
            unit = "area_px2" if len(found.shape) == 2 else "volume_px3"
            own["label"] = np.arange(1, len(found) + 1)
            own[unit] = np.bincount(frame.labels.ravel(), minlength=len(found) + 1)[1:]
        if found.size is not None:
            own |= {
                f"box_{axis}_px": found.size[:, -1 - n].astype(float)
                for n, axis in enumerate("xyz"[: found.size.shape[1]])
            }
        for name, values in own.items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def outlines_of(frame: Frame) -> list[Any]:
    """A ring (V, 2), or a list of rings, for each object: its polygon, or for boxes the outline of its label."""
    if frame.found.rays is not None:
        return list(np.asarray(polygon_vertices(frame.found.position, frame.found.rays), np.float64))
    rings: list[list[np.ndarray]] = [[] for _ in range(len(frame.found))]
    for label, ring in label_outlines(frame.labels):
        rings[label - 1].append(ring)
    return rings


def _write(
    name: Path,
    frames: Sequence[Frame],
    formats: Sequence[str],
    pixel_nm: dict[str, float] | None,
    outer: dict[str, int],
) -> list[str]:
    points = np.concatenate([frame.found.position for frame in frames]).astype(np.float64)
    columns, first = columns_of(frames), frames[0]
    areas = first.labels is not None and len(first.found.shape) == 2
    several = len(frames) > 1
    if first.labels is None and not set(formats) - {"tif"}:
        raise InputError("formats: expected one beside tif, points have no area to label. Take csv")
    writers: dict[str, tuple[str, Callable[[Path], None]]] = {}
    if "tif" in formats and first.labels is not None:
        writers["tif"] = (".tif", partial(_write_labels, frames=frames, pixel_nm=pixel_nm, outer=outer))
    if "csv" in formats:
        writers["csv"] = (".csv", lambda path: write_points_csv(path, points, columns, pixel_nm))
    # QuPath, napari and ImageJ files are made of the pictures one by one where there are several.
    for frame in frames:
        mark = f"_{frame.number + 1:04d}" if several else ""
        own = {key: values for key, values in columns_of([frame]).items() if key != "label"}
        places, rings = frame.found.position.astype(np.float64), outlines_of(frame) if areas else []
        if "geojson" in formats:
            made = (
                partial(write_objects_geojson, rings=rings)
                if areas
                else partial(write_points_geojson, points_px=places)
            )
            writers[f"geojson{mark}"] = (f"{mark}.geojson", partial(made, properties=own))
        flat = [ring for entry in rings for ring in (entry if isinstance(entry, list) else [entry])]
        if "napari" in formats and not areas:
            made = partial(write_napari_points, points_px=places, columns=own)
            writers[f"napari{mark}"] = (f"{mark}_napari.csv", made)
        if "napari" in formats and areas:
            writers[f"napari{mark}"] = (f"{mark}_napari.csv", partial(write_napari_shapes, rings=flat))
        if "rois" in formats and areas:
            writers[f"rois{mark}"] = (f"{mark}.zip", partial(write_imagej_rois, rings=flat))
        elif "rois" in formats and len(frame.found.shape) == 2:
            writers[f"rois{mark}"] = (f"{mark}.zip", partial(write_imagej_points, points_px=places))
    written = []
    for ending, write in writers.values():
        path = name.with_name(name.name + ending)
        write(path)
        written.append(str(path))
    return written


def _write_labels(
    path: Path, frames: Sequence[Frame], pixel_nm: dict[str, float] | None, outer: dict[str, int]
) -> None:
    """One picture as a label image; several with the axes that the file has."""
    if len(frames) == 1:
        return write_labels(path, frames[0].labels, pixel_nm)
    stack = np.stack([frame.labels for frame in frames])
    axes = "".join(outer) + SPATIAL[stack.ndim - 1]
    stack = stack.astype(np.uint16 if stack.dtype == np.uint16 else np.uint32)
    save_image(path, stack.reshape(*outer.values(), *stack.shape[1:]), axes, pixel_nm)


def _write_page(name: Path, frame: Frame, pixel_nm: dict[str, float] | None) -> str:
    """Arrays for the page of a prediction: the middle of the first picture and what was found there."""
    image, labels, points = frame.image, frame.labels, frame.found.position
    if image.ndim == 3:
        image = image.max(axis=0)
        labels, points = None if labels is None else labels.max(axis=0), points[:, 1:]
    side = int(np.sqrt(MOST_PAGE_PIXELS))
    low = [max(0, (size - side) // 2) for size in image.shape]
    cut = tuple(slice(a, a + side) for a in low)
    arrays: dict[str, Any] = {
        "image": image[cut].astype(np.float32),
        "scores": frame.found.score,
        "count": np.array(len(frame.found)),
    }
    if labels is not None:
        arrays["labels"] = labels[cut]
        arrays["sizes_px"] = np.bincount(labels.ravel(), minlength=len(frame.found) + 1)[1:]
    else:
        arrays["points"] = points - np.array(low)
    if pixel_nm:
        arrays["pixel_nm"] = np.array(pixel_nm["Y"])
    path = name.with_name(name.name + PAGE_ARRAYS)
    with written_aside(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    return str(path)
