"""One page over all the studies of a folder: each question with its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.report.page import Page, Section, Table, duration, render_page, replace

ANSWER = "answer.json"
HEADINGS = ("study", "question", "answer", "points", "work")


def render_index(folder: str | Path) -> Path:
    """Writes `report.html` and `answers.md` over the studies in the folders inside, from their `answer.json`.

    Args:
        folder: such as runs/studies.

    Returns:
        The path of the page.

    Raises:
        InputError: no folder inside holds a study that was rendered.
    """
    folder = Path(folder)
    entries = read_answers(folder)
    if not entries:
        raise InputError(f"dir: expected folders of studies in {folder}, found none that has a page.")
    rows = [_row(entry) for entry in entries]
    page = Page(
        title="Limitation studies",
        subtitle="Where does a model stop working, and what helps?",
        facts={"studies": str(len(rows)), "work": duration(sum(entry["seconds"] for entry in entries))},
        sections=[Section("Questions and answers", tables=[Table(HEADINGS, rows)])],
    )
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    replace(folder / "answers.md", ("\n".join(lines) + "\n").encode())
    return replace(folder / "report.html", render_page(page).encode())


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """What the studies in a folder have found, by name; one that cannot be read is left out."""
    found = []
    for path in sorted(folder.glob(f"*/{ANSWER}")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    good = entry["points"] - entry["failed"]
    return (
        entry["name"],
        entry["question"],
        entry["answer"],
        f"{good} of {entry['points']}",
        duration(entry["seconds"]),
    )
