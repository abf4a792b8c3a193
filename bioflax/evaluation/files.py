"""Evaluation of a model on files: pairs of noisy images and targets, planes and volumes one at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.data import pair_files
from bioflax.errors import InputError
from bioflax.evaluation.evaluate import evaluate
from bioflax.evaluation.methods import EvaluationItem
from bioflax.evaluation.summary import EvaluationResult
from bioflax.io import ImageFile, image_stem, open_image
from bioflax.predict import predict_maps
from bioflax.train.log import ProgressBar


def evaluate_files(
    model: Any,
    inputs: str | Path,
    targets: str | Path,
    *,
    run_dir: str | Path,
    axes: str | None = None,
    augment: bool = False,
    posterior: bool = False,
    tile: Any = "auto",
    **protocol: Any,
) -> EvaluationResult:
    """Judges a model on files.

    Args:
        model: a loaded model.
        inputs: noisy images: a file, a folder or a glob.
        targets: clean ones; names match, or match without a trailing number.
        run_dir: folder for table.csv, summary.json and crops.npz.
        axes: of the files, where they do not say them.
        augment: average over the eight turns and flips.
        posterior: as `predict`.
        tile: as `predict`.
        protocol: as `evaluate`: data_range, clip, affine, baselines, bounds.

    Raises:
        InputError: files without a target, or of another size than it.
    """
    spatial = "YX" if model.spatial_dims == 2 else "ZYX"
    items = []
    for noisy, clean in pair_files(inputs, targets):
        items += _items(open_image(noisy, axes), open_image(clean, axes), image_stem(noisy), image_stem(clean), spatial)
    data_range = protocol.get("data_range")
    if data_range is not None and protocol.get("clip") is None and data_range == 255:
        protocol["clip"] = (0.0, 255.0)

    def predict(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict_maps(model, image, spatial, augment=augment, posterior=posterior, tile=tile)

    predict(
        np.asarray(items[0].noisy(), np.float32)
    )  # compiles, so that the seconds of the first item are like the others'
    family = str(model.card.architecture["arguments"]["head"]["name"]).lower()
    with ProgressBar("evaluate", len(items)) as bar:
        return evaluate(
            items,
            predict,
            run_dir=run_dir,
            family=family if family in ("gaussian", "laplace") else "gaussian",
            on_progress=lambda done, total: bar.update(done),
            **protocol,
        )


def _items(noisy: ImageFile, clean: ImageFile, name: str, group: str, spatial: str) -> list[EvaluationItem]:
    """One item per plane (2-D) or volume (3-D); channels one by one."""
    missing = [axis for axis in spatial if axis not in noisy.axes]
    if missing:
        raise InputError(f"input: {noisy.path} has axes {noisy.axes}; this model needs {spatial}.")
    if (noisy.axes, noisy.shape) != (clean.axes, clean.shape):
        raise InputError(
            f"target: {clean.path} is {clean.axes} {clean.shape}, its input {noisy.path.name} is {noisy.axes} {noisy.shape}; "
            "they must be equal. Crop or register them."
        )
    others = [axis for axis in noisy.axes if axis not in spatial]
    lengths = dict(zip(noisy.axes, noisy.shape))
    items = []
    for place in product(*(range(lengths[axis]) for axis in others)):
        fixed = dict(zip(others, place))
        shown = ",".join(f"{axis.lower()}={at}" for axis, at in fixed.items() if lengths[axis] > 1)
        index = tuple(fixed.get(axis, slice(None)) for axis in noisy.axes)
        label = f"{name}[{shown}]" if shown else name
        items.append(EvaluationItem(label, _reader(noisy, index), _reader(clean, index), group))
    return items


def _reader(file: ImageFile, index: tuple[Any, ...]) -> Callable[[], np.ndarray]:
    return lambda: np.squeeze(file.read_window(index), tuple(n for n, at in enumerate(index) if isinstance(at, int)))
