"""Evaluation of a detector on files: images against label images or tables of points, beside classical finders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.baselines.blobs import best_threshold, find_blobs
from bioflax.baselines.nuclei import segment_nuclei
from bioflax.data.objects import Annotated, read_annotated
from bioflax.errors import InputError
from bioflax.evaluation.detection_summary import DetectionResult
from bioflax.evaluation.detections import evaluate_objects, evaluate_points
from bioflax.predict.objects import Detections
from bioflax.train.log import ProgressBar

Detector = Callable[..., Detections]
CHOSEN_AT_PX = 2.0  # the oracle's threshold is the best for F1 within this distance


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
    if baselines:
        made = _classical_objects(read, said) if mode == "labels" else _classical_points(read, said)
        methods |= made
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
    truth = [item.labels if mode == "labels" else item.points for item in read]
    shown = [item.image[..., 0] for item in read]
    names = [item.name for item in read]
    if mode == "labels":
        return evaluate_objects(methods, truth, shown, names, **given)
    return evaluate_points(methods, truth, shown, names, scores=scores or None, **given)


def _classical_objects(read: Sequence[Annotated], said: list[str]) -> dict[str, list[np.ndarray]]:
    if read[0].image.ndim != 3:
        said.append("No classical segmentation of volumes.")
        return {}
    images = [item.image[..., 0] for item in read]
    try:
        return {
            "otsu_watershed": [segment_nuclei(image) for image in images],
            "otsu": [segment_nuclei(image, split=False) for image in images],
        }
    except InputError as missing:
        said.append(f"No classical segmentation: {missing}")
        return {}


def _classical_points(read: Sequence[Annotated], said: list[str]) -> dict[str, list[np.ndarray]]:
    images, truth = [item.image[..., 0] for item in read], [item.points for item in read]
    if not sum(map(len, truth)):
        said.append("No oracle: there are no points to choose a threshold by.")
        return {}
    made = {}
    for kind in ("log", "dog"):
        sigma_px, threshold, _ = best_threshold(images, truth, distance_px=CHOSEN_AT_PX, filter=kind)
        made[f"{kind}_oracle"] = [find_blobs(one, sigma_px, threshold, kind)[0] for one in images]
        if kind == "log":
            made["log_auto"] = [find_blobs(one, sigma_px, "auto")[0] for one in images]
            said.append(
                f"The oracle LoG (sigma {sigma_px:.3g} px) and DoG saw the truth of these very images to choose sigma "
                f"and threshold for F1 within {CHOSEN_AT_PX:g} px; log_auto has that sigma and an automatic threshold."
            )
    return made
