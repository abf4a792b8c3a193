"""Judge of super-resolution: paired pictures, metrics against a brute force, two physics, rivals and the exact bound."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from bioflax import metrics
from bioflax.baselines.interpolate import bicubic
from bioflax.data import SimulatedPairs
from bioflax.data.pairs import simulator_physics
from bioflax.errors import InputError
from bioflax.optics import WidefieldOptics
from bioflax.optics.resolution_bounds import super_resolution_mse
from bioflax.predict.physics import physics_of
from bioflax.simulate import Blank, BlurredProcess, Filaments, Magnified
from bioflax.studies.judges import pair_rivals, superresolve
from bioflax.studies.judges.pair_rivals import least_linear_error, true_physics
from bioflax.studies.judges.pair_tallies import false_of
from bioflax.studies.judges.superresolve import SuperResolveJudge

JUDGE, ITEMS, SEED = SuperResolveJudge(), 3, 11
OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
LINES = Magnified(
    Filaments(density_per_um2=1.0, capacity=20), OPTICS, size=20, margin=4, photons=100.0, background_photons=5.0
)
PROCESS = BlurredProcess(OPTICS, size=16, noise_std=0.2, margin=8)


@pytest.fixture(autouse=True, scope="module")
def few():
    """Rivals tuned on one picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(superresolve, "TUNED", 1)
        yield


def drawn(simulator, items: int = ITEMS, seed: int = SEED):
    return JUDGE.draw(SimulatedPairs(simulator), None, items, seed, {})


def changed(**change):
    return dataclasses.replace(LINES, **change)


def model_of(simulator, gain: float = 1.0):
    """A loaded model, with an enlargement in place of the net."""
    plain = simulator_physics(simulator)

    def restore(raw):
        return {"image": np.stack([gain * bicubic(one.mean(-1), 2) for one in raw])[..., None]}

    card = SimpleNamespace(physics=plain)
    return SimpleNamespace(card=card, upscale=2, channels_in=plain["frames"], restore=restore)


@pytest.fixture(scope="module")
def lines():
    return drawn(LINES)


