"""Tables of points: ours, and those of napari, deepBlink, Spotiflow and TrackMate.

Inside bioflax pixel centres are at integers. `x_px` and the pixels of all programs read here are the same;
nanometres count from the outer corner of the first pixel, as in tables of localizations: (px + 0.5) * pixel_nm.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bioflax.errors import InputError
from bioflax.io.aside import written_aside
from bioflax.io.label_image import PixelSize, pixel_sizes

_BLOCK = 8192  # rows formatted at once
_UNITS_NM = {"nm": 1.0, "micron": 1e3, "microns": 1e3, "µm": 1e3, "μm": 1e3, "um": 1e3, "mm": 1e6, "pixel": 0.0}


class _Header(NamedTuple):
    """Names of the columns, the unit, and whether the program writes z for single images too."""

    y: str
    x: str
    z: str
    unit: str
    idle_z: bool = False


_HEADERS = (
    _Header("y_px", "x_px", "z_px", "px"),
    _Header("y [px]", "x [px]", "z", "px", True),  # deepBlink
    _Header("axis-0", "axis-1", "", "px"),  # napari and Spotiflow; y and x, or z, y and x
    _Header("position_y", "position_x", "position_z", "um", True),  # TrackMate
    _Header("y_nm", "x_nm", "z_nm", "nm"),
    _Header("y", "x", "z", "px"),  # Spotiflow
)
ACCEPTED = (
    "x_px,y_px[,z_px] | x_nm,y_nm[,z_nm] | axis-0,axis-1[,axis-2] (napari) | x [px],y [px] (deepBlink) | "
    "y,x (Spotiflow) | POSITION_X,POSITION_Y (TrackMate)"
)


def write_points_csv(
    path: str | Path,
    points_px: np.ndarray,
    columns: Mapping[str, np.ndarray] | None = None,
    pixel_nm: PixelSize | None = None,
) -> None:
    """Writes a table: `x_px,y_px[,z_px]`, with a pixel size `x_nm,y_nm[,z_nm]` too, then further columns.

    Args:
        path: final name.
        points_px: (N, 2) (y, x) or (N, 3) (z, y, x) in pixels, centres at integers.
        columns: name, with its unit, to (N,) numbers, such as `probability`.
        pixel_nm: pixel size, nm: one number, or one per axis. nm count from the outer corner of the first pixel.

    Raises:
        InputError: other shapes, names that are taken or hold a comma, or a file that cannot be written.
    """
    points = check_points(points_px)
    names = "xyz"[: points.shape[1]]
    table = dict(zip([f"{name}_px" for name in names], points.T[::-1], strict=True))
    if pixel_nm is not None:
        edges = (points + 0.5) * pixel_sizes(pixel_nm, points.shape[1])
        table |= zip([f"{name}_nm" for name in names], edges.T[::-1], strict=True)
    write_table(path, table, check_columns(columns, len(points), "columns"))


def read_points(path: str | Path, axes: str | None = None, pixel_nm: PixelSize | None = None) -> np.ndarray:
    """Reads the positions of a table; other columns are left alone.

    Numbered axes (napari) are y, x or z, y, x. deepBlink and TrackMate give a z for single images too: there it counts
    only where it varies. TrackMate is taken to measure from the centre of the first pixel, in the unit of its third
    header line, micrometres if it has none.

    Args:
        path: a CSV with a header, one of `ACCEPTED`.
        axes: `YX` or `ZYX`, what the points must have; None takes what the table has.
        pixel_nm: pixel size, nm: one number, or one per axis; needed for nm and for TrackMate.

    Returns:
        (N, 2) (y, x) or (N, 3) (z, y, x) float64 in pixels, centres at integers.

    Raises:
        InputError: no such file, no header or an unknown one, no pixel size where it is needed, a value that is no
            finite number, points of several frames, or other axes than asked for.
    """
    path = Path(path)
    if axes is not None and axes.upper() not in ("YX", "ZYX"):
        raise InputError(f"axes: expected YX or ZYX for points, found {axes!r}. Choose one of these.")
    if not path.is_file():
        raise InputError(f"{path}: expected a table of points, found no such file. Check the path.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            labels, rows = _open_table(path, file)
            header, chosen = _choose(path, labels)
            if header.unit != "px" and pixel_nm is None:
                raise InputError(f"{path}: expected pixels, found {labels[chosen[-1]]}. Give the pixel size: pixel_nm.")
            values, unit = _numbers(path, rows, labels, chosen, header)
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: expected a text table, found bytes that are no text. Export it as CSV.") from cause
    except (OSError, csv.Error) as cause:
        raise InputError(f"{path}: cannot be read ({getattr(cause, 'strerror', None) or cause})") from cause
    points = _with_axes(path, values, axes, header.idle_z)
    if header.unit == "px" or unit == 0:
        return points
    points = points * unit / pixel_sizes(pixel_nm, points.shape[1])
    return points - 0.5 if header.unit == "nm" else points


def check_points(points_px: np.ndarray) -> np.ndarray:
    """Refuses what are no points.

    Returns:
        (N, 2) or (N, 3) float64.

    Raises:
        InputError: another shape, or NaN.
    """
    points = np.asarray(points_px, np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise InputError(f"points_px: expected (N, 2) or (N, 3), found {points.shape}. For none give (0, 2).")
    if not np.isfinite(points).all():
        raise InputError("points_px: expected finite positions, found NaN or infinity. Remove these points.")
    return points


def check_columns(columns: Mapping[str, np.ndarray] | None, count: int, name: str) -> dict[str, np.ndarray]:
    """Refuses columns that are not one real number a row.

    Returns:
        Name to (count,) values, whole numbers as they are, all others float64.

    Raises:
        InputError: another shape or type.
    """
    checked = {}
    for label, values in (columns or {}).items():
        array = np.asarray(values)
        if array.shape != (count,) or (count and array.dtype.kind not in "buif"):
            raise InputError(
                f"{name}: expected {count} numbers in {label}, one a row, found {array.dtype} {array.shape}. Mend it."
            )
        checked[label] = array.astype(np.int64 if array.dtype.kind in "bui" else np.float64)
    return checked


def write_table(path: str | Path, first: Mapping[str, np.ndarray], more: Mapping[str, np.ndarray]) -> None:
    """Writes columns, each number with as many digits as it takes to read the same one again.

    Args:
        path: final name.
        first: columns that are always there.
        more: columns of the caller, whose names are checked.

    Raises:
        InputError: a name is taken, empty or holds a comma, or the file cannot be written.
    """
    for label in more:
        if label in first or not label.strip() or set(label) & set(',"\r\n'):
            raise InputError(f"columns: expected a new name without commas, found {label!r}. Rename it.")
    table = {**first, **more}
    row = ",".join("%d" if values.dtype.kind in "bui" else "%r" for values in table.values()) + "\n"
    count = len(next(iter(table.values())))
    with written_aside(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(table) + "\n")
        for start in range(0, count, _BLOCK):
            block = zip(*(values[start : start + _BLOCK].tolist() for values in table.values()), strict=True)
            file.writelines(row % numbers for numbers in block)


def _open_table(path: Path, file: Iterator[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The labels in lower case, and the rows with their line numbers."""
    line = next(file, "")
    comma = next((mark for mark in ",\t;" if mark in line), ",")
    labels = [label.strip().lower() for label in next(csv.reader([line], delimiter=comma), [])]
    if not any(labels):
        raise InputError(f"{path}: expected a table of points, found an empty file or line. Export it again.")
    return labels, enumerate(csv.reader(file, delimiter=comma), start=2)


