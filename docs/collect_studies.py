"""Copies the pages of studies to docs/studies/, with smaller pictures, and writes the table of questions and answers.

.venv/bin/python docs/collect_studies.py runs/studies
"""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

from PIL import Image

from bioflax.studies.index import read_answers

HERE = Path(__file__).parent / "studies"
COLOURS, WIDEST = 48, 900
EMBEDDED = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
# Pages whose gallery shows real microscopy, which stays out of this repository.
REAL = ("detect_modality_shift",)
GALLERY = re.compile(r"<figure[^>]*>(?:(?!</figure>).)*?The worst of the test items(?:(?!</figure>).)*?</figure>", re.S)


def shrink(found: re.Match[str]) -> str:
    """A PNG with fewer colours and no wider than a page."""
    picture = Image.open(io.BytesIO(base64.b64decode(found.group(1)))).convert("RGB")
    picture.thumbnail((WIDEST, 4 * WIDEST))
    small = io.BytesIO()
    picture.quantize(COLOURS).save(small, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def main(folder: Path) -> None:
    """All studies of a folder that have a page."""
    lines = ["| study | question | answer | points |", "|---|---|---|---|"]
    for found in read_answers(folder):
        page = (folder / found["name"] / "report.html").read_text()
        if found["name"] in REAL:
            page = GALLERY.sub("", page)
        (HERE / f"{found['name']}.html").write_text(EMBEDDED.sub(shrink, page))
        good = f"{found['points'] - found['failed']} of {found['points']}"
        link = f"[{found['name']}]({found['name']}.html)"
        cells = [link, found["question"], found["answer"], good]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    (HERE / "answers.md").write_text(
        "# What the small studies found\n\nMade by `make studies-small` and `docs/collect_studies.py`; in brackets 95 % intervals "
        "over seeds and items.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
