"""Localization tables as Picasso keeps them: an HDF5 table in camera pixels and a YAML file that tells their size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError, require
from bioflax.io.aside import written_aside

# Picasso's name to ours. Lengths in camera pixels are marked; z and lpz are nm.
_PIXELS = {
    "x": "x_nm",
    "y": "y_nm",
    "sx": "psf_sigma_x_nm",
    "sy": "psf_sigma_y_nm",
    "lpx": "sigma_x_nm",
    "lpy": "sigma_y_nm",
}
_SAME = {
    "frame": "frame",
    "photons": "photons",
    "bg": "background_photons",
    "z": "z_nm",
    "lpz": "sigma_z_nm",
    "photons_unc": "sigma_photons",
    "bg_unc": "sigma_background_photons",
}
_CENTRE_PX = 0.5  # Picasso has the centre of the first pixel at 0, bioflax its outer corner


def read_picasso(path: Path, pixel_nm: float | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads Picasso's `/locs`.

    Its convention: x, y, s and lp in camera pixels with the centres of pixels at whole numbers, z and lpz in nm, frames
    from 0. Here x_nm = (x + 0.5) pixel_nm, and frames count from 1.

    Args:
        path: `.hdf5`; a `.yaml` of the same name lies beside it, or newer files carry `/metadata`.
        pixel_nm: camera pixel, nm; wins over `Pixelsize` of the file.

    Returns:
        Our column names to (N,) values; pixel_nm, size_px and frames, None where the file does not tell.

    Raises:
        InputError: no HDF5 file, no `/locs`, a column or the pixel size is missing, or h5py is not installed.
    """
    h5py = require("h5py", "hdf5")
    try:
        with h5py.File(path, "r") as file:
            if "locs" not in file or getattr(file["locs"], "dtype", np.dtype(float)).names is None:
                found = ", ".join(file) or "nothing"
                raise InputError(f"{path}: expected Picasso's table /locs, found {found}. Save localizations again.")
            rows = file["locs"][()]
            embedded = file["metadata"][()] if "metadata" in file else None
    except OSError as cause:
        raise InputError(f"{path}: expected an HDF5 file, found one that cannot be opened. Save it again.") from cause
    about = _about(path, embedded)
    pixel = pixel_nm if pixel_nm is not None else about.get("Pixelsize")
    if not isinstance(pixel, (int, float)) or not pixel > 0:
        raise InputError(f"{path}: expected Pixelsize in {path.stem}.yaml, found {pixel}. Give pixel_nm=.")
    missing = [name for name in ("frame", "x", "y") if name not in rows.dtype.names]
    if missing:
        found = ", ".join(rows.dtype.names)
        raise InputError(f"{path}: expected columns frame, x and y, found {found}. Add {', '.join(missing)}.")
    columns = {}
    for name in rows.dtype.names:
        values = rows[name]
        if name in _PIXELS:
            values = (values.astype(np.float64) + _CENTRE_PX * (name in "xy")) * float(pixel)
        elif name == "frame":
            values = values.astype(np.float64) + 1
        columns[_PIXELS.get(name, _SAME.get(name, name))] = values
    size = (about.get("Height"), about.get("Width"))
    return columns, {
        "pixel_nm": float(pixel),
        "size_px": None if None in size else size,
        "frames": about.get("Frames"),
    }


def write_picasso(
    columns: dict[str, np.ndarray],
    path: Path,
    pixel_nm: float | None,
    size_px: tuple[int, int] | None = None,
    frames: int | None = None,
) -> None:
    """Writes `/locs`, its `/metadata` and the `.yaml` beside it, in Picasso's convention (see `read_picasso`).

    Coordinates are float64, where Picasso itself writes float32: that keeps 1e-6 nm, and Picasso reads both. Columns
    that it does not know keep our names. A size or a length of the movie that is not known is that of the farthest
    localization.

    Args:
        columns: our names to (N,) values; `sigma_x_nm` and `sigma_y_nm` are needed, Picasso requires lpx and lpy.
        path: `.hdf5`.
        pixel_nm: camera pixel, nm.
        size_px: (H, W) of a frame.
        frames: length of the movie.

    Raises:
        InputError: something that Picasso needs is missing, or the files cannot be written.
    """
    h5py = require("h5py", "hdf5")
    if path.suffix.lower() != ".hdf5":
        raise InputError(
            f"{path}: expected a name ending in .hdf5, which Picasso opens, found {path.suffix}. Rename it."
        )
    if pixel_nm is None:
        raise InputError("pixel_nm: expected the camera pixel in nm for Picasso, found none. Give it to the table.")
    missing = [name for name in ("sigma_x_nm", "sigma_y_nm") if name not in columns]
    if missing:
        raise InputError(
            f"{missing[0]}: Picasso needs an uncertainty of each localization, found none. "
            "Add it (from crlb_x_nm, say), or write .csv."
        )
    theirs = {name: label for label, name in (_PIXELS | _SAME).items()}
    table = {}
    for name, values in columns.items():
        label = theirs.get(name, name)
        if label != name and label in columns:
            raise InputError(f"{label}: this name is taken by {name} in Picasso's table. Rename it.")
        if label == "frame":
            values = (values - 1).astype(np.uint32)
        elif label in _PIXELS:
            values = values / pixel_nm - _CENTRE_PX * (label in "xy")
        table[label] = values
    order = [label for label in (*_SAME, *_PIXELS) if label in table]
    order = ["frame", *(name for name in dict.fromkeys([*order, *table]) if name != "frame")]
    rows = np.empty(len(columns["frame"]), [(name, table[name].dtype) for name in order])
    for name in order:
        rows[name] = table[name]
    height, width = size_px or (_pixels(columns["y_nm"], pixel_nm), _pixels(columns["x_nm"], pixel_nm))
    about = {
        "Width": int(width),
        "Height": int(height),
        "Frames": int(frames if frames is not None else columns["frame"].max(initial=1)),
        "Pixelsize": float(pixel_nm),
        "Generated by": "bioflax",
    }
    text = "".join(f"{key}: {value}\n" for key, value in about.items())
    # The table gets its name last: with it, everything is there
    with written_aside(path) as temporary, written_aside(path.with_suffix(".yaml")) as beside:
        try:
            with h5py.File(temporary, "w") as file:
                file.create_dataset("locs", data=rows)
                file.create_dataset("metadata", data=json.dumps([about]))
        except RuntimeError as cause:  # h5py tells a full disk in this way when it closes the file
            raise OSError(None, str(cause)) from cause
        beside.write_text(text, encoding="utf-8")


def _pixels(values_nm: np.ndarray, pixel_nm: float) -> int:
    return max(1, math.ceil(values_nm.max(initial=0.0) / pixel_nm))


def _about(path: Path, embedded: Any) -> dict[str, Any]:
    """What the YAML file says, or else the metadata inside the table; later entries add to earlier ones."""
    import yaml

    beside = path.with_suffix(".yaml")
    try:
        if beside.is_file():
            parts = list(yaml.safe_load_all(beside.read_text(encoding="utf-8")))
        elif embedded is not None:
            parts = json.loads(embedded)
        else:
            return {}
    except (yaml.YAMLError, ValueError) as cause:
        raise InputError(f"{beside}: expected Picasso's metadata, found text that is none. Save it again.") from cause
    parts = [parts] if isinstance(parts, dict) else parts
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= part if isinstance(part, dict) else {}
    return merged
