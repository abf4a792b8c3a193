"""Detectors from the command line: simulated nuclei and spots as files, trained, judged, predicted, and read by others."""

from __future__ import annotations

import csv
import json
import zipfile

import numpy as np
import pytest
import tifffile

import bioflax
from bioflax import hub
from bioflax.configuration import run
from bioflax.io import save_image
from bioflax.io.labels import read_geojson, read_labels, read_points
from bioflax.predict import Detections

TINY = ["backbone.width=4", "backbone.depth=1", "data.patch=32", "train.steps=2", "train.batch=2", "train.validate_every=2",
        "train.checkpoint_every=2", "train.log_every=2"]  # fmt: skip


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    """Six simulated fields, and a detector that has seen them for two steps."""
    folder = tmp_path_factory.mktemp("nuclei")
    assert run("simulate", ["simulator=nuclei", "simulator.size=64", "fields=6", f"output={folder}"]) == 0
    files = [f"data.folder={folder / 'images'}", f"data.targets={folder / 'targets'}", "data.validation=0.3"]
    train = ["experiment=detect_nuclei", "head.width=8", f"run_dir={folder / 'run'}", *files, *TINY]
    assert run("train", train) == 0
    return folder


def test_nuclei_train_and_keep_their_thresholds(nuclei) -> None:
    result = json.loads((nuclei / "run" / "result.json").read_text())
    assert result["status"] == "ok" and result["task"] == "detect"
    assert {"ap50", "ap75", "pq"} <= set(result["metrics"]) and result["bounds"]["ap50"] == 1.0
    assert "otsu_watershed" in result["baselines"]
    assert (nuclei / "run" / "figures" / "held_out.png").stat().st_size > 10_000
    model = hub.load(nuclei / "run", verify=True)
    assert model.card.scheme == "stardist" and model.card.decoding["arguments"]["grid"] == 2
    assert set(model.card.decoding) == {"scheme", "arguments", "threshold", "overlap", "distance_px"}
    found = bioflax.predict(model, np.zeros((40, 50), np.uint16), axes="YX")
    assert isinstance(found, Detections) and found.labels().shape == (40, 50)


def test_nuclei_predict_into_files_that_agree(nuclei, tmp_path) -> None:
    wanted = ["threshold=0.01", "overlap=0.9", "formats=[tif,csv,geojson,napari,rois]", "pixel_nm=250"]
    command = [f"model={nuclei / 'run'}", f"input={nuclei / 'images'}", f"output={tmp_path}", *wanted]
    assert run("predict", command) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    labels, pixel_nm = read_labels(tmp_path / "field0001.tif")
    table = list(csv.DictReader((tmp_path / "field0001.csv").open()))
    geo = read_geojson(tmp_path / "field0001.geojson")
    assert len(table) == labels.max() == len(geo.rings) > 0 and pixel_nm["Y"] == pytest.approx(250)
    assert [int(row["label"]) for row in table] == list(range(1, len(table) + 1))
    assert [int(row["area_px2"]) for row in table] == np.bincount(labels.ravel())[1:].tolist()
    assert float(table[0]["x_nm"]) == pytest.approx(250 * (float(table[0]["x_px"]) + 0.5))
    with zipfile.ZipFile(tmp_path / "field0001.zip") as rois:
        assert len(rois.namelist()) == len(table)
    assert (tmp_path / "field0001_napari.csv").read_text().startswith("index,shape-type")
    assert (tmp_path / "field0001_report.html").exists() and result["metrics"]["objects"] >= len(table)


def test_nuclei_of_a_movie_are_found_frame_by_frame(nuclei, tmp_path) -> None:
    single = tifffile.imread(nuclei / "images" / "field0001.tif")
    save_image(tmp_path / "movie.tif", np.stack([single, single[::-1]]), "TYX")
    command = [f"model={nuclei / 'run'}", f"input={tmp_path / 'movie.tif'}", "threshold=0.01"]
    assert run("predict", [*command, f"output={tmp_path / 'out.csv'}"]) == 0
    table = list(csv.DictReader((tmp_path / "out.csv").open()))
    stack = tifffile.imread(tmp_path / "out.tif")
    assert stack.shape == (2, 64, 64)
    for frame in (1, 2):
        assert sum(int(row["frame"]) == frame for row in table) == stack[frame - 1].max()
    assert (tmp_path / "out_0001.geojson").exists() and (tmp_path / "out_0002.geojson").exists()


def test_nuclei_are_judged_beside_otsu(nuclei, tmp_path) -> None:
    files = [f"input={nuclei / 'images'}", f"target={nuclei / 'targets'}", "part=all"]
    assert run("evaluate", [f"model={nuclei / 'run'}", *files, f"run_dir={tmp_path}"]) == 0
    judged = json.loads((tmp_path / "result.json").read_text())
    assert judged["status"] == "ok" and set(judged["baselines"]) == {"otsu_watershed", "otsu"}
    assert 0 <= judged["metrics"]["ap50"] <= 1 and judged["baselines"]["otsu_watershed"]["ap50"] > 0.1
    page = (tmp_path / "report.html").stat().st_size
    assert page > 50_000 and run("report", [f"dir={tmp_path}"]) == 0


def test_spots_train_from_simulation_and_from_tables(tmp_path) -> None:
    simulated = ["data.simulator.size=32", "data.simulator.spots_per_px=0.01", "data.validation=2"]
    sizes = [part for part in TINY if "patch" not in part]
    levels = ["task.scheme.levels=2", "head.levels=2"]
    command = ["experiment=detect_spots", f"run_dir={tmp_path / 'run'}", *simulated, *sizes, *levels]
    assert run("train", command) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {"f1_3px", "rmse_px"} & set(result["metrics"]) and set(result["baselines"]) == {
        "log_oracle",
        "log_auto",
        "dog_oracle",
    }

    shape = ["simulator.size=48", "simulator.spots_per_px=0.01"]
    assert run("simulate", ["simulator=spots", *shape, "fields=3", f"output={tmp_path / 'set'}"]) == 0
    files = ["data=points", f"data.folder={tmp_path / 'set/images'}", f"data.targets={tmp_path / 'set/targets'}"]
    again = ["experiment=detect_spots", f"run_dir={tmp_path / 'again'}", *files, *TINY, *levels, "data.validation=0.4"]
    assert run("train", again) == 0

    names = [f"input={tmp_path / 'set/images'}", f"target={tmp_path / 'set/targets'}"]
    assert run("evaluate", [f"model={tmp_path / 'again'}", *names, f"run_dir={tmp_path / 'judged'}"]) == 0
    judged = json.loads((tmp_path / "judged" / "result.json").read_text())
    assert set(judged["baselines"]) == {"log_oracle", "log_auto", "dog_oracle"}
    assert judged["baselines"]["log_oracle"]["f1_2px"] > 0.5

    out = [f"output={tmp_path / 'out'}", "threshold=0.01", "formats=[csv,geojson,napari,rois]"]
    assert run("predict", [f"model={tmp_path / 'again'}", names[0], *out]) == 0
    points = read_points(tmp_path / "out" / "field0001.csv")
    np.testing.assert_allclose(read_points(tmp_path / "out" / "field0001_napari.csv"), points, atol=1e-5)
    assert len(points) == len(read_geojson(tmp_path / "out" / "field0001.geojson").points_px)
    assert not (tmp_path / "out" / "field0001.tif").exists()  # points have no area
