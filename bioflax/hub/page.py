"""The model page: a card as a README that people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioflax.hub.card import ModelCard

USE = {
    "denoise": "restored = bioflax.predict(model, image)",
    "superresolve": "finer = bioflax.predict(model, image)  # on a grid that is finer by head.upscale",
    "localize": 'table = bioflax.predict(model, movie, axes="TYX")  # camera counts in; frame, x_nm, y_nm, z_nm, ... out',
    "detect": "found = bioflax.predict(model, image)  # found.position (px), found.score; of objects found.labels()",
}


def model_page(card: ModelCard) -> str:
    """Writes the page of a model.

    Args:
        card: of the model.

    Returns:
        Markdown: what it is, how to use it, results beside bounds and baselines, training, where it holds.
    """
    parts = [
        f"# {card.name}",
        f"A model for the task *{card.task}*, trained with the scheme *{card.scheme}*.",
        "## Use",
        _fence(
            "python",
            f'import bioflax\nmodel = bioflax.load("path/to/this/folder")\n{USE.get(card.task, USE["denoise"])}',
        ),
        "## Results",
        _results(card),
        "## What it is",
        _pairs(
            {
                "Architecture": _architecture(card.architecture),
                "Parameters": f"{card.parameters:,}",
                "Receptive field": f"{card.receptive_field} px",
                "Axes": card.axes,
                "Pixel size": _pixel_size(card.pixel_nm),
                "Normalization": _inline(card.normalization),
                **{name: _inline(value) for name, value in {**card.physics, **card.decoding}.items()},
                "Licence of the weights": card.licence,
            }
        ),
        "## Training",
        _pairs({**{name: _inline(value) for name, value in card.trained_on.items()}, "seed": str(card.seed)}),
    ]
    if card.command:
        parts.append(_fence("sh", card.command))
    parts.append("## Where it holds")
    parts.append(
        _envelope(card.envelope)
        if card.envelope
        else "Not measured: no study was made of this model. Judge it with `bioflax evaluate` before you trust it."
    )
    if card.versions:
        parts += ["## Software", _pairs(card.versions)]
    return "\n\n".join(parts) + "\n"


def _envelope(envelope: Mapping[str, Any]) -> str:
    """The operating envelope: a line for every factor of every study; what another program wrote there as it is."""
    lines, others = [], {}
    for study, found in envelope.items():
        factors = found.get("factors") if isinstance(found, Mapping) else None
        if not isinstance(factors, Mapping):
            others[study] = _inline(found)
            continue
        for factor in factors.values():
            cells = (study, found.get("metric", ""), factor.get("label", ""), _kept(factor), _tested(factor))
            lines.append(f"| {' | '.join(_cell(str(cell)) for cell in cells)} |")
    parts = []
    if lines:
        head = ["| study | metric | factor | holds | tested |", "|---|---|---|---|---|"]
        rules = {found["rule"] for found in envelope.values() if isinstance(found, Mapping) and "rule" in found}
        parts.append("\n".join([*head, *lines]) + "".join(f"\n\nThe rule: {rule}." for rule in sorted(rules)))
    return "\n\n".join([*parts, *([_pairs(others)] if others else [])])


def _kept(factor: Mapping[str, Any]) -> str:
    kept, levels = factor.get("kept") or [], factor.get("levels") or []
    names = [level for level, good in zip(levels, kept) if good]
    if not names:
        return "nowhere"
    if any(isinstance(level, str) for level in levels):
        return ", ".join(map(str, names))
    low, high = factor.get("range_interpolated") or factor.get("range") or (names[0], names[-1])
    return f"{_level(low)} to {_level(high)} {factor.get('unit', '')}".strip()


def _tested(factor: Mapping[str, Any]) -> str:
    levels = factor.get("levels") or []
    if any(isinstance(level, str) for level in levels):
        return ", ".join(map(str, levels))
    return f"{_level(min(levels))} to {_level(max(levels))} {factor.get('unit', '')}".strip() if levels else ""


def _level(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _results(card: ModelCard) -> str:
    names = list(card.metrics)
    names += [name for name in card.bounds if name not in names]
    names += [name for row in card.baselines.values() for name in row if name not in names]
    names = list(dict.fromkeys(names))
    if not names:
        return "No results are recorded."
    rows = [("this model", card.metrics), *card.baselines.items()]
    if card.bounds:
        rows.append(("bound", card.bounds))
    lines = [f"| method | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {_cell(title)} | {' | '.join(_value(row.get(name)) for name in names)} |" for title, row in rows]
    return "\n".join(lines)


def _architecture(described: Mapping[str, Any]) -> str:
    inner = []
    for name, value in described["arguments"].items():
        nested = isinstance(value, Mapping) and "name" in value and "arguments" in value
        inner.append(_architecture(value) if nested else f"{name}={value}")
    return f"{described['name']}({', '.join(inner)})"


def _pixel_size(pixel_nm: Mapping[str, float] | None) -> str:
    return ", ".join(f"{axis} {size:g} nm" for axis, size in pixel_nm.items()) if pixel_nm else "unknown"


def _pairs(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_cell(name)} | {_cell(text)} |" for name, text in rows.items())])


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_inline(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_inline, value))
    return _value(value) if isinstance(value, float) or value is None else str(value)


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
