"""Tables against the truth: a perfect one, shifted ones, noisy ones at the bound, and the command on a movie."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from rich.console import Console

from bioflax.configuration import run
from bioflax.errors import InputError
from bioflax.evaluation import evaluate_localization_files, evaluate_localizations, localization_files
from bioflax.evaluation.localization_scores import NEIGHBOURS, Protocol, bound_of, with_neighbours
from bioflax.io import Localizations, read_localizations, write_localizations
from bioflax.metrics import MATCHING_RULES
from bioflax.optics.camera import SCMOS
from bioflax.optics.emitter_bounds import emitter_bounds
from bioflax.optics.fisher import PARAMETERS, crlb, fisher_information
from bioflax.optics.likelihood import sensor
from bioflax.optics.psf import Astigmatic, Gaussian
from bioflax.simulate.emitters import EmitterSimulator

PIXEL = 100.0
SIDE = 40
FRAMES = 30
CAMERA = SCMOS(offset_adu=100.0, gain_adu_per_e=2.0, read_noise_e=1.6, quantum_efficiency=0.8)


def emitters(per_frame: int = 5, frames: int = FRAMES, last_lit: int = FRAMES - 6, seed: int = 0) -> Localizations:
    """Emitters on a grid with jitter, far enough apart that no pairing is doubtful; the last frames are empty."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid([800.0, 1600.0, 2400.0, 3200.0], [800.0, 1600.0, 2400.0, 3200.0]), -1).reshape(-1, 2)
    rows = []
    for frame in range(1, last_lit + 1):
        for x, y in place[rng.permutation(len(place))[:per_frame]] + rng.uniform(-100, 100, (per_frame, 2)):
            rows.append((frame, x, y, rng.uniform(-400, 400), rng.uniform(500, 5000), 10.0))
    names = ("frame", "x_nm", "y_nm", "z_nm", "photons", "background_photons")
    columns = dict(zip(names, np.array(rows).T))
    return Localizations(columns, pixel_nm=PIXEL, size_px=(SIDE, SIDE), frames=frames)


def judge(localizers, truth, folder, **settings):
    return evaluate_localizations(localizers, truth, run_dir=folder, console=Console(file=io.StringIO()), **settings)


def test_a_perfect_table_scores_one(tmp_path):
    truth = emitters()
    result = judge({"model": truth}, truth, tmp_path, psf=Astigmatic(pixel_nm=PIXEL), camera=CAMERA)
    for rule in MATCHING_RULES:
        numbers = result.methods["model"]["numbers"][rule]
        assert numbers["jaccard"] == numbers["recall"] == numbers["precision"] == 1.0
        assert numbers["rmse_lateral_nm"] == numbers["rmse_axial_nm"] == numbers["rmse_over_crlb_x"] == 0.0
        assert numbers["efficiency_3d"] == 100.0
        assert numbers["false_positives_per_um2"] == 0.0 and numbers["empty_frames"] == 6
    assert result.methods["model"]["intervals"]["jaccard"] == [1.0, 1.0]


def test_a_shift_is_the_bias(tmp_path):
    truth = emitters()
    shifted = truth.with_columns(x_nm=truth["x_nm"] + 30.0, z_nm=truth["z_nm"] - 40.0)
    metrics = judge({"model": shifted}, truth, tmp_path).entries()["metrics"]
    assert metrics["bias_x_nm"] == pytest.approx(30.0) and metrics["bias_z_nm"] == pytest.approx(-40.0)
    assert metrics["rmse_lateral_nm"] == pytest.approx(30.0) and metrics["rmse_axial_nm"] == pytest.approx(40.0)
    assert metrics["efficiency_3d"] == pytest.approx(100 - (30.0 + 20.0) / 2)
    assert metrics["bias_y_nm"] == pytest.approx(0.0)


