"""Study folders that a page must survive: one row, one test, all failed, no rivals, names for levels, many rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.studies.tally import Tally
from tests.studies.synthetic import make_run


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Changes study.json in place."""
    path = folder / "study.json"
    study = json.loads(path.read_text())
    change(study)
    path.write_text(json.dumps(study))
    return folder


def keep(study: dict[str, Any], rows: set[str], tests: set[str], *, rivals: bool = True) -> None:
    """Leaves out all other rows and tests; without `rivals` also theirs."""
    study["rows"] = [row for row in study["rows"] if row["id"] in rows]
    study["tests"] = [test for test in study["tests"] if test["id"] in tests]
    study["points"] = [
        point
        for point in study["points"]
        if point["test"] in tests and (point["row"] in rows or (point["row"] is None and rivals))
    ]


def one_row(folder: Path) -> Path:
    return edit(make_run(folder), lambda study: keep(study, {"r1"}, {"t0", "t1", "t2", "t3", "t4"}))


def one_test(folder: Path) -> Path:
    return edit(make_run(folder), lambda study: keep(study, {"r0", "r1", "r2", "r3"}, {"t0"}))


def one_number(folder: Path) -> Path:
    """One row, one test, one seed, nothing beside it."""
    return edit(make_run(folder, seeds=1), lambda study: keep(study, {"r1"}, {"t0"}, rivals=False))


def without_rivals(folder: Path) -> Path:
    def change(study: dict[str, Any]) -> None:
        keep(study, {"r0", "r1", "r2", "r3"}, {"t0", "t1", "t2", "t3", "t4"}, rivals=False)
        study["baselines"] = []

    return edit(make_run(folder), change)


def one_seed(folder: Path) -> Path:
    return make_run(folder, seeds=1, failed=False)


def all_failed(folder: Path) -> Path:
    make_run(folder)
    for path in (folder / "points").glob("*/result.json"):
        result = json.loads(path.read_text())
        path.write_text(json.dumps(result | {"status": "failed", "error": "data: no space left."}))
        path.with_name("items.json").unlink(missing_ok=True)
    return folder


def names_only(folder: Path) -> Path:
    """Only the factor of names is swept; its reference sets nothing."""

    def change(study: dict[str, Any]) -> None:
        study["factors"]["camera"]["reference"] = None
        study["factors"]["camera"]["levels"] = ["hot pixels", "gain off by 2"]
        tests = {test["id"] for test in study["tests"] if "light" not in test["levels"]}
        keep(study, {"r1", "r3"}, tests)
        study["thresholds"] = [
            {"name": "gone", "factor": "camera", "metric": "psnr_db", "target": 20, "of": "absolute"}
        ]

    return edit(make_run(folder, second=True), change)


def architectures(folder: Path, count: int = 30) -> Path:
    """Many named rows, one test, no rivals; costs differ by a factor of 300."""
    rows = [
        {"id": f"r{k}", "name": f"network {'with a long name ' * (k % 4 == 0)}{k}", "kind": "train", "levels": {}}
        for k in range(count)
    ]
    return write_single(folder, rows, lambda k: 30 + 3 * np.log10(1 + k) + 0.4 * (-1) ** k, costs=True)


def images(folder: Path) -> Path:
    """Two factors that only trainings differ in: pictures and width; a help and a rival beside them."""
    levels, widths = [1, 4, 16, 64], [8, 32]
    rows = [
        {"id": f"r{k}", "name": f"images {n}, width {w}", "kind": "train", "levels": {"images": n, "width": w}}
        for k, (n, w) in enumerate((n, w) for n in levels for w in widths)
    ]
    rows.append({"id": "r8", "name": "pretrained", "kind": "help", "levels": {}})
    write_single(folder, rows, lambda k: 34.0 if k == 8 else 28 + 1.5 * np.log2(levels[k // 2]) / 2 + 0.5 * (k % 2))

    def change(study: dict[str, Any]) -> None:
        study["factors"] = {
            "images": {
                "label": "pictures",
                "unit": "pictures",
                "log": True,
                "levels": levels,
                "reference": 16,
                "set": [],
            },
            "width": {"label": "width", "unit": "", "log": True, "levels": widths, "reference": 32, "set": []},
        }

    return edit(folder, change)


def write_single(
    folder: Path, rows: list[dict[str, Any]], value: Callable[[int], float], *, costs: bool = False
) -> Path:
    """A study of these rows at the reference test alone, two seeds of six items."""
    make_run(folder)
    points = []
    for k, row in enumerate(rows):
        row["overrides"] = [f"model={k}"]
        for seed in range(2):
            points.append({"hash": f"{k:04d}-{seed}", "row": row["id"], "test": "t0", "seed": seed})
            place = folder / "points" / points[-1]["hash"]
            place.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([k, seed])
            tally = Tally(value(k) + np.linspace(-1, 1, 6) + 0.1 * noise.normal(size=6))
            cost = {"parameters": 1000 * (k + 1), "train_seconds": 5.0 + k}
            if costs:
                cost |= {
                    "seconds_per_mpx": 0.01 * 300 ** (k / len(rows)),
                    "flops_per_px": 1e3 * (k + 1),
                    "memory_mb": 10.0 + k,
                }
            known = {"schema": 1, "status": "ok", "error": None, "row": row["id"], "test": "t0", "seed": seed}
            known |= {"metrics": {"psnr_db": tally.value}, "bounds": {}, "baselines": {}, "cost": cost}
            known |= {"versions": {"jax": "0.10.2"}, "device": "cpu (x86_64, 2 cores)", "git": "0123456789abcdef"}
            known["seconds"] = {"train": cost["train_seconds"], "evaluate": 0.5}
            (place / "result.json").write_text(json.dumps(known))
            (place / "items.json").write_text(json.dumps({"tallies": {"psnr_db": tally.to_json()}}))

    def change(study: dict[str, Any]) -> None:
        study.update(
            rows=rows, points=points, tests=study["tests"][:1], factors={}, thresholds=[], baselines=[], more=[]
        )
        study.update(items=6, test_seed=1000)

    return edit(folder, change)


ALL = (
    one_row, one_test, one_number, without_rivals, one_seed, all_failed, names_only, architectures, images,
)  # fmt: skip
