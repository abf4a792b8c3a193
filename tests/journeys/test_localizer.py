"""A localizer from the command line: trained on simulation, saved with its physics, a movie into a table, and scored."""

from __future__ import annotations

import json

import numpy as np

import bioflax
from bioflax import hub
from bioflax.configuration import run
from bioflax.io import open_image, read_localizations

TINY = ["backbone.width=4", "head.width=4", "data.simulator.size=16", "data.validation=4", "train.steps=2", "train.batch=2",
        "train.validate_every=2", "train.checkpoint_every=2", "train.log_every=2", "task.threshold=0.9"]  # fmt: skip


def test_train_predict_evaluate(tmp_path) -> None:
    trained, movie = tmp_path / "run", tmp_path / "movie"
    assert run("train", ["experiment=localize_astigmatic", f"run_dir={trained}", *TINY]) == 0
    result = json.loads((trained / "result.json").read_text())
    assert result["status"] == "ok" and result["task"] == "localize"
    assert {"metrics", "bounds", "baselines"} <= set(result) and "mle" in result["baselines"]
    assert (trained / "report.html").stat().st_size > 10_000

    model = hub.load(trained, verify=True)
    assert model.card.scheme == "simulation_decode" and model.card.physics["scales"]["pixel_nm"] == 100.0
    assert "table = bioflax.predict(model, movie" in (trained / "model" / "README.md").read_text()

    simulated = ["simulator=emitters", "simulator.size=32", "simulator.emitters_per_um2=1.0", "frames=6"]
    assert run("simulate", [*simulated, f"output={movie}"]) == 0
    truth = read_localizations(movie / "truth.csv")
    assert {"z_nm", "photons"} <= set(truth.columns) and truth["frame"].max() <= 6

    table = tmp_path / "out" / "locs.csv"
    assert (
        run("predict", [f"model={trained}", f"input={movie / 'movie.tif'}", f"output={table}", "threshold=0.001"]) == 0
    )
    found = read_localizations(table)
    again = bioflax.predict(model, open_image(movie / "movie.tif").read(), axes="TYX")
    assert len(again) <= len(found)  # the default threshold is higher
    assert np.isfinite(found["x_nm"]).all() and (table.parent / "locs.result.json").exists()

    scored = [f"model={trained}", "psf=astigmatic", f"input={movie / 'movie.tif'}", f"target={movie / 'truth.csv'}"]
    assert run("evaluate", [*scored, "border_nm=0", f"run_dir={tmp_path / 'evaluation'}"]) == 0
    judged = json.loads((tmp_path / "evaluation" / "result.json").read_text())
    assert judged["status"] == "ok" and "jaccard" in judged["metrics"]
    assert (tmp_path / "evaluation" / "report.html").exists()
