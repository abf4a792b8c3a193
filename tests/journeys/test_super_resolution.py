"""Super-resolution from the command line: simulated pairs as files, trained, predicted with honesty, judged, reported again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bioflax import hub
from bioflax.baselines.super_resolve import SUPER_RESOLVERS
from bioflax.configuration import run
from bioflax.hub import held_out_pairs, pair_probes, probes
from bioflax.io import open_image, save_image
from bioflax.predict.physics import physics_of

TINY = ["backbone.width=4", "backbone.depth=1", "train.steps=2", "train.batch=2", "train.validate_every=2",
        "train.checkpoint_every=2", "train.log_every=2"]  # fmt: skip
STRIPES = "simulator.illumination={_target_: bioflax.optics.illumination.Illumination, period_nm: 230, modulation: 0.9}"
MAPS = ("measured", "prior", "null_space", "chi_square", "error")


@pytest.fixture(autouse=True, scope="module")
def few():
    """Everything that a training is judged by, in small numbers."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("TUNED", 1), ("JUDGED", 2)):
            patch.setattr(held_out_pairs, name, value)
        some = {name: SUPER_RESOLVERS[name] for name in ("bicubic", "wiener")}
        patch.setattr(held_out_pairs, "SUPER_RESOLVERS", some)
        for module, name, value in (
            (pair_probes, "SPACINGS", (1.5,)),
            (pair_probes, "REPEATS", 2),
            (probes, "FIELDS", 2),
        ):
            patch.setattr(module, name, value)
        yield


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Path:
    """Two simulated pairs of filaments, and a model that has seen such pairs for two steps."""
    folder = tmp_path_factory.mktemp("lines")
    scene = ["+scene.density_per_um2=0.5", "simulator.size=36", "simulator.margin=4", "simulator.optics.pixel_nm=93"]
    assert run("simulate", ["simulator=magnified", *scene, "fields=2", f"output={folder}"]) == 0
    data = ["data.simulator.size=24", "+data.simulator.margin=4", "data.validation=2"]
    assert run("train", ["experiment=super_resolve", f"run_dir={folder / 'run'}", *data, *TINY]) == 0
    return folder


def test_simulated_pairs_are_files_of_two_pixel_sizes(lines) -> None:
    for name in ("field0001.tif", "field0002.tif"):
        image, target = (open_image(lines / folder / name) for folder in ("images", "targets"))
        assert image.shape == (36, 36) and image.dtype == np.uint16 and image.pixel_nm["X"] == pytest.approx(93)
        assert target.shape == (72, 72) and target.dtype == np.float32 and target.pixel_nm["X"] == pytest.approx(46.5)


def test_a_training_is_judged_against_physics(lines) -> None:
    result = json.loads((lines / "run" / "result.json").read_text())
    assert result["status"] == "ok" and result["task"] == "superresolve"
    assert {"psnr_db", "in_band_psnr_db", "null_space_energy", "chi_square", "false_structures_per_um2"} <= set(
        result["metrics"]
    )
    assert set(result["baselines"]) == {"bicubic", "wiener", "best_linear"}
    assert (lines / "run" / "probes.json").exists() and (lines / "run" / "report.html").stat().st_size > 50_000
    model = hub.load(lines / "run", verify=True)
    assert model.upscale == 2 and model.card.physics["na"] == 1.4 and model.card.pixel_nm == {"Y": 93.0, "X": 93.0}
    assert run("models", ["dir=" + str(lines), f"show={lines / 'run'}"]) in (0, 2)


