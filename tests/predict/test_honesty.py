"""What is measured, what is prior, and whether a result agrees with the raw picture: on pictures whose truth is known."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import SCMOS, WidefieldOptics
from bioflax.optics.imaging import Imaging, bin_mean
from bioflax.optics.psf.widefield import widefield_otf
from bioflax.predict.honesty import LARGEST_PX, check_size, detail_of, examine, flags_of, inside, without_haze
from bioflax.predict.physics import UNKNOWN, Physics, physics_of

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
CAMERA = SCMOS(bits=None)
IMAGING = Imaging(OPTICS, 2)
PHYSICS = Physics(IMAGING, float(OPTICS.cutoff_per_nm), camera=CAMERA)
SIDE = 40  # camera pixels
CARD = {
    "na": 1.4, "wavelength_nm": 520.0, "pixel_nm": 93.0, "refractive_index": 1.515, "defocus_nm": None, "haze": 0.0,
    "haze_nm": 1500.0, "sharpness": None, "illumination": None, "frames": 1, "units": "input",
    "camera": {"kind": "SCMOS", "offset_adu": 100.0, "gain_adu_per_e": 2.0, "read_noise_e": 1.6, "quantum_efficiency": 0.82,
               "bits": 16},
}  # fmt: skip


def carded(upscale: int = 2, **change) -> SimpleNamespace:
    return SimpleNamespace(card=SimpleNamespace(physics=CARD | change), upscale=upscale)


def lines(seed: int = 0, brightness: float = 400.0) -> np.ndarray:
    """(sH, sW) counts expected of an object of thin lines, in focus."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    light = np.full(y.shape, 5.0)
    for _ in range(7):
        turn, at = rng.uniform(0, np.pi), rng.uniform(20, 60, 2)
        away = (y - at[0]) * np.sin(turn) + (x - at[1]) * np.cos(turn)
        light += brightness * np.exp(-0.5 * away**2)
    return np.asarray(CAMERA.expected(light), np.float64)


def taken(seen: np.ndarray, seed: int = 1, frames: int = 1) -> np.ndarray:
    """Counts of the camera, Gaussian with its variance, the mean of some frames."""
    deviation = np.sqrt((np.asarray(CAMERA.variance(CAMERA.to_photons(seen))) + 1 / 12) / frames)
    return seen + deviation * np.random.default_rng(seed).normal(size=seen.shape)


def seen_through(fine: np.ndarray, optics: WidefieldOptics = OPTICS) -> np.ndarray:
    return np.asarray(Imaging(optics, 2).forward(np.float32(fine), mirror_px=32), np.float64)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return lines()


@pytest.fixture(scope="module")
def raw(truth) -> np.ndarray:
    return taken(seen_through(truth))


@pytest.fixture(scope="module")
def honest(truth, raw):
    """The truth itself as a result."""
    return examine(truth, raw, PHYSICS)


def test_physics_come_from_the_card() -> None:
    physics = physics_of(carded())
    assert physics.upscale == 2 and physics.fine_nm == 46.5 and physics.band_upscale == 2 and physics.same_unit
    assert physics.reach_per_nm == pytest.approx(2 * 1.4 / 520)
    assert physics.reach_per_px == pytest.approx(2 * 1.4 / 520 * 46.5)
    assert float(physics.camera.gain_adu_per_e) == 2.0 and isinstance(physics.camera, SCMOS)
    assert not physics_of(carded(units="own")).same_unit and physics_of(carded(camera=None)).camera is None
    mapped = CARD["camera"] | {"offset_adu": "map of (48, 48)"}
    assert physics_of(carded(camera=mapped)).camera is None  # a map is not in the card


def test_physics_can_be_given() -> None:
    other = SCMOS(gain_adu_per_e=0.5)
    physics = physics_of(carded(), na=1.2, wavelength_nm=600.0, pixel_nm=80.0, camera=other)
    assert physics.camera is other and physics.fine_nm == 40.0
    assert physics.reach_per_nm == pytest.approx(2 * 1.2 / 600)
    assert physics_of(carded(refractive_index=1.33), na=1.2).imaging.optics.refractive_index == 1.33
    alone = physics_of(
        SimpleNamespace(card=SimpleNamespace(physics={}), upscale=3), na=1.0, wavelength_nm=500.0, pixel_nm=90.0
    )
    assert alone.upscale == 3 and alone.sharpness is None and alone.frames == 1 and alone.same_unit


