"""The methods of a study as a paragraph for a paper: every number in it comes from the study's files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bioflax.report.page import duration
from bioflax.studies.points import Facts
from bioflax.studies.scores import RESAMPLES
from bioflax.studies.wording import capital, count, factor_label, level_text, level_with_unit, listed, metric_label

TASKS = {
    "denoise": "denoising",
    "superresolve": "super-resolution",
    "localize": "single-molecule localization",
    "detect": "detection",
}
RATIOS = "sums over all items (numerators over denominators)"


def methods_paragraph(results: Any, facts: Facts | None = None, claims: Sequence[Any] = ()) -> str:
    """What was done, in full sentences.

    Args:
        results: of the study.
        facts: of its points (`read_facts`); None leaves out versions, device and times.
        claims: those that were corrected; none says nothing of a correction.
    """
    study = results.study
    parts = [
        what_was_trained(results),
        what_was_tested(results),
        how_it_was_judged(results),
        *holm(study, claims),
        *settings(study),
        *(what_ran(facts) if facts else ()),
        f"Command: {study['command']}." if study.get("command") else "",
    ]
    return " ".join(part for part in parts if part)


def what_was_trained(results: Any) -> str:
    """The rows."""
    study, factors = results.study, results.study["factors"]
    trained = [row for row in results.rows if row.kind == "train"]
    helps = [row for row in results.rows if row.kind == "help"]
    task = TASKS.get(study["task"], study["task"])
    swept = list(dict.fromkeys(name for row in trained for name in row.levels))
    text = f"We trained models for {task} with bioflax under {count(len(trained), 'condition')}"
    if swept:
        levels = [
            f"{factor_label(name, factors[name])} at {each_once(row.levels[name] for row in trained if name in row.levels)}"
            for name in swept
        ]
        text += f" ({'; '.join(levels)})"
    elif trained:
        text += f" ({listed((row.name for row in trained), 40)})"
    text += f", {repeats(study['seeds'])}."
    other = [row.name for row in trained if swept and not row.levels]
    if other:
        text += f" Further training conditions: {listed(other, 40)}."
    if helps:
        changes = [
            f"{row.name} ({', '.join(own_overrides(results, row)) or 'no override of its own'})" for row in helps
        ]
        text += f" Mitigations: {listed(changes, 40)}."
    return text


def repeats(seeds: int) -> str:
    """How often each condition was trained."""
    return "once (one seed)" if seeds == 1 else f"each {seeds} times from other seeds (0 to {seeds - 1})"


def own_overrides(results: Any, row: Any) -> list[str]:
    """What a row changes beside all that holds everywhere and the references."""
    common = {
        text for text in (*results.study["base"], *results.study.get("sized", ()), *results.study.get("also", ()))
    }
    plain = [set(other.overrides) for other in results.rows if other.kind == "train"]
    shared = set.intersection(*plain) if plain else set()
    at_reference = {
        str(text).replace("{}", str(found.get("reference")))
        for found in results.study["factors"].values()
        for text in found.get("set") or ()
    }
    return [text for text in row.overrides if text not in common | shared | at_reference]


def each_once(levels: Any) -> str:
    """Levels as text, each once, in their order."""
    return listed(dict.fromkeys(level_text(level) for level in levels), 40)


def what_was_tested(results: Any) -> str:
    """The tests and what stood still."""
    study, factors = results.study, results.study["factors"]
    swept = [name for name in factors if any(name in test.levels for test in results.tests)]
    text = (
        f"Every model was tested under {count(len(results.tests), 'test condition')} with "
        f"{count(study['items'], 'test item')} each"
    )
    if len(results.tests) > 1:
        text += "; the items are paired: the same scenes and noise keys under every model and condition"
    text += f" (test seed {study['test_seed']}, used by no training)." if study.get("test_seed") is not None else "."
    for name in swept:
        tested = each_once(results.level(test.id, name) for test in results.sweep(name))
        text += f" {capital(factor_label(name, factors[name]))}: {tested}."
    crossed = results.crossed()
    if crossed:
        pairs = [f"{factor_label(a, factors[a])} with {factor_label(b, factors[b])}" for a, b in crossed]
        text += f" Crossed: {listed(pairs)}."
    fixed = [
        f"{factor_label(name, {**found, 'unit': ''})} {level_with_unit(found['reference'], found)}"
        for name, found in factors.items()
        if found.get("reference") is not None
    ]
    return text + (f" A factor that was not swept stood at its reference: {listed(fixed, 40)}." if fixed else "")


def how_it_was_judged(results: Any) -> str:
    """Metric, intervals, what counts as kept."""
    study = results.study
    tally = next((found for (_, _, name), found in results.tallies.items() if name == study["metric"]), None)
    form = {None: "", "mean": f", a ratio of {RATIOS}", "root": f", the square root of {RATIOS}"}[
        tally.form if tally else None
    ]
    if tally is not None and tally.form == "mean" and (tally.denominator == 1).all():
        form = ", the mean over items"
    over = "test items and seeds" if study["seeds"] > 1 else "test items"
    better = "lower" if study["better"] == "lower" else "higher"
    rivals = [row.name for row in results.rows if row.kind == "rival"]
    bound = any(row.kind == "bound" for row in results.rows)
    beside = [f"the classical {'baseline' if len(rivals) == 1 else 'baselines'} {listed(rivals, 20)}"] if rivals else []
    beside += ["the physical bound"] if bound else []
    against = f" On the same items: {listed(beside)}." if beside else " No classical baseline and no bound were judged."
    more = f" Also judged: {listed(map(metric_label, study['more']), 20)}." if study.get("more") else ""
    share = study["share"]
    kept = f"at most 1 / {share:g} of" if better == "lower" else f"at least {share * 100:g} % of"
    if study["metric"].endswith("_db"):
        kept = f"at most {abs(20 * math.log10(share)):.2f} dB ({share * 100:g} % of an amplitude) less than"
    return (
        f"The metric is {metric_label(study['metric'])} ({better} is better){form}; {study['level'] * 100:g} % intervals are "
        f"percentile bootstraps over {over} ({RESAMPLES} resamples), differences are paired by item.{against}{more} A "
        f"condition counts as kept where a model has {kept} the matched condition, the model "
        "that was trained as it is tested (where there is none: itself at the reference test)."
    )


def holm(study: Mapping[str, Any], claims: Sequence[Any]) -> list[str]:
    """How claims were corrected."""
    if not claims:
        return []
    rivals = sum(claim.kind == "rival" for claim in claims)
    parts = [f"{len(claims) - rivals} on conditions and mitigations"] if len(claims) > rivals else []
    parts += [f"{rivals} against the best classical rival"] if rivals else []
    each = ", each family by itself" if len(parts) > 1 else ""
    most = f"{1 - study['level']:.2g}"
    return [f"P values ({listed(parts)}) were corrected by Holm's method{each}; better or worse is said at {most}."]


def settings(study: Mapping[str, Any]) -> list[str]:
    """Overrides of bioflax train that hold everywhere."""
    common = [*study["base"], *(study.get("sized") or ()), *(study.get("also") or ())]
    size = f" (size {study['size']})" if study.get("size") else ""
    found = (
        [f"Settings of every training{size}, as overrides of bioflax train: {' '.join(map(str, common))}."]
        if common
        else []
    )
    steps, batch = (last_of(common, f"train.{name}") for name in ("steps", "batch"))
    if steps or batch:
        words = [f"{steps} steps" if steps else "", f"batch {batch}" if batch else ""]
        found.append(
            f"That is {listed([word for word in words if word])} for each training, unless a row says otherwise."
        )
    return found


def last_of(overrides: Sequence[str], name: str) -> str | None:
    """The value that the last override of a name sets."""
    values = [text.partition("=")[2] for text in map(str, overrides) if text.partition("=")[0].lstrip("+") == name]
    return values[-1] if values else None


def what_ran(facts: Facts) -> list[str]:
    """Versions, device, commit, time: as the points say."""
    found = []
    if facts.versions:
        found.append(
            f"Versions: {listed((f'{name} ' + ' / '.join(seen) for name, seen in facts.versions.items()), 20)}."
        )
    if facts.devices:
        found.append(f"{'Device' if len(facts.devices) == 1 else 'Devices'}: {listed(facts.devices)}.")
    if facts.commits:
        found.append(f"Git commit: {listed(commit[:12] for commit in facts.commits)}.")
    if facts.train_seconds > 0:
        found.append(
            f"Training took {duration(facts.train_seconds)} in all, testing {duration(facts.evaluate_seconds)}."
        )
    return found
