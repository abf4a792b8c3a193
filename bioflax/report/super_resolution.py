"""The page of a super-resolved picture: what of it was measured, what is prior, and whether it agrees with the raw data."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.report import super_resolution_curves as curves
from bioflax.report import super_resolution_figures as pictures
from bioflax.report.files import read_arrays, read_json
from bioflax.report.page import Figure, Page, Section, Table, number, write_page

EXAMINED = "_honesty.json"
FINE, COARSE = ("image", "measured", "prior", "null_space"), ("raw", "seen", "chi_square", "error")
WINDOW_PX = 320  # fine pixels a side of the pictures: more cannot be seen one by one on a page
LISTED = 60  # planes in the folded table
Numbers = dict[str, float]


def render_honesty_pages(pages: Sequence[str | os.PathLike]) -> list[Path]:
    """Renders the page beside each `<stem>_honesty.json`; none in an install without the report extra."""
    if find_spec("matplotlib") is None or find_spec("jinja2") is None:
        return []
    return [render_honesty(path) for path in pages]


def render_honesty(page_json: str | os.PathLike) -> Path:
    """The page of one examined picture.

    Args:
        page_json: `<stem>_honesty.json`; `<stem>_honesty.npz` lies beside it.

    Returns:
        The path of `<stem>_honesty.html`.

    Raises:
        InputError: a file is missing, damaged, or of other content.
    """
    path = Path(page_json)
    facts, arrays = read_json(path), read_arrays(path.with_suffix(".npz"))
    if not facts.get("numbers"):
        raise InputError(f"{path}: expected what predict honesty=true writes, found other content. Run it again.")
    missing = [name for name in (*FINE, *COARSE) if name not in arrays]
    if missing:
        raise InputError(
            f"{path.with_suffix('.npz')}: expected the pictures {', '.join(missing)}, found none. Run bioflax predict again."
        )
    stem, rows = path.name.removesuffix(EXAMINED), facts["numbers"]
    several = f" {len(rows)} planes: the numbers are means, the pictures show the middle one." if len(rows) > 1 else ""
    page = Page(
        title=f"Super-resolution: {stem}",
        subtitle=f"{facts.get('output', stem)} from {facts.get('source', 'a picture')}.{several}",
        facts=headline(facts),
        sections=[
            verdict(facts),
            split_in_two(facts, arrays, stem),
            by_frequency(facts, arrays, stem),
            by_place(facts, arrays, stem),
            *in_numbers(facts),
        ],
    )
    return write_page(page, path.parent, f"{stem}_honesty.html")


def means(rows: Sequence[Numbers]) -> Numbers:
    """Mean over the planes that have a number, by name."""
    found: dict[str, list[float]] = {}
    for name, value in ((name, value) for row in rows for name, value in row.items()):
        if value is not None and math.isfinite(value):
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def headline(facts: dict[str, Any]) -> dict[str, str]:
    """The few numbers on top of the page."""
    found, fine_nm = means(facts["numbers"]), facts["fine_nm"]
    return {
        "camera pixel": number(fine_nm * facts["upscale"], 1, "nm"),
        "pixel of the result": number(fine_nm, 1, "nm"),
        "cut-off of the optics": number(float(facts["cutoff_nm"]), 0, "nm"),
        "share of the prior": number(100 * found["null_space_energy"], 1, "%"),
        "chi-square": f"{number(found.get('chi_square'))} (at most {number(found.get('chi_square_limit'))})",
        "RSP": number(found["rsp"], 3),
        "RSE": f"{number(found['rse'], 1, 'counts')} ({number(100 * found['rse_share'], 1)} % of the range)",
    }


def verdict(facts: dict[str, Any]) -> Section:
    """Everything that speaks against the result, or that nothing does."""
    notices = [("warning", str(flag)) for flag in facts.get("flags") or ()]
    if facts.get("noise") == "the spread of the picture":
        words = (
            "The noise of the raw picture is not known and could not be told from it: chi-square says nothing here. "
        )
        notices.append(("warning", f"{words}Give camera=... to bioflax predict."))
    if not notices:
        notices = [
            ("good", "Nothing speaks against it: pushed through the optics again, the result gives the raw picture.")
        ]
    text = (
        f"Nothing finer than {finest_nm(facts):.0f} nm was measured. Finer detail comes from what the model was trained "
        "on. The raw picture can refute a result, and cannot prove its finer detail right."
    )
    return Section("Does anything speak against it?", text, notices)


def split_in_two(facts: dict[str, Any], arrays: dict[str, np.ndarray], stem: str) -> Section:
    """Raw picture, result, and its two parts."""
    window, cut = view(arrays["seen"], facts["upscale"])
    fine = tuple(slice(side.start * facts["upscale"], side.stop * facts["upscale"]) for side in window)
    shown, unit = in_raw_unit(facts, arrays)
    own = [shown[name][fine] for name in ("image", "measured", "prior")]
    png = pictures.parts(shown["raw"][window], *own, fine_nm=facts["fine_nm"], unit=unit)
    caption = "One grey scale for the raw picture, the result and its measured part; measured + prior = result."
    if cut:
        caption += f" Cut to {own[0].shape[0]} x {own[0].shape[1]} px where the contrast is largest."
    if not facts.get("same_unit", True):
        caption += " Gain and offset of the result are those that fit the raw picture best."
    text = (
        f"Measured: what of the result lies within the band of the microscope, spacings of {finest_nm(facts):.0f} nm and "
        "more; noise and mistakes can be in it, but data speaks for or against it. Prior: everything finer. No data "
        "speaks for it or against it: it is what the model has learned that such pictures look like."
    )
    return Section(
        "What was measured, and what is prior", text, figures=[Figure(f"{stem}_honesty_parts", png, caption)]
    )


def by_frequency(facts: dict[str, Any], arrays: dict[str, np.ndarray], stem: str) -> Section:
    """Power spectra with the cut-off; none for pictures too small for one."""
    shown, unit = in_raw_unit(facts, arrays)
    if min(shown["raw"].shape) < 8:
        return Section("By spatial frequency", "The picture is too small for a spectrum.")
    fine_nm, camera_nm = facts["fine_nm"], facts["fine_nm"] * facts["upscale"]
    lines = {
        "raw picture": ([shown["raw"]], camera_nm),
        "result": ([shown["image"]], fine_nm),
        "its measured part": ([shown["measured"]], fine_nm),
    }
    limit = camera_nm if camera_limits(facts) else None
    png = curves.power(lines, cutoff_nm=facts["cutoff_nm"], camera_nm=limit, unit=unit)
    caption = (
        "Power of structures by their fineness, mean over all directions. The raw picture ends at its own pixels; "
    )
    caption += "where it runs flat, it is noise."
    text = "In the shaded region nothing was measured: whatever power the result has there is prior."
    if limit and 2 * limit > facts["cutoff_nm"]:
        text += " From the dotted line on the camera's pixels are too coarse for some directions, and a part is prior."
    return Section("By spatial frequency", text, figures=[Figure(f"{stem}_honesty_power", png, caption)])


def by_place(facts: dict[str, Any], arrays: dict[str, np.ndarray], stem: str) -> Section:
    """Maps of the whole picture: share of the prior, chi-square, SQUIRREL, residual."""
    window, cut = view(arrays["seen"], facts["upscale"])
    png = pictures.doubts(
        arrays["null_space"],
        arrays["chi_square"],
        arrays["error"],
        arrays["raw"] - arrays["seen"],
        limit=means(facts["numbers"]).get("chi_square_limit", 1.0),
        fine_nm=facts["fine_nm"],
        upscale=facts["upscale"],
        window=window if cut else None,
    )
    caption = "The whole picture." + (" The frame is the part shown above." if cut else "")
    text = (
        "Share of the prior: how much of the contrast around a pixel is prior; in even places, where there is next to no "
        "contrast, it means little. Chi-square: distance to the raw picture in units of its noise, over windows; white is "
        "what noise explains, orange disagrees, purple is closer than noise allows: noise was copied. SQUIRREL blurs the "
        "result until it looks most like the raw picture and shows what is left. It sees only what survives the blur: two "
        "results that differ only in their prior score the same. The last picture should look like noise, stronger where "
        "it is bright; lines and spots in it were missed or made up."
    )
    return Section("By place", text, figures=[Figure(f"{stem}_honesty_maps", png, caption)])


def in_numbers(facts: dict[str, Any]) -> list[Section]:
    """All numbers with what they say, and those of every plane."""
    found, rows = means(facts["numbers"]), facts["numbers"]
    cells = [
        ["share of the prior: contrast of the result beyond what was measured", number(100 * found["null_space_energy"], 2, "%")],
        ["chi-square: 1 agrees with the raw picture, above its limit it does not", number(found.get("chi_square"), 3)],
        ["limit of chi-square: what noise can explain", number(found.get("chi_square_limit"), 3)],
        ["RSP: correlation of the blurred result with the raw picture", number(found["rsp"], 3)],
        ["what RSP the noise of the raw picture allows", number(found.get("rsp_expected"), 3)],
        ["RSE: root mean square difference of the two", number(found["rse"], 2, "counts")],
        ["RSE over the noise: 1 is noise alone", number(found.get("rse_over_noise"), 3)],
        ["RSE over the range of the raw picture", number(100 * found["rse_share"], 2, "%")],
    ]  # fmt: skip
    if "detail" in found:
        detail = "fine detail of the raw picture: its power near the cut-off over that of coarse structures"
        cells.append([detail, number(100 * found["detail"], 2, "%")])
    if "false_structures_per_um2" in found:
        cells.append(
            ["structures in the result where the raw picture has none", number(found["false_structures_per_um2"], 3, "/ µm²")]
        )  # fmt: skip
    if not facts.get("same_unit", True):
        cells.append(["gain from the result to the raw picture", number(found.get("gain"), 4)])
        cells.append(["offset from the result to the raw picture", number(found.get("offset"), 1, "counts")])
    cells.append(["noise of the raw picture taken from", str(facts.get("noise", "–"))])
    sections = [Section("Numbers", tables=[Table(["what it says", "value"], cells)])]
    if len(rows) > 1:
        names = ("null_space_energy", "chi_square", "rse", "rsp")
        table = [[str(n + 1), *(number(row.get(name), 3) for name in names)] for n, row in enumerate(rows[:LISTED])]
        more = f"The first {LISTED} of {len(rows)}; all are in the JSON file." if len(rows) > LISTED else ""
        headings = ["plane", "share of the prior (0 to 1)", "chi-square", "RSE (counts)", "RSP"]
        sections.append(Section("Plane by plane", tables=[Table(headings, table, more)], folded=True))
    return sections


def camera_limits(facts: dict[str, Any]) -> bool:
    """Whether the camera's pixels cut off the measured band: several frames tell folded frequencies apart."""
    return facts.get("frames", 1) == 1 and facts["upscale"] > 1