def test_stripes_reach_further() -> None:
    """The largest disc that lies inside of what the moved pass bands of three directions cover together."""
    period_nm, angle_deg = [210.0, 220.0, 215.0], [10.0, 70.0, 130.0]
    stripes = {"kind": "Illumination", "period_nm": period_nm, "angle_deg": angle_deg, "phases": 3}
    physics = physics_of(carded(illumination=stripes, frames=9))
    cutoff = min(2 * 1.4 / 520, 0.5 / 93)  # the camera folds what is finer before the stripes are undone
    turns = np.deg2rad(np.arange(0, 360, 0.5))[:, None, None]
    radii = np.linspace(0, 2 * cutoff, 800)[None, :, None]
    x, y = radii * np.cos(turns), radii * np.sin(turns)
    waves = [(np.cos(np.deg2rad(a)) / p, np.sin(np.deg2rad(a)) / p) for a, p in zip(angle_deg, period_nm)]
    waves = np.array([(0.0, 0.0), *waves, *(np.negative(wave) for wave in waves)])
    seen = (np.hypot(x - waves[:, 0], y - waves[:, 1]) < cutoff).any(-1)
    reached = radii.ravel()[np.argmin(seen, 1)].min()
    assert physics.reach_per_nm == pytest.approx(reached, rel=5e-3) and reached > 1.3 * cutoff
    assert physics.band_upscale == 1 and physics.frames == 9
    one = physics_of(carded(illumination=stripes | {"period_nm": [210.0], "angle_deg": [0.0]}, frames=3))
    assert one.reach_per_nm < 1.02 * cutoff  # across its stripes a single direction measures nothing more


def test_a_range_of_spots_is_fitted(truth) -> None:
    """A model that was trained for a range of widths is held to the width that fits the picture best."""
    physics = physics_of(carded(blur_scale=[0.8, 1.6]))
    assert physics.blur_scales == (0.8, 1.6) and physics.widths == pytest.approx((0.8, 1.0, 1.2, 1.4, 1.6))
    assert physics_of(carded()).widths == (1.0,)
    _, wide = wide_spot(truth)
    found = examine(truth, wide, dataclasses.replace(PHYSICS, blur_scales=(0.8, 1.6)))
    assert found.numbers["blur_scale"] == pytest.approx(1.6) and found.flags == []
    assert found.numbers["chi_square"] == pytest.approx(1.0, abs=0.12)
    other = dataclasses.replace(OPTICS, wavelength_nm=1.6 * 520.0)
    np.testing.assert_allclose(PHYSICS.through_optics(truth, 1.6), seen_through(truth, other), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "missing", "give"),
    [
        ({"na": None}, "missing: na,", "Give optics.na=...$|Give optics.na=... "),
        ({"na": None, "pixel_nm": None}, "missing: na, pixel_nm,", "Give optics.na=... optics.pixel_nm=..."),
    ],
)
def test_missing_optics_are_named(change, missing, give) -> None:
    with pytest.raises(InputError, match=missing) as caught:
        physics_of(carded(**change))
    assert any(part.rstrip("$ ") in str(caught.value) for part in give.split("|")) and "\n" not in str(caught.value)


def test_through_the_optics_is_the_imaging(truth) -> None:
    np.testing.assert_allclose(PHYSICS.through_optics(truth), seen_through(truth), rtol=1e-5)


def test_a_sharp_target_is_not_blurred_twice(truth) -> None:
    """A target that a microscope of twice the cut-off sees, blurred by what is left, is the picture of the object."""
    fine = IMAGING.fine_optics
    shape = tuple(side + 64 for side in truth.shape)
    sharp = np.asarray(widefield_otf(shape, na=1.4, wavelength_nm=260.0, pixel_nm=float(fine.pixel_nm)), np.float64)
    padded = np.pad(truth, 32, mode="symmetric")
    target = np.fft.ifft2(np.fft.fft2(padded) * sharp).real[32:-32, 32:-32]
    physics = dataclasses.replace(PHYSICS, sharpness=2.0)
    inner = (slice(8, -8),) * 2  # the border of the target was mirrored before it was blurred
    seen = seen_through(truth)
    np.testing.assert_allclose(physics.through_optics(target)[inner], seen[inner], atol=5e-3 * np.ptp(seen))
    assert np.abs(PHYSICS.through_optics(target)[inner] - seen[inner]).max() > 0.03 * np.ptp(seen)


