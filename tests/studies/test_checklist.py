"""The checklist says what was really done, and what was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bioflax.studies.checklist import Check, checklist
from bioflax.studies.claims import beats_rival, effects, helped
from bioflax.studies.collect import collect
from bioflax.studies.envelope import measure_envelope
from bioflax.studies.points import read_facts
from tests.studies import variants
from tests.studies.synthetic import make_run


def checked(make: Callable[[Path], Path], folder: Path) -> dict[str, Check]:
    make(folder)
    results = collect(folder)
    claims = [*effects(results), *helped(results), *beats_rival(results)]
    found = checklist(results, measure_envelope(results), claims, read_facts(folder, results.study))
    assert all(check.status in ("done", "partly", "not done") and check.evidence for check in found)
    return {check.title: check for check in found}


def large(folder: Path) -> Path:
    make_run(folder, seeds=3, items=30, failed=False)
    return variants.edit(folder, lambda study: study.update(test_seed=1000))


def test_a_thorough_study_has_all_but_its_provenance(tmp_path):
    found = checked(large, tmp_path)
    assert [title for title, check in found.items() if check.status != "done"] == ["It can be repeated"]
    assert "versions, device and git commit" in found["It can be repeated"].evidence
    assert found["Trainings were repeated"].evidence == "3 seeds for each row (3 planned)"
    assert "nlm and gaussian" in found["Compared with classical methods"].evidence
    assert found["Many claims are corrected together"].evidence.startswith("Holm's method over ")


@pytest.mark.parametrize(
    ("make", "title", "status", "evidence"),
    [
        (variants.one_seed, "Trainings were repeated", "not done", "1 seed only"),
        (variants.one_seed, "Every number has an interval", "partly", "with one seed, not over trainings"),
        (make_run, "Trainings were repeated", "partly", "1 to 2 seeds"),
        (make_run, "Failed points are reported", "done", "1 of 45 points have no result"),
        (make_run, "Test items were never trained on", "partly", "names no seed of the test items"),
        (variants.without_rivals, "Compared with classical methods", "not done", "the study names none"),
        (variants.without_rivals, "Compared with a bound", "not done", "no bound of psnr_db"),
        (variants.images, "It can be repeated", "done", "versions, device and commit in every point"),
        (variants.images, "The region in which a model holds is stated", "not done", "no factor was swept"),
        (variants.images, "Failures are shown, not only successes", "not done", "no picture"),
        (variants.one_number, "Many claims are corrected together", "not done", "no claim"),
        (variants.all_failed, "Test items are paired", "not done", "no point has a result"),
        (variants.all_failed, "Trainings were repeated", "not done", "no training has a result"),
        (variants.all_failed, "Compared with classical methods", "not done", "no classical rival has a result"),
    ],
)
def test_what_is_lacking_is_said(tmp_path, make, title, status, evidence):
    found = checked(make, tmp_path)[title]
    assert found.status == status and evidence in found.evidence


def test_a_test_seed_that_is_also_a_training_seed_is_found(tmp_path):
    def careless(folder: Path) -> Path:
        return variants.edit(make_run(folder), lambda study: study.update(test_seed=1))

    found = checked(careless, tmp_path)["Test items were never trained on"]
    assert found.status == "not done" and "test seed 1 is also the seed of a training" in found.evidence


def test_files_are_not_vouched_for(tmp_path):
    def files(folder: Path) -> Path:
        return variants.edit(large(folder), lambda study: study["base"].append("data.folder=cells"))

    assert checked(files, tmp_path)["Test items were never trained on"].status == "partly"
