"""Opening and listing images, whatever their format."""

from __future__ import annotations

import re
from collections import Counter
from glob import glob, has_magic
from pathlib import Path

from bioflax.errors import InputError
from bioflax.io.image_file import ImageFile
from bioflax.io.png import open_png
from bioflax.io.tiff import open_tiff

SUFFIXES = {
    ".tif": open_tiff, ".tiff": open_tiff, ".btf": open_tiff, ".tf8": open_tiff, ".png": open_png,
}  # fmt: skip


def open_image(path: str | Path, axes: str | None = None) -> ImageFile:
    """Opens an image without reading its pixels.

    Args:
        path: a TIFF or PNG file.
        axes: letters of `TSZCYX` in the order of the file (such as `ZYX`); override the metadata, and must fit the
            shape.

    Returns:
        The image.

    Raises:
        InputError: no such file, a folder, an empty, unreadable, damaged or foreign file, or axes that are unknown.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected an image file, found a folder")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: expected an image ({', '.join(SUFFIXES)}), found the suffix {path.suffix or 'none'!r}"
        )
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: the file is empty (zero bytes)")
        return SUFFIXES[path.suffix.lower()](path, axes)
    except PermissionError as cause:
        raise InputError(f"{path}: no permission to read it") from cause
    except OSError as cause:
        raise InputError(f"{path}: cannot be read ({cause.strerror or cause})") from cause


def list_images(where: str | Path) -> list[Path]:
    """The images that a file, a folder or a glob means, in natural order (`a2` before `a10`).

    Args:
        where: one image file, a folder (its images, not those of its subfolders) or a glob such as `raw/*_1.tif`.

    Returns:
        At least one path.

    Raises:
        InputError: nothing is there, or nothing there is an image; the message says what was found.
    """
    path = Path(where)
    if path.is_dir():
        try:
            found = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        except PermissionError as cause:
            raise InputError(f"{path}: no permission to list the folder") from cause
    elif path.exists():
        found = [path]
    elif has_magic(str(where)):
        found = [entry for entry in map(Path, glob(str(where), recursive=True)) if entry.is_file()]
        if not found:
            raise InputError(f"{where}: no file matches the pattern")
    else:
        raise InputError(f"{where}: no such file or folder")
    images = sorted((entry for entry in found if entry.suffix.lower() in SUFFIXES), key=natural_key)
    if not images:
        kinds = Counter(entry.suffix or "no suffix" for entry in found)
        listed = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(5)) or "no files"
        raise InputError(f"{where}: expected images ({', '.join(SUFFIXES)}), found {listed}")
    return images


def natural_key(path: Path | str) -> list[tuple[int, int, str]]:
    """Sorts numbers in names by value."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in parts]


def image_stem(path: Path | str) -> str:
    """The name of an image without its suffix, `.ome.tif` counting as one."""
    stem = Path(path).stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem
