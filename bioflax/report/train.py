"""The page of a training run, from metrics.jsonl, result.json, config.yaml, preview.npz and, of super-resolution, probes.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics import frc, radial_power
from bioflax.predict.physics import reach_of
from bioflax.report import curves, figures
from bioflax.report.detection_figures import judged_panel, overlays
from bioflax.report.files import read_arrays, read_json, read_lines, text_of
from bioflax.report.page import Figure, Page, Section, Table, duration, number, write_page
from bioflax.report.super_resolution_curves import power
from bioflax.report.super_resolution_probes import probe_sections

SHOWN = 4  # fields of the preview
FEW = 6  # metrics in one table beside those of the baselines; what only the model has goes below
NAMES = {
    "psnr_db": "PSNR (dB)",
    "si_psnr_db": "SI-PSNR (dB)",
    "in_band_psnr_db": "in-band PSNR (dB)",
    "ssim": "SSIM",
    "nrmse": "NRMSE",
    "null_space_energy": "share of the prior (0 to 1)",
    "chi_square": "chi-square (1: agrees with the raw picture)",
    "rse_share": "RSE (share of the range)",
    "rsp": "RSP",
    "detail": "fine detail of the raw pictures (0 to 1)",
    "false_structures_per_um2": "false structures in an empty field (1 / µm²)",
    "resolved_half_nm": "half of the pairs of lines told apart from (nm)",
}
UNITS = {"_per_um2": " (1 / µm²)", "_um2": " (µm²)", "_um": " (µm)", "_nm": " (nm)", "_px": " (px)", "_db": " (dB)"}
IN_BAND = (
    "In-band PSNR looks only at frequencies that were measured: what a result can be blamed for, whatever its prior. The "
    "bound is that of linear methods that know the power spectrum; of a Gaussian process it is that of every method."
)
OWN_AXIS = {"step", "seconds", "loss", "validation_loss"}  # not drawn as small multiples


def render_train(run_dir: str | os.PathLike) -> Path:
    """Renders the training run in a folder again, finished or not.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no metrics.jsonl, or a file is damaged.
    """
    folder = Path(run_dir)
    lines = read_lines(folder / "metrics.jsonl")
    if not lines:
        raise InputError(f"dir: no metrics.jsonl in {folder}. Train with run_dir={folder} first.")
    result, preview = read_json(folder / "result.json"), read_arrays(folder / "preview.npz")
    train = [line for line in lines if "loss" in line]
    validation = [line for line in lines if "validation_loss" in line]
    probes = read_json(folder / "probes.json")
    physics = read_json(folder / "model" / "card.json").get("physics") or {}
    sections = [outcome(result), *probe_sections(probes, physics), learning(train, validation), pictures(preview)]
    sections.append(detail(preview, physics))
    page = Page(
        title=f"Training: {result.get('experiment') or folder.resolve().name}",
        subtitle=f"{result.get('task') or 'model'} trained in {folder.name}.",
        facts=headline(result, train, validation),
        sections=[*(section for section in sections if section), settings(result, text_of(folder / "config.yaml"))],
    )
    return write_page(page, folder)


def headline(result: dict[str, Any], train: list[dict[str, Any]], validation: list[dict[str, Any]]) -> dict[str, str]:
    """The few numbers on top of the page."""
    facts = {"status": str(result.get("status") or "running")}
    facts["steps"] = number(result.get("steps") or max((line["step"] for line in train + validation), default=0))
    clock = (result.get("seconds") or {}).get("train")
    facts["training time"] = duration(
        clock if clock is not None else max(line["seconds"] for line in train + validation)
    )
    if validation:
        best = min(validation, key=lambda line: line["validation_loss"])
        facts["best validation loss"] = f"{best['validation_loss']:.4g} (step {number(best['step'])})"
    speeds = [line["examples_per_s"] for line in train if "examples_per_s" in line]
    if speeds:
        facts["throughput"] = number(float(np.median(speeds)), 1, "examples / s")
    for name, label, unit in (("psnr_db", "PSNR", "dB"), ("ssim", "SSIM", "")):
        if name in (result.get("metrics") or {}):
            facts[label] = number(result["metrics"][name], 2 if unit else 3, unit)
    if result.get("device"):
        facts["device"] = str(result["device"])
    return facts


def outcome(result: dict[str, Any]) -> Section | None:
    """The error of a failed run, or the metrics beside bounds and baselines."""
    notices = [("warning", f"The run failed: {result['error']}")] if result.get("error") else []
    parts = [(name, values) for name, values in (result.get("baselines") or {}).items()]
    parts.append(("model", result.get("metrics") or {}))
    parts.append(("bound", result.get("bounds") or {}))
    parts = [(name, flat(values)) for name, values in parts]
    names = list(dict.fromkeys(metric for _, values in parts for metric in values))
    tables = tables_of(parts, names, str(result.get("protocol") or ""))
    return Section("Results", notices=notices, tables=tables) if notices or tables else None


def tables_of(parts: list[tuple[str, dict[str, float]]], names: list[str], protocol: str) -> list[Table]:
    """Metrics of all methods; where they are many, what only the model has in a table of its own."""
    own = []
    if len(names) > FEW:
        own = [name for name in names if all(name not in values for method, values in parts if method != "model")]
        own = own if len(own) < len(names) else []
    names = [name for name in names if name not in own]
    tables = []
    if names:
        rows = [[n.replace("_", " "), *(number(v.get(metric), 3) for metric in names)] for n, v in parts if v]
        strong = [at for at, row in enumerate(rows) if row[0] == "model"]
        caption = " ".join(filter(None, [protocol, IN_BAND if "in_band_psnr_db" in names else ""]))
        tables.append(Table(["method", *map(heading, names)], rows, caption, strong))
    if own:
        values = dict(parts)["model"]
        tables.append(Table(["of the model alone", ""], [[heading(name), number(values[name], 3)] for name in own]))
    return tables


def heading(metric: str) -> str:
    """A metric's name for readers: `rmse_lateral_nm` becomes `rmse lateral (nm)`."""
    if metric in NAMES:
        return NAMES[metric]
    for ending, unit in UNITS.items():
        if metric.endswith(ending):
            return metric.removesuffix(ending).replace("_", " ") + unit
    return metric.replace("_", " ")


