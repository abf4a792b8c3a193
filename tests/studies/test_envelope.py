"""Envelopes by hand: which levels are kept, their run around the row's own level, where the curve meets the limit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.studies.collect import Results, RowInfo, TestInfo, collect
from bioflax.studies.envelope import measure_envelope
from bioflax.studies.tally import Tally
from tests.studies.synthetic import CAMERAS, TRAINED, make_run

DARK, MIDDLE, BRIGHT = (f"photons per pixel {light}" for light in TRAINED)
HELP = "trained over all light"


def make_results(levels: Sequence[Any], reference: Any, values: Sequence[float | None], **study: Any) -> Results:
    """One row that was trained at nothing, and its values along one factor; a None failed."""
    about = {"label": "x", "unit": "px", "log": study.pop("log", False), "levels": list(levels), "reference": reference}
    places = [reference, *(level for level in levels if level != reference)]
    tests = tuple(TestInfo(f"t{i}", str(x), {"x": x} if i else {}) for i, x in enumerate(places))
    known = dict(zip(levels, values))
    tallies = {
        ("reference", test.id, study["metric"]): Tally(np.full((2, 4), known[level]))
        for test, level in zip(tests, places)
        if known[level] is not None
    }
    whole = {"name": "by hand", "factors": {"x": about}, "level": 0.95, **study}
    return Results(whole, (RowInfo("r0", "reference", "train"),), tests, tallies)


def along(results: Results, share: float = 0.9) -> dict[str, Any]:
    return measure_envelope(results, share)["rows"]["reference"]["factors"]["x"]


def test_higher_is_better() -> None:
    found = along(make_results([1, 2, 3, 4, 5], 3, [8.0, 9.0, 10.0, 9.5, 8.5], metric="jaccard", better="higher"))
    assert found["kept"] == [False, True, True, True, False]
    assert found["range"] == [2, 4]
    # 9 is met at 2 itself, and halfway between 9.5 and 8.5
    assert found["range_interpolated"] == pytest.approx([2.0, 4.5])
    assert found["matched_values"] == [10.0] * 5
    assert (found["low"], found["high"]) == (found["values"], found["values"])
    assert (found["label"], found["unit"], found["levels"]) == ("x", "px", [1, 2, 3, 4, 5])


def test_lower_is_better_on_a_log_axis() -> None:
    found = along(
        make_results([1, 10, 100], 1, [9.0, 9.5, 12.5], metric="rmse_nm", better="lower", log=True)
    )  # at most 9 / 0.9 = 10
    assert found["kept"] == [True, True, False]
    assert found["range_interpolated"] == pytest.approx([1.0, 10 * 10 ** (0.5 / 3)])


def test_decibels_are_counted_as_amplitudes() -> None:
    """20 log10(0.9) is -0.915 dB, whatever the level of the PSNR."""
    found = along(make_results([0, 1, 2], 0, [30.0, 29.1, 29.08], metric="psnr_db", better="higher"))
    assert found["kept"] == [True, True, False]
    found = along(make_results([0, 1, 2], 0, [-30.0, -29.1, -29.08], metric="error_db", better="lower"))
    assert found["kept"] == [True, True, False]


def test_a_range_has_no_gap() -> None:
    values = [10.0, 5.0, 10.0, None, 10.0]
    found = along(make_results([1, 2, 3, 4, 5], 3, values, metric="jaccard", better="higher"))
    assert found["kept"] == [True, False, True, False, True]
    assert found["range"] == [3, 3]
    assert found["range_interpolated"] == pytest.approx([2.8, 3.0])
    assert (found["values"][3], found["low"][3], found["high"][3]) == (None, None, None)
    names = along(make_results(["a", "b", "c"], "a", [10.0, 5.0, 9.2], metric="jaccard", better="higher"))
    assert names["range"] == ["a", "c"] and "range_interpolated" not in names


def test_without_its_reference_nothing_is_kept() -> None:
    found = along(make_results([1, 2], 1, [None, 10.0], metric="jaccard", better="higher"))
    assert found["kept"] == [False, False]
    assert found["range"] is None and found["range_interpolated"] is None


def test_a_reference_that_sets_nothing_is_no_level() -> None:
    results = make_results([None, 0.5, 1.0], None, [10.0, 9.5, 5.0], metric="jaccard", better="higher")
    results.study["factors"]["x"]["levels"] = [0.5, 1.0]
    found = along(results)
    assert (found["levels"], found["kept"], found["range"]) == ([0.5, 1.0], [True, False], [0.5, 0.5])


def test_rows_trained_at_levels_are_held_against_one_another(tmp_path: Path) -> None:
    """3 dB a decade of mismatch: no neighbour among the trained lights is kept, the help is 0.5 dB below and kept."""
    envelope = measure_envelope(collect(make_run(tmp_path, second=True, spread=0.01)), 0.9)
    json.dumps(envelope, allow_nan=False)
    assert (envelope["study"], envelope["metric"], envelope["share"]) == ("synthetic_light", "psnr_db", 0.9)
    assert "at most 0.92 dB worse than the matched condition" in envelope["rule"]
    assert list(envelope["rows"]) == [DARK, MIDDLE, BRIGHT, HELP]
    middle = envelope["rows"][MIDDLE]["factors"]["light"]
    # at 10 it is the nearest itself, at 100 the one of 300 photons is nearer by a hair
    assert middle["kept"] == [False, True, True, True, False]
    assert middle["range"] == [10, 100]
    dark = envelope["rows"][DARK]["factors"]["light"]
    assert dark["range"][0] == 3  # around its own level, not around the reference
    # at 10 no row was trained: the one of 30 photons is the nearest, and a tenth of a decibel better
    assert dark["kept"][:3] == [True, True, False]
    assert envelope["rows"][HELP]["matched"]["row"] == MIDDLE
    help_ = envelope["rows"][HELP]["factors"]["light"]
    assert [help_["kept"][i] for i in (0, 2, 4)] == [True, True, True]
    camera = envelope["rows"][MIDDLE]["factors"]["camera"]
    assert camera["range"] == [CAMERAS[0], CAMERAS[2]]  # 0 dB and -0.2 dB, not -2 dB
    pair = envelope["rows"][MIDDLE]["pairs"]["light x camera"]
    assert pair["factors"] == ["light", "camera"]
    assert pair["levels"] == [[3, 10, 30, 100, 300], CAMERAS]
    assert pair["values"][2] == camera["values"]
    assert [row[0] for row in pair["kept"]] == middle["kept"]
    assert pair["kept"][2] == [True, False, True]


def test_share_is_checked() -> None:
    results = make_results([1, 2], 1, [1.0, 1.0], metric="jaccard", better="higher")
    assert along(results, 1.0)["kept"] == [True, True]
    with pytest.raises(InputError, match="share: expected a number in"):
        measure_envelope(results, 90)
