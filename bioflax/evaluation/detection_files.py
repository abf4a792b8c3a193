"""Evaluation of a detector on files: images against label images or tables of points, beside classical finders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.baselines.finders import find_objects, find_points
from bioflax.data.objects import read_annotated
from bioflax.errors import InputError
from bioflax.evaluation.detection_summary import DetectionResult
from bioflax.evaluation.detections import evaluate_objects, evaluate_points
from bioflax.predict.objects import Detections
from bioflax.train.log import ProgressBar

Detector = Callable[..., Detections]


def evaluate_detection_files(
    detector: Detector | None,
    inputs: str | Path,
    target: str | Path,
    *,
    run_dir: str | Path,
    mode: str,
    spatial_dims: int = 2,
    axes: str | None = None,
    split: str | None = None,
    part: str = "test",
    fill_holes: bool = True,
    baselines: bool = True,
    notes: Sequence[str] = (),
    **options: Any,
) -> DetectionResult:
    """Judges a detector; writes `table.csv`, `summary.json` and `pictures.npz`.

    Args:
        detector: `(image (…, C)) -> Detections`; None judges the classical finders alone.
        inputs: images: a file, a folder or a glob.
        target: label images, or tables of points, of the same names.
        run_dir: folder for the files.
        mode: `labels` or `points`, what the detector finds.
        spatial_dims: 2 or 3.
        axes: of the images.
        split, part: list of hashes and the part of it that is judged, as `data.select_part`.
        fill_holes: close holes in labelled objects, as training does.
        baselines: also run Gaussian + Otsu, with and without watershed; or LoG and DoG with the best threshold, which sees
            the truth, and LoG with an automatic one.
        notes: more for the reader.
        options: as `evaluate_objects` or `evaluate_points`.

    Raises:
        InputError: files that do not fit together, nothing to judge.
    """
    read = read_annotated(
        inputs, target, mode=mode, axes=axes, spatial_dims=spatial_dims, split=split, part=part, fill_holes=fill_holes
    )
    methods: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    scores: dict[str, list[np.ndarray]] = {}
    said = list(notes)
    if detector is not None:
        begun, found = time.monotonic(), []
        with ProgressBar("evaluate", len(read)) as bar:
            for done, item in enumerate(read, 1):
                found.append(detector(item.image))
                bar.update(done, item.name)
        seconds["model"] = time.monotonic() - begun
        methods["model"] = [one.labels() if mode == "labels" else one.position for one in found]
        scores["model"] = [one.score for one in found]
    truth = [item.labels if mode == "labels" else item.points for item in read]
    shown = [item.image[..., 0] for item in read]
    if baselines:
        classical, notes = find_objects(shown) if mode == "labels" else find_points(shown, truth)
        methods |= classical
        said += notes
    if not methods:
        raise InputError("baselines: nothing to judge. Give model=..., or baselines other than [].")
    pixel = read[0].pixel_nm
    given = {
        "run_dir": run_dir,
        "seconds": seconds,
        "notes": said,
        "pixel_nm": pixel["Y"] if pixel else None,
        **options,
    }
    names = [item.name for item in read]
    if mode == "labels":
        return evaluate_objects(methods, truth, shown, names, **given)
    return evaluate_points(methods, truth, shown, names, scores=scores or None, **given)
