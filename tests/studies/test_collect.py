"""A study's folder read back: every cell, what failed, sweeps and matched conditions, the table."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.studies.collect import Failure, Results, collect, write_table
from tests.studies.synthetic import FAILED, LIGHT, TRAINED, expected_db, make_run

T30, T3, T10, T100, T300 = "t0", "t1", "t2", "t3", "t4"
DARK, MIDDLE, BRIGHT = (f"photons per pixel {light}" for light in TRAINED)
HELP = "trained over all light"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("study"), second=True)


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return collect(folder)


def place(folder: Path, row: str | None, test: str, seed: int | None) -> Path:
    points = json.loads((folder / "study.json").read_text())["points"]
    (found,) = (p["hash"] for p in points if (p["row"], p["test"], p["seed"]) == (row, test, seed))
    return folder / "points" / found


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_every_cell_is_there(results: Results, folder: Path) -> None:
    assert [(row.name, row.kind) for row in results.rows] == [
        (DARK, "train"), (MIDDLE, "train"), (BRIGHT, "train"), (HELP, "help"),
        ("nlm", "rival"), ("gaussian", "rival"), ("bound", "bound"),
    ]  # fmt: skip
    assert results.metrics == ("psnr_db", "ssim")
    assert results.tally(MIDDLE, T100).numerator.shape == (2, 8)
    assert results.tally("nlm", T100).numerator.shape == (1, 8)
    assert results.tally("bound", T100, "ssim") is None
    written = json.loads((place(folder, "r1", T100, 1) / "items.json").read_text())
    assert results.tally(MIDDLE, T100).numerator[1].tolist() == written["tallies"]["psnr_db"]["numerator"]
    assert results.tally(MIDDLE, T100).value == pytest.approx(expected_db(30, 100), abs=1.0)
    assert results.cost[HELP] == {
        "parameters": 4000, "flops_per_px": 8000.0, "train_seconds": 50.0, "seconds_per_mpx": 2.0, "memory_mb": 256.0,
    }  # fmt: skip
    assert results.pictures[MIDDLE, T100] == place(folder, "r1", T100, 0) / "picture.npz"
    with pytest.raises(FrozenInstanceError):
        results.rows = ()


def test_a_failed_point_leaves_its_other_seed(results: Results) -> None:
    row, _, seed = FAILED
    assert results.failed == (Failure(row, T300, seed, "loss: expected a finite number, found nan at step 40."),)
    assert results.seeds[row, T300] == (0,)
    assert results.tally(row, T300).numerator.shape == (1, 8)


def test_levels_and_sweeps(results: Results) -> None:
    light = results.sweep("light")
    assert [results.level(test, "light") for test in light] == LIGHT
    assert {results.level(test, "camera") for test in light} == {"matched"}
    assert [test.name for test in results.sweep("camera")] == ["reference", "camera hot pixels", "camera gain off by 2"]
    assert results.crossed() == [("light", "camera")]
    assert results.find({"light": 300, "camera": "hot pixels"}).levels == {"light": 300, "camera": "hot pixels"}
    assert results.find({"light": 4}) is None
    with pytest.raises(InputError, match="factor: 'z' is not in the study. Take one of: light, camera"):
        results.level(T30, "z")
    with pytest.raises(InputError, match="test: 't99' is not in the study"):
        results.level("t99", "light")
    with pytest.raises(InputError, match="row: 'x' is not in the study"):
        results.row("x")


@pytest.mark.parametrize(("reference", "order"), [(20, [3, 10, 20, 30]), (None, [None, 3, 10, 30])])
def test_a_reference_beside_the_levels(results: Results, reference: Any, order: list[Any]) -> None:
    about = results.study["factors"]["light"] | {"reference": reference, "levels": [3, 10, 30]}
    tests = tuple(test for test in results.tests if test.id in (T30, T3, T10))
    tests += (type(tests[0])("t9", "light 30", {"light": 30}),)
    other = Results(dict(results.study) | {"factors": {"light": about}}, results.rows, tests, {})
    assert [other.level(test, "light") for test in other.sweep("light")] == order


def test_matched_conditions(results: Results) -> None:
    assert results.matched(DARK, T300) == (BRIGHT, T300)
    assert results.matched(HELP, T3) == (DARK, T3)
    assert results.matched(MIDDLE, T30) == (MIDDLE, T30)
    assert results.matched(HELP, T30) == (MIDDLE, T30)
    assert results.matched(DARK, T100) == (MIDDLE if abs(np.log(100 / 30)) < abs(np.log(3)) else BRIGHT, T100)
    hot = results.find({"camera": "hot pixels"})  # no row was trained on another camera
    assert results.matched(MIDDLE, hot) == (MIDDLE, T30)
    assert results.matched("nlm", results.find({"light": 300, "camera": "hot pixels"})) == ("nlm", T30)


def test_one_bad_point_never_stops_the_rest(tmp_path: Path) -> None:
    make_run(tmp_path, failed=False)
    shutil.rmtree(place(tmp_path, "r0", T3, 0))
    (place(tmp_path, "r0", T3, 1) / "result.json").write_text('{"status": ')
    change(place(tmp_path, "r1", T3, 0) / "result.json", command="train")
    change(place(tmp_path, "r1", T3, 1) / "result.json", row=None)
    change(place(tmp_path, "r2", T3, 0) / "items.json", tallies={"psnr_db": {"numerator": [1.0]}})
    (place(tmp_path, "r2", T3, 1) / "items.json").unlink()
    path = place(tmp_path, "r3", T3, 0) / "items.json"
    change(path, tallies={"psnr_db": {"numerator": [1.0] * 5, "denominator": [1.0] * 5, "form": "mean"}})
    (place(tmp_path, "r3", T3, 1) / "result.json").write_text("[]")
    change(place(tmp_path, None, T3, None) / "result.json", status="failed", error="no memory")
    (tmp_path / "points" / "left over").mkdir()
    results = collect(tmp_path)
    said = {(failure.row, failure.seed): failure.error for failure in results.failed}
    assert {failure.test for failure in results.failed} == {T3} and len(said) == len(results.failed) == 9
    for key, words in {
        (DARK, 0): "result.json: cannot be read",
        (DARK, 1): "result.json: not JSON",
        (MIDDLE, 0): "not of this point",
        (MIDDLE, 1): "not of this point",
        (BRIGHT, 0): "KeyError: 'denominator'",
        (BRIGHT, 1): "items.json: cannot be read",
        (HELP, 0): "items: expected 8 as in the other points, found [5]",
        (HELP, 1): "TypeError",
        (None, None): "no memory",
    }.items():
        assert words in said[key]
    assert not [key for key in results.tallies if key[1] == T3]
    assert results.tally(BRIGHT, T30) is not None


def test_ids_may_change_as_a_study_grows(tmp_path: Path) -> None:
    """A point's hash says what it is: a row added before others shifts their ids."""
    make_run(tmp_path)
    change(place(tmp_path, "r3", T3, 0) / "result.json", row="r7", test="t8")
    assert collect(tmp_path).seeds[HELP, T3] == (0, 1)