def _choose(path: Path, labels: Sequence[str]) -> tuple[_Header, list[int]]:
    """Which header it is, and the places of (z), y, x."""
    header = next((header for header in _HEADERS if header.y in labels and header.x in labels), None)
    if header is None:
        what = "no header" if _is_number(labels[0]) else f"{','.join(labels)[:60]!r}"
        raise InputError(f"{path}: expected a header of {ACCEPTED}, found {what}. Name the columns x_px,y_px.")
    names = [header.z, header.y, header.x] if header.z in labels else [header.y, header.x]
    if header.y == "axis-0":
        names = sorted(label for label in labels if label.startswith("axis-"))
        if names not in (["axis-0", "axis-1"], ["axis-0", "axis-1", "axis-2"]):
            raise InputError(f"{path}: expected two or three axes, found {', '.join(names)}. Save one image's points.")
    twice = [name for name in names if labels.count(name) > 1]
    if twice:
        raise InputError(f"{path}: expected one column {twice[0]}, found {labels.count(twice[0])}. Rename one.")
    return header, [labels.index(name) for name in names]


def _numbers(
    path: Path, rows: Iterator[tuple[int, list[str]]], labels: list[str], chosen: list[int], header: _Header
) -> tuple[np.ndarray, float]:
    """(N, d) values, and nm per unit (0: pixels)."""
    unit = _UNITS_NM.get(header.unit, 0.0)
    frame = labels.index("frame") if "frame" in labels else None
    frames, found = set(), []
    for line, row in rows:
        if not any(row):
            continue
        if header.unit == "um" and line < 5 and len(row) == len(labels) and not _is_number(row[chosen[-1]]):
            unit = _UNITS_NM.get(row[chosen[-1]].strip("() ").lower(), unit)  # TrackMate: three header lines more
            continue
        try:
            found.append([float(row[place]) for place in chosen])
            frames.add(None if frame is None else row[frame].strip())
        except (ValueError, IndexError) as cause:
            raise InputError(
                f"{path}: expected numbers in line {line}, found {','.join(row)[:40]!r}. Mend it."
            ) from cause
    if len(frames) > 1:
        raise InputError(f"{path}: expected the points of one image, found {len(frames)} frames. Save one frame.")
    values = np.array(found, np.float64).reshape(-1, len(chosen))
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if bad.size:
        raise InputError(f"{path}: expected finite positions, found NaN or infinity in point {bad[0] + 1}. Remove it.")
    return values, unit


def _with_axes(path: Path, values: np.ndarray, axes: str | None, idle_z: bool) -> np.ndarray:
    """Points with the axes asked for."""
    wanted = None if axes is None else len(axes)
    if values.shape[1] == 3 and wanted != 3 and (idle_z or wanted == 2):
        flat = len(values) == 0 or np.ptp(values[:, 0]) == 0
        if wanted == 2 and not flat:
            raise InputError(f"{path}: expected points of one plane (YX), found a z that varies. Use axes=ZYX.")
        return values[:, 1:] if flat else values
    if wanted == 3 and values.shape[1] == 2:
        raise InputError(f"{path}: expected a z for each point (ZYX), found x and y alone. Add z, or use axes=YX.")
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
