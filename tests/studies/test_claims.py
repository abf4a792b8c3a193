"""Claims of a study whose curves are known: effects, mitigations, rivals and thresholds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.studies.claims import beats_rival, best_rival, effects, helped, thresholds
from bioflax.studies.collect import Results, collect
from bioflax.studies.statistics import holm
from tests.studies.synthetic import TRAINED, expected_db, make_run

T30, T3, T10, T100, T300 = "t0", "t1", "t2", "t3", "t4"
DARK, MIDDLE, BRIGHT = (f"photons per pixel {light}" for light in TRAINED)
HELP = "trained over all light"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return collect(make_run(tmp_path_factory.mktemp("study"), spread=0.02, seeds=3))


def test_effects_are_those_of_the_curves(results: Results) -> None:
    found = {(claim.row, claim.test): claim for claim in effects(results)}
    # trained at 30, 300 photons: 3 dB a decade below the row that was trained there
    middle = found[MIDDLE, T300]
    assert (middle.against_row, middle.against_test, middle.verdict) == (BRIGHT, T300, "worse")
    assert middle.value == pytest.approx(-3.0, abs=0.02)
    assert middle.low < -2.97 < middle.high + 0.05 and middle.high - middle.low < 0.05
    # no row was trained at 100: against the one of 300 photons, which is the nearest in the logarithm
    nearest = found[MIDDLE, T100]
    assert (nearest.against_row, nearest.against_test) == (BRIGHT, T100)
    assert nearest.value == pytest.approx(3 * (np.log10(3) - np.log10(100 / 30)), abs=0.02)
    # its own matched condition says nothing about itself
    assert not {(DARK, T3), (MIDDLE, T30), (BRIGHT, T300)} & set(found)
    assert found[HELP, T30].value == pytest.approx(-0.5, abs=0.02)


def test_p_is_adjusted_over_effects_and_mitigations_together(results: Results) -> None:
    claims = [*effects(results), *helped(results)]
    assert [claim.p_adjusted for claim in claims] == pytest.approx(holm([claim.p for claim in claims]))
    assert all(claim.verdict == "unclear" for claim in claims if claim.p_adjusted > 0.05)
    assert len(claims) == 4 * 5 - 5 + 5 * 3  # five cells are their own matched condition
    # enough resamples that a clear effect outlives the correction
    assert min(claim.p_adjusted for claim in claims) <= 0.021


def test_a_mitigation_gains_where_it_helps_and_has_a_price(results: Results) -> None:
    found = {(claim.test, claim.against_row): claim for claim in helped(results)}
    gain, price = found[T300, MIDDLE], found[T30, MIDDLE]
    assert gain.value == pytest.approx(2.5, abs=0.02) and gain.verdict == "better"
    assert price.value == pytest.approx(-0.5, abs=0.02) and price.verdict == "worse"
    assert {claim.row for claim in found.values()} == {HELP}


def test_rows_against_the_best_rival(results: Results) -> None:
    assert best_rival(results, T30) == "nlm"
    found = {(claim.row, claim.test): claim for claim in beats_rival(results)}
    assert {claim.against_row for claim in found.values()} == {"nlm"}
    assert found[MIDDLE, T30].value == pytest.approx(1.0, abs=0.02)
    verdicts = [found[MIDDLE, test].verdict for test in (T3, T10, T30, T100, T300)]
    assert verdicts == ["worse", "worse", "better", "worse", "worse"]
    assert found[HELP, T300].verdict == "better"


def test_lower_is_better(tmp_path: Path) -> None:
    results = collect(make_run(tmp_path, lower=True, spread=0.02))
    assert best_rival(results, T30) == "nlm"
    found = {(claim.row, claim.test): claim for claim in effects(results)}
    rmse = [1000 * 10 ** (-expected_db(trained, 300) / 20) for trained in (30, 300)]
    assert found[MIDDLE, T300].value == pytest.approx(rmse[0] - rmse[1], rel=0.02)
    assert found[MIDDLE, T300].verdict == "worse"
    assert {claim.verdict for claim in helped(results) if claim.test == T300} >= {"better"}


def test_cells_without_a_result_make_no_claim(tmp_path: Path) -> None:
    make_run(tmp_path, seeds=1, failed=False)
    study = json.loads((tmp_path / "study.json").read_text())
    (lost,) = (p["hash"] for p in study["points"] if (p["row"], p["test"]) == ("r2", T300))
    (tmp_path / "points" / lost / "items.json").unlink()
    results = collect(tmp_path)
    assert not [claim for claim in effects(results) if claim.test == T300]  # what all are held against is lost
    assert len([claim for claim in helped(results) if claim.test == T300]) == 2


def test_thresholds_of_the_curves(tmp_path: Path) -> None:
    study = [
        {"name": "half", "factor": "light", "metric": "psnr_db", "target": 0.5, "of": "reference"},
        {"name": "25 dB", "factor": "light", "metric": "psnr_db", "target": 25.0, "of": "absolute", "row": "nlm"},
        {"name": "never", "factor": "light", "metric": "psnr_db", "target": 99.0, "of": "absolute", "row": BRIGHT},
    ]
    results = collect(make_run(tmp_path, spread=0.01, thresholds=study))
    found = {(one.name, one.row): one for one in thresholds(results)}
    assert len(found) == 6 + 1 + 1
    # below 30 photons the row trained there loses 8 + 3 dB a decade: half of the amplitude is 6.02 dB
    middle = found["half", MIDDLE]
    assert middle.target == pytest.approx(expected_db(30, 30) - 6.02, abs=0.02)
    assert middle.threshold.value == pytest.approx(30 * 10 ** (-6.02 / 11), rel=0.02)
    assert middle.threshold.low < middle.threshold.value < middle.threshold.high
    nlm = found["25 dB", "nlm"]
    assert (nlm.kind, nlm.threshold.side) == ("rival", "crossed")
    assert nlm.threshold.value == pytest.approx(10 ** (6 / 8), rel=0.02)
    never = found["never", BRIGHT].threshold
    assert (never.value, never.side, never.share_found) == (None, "below", 0.0)


def test_a_threshold_of_names_is_refused(tmp_path: Path) -> None:
    wanted = {"name": "x", "factor": "camera", "metric": "psnr_db", "target": 25.0, "of": "absolute"}
    with pytest.raises(InputError, match="factor with numbers"):
        thresholds(collect(make_run(tmp_path, second=True, thresholds=[wanted])))
