"""What the page of a training run says of super-resolution: resolution against prior, empty fields, another microscope."""

from __future__ import annotations

from typing import Any

from bioflax.report import super_resolution_curves as curves
from bioflax.report.page import Figure, Section, Table, number

SEEN = 0.5  # share of pictures that must be flagged for a change to count as noticed
ALARMS = 0.1  # share of matched pictures that may be flagged
# number in the file: (heading, factor on it, digits, how it is compared with the matched pictures)
SHIFTED = {
    "chi_square": ("chi-square", 1.0, 2, "times"),
    "rse_over_noise": ("RSE / noise", 1.0, 2, "times"),
    "rsp": ("RSP", 1.0, 3, "difference"),
    "null_space_energy": ("share of the prior (%)", 100.0, 2, "times"),
    "detail": ("fine detail of the raw picture (%)", 100.0, 2, "times"),
    "si_psnr_db": ("SI-PSNR (dB)", 1.0, 2, "difference"),
}
Entry = dict[str, Any]


def probe_sections(probes: Entry, physics: Entry) -> list[Section]:
    """Sections of `probes.json`; none where there is no such file.

    Args:
        probes: `two_lines`, `two_points`, `empty`, `shifts`, as the judge of a training run writes them; each may be missing.
        physics: of the model's card.
    """
    makers = {
        "two_lines": lambda found: resolution(found, physics, "lines"),
        "two_points": lambda found: resolution(found, physics, "points"),
        "empty": empty_field,
        "shifts": shifts,
    }
    return [make(probes[name]) for name, make in makers.items() if probes.get(name)]


def resolution(found: Entry, physics: Entry, kind: str) -> Section:
    """Two lines, or two points, at many distances: figure and table."""
    cutoff_nm, repeats, spacings = found["cutoff_nm"], int(found["repeats"]), found["spacing_nm"]
    striped = int(physics.get("frames") or 1) > 1  # the bound is that of the wide-field picture: it bounds no other
    bound = None if striped else found.get("bound")
    png = curves.two_lines(spacings, found["resolved"], bound, cutoff_nm=cutoff_nm, repeats=repeats, kind=kind)
    pairs = {"lines": "pairs of parallel lines", "points": "pairs of points"}[kind]
    caption = f"{repeats} {pairs} at each distance, of any direction; bands: 95 % intervals (Wilson)."
    if bound is not None:
        caption += (
            " Dashed: how often an unbiased estimate of the distance comes within half of it at best, if it knows "
        )
        caption += {"lines": "that there are two straight lines.", "points": "that there are two points."}[kind]
    text = (
        f"The optics pass nothing finer than {cutoff_nm:.0f} nm. What lies closer is told apart only by knowing that "
        f"it is {kind}: a prior that is right for what the model was trained on, and makes up detail elsewhere. From "
        f"{cutoff_nm:.0f} nm on the data decide, and classical methods are rivals."
    )
    pixel_nm, notices = physics.get("pixel_nm"), []
    if pixel_nm and not striped and 2 * pixel_nm > 1.02 * cutoff_nm:
        words = f"The camera measures less than the optics pass: two of its pixels are {2 * pixel_nm:.0f} nm."
        notices = [("note", f"{words} Between {cutoff_nm:.0f} and {2 * pixel_nm:.0f} nm the prior has a part in it.")]
    shown = {**found["resolved"], **({curves.BOUND: bound} if bound is not None else {})}
    rows = [
        [
            number(nm, 0),
            number(nm / cutoff_nm, 3),
            *(f"{100 * share[k]:.0f} %" for share in shown.values()),
            "prior" if nm < cutoff_nm * (1 - 1e-6) else "data",
        ]
        for k, nm in enumerate(spacings)
    ]
    headings = ["distance (nm)", "in cut-offs", *map(curves.words_of, shown), "decided by"]
    light = (
        f" Light: {number(found['photons'], 0)} photons a camera pixel where the density is 1."
        if found.get("photons") is not None
        else ""
    )
    table = Table(headings, rows, f"Share of pairs that are told apart.{light}")
    return Section(
        {
            "lines": "What resolution was learned, and what is prior: two lines",
            "points": "What resolution was learned, and what is prior: two points",
        }[kind],
        text,
        notices,
        tables=[table],
        figures=[Figure(f"two_{kind}", png, caption)],
    )


def empty_field(found: Entry) -> Section:
    """What the model makes of nothing."""
    rows = [
        ["structures in the result (1 / µm²)", number(found.get("false_structures_per_um2"), 4)],
        ["recognised as empty from the raw picture", percent(found.get("recognised"))],
        ["flagged", percent(found.get("flagged"))],
    ]
    notices = []
    if found.get("false_structures_per_um2"):
        notices = [("warning", "The model makes structures out of noise.")]
    table = Table(
        ["fields that hold nothing", "value"], rows, f"{number(found.get('fields'))} fields of background and noise."
    )
    text = "Whatever stands in the result of an empty field was made up. An empty field is flagged even if nothing was."
    return Section("Empty fields", text, notices, [table])


def shifts(found: dict[str, Entry]) -> Section:
    """The model on pictures of another spot or pixel, and whether that is noticed."""
    matched = found.get("matched") or {}
    shown = [name for name in SHIFTED if any(name in entry for entry in found.values())]
    rows, notices = [], []
    for name, entry in found.items():
        rows.append([name, *(compared(key, entry, matched) for key in shown), percent(entry.get("flagged"))])
        share = entry.get("flagged")
        if share is None:
            continue
        if entry is matched and share > ALARMS:
            notices.append(("warning", f"False alarms: {percent(share)} of the pictures that match are flagged."))
        elif entry is not matched and share < SEEN:
            loss = entry.get("si_psnr_db", 0.0) - matched.get("si_psnr_db", 0.0)
            words = f"Not noticed: {name}. Only {percent(share)} of the pictures are flagged"
            notices.append(("warning", f"{words}; SI-PSNR changes by {signed(loss, 2)} dB."))
    if not notices:
        notices = [("good", "Every change is noticed, and pictures that match raise no alarm.")]
    headings = ["pictures", *(SHIFTED[name][0] for name in shown), "flagged"]
    caption = (
        "In brackets: compared with the pictures that match the training. SI-PSNR, after gain and offset were matched, needs "
        "the truth; the other numbers need only the raw picture, and are what a user sees."
    )
    text = "Pictures of another microscope, examined as if it were the one of the training. A model should not fail unnoticed."
    return Section("Another microscope", text, notices, [Table(headings, rows, caption, breaks=[1])])


def compared(name: str, entry: Entry, matched: Entry) -> str:
    """A number, and in brackets how it compares with that of the matched curves."""
    _, factor, digits, how = SHIFTED[name]
    value, usual = entry.get(name), matched.get(name)
    if value is None:
        return "–"
    text = number(factor * float(value), digits)
    if entry is matched or usual is None or (how == "times" and not usual > 0):
        return text
    return (
        f"{text} (× {value / usual:.2f})" if how == "times" else f"{text} ({signed(factor * (value - usual), digits)})"
    )


def signed(value: float, digits: int) -> str:
    """A number with its sign; a minus that is no hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