def test_errors_of_the_size_of_the_bound(tmp_path):
    truth, psf, rng = emitters(12), Astigmatic(pixel_nm=PIXEL), np.random.default_rng(1)
    bound = emitter_bounds(psf, sensor(CAMERA), truth.columns, neighbours=4, gate_nm=(250.0, 500.0))
    moved = {f"{a}_nm": truth[f"{a}_nm"] + rng.normal(size=len(truth)) * bound[f"crlb_{a}_nm"] for a in "xyz"}
    spread = {f"sigma_{a}_nm": 2.0 * bound[f"crlb_{a}_nm"] for a in "xyz"}
    result = judge({"model": truth.with_columns(**moved, **spread)}, truth, tmp_path, psf=psf, camera=CAMERA)
    metrics, bounds = result.entries()["metrics"], result.entries()["bounds"]
    for axis in "xyz":
        assert metrics[f"rmse_over_crlb_{axis}"] == pytest.approx(1.0, abs=0.12)
        assert bounds[f"rmse_over_crlb_{axis}"] == 1.0
    assert metrics["rmse_lateral_nm"] == pytest.approx(bounds["rmse_lateral_nm"], rel=0.12)
    assert metrics["rmse_axial_nm"] == pytest.approx(bounds["rmse_axial_nm"], rel=0.2)
    assert metrics["coverage_95"] > 0.99 and metrics["error_over_sigma"] == pytest.approx(0.5, abs=0.05)
    assert metrics["bound_lateral_nm"] == pytest.approx(bounds["rmse_lateral_nm"])  # all were found


