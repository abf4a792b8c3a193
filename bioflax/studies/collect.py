"""Reads the folder of a study, point by point, and writes its scores as one table."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.runs import write_text
from bioflax.studies.results import Failure, Results, RowInfo, TestInfo
from bioflax.studies.tally import Tally, stack

__all__ = ["Failure", "Results", "RowInfo", "TestInfo", "collect", "write_table"]

SCHEMA = 1
BOUND, COMMAND = "bound", "study"
NEEDED = ("name", "metric", "better", "factors", "rows", "tests", "points")
Cell = dict[int | None, dict[str, Tally]]


def collect(run_dir: str | Path) -> Results:
    """Reads what a study has left in its folder; a point without a sound result becomes a `Failure`.

    Args:
        run_dir: folder with study.json and points/.

    Returns:
        Everything found. Points that study.json does not name are left out.

    Raises:
        InputError: no study.json, or one that cannot be read.
    """
    folder = Path(run_dir)
    study = _read_study(folder / "study.json")
    rows = {row["id"]: RowInfo(row["id"], row["name"], row["kind"], *_places(row)) for row in study["rows"]}
    tests = {test["id"]: TestInfo(test["id"], test["name"], *_places(test)) for test in study["tests"]}
    cells: dict[tuple[str, str], Cell] = {}
    costs: dict[str, list[Mapping[str, Any]]] = {}
    failed, pictures = [], {}
    for point in study["points"]:
        row, place = rows.get(point["row"]), folder / "points" / str(point["hash"])
        try:
            result = _read_result(place, point, row)
            found = _read_items(place, row)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            failed.append(Failure(row and row.name, point["test"], point["seed"], _say(error)))
            continue
        for name, tallies in found.items():
            cells.setdefault((name, point["test"]), {})[point["seed"]] = tallies
        if row is not None:
            costs.setdefault(row.name, []).append(result.get("cost") or {})
            if (place / "picture.npz").is_file():
                pictures.setdefault((row.name, point["test"]), place / "picture.npz")
    failed += _drop_other_items(cells, {row.name for row in rows.values()})
    tallies, seeds = _join(cells)
    return Results(
        study,
        (*rows.values(), *_find_rivals(study, cells, {row.name for row in rows.values()})),
        tuple(tests.values()),
        tallies,
        tuple(failed),
        {name: _median(found) for name, found in costs.items()},
        pictures,
        seeds,
    )


def write_table(results: Results, path: str | Path) -> None:
    """Writes every score as a long table, one line a row, test and seed; it has nothing of the time or the machine.

    Args:
        results: of `collect`.
        path: the CSV file, replaced whole.
    """
    factors = list(results.study["factors"])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    sides = [f"{side}_{name}" for side in ("train", "test") for name in factors]
    table.writerow(["row", "kind", *sides, "seed", "status", *results.metrics])
    failed = {(failure.row, failure.test, failure.seed) for failure in results.failed}
    for row in results.rows:
        # A mitigation has no level of its own unless it says so: trained over all light is not trained at one
        at = results.trained_at if row.kind == "train" else lambda info, name: info.levels.get(name)
        trained = [at(row, name) for name in factors]
        model = row.kind in ("train", "help")
        for test in results.tests:
            seeds = results.seeds.get((row.name, test.id), ())
            lost = [s for r, t, s in failed if (r, t) == (row.name if model else None, test.id)]
            for seed in sorted({*seeds, *lost}, key=_seed_order):
                values = [_value(results, row.name, test.id, seed, metric) for metric in results.metrics]
                levels = [*trained, *(results.level(test, name) for name in factors)]
                status = "ok" if seed in seeds else "failed"
                table.writerow([row.name, row.kind, *map(_cell, levels), _cell(seed), status, *map(_cell, values)])
    write_text(Path(path), text.getvalue())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError:
        raise InputError(f"{path.parent.name}/{path.name}: cannot be read. Run the study again to make it.") from None
    except ValueError:
        raise InputError(f"{path.parent.name}/{path.name}: not JSON. Remove it and run the study again.") from None


def _read_study(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"run_dir: no study.json in {path.parent}. Give the folder that `bioflax study` wrote.")
    study = _read_json(path)
    if not isinstance(study, dict) or study.get("schema") != SCHEMA or any(name not in study for name in NEEDED):
        raise InputError(f"{path}: expected a study of schema {SCHEMA} with {', '.join(NEEDED)}. Run the study again.")
    return study


def _places(entry: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    return dict(entry.get("levels") or {}), tuple(entry.get("overrides") or ())


def _read_result(place: Path, point: Mapping[str, Any], row: RowInfo | None) -> dict[str, Any]:
    """result.json, if it is of this point and went well; the folder's hash says which, ids change as a study grows."""
    result = _read_json(place / "result.json")
    if row is None and point["row"] is not None:
        raise InputError(f"points: row {point['row']!r} is not in study.json. Run the study again.")
    model = result["row"] is not None
    if result.get("command", COMMAND) != COMMAND or model != (row is not None) or result["seed"] != point["seed"]:
        raise InputError(f"{place.name}/result.json: not of this point. Remove it and run the study again.")
    if result["status"] != "ok":
        raise InputError(result.get("error") or "failed without a word")
    return result


