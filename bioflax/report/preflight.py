"""The page of a pre-flight inspection, from preflight.json and preflight.npz."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.report import curves, figures
from bioflax.report.files import read_arrays, read_json
from bioflax.report.page import Figure, Page, Section, Table, number, write_page

PANELS = 18  # scenes shown as pictures
CORRELATED = 0.25  # drawn as a guide; the inspection has already decided

Facts = dict[str, Any]


def render_preflight(run_dir: str | os.PathLike) -> Path:
    """Renders the inspection in a folder again.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no preflight.json, or a file is damaged.
    """
    folder = Path(run_dir)
    facts = read_json(folder / "preflight.json")
    if not facts:
        raise InputError(f"dir: no preflight.json in {folder}. Run bioflax preflight input=... run_dir={folder} first.")
    arrays = read_arrays(folder / "preflight.npz")
    sections = [verdict(facts), scenes(facts)]
    sections += [section for section in (looks(facts, arrays), noise(facts, arrays), detail(facts, arrays)) if section]
    return write_page(
        Page(
            title=f"Pre-flight: {Path(str(facts['input'])).name or facts['input']}",
            subtitle=f"What is in {facts['input']}, before anyone trains on it.",
            facts=headline(facts),
            sections=[*sections, defects(facts)],
        ),
        folder,
    )


def headline(facts: Facts) -> dict[str, str]:
    """The few numbers on top of the page."""
    pixel = facts["pixel_nm"]
    shape = facts["shape"]
    sizes = " × ".join(map(str, shape)) if shape and not isinstance(shape[0], list) else f"{len(shape)} sizes"
    return {
        "recommended scheme": (facts["recommended_scheme"] or "none").replace("_", " "),
        "warnings": str(len(facts["warnings"])),
        "frames": number(facts["frames"]),
        "axes and size": f"{facts['axes']} {sizes}",
        "pixels": facts["dtype"],
        "pixel size": "not stated" if not pixel else f"{pixel.get('X', pixel.get('Y')):.4g} nm",
        "gain": number(facts["gain_adu_per_photon"], 2, "counts / photon"),
        "noise in the dark": number(facts["read_noise"], 2, "counts"),
    }


def verdict(facts: Facts) -> Section:
    """Recommendation, warnings and remarks."""
    scheme = (facts["recommended_scheme"] or "none").replace("_", " ")
    settings = " ".join(f"{name}={value}" for name, value in facts["recommended_settings"].items())
    advice = f"Train with {scheme}{f' ({settings})' if settings else ''}: {'; '.join(facts['reasons'])}."
    notices = [("good", advice), *(("warning", text) for text in facts["warnings"])]
    return Section("What to do", notices=[*notices, *(("note", text) for text in facts["notes"])])


def scenes(facts: Facts) -> Section:
    """One row for each scene."""
    headings = (
        "scene captures PSNR_(dB) gain noise_in_the_dark lag_1,_x lag_1,_y neighbours_tell resolution_(px) scheme"
    )
    rows = []
    for group in facts["groups"]:
        lags = group["noise_correlation"]
        captures = f"{group['distinct']} of {group['captures']}" if group["distinct"] < group["captures"] else ""
        rows.append(
            [
                group["name"],
                captures or str(group["captures"]),
                number(group["psnr_db"], 1),
                number(group["gain_adu_per_photon"], 2),
                number(group["read_noise"], 2),
                *(f"{lags[axis][0]:.2f}" if axis in lags else "–" for axis in "XY"),
                f"{group['blind_spot_leak']:.0%}",
                number(group["frc_resolution_px"], 2),
                group["recommended_scheme"].replace("_", " "),
            ]
        )
    marked = [at for at, group in enumerate(facts["groups"]) if group["correlated_axes"]]
    table = Table(
        [heading.replace("_", " ") for heading in headings.split()],
        rows,
        "Tinted rows have correlated noise. PSNR: what the measured noise implies for one capture, on the 0.1 to "
        "99.9 percentile range. Lag 1: correlation of the noise of adjacent pixels. Neighbours tell: share of a "
        "pixel's noise that its neighbours give away; a blind-spot network keeps that much of it. Resolution: "
        "Fourier ring correlation of two captures at 1/7. Noise in the dark: at the darkest level of the scene, where "
        "photons may still count; an upper limit of the read noise.",
        strong=marked,
    )
    exact = any(group["method"] == "repeats" for group in facts["groups"])
    text = (
        "With repeats of a scene the noise is what differs between captures: exact."
        if exact
        else "From single images the noise is estimated in their smoothest blocks: good to 10 or 20 percent."
    )
    return Section("Scenes", text, tables=[table])


def looks(facts: Facts, arrays: dict[str, np.ndarray]) -> Section | None:
    """Pictures of the scenes and, where there are repeats, of their noise."""
    shown = [(g["name"], arrays[f"crop_{k}"]) for k, g in enumerate(facts["groups"][:PANELS]) if f"crop_{k}" in arrays]
    noises = [
        (g["name"], arrays[f"noise_{k}"]) for k, g in enumerate(facts["groups"][:PANELS]) if f"noise_{k}" in arrays
    ]
    if not shown:
        return None
    drawn = [
        Figure("scenes", figures.gallery(shown), "A crop of one capture of each scene, each on its own grey scale.")
    ]
    if noises:
        caption = (
            "Difference of two captures of the same crops, over √2: the scene is gone, the noise is left. Independent "
            "noise looks like salt and pepper; correlated noise shows grains."
        )
        drawn.append(Figure("noise", figures.gallery([(n, smallest(a)) for n, a in noises], signed=True), caption))
    return Section("Pictures", figures=drawn)


def smallest(image: np.ndarray, side: int = 64) -> np.ndarray:
    """The middle of a picture: single pixels must be told apart."""
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return image[top : top + side, left : left + side]


def noise(facts: Facts, arrays: dict[str, np.ndarray]) -> Section | None:
    """Variance against mean, and correlation over lags."""
    groups = [(k, g) for k, g in enumerate(facts["groups"]) if f"curve_{k}" in arrays][:PANELS]
    if not groups:
        return None
    transfer = [(g["name"], tuple(arrays[f"curve_{k}"]), g["gain_adu_per_photon"], level(g)) for k, g in groups]
    lags = [(g["name"], g["noise_correlation"], bool(g["correlated_axes"])) for _, g in groups]
    return Section(
        "Noise",
        "Photon noise grows with the signal: variance = gain × (mean − offset) + read noise². The slope is the "
        "gain, counts for each detected photon (in an EMCCD times its excess noise factor). Noise that is "
        "independent from pixel to pixel has no correlation beyond lag 0; this is what a blind spot relies on.",
        figures=[
            Figure("photon_transfer", curves.photon_transfer(transfer), "Variance against mean, with the fitted line."),
            Figure(
                "noise_correlation",
                curves.noise_correlation(lags, CORRELATED),
                "Correlation of the noise over distance, along X and Y; tinted: too much for a blind spot.",
            ),
        ],
    )


def level(group: Facts) -> float:
    return 0.0 if group["intercept_adu2"] is None else group["intercept_adu2"]


def detail(facts: Facts, arrays: dict[str, np.ndarray]) -> Section | None:
    """Power spectra of a few scenes, signal and noise."""
    ranked = [k for k in range(len(facts["groups"])) if f"spectrum_{k}" in arrays]
    chosen = [ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, min(3, len(ranked))).round().astype(int))]
    drawn = []
    for k in chosen:
        rows, name = arrays[f"spectrum_{k}"], facts["groups"][k]["name"]
        power = {"input": (rows[0], rows[1])} | ({"noise": (rows[0], rows[2])} if len(rows) > 2 else {})
        caption = f"{name}: where the image's spectrum meets that of the noise, detail ends."
        drawn.append(Figure(f"spectrum_{k}", curves.spectra(power, {}), caption))
    return Section("Detail", "White noise has a flat spectrum.", figures=drawn) if drawn else None


def defects(facts: Facts) -> Section:
    """Duplicates, blanks, saturation and bad pixels, in numbers."""
    certain = any(group["bad_pixels_certain"] for group in facts["groups"])
    saturated = f"{facts['saturated_fraction']:.3%}"
    if facts["saturation_level"] is not None:
        saturated += f" (at {facts['saturation_level']:g})"
    rows = [
        ["groups of duplicate frames", number(len(facts["duplicates"]))],
        ["blank frames", number(len(facts["blank"]))],
        ["saturated pixels", saturated],
        ["pixels cut off below", f"{facts['floor_fraction']:.3%}"],
        [
            "hot pixels" if certain else "hot pixels (candidates: one scene cannot tell)",
            number(facts["hot_pixels"]),
        ],
        ["dead pixels" if certain else "dead pixels (candidates)", number(facts["dead_pixels"])],
        ["grey levels in use", "more than 256" if facts["grey_levels"] > 256 else number(facts["grey_levels"])],
    ]
    return Section("Defects", tables=[Table(["what", "found"], rows)])
