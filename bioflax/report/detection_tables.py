"""The numbers of an evaluation of detections as tables of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bioflax.report.page import Section, Table, duration, number

OBJECTS = {
    "ap50": ("AP50", 3),
    "ap75": ("AP75", 3),
    "mean_ap": ("mean AP, IoU 0.5 to 0.9", 3),
    "f1_50": ("F1", 3),
    "precision_50": ("precision", 3),
    "recall_50": ("recall", 3),
    "pq": ("PQ", 3),
    "mean_matched_iou": ("mean IoU of pairs", 3),
}
SHARED = {
    "true_positives": ("found", 0),
    "false_positives": ("false alarms", 0),
    "false_negatives": ("missed", 0),
    "n_true": ("true number", 0),
    "n_predicted": ("predicted number", 0),
    "count_error": ("mean error of the number in an image", 1),
    "count_bias": ("relative error of the number of all", 3),
}
OBJECT_SIZES = {
    "size_error": ("median error of the area, relative", 3),
    "size_bias": ("median bias of the area, relative", 3),
    "diameter_bias_px": ("bias of the diameter (px)", 2),
    "diameter_rmse_px": ("RMSE of the diameter (px)", 2),
    "diameter_bias_nm": ("bias of the diameter (nm)", 0),
    "diameter_rmse_nm": ("RMSE of the diameter (nm)", 0),
}
POINTS_MORE = {
    "f1_integral": ("F1 integral, 0 to 3 px", 3),
    "rmse_px": ("RMSE of pairs (px)", 3),
    "rmse_nm": ("RMSE of pairs (nm)", 1),
    "false_positives_per_megapixel": ("false alarms / megapixel", 2),
    "false_positives_per_um2": ("false alarms / µm²", 5),
    "empty_false_positives_per_megapixel": ("false alarms / megapixel, empty images", 2),
    "empty_false_positives_per_um2": ("false alarms / µm², empty images", 5),
}
LISTED = 200  # images in the folded table


def noun(summary: dict[str, Any]) -> str:
    return "objects" if summary["kind"] == "objects" else "spots"


def labels_of(summary: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Numbers in the order of the table -> (words, digits)."""
    if summary["kind"] == "objects":
        means = {f"{key}_image_mean": (f"{words}, mean of images", n) for key, (words, n) in OBJECTS.items()}
        return {**OBJECTS, **means, **SHARED, **OBJECT_SIZES}
    distances = [f"{value:g}" for value in summary["facts"]["thresholds"]]
    rates = {
        f"{key}_{d}px": (f"{words} at {d} px", 3)
        for key, words in (("f1", "F1"), ("precision", "precision"), ("recall", "recall"), ("jaccard", "Jaccard"))
        for d in distances
    }
    means = {f"f1_{d}px_image_mean": (f"F1 at {d} px, mean of images", 3) for d in distances}
    return {**rates, **means, **POINTS_MORE, **SHARED}


def first_of(summary: dict[str, Any]) -> tuple[str, str]:
    """The number that ranks, and its words."""
    if summary["kind"] == "objects":
        return "ap50", "AP50"
    most = f"{summary['facts']['thresholds'][-1]:g}"
    return f"f1_{most}px", f"F1 at {most} px"


def headline(summary: dict[str, Any], result: dict[str, Any]) -> dict[str, str]:
    """The few numbers on top of the page."""
    facts, main = summary["facts"], summary["methods"][summary["main"]]
    numbers, (first, words) = main["numbers"], first_of(summary)
    shown = {"images": number(facts["images"]), f"true {noun(summary)}": number(facts["n_true"])}
    shown[words] = number(numbers.get(first), 3)
    more = (
        {"ap75": ("AP75", 3), "f1_50": ("F1", 3), "pq": ("PQ", 3)}
        if summary["kind"] == "objects"
        else {"f1_integral": ("F1 integral", 3), "rmse_px": ("RMSE (px)", 2)}
    )
    shown |= {label: number(numbers.get(name), digits) for name, (label, digits) in more.items()}
    rivals = {name: entry["numbers"].get(first) for name, entry in summary["methods"].items() if entry is not main}
    rivals = {name: value for name, value in rivals.items() if value is not None}
    if rivals and numbers.get(first) is not None:
        best = max(rivals, key=lambda name: rivals[name])
        shown[f"ahead of {best.replace('_', ' ')}"] = f"{numbers[first] - rivals[best]:+.3f}"
    if main.get("seconds") is not None:
        shown["time"] = duration(main["seconds"])
    if result.get("device"):
        shown["device"] = str(result["device"])
    return shown