def test_predict_says_what_was_measured_and_what_is_prior(lines, tmp_path) -> None:
    command = [f"model={lines / 'run'}", f"input={lines / 'images'}", f"output={tmp_path}"]
    assert run("predict", [*command, "honesty=true"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert {"chi_square", "null_space_energy", "rsp", "rse_share"} <= set(result["metrics"])
    for stem in ("field0001", "field0002"):
        assert tifffile.imread(tmp_path / f"{stem}.tif").shape == (72, 72)
        assert {f"{stem}_{name}.tif" for name in MAPS} <= {path.name for path in tmp_path.iterdir()}
        facts = json.loads((tmp_path / f"{stem}_honesty.json").read_text())
        assert facts["noise"] == "the camera" and all(np.isfinite(list(facts["numbers"][0].values())))
        assert (tmp_path / f"{stem}_honesty.html").stat().st_size > 50_000
    assert open_image(tmp_path / "field0001.tif").pixel_nm["X"] == pytest.approx(46.5)
    page = tmp_path / "field0001_honesty.html"
    page.unlink()
    assert run("report", [f"dir={tmp_path}"]) == 0 and page.exists()


def test_a_known_microscope_may_be_given(lines, tmp_path) -> None:
    """Optics of the command line stand for those of the card; the camera too."""
    optics = ["optics.na=0.6", "optics.wavelength_nm=700", "camera=scmos", "camera.read_noise_e=30"]
    command = [f"model={lines / 'run'}", f"input={lines / 'images' / 'field0001.tif'}", "honesty=true", *optics]
    assert run("predict", [*command, f"output={tmp_path / 'out.tif'}"]) == 0
    facts = json.loads((tmp_path / "out_honesty.json").read_text())
    assert facts["cutoff_nm"] == pytest.approx(700 / 1.2) and (tmp_path / "out.tif").exists()


def test_predict_without_honesty_writes_the_picture_alone(lines, tmp_path) -> None:
    command = [f"model={lines / 'run'}", f"input={lines / 'images'}", f"output={tmp_path}", "augment=true"]
    assert run("predict", command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["field0001.tif", "field0002.tif", "result.json"]


def test_evaluate_stands_beside_classical_methods(lines, tmp_path) -> None:
    files = [f"model={lines / 'run'}", f"input={lines / 'images'}", f"target={lines / 'targets'}"]
    named = ["baselines=[lanczos,wiener]", "box=[0,32,2,36]"]
    assert run("evaluate", [*files, *named, f"run_dir={tmp_path}"]) == 0
    judged = json.loads((tmp_path / "result.json").read_text())
    assert judged["status"] == "ok" and judged["task"] == "superresolve"
    assert set(judged["baselines"]) == {"input", "lanczos", "wiener"} and judged["bounds"] == {}
    assert {"psnr_db", "in_band_psnr_db", "null_space_energy", "rse", "rsp", "ms_ssim"} <= set(judged["metrics"])
    assert judged["baselines"]["wiener"]["psnr_db"] > judged["baselines"]["input"]["psnr_db"] - 1
    shifts = judged["registered"]
    assert set(shifts) == {"field0001", "field0002"} and all(abs(shift[0]) < 0.6 for shift in shifts.values())
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(rows) == 2 * 4 and {row["method"] for row in rows} == {"input", "lanczos", "wiener", "model"}
    page = tmp_path / "report.html"
    size = page.stat().st_size
    assert size > 50_000 and run("report", [f"dir={tmp_path}"]) == 0 and page.stat().st_size == size


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    """Nine raw frames of two fields with their targets, and a model trained on the files."""
    folder = tmp_path_factory.mktemp("frames")
    scene = ["+scene.density_per_um2=0.5", "simulator.size=36", "simulator.margin=4", "simulator.optics.pixel_nm=93"]
    light = ["simulator.photons=2000", "simulator.background_photons=5"]
    assert run("simulate", ["simulator=magnified", *scene, *light, STRIPES, "fields=2", f"output={folder}"]) == 0
    files = [f"data.folder={folder / 'images'}", f"data.targets={folder / 'targets'}"]
    rest = [
        "data.patch=16",
        "data.validation_box=[2,18,2,34]",
        "data.na=1.4",
        "data.wavelength_nm=520",
        "data.period_nm=230",
        "data.target_normalization=same",
    ]
    assert run("train", ["experiment=super_resolve_sim", f"run_dir={folder / 'run'}", *files, *rest, *TINY]) == 0
    return folder


def test_raw_frames_train_from_files(frames) -> None:
    raw = open_image(frames / "images" / "field0001.tif")
    assert (raw.axes, raw.shape) == ("CYX", (9, 36, 36))
    result = json.loads((frames / "run" / "result.json").read_text())
    assert result["status"] == "ok" and {"psnr_db", "in_band_psnr_db", "rsp"} <= set(result["metrics"])
    model = hub.load(frames / "run")
    assert model.channels_in == 9 and model.channels_out == 1 and model.card.physics["frames"] == 9
    assert model.card.physics["pixel_nm"] == pytest.approx(93) and not (frames / "run" / "probes.json").exists()


def test_raw_frames_become_one_picture(frames, tmp_path) -> None:
    command = [f"model={frames / 'run'}", f"input={frames / 'images'}", f"output={tmp_path}", "honesty=true"]
    assert run("predict", command) == 0
    for name, size in (("", 72), ("_prior", 72), ("_chi_square", 36)):
        found = open_image(tmp_path / f"field0002{name}.tif")
        assert (found.axes, found.shape) == ("YX", (size, size))
    facts = json.loads((tmp_path / "field0002_honesty.json").read_text())
    reach_per_nm = physics_of(hub.load(frames / "run")).reach_per_nm
    assert facts["frames"] == 9 and facts["cutoff_nm"] == pytest.approx(1 / reach_per_nm)
    assert facts["cutoff_nm"] < 0.8 * 520 / 2.8  # stripes measure more than the optics alone


def test_a_small_picture_of_unknown_noise_has_a_page_without_chi_square(frames, tmp_path) -> None:
    raw = open_image(frames / "images" / "field0001.tif").read()
    save_image(tmp_path / "small.tif", raw[:, :20, :22], "CYX", {"Y": 93.0, "X": 93.0})
    command = [f"model={frames / 'run'}", f"input={tmp_path / 'small.tif'}", f"output={tmp_path / 'out.tif'}"]
    assert run("predict", [*command, "honesty=true"]) == 0
    facts = json.loads((tmp_path / "out_honesty.json").read_text())
    assert facts["noise"] == "the spread of the picture" and "chi_square" not in facts["numbers"][0]
    assert (tmp_path / "out_honesty.html").exists()


def test_raw_frames_are_judged(frames, tmp_path) -> None:
    files = [f"model={frames / 'run'}", f"input={frames / 'images'}", f"target={frames / 'targets'}"]
    assert run("evaluate", [*files, "baselines=[lanczos]", f"run_dir={tmp_path}"]) == 0
    judged = json.loads((tmp_path / "result.json").read_text())
    # In small pictures the classical reconstruction may find no stripes; it is then left out, and all others are judged.
    assert {"input", "lanczos"} <= set(judged["baselines"]) <= {"input", "lanczos", "sim_wiener"}
    assert np.isfinite(judged["metrics"]["psnr_db"]) and len(judged["registered"]) == 2
