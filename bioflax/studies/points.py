"""What the points of a study say of themselves: versions, device, commit, steps and time, for a page or a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.report.files import read_json


@dataclass(frozen=True)
class Facts:
    """Of all points together.

    Attributes:
        found: points with a result file, good or failed.
        planned: points that study.json names.
        versions: package -> versions that were seen, one where all points agree.
        devices, commits: those that were seen.
        train_seconds, evaluate_seconds: summed.
    """

    found: int = 0
    planned: int = 0
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0


def read_facts(folder: Path, study: Mapping[str, Any]) -> Facts:
    """Reads result.json of every point; a damaged one is left out."""
    results = []
    for point in study["points"]:
        try:
            result = read_json(folder / "points" / point["hash"] / "result.json")
        except InputError:
            continue
        if result:
            results.append(result)
    versions: dict[str, set[str]] = {}
    for result in results:
        for name, value in (result.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(value))
    spent = {
        kind: sum(float((result.get("seconds") or {}).get(kind) or 0.0) for result in results)
        for kind in ("train", "evaluate")
    }
    return Facts(
        len(results),
        len(study["points"]),
        {name: tuple(sorted(seen)) for name, seen in versions.items()},
        seen_in(results, "device"),
        seen_in(results, "git"),
        spent["train"],
        spent["evaluate"],
    )


def seen_in(results: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """Values of a field, each once."""
    return tuple(dict.fromkeys(str(result[name]) for result in results if result.get(name)))
