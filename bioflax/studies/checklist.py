"""A checklist of good practice, filled in from what a study really did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioflax.studies.points import Facts
from bioflax.studies.scores import main_row
from bioflax.studies.wording import count, listed

DONE, PARTLY, NOT_DONE = "done", "partly", "not done"
ENOUGH_SEEDS, ENOUGH_ITEMS = 3, 30  # below, a bootstrap knows little of its own spread
REAL = ("data.folder=", "data.target=", "data.path=", "data.files=")


@dataclass(frozen=True)
class Check:
    """One item: `status` is done, partly or not done; `evidence` says what it rests on."""

    title: str
    status: str
    evidence: str


def checklist(
    results: Any, envelope: Mapping[str, Any] | None = None, claims: Sequence[Any] = (), facts: Facts | None = None
) -> list[Check]:
    """All items, in the order of a paper's methods.

    Args:
        results: of the study.
        envelope: of `measure_envelope`.
        claims: of `effects`, `helped` and `beats_rival`.
        facts: of the points.
    """
    return [
        data(results),
        split(results),
        leakage(results),
        pairing(results),
        baseline(results),
        bound(results),
        seeds(results),
        intervals(results),
        correction(claims),
        region(results, envelope),
        pictures(results),
        failures(results),
        repeatable(facts),
    ]


def settings_of(results: Any) -> list[str]:
    """Overrides that hold everywhere."""
    study = results.study
    return [str(text) for text in (*study["base"], *(study.get("sized") or ()), *(study.get("also") or ()))]


def data(results: Any) -> Check:
    """Whether the settings name the data."""
    title, common = "Data and their origin are named", settings_of(results)
    named = [text for text in common if text.startswith(("experiment=", "data", "+data"))]
    if named:
        return Check(
            title, DONE, f"set by {listed(named, 8)}; every test condition with its overrides is in study.json"
        )
    if common:
        return Check(title, PARTLY, "no setting names the data: those of the command's default configuration were used")
    return Check(title, NOT_DONE, "study.json names no settings")


def split(results: Any) -> Check:
    """Whether the test items were kept out of every training."""
    title, study = "Test items were never trained on", results.study
    folders = [text for text in every_override(results) if text.lstrip("+").startswith(REAL)]
    if folders:
        return Check(
            title,
            PARTLY,
            f"files are used ({listed(folders, 3)}): that training and test files differ is not checked here",
        )
    if study.get("test_seed") is None:
        return Check(title, PARTLY, "study.json names no seed of the test items")
    if study["test_seed"] in range(study["seeds"]):
        return Check(title, NOT_DONE, f"test seed {study['test_seed']} is also the seed of a training")
    evidence = f"test items are drawn with seed {study['test_seed']}, trainings with seeds 0 to {study['seeds'] - 1}"
    return Check(title, DONE, evidence.replace("seeds 0 to 0", "seed 0"))


def leakage(results: Any) -> Check:
    """Whether rows and levels were fixed before any test."""
    title = "No choice was made on the test items"
    if not results.tallies:
        return Check(title, NOT_DONE, "no test was made")
    rivals = any(row.kind == "rival" for row in results.rows)
    least = "; the best rival of a test is chosen on the same items, which favours the rival" if rivals else ""
    return Check(
        title, DONE, f"all rows and levels were fixed in the study's settings before any test, and all are shown{least}"
    )


def every_override(results: Any) -> list[str]:
    found = settings_of(results)
    for entry in (*results.rows, *results.tests):
        found += map(str, entry.overrides)
    return list(dict.fromkeys(found))


def pairing(results: Any) -> Check:
    """Whether all rows see the same items."""
    title, metric = "Test items are paired", results.study["metric"]
    sizes = {tally.numerator.shape[-1] for (_, _, name), tally in results.tallies.items() if name == metric}
    if not sizes:
        return Check(title, NOT_DONE, "no point has a result")
    if len(sizes) > 1:
        return Check(title, NOT_DONE, f"conditions hold different numbers of items: {listed(map(str, sorted(sizes)))}")
    items = sizes.pop()
    if items < 2:
        return Check(title, PARTLY, "1 item only: there is nothing to pair")
    return Check(
        title,
        DONE,
        f"the same {items} items (scenes and noise keys) under every row; differences are taken item by item",
    )


def baseline(results: Any) -> Check:
    """Whether classical rivals have results."""
    title, tests = "Compared with classical methods", len(results.tests)
    metric, names = results.study["metric"], [row.name for row in results.rows if row.kind == "rival"]
    seen = {name: sum((name, test.id, metric) in results.tallies for test in results.tests) for name in names}
    if not any(seen.values()):
        return Check(title, NOT_DONE, "no classical rival has a result" if names else "the study names none")
    if min(seen.values()) < tests:
        counts = (f"{name} under {number} of {count(tests, 'test')}" for name, number in seen.items())
        return Check(title, PARTLY, listed(counts, 10))
    under = f", under all {tests} tests" if tests > 1 else ""
    return Check(title, DONE, f"{listed(names, 10)}, on the same items{under}")


def bound(results: Any) -> Check:
    """Whether a physical bound stands beside the results."""
    title, metric = "Compared with a bound", results.study["metric"]
    seen = sum(("bound", test.id, metric) in results.tallies for test in results.tests)
    if not seen:
        return Check(title, NOT_DONE, f"no bound of {metric} is known for this task")
    status = DONE if seen == len(results.tests) else PARTLY
    return Check(title, status, f"a bound of {metric} under {seen} of {count(len(results.tests), 'test')}")


def seeds(results: Any) -> Check:
    """Whether every row was trained several times."""
    title, planned = "Trainings were repeated", results.study["seeds"]
    metric, rows = results.study["metric"], {row.name for row in results.rows if row.kind in ("train", "help")}
    counts = [len(t.by_seed) for (row, _, name), t in results.tallies.items() if row in rows and name == metric]
    if not counts:
        return Check(title, NOT_DONE, "no training has a result")
    if max(counts) == 1:
        return Check(title, NOT_DONE, "1 seed only: the spread between trainings is not known")
    span = f"{min(counts)} to {max(counts)} seeds" if min(counts) < max(counts) else f"{max(counts)} seeds"
    if min(counts) < ENOUGH_SEEDS:
        return Check(
            title, PARTLY, f"{span} for each row ({planned} planned): the spread between trainings is poorly known"
        )
    return Check(title, DONE if min(counts) == planned else PARTLY, f"{span} for each row ({planned} planned)")


def intervals(results: Any) -> Check:
    """Whether the numbers have intervals."""
    title, study = "Every number has an interval", results.study
    if not results.tallies:
        return Check(title, NOT_DONE, "no point has a result")
    if study["items"] < 2:
        return Check(title, NOT_DONE, "1 test item only: there is nothing to resample")
    over = "items and seeds" if study["seeds"] > 1 else "items; with one seed, not over trainings"
    status = DONE if study["seeds"] > 1 and study["items"] >= ENOUGH_ITEMS else PARTLY
    few = f"; {study['items']} items are few" if study["items"] < ENOUGH_ITEMS else ""
    return Check(title, status, f"{study['level'] * 100:g} % bootstrap over {over}{few}")


def correction(claims: Sequence[Any]) -> Check:
    title = "Many claims are corrected together"
    if not claims:
        return Check(title, NOT_DONE, "there is no claim with a p value")
    own = sum(claim.kind != "rival" for claim in claims)
    parts = [f"{own} on conditions and mitigations"] if own else []
    parts += [f"{len(claims) - own} against rivals"] if len(claims) > own else []
    return Check(
        title, DONE, f"Holm's method over {listed(parts)}{', each family by itself' if len(parts) > 1 else ''}"
    )


def region(results: Any, envelope: Mapping[str, Any] | None) -> Check:
    """Whether an operating envelope was measured."""
    title = "The region in which a model holds is stated"
    entry = ((envelope or {}).get("rows") or {}).get(main_row(results) or "") or {}
    factors = entry.get("factors") or {}
    if not factors:
        return Check(title, NOT_DONE, "no factor was swept in the test")
    named = {name: about for name, about in factors.items() if any(value is not None for value in about["values"])}
    if not named:
        return Check(title, NOT_DONE, "the reference row has no result along any factor")
    holes = [name for name, about in factors.items() if any(value is None for value in about["values"])]
    gap = f"; points are missing along {listed(holes)}" if holes else ""
    return Check(title, PARTLY if holes else DONE, f"envelope.json, along {listed(named)}{gap}")


def pictures(results: Any) -> Check:
    """Whether the worst pictures are shown."""
    title, rows = "Failures are shown, not only successes", {row for row, _ in results.pictures}
    if not rows:
        return Check(title, NOT_DONE, "no picture was kept")
    trained = [row.name for row in results.rows if row.kind in ("train", "help")]
    status = DONE if set(trained) <= rows else PARTLY
    return Check(title, status, f"the worst item of {len(rows)} of {count(len(trained), 'trained row')} (seed 0)")


def failures(results: Any) -> Check:
    """Whether the worst pictures are shown."""
    title, points = "Failed points are reported", len(results.study["points"])
    if not results.failed:
        return Check(title, DONE, f"all {points} points have a result")
    return Check(
        title, DONE, f"{len(results.failed)} of {points} points have no result; each is listed with its reason"
    )


def repeatable(facts: Facts | None) -> Check:
    """Whether versions, commit and device are known."""
    title = "It can be repeated"
    if facts is None or not facts.found:
        return Check(title, NOT_DONE, "no point says which versions it ran with")
    known = {"versions": facts.versions, "device": facts.devices, "git commit": facts.commits}
    missing = [name for name, value in known.items() if not value]
    mixed = [name for name, seen in facts.versions.items() if len(seen) > 1]
    mixed += ["git commit"] if len(facts.commits) > 1 else []
    words = "command, overrides and seeds are in study.json"
    if missing or mixed:
        lack = [f"not recorded: {listed(missing)}"] if missing else []
        lack += [f"points differ in {listed(mixed)}"] if mixed else []
        return Check(title, PARTLY, f"{words}; {'; '.join(lack)}")
    return Check(title, DONE, f"{words}; versions, device and commit in every point")
