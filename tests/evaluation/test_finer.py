"""Methods of super-resolution on a pair whose shift is known: registered, recorded, cut to a box, and refused in one line."""

from __future__ import annotations

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax import metrics
from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.baselines.super_resolve import SUPER_RESOLVERS
from bioflax.errors import InputError
from bioflax.evaluation import finer_files
from bioflax.evaluation.finer import FinerMethods, fitting_baselines, plain_shifts
from bioflax.evaluation.finer_files import Boxed, evaluate_finer_files, items_of, sim_of
from bioflax.evaluation.methods import EvaluationItem
from bioflax.evaluation.scoring import Scoring
from bioflax.io import open_image, save_image
from bioflax.optics import SCMOS, WidefieldOptics
from bioflax.optics.imaging import Imaging, bin_mean
from bioflax.optics.passband import in_band_psnr_db, null_space_energy
from bioflax.predict.physics import Physics

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
PHYSICS = Physics(Imaging(OPTICS, 2), float(OPTICS.cutoff_per_nm))
SCORING = Scoring(None, None, True)
SIDE = 24


def place(seed: int = 0) -> np.ndarray:
    """(2 SIDE, 2 SIDE) with detail everywhere."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(2 * SIDE, 2 * SIDE)), 2.0)
    return (200.0 + 100.0 * np.exp(field / field.std())).astype(np.float32)


def item(image: np.ndarray, target: np.ndarray) -> EvaluationItem:
    return EvaluationItem("cell", lambda: image, lambda: target)


def methods(predict=None, **change) -> FinerMethods:
    predict = predict or (lambda image: {"image": 0.5 * bicubic(image.mean(-1), 2)})
    return FinerMethods(predict, 2, change.pop("baselines", ("bicubic", "lanczos")), SCORING, **change)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return bin_mean(place(), 2)[..., None]


def test_a_shifted_target_is_moved_back_and_the_shift_kept(image) -> None:
    moved = metrics.shift_image(place(), 1.5, -2.25)
    judged = methods()
    noisy, target = judged.load(item(image, moved))
    np.testing.assert_array_equal(noisy, image)
    dy, dx, correlation = judged.shifts["cell"]
    assert (dy, dx) == (pytest.approx(-1.5, abs=0.1), pytest.approx(2.25, abs=0.1)) and correlation > 0.9
    inner = (slice(6, -6),) * 2
    assert np.abs(target[inner] - place()[inner]).max() < 0.05 * np.ptp(place())
    assert plain_shifts({"a": (1.23456, -2.0, 0.99)}) == {"a": [1.235, -2.0, 0.99]}
    as_it_lies = methods(register=False)
    np.testing.assert_allclose(as_it_lies.load(item(image, moved))[1], moved, rtol=1e-6)
    assert as_it_lies.shifts == {}


def test_every_method_in_the_order_of_the_table(image) -> None:
    frames = np.concatenate([image - 30.0, image + 30.0], -1)
    sim = lambda frames: np.repeat(np.repeat(frames[..., 0], 2, 0), 2, 1)  # noqa: E731
    judged = methods(baselines=("bicubic", "lanczos", "wiener", "sim_wiener"), physics=PHYSICS, sim=sim)
    found = {name: (kind, made) for name, kind, made, scale, seconds in judged.run(frames, place()) if scale is None}
    assert list(found) == ["input", "bicubic", "lanczos", "wiener", "sim_wiener", "model"]
    assert [kind for kind, _ in found.values()] == ["input", *["baseline"] * 4, "model"]
    wide = frames.mean(-1)
    np.testing.assert_array_equal(found["input"][1], bicubic(wide, 2))
    np.testing.assert_array_equal(found["lanczos"][1], lanczos(wide, 2))
    np.testing.assert_array_equal(found["sim_wiener"][1], sim(frames))
    offset = float(np.percentile(wide, 0.1))
    wiener = SUPER_RESOLVERS["wiener"](wide, PHYSICS.imaging, offset=offset, balance=1.0, slope=2.0)
    np.testing.assert_allclose(found["wiener"][1], wiener, rtol=1e-6)
    only = [name for name, *_ in judged.run(frames, place(), only=["input", "model"])]
    assert only == ["input", "model"]


def test_an_image_without_stripes_is_left_out_of_the_row_of_sim(image) -> None:
    def fails(frames):
        raise InputError("frames: expected stripes in direction 1, found none")

    judged = methods(baselines=("lanczos", "sim_wiener"), physics=PHYSICS, sim=fails)
    with pytest.warns(UserWarning, match="sim_wiener is left out for an image: frames: expected stripes"):
        assert [name for name, *_ in judged.run(image, place())] == ["input", "lanczos", "model"]


def test_further_numbers_are_those_of_the_metrics(image) -> None:
    made = 0.5 * bicubic(image[..., 0], 2) + 7.0
    found = methods(physics=PHYSICS).extra(image, made, place())
    matched = metrics.affine_match(made.astype(float), place().astype(float))
    low, high = np.percentile(place(), (0.1, 99.9))
    band = (PHYSICS.reach_per_px, 2)
    assert found["in_band_psnr_db"] == pytest.approx(in_band_psnr_db(matched, place(), *band, high - low), rel=1e-4)
    assert found["null_space_energy"] == pytest.approx(null_space_energy(made, *band))
    assert found["ms_ssim"] == pytest.approx(float(metrics.ms_ssim(matched, place(), high - low)), abs=1e-4)
    squirrel = metrics.error_map(made, image[..., 0], 2)
    assert (found["rse"], found["rsp"]) == (squirrel.rse, squirrel.rsp) and found["rsp"] > 0.95
    assert set(methods().extra(image, made, place())) == {"ms_ssim", "decorrelation_px", "rse", "rsp"}


def test_even_pictures_have_no_number_and_do_not_end_the_evaluation(image) -> None:
    judged, flat = methods(physics=PHYSICS), np.full((2 * SIDE, 2 * SIDE), 5.0)
    dead, blank = judged.extra(image, flat, place()), judged.extra(image, place(), flat)
    assert np.isnan(dead["decorrelation_px"]) and np.isfinite(dead["ms_ssim"]) and dead["null_space_energy"] == 0
    assert np.isnan(blank["ms_ssim"]) and np.isnan(blank["in_band_psnr_db"]) and np.isfinite(blank["rse"])
    assert set(dead) == set(blank) == set(judged.extra(image, place(), place()))  # one table has room for all


def test_pairs_that_do_not_fit_are_named(image) -> None:
    with pytest.raises(
        InputError, match=r"cell is \(96, 96\), 4x4 times its input \(24, 24\); .* \(48, 48\) \(upscale 2\)"
    ):
        methods().load(item(image, np.zeros((96, 96))))
    with pytest.raises(InputError, match=r"cell is \(47, 48\), 1.96x2 times its input"):
        methods().load(item(image, place()[:47]))
    says = r"target: cell does not register with its input \(correlation .*\). Pair the right files"
    with pytest.raises(InputError, match=says):
        methods().load(item(image, place(7)))
    with pytest.raises(InputError, match="target: cell cannot be registered .* register=false. .* found an even one"):
        methods().load(item(image, np.ones((2 * SIDE, 2 * SIDE))))


def test_baselines_are_those_that_can_be_run() -> None:
    filters = ["gaussian", "median"]  # what the command names for denoisers stands for all there are
    assert set(fitting_baselines(PHYSICS, filters)) == set(SUPER_RESOLVERS) - {"bicubic"}  # that is the input
    assert fitting_baselines(None, filters) == ("lanczos",) == fitting_baselines(None, ())
    assert fitting_baselines(PHYSICS, ["wiener", "lanczos"]) == ("wiener", "lanczos")
    with pytest.raises(InputError, match="baselines: wiener need the optics. Give optics.na=..."):
        fitting_baselines(None, ["bicubic", "wiener"])
    with pytest.raises(InputError, match="baselines: expected names of bicubic, .*, found nearest"):
        fitting_baselines(PHYSICS, ["bicubic", "nearest"])


def test_a_box_is_judged_and_the_whole_is_restored(image) -> None:
    shapes = []

    def predict(image):
        shapes.append(image.shape)
        made = bicubic(image[..., 0], 2)
        return {"image": made, "scale": 0.1 * made}

    judged = Boxed(methods(predict), [2, 20, 4, 22])
    noisy, target = judged.load(item(image, place()))
    np.testing.assert_array_equal(noisy, image[2:20, 4:22])
    assert target.shape == (36, 36)
    found = {name: (made, scale) for name, _, made, scale, _ in judged.run(noisy, target)}
    np.testing.assert_array_equal(found["model"][0], bicubic(image[..., 0], 2)[4:40, 8:44])
    np.testing.assert_array_equal(found["model"][1], 0.1 * found["model"][0])
    assert shapes == [(SIDE, SIDE, 1)] and judged.shifts["cell"][2] > 0.9
    with pytest.raises(InputError, match=r"box: expected a part of \(24, 24\) camera pixels, found \[2, 25, 4, 22\]"):
        Boxed(methods(), [2, 25, 4, 22]).load(item(image, place()))


@pytest.mark.parametrize("box", [[1, 2, 3], [5, 5, 0, 9], [-1, 5, 0, 9], [0, 5.5, 0, 9], 7, "abcd"])
def test_a_box_that_is_none_is_refused(box) -> None:
    with pytest.raises(InputError, match=r"box: expected \[y0, y1, x0, x1\] in camera pixels, found"):
        Boxed(methods(), box)


@pytest.fixture
def files(tmp_path):
    def write(name: str, array: np.ndarray, axes: str):
        save_image(tmp_path / f"{name}.tif", array.astype(np.float32), axes)
        return open_image(tmp_path / f"{name}.tif")

    return write


def model_of(channels: int = 1) -> SimpleNamespace:
    head = {"name": "Laplace" if channels == 1 else "Direct", "arguments": {}}
    return SimpleNamespace(
        channels_in=channels, upscale=2, card=SimpleNamespace(architecture={"arguments": {"head": head}})
    )


def test_planes_and_channels_are_items_of_their_own(files) -> None:
    stack, fine = np.random.default_rng(0).random((2, 3, 6, 8)), np.random.default_rng(1).random((2, 3, 12, 16))
    found = items_of(files("a", stack, "TCYX"), files("b", fine, "TCYX"), "a", model_of())
    assert [one.name for one in found] == [f"a[t={t},c={c}]" for t in range(2) for c in range(3)]
    for one, (t, c) in zip(found, np.ndindex(2, 3)):
        np.testing.assert_array_equal(one.noisy(), stack[t, c, ..., None].astype(np.float32))
        np.testing.assert_array_equal(one.target(), fine[t, c].astype(np.float32))


def test_frames_stay_together(files) -> None:
    stack, fine = np.random.default_rng(0).random((2, 3, 6, 8)), np.random.default_rng(1).random((2, 12, 16))
    found = items_of(files("a", stack, "TCYX"), files("b", fine, "TYX"), "a", model_of(3))
    assert [one.name for one in found] == ["a[t=0]", "a[t=1]"] and {one.group for one in found} == {"a"}
    np.testing.assert_array_equal(found[1].noisy(), np.moveaxis(stack[1], 0, -1).astype(np.float32))
    np.testing.assert_array_equal(found[1].target(), fine[1].astype(np.float32))


@pytest.mark.parametrize(
    ("axes", "fine", "channels", "says"),
    [
        ("YX", "YX", 3, r"has axes YX .*; this model takes 3 raw frames of a field as axis C. .* say axes=CYX"),
        ("TYX", "YX", 3, "this model takes 3 raw frames"),
        ("TYX", "YX", 1, "beyond YX and raw frames they must be alike"),
        ("YX", "TYX", 1, "beyond YX and raw frames they must be alike"),
        ("TYX", "ZYX", 1, "beyond YX and raw frames they must be alike"),
    ],
)
def test_axes_that_do_not_fit_are_named(files, axes, fine, channels, says) -> None:
    lengths = {"T": 2, "Z": 2, "Y": 6, "X": 8}
    image = files("a", np.zeros([lengths[axis] for axis in axes]), axes)
    target = files("b", np.zeros([lengths[axis] for axis in fine]), fine)
    with pytest.raises(InputError, match=says) as caught:
        items_of(image, target, "a", model_of(channels))
    assert "\n" not in str(caught.value)


def test_stacks_of_other_lengths_are_refused(files) -> None:
    image, target = files("a", np.zeros((3, 6, 8)), "TYX"), files("b", np.zeros((2, 12, 16)), "TYX")
    with pytest.raises(InputError, match="must be alike"):
        items_of(image, target, "a", model_of())


def test_sim_is_for_nine_or_fifteen_frames(monkeypatch) -> None:
    physics = dataclasses.replace(PHYSICS, camera=SCMOS())
    assert sim_of(physics, model_of(4)) is None
    seen = {}
    monkeypatch.setattr(
        finer_files,
        "estimate_illumination",
        lambda frames, optics, phases, offset: seen.update(phases=phases, offset=offset),
    )
    monkeypatch.setattr(
        finer_files,
        "reconstruct",
        lambda frames, stripes, optics, upscale, offset, **options: np.full((8, 8), frames.shape[0] + upscale + offset),
    )
    for count, phases in ((9, 3), (15, 5)):
        made = sim_of(physics, model_of(count))(np.full((4, 4, count), 70.0))
        assert made[0, 0] == count + 2 + 100 and seen == {"phases": phases, "offset": 100.0}


def test_files_are_judged_with_a_table_and_their_shifts(files, tmp_path, monkeypatch) -> None:
    files("images/a", bin_mean(place(), 2), "YX")
    files("targets/a", metrics.shift_image(place(), 0.0, 2.0), "YX")

    def restore(model, image, axes, **options):
        assert axes == "YX" and options == {"tile": "auto", "augment": False}
        made = bicubic(image, 2)
        return {"image": made, "scale": np.full_like(made, 4.0)}

    monkeypatch.setattr(finer_files, "predict_maps", restore)
    found = evaluate_finer_files(
        model_of(), tmp_path / "images", tmp_path / "targets", run_dir=tmp_path / "run", affine=False
    )
    entries = found.entries()
    assert entries["registered"]["a"][1] == pytest.approx(-2.0, abs=0.1)
    assert set(entries["baselines"]) == {"input", "lanczos"} and entries["bounds"] == {}
    assert entries["metrics"]["psnr_db"] == entries["baselines"]["input"]["psnr_db"] > 20
    aligned = metrics.shift_image(metrics.shift_image(place(), 0.0, 2.0), *entries["registered"]["a"][:2])
    made = bicubic(bin_mean(place(), 2), 2)
    laplace, gaussian = (
        metrics.coverage(aligned, made, np.full_like(made, 4.0), 0.95, f) for f in ("laplace", "gaussian")
    )
    assert abs(laplace - gaussian) > 0.02 and entries["metrics"]["coverage_95"] == pytest.approx(
        float(laplace), abs=0.005
    )
    with (tmp_path / "run" / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows] == ["input", "lanczos", "model"]
    assert {"ms_ssim", "rsp"} <= set(rows[0])
    json.dumps(entries, allow_nan=False)
