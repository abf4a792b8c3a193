"""Localization tables as text: ThunderSTORM, the 2016 challenge, SMAP, and our own column names.

All four count frames from 1 and give nanometres from the outer corner of the first pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bioflax.errors import InputError
from bioflax.io.aside import written_aside
from bioflax.io.localization_names import CHALLENGE, LITELOC, SMAP, THUNDERSTORM, from_label, to_label, unit_of

CSV_FORMATS = ("thunderstorm", "challenge", "smap", "bioflax")

_BLOCK = 8192  # rows formatted at once


def read_csv(path: Path, format: str | None, pixel_nm: float | None) -> dict[str, np.ndarray]:
    """Reads a CSV of localizations.

    ThunderSTORM: `x [nm]` from the outer corner, frames from 1; `uncertainty [nm]` is that of x and of y, `sigma` the
    width of the spot. Challenge: `xnano` from the outer corner, frames from 1, a trailing space in the header. SMAP:
    `xnm`, frames from 1; its files do not tell the origin, which is taken as the outer corner. bioflax: our names.

    Args:
        path: the file.
        format: one of `CSV_FORMATS`; None goes by the header.
        pixel_nm: converts `x [px]` of ThunderSTORM, which counts from the outer corner too.

    Returns:
        Our column names to (N,) float64.

    Raises:
        InputError: as `read_localizations`.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = file.readline()
            has_rows = any(row.strip() for row in file)
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: expected a text table, found bytes that are no text. Export it as CSV.") from cause
    comma = "\t" if "\t" in line and "," not in line else ","
    labels = [label.strip().strip("\"'`").strip() for label in line.strip("\r\n").split(comma)]
    names, factors = _names(path, labels, format or _detect(path, labels), pixel_nm)
    if has_rows:
        try:
            rows = np.loadtxt(
                path, delimiter=comma, skiprows=1, ndmin=2, comments=None, quotechar='"', encoding="utf-8"
            )
        except ValueError as cause:
            why = str(cause).split(";")[0].rstrip(".")
            raise InputError(f"{path}: expected numbers in each row, found: {why}. Export the table again.") from cause
    else:
        rows = np.zeros((0, len(labels)))
    if rows.shape[1] != len(labels):
        raise InputError(
            f"{path}: expected {len(labels)} values a row as in the header, found {rows.shape[1]}. Export it again."
        )
    columns = {name: rows[:, place] * factors[place] for place, name in enumerate(names)}
    return _tidy(columns)


