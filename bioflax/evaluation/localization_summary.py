"""What an evaluation of localizations found: its entries for result.json, the printed table, and its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from bioflax.io.aside import written_aside
from bioflax.metrics import MATCHING_RULES

RULE = MATCHING_RULES[0]  # the one of the challenge, and of every number that is quoted alone

Numbers = dict[str, float]


@dataclass(frozen=True)
class LocalizationResult:
    """An evaluation; `entries()` goes into result.json.

    Args:
        main: the method that is judged; all others are baselines.
        methods: for each its `numbers` {rule: {name: value}}, 95 % `intervals` {name: [low, high]} and `seconds`.
        bound: the numbers of the best possible localizer, {} where no spot is known.
        facts: `caption`, `frames`, `emitters`, `size_nm`, `pixel_nm` and the like.
        notes: what a reader must know: what was left out or taken from elsewhere, and why.
    """

    main: str
    methods: dict[str, dict[str, Any]]
    bound: Numbers
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()

    def entries(self) -> dict[str, Any]:
        """`metrics`, `bounds`, `baselines`, `intervals`, `matching`, `protocol`, `items` and `per_item`, plain JSON."""
        flat = {name: entry["numbers"][RULE] for name, entry in self.methods.items()}
        return plain(
            {
                "metrics": flat[self.main],
                "bounds": self.bound,
                "baselines": {name: numbers for name, numbers in flat.items() if name != self.main},
                "intervals": self.methods[self.main]["intervals"],
                "matching": {name: entry["numbers"] for name, entry in self.methods.items()},
                "protocol": self.facts["caption"],
                "items": self.facts["emitters"],
                "notes": list(self.notes),
                "per_item": "table.csv",
            }
        )

    def table(self) -> Table:
        """One row for each method, and the bound."""
        table = Table(
            caption=f"RMSE in nm; /√CRLB: RMSE over the bound. {self.facts['caption']}",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        headings = ["method", "Jaccard [95 %]", "recall", "prec.", "lateral", "axial", "/√CRLB", "eff. %"]
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
        for name, entry in self.methods.items():
            numbers = entry["numbers"][RULE]
            ends = entry["intervals"].get("jaccard")
            jaccard = show(numbers.get("jaccard"), 3) + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")
            cells = [show(numbers.get(key), digits) for key, digits in (("recall", 3), ("precision", 3))]
            cells += [show(numbers.get(f"rmse_{axis}_nm"), 1) for axis in ("lateral", "axial")]
            cells += [show(over_bound(numbers), 2), show(efficiency_of(numbers), 1)]
            table.add_row(name, jaccard, *cells, style="bold" if name == self.main else None)
        if self.bound:
            table.add_section()
            cells = [show(self.bound.get(f"rmse_{axis}_nm"), 1) for axis in ("lateral", "axial")]
            table.add_row("bound", "", "", "", *cells, "1.00", "")
        return table

    def write(self, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes table.csv (a row for each method and rule), summary.json and curves.npz, each aside and then renamed."""
        rows = [
            {"method": name, "rule": rule, **numbers, **(interval_columns(entry) if rule == RULE else {})}
            for name, entry in self.methods.items()
            for rule, numbers in entry["numbers"].items()
        ]
        rows += [{"method": "bound", "rule": "", **self.bound}] if self.bound else []
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with written_aside(folder / "table.csv") as aside, aside.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, columns, restval="")
            table.writeheader()
            for row in plain(rows):
                table.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})
        with written_aside(folder / "curves.npz") as aside, aside.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        facts = {
            "schema": 1,
            "task": "localize",
            "main": self.main,
            "rule": RULE,
            "facts": self.facts,
            "methods": self.methods,
            "bound": self.bound,
            "notes": list(self.notes),
        }
        with written_aside(folder / "summary.json") as aside:
            aside.write_text(json.dumps(plain(facts), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def over_bound(numbers: Mapping[str, float | None]) -> float | None:
    """RMSE over the bound, root mean square of the axes; 1 is the best possible."""
    known = [numbers.get(f"rmse_over_crlb_{axis}") for axis in "xyz"]
    known = [value for value in known if value is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else None


def efficiency_of(numbers: Mapping[str, float | None]) -> float | None:
    """That in 3-D where there is one."""
    return numbers.get("efficiency_3d", numbers.get("efficiency_lateral"))


def interval_columns(entry: Mapping[str, Any]) -> Numbers:
    """Intervals as columns `<name>_low` and `<name>_high`."""
    return {f"{name}_{end}": v for name, ends in entry["intervals"].items() for end, v in zip(("low", "high"), ends)}


def show(value: float | None, digits: int) -> str:
    """A number for the printed table; nothing where there is none."""
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def plain(value: Any) -> Any:
    """To JSON types; JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {str(name): plain(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child) for child in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
