"""The judge of localizers: what is paired between conditions, what is counted, and what the user of a model believes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.data import SimulatedEmitters
from bioflax.errors import InputError
from bioflax.metrics import score_localizations
from bioflax.optics.camera import SCMOS
from bioflax.optics.psf import Astigmatic
from bioflax.simulate import EmitterSimulator
from bioflax.studies.judges import localize as judge_module
from bioflax.studies.judges import make_judge
from bioflax.studies.judges.emitter_tallies import LocalizeTests, bounds, tally
from bioflax.studies.judges.localize import LocalizeJudge, join_maps
from bioflax.tasks import Localize

SIZE, PIXEL_NM, CAMERA = 16, 100.0, SCMOS()
SIMULATOR = EmitterSimulator(
    psf=Astigmatic(pixel_nm=PIXEL_NM), size=SIZE, frames=3, emitters_per_um2=1.0, photons=2000.0,
    background_photons=10.0, z_nm=(-300.0, 300.0), whole_frames=True,
)  # fmt: skip
SCALES = {"pixel_nm": PIXEL_NM, "photons": 3000.0, "z_nm": 600.0, "background_photons": 20.0, "frames": 3}


def draw(items: int = 4, **changed: object) -> LocalizeTests:
    data = SimulatedEmitters(dataclasses.replace(SIMULATOR, room=None, **changed))
    return LocalizeJudge().draw(data, None, items, 7, {})


@pytest.fixture(scope="module")
def tests() -> LocalizeTests:
    return draw()


def model(maps: object, frames: int = 3, camera: SCMOS = CAMERA) -> SimpleNamespace:
    """A localizer that gives these maps, and remembers the photons that it was given."""
    seen: list[np.ndarray] = []

    def restore(photons: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(photons)
        return {name: np.resize(values, (len(photons), *values.shape[1:])) for name, values in maps.items()}

    settings = {"kind": "SCMOS", **{field.name: getattr(camera, field.name) for field in dataclasses.fields(camera)}}
    card = SimpleNamespace(physics={"scales": {**SCALES, "frames": frames}, "camera": settings}, task="localize")
    return SimpleNamespace(card=card, restore=restore, seen=seen)


def perfect_maps(tests: LocalizeTests) -> dict[str, np.ndarray]:
    """Maps that say where the emitters are, each in its own pixel."""
    items, (row, column) = len(tests.counts), ((tests.truth[a] / PIXEL_NM).astype(int) for a in ("y_nm", "x_nm"))
    at = tests.truth["frame"] - 1, row, column
    assert len(set(zip(*at))) == len(row)  # no two in a pixel
    logit = np.full((items, SIZE, SIZE, 1), -12.0, np.float32)
    mean, spread = (np.full((items, SIZE, SIZE, 4), level, np.float32) for level in (0.0, 0.05))
    logit[at] = 12.0
    x, y = (tests.truth[a] / PIXEL_NM - 0.5 - index for a, index in (("x_nm", column), ("y_nm", row)))
    mean[at] = np.stack([tests.truth["photons"] / 3000.0, x, y, tests.truth["z_nm"] / 600.0], -1)
    return {"logit": logit, "mean": mean, "spread": spread}


def test_items_keep_their_emitters_under_other_light_spot_and_camera(tests: LocalizeTests) -> None:
    fewer = draw(2)
    np.testing.assert_array_equal(fewer.counts, tests.counts[:2])
    other = draw(
        photons=4000.0, background_photons=30.0, psf=Astigmatic(sigma_nm=160.0), camera=SCMOS(gain_adu_per_e=3.0)
    )
    for name in ("frame", "x_nm", "y_nm", "z_nm"):
        np.testing.assert_array_equal(other.truth[name], tests.truth[name])
    assert other.counts.mean() > 1.5 * tests.counts.mean()
    assert np.all(other.truth["background_photons"] == 30.0)


def test_a_higher_density_adds_emitters_to_those_there(tests: LocalizeTests) -> None:
    dense = draw(emitters_per_um2=3.0)
    assert len(dense.truth["frame"]) > 2 * len(tests.truth["frame"])
    there = {(f, x, y, z) for f, x, y, z in zip(*(dense.truth[n] for n in ("frame", "x_nm", "y_nm", "z_nm")))}
    kept = [row in there for row in zip(*(tests.truth[n] for n in ("frame", "x_nm", "y_nm", "z_nm")))]
    assert np.mean(kept) > 0.5


def test_a_perfect_localizer_finds_all(tests: LocalizeTests) -> None:
    judged = LocalizeJudge().score([model(perfect_maps(tests))], Localize(), tests, {})
    values = {name: found.value for name, found in judged.tallies.items()}
    assert values["jaccard"] == values["precision"] == values["recall"] == values["coverage_68"] == 1.0
    assert (
        values["rmse_lateral_nm"] < 0.01 and values["rmse_axial_nm"] < 0.01 and values["false_positives_per_um2"] == 0.0
    )
    assert values["grid_bias"] < 1e-3
    assert judged.picture["truth"].sum() > 0 and judged.picture["input"].shape == (SIZE, SIZE)
    assert set(judged.tallies) <= set(LocalizeJudge.metrics) and isinstance(make_judge("localize"), LocalizeJudge)


def test_counts_become_photons_by_the_camera_of_the_card(tests: LocalizeTests) -> None:
    believed = SCMOS(gain_adu_per_e=4.0, offset_adu=90.0, quantum_efficiency=0.5)
    one = model(perfect_maps(tests), camera=believed)
    LocalizeJudge().score([one], Localize(), tests, {})
    np.testing.assert_allclose(one.seen[0][: len(tests.counts)], (tests.counts - 90.0) / 2.0, rtol=1e-5)


def test_a_model_of_one_frame_sees_the_middle_one(tests: LocalizeTests) -> None:
    one = model(perfect_maps(tests), frames=1)
    judged = LocalizeJudge().score([one], Localize(), tests, {})
    np.testing.assert_allclose(one.seen[0][:4, ..., 0], (tests.middle - 100.0) / (2.0 * 0.82), rtol=1e-5, atol=1e-3)
    assert judged.tallies["jaccard"].value == 1.0
    with pytest.raises(InputError, match="test.frames: the model takes 5 frames, the test has 3"):
        LocalizeJudge().score([model(perfect_maps(tests), frames=5)], Localize(), tests, {})


def noisy(tests: LocalizeTests, seed: int = 0) -> dict[str, np.ndarray]:
    """A table with errors, misses and false alarms."""
    rng, truth = np.random.default_rng(seed), tests.truth
    kept = rng.random(len(truth["frame"])) < 0.8
    found = {"frame": truth["frame"][kept]}
    for axis, spread in (("x", 20.0), ("y", 30.0), ("z", 60.0)):
        found[f"{axis}_nm"] = truth[f"{axis}_nm"][kept] + rng.normal(0, spread, kept.sum())
        found[f"sigma_{axis}_nm"] = rng.uniform(15.0, 50.0, kept.sum())
    extra = {name: rng.uniform(1.0, 1500.0, 3) for name in found} | {"frame": np.array([1, 1, 3])}
    return {name: np.concatenate([found[name], extra[name]]) for name in found}


def test_tallies_are_the_score_of_the_whole_table(tests: LocalizeTests) -> None:
    found = noisy(tests)
    size_nm, border = SIZE * PIXEL_NM, 450.0
    score = score_localizations(found, tests.truth, size_nm=(size_nm, size_nm), border_nm=border)
    scored = {name: one.value for name, one in tally(found, tests).items()}
    for name in (
        "jaccard",
        "precision",
        "recall",
        "rmse_lateral_nm",
        "rmse_axial_nm",
        "bias_x_nm",
        "bias_z_nm",
        "coverage_68",
    ):
        assert scored[name] == pytest.approx(score[name], abs=1e-9), name
    area = ((size_nm - 2 * border) / 1000) ** 2
    assert scored["false_positives_per_um2"] == pytest.approx(score["false_positives"] / (4 * area))


def test_errors_over_bound_spread_and_grid_are_those_of_the_pairs(tests: LocalizeTests) -> None:
    shift = {"x": 12.0, "y": -9.0, "z": 30.0}
    truth, found = tests.truth, {"frame": tests.truth["frame"]}
    for axis, by in shift.items():
        found |= {f"{axis}_nm": truth[f"{axis}_nm"] + by, f"sigma_{axis}_nm": np.full(len(truth["frame"]), 10.0)}
    whole = dataclasses.replace(tests, pixel_nm=80.0)  # 1.28 um: no border is cut
    scored = {name: one.value for name, one in tally(found, whole).items()}
    bound = np.sum(truth["crlb_x_nm"] ** 2 + truth["crlb_y_nm"] ** 2)
    assert scored["rmse_over_crlb"] == pytest.approx(np.sqrt(len(truth["frame"]) * (12.0**2 + 9.0**2) / bound))
    assert scored["sigma_ratio"] == pytest.approx(np.sqrt((1.2**2 + 0.9**2 + 3.0**2) / 3))
    phase = [np.mean([np.exp(2j * np.pi * table[a] / 80.0) for a in ("x_nm", "y_nm")]) for table in (found, truth)]
    assert scored["grid_bias"] == pytest.approx(abs(phase[0] - phase[1]))


def test_positions_in_the_middle_of_their_pixel_have_the_largest_grid_bias() -> None:
    rng = np.random.default_rng(3)
    truth = {"frame": np.repeat(np.arange(1, 9), 250), **{f"{a}_nm": rng.uniform(100, 1300, 2000) for a in "xy"}}
    found = truth | {f"{a}_nm": (np.floor(truth[f"{a}_nm"] / 100) + 0.5) * 100 for a in "xy"}
    tests = LocalizeTests(np.zeros((8, 13, 13, 1), np.float32), truth, SCMOS(), 100.0)
    assert tally(found, tests)["grid_bias"].value == pytest.approx(1.0, abs=0.1)
    assert tally(truth, tests)["grid_bias"].value == 0.0


def test_rivals_believe_the_reference_and_the_bound_is_the_true_one(
    tests: LocalizeTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(judge_module, "localize", lambda *args, **more: asked.append((args, more)) or noisy(tests))
    believed = SimulatedEmitters(
        dataclasses.replace(SIMULATOR, psf=Astigmatic(sigma_nm=99.0), camera=SCMOS(offset_adu=50.0))
    )
    rivals = LocalizeJudge().rivals(tests, None, ["mle"], {"believed": believed})
    ((counts, psf, camera), more) = asked[0]
    assert psf.sigma_nm == 99.0 and camera.offset_adu == 50.0 and more["z_range_nm"] == (-360.0, 360.0)
    np.testing.assert_array_equal(counts, tests.counts[..., 1])
    assert rivals.baselines["mle"]["jaccard"].value == tally(noisy(tests), tests)["jaccard"].value
    truth = tests.truth
    inside = np.all([(truth[a] >= 450) & (truth[a] <= 1150) for a in ("x_nm", "y_nm")], 0)
    expected = np.sqrt(np.mean(truth["crlb_x_nm"][inside] ** 2 + truth["crlb_y_nm"][inside] ** 2))
    assert rivals.bounds["rmse_lateral_nm"].value == pytest.approx(expected)
    assert rivals.bounds["rmse_over_crlb"].value == 1.0
    with pytest.raises(InputError, match="study.baselines: 'wavelet' is not known"):
        LocalizeJudge().rivals(tests, None, ["wavelet"], {"believed": believed})


def test_empty_frames_have_false_alarms_only() -> None:
    empty = draw(emitters_per_um2=0.0)
    assert len(empty.truth["frame"]) == 0
    found = {"frame": np.array([1, 4, 4]), **{f"{a}_nm": np.full(3, 700.0) for a in "xyz"}, "sigma_x_nm": np.ones(3)}
    scored = tally(found, empty)
    assert scored["false_positives_per_um2"].value == pytest.approx(3 / (4 * 0.7**2))
    assert (
        scored["jaccard"].value == 0.0
        and np.isnan(scored["rmse_lateral_nm"].value)
        and np.isnan(bounds(empty)["rmse_lateral_nm"].value)
    )


def test_an_ensemble_is_a_mixture() -> None:
    maps = [
        {"logit": np.zeros((1, 1, 1, 1)), "mean": np.full((1, 1, 1, 4), mean), "spread": np.ones((1, 1, 1, 4))}
        for mean in (0.0, 2.0)
    ]
    joined = join_maps(maps)
    assert joined["logit"].item() == pytest.approx(0.0)
    np.testing.assert_allclose(joined["mean"], 1.0)
    np.testing.assert_allclose(joined["spread"], np.sqrt(2.0))
    maps[1]["logit"] -= np.log(3.0)  # probabilities 1/2 and 1/4: weights 2/3 and 1/3
    np.testing.assert_allclose(join_maps(maps)["mean"], 2.0 / 3.0, rtol=1e-6)
    assert join_maps(maps)["logit"].item() == pytest.approx(np.log(0.375 / 0.625))


def test_other_data_are_refused() -> None:
    with pytest.raises(InputError, match="a localizer is judged on simulated emitters"):
        LocalizeJudge().draw(SimpleNamespace(simulator=object()), None, 1, 0, {})
