"""What an evaluation of detections found: its entries for result.json, the printed table, and its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from bioflax.evaluation.localization_summary import plain, show
from bioflax.io.aside import written_aside
from bioflax.metrics import bootstrap

Row = dict[str, Any]
Numbers = dict[str, float]

OBJECTS, POINTS = "objects", "points"
PICTURES = "pictures.npz"
# Printed columns of objects, no more than 80 characters hold: (number, heading, digits)
OBJECT_COLUMNS = (
    ("ap75", "AP75", 3),
    ("mean_ap", "mAP", 3),
    ("precision_50", "prec.", 3),
    ("recall_50", "recall", 3),
    ("pq", "PQ", 3),
)


@dataclass(frozen=True)
class DetectionResult:
    """An evaluation; `entries()` goes into result.json.

    Args:
        main: the method that is judged; all others are baselines.
        kind: `objects` or `points`.
        methods: for each its `numbers` {name: value}, 95 % `intervals` {name: [low, high]}, `curves` over the threshold
            {`pooled`, `image_mean`: {name: [..]}} and `seconds`.
        bound: what the truth itself would score.
        facts: `caption`, `images`, `n_true`, `thresholds`, `pixel_nm` and the like.
        rows: one for each image and method, the columns of table.csv.
        notes: what a reader must know.
    """

    main: str
    kind: str
    methods: dict[str, dict[str, Any]]
    bound: dict[str, float]
    facts: dict[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def entries(self) -> dict[str, Any]:
        """`metrics`, `bounds`, `baselines`, `intervals`, `protocol`, `items`, `notes` and `per_item`, plain JSON."""
        flat = {name: entry["numbers"] for name, entry in self.methods.items()}
        return plain(
            {
                "metrics": flat[self.main],
                "bounds": self.bound,
                "baselines": {name: numbers for name, numbers in flat.items() if name != self.main},
                "intervals": self.methods[self.main]["intervals"],
                "protocol": self.facts["caption"],
                "items": self.facts["images"],
                "notes": list(self.notes),
                "per_item": "table.csv",
            }
        )

    def table(self) -> Table:
        """One row for each method, and the bound."""
        first, columns = self.columns()
        table = Table(
            caption=self.facts["caption"],
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        headings = ["method", first[1], "image mean [95 %]", *(heading for _, heading, _ in columns)]
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
        for name, entry in self.methods.items():
            numbers, mean = entry["numbers"], f"{first[0]}_image_mean"
            ends = entry["intervals"].get(mean)
            span = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
            cells = [show(numbers.get(first[0]), first[2]), show(numbers.get(mean), 2) + span]
            cells += [show(numbers.get(key), digits) for key, _, digits in columns]
            table.add_row(name, *cells, style="bold" if name == self.main else None)
        table.add_section()
        bound = [show(self.bound.get(key), digits) for key, _, digits in columns]
        table.add_row("bound", show(self.bound.get(first[0]), first[2]), "", *bound)
        return table

    def columns(self) -> tuple[tuple[str, str, int], tuple[tuple[str, str, int], ...]]:
        """The number that ranks, and the others of the printed table, each (number, heading, digits)."""
        if self.kind == OBJECTS:
            return ("ap50", "AP50", 3), OBJECT_COLUMNS
        *smaller, most = (f"{distance:g}px" for distance in self.facts["thresholds"])
        return (f"f1_{most}", f"F1 {most}", 3), (
            *((f"f1_{distance}", f"F1 {distance}", 3) for distance in smaller),
            (f"precision_{most}", "prec.", 3),
            (f"recall_{most}", "recall", 3),
            ("f1_integral", "int.", 3),
            ("rmse_px", "RMSE", 2),
        )

    def write(self, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes table.csv (a row for each image and method), pictures.npz and summary.json, aside and then renamed."""
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        with written_aside(folder / "table.csv") as aside, aside.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, columns, restval="")
            table.writeheader()
            for row in plain(self.rows):
                table.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})
        with written_aside(folder / PICTURES) as aside, aside.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        facts = {
            "schema": 1,
            "task": "detect",
            "kind": self.kind,
            "main": self.main,
            "facts": self.facts,
            "methods": self.methods,
            "bound": self.bound,
            "notes": list(self.notes),
        }
        with written_aside(folder / "summary.json") as aside:
            aside.write_text(json.dumps(plain(facts), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def image_means(rows: Sequence[Row], names: Sequence[str]) -> dict[str, float]:
    """`<name>_image_mean` of the columns of one method; an image without a value does not count."""
    return {f"{name}_image_mean": mean([row[name] for row in rows]) for name in names}


def image_intervals(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[float]]:
    """95 % intervals of those means: images, or whole groups of them, are resampled; left out where one group is all."""
    found = {}
    for name in names:
        known = [row for row in rows if np.isfinite(row[name])]
        if known:
            groups = [row["group"] or f"image {row['item']}" for row in known]
            found[f"{name}_image_mean"] = list(bootstrap([row[name] for row in known], groups=groups))
    return {name: ends for name, ends in found.items() if np.isfinite(ends).all()}


def count_numbers(rows: Sequence[Row]) -> dict[str, float]:
    """How the numbers of an image agree: `n_true`, `n_predicted`, mean absolute `count_error`, relative `count_bias`."""
    true, predicted = (np.array([row[name] for row in rows], float) for name in ("n_true", "n_predicted"))
    return {
        "n_true": int(true.sum()),
        "n_predicted": int(predicted.sum()),
        "count_error": float(np.abs(predicted - true).mean()),
        "count_bias": float((predicted.sum() - true.sum()) / true.sum()) if true.sum() else float("nan"),
    }


def mean(values: Sequence[float]) -> float:
    """Of the finite values; NaN where there is none."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def ratio(part: float, whole: float) -> float:
    """NaN for nothing over nothing."""
    return float(part / whole) if whole else float("nan")
