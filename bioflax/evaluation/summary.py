"""From one row for each image and method to means, intervals, paired gains, the printed table and result.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from bioflax.evaluation.scoring import FINER, METRICS, Scoring
from bioflax.metrics import bootstrap, paired_bootstrap

KINDS = ("input", "baseline", "model", "bound")
CEILING = "reference_ceiling"

Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found; `entries()` goes into result.json.

    Args:
        rows: one for each item and method, the columns of table.csv.
        summary: for each method its kind, `seconds_per_megapixel` and `metrics`: {name: {mean, low, high, n}}, 95 %.
        versus: mean gain of the model over every other method, dB PSNR, paired by image, with interval.
        scoring: the protocol.
        harmed: items that the model made worse than the input.
    """

    rows: tuple[Row, ...]
    summary: dict[str, dict[str, Any]]
    versus: dict[str, dict[str, float]]
    scoring: Scoring
    harmed: tuple[str, ...]

    def entries(self) -> dict[str, Any]:
        """`metrics`, `baselines`, `bounds`, `intervals`, `protocol` and `per_item`, plain JSON."""
        means = {
            method: {name: value["mean"] for name, value in entry["metrics"].items()}
            for method, entry in self.summary.items()
        }
        of = {kind: {m: means[m] for m, e in self.summary.items() if e["kind"] == kind} for kind in KINDS}
        # `bounds` has the names of `metrics`: the tightest bound for each; which oracle gave it is in summary.json.
        oracles = [method for method in of["bound"] if method != CEILING]
        best = max(oracles, key=lambda method: of["bound"][method].get("psnr_db", -np.inf), default=None)
        return {
            "metrics": of["model"].get("model", {}),
            "bounds": of["bound"].get(best, {}),
            "baselines": {**of["input"], **of["baseline"]},
            "bounds_by_method": of["bound"],
            "intervals": {
                name: [value["low"], value["high"]]
                for name, value in self.summary.get("model", {"metrics": {}})["metrics"].items()
            },
            "gain_db": self.versus,
            "protocol": self.scoring.caption,
            "items": len({row["item"] for row in self.rows}),
            "per_item": "table.csv",
        }

    def table(self) -> Table:
        """The one table: input, baselines, model, bounds."""
        table = Table(
            caption=self.scoring.caption,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for heading in ("method", "PSNR dB", "95 % interval", "gain dB", "SI-PSNR", "SSIM", "s/Mpx"):
            table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
        base = self.summary["input"]["metrics"].get("psnr_db", {}).get("mean")
        kind = "input"
        for method, entry in self.summary.items():
            if entry["kind"] != kind:
                table.add_section()
                kind = entry["kind"]
            mean = {name: value["mean"] for name, value in entry["metrics"].items()}
            psnr = entry["metrics"].get("psnr_db", dict.fromkeys(("mean", "low", "high")))
            span = "" if psnr["low"] is None else f"{psnr['low']:.2f} - {psnr['high']:.2f}"
            gain = "" if method == "input" or None in (base, psnr["mean"]) else f"{psnr['mean'] - base:+.2f}"
            shown = [(mean.get("psnr_db"), 2), (mean.get("si_psnr_db"), 2), (mean.get("ssim"), 3)]
            shown.append((entry["seconds_per_megapixel"], 3))
            text = ["" if value is None else f"{value:.{digits}f}" for value, digits in shown]
            style = "bold" if entry["kind"] == "model" else None
            table.add_row(method, text[0], span, gain, *text[1:], style=style)
        return table


def summarise(rows: Sequence[Row], scoring: Scoring) -> EvaluationResult:
    """Means with bootstrap intervals over whole groups, and the paired gains of the model."""
    by_method: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (KINDS.index(row["kind"]), row["method"] == CEILING)):
        by_method.setdefault(row["method"], []).append(row)
    summary = {}
    for method, own in by_method.items():
        # The first call of a model compiles it; with more than one image that is no measure of its speed.
        timed = [row["seconds_per_megapixel"] for row in own if row["seconds_per_megapixel"] is not None]
        timed = timed[1:] or timed
        summary[method] = {
            "kind": own[0]["kind"],
            "metrics": {name: mean_of(own, name) for name in (*METRICS, *FINER) if finite(own, name)},
            "seconds_per_megapixel": float(np.median(timed)) if timed else None,
        }
    model = {row["item"]: row for row in by_method.get("model", [])}
    versus = {method: gain_of(model, own) for method, own in by_method.items() if method not in ("model", CEILING)}
    noisy = {row["item"]: row["psnr_db"] for row in by_method["input"]}
    harmed = tuple(item for item, row in model.items() if row["psnr_db"] < noisy[item])
    return EvaluationResult(tuple(rows), summary, {m: g for m, g in versus.items() if g}, scoring, harmed)


def finite(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows that have a finite value of a metric."""
    return [row for row in rows if row.get(name) is not None and np.isfinite(row[name])]


def mean_of(rows: Sequence[Row], name: str) -> dict[str, float | int | None]:
    """Mean and 95 % interval of one metric over the images that have it."""
    known = finite(rows, name)
    values = [row[name] for row in known]
    return {"mean": float(np.mean(values)), **interval(bootstrap(values, groups=groups_of(known))), "n": len(values)}


def gain_of(model: dict[str, Row], others: Sequence[Row]) -> dict[str, float | int | None]:
    """Mean PSNR gain of the model over another method on the same images, dB; empty without common finite values."""
    pairs = [(model[row["item"]], row) for row in finite(others, "psnr_db") if row["item"] in model]
    pairs = [(mine, other) for mine, other in pairs if np.isfinite(mine["psnr_db"])]
    if not pairs:
        return {}
    mine, other = ([row["psnr_db"] for row in side] for side in zip(*pairs))
    low_high = paired_bootstrap(mine, other, groups=groups_of([row for row, _ in pairs]))
    return {"mean": float(np.mean(np.subtract(mine, other))), **interval(low_high), "n": len(pairs)}


def groups_of(rows: Sequence[Row]) -> list[str]:
    """Captures of one field are not independent: they are resampled together."""
    return [row["group"] or row["item"] for row in rows]


def interval(low_high: tuple[float, float]) -> dict[str, float | None]:
    """JSON knows no NaN: an interval that one group cannot give is null."""
    return {name: float(value) if np.isfinite(value) else None for name, value in zip(("low", "high"), low_high)}