def write_csv(columns: dict[str, np.ndarray], path: Path, format: str) -> None:
    """Writes a CSV of localizations, each number with as many digits as it takes to read the same one again.

    ThunderSTORM: its own columns first, then all others with their unit in brackets. `sigma_x_nm` and `sigma_y_nm`
    become its one `uncertainty [nm]` (root mean square of both), with both written beside it where they differ.
    Challenge: id, frame, x, y, z (0 for a table without z) and photons; it has no room for more. SMAP: its names, then
    the others under ours. bioflax: our names.

    Args:
        columns: our names to (N,) values.
        path: final name.
        format: one of `CSV_FORMATS`.

    Raises:
        InputError: the format cannot name a column or needs one that is missing, or the file cannot be written.
    """
    header, chosen = _layout(dict(columns), format)
    whole = [values.dtype.kind in "bui" for values in chosen]
    row = ",".join("%d" if integer else "%r" for integer in whole) + "\n"
    count = len(columns["frame"])
    with written_aside(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(header + "\n")
        for start in range(0, count, _BLOCK):
            block = np.column_stack([values[start : start + _BLOCK] for values in chosen]).astype(np.float64)
            file.write(row * len(block) % tuple(block.ravel().tolist()))


def _detect(path: Path, labels: list[str]) -> str:
    lower = {label.lower() for label in labels}
    if {"x_nm", "y_nm"} <= lower:
        return "bioflax"
    if {"xnano", "ynano"} <= lower:
        return "challenge"
    if {"xnm", "ynm"} <= lower:
        return "smap"
    if any(label.endswith(("]", ")")) for label in lower):
        return "thunderstorm"
    if {"x", "y"} & lower:
        raise InputError(
            f"{path}: expected units, found a header with x and y alone. Name them x_nm and y_nm if in nm."
        )
    raise InputError(
        f"{path}: expected a header of {', '.join(CSV_FORMATS)}, found {','.join(labels)[:80]!r}. "
        "Name the columns frame,x_nm,y_nm."
    )


def _names(path: Path, labels: list[str], format: str, pixel_nm: float | None) -> tuple[list[str], list[float]]:
    """Our name of each column and what to multiply it by."""
    known = {"thunderstorm": THUNDERSTORM, "challenge": CHALLENGE, "smap": SMAP | LITELOC}.get(format, {})
    known = {label.lower(): name for label, name in known.items()}
    names, factors = [], []
    for label in labels:
        factor, short = 1.0, label
        if format == "thunderstorm":
            short, factor = unit_of(path, label, pixel_nm)
            if short == "uncertainty_xy [nm]":
                short = "uncertainty [nm]"
        name = known.get(short.lower())
        if name is None:
            name = from_label(short) if format == "thunderstorm" else short
            name = "id" if name.lower() in ("id", "ground-truth") else name
        names.append(name)
        factors.append(factor)
    missing = [name for name in ("frame", "x_nm", "y_nm") if name not in names]
    if missing:
        raise InputError(f"{path}: expected columns for frame, x and y, found {', '.join(labels)}. Add {missing[0]}.")
    twice = {name for name in names if names.count(name) > 1}
    if twice or "" in names:
        raise InputError(f"{path}: expected a name of its own a column, found {', '.join(labels)}. Rename one.")
    return names, factors


def _tidy(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Row numbers are dropped, whole ids kept as integers, and one lateral uncertainty serves x and y."""
    if "id" in columns:
        number = columns["id"]
        if np.array_equal(number, np.arange(1, len(number) + 1)):
            del columns["id"]
        elif np.array_equal(number, np.rint(number)):
            columns["id"] = number.astype(np.int64)
    if "uncertainty_nm" in columns:
        lateral = columns.pop("uncertainty_nm")
        columns.setdefault("sigma_x_nm", lateral)
        columns.setdefault("sigma_y_nm", lateral)
    return columns


def _layout(columns: dict[str, np.ndarray], format: str) -> tuple[str, list[np.ndarray]]:
    """The header and the columns in the order of the file."""
    if format == "bioflax":
        return ",".join(columns), list(columns.values())
    count = len(columns["frame"])
    if format == "challenge":
        if "photons" not in columns:
            raise InputError("photons: expected in a challenge CSV, found none. Add them, or write ThunderSTORM's CSV.")
        columns = {"z_nm": np.zeros(count), "id": np.arange(1, count + 1), **columns}
        return "Ground-truth,frame,xnano,ynano,znano,intensity ", [
            columns[name] for name in ("id", *CHALLENGE.values())
        ]
    if format == "smap":
        labels = {name: label for label, name in SMAP.items()}
        order = [name for name in labels if name in columns] + [name for name in columns if name not in labels]
        return ",".join(labels.get(name, name) for name in order), [columns[name] for name in order]
    lateral = [columns[name] for name in ("sigma_x_nm", "sigma_y_nm") if name in columns]
    if "uncertainty_nm" in columns:
        raise InputError("uncertainty_nm: expected sigma_x_nm and sigma_y_nm instead. Rename it.")
    if len(lateral) == 2:
        columns["uncertainty_nm"] = np.sqrt((lateral[0] ** 2 + lateral[1] ** 2) / 2)
        if np.array_equal(*lateral):
            columns["uncertainty_nm"] = lateral[0]
            del columns["sigma_x_nm"], columns["sigma_y_nm"]
    numbers = columns.pop("id", np.arange(1, count + 1))
    labels = {name: label for label, name in THUNDERSTORM.items()}
    order = [name for name in labels if name in columns] + [name for name in columns if name not in labels]
    header = [labels[name] if name in labels else to_label(name) for name in order]
    for name, label in zip(order, header):
        if name not in labels and (label in THUNDERSTORM or from_label(label) != name):
            raise InputError(
                f"{name}: this name reads as another column of ThunderSTORM. Rename it, or format=bioflax."
            )
    return ",".join(f'"{label}"' for label in ("id", *header)), [numbers, *(columns[name] for name in order)]
