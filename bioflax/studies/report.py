"""The page of a limitation study, made from its files alone: answer, figures, envelope, claims, checklist, methods."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bioflax.report.page import Page, Section, Table, duration, number, replace, write_page
from bioflax.studies import sections, tables
from bioflax.studies.checklist import DONE, NOT_DONE, checklist
from bioflax.studies.index import ANSWER
from bioflax.studies.material import Material, gather
from bioflax.studies.methods import methods_paragraph
from bioflax.studies.phrases import value_words
from bioflax.studies.scores import reference_test
from bioflax.studies.sentence import answer
from bioflax.studies.wording import count, metric_label


def render_study(run_dir: str | os.PathLike) -> Path:
    """Renders the study in a folder again; writes report.html, figures/ and envelope.json.

    Returns:
        The path of report.html.

    Raises:
        InputError: there is no study.json, or it is damaged.
    """
    material = gather(Path(run_dir))
    replace(
        material.folder / "envelope.json", (json.dumps(material.envelope, indent=1, allow_nan=False) + "\n").encode()
    )
    (material.folder / "figures").mkdir(exist_ok=True)
    results = material.results
    text = answer(results, material.envelope, material.claims, material.thresholds)
    replace(material.folder / ANSWER, (json.dumps(summary(material, text), indent=1) + "\n").encode())
    page = Page(
        title=f"Study: {results.study['name']}",
        subtitle=results.study["question"],
        facts=headline(material),
        sections=[
            answered(material, text),
            what_was_run(material),
            *sections.matrices(material),
            *sections.by_factor(material),
            *sections.by_bound(material),
            *sections.in_training(material),
            *sections.by_two_factors(material),
            *sections.what_helps(material),
            *sections.quality_and_price(material),
            *sections.spread(material),
            *sections.kept_region(material),
            *sections.crossings(material),
            *sections.claimed(material),
            *sections.worst(material),
            checked(material),
            Section("Methods", methods_paragraph(results, material.facts, material.claims)),
            Section(
                "How to repeat it", code=results.study.get("command") or "bioflax study study=" + results.study["name"]
            ),
        ],
    )
    return write_page(page, material.folder)


def headline(material: Material) -> dict[str, str]:
    """The few numbers on top of the page."""
    results, facts = material.results, material.facts
    good = len(results.study["points"]) - len(results.failed)
    found = {
        "rows trained": number(len(results.trained)),
        "tests": number(len(results.tests)),
        "seeds": number(results.study["seeds"]),
        "test items": number(results.study["items"]),
        "points with a result": f"{good} of {len(results.study['points'])}",
    }
    if material.scores.at(material.main, reference_test(results)):
        label = f"{metric_label(results.study['metric'])} at the reference"
        found[label] = value_words(results, material.main, reference_test(results))
    if facts.train_seconds > 0:
        found["training time"] = duration(facts.train_seconds)
    if facts.devices:
        found["device"] = facts.devices[0] if len(facts.devices) == 1 else f"{len(facts.devices)} kinds"
    return found


def summary(material: Material, text: str) -> dict[str, Any]:
    """What a page over many studies says of this one."""
    results, facts = material.results, material.facts
    found = {"name": results.study["name"], "question": results.study["question"], "answer": text}
    found |= {"points": len(results.study["points"]), "failed": len(results.failed)}
    return {**found, "seconds": facts.train_seconds + facts.evaluate_seconds}


def answered(material: Material, text: str) -> Section:
    """The question and its answer."""
    results = material.results
    kind = "warning" if not results.tallies else "note" if results.failed else "good"
    return Section("Answer", results.study["question"], [(kind, text), *material.notices])


def what_was_run(material: Material) -> Section:
    """Rows, tests, and what failed."""
    results = material.results
    failed, notices = [], []
    if results.failed:
        failed = [tables.failures_table(results)]
        notices = [
            ("warning", f"{count(len(results.failed), 'point')} of {len(results.study['points'])} without a result.")
        ]
    words = (
        f"A row is one way to get a model, trained with {count(results.study['seeds'], 'seed')}; every row is judged on the same "
        "test items."
    )
    return Section("What was run", words, notices, [tables.rows_table(results), tables.tests_table(results), *failed])


def checked(material: Material) -> Section:
    """The checklist."""
    found = checklist(material.results, material.envelope, material.claims, material.facts)
    marks = {DONE: "✓", NOT_DONE: "✗"}
    lines = [[check.title, f"{marks.get(check.status, '~')} {check.status}", check.evidence] for check in found]
    done = sum(check.status == DONE for check in found)
    caption = f"Filled in by the program from what was done: {done} of {len(found)} done."
    return Section("Checklist of good practice", tables=[Table(["item", "status", "evidence"], lines, caption)])
