"""Which files belong together: repeated captures of one field, and the target of an input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bioflax.errors import InputError
from bioflax.io import image_stem, list_images

_TRAILING_NUMBER = re.compile(r"[_-]\d+$")


def pair_files(inputs: str | Path, targets: str | Path, repeats: str | None = None) -> list[tuple[Path, Path]]:
    """Finds the target of every input file, for evaluation.

    Args:
        inputs: file, folder or glob.
        targets: file, folder or glob. A target belongs to the input of the same stem, else to the inputs whose stem
            is its own without the part `repeats` matches (by default a last number, as in `cells_2`). One input and
            one target belong together whatever their names.
        repeats: regular expression of the part that numbers captures.

    Returns:
        (input, target) for every input, in natural order.

    Raises:
        InputError: inputs without a target.
    """
    images, clean = list_images(inputs), list_images(targets)
    if len(images) == len(clean) == 1:
        return [(images[0], clean[0])]
    by_stem = {image_stem(path): path for path in clean}
    pattern = _TRAILING_NUMBER if repeats is None else _compile(repeats)
    stems = [image_stem(path) for path in images]
    found = [by_stem.get(stem) or by_stem.get(pattern.sub("", stem, count=1)) for stem in stems]
    _check_matched([stem for stem, path in zip(stems, found, strict=True) if path is None], by_stem)
    return [(path, target) for path, target in zip(images, found, strict=True) if target is not None]


def _compile(repeats: str) -> re.Pattern[str]:
    try:
        return re.compile(repeats)
    except re.error as cause:
        raise InputError(
            f"repeats: expected a regular expression such as _(\\d+)$, found {repeats!r} ({cause})"
        ) from cause


def group_files(files: Sequence[Path], repeats: str | None) -> dict[str, list[Path]]:
    """Files by field: their stem without the part that numbers captures."""
    pattern = None if repeats is None else _compile(repeats)
    groups: dict[str, list[Path]] = {}
    for path in files:
        stem = image_stem(path)
        if pattern is not None:
            match = pattern.search(stem)
            if match is None:
                raise InputError(
                    f"repeats: {repeats!r} matches no part of the name {stem!r}; correct it, or move the file"
                )
            stem = stem[: match.start()] + stem[match.end() :]
        elif stem in groups:
            raise InputError(
                f"{path}: two files have the name {stem!r}; rename one, or give a glob of one kind of file"
            )
        groups.setdefault(stem, []).append(path)
    return groups


def find_targets(groups: dict[str, list[Path]], targets: Sequence[Path]) -> dict[str, Path]:
    """The target of every group; raises with the names that have none."""
    if len(groups) == len(targets) == 1:
        return {next(iter(groups)): targets[0]}
    by_stem = {image_stem(path): path for path in targets}
    found = {
        source: path
        for source, paths in groups.items()
        if (path := by_stem.get(source) or by_stem.get(image_stem(paths[0]))) is not None
    }
    _check_matched([source for source in groups if source not in found], by_stem)
    return found


def _check_matched(missing: Sequence[str], by_stem: Mapping[str, Path]) -> None:
    if missing:
        raise InputError(
            f"targets: no file for {shorten(missing)}; a target has the name of its input (without the part that "
            f"`repeats` matches); there are {shorten(list(by_stem))}"
        )


def shorten(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
