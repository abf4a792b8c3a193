"""A whole study on tiny nets: points and models once each, failures are holes, a second start does only what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from bioflax.experiments import _studies

from bioflax.configuration import FAILURES, run
from tests.studies.tiny import STUDY


@pytest.fixture(scope="module")
def conf(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "study").mkdir()
    (folder / "study" / "tiny.yaml").write_text(STUDY)
    return folder


def start(conf: Path, folder: Path, *overrides: str) -> int:
    return run("study", ["--config-dir", str(conf), "study=tiny", f"run_dir={folder}", *overrides])


def results(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("points/*/result.json"))}


def read_table(folder: Path) -> list[list[str]]:
    return [line.split(",") for line in (folder / "table.csv").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def done(conf, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "tiny"
    assert start(conf, folder) == 0
    return folder


def test_every_point_has_its_result(done) -> None:
    study = json.loads((done / "study.json").read_text())
    found = results(done)
    assert set(found) == {point["hash"] for point in study["points"]}
    assert len(found) == 2 + 4 * 2 * 2
    assert study["command"] == "bioflax study study=tiny study.size=small"
    assert {one["status"] for one in found.values()} == {"ok"}
    assert all(one["command"] == "study" and one["experiment"] == "tiny" for one in found.values())
    rivals = [one for one in found.values() if one["row"] is None]
    assert all(one["baselines"]["input"]["psnr_db"] > 0 for one in rivals)


def test_models_lie_beside_the_study_and_each_is_trained_once(done) -> None:
    # Three rows of two seeds, and a second member for each seed of the ensemble, whose first is the reference row.
    trained = [path for path in (done.parent / "models").iterdir() if not path.name.startswith(".")]
    assert len(trained) == 3 * 2 + 2
    assert not list((done.parent / "models").glob("*/checkpoints")), "a finished training needs none"


def test_the_products_are_there(done) -> None:
    table = (done / "table.csv").read_text().splitlines()
    assert len(table) == 1 + 2 + 4 * 2 * 2, "a line for every point"
    assert json.loads((done / "envelope.json").read_text())["study"] == "tiny"
    assert "Does light matter?" in (done / "report.html").read_text()


def test_the_envelope_is_in_the_card_of_the_model(done) -> None:
    from bioflax import load

    study = json.loads((done / "study.json").read_text())
    row = next(row["id"] for row in study["rows"] if row["levels"] == {"light": 20})
    point = next(one for one in results(done).values() if one["row"] == row and one["seed"] == 0)
    model = load(done.parent / "models" / point["models"][0], verify=True)
    assert model.card.envelope["tiny"]["row"] == "light 20 photons"
    assert "light" in model.card.envelope["tiny"]["factors"]


def test_a_second_start_does_nothing_and_a_lost_point_alone_is_made_again(conf, done, monkeypatch) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in [*done.glob("points/*/result.json"), *done.parent.glob("models/*/result.json")]
    }
    table = (done / "table.csv").read_bytes()
    lost = next(path.parent for path in before if "points" in path.parts)
    shutil.rmtree(lost)
    assert start(conf, done) == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.parent for path in before if before[path] != after[path]] == [lost]
    assert (done / "table.csv").read_bytes() == table


def test_what_fails_is_a_hole_and_the_rest_is_there(conf, done, capsys) -> None:
    folder = done.parent / "holes"  # beside the first: its models are used again
    bad = (
        "+study.rows.negative=['data.simulator.photons=-1.0']",
        "+study.rows.diverges=['optim.learning_rate=1.0e30']",
        "+study.rows.huge=['data.simulator.size=3000000']",
    )
    assert start(conf, folder, *bad, "study.seeds=1") == 1
    found = results(folder)
    failed = [one for one in found.values() if one["status"] == "failed"]
    assert {one["name"].split(",")[0] for one in failed} == {"negative", "diverges", "huge"}
    assert len(found) - len(failed) == 2 + 4 * 2
    said = capsys.readouterr().err
    assert "6 of 16 points failed" in said and "tries them once more" in said
    page = (folder / "report.html").read_text()
    assert "negative" in page and "expected" in page
    assert len((folder / "table.csv").read_text().splitlines()) == 1 + 2 + 7 * 2


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(conf, tmp_path, capsys) -> None:
    assert start(conf, tmp_path / "dry", "study.dry_run=true", "~study.helps") == 0
    said = capsys.readouterr().out
    assert "10 of 10 points to do, 4 model(s) to train" in said
    assert "of work (16 steps" in said and "MB of disk" in said
    assert not (tmp_path / "dry").exists()


def test_a_base_that_cannot_be_is_an_error_and_leaves_nothing(conf, tmp_path, capsys) -> None:
    assert start(conf, tmp_path / "bad", "study.also=[data.simulator.sice=3]") == 2
    assert "data.simulator.sice" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_without_a_name_the_studies_are_listed(capsys) -> None:
    FAILURES.clear()
    assert run("study", []) == 2
    said = capsys.readouterr().err
    assert "denoise_noise_level" in said and "localize_density" in said


def test_seeds_that_train_together_give_the_same_scores(conf, done, tmp_path) -> None:
    folder = tmp_path / "tiny"
    # A row that cannot be built fails alone, in a group too.
    bad = "+study.rows.bad=['data.simulator.photons=-1.0']"
    assert start(conf, folder, "study.vectorize=true", "study.workers=1", "~study.helps", bad) == 1
    assert {one["name"] for one in results(folder).values() if one["status"] != "ok"} == {"bad, seed 0", "bad, seed 1"}
    columns = [line.split(",") for line in (folder / "table.csv").read_text().splitlines()]
    place, kind = columns[0].index("psnr_db"), columns[0].index("kind")
    alone = {tuple(line[:place]): float(line[place]) for line in read_table(done)}
    together = {tuple(line[:place]): float(line[place]) for line in columns[1:] if line[place]}
    models = [key for key in together if key[kind] == "train" and key in alone]
    assert len(models) == 2 * 2 * 2
    for key in models:
        assert together[key] == pytest.approx(alone[key], abs=0.02), key


def test_jobs_are_dealt() -> None:
    from bioflax.studies.plan import Job, Point

    jobs = [Job(f"j{n}", "", (), (Point(f"p{n}", None, "t0", None),)) for n in range(5)]
    assert [[job.id for job in part] for part in _studies.deal(jobs, 2, False)] == [["j0", "j2", "j4"], ["j1", "j3"]]
    assert len(_studies.deal(jobs, None, False)) == 5
