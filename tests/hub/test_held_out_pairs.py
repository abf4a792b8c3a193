"""Held-out pairs: names of metrics, baselines and bounds; the exact bound of the Gaussian process; probes with known answers."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.baselines.interpolate import bicubic
from bioflax.baselines.super_resolve import SUPER_RESOLVERS
from bioflax.data import SimulatedPairs
from bioflax.data.pairs import simulator_physics
from bioflax.errors import InputError
from bioflax.functional import count
from bioflax.hub import held_out_pairs, pair_probes, probes
from bioflax.hub.card import ModelCard
from bioflax.hub.held_out_pairs import best_linear, judge_pairs, make_score, mean_spectrum, save_preview
from bioflax.hub.store import load, save_model
from bioflax.optics import WidefieldOptics
from bioflax.optics.illumination import Illumination
from bioflax.optics.passband import in_band_psnr_db
from bioflax.optics.resolution_bounds import super_resolution_mse, super_resolve_linear
from bioflax.predict.physics import physics_of
from bioflax.simulate import BlurredProcess, Magnified

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
PROCESS = BlurredProcess(OPTICS, size=16, noise_std=0.2, margin=8)
LINES = Magnified(optics=OPTICS, size=24, margin=4, photons=(50.0, 200.0))


@pytest.fixture(autouse=True, scope="module")
def few():
    """Everything as it is, in small numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out_pairs, "TUNED", 1)
        patch.setattr(held_out_pairs, "JUDGED", 4)
        patch.setattr(
            held_out_pairs, "SUPER_RESOLVERS", {name: SUPER_RESOLVERS[name] for name in ("bicubic", "wiener")}
        )
        patch.setattr(pair_probes, "SPACINGS", (0.5, 1.5))
        patch.setattr(pair_probes, "REPEATS", 4)
        patch.setattr(probes, "FIELDS", 3)
        yield


def prepared_of(simulator, number: int = 8, kind: str = "none"):
    return SimulatedPairs(simulator, kind, validation=number).prepare("target", (), spatial_dims=2, seed=0, batch=4)


def model_of(prepared, restore) -> SimpleNamespace:
    """What a judge needs of a loaded model, with any function in place of the net."""
    card = SimpleNamespace(physics=prepared.physics)
    return SimpleNamespace(
        card=card, upscale=2, restore=lambda raw: {"image": np.stack([restore(one.mean(-1)) for one in raw])[..., None]}
    )


@pytest.fixture(scope="module")
def process():
    return prepared_of(PROCESS, 12)


