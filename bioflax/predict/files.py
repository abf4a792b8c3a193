"""Prediction on a file, a folder or a glob: one output beside another, each written whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import image_stem, list_images
from bioflax.predict.honest_files import map_paths, predict_honest_file
from bioflax.predict.physics import Physics
from bioflax.predict.restore import Restorer
from bioflax.predict.stream import predict_file
from bioflax.train.log import ProgressBar

TIFF = (".tif", ".tiff")
OTHERS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".npy", ".npz", ".h5", ".zarr", ".csv")


@dataclass(frozen=True)
class Predicted:
    """`files`: what was written, in the order of the inputs; `seconds`: {"predict": ...}; `localizations`, `objects`: how many;
    `pages`: those of the files that a page is made of; `drifts`: file name -> extent and error of the drift taken off;
    `numbers`, `flags`: means over the planes of what `predict.honesty` found, and what speaks against the results."""

    files: list[str]
    seconds: dict[str, float]
    localizations: int | None = None
    pages: list[str] = field(default_factory=list)
    drifts: dict[str, dict[str, float | None]] = field(default_factory=dict)
    objects: int | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)


def output_folder(output: str | Path) -> Path:
    """The folder that results and `result.json` go to: `output` itself, or that of an output file."""
    output = Path(output)
    if output.suffix.lower() in OTHERS:
        raise InputError(f"output: results are OME-TIFF. Expected a folder or a name ending in .tif, found {output}.")
    return output.parent if output.suffix.lower() in TIFF else output


def result_name(output: str | Path) -> str:
    """`result.json`; beside a single output file it is `<stem>.result.json` where another command's is there already."""
    output, taken = Path(output), output_folder(output) / "result.json"
    if output.suffix.lower() not in TIFF or not taken.exists():
        return "result.json"
    try:
        mine = json.loads(taken.read_text())["command"] == "predict"
    except (ValueError, KeyError, TypeError):
        mine = False
    return "result.json" if mine else f"{image_stem(output)}.result.json"


def check_stems(paths: Sequence[Path]) -> list[str]:
    """The stems of the inputs, which name the outputs; InputError where two inputs share one."""
    stems = [image_stem(path) for path in paths]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    if twice:
        raise InputError(
            f"input: several files are called {', '.join(sorted(twice))}; their outputs would be one file."
        )
    return stems


def check_apart(paths: Sequence[Path], outputs: Sequence[Path]) -> None:
    """InputError where an output would be written over an input."""
    inputs = {path.resolve() for path in paths}
    for path in outputs:
        if path.resolve() in inputs:
            raise InputError(f"output: {path} is an input and would be written over. Choose another folder.")


def check_once(outputs: Sequence[Path]) -> None:
    """InputError where two outputs have one name, such as the map of `a` and the result of `a_measured`."""
    twice = next((path for number, path in enumerate(outputs) if path in outputs[:number]), None)
    if twice is not None:
        raise InputError(f"output: {twice} would be written twice; rename an input, or restore them one by one.")


def predict_files(
    model: Restorer,
    inputs: str | Path,
    output: str | Path,
    *,
    axes: str | None = None,
    dtype: Any = None,
    physics: Physics | None = None,
    **options: Any,
) -> Predicted:
    """Restores images into OME-TIFF.

    Args:
        model: a loaded model.
        inputs: a file, a folder or a glob.
        output: a folder, or a `.tif` name for a single input.
        axes: of the inputs, where they do not say them.
        dtype: of the outputs; None keeps that of an integer input.
        physics: of a super-resolving model: also writes what was measured and what is prior (`predict_honest_file`).
        options: as `predict_file`: tile, memory_gb, augment, posterior.

    Raises:
        InputError: inputs that cannot be read, two inputs of the same stem, or one output name for several inputs.
    """
    paths, output = list_images(inputs), Path(output)
    single = output.suffix.lower() in TIFF
    if single and len(paths) > 1:
        raise InputError(f"output: {output} is one file, {inputs} holds {len(paths)} images. Give a folder.")
    stems = check_stems(paths)
    outputs = [output if single else output / f"{stem}.tif" for stem in stems]
    planned = outputs if physics is None else [path for one in outputs for path in (one, *map_paths(one))]
    check_apart(paths, planned)
    check_once(planned)
    begun, written, examined = time.monotonic(), [], []
    with ProgressBar("predict", len(paths) * 1000) as bar:
        for number, (path, name) in enumerate(zip(paths, outputs)):

            def show(done: int, total: int, number: int = number, path: Path = path) -> None:
                bar.update(number * 1000 + 1000 * done // total, path.name)

            if physics is None:
                maps = predict_file(model, path, name, axes, dtype=dtype, on_progress=show, **options)
                written += [str(made) for made in maps.values()]
            else:
                examined.append(
                    predict_honest_file(model, path, name, physics, axes, dtype=dtype, on_progress=show, **options)
                )
                written += [str(made) for made in examined[-1].files]
    return Predicted(
        written,
        {"predict": time.monotonic() - begun},
        pages=[str(one.page) for one in examined],
        numbers=mean_numbers([row for one in examined for row in one.numbers]),
        flags=[f"{path.name}: {flag}" for path, one in zip(paths, examined) for flag in one.flags],
    )


def mean_numbers(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the rows that have a number, by name."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