def test_noise_is_the_cameras(truth, raw) -> None:
    expected = seen_through(truth)
    variance, source = PHYSICS.variance(expected, raw)
    electrons = (expected - 100.0) / 2.0
    np.testing.assert_allclose(variance, 4 * (electrons + 1.6**2) + 1 / 12, rtol=1e-4)
    assert source == "the camera"
    nine, _ = dataclasses.replace(PHYSICS, frames=9).variance(expected, raw)
    np.testing.assert_allclose(nine, variance / 9, rtol=1e-6)
    assert (PHYSICS.variance(np.zeros((4, 4)), raw[:4, :4])[0] > 0).all()  # below the offset there is no light


def test_without_a_camera_the_picture_tells_its_noise_or_not_at_all(truth) -> None:
    blind = dataclasses.replace(PHYSICS, camera=None)
    flat = 500.0 + 20.0 * np.random.default_rng(2).normal(size=(64, 64))
    variance, source = blind.variance(np.full((64, 64), 500.0), flat)
    assert source == "the picture beyond the cut-off" and variance.mean() == pytest.approx(400.0, rel=0.1)
    scene = 3000.0 * np.sin(np.arange(64) / 2.5)[:, None] ** 2  # fine structure that the optics pass is no noise
    variance, source = blind.variance(np.full((64, 64), 500.0), flat + scene)
    assert source == "the picture beyond the cut-off" and variance.mean() == pytest.approx(400.0, rel=0.25)
    smoothed = 0.25 * (flat + np.roll(flat, 1, 0) + np.roll(flat, 1, 1) + np.roll(flat, 1, (0, 1)))
    assert blind.variance(smoothed, smoothed)[1] == "the picture itself"  # beyond the cut-off it was smoothed away
    for picture in (flat[:20, :20], np.full((64, 64), 7.0), np.pad(flat[:8, :8], 28)):
        variance, source = blind.variance(picture, picture)
        assert source == UNKNOWN and (variance > 0).all() and variance.shape == picture.shape


def test_the_truth_agrees_with_its_picture(truth, raw, honest) -> None:
    numbers = honest.numbers
    assert numbers["chi_square"] == pytest.approx(1.0, abs=0.12) and numbers["chi_square"] < numbers["chi_square_limit"]
    assert honest.flags == [] and honest.noise == "the camera"
    assert "blank" not in numbers and "false_structures_per_um2" not in numbers
    assert numbers["rsp"] > 0.95 and numbers["gain"] == 1.0 and numbers["offset"] == 0.0
    variance, _ = PHYSICS.variance(seen_through(truth), raw)
    noise = np.sqrt(variance[inside(raw.shape, PHYSICS)].mean())
    assert numbers["rse_over_noise"] == pytest.approx(numbers["rse"] / noise, rel=1e-3)
    assert numbers["rsp_expected"] == pytest.approx(np.sqrt(1 - variance.mean() / raw.var()), rel=1e-3)
    assert set(honest.maps) == {"measured", "prior", "null_space", "chi_square", "error", "raw", "seen"}
    assert all(np.isfinite(values).all() and values.dtype == np.float32 for values in honest.maps.values())
    assert all(np.isfinite(list(numbers.values())))