@pytest.fixture(scope="module")
def judged_process(process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    found = judge_pairs(model_of(process, lambda wide: bicubic(wide, 2)), None, process, folder / "preview.npz")
    return found, folder


def test_the_process_has_an_exact_bound(judged_process, process) -> None:
    found, folder = judged_process
    bound = super_resolution_mse(PROCESS.spectrum, PROCESS.imaging.otf(PROCESS.spectrum.shape), 0.04, 2)
    raw, targets = (np.concatenate([batch[name] for batch in process.validation]) for name in ("image", "target"))
    chosen = np.linspace(0, 11, 4).astype(int)
    spread = [20 * np.log10(np.ptp(targets[n])) for n in chosen]
    assert found["bounds"]["psnr_db"] == pytest.approx(np.mean(spread) - 10 * np.log10(bound.mse), abs=1e-3)
    in_band = np.mean(spread) - 10 * np.log10(bound.in_band_mse)
    assert found["bounds"]["in_band_psnr_db"] == pytest.approx(in_band, abs=1e-3)
    assert set(found["baselines"]) == {"bicubic", "wiener"}  # a linear method is bound as all are
    assert set(found["metrics"]) >= {"psnr_db", "ssim", "nrmse", "in_band_psnr_db", "null_space_energy", "rsp"}
    assert found["metrics"]["psnr_db"] == pytest.approx(found["baselines"]["bicubic"]["psnr_db"], abs=1e-3)
    assert found["bounds"]["psnr_db"] > found["metrics"]["psnr_db"]
    assert not (folder / "probes.json").exists()  # there are no lines in a process
    with np.load(folder / "preview.npz") as preview:
        assert preview["input"].shape == preview["output"].shape == preview["target"].shape == (4, 32, 32)
        np.testing.assert_allclose(preview["target"], targets[chosen, ..., 0], rtol=1e-5)
        np.testing.assert_allclose(preview["input"][1], bicubic(raw[chosen[1], ..., 0], 2), rtol=1e-4, atol=1e-5)
    json.dumps(found, allow_nan=False)


def test_the_best_linear_estimate_reaches_the_bound_and_not_more() -> None:
    """The estimate that knows the spectrum, on whole periodic canvases; pictures cut from them know less."""
    periodic = BlurredProcess(OPTICS, size=16, noise_std=0.2, margin=0)
    prepared = prepared_of(periodic, 60)
    raw, targets = (np.concatenate([batch[name] for batch in prepared.validation]) for name in ("image", "target"))
    shape = periodic.spectrum.shape
    otf = np.asarray(periodic.imaging.otf(shape))
    best = super_resolve_linear(raw[..., 0], periodic.spectrum, otf, 0.04, 2)
    physics = physics_of(model_of(prepared, None))
    bound = best_linear(targets[..., 0], raw[..., 0], physics, periodic)
    score = make_score(physics, True)(best, targets[..., 0])
    assert score["psnr_db"] == pytest.approx(bound["psnr_db"], abs=0.25)
    smoothed = make_score(physics, True)(0.9 * best, targets[..., 0])
    assert smoothed["psnr_db"] < score["psnr_db"]


def test_the_linear_bound_of_other_scenes_takes_their_mean_spectrum(process) -> None:
    """Of the process itself it comes close to the exact one."""
    raw, targets = (
        np.concatenate([batch[name] for batch in process.validation])[..., 0] for name in ("image", "target")
    )
    physics = physics_of(model_of(process, None))
    exact = best_linear(targets, raw, physics, PROCESS)
    rough = best_linear(targets, raw, dataclasses.replace(physics, camera=White()), None)
    assert rough["psnr_db"] == pytest.approx(exact["psnr_db"], abs=1.5)  # small pictures leak
    spectrum = mean_spectrum(targets)
    assert spectrum.shape == (32, 32) and spectrum[0, 0] == 0 and spectrum.mean() == pytest.approx(1.0)
    assert spectrum[0, 1] > 30 * spectrum[0, 12] > 0
    np.testing.assert_allclose(mean_spectrum(1000.0 * targets + 7.0), spectrum, rtol=1e-4)


class White:
    """Noise of 0.2 whatever the light; the rounding of counts, which a process does not have, taken off."""

    def to_photons(self, adu):
        return adu

    def variance(self, photons):
        return 0.0 * photons + 0.04 - 1 / 12


def test_units_of_their_own_are_matched_first() -> None:
    target = np.random.default_rng(0).normal(size=(2, 32, 32)).cumsum(1)
    image = target + np.random.default_rng(1).normal(size=target.shape)
    own, same = make_score(None, False), make_score(None, True)
    assert own(3 * image + 50, target)["psnr_db"] == pytest.approx(own(image, target)["psnr_db"])
    assert same(3 * image + 50, target)["psnr_db"] < same(image, target)["psnr_db"] - 10
    assert set(own(image, target)) == {"psnr_db", "ssim", "nrmse"}  # no optics, no band
    physics = physics_of(
        SimpleNamespace(card=SimpleNamespace(physics={"na": 1.4, "wavelength_nm": 520.0, "pixel_nm": 93.0}), upscale=2)
    )
    found = make_score(physics, True)(image, target)["in_band_psnr_db"]
    expected = [in_band_psnr_db(a, b, 2 * 1.4 / 520 * 46.5, 2, np.ptp(b)) for a, b in zip(image, target)]
    assert found == pytest.approx(np.mean(expected))


@pytest.fixture(scope="module")
def lines():
    return prepared_of(LINES, 8, "mean_std")


@pytest.fixture(scope="module")
def judged_lines(lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    return judge_pairs(model_of(lines, lambda wide: bicubic(wide, 2)), None, lines, folder / "preview.npz"), folder


def test_other_scenes_have_a_linear_bound_among_the_baselines(judged_lines) -> None:
    found, _ = judged_lines
    assert found["bounds"] == {} and set(found["baselines"]) == {"bicubic", "wiener", "best_linear"}
    assert set(found["baselines"]["best_linear"]) == {"psnr_db", "in_band_psnr_db"}
    assert found["baselines"]["wiener"]["psnr_db"] < found["baselines"]["best_linear"]["psnr_db"] + 0.5
    assert {"chi_square", "rse_over_noise", "rsp", "detail", "null_space_energy", "false_structures_per_um2"} <= set(
        found["metrics"]
    )
    assert all(np.isfinite(value) for value in found["metrics"].values() if value is not None)


def test_probes_have_one_form(judged_lines) -> None:
    _, folder = judged_lines
    found = json.loads((folder / "probes.json").read_text())
    assert set(found) == {"two_lines", "two_points", "empty", "shifts"}
    cutoff_nm = 520 / 2.8
    for kind, photons in (("two_lines", 50.0), ("two_points", 100.0)):
        pairs = found[kind]
        assert pairs["cutoff_nm"] == pytest.approx(cutoff_nm) and pairs["repeats"] == 4
        assert pairs["spacing_nm"] == pytest.approx([0.5 * cutoff_nm, 1.5 * cutoff_nm])
        assert set(pairs["resolved"]) == {"model", "bicubic"} and pairs["photons"] == pytest.approx(photons)
        assert pairs["resolved"]["model"] == pairs["resolved"]["bicubic"]  # the model is bicubic interpolation
        assert pairs["resolved"]["model"][0] == 0.0  # half of the cut-off spacing: no interpolation tells two from one
        assert 0 <= pairs["bound"][0] < pairs["bound"][1] <= 1
    assert set(found["empty"]) == {"fields", "false_structures_per_um2", "recognised", "flagged"}
    assert found["empty"]["fields"] == 3 and found["empty"]["recognised"] == found["empty"]["flagged"] == 1.0
    names = ["matched", "spot 20 % narrower", "spot 20 % wider", "pixel 1.5 times as large"]
    assert list(found["shifts"]) == names
    for shift in found["shifts"].values():
        assert set(shift) >= {"chi_square", "rse_over_noise", "rsp", "null_space_energy", "si_psnr_db", "flagged"}


def test_pairs_that_are_shown_sharp_are_told_apart(lines) -> None:
    """The target in place of a result: what a microscope of twice the cut-off sees of the pair."""
    model = SimpleNamespace(card=SimpleNamespace(physics=lines.physics), upscale=2)
    steady = dataclasses.replace(LINES, photons=200.0, background_photons=5.0)
    shown, show = {}, pair_probes.show

    def watched(simulator, densities):
        shown.update(show(simulator, densities))
        return shown

    model.restore = lambda raw: {"image": shown["target"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_probes, "show", watched)
        patch.setattr(pair_probes, "SPACINGS", (0.3, 1.2))
        methods = {"bicubic": lambda wide: bicubic(wide, 2)}
        found = pair_probes.told_apart("lines", model, steady, physics_of(model), methods)["resolved"]
    assert found["model"] == [0.0, 1.0] and found["bicubic"][0] == 0.0


@pytest.mark.parametrize(
    ("shares", "from_nm"),
    [([0.0, 0.6, 1.0], 2.0), ([0.7, 0.4, 1.0], 3.0), ([0.5, 0.5, 0.5], 1.0), ([1.0, 1.0, 0.4], None)],
)
def test_half_is_resolved_from_a_spacing_on(shares, from_nm) -> None:
    assert probes.resolved_from([1.0, 2.0, 3.0], shares) == from_nm


def test_frames_have_no_bound_of_even_light(monkeypatch) -> None:
    monkeypatch.setattr(pair_probes, "SPACINGS", (1.5,))
    lit = Magnified(
        optics=OPTICS, illumination=Illumination(), size=16, margin=2, photons=100.0, background_photons=5.0
    )
    model = SimpleNamespace(card=SimpleNamespace(physics=simulator_physics(lit)), upscale=2)
    model.restore = lambda raw: {"image": np.stack([bicubic(one.mean(-1), 2) for one in raw])[..., None]}
    physics = physics_of(model)
    found = pair_probes.told_apart("points", model, lit, physics, {})
    assert "bound" not in found and found["cutoff_nm"] == pytest.approx(1 / physics.reach_per_nm)
    assert found["spacing_nm"] == [1.5 * found["cutoff_nm"]] and len(found["resolved"]["model"]) == 1


def test_empty_fields_do_not_count(process) -> None:
    """A held-out picture of nothing has no range: PSNR would be -inf, and the mean with it."""
    raw, targets = (
        np.concatenate([batch[name] for batch in process.validation])[:3, ..., 0] for name in ("image", "target")
    )
    blank = np.concatenate([targets[:2], np.zeros_like(targets[:1])])
    physics = physics_of(model_of(process, None))
    images = np.stack([bicubic(wide, 2) for wide in raw])
    score = make_score(physics, True)
    assert score(images, blank) == score(images[:2], blank[:2])
    alone = score(images[2:], blank[2:])
    assert alone["psnr_db"] is None and set(alone) == {"psnr_db", "ssim", "nrmse", "in_band_psnr_db"}
    assert best_linear(blank, raw, physics, PROCESS) == best_linear(blank[:2], raw[:2], physics, PROCESS)
    assert best_linear(blank[2:], raw[2:], physics, PROCESS) == {}
    tuned = held_out_pairs.tuned_methods(raw, blank, physics)
    assert tuned["wiener"].psnr_db == held_out_pairs.tuned_methods(raw[:2], blank[:2], physics)["wiener"].psnr_db > 0


def test_nothing_held_out_is_nothing_judged(tmp_path) -> None:
    prepared = prepared_of(PROCESS, 0)
    nothing = {"metrics": {}, "baselines": {}, "bounds": {}}
    assert judge_pairs(model_of(prepared, None), None, prepared, tmp_path / "preview.npz") == nothing
    assert list(tmp_path.iterdir()) == []


def test_a_card_without_optics_has_interpolations_beside_it(tmp_path) -> None:
    prepared = prepared_of(PROCESS, 4)
    prepared.physics.update(na=None)
    found = judge_pairs(model_of(prepared, lambda wide: bicubic(wide, 2)), None, prepared, tmp_path / "preview.npz")
    assert set(found["metrics"]) == {"psnr_db", "ssim", "nrmse"}
    assert set(found["baselines"]) == {"bicubic", "lanczos"} and found["bounds"] == {}


def test_a_preview_is_whole_or_not_there(tmp_path) -> None:
    wide = np.ones((2, 8, 8), np.float32)
    fine = np.ones((2, 16, 16), np.float32)
    save_preview(tmp_path / "preview.npz", wide, fine, fine, 0.5 * fine[..., None], 2)
    with np.load(tmp_path / "preview.npz") as preview:
        assert set(preview) == {"names", "input", "output", "target", "scale"} and preview["scale"].shape == (2, 16, 16)
    with pytest.raises(InputError, match="upscale"):
        save_preview(tmp_path / "other.npz", wide, fine, fine, None, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["preview.npz"]


def test_a_model_of_a_finer_grid_is_loaded_as_one(tmp_path) -> None:
    from flax import nnx

    from bioflax.functional import purify
    from bioflax.models import RCAN, Direct, Model, describe

    module = Model(
        partial(RCAN, width=4, groups=1, blocks=1, reduction=2), partial(Direct, **Direct.edsr(2)), rngs=nnx.Rngs(0)
    )
    net = purify(module)
    facts = {"task": "superresolve", "axes": "YX", "scheme": "supervised", "receptive_field": module.receptive_field}
    units = {"kind": "mean_std", "offset": [100.0], "scale": [20.0]}
    card = ModelCard(
        name="fine", architecture=describe(module), normalization=units, parameters=count(net.variables), **facts
    )
    example = np.random.default_rng(0).normal(100, 20, (1, 12, 16, 1)).astype(np.float32)
    with pytest.raises(InputError, match="card.trained_on.patch: expected 2 sizes in pixels"):
        save_model(tmp_path / "model", card, net.variables, example)
    card = ModelCard(**{**card.__dict__, "trained_on": {"patch": [12, 16]}})
    save_model(tmp_path / "model", card, net.variables, example)
    model = load(tmp_path / "model", verify=True)
    assert model.upscale == 2 and model.patch == (12, 16) and model.test_output.shape == (1, 24, 32, 1)
