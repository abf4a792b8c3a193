"""The answer of a study in words: its numbers are those of the curves, and it says what is not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bioflax.studies import phrases
from bioflax.studies.claims import beats_rival, effects, helped, thresholds
from bioflax.studies.collect import Results, collect
from bioflax.studies.envelope import measure_envelope
from bioflax.studies.methods import methods_paragraph
from bioflax.studies.points import read_facts
from bioflax.studies.sentence import answer
from bioflax.studies.wording import level_text, listed, metric_label, signed, with_interval
from tests.studies import variants
from tests.studies.synthetic import make_run


def say(results: Results) -> str:
    claims = [*effects(results), *helped(results), *beats_rival(results)]
    return answer(results, measure_envelope(results), claims, thresholds(results))


def said(make: Callable[[Path], Path], folder: Path) -> str:
    return say(collect(make(folder)))


def test_it_says_where_the_model_holds_what_it_loses_and_what_helps(tmp_path):
    text = said(lambda folder: make_run(folder, spread=0.02), tmp_path)
    assert text.startswith(
        "Trained at 30 photons, the model keeps 90 % of the matched condition (at most 0.92 dB less) from "
    )
    # 3 dB a decade away from 30 photons, 0.5 dB for the help
    assert "it loses up to 3.0" in text or "it loses up to 2.9" in text
    assert (
        "trained over all light costs 0.5" in text and " at the reference and brings 2.5" in text
    ) or "brings 2.4" in text
    assert "best classical rival, nlm" in text and "half as good (PSNR 25.8" in text
    assert "1 point of 45 has no result" in text
    assert "At 10 and 100 photons no row was trained" in text


def test_less_is_better_is_said_as_growth(tmp_path):
    text = said(lambda folder: make_run(folder, lower=True, spread=0.02, failed=False), tmp_path)
    assert "its RMSE grows by up to" in text and "dB" not in text and "no result" not in text
    assert "−" not in text  # costs and gains are sizes


def test_no_effect_is_said(tmp_path):
    def flat(folder: Path) -> Path:
        make_run(folder, second=True, failed=False, spread=0.01)

        def change(study):
            tests = {test["id"] for test in study["tests"] if test["levels"] in ({}, {"camera": "gain off by 2"})}
            variants.keep(study, {"r1"}, tests, rivals=False)
            study.update(thresholds=[], baselines=[])
            study["factors"]["camera"]["levels"] = ["matched", "gain off by 2"]

        return variants.edit(folder, change)

    assert "everywhere: no level tested of camera lowered it below" in said(flat, tmp_path)


def test_names_are_said_as_names(tmp_path):
    results = collect(variants.names_only(tmp_path))
    text = answer(results, measure_envelope(results), effects(results))
    assert "with camera gain off by 2, not with hot pixels" in text
    assert "with camera hot pixels against itself at the reference" in text


def test_the_level_of_the_training_is_said(tmp_path):
    text = said(variants.images, tmp_path)
    assert "With pictures from 1 to 64 in training, the PSNR goes from 28.5" in text and "better by 4.4" in text
    assert "pretrained brings 2.5" in text or "pretrained brings 2.4" in text


def test_the_best_of_many_is_named(tmp_path):
    assert "The best of 30 rows at the reference test is network with a long name 28 with 34.8" in said(
        variants.architectures, tmp_path
    )


def test_a_single_number_is_said_alone(tmp_path):
    text = answer(collect(variants.one_number(tmp_path)))
    assert text.startswith("Trained at 30 photons, the model reaches PSNR 32.1")
    assert "Each row was trained once" in text


def test_all_failed_leaves_the_question_open(tmp_path):
    text = said(variants.all_failed, tmp_path)
    assert text == (
        "No point has a result (45 points failed, most often: data: no space left), so the question stays open."
    )


def test_methods_name_every_number(tmp_path):
    folder = variants.images(tmp_path)
    results = collect(folder)
    text = methods_paragraph(results, read_facts(folder, results.study), helped(results))
    for part in (
        "under 8 conditions (pictures at 1, 4, 16 and 64; width at 8 and 32)",
        "each 2 times from other seeds (0 to 1)",
        "Mitigations: pretrained (model=8)",
        "under 1 test condition with 6 test items each (test seed 1000, used by no training)",
        "PSNR (dB) (higher is better), the mean over items",
        "95 % intervals are percentile bootstraps over test items and seeds (2000 resamples)",
        "No classical baseline and no bound were judged.",
        "at most 0.92 dB",
        "P values (8 on conditions and mitigations) were corrected by Holm's method",
        "experiment=denoise_simulated",
        "Versions: jax 0.10.2. Device: cpu (x86_64, 2 cores). Git commit: 0123456789ab.",
        "Command: bioflax study study=synthetic_light study.size=small.",
    ):
        assert part in text, part


def test_methods_say_steps_and_batch_where_they_are_set(tmp_path):
    folder = variants.edit(
        variants.one_number(tmp_path),
        lambda study: study["base"].extend(["train.steps=300", "train.steps=200", "train.batch=4"]),
    )
    text = methods_paragraph(collect(folder))
    assert "That is 200 steps and batch 4 for each training" in text and "once (one seed)" in text


def test_tests_of_one_factor_are_said_together(tmp_path):
    results = collect(make_run(tmp_path, second=True))
    ids = {tuple(test.levels.items()): test.id for test in results.tests}
    assert phrases.test_words(results, "t0") == "at the reference"
    assert phrases.tests_words(results, [ids[("light", 3),], ids[("light", 300),], ids[("camera", "hot pixels"),]]) == (
        "at photons per pixel 3 and 300 photons and with camera hot pixels"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (with_interval(2.314, 2.1, 2.52, "psnr_db"), "2.31 dB [2.10, 2.52]"),
        (with_interval(-0.5, -1, 0.25, "psnr_db", sign=True), "−0.50 dB [−1.00, +0.25]"),
        (with_interval(0.91, float("nan"), None, "jaccard"), "0.910"),
        (with_interval(float("nan"), 1, 2, "psnr_db"), "–"),
        (with_interval(124.3, 120, 130, "rmse_lateral_nm"), "124.3 nm [120.0, 130.0]"),
        (signed(-0.001, 2), "0.00"),
        (metric_label("rmse_lateral_nm"), "RMSE lateral (nm)"),
        (metric_label("ssim"), "SSIM"),
        (level_text(None), "as set"),
        (level_text(1e-5), "1e-05"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed("abcdefgh", 3), "a, b, c and 5 more"),
    ],
)
def test_numbers_in_words(found, expected):
    assert found == expected
