"""The files of a model, read from a folder or a packed .zip with limits; nothing is ever unpacked to disk."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from bioflax.errors import InputError

MEBIBYTE = 1024 * 1024
# The files that a model may have, and the largest size of each in bytes.
LIMITS = {
    "card.json": 4 * MEBIBYTE,
    "README.md": 4 * MEBIBYTE,
    "weights.safetensors": 4096 * MEBIBYTE,
    "test_input.npy": 256 * MEBIBYTE,
    "test_output.npy": 256 * MEBIBYTE,
    "cover.png": 64 * MEBIBYTE,
}
REQUIRED = ("card.json", "weights.safetensors", "test_input.npy", "test_output.npy")
LARGEST_ENTRY_COUNT = 64


def read_files(path: Path) -> dict[str, bytes]:
    """Reads the files of a model.

    Args:
        path: a model folder, or a .zip with the files at its top or in one folder.

    Returns:
        Content by name; names that no model has are left aside.

    Raises:
        InputError: a file is missing, empty, too large or unreadable; a zip is damaged or names paths outside itself.
    """
    try:
        found = _read_folder(path) if path.is_dir() else _read_zip(path)
    except OSError as cause:
        raise InputError(f"model: {path} cannot be read: {cause.strerror or cause}") from cause
    for name in REQUIRED:
        if name not in found:
            raise InputError(f"model: expected {', '.join(REQUIRED)} in {path}, found no {name}")
        if not found[name]:
            raise InputError(f"model: {path}: {name} is empty (0 bytes). Copy the model again, or train it again")
    return found


def pack_model(folder: str | Path, path: str | Path) -> Path:
    """Packs a model folder into one .zip that `load` takes.

    Args:
        folder: a model folder.
        path: of the zip; written aside and then renamed.

    Returns:
        The path.

    Raises:
        InputError: the folder holds no model, or the zip cannot be written.
    """
    folder, path = Path(folder), Path(path)
    files = read_files(folder)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as packed:
            for name in sorted(files):
                # A fixed date: the same model packs to the same bytes.
                packed.writestr(zipfile.ZipInfo(f"{path.stem}/{name}", (1980, 1, 1, 0, 0, 0)), files[name])
        os.replace(beside, path)
    except OSError as cause:
        raise InputError(f"output: {path} cannot be written: {cause.strerror or cause}") from cause
    finally:
        beside.unlink(missing_ok=True)
    return path


def digest(content: bytes) -> str:
    """The sha256 of a file's content, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _read_folder(folder: Path) -> dict[str, bytes]:
    found = {}
    for name, limit in LIMITS.items():
        path = folder / name
        if path.is_file():
            _check_size(name, path.stat().st_size, limit)
            found[name] = path.read_bytes()
    return found


def _read_zip(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            if len(entries) > LARGEST_ENTRY_COUNT:
                raise InputError(f"model: {path}: expected at most {LARGEST_ENTRY_COUNT} files, found {len(entries)}")
            folders = {
                _inside(path, entry.filename).parent for entry in entries if entry.filename.endswith("card.json")
            }
            if len(folders) != 1:
                raise InputError(f"model: {path}: expected one card.json, found {len(folders)}. Pack one model a zip")
            top = folders.pop()
            for entry in entries:
                inside = _inside(path, entry.filename)
                limit = LIMITS.get(inside.name)
                if limit is None or inside.parent != top:
                    continue
                if inside.name in found:
                    raise InputError(f"model: {path}: {inside.name} stands there twice")
                _check_size(inside.name, entry.file_size, limit)
                with packed.open(entry) as stream:
                    # The size in the directory of a zip can lie: what comes out is counted.
                    found[inside.name] = stream.read(limit + 1)
                _check_size(inside.name, len(found[inside.name]), limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise InputError(f"model: {path}: expected a .zip of a model folder, found a damaged one ({cause})") from cause
    return found


def _inside(path: Path, name: str) -> PurePosixPath:
    inside = PurePosixPath(name)
    if "\\" in name or ":" in name or inside.is_absolute() or ".." in inside.parts:
        raise InputError(
            f"model: {path}: a packed model has no paths outside itself, found {name!r}. Do not use this file"
        )
    return inside


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(f"model: {name}: expected at most {limit / MEBIBYTE:.0f} MiB, found {size / MEBIBYTE:.0f}")