def finest_nm(facts: dict[str, Any]) -> float:
    """Finest spacing that was measured in any direction: of the optics, or along the diagonal of the camera's pixels."""
    diagonal_nm = math.sqrt(2.0) * facts["fine_nm"] * facts["upscale"]
    return max(facts["cutoff_nm"], diagonal_nm) if camera_limits(facts) else facts["cutoff_nm"]


def in_raw_unit(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """The pictures in the unit of the raw one."""
    shown = {name: np.asarray(arrays[name], np.float64) for name in ("image", "measured", "prior", "raw")}
    row = facts["numbers"][len(facts["numbers"]) // 2]  # the plane that is shown
    gain = float(row.get("gain") or 0.0)
    if facts.get("same_unit", True) or gain <= 0:  # of a result that explains nothing the own unit is kept
        return shown, "counts"
    offset = float(row.get("offset") or 0.0)
    moved = {name: gain * shown[name] + offset for name in ("image", "measured")}
    return {**shown, **moved, "prior": gain * shown["prior"]}, "counts"


def view(image: np.ndarray, upscale: int) -> tuple[tuple[slice, slice], bool]:
    """The window of camera pixels with most contrast that is shown large, and whether it is less than the picture."""
    height, width = (min(max(WINDOW_PX // upscale, 1), side) for side in image.shape)
    corners = [
        (top, left)
        for top in range(0, image.shape[0] - height + 1, max(height // 2, 1))
        for left in range(0, image.shape[1] - width + 1, max(width // 2, 1))
    ]
    top, left = max(corners, key=lambda at: float(image[at[0] : at[0] + height, at[1] : at[1] + width].std()))
    return (slice(top, top + height), slice(left, left + width)), (height, width) != image.shape