def expected(simulator, item: int) -> np.ndarray:
    """Counts of an item without noise, (H, W)."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), superresolve.ITEMS), item)
    coarse, _ = simulator.expected(jax.random.split(key)[0], 1)
    return np.asarray(simulator.camera.expected(coarse))[0, ..., 0]


def test_an_item_keeps_its_scene_and_its_noise_under_every_condition(lines) -> None:
    blurred, bright = drawn(changed(blur_scale=1.4)), drawn(changed(photons=200.0))
    np.testing.assert_array_equal(blurred.target, lines.target)
    camera = LINES.camera
    light = [np.asarray(camera.to_photons(one.target)) - 5.0 for one in (lines, bright)]
    np.testing.assert_allclose(light[1], 2.0 * light[0], atol=1e-2)
    noise = [one.raw[1, ..., 0] - expected(one.simulator, 1) for one in (lines, blurred)]
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(noise[0].ravel(), (lines.raw[0, ..., 0] - expected(LINES, 0)).ravel())[0, 1]) < 0.3


def test_a_denser_picture_holds_the_objects_of_a_sparser_one(lines) -> None:
    denser = drawn(changed(scene=Filaments(density_per_um2=2.0, capacity=20)))
    assert np.all(denser.target >= lines.target - 1e-2)
    assert denser.target.sum() > lines.target.sum()


def test_items_follow_from_the_seed_and_their_number_alone() -> None:
    two, three = drawn(PROCESS, 2), drawn(PROCESS, 3)
    np.testing.assert_array_equal(two.raw, three.raw[:2])
    assert not np.array_equal(two.raw[0], two.raw[1])
    assert not np.array_equal(drawn(PROCESS, 2, SEED + 1).raw, two.raw)


def beyond(image: np.ndarray, cutoff_per_px: float) -> np.ndarray:
    """The part of a picture beyond the band, by the Fourier transform of the picture and its mirror images."""
    height, width = image.shape
    mirrored = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    y, x = np.abs(np.fft.fftfreq(2 * height))[:, None], np.abs(np.fft.fftfreq(2 * width))[None, :]
    outside = (np.hypot(y, x) >= cutoff_per_px) | (y >= 0.25) | (x >= 0.25)
    return np.fft.ifft2(np.fft.fft2(mirrored) * outside).real[:height, :width]


def test_tallies_equal_what_is_computed_by_hand(lines) -> None:
    model = model_of(LINES)
    judged = JUDGE.score([model], None, lines, {})
    assert set(judged.tallies) == set(JUDGE.metrics) and JUDGE.lower_is_better < set(JUDGE.metrics)
    images = model.restore(lines.raw)["image"][..., 0].astype(np.float64)
    pairs = list(zip(images, lines.target.astype(np.float64)))
    cutoff = 2 * 1.4 / 520.0 * 93.0 / 2
    by_item = {name: tally.by_item for name, tally in judged.tallies.items()}
    psnr = [20 * math.log10(np.ptp(b)) - 10 * math.log10(np.mean((a - b) ** 2)) for a, b in pairs]
    np.testing.assert_allclose(by_item["psnr_db"], psnr, rtol=1e-5)
    inside = [(a - b) - beyond(a - b, cutoff) for a, b in pairs]
    in_band = [20 * math.log10(np.ptp(b)) - 10 * math.log10(np.mean(e**2)) for (_, b), e in zip(pairs, inside)]
    np.testing.assert_allclose(by_item["in_band_psnr_db"], in_band, rtol=1e-5)
    np.testing.assert_allclose(by_item["ssim"], [metrics.ssim(a, b, np.ptp(b)) for a, b in pairs], rtol=1e-5)
    share = [np.sum(beyond(a, cutoff) ** 2) / np.sum((a - a.mean()) ** 2) for a, _ in pairs]
    np.testing.assert_allclose(by_item["null_space_energy"], share, rtol=1e-4)
    wrong, there = (
        sum(np.sum(beyond(part, cutoff) ** 2) for part in parts) for parts in zip(*((a - b, b) for a, b in pairs))
    )
    assert judged.tallies["null_space_error"].value == pytest.approx(wrong / there, rel=1e-4)
    physics, inner = physics_of(model), slice(5, 15)
    variance = [
        np.asarray(LINES.camera.variance(LINES.camera.to_photons(physics.through_optics(a)))) + 1 / 12 for a in images
    ]
    chi = [
        np.mean(((physics.through_optics(a) - raw[..., 0]) ** 2 / v)[inner, inner])
        for a, raw, v in zip(images, lines.raw, variance)
    ]
    np.testing.assert_allclose(by_item["chi_square"], chi, rtol=1e-3)
    worst = int(np.argmin(psnr))
    np.testing.assert_allclose(judged.picture["output"], images[worst], rtol=1e-5)
    np.testing.assert_array_equal(judged.picture["truth"], lines.target[worst])
    np.testing.assert_allclose(judged.picture["prior"], beyond(images[worst], cutoff), atol=1e-3)


def test_members_are_averaged(lines) -> None:
    alone = JUDGE.score([model_of(LINES)], None, lines, {})
    both = JUDGE.score([model_of(LINES, 0.5), model_of(LINES, 1.5)], None, lines, {})
    for name, tally in alone.tallies.items():
        np.testing.assert_allclose(both.tallies[name].numerator, tally.numerator, rtol=1e-3, atol=1e-6)


def test_the_true_physics_maps_targets_onto_pictures() -> None:
    blurred = changed(blur_scale=1.4)
    tests, inner = drawn(blurred), slice(4, 16)
    assert tests.physics.reach_per_nm == pytest.approx(2 * 1.4 / 520.0 / 1.4)
    wrong = physics_of(SimpleNamespace(card=SimpleNamespace(physics=simulator_physics(LINES)), upscale=2))
    picture = expected(blurred, 0)[inner, inner]
    true, believed = (
        np.std(physics.through_optics(tests.target[0])[inner, inner] - picture) for physics in (tests.physics, wrong)
    )
    assert true < 0.02 * picture.std() and believed > 5 * true


def test_honesty_believes_the_card_unless_it_is_told() -> None:
    tests, model = drawn(changed(blur_scale=1.4)), model_of(LINES)
    card, told = (JUDGE.score([model], None, tests, options).tallies for options in ({}, {"physics": True}))
    for name in ("psnr_db", "in_band_psnr_db", "null_space_error", "false_structures_per_um2"):
        np.testing.assert_array_equal(card[name].numerator, told[name].numerator)
    assert told["null_space_energy"].value > 1.2 * card["null_space_energy"].value
    assert told["chi_square"].value > card["chi_square"].value  # the result is blurred by more
    other = JUDGE.score([model_of(changed(blur_scale=1.4))], None, tests, {}).tallies
    np.testing.assert_array_equal(other["in_band_psnr_db"].numerator, card["in_band_psnr_db"].numerator)


def test_false_structures_stand_where_the_truth_is_empty() -> None:
    physics = true_physics(LINES)
    target, image = np.full((40, 40), 10.0), np.full((40, 40), 12.0)
    target[8:11, 8:11] += 100.0  # an object; what lies within four pixels of it may be its blur
    image[8:13, 8:13] += 60.0
    image[25:28, 25:28] += 30.0  # false
    image[30:33, 5:8] += 20.0  # too faint
    image[36, 36] += 90.0  # too small
    found = false_of(image, target, 100.0, physics)
    assert found["false"] == 1.0
    assert found["area_um2"] == pytest.approx((1600 - 11 * 11) * 0.0465**2)
    assert false_of(image, 10.0 + 100.0 * (np.indices((40, 40)).sum(0) % 2), 100.0, physics) == {
        "false": 0,
        "area_um2": 0,
    }


def test_an_empty_field_has_no_fidelity_but_its_false_structures() -> None:
    model = model_of(LINES)
    image = np.full((40, 40), 110.0)
    image[4:8, 4:8] += 50.0
    model.restore = lambda raw: {"image": np.stack([image] * len(raw))[..., None]}
    tests = drawn(changed(scene=Blank()))
    tallies = JUDGE.score([model], None, tests, {}).tallies
    assert not tallies["psnr_db"].denominator.any() and math.isnan(tallies["psnr_db"].value)
    assert tallies["false_structures_per_um2"].value == pytest.approx(1 / (40 * 0.0465) ** 2)
    assert tallies["flagged"].value == 1.0
    linear = least_linear_error(tests.raw.mean(-1), tests.target, tests.simulator, tests.physics)
    assert linear == [{"psnr_db": None, "in_band_psnr_db": None}] * ITEMS


def test_a_flank_of_an_object_outside_is_not_worth_a_score(lines) -> None:
    """A range of nearly nothing would make a PSNR of any size, and rule the mean."""
    light = 100.0 * float(LINES.camera.gain_adu_per_e * LINES.camera.quantum_efficiency)
    target = lines.target.copy()
    target[1] = 108.2
    target[1, 0] += 0.05 * light
    tests = dataclasses.replace(lines, target=target)
    tallies = JUDGE.score([model_of(LINES)], None, tests, {}).tallies
    for name in ("psnr_db", "in_band_psnr_db", "ssim", "nrmse"):
        assert tallies[name].denominator.tolist() == [1, 0, 1]
    assert tallies["chi_square"].denominator.tolist() == [1, 1, 1]
    sums = tallies["null_space_error"]
    assert sums.numerator[1] == sums.denominator[1] == 0.0 < sums.denominator[0]
    assert least_linear_error(lines.raw.mean(-1), target, LINES, lines.physics)[1]["psnr_db"] is None


def test_the_bound_of_the_process_stands_above_all_rivals() -> None:
    tests = drawn(PROCESS, 6)
    found = JUDGE.rivals(tests, None, ["bicubic", "wiener", "best_linear"], {})
    bound = super_resolution_mse(PROCESS.spectrum, PROCESS.imaging.otf(PROCESS.spectrum.shape), 0.04, 2)
    peaks = 20 * np.log10(np.ptp(tests.target, axis=(1, 2)))
    np.testing.assert_allclose(found.bounds["psnr_db"].by_item, peaks - 10 * math.log10(bound.mse), rtol=1e-5)
    np.testing.assert_allclose(
        found.bounds["in_band_psnr_db"].by_item, peaks - 10 * math.log10(bound.in_band_mse), rtol=1e-5
    )
    for metric in ("psnr_db", "in_band_psnr_db"):
        values = [found.baselines[name][metric].value for name in ("bicubic", "wiener")]
        assert values == sorted(values) and values[-1] < found.bounds[metric].value
        assert found.baselines["best_linear"][metric].value == found.bounds[metric].value
    assert "false_structures_per_um2" not in found.baselines["bicubic"]  # a process has no empty part


def test_rivals_are_tuned_on_other_pictures_and_told_what_their_name_says(monkeypatch) -> None:
    told = {}

    def tuned(name, raw, targets, physics):
        told[name] = (raw, float(physics.imaging.optics.wavelength_nm))
        return SimpleNamespace(apply=lambda image: bicubic(image, 2))

    monkeypatch.setattr(pair_rivals, "tuned", tuned)
    tests = drawn(changed(blur_scale=1.4))
    names = ["richardson_lucy_tv", "richardson_lucy_believed", "best_linear"]
    found = JUDGE.rivals(tests, None, names, {"believed": SimulatedPairs(LINES)})
    assert list(found.baselines) == names and found.bounds == {}  # of lines there is no bound
    assert told["richardson_lucy_tv"][1] == pytest.approx(728.0) and told["richardson_lucy"][1] == pytest.approx(520.0)
    others = told["richardson_lucy_tv"][0]
    assert others.shape == (1, 20, 20) and all(not np.array_equal(others[0], one) for one in tests.raw[..., 0])
    narrow, wide = (found.baselines[name]["null_space_energy"].value for name in names[1::-1])
    assert wide > 1.2 * narrow  # the same pictures, split at the cut-off that is believed and at the true one
    with pytest.raises(InputError, match="needs a reference condition"):
        JUDGE.rivals(tests, None, names, {})


def test_a_tuned_rival_beats_an_enlargement(lines) -> None:
    found = JUDGE.rivals(lines, None, ["bicubic", "wiener"], {}).baselines
    assert found["wiener"]["psnr_db"].value > found["bicubic"]["psnr_db"].value + 1.0


def test_what_does_not_fit_is_said_in_one_line(lines) -> None:
    with pytest.raises(InputError, match="test.tile: expected one of physics"):
        JUDGE.score([model_of(LINES)], None, lines, {"tile": 3})
    with pytest.raises(InputError, match="simulated pairs for task superresolve, found SimpleNamespace"):
        JUDGE.draw(SimpleNamespace(), None, 1, 0, {})
    with pytest.raises(InputError, match="study.baselines: expected some of bicubic, .* found 'nlm'"):
        JUDGE.rivals(lines, None, ["nlm"], {})
    frames, other = model_of(LINES), model_of(LINES)
    frames.channels_in = 9
    with pytest.raises(InputError, match="have 1 frames .* takes 9"):
        JUDGE.score([frames], None, lines, {})
    other.card.physics["units"] = "own"
    with pytest.raises(InputError, match="in one unit"):
        JUDGE.score([model_of(LINES), other], None, lines, {})
    with pytest.raises(InputError, match="best_linear is known for even light, found 9 frames"):
        least_linear_error(lines.raw.mean(-1), lines.target, LINES, dataclasses.replace(lines.physics, frames=9))
