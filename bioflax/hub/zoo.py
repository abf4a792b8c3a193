"""Where models are: folders, packed files, runs, and the zoo by name."""

from __future__ import annotations

import os
from pathlib import Path

from bioflax.errors import InputError

# Further folders of models, separated as in PATH.
ZOO_VARIABLE = "BIOFLAX_ZOO"


def find_model(model: str | Path) -> Path:
    """Finds the folder or .zip of a model.

    Args:
        model: a model folder, a .zip, a run folder (its `model/` is taken), or the name of a zoo model.

    Returns:
        Path of a folder that holds a card.json, or of a .zip.

    Raises:
        InputError: there is no such thing; the message lists the zoo.
    """
    path = Path(model)
    for folder in (path, path / "model"):
        if (folder / "card.json").is_file():
            return folder
        # A save that was cut off between its two renames left the old model under this name.
        if not folder.exists() and (previous(folder) / "card.json").is_file():
            return previous(folder)
    if path.is_file():
        if path.suffix.lower() != ".zip":
            raise InputError(f"model: expected a model folder, a run folder or a .zip, found the file {path}")
        return path
    if path.is_dir():
        unfinished = (
            " The run has not finished: start the same command again" if (path / "config.yaml").exists() else ""
        )
        raise InputError(f"model: expected card.json or model/card.json in {path}, found neither.{unfinished}")
    zoo = zoo_models()
    if str(model) in zoo:
        return zoo[str(model)]
    raise InputError(
        f"model: expected a model folder, a run folder, a .zip or a zoo name ({', '.join(zoo) or 'the zoo is empty'}), "
        f"found {str(model)!r}"
    )


def list_models(folder: str | Path) -> dict[str, Path]:
    """Models directly in a folder or in the runs in it: {name of the entry: path that `load` takes}, sorted by name."""
    found = {}
    for entry in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() == ".zip":
            found[entry.stem] = entry
        for place in (entry, entry / "model"):
            if (place / "card.json").is_file():
                found[entry.name] = place
    return found


def zoo_models() -> dict[str, Path]:
    """The zoo: models in `zoo/` of the source tree and in the folders of the variable BIOFLAX_ZOO."""
    folders = [Path(part) for part in os.environ.get(ZOO_VARIABLE, "").split(os.pathsep) if part]
    folders.append(Path(__file__).resolve().parents[2] / "zoo")
    return {name: path for folder in reversed(folders) for name, path in list_models(folder).items()}


def previous(folder: Path) -> Path:
    """The name that a model folder bears while it is being replaced."""
    return folder.parent / f".{folder.name}.previous"
