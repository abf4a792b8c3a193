"""Evaluation: a model beside the noisy input, the classical filters and the bounds, image by image, on one protocol."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bioflax.baselines import FILTERS
from bioflax.errors import InputError
from bioflax.evaluation.methods import BOUNDS, EvaluationItem, Item, Judged, Methods, Predict, item_of
from bioflax.evaluation.pictures import Spectra, crops
from bioflax.evaluation.scoring import FINER, METRICS, choose_scoring
from bioflax.evaluation.summary import CEILING, EvaluationResult, summarise
from bioflax.optics.bounds import reference_ceiling_db

COLUMNS = ("item", "group", "method", "kind", *METRICS, "seconds_per_megapixel")
SPECTRA = 12  # images whose spectra are averaged


def evaluate(
    items: Sequence[Item | Mapping[str, Any]],
    predict: Predict,
    *,
    run_dir: str | os.PathLike,
    data_range: float | None = None,
    clip: tuple[float, float] | None = None,
    affine: bool = False,
    baselines: Sequence[str] = tuple(FILTERS),
    bounds: Sequence[str] = tuple(BOUNDS),
    reference_frames: int | None = None,
    family: str = "gaussian",
    on_progress: Callable[[int, int], None] | None = None,
    console: Console | None = None,
) -> EvaluationResult:
    """Judges a model on pairs of images; writes `table.csv`, `summary.json` and `crops.npz` and prints the table.

    Args:
        items: objects or dicts with `name`, `noisy()` and `target()`, (H, W) or (Z, H, W), loaded one at a time, and
            optionally `group`: the field of view. Whole fields are resampled for the intervals.
        predict: noisy image -> {"image": same shape, optional "scale": standard deviation or Laplace scale}.
        run_dir: folder for the files.
        data_range, clip, affine: as in `Scoring`. Where `data_range` is None, 8-bit targets are judged with the range
            255 and clipped to [0, 255]; without `affine` other targets have the range max - min.
        baselines: filters of `bioflax.baselines.FILTERS`, tuned on the noisy image alone.
        bounds: of `BOUNDS`; they see the target.
        reference_frames: frames averaged to the target, where the noisy one is among them; adds the PSNR that a perfect
            image would score (`reference_ceiling`).
        family: `gaussian` or `laplace`, what `scale` means.
        on_progress: called with (items done, items).
        console: where the table goes.

    Returns:
        The result.

    Raises:
        InputError: no items, unknown names, shapes that differ or are too small.
    """
    items = [item_of(item) for item in items]
    if not items:
        raise InputError("input: expected at least one image with a target, found none.")
    check_names("baselines", baselines, FILTERS)
    check_names("bounds", bounds, BOUNDS)
    scoring = choose_scoring(np.asarray(items[0].target()).dtype, data_range, clip, affine)
    methods = Methods(predict, tuple(baselines), tuple(bounds), scoring)
    return judge(items, methods, run_dir, reference_frames, family, on_progress, console)


def judge(
    items: Sequence[EvaluationItem],
    methods: Judged,
    run_dir: str | os.PathLike,
    reference_frames: int | None = None,
    family: str = "gaussian",
    on_progress: Callable[[int, int], None] | None = None,
    console: Console | None = None,
) -> EvaluationResult:
    """As `evaluate`, for methods that are already put together: those of noisy images, or those that make images finer."""
    spectra, rows, scoring = Spectra(), [], methods.scoring
    for done, item in enumerate(items):
        noisy, target = methods.load(item)
        megapixels = noisy.size / 1e6
        for method, kind, image, scale, seconds in methods.run(noisy, target):
            found = scoring.score(image, target, scale, family) | methods.extra(noisy, image, target)
            speed = None if kind in ("input", "bound") else seconds / megapixels
            row = {"item": item.name, "group": item.group, "method": method, "kind": kind, **found}
            row["seconds_per_megapixel"] = speed
            rows.append(row)
            if method == "input" and reference_frames:
                ceiling = {"psnr_db": reference_ceiling_db(found["psnr_db"], reference_frames)}
                rows.append({**row, **dict.fromkeys(found), "method": CEILING, "kind": "bound", **ceiling})
            if done < SPECTRA:
                spectra.add(method, image, target)
        if on_progress is not None:
            on_progress(done + 1, len(items))
    result = summarise(rows, scoring)
    write(result, Path(run_dir), crops(items, rows, methods) | spectra.arrays())
    (console or Console()).print(result.table())
    return result


def write(result: EvaluationResult, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes table.csv, summary.json and crops.npz aside, then renames them."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / ".table.csv.part"
    with aside.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [*COLUMNS, *(name for name in FINER if name in result.rows[0])], restval="")
        table.writeheader()
        table.writerows(
            {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            for row in result.rows
        )
    aside.replace(folder / "table.csv")
    aside = folder / ".crops.npz.part"
    with aside.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    aside.replace(folder / "crops.npz")
    facts = {
        "schema": 1,
        "protocol": result.scoring.caption,
        "methods": result.summary,
        "gain_db": result.versus,
        "harmed": list(result.harmed),
    }
    aside = folder / ".summary.json.part"
    aside.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(folder / "summary.json")


def check_names(field: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    """Raises for names that are not known or that are given twice."""
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) < len(names):
        raise InputError(
            f"{field}: expected names of {', '.join(known)}, each once, found {', '.join(map(str, names))}."
        )