def test_bounds_are_those_of_single_emitters_above_their_own_pixels():
    truth, psf = emitters(3, frames=4, last_lit=4), Astigmatic(pixel_nm=PIXEL)
    found = emitter_bounds(psf, sensor(CAMERA), truth.columns)
    centre = {f"{a}_nm": 700.0 + np.mod(truth[f"{a}_nm"], PIXEL) for a in "xy"}
    light = {name: truth[name] for name in ("z_nm", "photons", "background_photons")}
    direct = crlb(psf, CAMERA, (15, 15), **centre, **light)
    for name, values in direct.items():
        np.testing.assert_allclose(found[f"crlb_{name}"], values, rtol=1e-3)
    noise = np.full((SIDE, SIDE), 1.6, np.float32)
    noise[:, SIDE // 2 :] = 20.0
    maps = SCMOS(offset_adu=100.0, gain_adu_per_e=2.0, read_noise_e=noise, quantum_efficiency=0.8)
    worse = emitter_bounds(psf, sensor(maps), truth.columns)["crlb_x_nm"] / found["crlb_x_nm"]
    left, right = truth["x_nm"] < 1000, truth["x_nm"] > 3000
    np.testing.assert_allclose(worse[left], 1.0, rtol=1e-3)
    assert (worse[right] > 1.3).all() and left.any() and right.any()


def test_a_neighbour_makes_the_bound_worse_as_the_information_of_both_says():
    psf = Astigmatic(pixel_nm=PIXEL)
    two = {
        "frame": [1, 1, 2],
        "x_nm": [1500.0, 1750.0, 1500.0],
        "y_nm": [1500.0, 1550.0, 1500.0],
        "z_nm": [0.0, 100.0, 0.0],
    }
    two |= {"photons": [3000.0, 5000.0, 3000.0], "background_photons": [10.0] * 3}
    alone = emitter_bounds(psf, sensor(CAMERA), two)
    found = emitter_bounds(psf, sensor(CAMERA), two, neighbours=3)
    rows = jnp.asarray(
        [[two[n][i] - (400.0 if n in ("x_nm", "y_nm") else 0.0) for n in PARAMETERS[:4]] for i in (0, 1)]
    )
    both = np.asarray(fisher_information(psf, CAMERA, (23, 23), rows, 10.0), np.float64)
    np.testing.assert_allclose(found["crlb_x_nm"][0], np.sqrt(np.linalg.inv(both)[0, 0]), rtol=1e-3)
    assert found["crlb_x_nm"][0] > 1.3 * alone["crlb_x_nm"][0]
    np.testing.assert_allclose(found["crlb_z_nm"][2], alone["crlb_z_nm"][2], rtol=1e-4)  # alone in its frame


def test_two_at_one_place_are_bound_by_the_gate():
    two = {"frame": [1, 1], "x_nm": [1500.0, 1500.0], "y_nm": [1500.0] * 2, "z_nm": [0.0, 0.1], "photons": [3000.0] * 2}
    two["background_photons"] = [10.0] * 2
    found = emitter_bounds(Astigmatic(pixel_nm=PIXEL), sensor(None), two, neighbours=1, gate_nm=(250.0, 500.0))
    assert np.allclose(found["crlb_x_nm"], 125.0) and np.allclose(found["crlb_z_nm"], 500 / np.sqrt(3))


def test_numbers_that_are_not_finite_have_no_bound():
    one = {"x_nm": [1500.0], "y_nm": [1500.0], "photons": [np.nan], "background_photons": [10.0]}
    with pytest.raises(InputError, match="finite numbers, found some that are not in photons"):
        emitter_bounds(Gaussian(), sensor(None), one)


def test_a_flat_spot_has_no_depth():
    columns = {name: values for name, values in emitters().columns.items() if name != "z_nm"}
    found = emitter_bounds(Gaussian(pixel_nm=PIXEL), sensor(None), columns)
    assert "crlb_z_nm" not in found and np.isfinite(found["crlb_x_nm"]).all()
    assert list(bound_of(found)) == ["rmse_lateral_nm"]
    with pytest.raises(InputError, match="needs background_photons"):
        emitter_bounds(Gaussian(), sensor(None), {name: columns[name] for name in ("x_nm", "y_nm", "photons")})


def test_false_ones_on_empty_frames_and_the_interval(tmp_path):
    truth = emitters()
    rows = {name: np.concatenate([values, values[:4]]) for name, values in truth.columns.items()}
    rows["frame"][-4:] = FRAMES
    kept = np.ones(len(truth) + 4, bool)
    kept[:30] = False  # six whole frames missed
    table = Localizations(rows, PIXEL, (SIDE, SIDE), FRAMES).select(kept)
    result = judge({"model": table}, truth, tmp_path)
    numbers, ends = result.methods["model"]["numbers"]["greedy"], result.methods["model"]["intervals"]
    assert numbers["false_positives_per_um2"] == pytest.approx(4 / (6 * 3.1**2))
    jaccard = (len(truth) - 30) / (len(truth) + 4)
    assert numbers["jaccard"] == pytest.approx(jaccard)
    assert ends["jaccard"][0] < jaccard < ends["jaccard"][1] and ends["recall"][0] < ends["recall"][1]
    assert ends["jaccard"][1] - ends["jaccard"][0] > 0.2  # whole frames: far wider than 120 independent emitters


def test_neighbours_are_counted_within_a_frame():
    truth = {"frame": np.array([1, 1, 2]), "x_nm": np.array([0.0, 600.0, 0.0]), "y_nm": np.zeros(3)}
    predicted = {"frame": np.array([1, 3]), "x_nm": np.array([10.0, 0.0]), "y_nm": np.zeros(2)}
    found, known = with_neighbours(predicted, truth)
    np.testing.assert_allclose(known[NEIGHBOURS], [1 / np.pi, 1 / np.pi, 0])
    np.testing.assert_allclose(found[NEIGHBOURS], [1 / np.pi, 0])


def test_files(tmp_path):
    truth = emitters()
    shifted = truth.with_columns(x_nm=truth["x_nm"] + 30.0)
    result = judge({"model": truth, "mle": shifted}, truth, tmp_path, psf=Astigmatic(pixel_nm=PIXEL), camera=CAMERA)
    with (tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["rule"]) for row in rows[:6]] == [
        (method, rule) for method in ("model", "mle") for rule in MATCHING_RULES
    ]
    assert float(rows[3]["bias_x_nm"]) == pytest.approx(30.0) and rows[-1]["method"] == "bound"
    assert float(rows[0]["jaccard_low"]) == 1.0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["task"] == "localize" and summary["main"] == "model"
    entries = json.loads(json.dumps(result.entries(), allow_nan=False))
    assert entries["baselines"]["mle"]["bias_x_nm"] == pytest.approx(30.0)
    with np.load(tmp_path / "curves.npz") as stored:
        tolerance, recall = stored["mle.tolerance.tolerance_nm"], stored["mle.tolerance.recall"]
        np.testing.assert_array_equal(recall, (tolerance >= 30.0).astype(float))
        assert stored["model.photons.count"].sum() == len(truth)
        assert np.isfinite(stored["bound.photons.rmse_lateral_nm"]).all()
        assert np.all(np.diff(stored["bound.photons.rmse_lateral_nm"]) < 0)  # more light, less doubt
        assert stored["truth.render"].dtype == np.uint8
    assert not list(tmp_path.glob(".*"))