def test_parts_add_up_and_lie_in_their_bands(truth, honest) -> None:
    measured, prior = (honest.maps[name].astype(float) for name in ("measured", "prior"))
    np.testing.assert_allclose(measured + prior, truth, atol=1e-4 * truth.max())
    share = (prior**2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert honest.numbers["null_space_energy"] == pytest.approx(share, rel=1e-3) and 0.001 < share < 0.5
    assert honest.maps["null_space"].min() >= 0 and honest.maps["null_space"].max() <= 1
    whole = examine(measured, honest.maps["raw"], PHYSICS)
    assert whole.numbers["null_space_energy"] < 1e-6 and np.abs(whole.maps["prior"]).max() < 1e-2


def test_the_mean_of_frames_is_held_against_the_result(truth) -> None:
    frames = np.stack([taken(seen_through(truth), seed) for seed in range(9)], -1)
    physics = dataclasses.replace(PHYSICS, frames=9)
    found = examine(truth, frames, physics)
    np.testing.assert_allclose(found.maps["raw"], frames.mean(-1), rtol=1e-5)
    assert found.numbers["chi_square"] == pytest.approx(1.0, abs=0.15)
    assert found.numbers["null_space_energy"] < examine(truth, frames, PHYSICS).numbers["null_space_energy"]


def test_gain_and_offset_of_another_unit_are_fitted(truth, raw, honest) -> None:
    found = examine((truth - 300.0) / 50.0, raw, dataclasses.replace(PHYSICS, same_unit=False))
    assert found.numbers["gain"] == pytest.approx(50.0, rel=0.02)
    assert found.numbers["offset"] == pytest.approx(300.0, abs=3.0)
    assert found.numbers["chi_square"] == pytest.approx(honest.numbers["chi_square"], rel=0.02)
    assert found.flags == []
    wrong = examine((truth - 300.0) / 50.0, raw, PHYSICS)  # held to the unit of the camera it is far off
    assert wrong.numbers["chi_square"] > 10


def wide_spot(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return truth, taken(seen_through(truth, dataclasses.replace(OPTICS, wavelength_nm=1.6 * 520.0)))


def moved(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.roll(truth, 4, 1), taken(seen_through(truth))


def invented(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wrong = truth.copy()
    wrong[36:44, 36:44] += 1500.0
    return wrong, taken(seen_through(truth))


@pytest.mark.parametrize("change", [wide_spot, moved, invented], ids=lambda change: change.__name__)
def test_what_does_not_agree_is_flagged(truth, change) -> None:
    found = examine(*change(truth), PHYSICS)
    assert found.numbers["chi_square"] > found.numbers["chi_square_limit"]
    assert found.flags[0].startswith("The result does not agree with the raw data: chi-square")
    if change is invented:  # the maps say where
        place = np.unravel_index(found.maps["chi_square"].argmax(), found.maps["chi_square"].shape)
        assert np.abs(np.subtract(place, 19.5)).max() <= 5


def test_noise_in_the_result_raises_the_prior_and_not_chi_square(truth, raw, honest) -> None:
    """What lies beyond the band no data can speak for or against: only the share of the prior shows it."""
    noise = np.random.default_rng(3).normal(size=truth.shape) * 60.0
    from bioflax.optics.passband import split

    found = examine(truth + split(noise, PHYSICS.reach_per_px, 2)[1], raw, PHYSICS, judged=honest.numbers)
    assert found.numbers["chi_square"] < found.numbers["chi_square_limit"]
    assert found.numbers["null_space_energy"] > 1.5 * honest.numbers["null_space_energy"]
    assert [flag[:20] for flag in found.flags] == ["More of it is prior "]


def test_the_border_is_left_out(truth, raw) -> None:
    border = int(np.ceil(3.0 * 520 / 2.8 / 93.0))
    assert inside((SIDE, SIDE), PHYSICS) == (slice(border, SIDE - border),) * 2
    assert inside((8, 99), PHYSICS) == (slice(2, 6), slice(2, 97))  # half of a small picture is left
    outside = raw.copy()
    outside[:2] += 5000.0  # light from beyond the border
    found = examine(truth, outside, PHYSICS)
    assert found.numbers["chi_square"] < found.numbers["chi_square_limit"]
    assert found.maps["chi_square"][:2].mean() > 100


def test_haze_from_beyond_the_border_is_not_held_against_a_result(truth, raw) -> None:
    hazy = dataclasses.replace(PHYSICS, imaging=Imaging(dataclasses.replace(OPTICS, haze=0.3, haze_nm=1500.0), 2))
    seen = hazy.through_optics(truth)
    veil = seen + np.linspace(0.0, 60.0, SIDE)[None, :]  # even light of planes out of focus, from one side
    assert np.abs(without_haze(seen, veil, hazy) - veil).max() < 0.3 * 60.0
    made_up = seen.copy()
    made_up[20:24, 20:24] += 100.0
    assert (without_haze(made_up, seen, hazy) - seen)[20:24, 20:24].min() > 80.0  # what is fine stays
    assert without_haze(seen, veil, PHYSICS) is seen


@pytest.fixture(scope="module")
def blank() -> np.ndarray:
    return taken(np.full((SIDE, SIDE), 120.0), 5)


def test_structures_in_nothing_are_counted(blank) -> None:
    made_up = np.full((2 * SIDE, 2 * SIDE), 120.0)
    for y, x in ((20, 20), (20, 60), (60, 40)):
        made_up[y - 2 : y + 2, x - 2 : x + 2] += 200.0
    found = examine(made_up, blank, PHYSICS)
    area_um2 = (2 * SIDE * 0.0465) ** 2
    assert found.numbers["false_structures_per_um2"] == pytest.approx(3 / area_um2)
    assert any("holds nothing but noise; 0.217 structures per square micrometre stand" in flag for flag in found.flags)
    assert not any("correlates weakly" in flag for flag in found.flags)  # nothing could correlate with noise
    empty = examine(np.full((2 * SIDE, 2 * SIDE), 120.0), blank, PHYSICS)
    assert empty.numbers["false_structures_per_um2"] == 0.0
    assert empty.flags == ["The raw picture holds nothing but noise; the result shows nothing."]


def test_noise_alone_has_no_detail(blank, raw, honest) -> None:
    assert np.isnan(detail_of(blank, float(PHYSICS.variance(blank, blank)[0].mean()), PHYSICS)).all()
    assert "detail" not in examine(np.full((2 * SIDE, 2 * SIDE), 120.0), blank, PHYSICS).numbers
    assert 0 < honest.numbers["detail"] < 1 and 0 < honest.numbers["detail_error"] < honest.numbers["detail"]


def test_a_wider_spot_takes_detail_away(truth, raw, honest) -> None:
    _, wide = wide_spot(truth)
    noise = float(PHYSICS.variance(wide, wide)[0].mean())
    share = detail_of(wide, noise, PHYSICS)[0] / honest.numbers["detail"]
    assert share < 0.4
    blurred = examine(truth, wide, PHYSICS, judged=honest.numbers)
    assert any(
        f"has {100 * share:.0f} % of the fine detail that the model was judged on" in flag for flag in blurred.flags
    )


def test_detail_knows_how_far_noise_moves_it(truth) -> None:
    seen = seen_through(truth)
    pictures = [taken(seen, seed) for seed in range(30)]
    noise = float(PHYSICS.variance(seen, seen)[0].mean())
    found = np.array([detail_of(picture, noise, PHYSICS) for picture in pictures])
    clean = detail_of(seen, 0.0, PHYSICS)[0]
    assert found[:, 0].mean() == pytest.approx(clean, abs=4 * found[0, 1])
    assert 0.3 < found[:, 0].std() / found[:, 1].mean() < 3.0


NUMBERS = {
    "chi_square": 1.0, "chi_square_limit": 1.3, "null_space_energy": 0.05, "rse_over_noise": 1.0, "rse_share": 0.02, "rsp": 0.95,
    "rsp_expected": 0.97, "detail": 0.2, "detail_error": 0.001,
}  # fmt: skip
JUDGED = {"null_space_energy": 0.05, "rse_over_noise": 1.0, "detail": 0.2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        (
            {"chi_square": 1.31},
            "chi-square 1.31, at most 1.30 can be noise. Wrong spot, wrong pixel size, or structures",
        ),
        ({"null_space_energy": 0.076}, "7.6 % of the contrast lies beyond what was measured, there 5.0 %"),
        ({"rse_over_noise": 2.5}, r"\(RSE\) is 2.50 times the noise; .* judged on it was 1.00 times"),
        ({"detail": 0.09}, "The raw picture has 45 % of the fine detail that the model was judged on"),
        ({"detail": 0.09, "detail_error": 0.01}, None),  # noise could have done that
        ({"rsp": 0.7}, "correlates weakly with the raw picture: RSP 0.70, the noise allows 0.97"),
        ({"rsp": 0.5, "rsp_expected": 0.6}, None),  # a dim picture allows no more
        ({"rsp": 0.1, "blank": 1.0, "false_structures_per_um2": 0.0}, "nothing but noise; the result shows nothing"),
        ({"blank": 1.0, "false_structures_per_um2": 0.25}, "0.25 structures per square micrometre stand in the result"),
        ({"blank": 1.0}, "how much of the result is false is not known"),
    ],
)
def test_flags_are_words(change, says) -> None:
    found = flags_of(NUMBERS | change, JUDGED, PHYSICS)
    assert len(found) == (says is not None), found
    if says:
        assert re.search(says, found[0]) and "\n" not in found[0], found[0]


def test_nothing_is_flagged_against_numbers_that_a_card_does_not_have() -> None:
    changed = NUMBERS | {"null_space_energy": 0.9, "rse_over_noise": 9.0, "detail": 0.001}
    assert flags_of(changed, {}, PHYSICS) == []
    assert flags_of(changed, dict.fromkeys(JUDGED), PHYSICS) == []  # a card may hold null
    assert flags_of({"null_space_energy": 0.05, "rse_share": 0.02, "rsp": 0.99}, JUDGED, PHYSICS) == []


def test_another_pixel_size_is_flagged() -> None:
    assert flags_of(NUMBERS, JUDGED, PHYSICS, 95.0) == []
    says = "The camera pixel is 140 nm, the model was trained for 93 nm: wrong scale for this model."
    assert flags_of(NUMBERS, JUDGED, PHYSICS, 140.0) == [says]
    given = physics_of(carded(), pixel_nm=140.0)  # to say the pixel does not make the model fit it
    assert flags_of(NUMBERS, JUDGED, given) == flags_of(NUMBERS, JUDGED, given, 140.0) == [says]


def test_raw_frames_need_the_period_of_their_stripes() -> None:
    with pytest.raises(InputError, match="optics.period_nm"):
        physics_of(carded(frames=9))
    given = physics_of(carded(frames=9), period_nm=220.0)
    assert given.reach_per_nm > 1.3 * PHYSICS.reach_per_nm
    assert given.reach_per_nm == physics_of(carded(frames=9, illumination={"period_nm": 220.0})).reach_per_nm


@pytest.mark.parametrize("camera", [CAMERA, None], ids=["camera", "none"])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_tiny_pictures_have_finite_numbers(side, camera) -> None:
    rng = np.random.default_rng(side)
    physics = dataclasses.replace(PHYSICS, camera=camera)
    found = examine(rng.normal(200, 20, (2 * side, 2 * side)), rng.normal(200, 20, (side, side)), physics)
    assert np.isfinite(list(found.numbers.values())).all()
    assert all(np.isfinite(values).all() for values in found.maps.values())
    assert ("chi_square" in found.numbers) == (camera is not None)  # of unknown noise nothing can be said


@pytest.mark.parametrize("same_unit", [True, False])
@pytest.mark.parametrize("camera", [CAMERA, None], ids=["camera", "none"])
def test_even_pictures_have_finite_numbers(camera, same_unit) -> None:
    physics = dataclasses.replace(PHYSICS, camera=camera, same_unit=same_unit)
    for level, value in ((120.0, 120.0), (0.0, 0.0), (65535.0, 120.0)):
        found = examine(np.full((2 * SIDE, 2 * SIDE), value), np.full((SIDE, SIDE), level), physics, judged=JUDGED)
        assert np.isfinite(list(found.numbers.values())).all() and found.numbers["null_space_energy"] == 0.0
        assert all(np.isfinite(values).all() for values in found.maps.values())
        assert not any("fine detail" in flag for flag in found.flags)


def test_what_does_not_fit_is_refused(raw) -> None:
    with pytest.raises(InputError, match=r"honesty: expected a result of \(80, 80\) pixels .* found \(40, 40\)"):
        examine(raw, raw, PHYSICS)
    with pytest.raises(InputError, match=rf"at most {LARGEST_PX} pixels a side of the result, found \(8, 5000\); crop"):
        check_size((8, 5000))
    assert bin_mean(lines(), 2).shape == raw.shape


def test_saturated_pixels_take_no_part(truth, raw) -> None:
    clipped, seen = raw.copy(), seen_through(truth)
    brightest = np.unravel_index(np.argsort(seen.ravel())[-40:], seen.shape)
    clipped[brightest] = 2.0**16 - 1  # far from what the result explains
    sixteen = dataclasses.replace(PHYSICS, camera=SCMOS(bits=16))
    assert sixteen.saturated(clipped).sum() == sixteen.saturated(np.stack([raw, clipped], -1)).sum() == 40
    assert not PHYSICS.saturated(clipped).any()  # without bits no count is the last
    found = examine(truth, clipped, sixteen).numbers
    assert found["chi_square"] < found["chi_square_limit"]


def test_maps_of_another_camera_are_refused(truth, raw) -> None:
    physics = dataclasses.replace(PHYSICS, camera=SCMOS(offset_adu=np.full((9, 9), 100.0, np.float32)))
    with pytest.raises(InputError, match="camera"):
        examine(truth, raw, physics)
