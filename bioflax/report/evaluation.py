"""The page of an evaluation, from summary.json, table.csv, crops.npz and, where there is one, result.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.report import curves, figures
from bioflax.report.files import read_arrays, read_json, read_table
from bioflax.report.page import Figure, Page, Section, Table, number, write_page

COLUMNS = {
    "psnr_db": ("PSNR (dB)", 2),
    "si_psnr_db": ("SI-PSNR (dB)", 2),
    "ssim": ("SSIM", 3),
    "nrmse": ("NRMSE", 4),
    "frc_resolution_px": ("FRC (px)", 2),
    "coverage_95": ("coverage of 95 %", 3),
    "ence": ("ENCE", 3),
}
LISTED = 200  # images in the folded table


def render_evaluation(run_dir: str | os.PathLike) -> Path:
    """Renders the evaluation in a folder again.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no summary.json, or a file is damaged.
    """
    folder = Path(run_dir)
    summary, rows = read_json(folder / "summary.json"), read_table(folder / "table.csv")
    if not summary or not rows:
        raise InputError(
            f"dir: no summary.json and table.csv in {folder}. Run bioflax evaluate run_dir={folder} first."
        )
    arrays, result = read_arrays(folder / "crops.npz"), read_json(folder / "result.json")
    items = len({row["item"] for row in rows})
    flat = sum(row["method"] == "input" and np.isnan(row["si_psnr_db"] or 0.0) for row in rows)
    page = Page(
        title=f"Evaluation: {Path(str(result.get('model') or folder)).name}",
        subtitle=f"{items} images. {summary['protocol']}",
        facts=headline(summary, result, items),
        sections=[table_of(summary, flat), *pictures(arrays), *detail(arrays), per_image(rows)],
    )
    return write_page(page, folder)


def headline(summary: dict[str, Any], result: dict[str, Any], items: int) -> dict[str, str]:
    """The few numbers on top of the page."""
    methods, versus = summary["methods"], summary["gain_db"]
    facts = {"images": number(items)}
    model = methods.get("model", {})
    if "psnr_db" in model.get("metrics", {}):
        facts["model PSNR"] = number(model["metrics"]["psnr_db"]["mean"], 2, "dB")
    rivals = {"input": "gain over the input"}
    for kind, words in (("baseline", "gain over the best filter"), ("bound", "gain over the best linear oracle")):
        named = [name for name in methods if methods[name]["kind"] == kind and name in versus]
        if named:
            rivals[min(named, key=lambda name: versus[name]["mean"])] = words
    facts |= {words: f"{versus[name]['mean']:+.2f} dB" for name, words in rivals.items() if name in versus}
    facts["images made worse"] = number(len(summary["harmed"]))
    if model.get("seconds_per_megapixel") is not None:
        facts["time"] = number(model["seconds_per_megapixel"], 3, "s / megapixel")
    if result.get("device"):
        facts["device"] = str(result["device"])
    return facts


def table_of(summary: dict[str, Any], flat: int) -> Section:
    """Input, baselines, model, bounds: means, intervals, paired gains; `flat` images have a constant target."""
    left_out = f" Left out of the means, as their target is constant: {flat}." if flat else ""
    methods, versus = summary["methods"], summary["gain_db"]
    shown = [name for name in COLUMNS if any(name in entry["metrics"] for entry in methods.values())]
    rows, strong, breaks, kind = [], [], [], "input"
    for at, (method, entry) in enumerate(methods.items()):
        if entry["kind"] != kind:
            kind = entry["kind"]
            breaks.append(at)
        if kind == "model":
            strong.append(at)
        found = entry["metrics"]
        cells = [number(found.get(name, {}).get("mean"), COLUMNS[name][1]) for name in shown]
        cells.insert(1, interval(found.get("psnr_db", {}), 2))
        gain = versus.get(method)
        ahead = "" if gain is None else f"{gain['mean']:+.2f} ({interval(gain, 2, signed=True)})"
        rows.append([method.replace("_", " "), *cells, ahead, number(entry["seconds_per_megapixel"], 3)])
    headings = [COLUMNS[name][0] for name in shown]
    headings.insert(1, "95 % interval")
    headings = ["method", *headings, "model ahead by (dB)", "s / megapixel"]
    drawn = {
        method.replace("_", " "): (psnr["mean"], psnr["low"], psnr["high"], entry["kind"])
        for method, entry in methods.items()
        if (psnr := entry["metrics"].get("psnr_db"))
    }
    return Section(
        "Results",
        "Filters are tuned on each noisy image alone. Oracles see the clean image: they bound every linear, "
        "shift-invariant filter, not a network. The reference ceiling is what a perfect image would score against "
        "a target that is itself a mean of noisy frames. Intervals: bootstrap over images or, where named, over "
        "fields of view.",
        notices=[("warning", f"Made worse than the input: {', '.join(summary['harmed'][:20])}")]
        if summary["harmed"]
        else (),
        tables=[Table(headings, rows, summary["protocol"] + left_out, strong, breaks)],
        figures=[Figure("psnr", curves.bars(drawn, "PSNR (dB)"), "Mean and 95 % interval. Open marks: bounds.")],
    )


def interval(found: dict[str, Any], digits: int, *, signed: bool = False) -> str:
    if found.get("low") is None:
        return "–"
    form = f"{'+' if signed else ''}.{digits}f"
    return f"{found['low']:{form}} to {found['high']:{form}}"


def pictures(arrays: dict[str, np.ndarray]) -> list[Section]:
    """The image of least, of median and of largest gain, on one grey scale each."""
    drawn = []
    words = {1: ["the image"], 2: ["least gain", "largest gain"], 3: ["least gain", "median gain", "largest gain"]}
    count = len(arrays.get("names", ()))
    for k in range(count):
        panels = {str(name).replace("_", " "): arrays[f"{name}_{k}"] for name in arrays["methods"]}
        panels["target"] = arrays[f"target_{k}"]
        png = figures.side_by_side(panels, "target", scale=arrays.get(f"scale_{k}"))
        caption = f"{words[count][k].capitalize()}: {arrays['names'][k]} ({arrays['gains'][k]:+.2f} dB)."
        drawn.append(Figure(f"crops_{k}", png, caption))
    text = "One grey scale and one error scale for each row of pictures. Red: too bright, blue: too dark."
    return [Section("Pictures", text, figures=drawn)] if drawn else []


def detail(arrays: dict[str, np.ndarray]) -> list[Section]:
    """Power spectra and ring correlation of the methods shown in the pictures."""
    if "power_target" not in arrays:
        return []
    names = [*map(str, arrays["methods"]), "target"]
    lines = {
        kind: {n: (arrays["frequency"], arrays[f"{kind}_{n}"]) for n in names if f"{kind}_{n}" in arrays}
        for kind in ("power", "frc")
    }
    caption = (
        "Left: power below that of the target at high frequencies is over-smoothing, above it is noise. Right: how far "
        "each method's detail agrees with the target; a linear filter cannot change this curve."
    )
    return [Section("Detail", figures=[Figure("spectra", curves.spectra(lines["power"], lines["frc"]), caption)])]


def per_image(rows: list[dict[str, Any]]) -> Section:
    """PSNR of every image and method, folded away."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    table: dict[str, dict[str, float | None]] = {}
    for row in rows:
        table.setdefault(str(row["item"]), {})[row["method"]] = row["psnr_db"]
    before, after = (
        np.array([values.get(name) or np.nan for values in table.values()], float) for name in ("input", "model")
    )
    known = np.isfinite(before) & np.isfinite(after)
    drawn = [Figure("gains", curves.gains(before[known], after[known]), "Each image: PSNR before and after.")]
    cells = [[item, *(number(values.get(m), 2) for m in methods)] for item, values in list(table.items())[:LISTED]]
    more = f" The first {LISTED} of {len(table)}; all are in table.csv." if len(table) > LISTED else ""
    return Section(
        "Image by image",
        tables=[Table(["image", *(m.replace("_", " ") for m in methods)], cells, f"PSNR, dB.{more}")],
        figures=drawn if known.any() else (),
        folded=True,
    )
