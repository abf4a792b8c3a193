"""The sections of a study's page that show numbers; each is left out where there is nothing to show."""

from __future__ import annotations

import csv
import io
from typing import Any

from bioflax.report.page import Section, replace
from bioflax.studies import figures, tables
from bioflax.studies.material import Material
from bioflax.studies.scores import reference_test, score

MANY = 8  # trained rows from which a table of them is worth its room even without costs


def matrices(material: Material) -> list[Section]:
    if not material.results.rows:
        return []
    return [Section("Rows and tests", figures=material.figure(figures.matrix(material.scores)))]


def by_factor(material: Material) -> list[Section]:
    """A curve for each factor that is swept in the test."""
    drawn = []
    entry = (material.envelope.get("rows") or {}).get(material.main) or {}
    for factor in tested_factors(material.results):
        sweep = material.results.sweep(factor)
        if not any((row.name, test.id) in material.scores.cells for row in material.results.rows for test in sweep):
            continue
        about = (entry.get("factors") or {}).get(factor) or {"levels": (), "kept": ()}
        kept = [level for level, ok in zip(about["levels"], about["kept"]) if ok]
        if material.results.level(reference_test(material.results), factor) is None:
            kept.append(None)  # a reference that sets nothing is the matched condition itself
        ends = about.get("range_interpolated")
        drawn += material.figure(figures.curve(material.scores, factor, material.main, kept, ends))
    return [Section("Factor by factor", figures=drawn)] if drawn else []


def by_bound(material: Material) -> list[Section]:
    """Curves of further metrics that have a physical bound."""
    results, drawn = material.results, []
    bounded = {metric for row, _, metric in results.tallies if row == "bound"}
    for metric in (name for name in results.study.get("more", ()) if name in bounded):
        scores = score(results, metric)
        for factor in tested_factors(results):
            if any(("bound", test.id) in scores.cells for test in results.sweep(factor)):
                drawn += material.figure(figures.curve(scores, factor, material.main))
    words = "Further metrics of the study that physics bounds, on the same items."
    return [Section("Beside the bound", words, figures=drawn)] if drawn else []


def tested_factors(results: Any) -> list[str]:
    return [name for name in results.study["factors"] if len(results.sweep(name)) > 1]


def in_training(material: Material) -> list[Section]:
    """A curve for each factor that only the trainings differ in."""
    results, drawn = material.results, []
    tested = tested_factors(results)
    for factor in results.study["factors"]:
        levels = {str(row.levels[factor]) for row in results.rows if row.kind == "train" and factor in row.levels}
        if len(levels) > 1 and factor not in tested and material.scores.cells:
            drawn += material.figure(figures.train_curve(material.scores, factor, material.main))
    return [Section("What the training had", figures=drawn)] if drawn else []


def by_two_factors(material: Material) -> list[Section]:
    """A map for each crossed pair."""
    drawn = []
    pairs = ((material.envelope.get("rows") or {}).get(material.main) or {}).get("pairs") or {}
    for first, second in material.results.crossed():
        found = pairs.get(f"{first} x {second}") or {"levels": ((), ()), "kept": ()}
        kept = {
            (a, b): bool(ok)
            for a, line in zip(found["levels"][0], found["kept"])
            for b, ok in zip(found["levels"][1], line)
        }
        if material.main and material.scores.cells:
            drawn += material.figure(figures.crossed(material.scores, first, second, material.main, kept))
    return [Section("Two factors at once", figures=drawn)] if drawn else []


def what_helps(material: Material) -> list[Section]:
    """Mitigations: gain by test, price at the reference, training time and parameters."""
    results, main = material.results, material.main
    if main is None or not any(row.kind == "help" for row in results.rows):
        return []
    sign = -1 if results.lower_is_better else 1
    found = [
        figures.Gain(claim.row, claim.test, sign * claim.value, *sorted((sign * claim.low, sign * claim.high)))
        for claim in material.claims
        if claim.kind == "help" and claim.against_row == main
    ]
    drawn = []
    for factor in (tested_factors(results) or [None]) if found else []:
        drawn += material.figure(figures.gains(material.scores, factor, main, found))
    text = "What a mitigation brings under each test, and what it costs where the plain row is at home."
    return [Section("What helps", text, tables=[tables.helps_table(results, material.claims, main)], figures=drawn)]


def quality_and_price(material: Material) -> list[Section]:
    """A table of values and costs; with many rows, or with measured speed, also a picture of quality against cost."""
    results, drawn = material.results, []
    costs = [name for name in figures.COSTS if sum(bool(found.get(name)) for found in results.cost.values()) > 1]
    spread = [
        name
        for name in costs
        if len({round(found[name], 12) for found in results.cost.values() if found.get(name)}) > 1
    ]
    speed = next((name for name in ("seconds_per_mpx", "flops_per_px", "parameters") if name in spread), None)
    if speed and any(material.scores.at(row.name, reference_test(results)) for row in results.trained):
        drawn = material.figure(figures.quality_and_cost(material.scores, speed))
    if not results.trained or not (costs or len(results.trained) > MANY):
        return []
    return [Section("Quality and price", tables=[tables.cost_table(material.scores)], figures=drawn)]


def spread(material: Material) -> list[Section]:
    """Seeds at the reference."""
    results, test = material.results, reference_test(material.results)
    most = max((len(results.seeds.get((row.name, test), ())) for row in results.trained), default=0)
    if most == 0:
        return []
    notices = [("warning", "One seed only: how far trainings lie apart is not known.")] if most == 1 else []
    return [Section("Seeds", notices=notices, figures=material.figure(figures.seeds(material.scores)))]


def kept_region(material: Material) -> list[Section]:
    table = tables.envelope_table(material.results, material.envelope)
    return [Section("Operating envelope", "Also in envelope.json.", tables=[table])] if table.rows else []


def crossings(material: Material) -> list[Section]:
    if not material.thresholds:
        return []
    return [Section("Thresholds", tables=[tables.thresholds_table(material.results, material.thresholds)])]


def claimed(material: Material) -> list[Section]:
    """Claims with their p; all of them in figures/claims.csv."""
    if not material.claims:
        return []
    names = (
        "kind",
        "row",
        "test",
        "against_row",
        "against_test",
        "metric",
        "value",
        "low",
        "high",
        "p",
        "p_adjusted",
        "verdict",
    )
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([getattr(claim, name) for name in names] for claim in material.claims)
    replace(material.folder / "figures" / "claims.csv", stream.getvalue().encode())
    text = (
        "Each difference is taken on the same items. Effects and mitigations are one family of Holm's correction, comparisons "
        f"with the best rival another; better or worse is said at {1 - material.results.study['level']:.2g} after it."
    )
    return [Section("Claims", text, tables=[tables.claims_table(material.results, material.claims, material.main)])]


def worst(material: Material) -> list[Section]:
    drawn = material.figure(figures.gallery(material.scores, material.main))
    return [Section("Worst pictures", figures=drawn)] if drawn else []