def _read_items(place: Path, row: RowInfo | None) -> dict[str, dict[str, Tally]]:
    """Sums of a point: of the model, or of each rival and the bound."""
    items = _read_json(place / "items.json")
    found = {row.name: items["tallies"]} if row else {**items.get("baselines", {}), BOUND: items.get("bounds", {})}
    sums = {n: {metric: Tally.from_json(tally) for metric, tally in kept.items()} for n, kept in found.items() if kept}
    if any(tally.numerator.ndim != 1 for tallies in sums.values() for tally in tallies.values()):
        raise InputError(
            f"{place.name}/items.json: expected sums (N,) of one model. Remove it and run the study again."
        )
    return sums


def _drop_other_items(cells: Mapping[tuple[str, str], Cell], models: set[str]) -> list[Failure]:
    """Takes out points that were not judged on as many items as the others: they cannot be paired."""
    sizes = {
        (*key, seed): {tally.numerator.size for tally in tallies.values()}
        for key, cell in cells.items()
        for seed, tallies in cell.items()
    }
    if not sizes:
        return []
    usual = Counter(size for found in sizes.values() for size in found).most_common(1)[0][0]
    failed = {}
    for (name, test, seed), found in sizes.items():
        if found != {usual}:
            del cells[name, test][seed]
            row = name if name in models else None
            error = f"items: expected {usual} as in the other points, found {sorted(found)}. Run the point again."
            failed[row, test, seed] = Failure(row, test, seed, error)
    return list(failed.values())


def _join(cells: Mapping[tuple[str, str], Cell]) -> tuple[dict[Any, Tally], dict[Any, tuple[int | None, ...]]]:
    """The seeds of each cell as one tally a metric."""
    tallies, seeds = {}, {}
    for key, cell in cells.items():
        if not cell:
            continue
        order = sorted(cell, key=_seed_order)
        seeds[key] = tuple(order)
        for metric in cell[order[0]]:
            if all(metric in found for found in cell.values()):
                tallies[*key, metric] = stack([cell[seed][metric] for seed in order])
    return tallies, seeds


def _find_rivals(study: Mapping[str, Any], cells: Iterable[tuple[str, str]], models: set[str]) -> list[RowInfo]:
    found = sorted({name for name, _ in cells} - models)
    rivals = dict.fromkeys([*study.get("baselines", ()), *(name for name in found if name != BOUND)])
    rows = [RowInfo(name, name, "rival") for name in rivals]
    return [*rows, RowInfo(BOUND, BOUND, "bound")] if BOUND in found else rows


def _median(costs: list[Mapping[str, Any]]) -> dict[str, float]:
    """Of each cost over the points of a row; the first point of a process pays for compilation."""
    names = dict.fromkeys(name for cost in costs for name in cost)
    known = {name: [cost[name] for cost in costs if isinstance(cost.get(name), (int, float))] for name in names}
    return {name: statistics.median(found) for name, found in known.items() if found}


def _seed_order(seed: int | None) -> int:
    return -1 if seed is None else seed


def _value(results: Results, row: str, test: str, seed: int | None, metric: str) -> float | None:
    tally, seeds = results.tally(row, test, metric), results.seeds.get((row, test), ())
    if tally is None or seed not in seeds:
        return None
    value = float(tally.by_seed[seeds.index(seed)])
    return value if np.isfinite(value) else None


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _say(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
