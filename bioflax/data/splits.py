"""Which files are for training and which for testing: a list of hashes that is the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from bioflax.errors import InputError
from bioflax.io import image_stem

PARTS = ("train", "test")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_split(
    files: Sequence[Path], share: float = 0.2, *, family: Callable[[str], str] = lambda stem: ""
) -> dict[str, tuple[str, str]]:
    """Divides files for good: in each family those with the smallest hashes are for testing.

    Args:
        files: images.
        share: of each family that is for testing, rounded; 0 to 1.
        family: stem -> family, so that every kind of image is on both sides.

    Returns:
        SHA-256 -> (part, file name); equal files are on one side.
    """
    if not 0 < share < 1:
        raise InputError(f"split.share: expected a number between 0 and 1, found {share}")
    families: dict[str, dict[str, str]] = {}
    for path in files:
        families.setdefault(family(image_stem(path)), {})[file_digest(path)] = path.name
    listed = {}
    for members in families.values():
        for place, digest in enumerate(sorted(members)):
            part = PARTS[place < round(share * len(members))]
            listed[digest] = (part, members[digest])
    return listed


def write_split(path: Path, listed: dict[str, tuple[str, str]]) -> None:
    """Writes a split, a line each: hash, part, name; sorted by name."""
    rows = sorted((name, digest, part) for digest, (part, name) in listed.items())
    path.write_text("".join(f"{digest} {part} {name}\n" for name, digest, part in rows))


def read_split(name: str | Path) -> dict[str, str]:
    """Reads a split.

    Args:
        name: a file of lines `hash part name`, or the name of one that comes with bioflax, such as `dsb2018`.

    Returns:
        SHA-256 -> part.

    Raises:
        InputError: no such split, or a line that is none.
    """
    path = Path(name)
    shipped = resources.files("bioflax.data") / "splits" / f"{name}.txt"
    if path.is_file():
        text = path.read_text(errors="replace")
    elif path.name == str(name) and shipped.is_file():
        text = shipped.read_text()
    else:
        folder = resources.files("bioflax.data") / "splits"
        there = ", ".join(sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".txt")))
        raise InputError(f"split: expected a file of hashes, or one of {there}; found {name}")
    parts = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or line.startswith("#"):
            continue
        if len(words) < 2 or len(words[0]) != 64 or words[1] not in PARTS:
            raise InputError(f"split: expected `hash train|test name` in line {number} of {name}, found {line[:60]!r}")
        parts[words[0]] = words[1]
    return parts


def select_part(files: Sequence[Path], split: str | Path | None, part: str) -> list[Path]:
    """The files of one part of a split, in their order; all of them where there is no split.

    Raises:
        InputError: an unknown part, or files of which the split knows none.
    """
    if part not in (*PARTS, "all"):
        raise InputError(f"part: expected one of {', '.join(PARTS)}, all; found {part!r}")
    if split is None or part == "all":
        return list(files)
    parts = read_split(split)
    known = {path: parts.get(file_digest(path)) for path in files}
    missing = [path.name for path, found in known.items() if found is None]
    if missing:
        raise InputError(
            f"split: {len(missing)} of {len(files)} files are not in the split {split}, such as {missing[0]}. "
            "Take its own images, or split=null"
        )
    chosen = [path for path, found in known.items() if found == part]
    if not chosen:
        raise InputError(f"split: no file here is in the part {part!r} of {split}")
    return chosen
