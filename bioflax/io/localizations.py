"""Localization tables: one schema with units, and the files of other programs to and from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io.localization_csv import CSV_FORMATS, read_csv, write_csv
from bioflax.io.localization_hdf5 import read_picasso, write_picasso

LOCALIZATION_FORMATS = (*CSV_FORMATS, "picasso")
REQUIRED = ("frame", "x_nm", "y_nm")
_SUFFIXES = {".csv": CSV_FORMATS, ".hdf5": ("picasso",), ".h5": ("picasso",)}
_BARE = ("x", "y", "z", "sigma", "intensity", "background", "uncertainty")


@dataclasses.dataclass(frozen=True)
class Localizations:
    """Emitters found in, or placed into, the frames of a movie; a row each.

    Coordinates are nanometres from the outer corner of the first pixel: the centre of that pixel lies at
    `pixel_nm / 2`. x runs along the columns of the image, y along its rows.

    Args:
        columns: name to (N,) numbers, finite. `frame` (whole, from 1), `x_nm` and `y_nm` are required. Known others:
            `z_nm`, `photons`, `background_photons` (per pixel), `sigma_x_nm`, `sigma_y_nm`, `sigma_z_nm`,
            `sigma_photons` (standard deviations), `probability`, `crlb_x_nm` .. (square roots of the bound),
            `psf_sigma_x_nm` .. (widths of the spot). More may follow, with their unit at the end of the name.
        pixel_nm: edge of a camera pixel, nm.
        size_px: (H, W) of a frame, pixels.
        frames: length of the movie, which may be more than the last frame with an emitter.

    Raises:
        InputError: a required column is missing, a name lacks its unit, lengths differ, a value is not a finite
            number, a frame is not whole or below 1 or above `frames`, or `pixel_nm` is not positive.
    """

    columns: dict[str, np.ndarray]
    pixel_nm: float | None = None
    size_px: tuple[int, int] | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.columns]
        if missing:
            found = ", ".join(self.columns) or "none"
            raise InputError(f"columns: expected frame, x_nm and y_nm, found {found}. Add {', '.join(missing)}.")
        columns = {name: _column(name, values) for name, values in self.columns.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns: expected one length for all, found {lengths}. Give one value a localization.")
        columns["frame"] = whole_frames(columns["frame"], 1)
        if self.pixel_nm is not None and not (np.isfinite(self.pixel_nm) and self.pixel_nm > 0):
            raise InputError(f"pixel_nm: expected a positive size in nm, found {self.pixel_nm}. Give e.g. 100.")
        last = int(columns["frame"].max(initial=0))
        if self.frames is not None and last > self.frames:
            raise InputError(f"frames: expected at least the last frame {last}, found {self.frames}. Raise it.")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "size_px", None if self.size_px is None else tuple(int(n) for n in self.size_px))

    def __len__(self) -> int:
        return len(self.columns["frame"])

    def __getitem__(self, name: str) -> np.ndarray:
        """The (N,) values of a column."""
        if name not in self.columns:
            raise InputError(f"column: expected one of {', '.join(self.columns)}, found {name!r}. Choose one of these.")
        return self.columns[name]

    def select(self, mask: Any) -> Localizations:
        """Some of the rows.

        Args:
            mask: (N,) bool, or indices, or a slice.

        Returns:
            A new table with the same columns and metadata.
        """
        mask = mask if isinstance(mask, slice) else np.asarray(mask)
        if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape != (len(self),):
            raise InputError(
                f"mask: expected {len(self)} values, one a row, found {mask.shape}. Build it from a column."
            )
        if isinstance(mask, np.ndarray) and mask.size == 0:
            mask = mask.astype(np.int64)  # an empty list arrives as float
        return dataclasses.replace(self, columns={name: values[mask] for name, values in self.columns.items()})

    def with_columns(self, **columns: Any) -> Localizations:
        """Adds or replaces columns.

        Args:
            **columns: name to (N,) numbers.

        Returns:
            A new table.
        """
        return dataclasses.replace(self, columns={**self.columns, **columns})

    @classmethod
    def empty(
        cls,
        names: tuple[str, ...] = REQUIRED,
        *,
        pixel_nm: float | None = None,
        size_px: tuple[int, int] | None = None,
        frames: int | None = None,
    ) -> Localizations:
        """A table without rows, as of a movie in which nothing was found.

        Args:
            names: its columns.
            pixel_nm, size_px, frames: as `Localizations`.
        """
        return cls({name: np.zeros(0) for name in dict.fromkeys((*REQUIRED, *names))}, pixel_nm, size_px, frames)


def read_localizations(path: str | Path, format: str | None = None, pixel_nm: float | None = None) -> Localizations:
    """Reads a table; what its program means by a coordinate is converted to nm from the outer corner.

    Args:
        path: `.csv`, or `.hdf5`/`.h5` (Picasso).
        format: one of `LOCALIZATION_FORMATS`; None looks at the suffix and the header.
        pixel_nm: camera pixel, nm; needed where the file counts in pixels and does not tell their size.

    Returns:
        The table.

    Raises:
        InputError: no such file, an empty or cut file, an unknown header, a missing or doubtful unit, a missing
            column, NaN, or frames that the format cannot have.
    """
    path = Path(path)
    format = _format(path, format)
    if not path.is_file():
        raise InputError(f"{path}: expected a localization table, found no such file. Check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected a localization table, found an empty file. Export it again.")
    if format == "picasso":
        columns, about = read_picasso(path, pixel_nm)
    else:
        columns, about = read_csv(path, format, pixel_nm), {"pixel_nm": pixel_nm}
    try:
        return Localizations(columns, **about)
    except InputError as cause:
        raise InputError(f"{path}: {cause}") from cause


def write_localizations(table: Localizations, path: str | Path, format: str | None = None) -> None:
    """Writes a table; the name appears only when the file is complete.

    `.csv` is ThunderSTORM's, which opens it as it is; columns that it does not know follow its own. `.hdf5` is
    Picasso's, with a `.yaml` beside it.

    Args:
        table: what to write.
        path: final name.
        format: one of `LOCALIZATION_FORMATS`; None takes ThunderSTORM for `.csv` and Picasso for `.hdf5`.

    Raises:
        InputError: the suffix and the format do not belong together, the format needs what the table lacks, or the
            file cannot be written.
    """
    path = Path(path)
    format = _format(path, format)
    if format == "picasso":
        write_picasso(table.columns, path, table.pixel_nm, table.size_px, table.frames)
    else:
        write_csv(table.columns, path, format or "thunderstorm")


def whole_frames(frame: np.ndarray, first: int) -> np.ndarray:
    """Frame numbers as integers, refused when they are not whole or start below `first`."""
    whole = np.rint(frame)
    if np.any(whole != frame):
        odd = frame[whole != frame][0]
        raise InputError(f"frame: expected whole numbers, found {odd}. Number the frames {first}, {first + 1}, ..")
    if frame.size and frame.min() < first:
        raise InputError(
            f"frame: expected numbers from {first}, found {frame.min():g}. Add {first - frame.min():g} to each frame."
        )
    return whole.astype(np.int64)


def _column(name: str, values: Any) -> np.ndarray:
    if name in _BARE:
        raise InputError(f"columns: expected a unit in each name, found {name!r}. Call it e.g. {name}_nm or photons.")
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "buif":
        raise InputError(f"{name}: expected (N,) real numbers, found {values.dtype} {values.shape}. Convert it.")
    if values.dtype.kind in "bui":
        return values.astype(np.int64)
    values = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InputError(
            f"{name}: expected finite numbers, found {bad.size} NaN or infinite, the first in row {bad[0] + 1}. "
            "Remove these rows."
        )
    return values


def _format(path: Path, format: str | None) -> str | None:
    """The format by name or suffix; None for a CSV whose header has to be seen."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: expected a name ending in .csv or .hdf5, found {suffix or 'none'!r}. Rename it.")
    if format is None:
        return "picasso" if suffix != ".csv" else None
    if format not in LOCALIZATION_FORMATS:
        raise InputError(
            f"format: expected one of {', '.join(LOCALIZATION_FORMATS)}, found {format!r}. Choose one of these."
        )
    if format not in _SUFFIXES[suffix]:
        right = ".hdf5" if format == "picasso" else ".csv"
        raise InputError(f"{path}: expected a name ending in {right} for {format}, found {suffix}. Change one of both.")
    return format