def flat(values: dict[str, Any]) -> dict[str, float]:
    """The plain numbers of an entry."""
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def learning(train: list[dict[str, Any]], validation: list[dict[str, Any]]) -> Section:
    """Loss curves, and every other number the run wrote down."""
    drawn = [
        Figure(
            "loss",
            curves.losses(train, validation),
            "Training and validation loss over steps (left) and over time (right). A validation loss that rises while "
            "the training loss falls is overfitting.",
        )
    ]
    for name, lines in (("training", train), ("validation", validation)):
        others = sorted({key for line in lines for key, v in line.items() if isinstance(v, (int, float))} - OWN_AXIS)
        if others:
            drawn.append(Figure(f"{name}_numbers", curves.series(lines, others), f"Other numbers of {name}."))
    return Section("Learning", figures=drawn)


def pictures(preview: dict[str, np.ndarray]) -> Section | None:
    """Input, output and target on one grey scale, with signed errors; of a detector what it found."""
    if "found_0" in preview:
        return found_pictures(preview)
    if "input" not in preview or "output" not in preview:
        return None
    drawn = []
    names = preview.get("names", np.arange(len(preview["input"])))
    for k in range(min(SHOWN, len(preview["input"]))):
        panels = {name: preview[name][k] for name in ("input", "output", "target") if name in preview}
        scale = preview["scale"][k] if "scale" in preview else None
        png = figures.side_by_side(panels, "target" if "target" in panels else "output", scale=scale)
        drawn.append(Figure(f"preview_{k}", png, str(names[k])))
    text = "One grey scale for each row of pictures."
    if "target" in preview:
        text += " Errors: red is too bright, blue too dark."
    return Section("Pictures", text, figures=drawn)


def found_pictures(preview: dict[str, np.ndarray]) -> Section:
    """Held-out images with what a detector found, missed and took for an object."""
    panels = [
        judged_panel(str(title), *(preview[f"{name}_{k}"] for name in ("image", "truth", "found")))
        for k, title in enumerate(preview["titles"])
    ]
    text = "Held-out images, on which the thresholds were tuned."
    drawn = Figure("held_out", overlays(panels, columns=4), "Objects at an IoU of 0.5, points within 3 px.")
    return Section("Pictures", text, figures=[drawn])


def detail(preview: dict[str, np.ndarray], physics: dict[str, Any]) -> Section | None:
    """Mean power spectra of the preview, ring correlation with the target where there is one, the cut-off where it is known."""
    if "input" not in preview or "output" not in preview or min(preview["input"].shape[-2:]) < 8:
        return None
    shown = [name for name in ("input", "output", "target") if name in preview]
    spectra = {name: mean_curve([radial_power(image, window="hann") for image in preview[name]]) for name in shown}
    correlation = {}
    if "target" in preview:
        for name in ("input", "output"):
            rings = [frc(image, clean) for image, clean in zip(preview[name], preview["target"])]
            correlation[name] = mean_curve([(ring.frequency, ring.correlation) for ring in rings])
    caption = "Power below that of the target at high frequencies is over-smoothing, above it is noise."
    if not correlation:
        caption = "What the network took away: the gap between input and output."
    drawn = [Figure("spectra", curves.spectra(spectra, correlation), caption)]
    if physics.get("upscale") and all(physics.get(name) for name in ("na", "wavelength_nm", "pixel_nm")):
        drawn.append(cutoff(preview, shown, physics))
    return Section("Detail", figures=drawn)


def cutoff(preview: dict[str, np.ndarray], shown: list[str], physics: dict[str, Any]) -> Figure:
    """Power in physical units with the cut-off of the optics, of a super-resolving model."""
    per_nm = reach_of(physics)
    fine_nm = physics["pixel_nm"] / physics["upscale"]
    camera_nm = physics["pixel_nm"] if physics.get("frames", 1) == 1 and physics["upscale"] > 1 else None
    lines = {name: (preview[name], fine_nm) for name in shown}
    png = power(lines, cutoff_nm=1.0 / per_nm, camera_nm=camera_nm, unit="grey levels")
    words = "The same power in physical units: what the output has in the shaded region is prior. Input: enlarged."
    return Figure("cutoff", png, words)


def mean_curve(lines: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return lines[0][0], np.mean([values for _, values in lines], 0)


def settings(result: dict[str, Any], config: str) -> Section:
    """What it takes to do it again: seed, overrides, versions and the whole configuration."""
    rows = [[name, number(result[name])] for name in ("seed", "git") if result.get(name) is not None]
    rows += [["overrides", " ".join(map(str, result["overrides"]))]] if result.get("overrides") else []
    rows += [[f"seconds, {name}", number(value, 1)] for name, value in (result.get("seconds") or {}).items()]
    rows += [[name, str(version)] for name, version in (result.get("versions") or {}).items()]
    tables = [Table(["setting", "value"], rows)] if rows else []
    return Section("Settings and versions", tables=tables, code=config, folded=True)
