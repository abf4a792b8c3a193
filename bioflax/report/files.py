"""Reads what a run left behind; a report is made from files alone, whoever wrote them and whenever."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bioflax.errors import InputError

TEXT = ("item", "group", "method", "kind")  # columns of names: an image called 001 is not the number 1


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, {} where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: expected JSON, found a damaged file ({cause}). Run the command again.") from cause
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(found).__name__}. Run the command again.")
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line cut short by a killed run is left out.

    Raises:
        InputError: another line is damaged.
    """
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    found = []
    for at, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as cause:
            if at + 1 < len(lines):
                raise InputError(f"{path}: line {at + 1} is no JSON ({cause}). Remove it.") from cause
    return found


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file: numbers as float, names as text, empty cells as None; [] where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: cell(name, value) for name, value in row.items()} for row in csv.DictReader(stream)]


def cell(column: str, value: str | None) -> float | str | None:
    if value in (None, "") or column in TEXT:
        return value or None
    try:
        return float(value)
    except ValueError:
        return value


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file (no pickles), {} where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, BadZipFile) as cause:
        raise InputError(f"{path}: expected arrays, found a damaged file ({cause}). Run the command again.") from cause


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