def test_without_study_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run_dir: no study.json"):
        collect(tmp_path)
    (tmp_path / "study.json").write_text('{"schema": 9}')
    with pytest.raises(InputError, match="expected a study of schema 1"):
        collect(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        collect(tmp_path)


def test_table_is_long_and_the_same_twice(folder: Path, tmp_path: Path) -> None:
    write_table(collect(folder), tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text()
    again = make_run(tmp_path / "again", second=True)
    change(place(again, "r1", T3, 0) / "result.json", seconds={"train": 99.0}, device="another")
    write_table(collect(again), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == text.encode()
    assert not list(tmp_path.glob(".*"))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == "row,kind,train_light,train_camera,test_light,test_camera,seed,status,psnr_db,ssim"
    assert len(lines) == 15 * (4 * 2 + 3)
    results = collect(folder)
    (line,) = (
        x for x in lines if (x["row"], x["test_light"], x["test_camera"], x["seed"]) == (DARK, "10", "matched", "1")
    )
    assert float(line["psnr_db"]) == np.asarray(results.tally(DARK, T10).by_seed)[1]
    assert (line["kind"], line["train_light"], line["train_camera"], line["status"]) == ("train", "3", "matched", "ok")
    (lost,) = (x for x in lines if x["status"] == "failed")
    assert (lost["row"], lost["test_light"], lost["seed"], lost["psnr_db"], lost["ssim"]) == (DARK, "300", "1", "", "")
    rival = next(x for x in lines if x["row"] == "gaussian")
    assert (rival["kind"], rival["train_light"], rival["seed"]) == ("rival", "", "")
    assert {x["ssim"] for x in lines if x["kind"] == "bound"} == {""}
    assert {x["train_light"] for x in lines if x["kind"] == "help"} == {""}