def test_what_is_missing_is_said(tmp_path):
    truth = emitters()
    bare = Localizations({name: truth[name] for name in ("frame", "x_nm", "y_nm")})
    spread = bare.with_columns(sigma_x_nm=np.zeros(len(bare)))
    said = " ".join(judge({"model": spread}, bare, tmp_path, psf=Gaussian(), border_nm=0.0).notes)
    for words in ("as far as the tables reach", "sigma_x_nm left out", "target has no photons"):
        assert words in said
    assert "No bound: no spot" in " ".join(judge({"model": truth}, truth, tmp_path).notes)


@pytest.mark.parametrize(
    ("localizers", "settings", "says"),
    [
        ({}, {}, "at least one table"),
        ({"truth": None}, {}, "names without a dot"),
        ({"model": None}, {"border_nm": 2000.0}, "border_nm: expected 0 to less than half"),
        ({"model": None}, {"lateral_nm": -1.0}, "lateral_nm: expected a positive"),
        ({"model": None}, {"photon_quantile": 1.5}, "photon_quantile"),
    ],
)
def test_refuses(localizers, settings, says, tmp_path):
    with pytest.raises(InputError, match=says):
        judge({name: emitters() for name in localizers}, emitters(), tmp_path, **settings)
    with pytest.raises(InputError, match="empty table"):
        judge({"model": emitters()}, Localizations.empty(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_caption_names_the_protocol():
    caption = Protocol((4000.0, 4000.0), 9, PIXEL, photon_quantile=0.25).caption
    for words in ("250 nm laterally", "500 nm axially", "450 nm left out", "0.25 quantile"):
        assert words in caption


@pytest.fixture(scope="module")
def movie(tmp_path_factory) -> Path:
    """A movie in counts, and the table of its emitters."""
    import jax

    folder = tmp_path_factory.mktemp("movie")
    truth = emitters(4, frames=8, last_lit=7, seed=3)
    simulator = EmitterSimulator(psf=Astigmatic(pixel_nm=PIXEL), camera=CAMERA, size=SIDE, frames=1, margin_px=0)
    key, frames = jax.random.key(0), []
    for number in range(1, 9):
        here = {name: np.float32(values[truth["frame"] == number]) for name, values in truth.columns.items()}
        light = simulator.render({**here, "photons": here["photons"][:, None]})[0] + 10.0
        frames.append(np.asarray(CAMERA.expose(jax.random.fold_in(key, number), light)))
    tifffile.imwrite(folder / "movie.tif", np.stack(frames).astype(np.uint16), metadata={"axes": "TYX"})
    write_localizations(truth, folder / "truth.csv")
    return folder


def test_evaluate_on_a_movie_and_on_a_table(movie, capsys):
    common = [f"target={movie / 'truth.csv'}", "psf=astigmatic", "camera=scmos", "camera.quantum_efficiency=0.8"]
    judged = movie / "judged"
    assert run("evaluate", ["model=mle", f"input={movie / 'movie.tif'}", *common, f"run_dir={judged}"]) == 0
    result = json.loads((judged / "result.json").read_text())
    assert result["status"] == "ok" and result["task"] == "localize" and result["model"] == "mle"
    assert result["metrics"]["jaccard"] > 0.8 and 0.6 < result["metrics"]["rmse_over_crlb_x"] < 2.0
    assert result["bounds"]["rmse_lateral_nm"] > 0 and result["baselines"] == {}
    assert "Jaccard" in capsys.readouterr().out and (judged / "report.html").exists()
    again = movie / "again"
    assert run("evaluate", [f"input={movie / 'truth.csv'}", common[0], f"run_dir={again}", "border_nm=300"]) == 0
    scored = json.loads((again / "result.json").read_text())
    assert scored["metrics"]["jaccard"] == 1.0 and scored["model"] == "table"
    assert any("No classical baseline" in note for note in scored["notes"])


def test_the_classical_fit_stands_beside_a_table_with_its_movie(movie, tmp_path, monkeypatch):
    known = read_localizations(movie / "truth.csv", pixel_nm=PIXEL)
    half = known.select(known["x_nm"] < 2000)
    monkeypatch.setattr(localization_files, "localize_classically", lambda *given, **settings: half)
    result = evaluate_localization_files(
        {}, movie / "truth.csv", movie / "truth.csv", run_dir=tmp_path, movie=movie / "movie.tif", pixel_nm=PIXEL,
        psf=Gaussian(pixel_nm=PIXEL), console=Console(file=io.StringIO()),
    )  # fmt: skip
    assert result.entries()["metrics"]["recall"] == 1.0
    assert result.entries()["baselines"]["mle"]["recall"] == pytest.approx(len(half) / len(known))
    assert result.methods["mle"]["seconds"] >= 0 and result.facts["size_nm"] == [SIDE * PIXEL] * 2


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["input={movie}", "target={truth}"], "model: missing"),
        (
            ["input={truth}", "target={truth}", "movie={movie}", "psf=gaussian", "detector=wavelet"],
            "detector: 'wavelet'",
        ),
        (["model=mle", "input={movie}", "target={truth}"], "psf: the classical localizer needs a spot"),
        (["model=mle", "input={movie}", "target={movie}", "psf=gaussian"], "target: expected the table"),
        (["model=mle", "input={truth}", "target={truth}", "psf=gaussian"], "is a table already"),
        (["input={truth}", "target={truth}", "z_nm=[5,1]"], "z_nm: expected two increasing"),
        (["input={truth}", "target={truth}", "border_nm=-1"], "border_nm: expected a number of at least 0"),
        (["input=nothing.csv", "target={truth}"], "no such file"),
    ],
)
def test_the_command_refuses(overrides, says, movie, tmp_path, capfd):
    names = {"movie": str(movie / "movie.tif"), "truth": str(movie / "truth.csv")}
    code = run("evaluate", [*(part.format(**names) for part in overrides), f"run_dir={tmp_path / 'run'}"])
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("bioflax ")]
    assert code == 2 and len(lines) == 1 and says in lines[0], lines
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_longer_table_than_its_movie_is_refused(movie, tmp_path):
    table = read_localizations(movie / "truth.csv")
    write_localizations(table.with_columns(frame=table["frame"] + 5), tmp_path / "late.csv")
    with pytest.raises(InputError, match="frames from 1 to the 8"):
        evaluate_localization_files(
            {}, movie / "truth.csv", tmp_path / "late.csv", run_dir=tmp_path / "run", movie=movie / "movie.tif"
        )
