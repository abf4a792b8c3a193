"""A small study folder with known curves, as the engine would leave it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.studies.tally import Tally

LIGHT, TRAINED, REFERENCE = [3, 10, 30, 100, 300], [3, 30, 300], 30
CAMERAS = ["matched", "hot pixels", "gain off by 2"]
COST_DB = {"matched": 0.0, "hot pixels": -2.0, "gain off by 2": -0.2}
RIVALS_DB = {"nlm": -1.0, "gaussian": -4.0}
# A failed point, where asked for: row, level of light, seed.
FAILED = ("photons per pixel 3", 300, 1)


def expected_db(trained: float | None, light: float, camera: str = "matched") -> float:
    """The curve: 20 dB + 8 dB a decade of light, less 3 dB a decade between training and test; None is the help."""
    mismatch = 0.5 if trained is None else 3 * abs(np.log10(light / trained))
    return 20 + 8 * np.log10(light) - mismatch + COST_DB[camera]


def make_run(
    folder: str | Path,
    *,
    seeds: int = 2,
    items: int = 8,
    failed: bool = True,
    second: bool = False,
    lower: bool = False,
    spread: float = 1.0,
    thresholds: list[dict[str, Any]] | None = None,
) -> Path:
    """Writes study.json and points/.

    Args:
        folder: the run folder; made if missing.
        seeds, items: repeats and test items.
        failed: the point `FAILED` failed; its row's other seeds stand.
        second: also a factor of names, `camera`, swept alone and crossed with `light`.
        lower: a metric of which less is better, `rmse_nm` = 1000 nm x 10^(-dB/20), form `root`.
        spread: deviation of the items, dB, the same for all conditions; a tenth of it between seeds, a fifth between
            conditions.
        thresholds: of study.json; None is one at half the value of the reference.

    Returns:
        The run folder.
    """
    folder = Path(folder)
    study = make_study(seeds, items, second=second, lower=lower, thresholds=thresholds)
    (folder / "points").mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(study, indent=1))
    rows = {row["id"]: row for row in study["rows"]}
    tests = {test["id"]: test for test in study["tests"]}
    for point in study["points"]:
        row, test = rows.get(point["row"]), tests[point["test"]]
        light = test["levels"].get("light", REFERENCE)
        broken = (
            failed and row is not None and (row["name"], light, point["seed"]) == FAILED and len(test["levels"]) == 1
        )
        _write_point(folder / "points" / point["hash"], point, study, row, test, broken, spread)
    return folder


def make_study(
    seeds: int,
    items: int,
    *,
    second: bool = False,
    lower: bool = False,
    thresholds: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """study.json: rows trained at three lights and a help, tested at five lights."""
    metric = "rmse_nm" if lower else "psnr_db"
    factors: dict[str, Any] = {
        "light": {"label": "photons per pixel", "unit": "photons", "log": True, "levels": LIGHT, "reference": REFERENCE}
    }
    factors["light"]["set"] = ["data.simulator.photons={}"]
    rows = [
        {"id": f"r{i}", "name": f"photons per pixel {light}", "kind": "train", "levels": {"light": light}}
        for i, light in enumerate(TRAINED)
    ]
    rows.append({"id": "r3", "name": "trained over all light", "kind": "help", "levels": {}})
    places: list[dict[str, Any]] = [{}] + [{"light": light} for light in LIGHT if light != REFERENCE]
    if second:
        factors["camera"] = {"label": "camera", "unit": "", "log": False, "levels": CAMERAS, "reference": CAMERAS[0]}
        factors["camera"]["set"] = []
        others = [{"camera": camera} for camera in CAMERAS[1:]]
        places += others + [{**place, **other} for place in places[1:] for other in others]
    tests = [
        {"id": f"t{i}", "name": ", ".join(f"{k} {v}" for k, v in place.items()) or "reference", "levels": place}
        for i, place in enumerate(places)
    ]
    for entry in (*rows, *tests):
        entry["overrides"] = [f"data.simulator.photons={v}" for k, v in entry["levels"].items() if k == "light"]
    pairs = [(None, t["id"], None) for t in tests]
    pairs += [(r["id"], t["id"], seed) for r in rows for t in tests for seed in range(seeds)]
    if thresholds is None:
        thresholds = [{"name": "half as good", "factor": "light", "metric": metric, "target": 0.5, "of": "reference"}]
    return {
        "schema": 1,
        "name": "synthetic_light",
        "question": "Does a denoiser have to be trained at the light it will see?",
        "task": "localize" if lower else "denoise",
        "metric": metric,
        "better": "lower" if lower else "higher",
        "more": [] if lower else ["ssim"],
        "size": "small",
        "seeds": seeds,
        "items": items,
        "share": 0.9,
        "level": 0.95,
        "base": ["experiment=denoise_simulated"],
        "factors": factors,
        "rows": rows,
        "tests": tests,
        "points": [
            {
                "hash": hashlib.sha256(repr(pair).encode()).hexdigest()[:12],
                "row": pair[0],
                "test": pair[1],
                "seed": pair[2],
            }
            for pair in pairs
        ],
        "thresholds": thresholds,
        "baselines": list(RIVALS_DB),
        "command": "bioflax study study=synthetic_light study.size=small",
    }


def _write_point(
    folder: Path,
    point: dict[str, Any],
    study: dict[str, Any],
    row: dict[str, Any] | None,
    test: dict[str, Any],
    broken: bool,
    spread: float,
) -> None:
    folder.mkdir(exist_ok=True)
    light, camera = test["levels"].get("light", REFERENCE), test["levels"].get("camera", CAMERAS[0])
    noise = np.random.default_rng([ord(c) for c in point["hash"]])
    # Items are the same scenes under every condition: their offset is shared.
    shared = spread * np.random.default_rng(0).normal(size=study["items"])
    own = 0.2 * spread * noise.normal(size=study["items"])
    if row is not None:  # a seed is one model, tested everywhere
        own += 0.1 * spread * np.random.default_rng([ord(row["id"][1:]), point["seed"]]).normal()
    result: dict[str, Any] = {
        "schema": 1,
        "command": "study",
        "task": study["task"],
        "status": "failed" if broken else "ok",
        "error": "loss: expected a finite number, found nan at step 40." if broken else None,
        **{name: point[name] for name in ("row", "test", "seed")},
        "metrics": {},
        "bounds": {},
        "baselines": {},
        "seconds": {"train": 0.0 if row is None else 12.5, "evaluate": 0.75},
        "model": None,
    }
    items: dict[str, Any] = {}
    if row is None:
        level = expected_db(light, light, camera) + shared + own
        rivals = {name: _tallies(level + offset, study) for name, offset in RIVALS_DB.items()}
        bound = _tallies(level + 4, study)
        bound = {study["metric"]: bound[study["metric"]]}
        result["baselines"] = {name: _values(tallies) for name, tallies in rivals.items()}
        result["bounds"] = _values(bound)
        items = {"baselines": {name: _plain(tallies) for name, tallies in rivals.items()}, "bounds": _plain(bound)}
    elif not broken:
        tallies = _tallies(expected_db(row["levels"].get("light"), light, camera) + shared + own, study)
        result["metrics"], items = _values(tallies), {"tallies": _plain(tallies)}
        wide = 4 if row["kind"] == "help" else 1
        result["cost"] = {
            "parameters": 1000 * wide,
            "flops_per_px": 2000.0 * wide,
            "train_seconds": 12.5 * wide,
            "seconds_per_mpx": 0.5 * wide,
            "memory_mb": 64.0 * wide,
        }
        result["model"] = f"models/{row['id']}-{point['seed']}"
    (folder / "result.json").write_text(json.dumps(result, indent=1))
    if items:
        (folder / "items.json").write_text(json.dumps(items))
    if row is not None and point["seed"] == 0:
        truth = np.add.outer(np.arange(12.0), np.arange(16.0))
        np.savez(folder / "picture.npz", input=truth + noise.normal(size=truth.shape), output=truth + 1, truth=truth)


def _tallies(level_db: np.ndarray, study: dict[str, Any]) -> dict[str, Tally]:
    if study["better"] == "lower":  # two pairs in every item
        return {"rmse_nm": Tally(2 * (1000 * 10 ** (-level_db / 20)) ** 2, np.full_like(level_db, 2.0), "root")}
    return {"psnr_db": Tally(level_db), "ssim": Tally(1 - 10 ** (-level_db / 40))}


def _values(tallies: dict[str, Tally]) -> dict[str, float]:
    return {name: tally.value for name, tally in tallies.items()}


def _plain(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {name: tally.to_json() for name, tally in tallies.items()}
