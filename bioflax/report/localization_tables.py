"""The numbers of an evaluation of localizations as tables of its page."""

from __future__ import annotations

from typing import Any

from bioflax.report.page import Section, Table, number

COLUMNS = {
    "jaccard": ("Jaccard", 3),
    "recall": ("recall", 3),
    "precision": ("precision", 3),
    "rmse_lateral_nm": ("RMSE lateral (nm)", 1),
    "rmse_axial_nm": ("RMSE axial (nm)", 1),
    "bias_x_nm": ("bias x (nm)", 1),
    "bias_y_nm": ("bias y (nm)", 1),
    "bias_z_nm": ("bias z (nm)", 1),
    "rmse_over_crlb_x": ("RMSE / √CRLB x", 2),
    "robust_over_crlb_x": ("robust / √CRLB x", 2),
    "rmse_over_crlb_z": ("RMSE / √CRLB z", 2),
    "robust_over_crlb_z": ("robust / √CRLB z", 2),
    "efficiency_lateral": ("efficiency lateral (%)", 1),
    "efficiency_3d": ("efficiency 3-D (%)", 1),
}
FURTHER = {
    "true_positives": ("found", 0),
    "false_positives": ("false", 0),
    "false_negatives": ("missed", 0),
    "bound_lateral_nm": ("√CRLB of the found, lateral (nm)", 1),
    "bound_axial_nm": ("√CRLB of the found, axial (nm)", 1),
    "coverage_50": ("in 50 % intervals", 3),
    "coverage_68": ("in 68 %", 3),
    "coverage_95": ("in 95 %", 3),
    "error_over_sigma": ("std of error / spread", 2),
    "photon_correlation": ("correlation of photons", 3),
    "grid_ks_x": ("grid bias x (KS)", 3),
    "grid_ks_y": ("grid bias y (KS)", 3),
    "false_positives_per_um2": ("false on empty frames (1 / µm² frame)", 5),
}


def headline(summary: dict[str, Any], result: dict[str, Any]) -> dict[str, str]:
    """The few numbers on top of the page."""
    facts, main = summary["facts"], summary["methods"][summary["main"]]
    numbers = main["numbers"][summary["rule"]]
    shown = {"true emitters": number(facts["emitters"]), "frames": number(facts["frames"])}
    shown["density"] = number(facts["density_per_um2"], 2, "/ µm² frame")
    shown["Jaccard"] = number(numbers.get("jaccard"), 3)
    shown["RMSE lateral"] = number(numbers.get("rmse_lateral_nm"), 1, "nm")
    if numbers.get("rmse_axial_nm") is not None:
        shown["RMSE axial"] = number(numbers["rmse_axial_nm"], 1, "nm")
    if numbers.get("rmse_over_crlb_x") is not None:
        shown["RMSE / √CRLB x"] = number(numbers["rmse_over_crlb_x"], 2)
    if main.get("seconds") is not None:
        shown["time"] = number(1000 * main["seconds"] / max(facts["frames"], 1), 1, "ms / frame")
    if result.get("device"):
        shown["device"] = str(result["device"])
    return shown


def results(summary: dict[str, Any]) -> Section:
    """Methods and the bound by the main rule; then the other rules, and what else was measured."""
    methods, rule, bound = summary["methods"], summary["rule"], summary["bound"]
    of_rule = {name: entry["numbers"][rule] for name, entry in methods.items()}
    shown = [key for key in COLUMNS if any(values.get(key) is not None for values in of_rule.values())]
    rows = []
    for name, entry in methods.items():
        cells = []
        for key in shown:
            ends = entry["intervals"].get(key)
            span = (
                "" if ends is None else f" ({number(ends[0], COLUMNS[key][1])} to {number(ends[1], COLUMNS[key][1])})"
            )
            cells.append(number(of_rule[name].get(key), COLUMNS[key][1]) + span)
        rows.append([name, *cells])
    if bound:
        rows.append(["bound (√CRLB)", *(number(bound[key], COLUMNS[key][1]) if key in bound else "" for key in shown)])
    # Rows are numbers here: with one or two methods that reads better than a table twenty columns wide
    first = Table(
        ["", *(row[0] for row in rows)],
        [[COLUMNS[key][0], *(row[at + 1] for row in rows)] for at, key in enumerate(shown)],
        f"{summary['facts']['caption']} Pairs by the rule {rule}; in brackets 95 % intervals, frames resampled.",
    )
    rules = list(next(iter(methods.values()))["numbers"])
    keys = ("jaccard", "recall", "precision", "rmse_lateral_nm", "rmse_axial_nm", "efficiency_lateral", "efficiency_3d")
    keys = [key for key in keys if key in shown]
    second = Table(
        ["method", "rule of pairing", *(COLUMNS[key][0] for key in keys)],
        [
            [name, which, *(number(entry["numbers"][which].get(key), COLUMNS[key][1]) for key in keys)]
            for name, entry in methods.items()
            for which in rules
        ],
        "greedy: closest pair first, as the challenge; hungarian: most pairs of least total distance; nearest: each "
        "emitter in turn takes the closest prediction still free.",
        breaks=[at * len(rules) for at in range(1, len(methods))],
    )
    more = [key for key in FURTHER if any(values.get(key) is not None for values in of_rule.values())]
    third = Table(
        ["", *methods],
        [[FURTHER[key][0], *(number(values.get(key), FURTHER[key][1]) for values in of_rule.values())] for key in more],
        "Grid bias: largest distance of the distribution of sub-pixel offsets from an even one.",
    )
    return Section(
        "Results",
        "The bound is that of each emitter with its own light, its nearest neighbours as unknown as itself, in this "
        "one frame: a net that sees the frames before and after may lie below 1. RMSE is "
        "that of the found, among them wrong pairs; robust is 1.48 times the median deviation, which those do not move.",
        notices=[("note", text) for text in summary["notes"]],
        tables=[first, second, third],
    )
