"""A report page: sections of text, tables and figures, rendered to one self-contained HTML file."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioflax.errors import require


@dataclass(frozen=True)
class Figure:
    """A picture with its caption; `name` is its file name in figures/."""

    name: str
    png: bytes
    caption: str

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; `strong` are indices of rows to set in bold, `breaks` of rows that open a part."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    strong: Sequence[int] = ()
    breaks: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A heading, a few words, and what they explain, in this order."""

    heading: str
    text: str = ""
    notices: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    code: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page: `facts` are the few numbers on top, label -> value."""

    title: str
    subtitle: str
    facts: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def write_page(page: Page, run_dir: Path, name: str = "report.html") -> Path:
    """Writes the page and figures/*.png aside, then renames them.

    Returns:
        The path of the page.
    """
    folder = run_dir / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for figure in (figure for section in page.sections for figure in section.figures):
        replace(folder / f"{figure.name}.png", figure.png)
    return replace(run_dir / name, render_page(page).encode())


def render_page(page: Page) -> str:
    """The page as HTML text; everything that came from files is escaped."""
    jinja2 = require("jinja2", "report")
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    return environment.from_string(template).render(page=page, made=made)


def replace(path: Path, content: bytes) -> Path:
    """Writes bytes aside and renames, so that no half-written file keeps the name."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(content)
    return aside.replace(path)


def number(value: float | int | None, digits: int = 2, unit: str = "") -> str:
    """A number for a table: fixed digits, exponents only where they are needed, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        text = f"{value:,}".replace(",", " ")
    elif value != 0 and not 10**-digits <= abs(value) < 1e7:
        text = f"{value:.3g}"
    else:
        text = f"{value:.{digits}f}"
    return f"{text} {unit}".rstrip()


def duration(seconds: float | None) -> str:
    """Seconds in words: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