def results(summary: dict[str, Any]) -> Section:
    """Model, baselines and bound side by side."""
    methods, bound, labels = summary["methods"], summary["bound"], labels_of(summary)
    shown = [key for key in labels if any(entry["numbers"].get(key) is not None for entry in methods.values())]
    rows = []
    for key in shown:
        words, digits = labels[key]
        cells = []
        for entry in methods.values():
            ends = entry["intervals"].get(key)
            span = "" if ends is None else f" ({number(ends[0], digits)} to {number(ends[1], digits)})"
            cells.append(number(entry["numbers"].get(key), digits) + span)
        rows.append([words, *cells, number(bound[key], digits) if key in bound else ""])
    first = first_of(summary)[0]
    breaks = [at for at, key in enumerate(shown) if key in (f"{first}_image_mean", "true_positives", "size_error")]
    groups = summary["facts"].get("groups")
    grouped = f"whole groups of images ({groups})" if groups else "images"
    return Section(
        "Results",
        f"In brackets: 95 % intervals of means over images; {grouped} are resampled.",
        notices=[("note", text) for text in summary["notes"]],
        tables=[
            Table(["", *methods, "bound"], rows, summary["facts"]["caption"], [shown.index(first)], breaks),
        ],
    )


def image_columns(summary: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Columns of a row of table.csv that the page shows."""
    shared = {
        "n_true": ("true", 0),
        "n_predicted": ("predicted", 0),
        "false_negatives": ("missed", 0),
        "false_positives": ("false alarms", 0),
    }
    first, words = first_of(summary)
    if summary["kind"] == "objects":
        more = {"ap75": ("AP75", 3), "f1_50": ("F1", 3), "mean_matched_iou": ("IoU of pairs", 3)}
        return {first: (words, 3), **more, **shared, "diameter_error_px": ("diameter off by (px)", 2)}
    return {first: (words, 3), "f1_integral": ("F1 integral", 3), "rmse_px": ("RMSE (px)", 2), **shared}


def worst_table(summary: dict[str, Any], rows: list[dict[str, Any]], names: Sequence[str]) -> Table:
    """The numbers of the images of lowest score, in that order; last what the best other method scored there."""
    columns, first = image_columns(summary), first_of(summary)[0]
    own = {row["item"]: row for row in rows if row["method"] == summary["main"]}
    others: dict[str, float] = {}
    for row in rows:
        if row["method"] != summary["main"] and row[first] is not None:
            others[row["item"]] = max(row[first], others.get(row["item"], row[first]))
    cells = [
        [name, *(whole(own[name].get(key), digits) for key, (_, digits) in columns.items())]
        + ([number(others.get(name), 3)] if others else [])
        for name in names
        if name in own
    ]
    more = [f"{columns[first][0]}, best baseline"] if others else []
    return Table(["image", *(words for words, _ in columns.values()), *more], cells)


def by_image(summary: dict[str, Any], rows: list[dict[str, Any]]) -> Section:
    """The number that ranks for every image and method, folded away."""
    first, words = first_of(summary)
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        table.setdefault(str(row["item"]), {})[row["method"]] = row
    methods = list(summary["methods"])
    cells = [
        [item, *(number(of[name][first], 3) for name in methods), whole(of[methods[0]]["n_true"], 0)]
        + [whole(of[name]["n_predicted"], 0) for name in methods]
        for item, of in list(table.items())[:LISTED]
    ]
    headings = ["image", *(f"{words}, {name}" for name in methods), "true number", *(f"number, {n}" for n in methods)]
    more = f"The first {LISTED} of {len(table)}; all are in table.csv." if len(table) > LISTED else ""
    return Section("Image by image", tables=[Table(headings, cells, more)], folded=True)


def whole(value: float | None, digits: int) -> str:
    """Counts come from a table of text as floats."""
    return number(int(value) if digits == 0 and value is not None else value, digits)
