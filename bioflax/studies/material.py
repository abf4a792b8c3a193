"""What a study's page is written from: results, scores, envelope, claims and thresholds, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioflax.errors import InputError
from bioflax.report.page import Figure
from bioflax.studies import figures
from bioflax.studies.claims import beats_rival, effects, helped, thresholds
from bioflax.studies.collect import collect
from bioflax.studies.envelope import measure_envelope
from bioflax.studies.points import Facts, read_facts
from bioflax.studies.scores import Scores, main_row, score


@dataclass(frozen=True)
class Material:
    """All that the sections are written from."""

    folder: Path
    results: Any
    scores: Scores
    main: str | None
    envelope: Mapping[str, Any]
    claims: Sequence[Any]
    thresholds: Sequence[Any]
    notices: Sequence[tuple[str, str]]
    facts: Facts

    def figure(self, drawing: Any) -> list[Figure]:
        """Writes PNG, SVG and CSV of a drawing; nothing for none."""
        return [figures.write(drawing, self.folder / "figures")] if drawing is not None else []


def gather(folder: Path) -> Material:
    """Reads the folder and computes what all sections share."""
    results, notices = collect(folder), []
    try:
        crossed = [found for found in thresholds(results) if len(results.sweep(found.factor)) > 1]
    except InputError as failure:  # a threshold that cannot be computed takes nothing else along
        crossed, notices = [], [("warning", f"No threshold could be computed: {failure}")]
    claims = [*effects(results), *helped(results), *beats_rival(results)]
    envelope = measure_envelope(results, results.study["share"])
    scores, facts = score(results, results.study["metric"]), read_facts(folder, results.study)
    return Material(folder, results, scores, main_row(results), envelope, claims, crossed, notices, facts)
