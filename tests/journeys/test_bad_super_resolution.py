"""Bad input for super-resolution: exit code 2, one clear line, nothing half-written."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from bioflax.configuration import run
from bioflax.functional import count, purify
from bioflax.hub.card import ModelCard
from bioflax.hub.store import save_model
from bioflax.io import save_image
from bioflax.models import Direct, Model, UNet, describe
from bioflax.optics.imaging import bin_mean

PROGRESS = r"\w+ \d+/\d+ "
TINY = ["backbone=unet", "backbone.width=2", "backbone.depth=1", "head=direct", "head.upscale=2", "data.patch=16",
        "train.steps=2", "train.batch=2", "train.validate_every=2", "train.checkpoint_every=2", "train.log_every=2"]  # fmt: skip


def place(seed: int = 0) -> np.ndarray:
    """An object on the fine grid, with detail everywhere."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 128)), 3.0)
    return (100.0 + 50.0 * np.exp(field / field.std())).astype(np.float32)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pairs of images and targets, 2x."""
    for number in range(2):
        save_image(tmp_path / "images" / f"n{number}.tif", bin_mean(place(number), 2), "YX")
        save_image(tmp_path / "targets" / f"n{number}.tif", place(number), "YX")
    return tmp_path


def train(folder: Path, *extra: str) -> int:
    files = [f"data.folder={folder / 'images'}", f"data.targets={folder / 'targets'}", f"run_dir={folder / 'run'}"]
    return run("train", ["task=super_resolve", "data=pairs", *files, *TINY, *extra])


def check_refused(code: int, error: str, says: str) -> None:
    lines = [line for line in error.splitlines() if line.strip() and not re.match(PROGRESS, line)]
    assert code == 2, f"exit code {code}: {error}"
    assert len(lines) == 1 and lines[0].startswith("bioflax "), error
    assert any(part.lower() in lines[0].lower() for part in says.split("|")), lines[0]


def no_whole_number(folder: Path) -> None:
    save_image(folder / "targets" / "n1.tif", place()[:90], "YX")


def other_factor(folder: Path) -> None:
    save_image(folder / "targets" / "n1.tif", np.repeat(np.repeat(place(1), 2, 0), 2, 1), "YX")


def missing_target(folder: Path) -> None:
    (folder / "targets" / "n1.tif").unlink()


def other_field(folder: Path) -> None:
    save_image(folder / "targets" / "n1.tif", place(7), "YX")


def far_apart(folder: Path) -> None:
    save_image(folder / "targets" / "n1.tif", np.roll(place(1), 5, 0), "YX")


def three_planes(folder: Path) -> None:
    save_image(folder / "targets" / "n1.tif", np.stack([place(1)] * 3), "TYX")


def coloured(folder: Path) -> None:
    for number in range(2):
        save_image(folder / "images" / f"n{number}.tif", np.stack([bin_mean(place(number), 2)] * 2), "CYX")


def truncated(folder: Path) -> None:
    path = folder / "targets" / "n1.tif"
    path.write_bytes(path.read_bytes()[:200])


def not_finite(folder: Path) -> None:
    image = place(1)
    image[3, 4] = np.nan
    save_image(folder / "targets" / "n1.tif", image, "YX")


FILES = [
    (no_whole_number, "must be a whole number of times larger, the same along Y and X; found (90, 128)"),
    (other_factor, "all targets must be as many times larger than their images, found 4 beside 2"),
    (missing_target, "targets: no file for n1"),
    (other_field, "the target does not show what n1 shows|the target would have to move"),
    (far_apart, "the target would have to move by -2."),
    (three_planes, "must be one image per field, YX; found TYX (3, 96, 128)"),
    (coloured, "data.frames_axis"),
    (truncated, "truncated|damaged"),
    (not_finite, "expected finite pixels"),
]


@pytest.mark.parametrize(("damage", "says"), FILES, ids=[damage.__name__ for damage, _ in FILES])
def test_bad_pairs_are_named(folder, capsys, damage, says) -> None:
    damage(folder)
    check_refused(train(folder), capsys.readouterr().err, says)
    assert not (folder / "run" / "model").exists()


SETTINGS = [
    (["data.targets=null"], "data.targets: expected"),
    (["data.targets=nowhere"], "nowhere"),
    (["data.upscale=3"], "must be 3 times larger, as upscale says"),
    (["data.upscale=2.5"], "data.upscale: expected"),
    (["data.frames_axis=T"], "frames_axis: expected one of the other axes"),
    (["data.register=yes"], "data.register: expected"),
    (["data.na=1.4"], "data.na, data.wavelength_nm: give both"),
    (["data.na=1.4", "data.wavelength_nm=520"], "data.pixel_nm: neither the images nor the targets"),
    (["data.normalization=photons"], "data.normalization: expected one of"),
    (["data.target_normalization=other"], "data.target_normalization: expected one of own, same"),
    (["data.validation=2"], "validation fraction: expected 0 to 0.9"),
    (["data.validation_box=[0,9]"], "validation_box: expected pixels"),
    (["data.validation_box=[0,20,100,120]"], "lies outside n0"),
    (["data.patch=200"], "does not fit into n0"),
    (["head.upscale=4"], "head.upscale: the targets have 2"),
    (["backbone.channels_in=9"], "Set backbone.channels_in=1"),
]


@pytest.mark.parametrize(("extra", "says"), SETTINGS, ids=["+".join(extra) for extra, _ in SETTINGS])
def test_bad_settings_of_pairs_are_named(folder, capsys, extra, says) -> None:
    check_refused(train(folder, *extra), capsys.readouterr().err, says)


def test_known_optics_of_raw_frames_need_the_stripes(folder, capsys) -> None:
    coloured(folder)
    optics = ["data.na=1.4", "data.wavelength_nm=520", "data.pixel_nm=93"]
    code = train(folder, "data.frames_axis=C", "backbone.channels_in=2", *optics)
    check_refused(code, capsys.readouterr().err, "data.period_nm: missing")


def save_untrained(
    folder: Path, task: str = "superresolve", channels: int = 1, upscale: int = 2, **physics: float
) -> None:
    """A model as it was before its first step, with what its card says of the microscope."""
    backbone, head = partial(UNet, channels_in=channels, width=2, depth=1), partial(Direct, upscale=upscale)
    module = Model(backbone, head, rngs=nnx.Rngs(0))
    variables = purify(module).variables
    card = ModelCard(
        name="untrained",
        task=task,
        architecture=describe(module),
        normalization={"kind": "mean_std", "offset": [150.0], "scale": [50.0]},
        axes="YX",
        scheme="supervised",
        receptive_field=module.receptive_field,
        parameters=count(variables),
        physics=physics,
    )
    save_model(folder, card, variables, np.full((1, 4, 4, channels), 150.0, np.float32))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Models with and without known optics, of raw frames, and one that takes noise away."""
    folder = tmp_path_factory.mktemp("models")
    save_untrained(folder / "unknown")
    save_untrained(folder / "known", na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
    save_untrained(folder / "frames", channels=9, na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
    save_untrained(folder / "denoiser", task="denoise", upscale=1)
    image = bin_mean(place(), 2)
    files = {
        "image": (image, "YX"),
        "nine": (np.stack([image] * 9), "CYX"),
        "as_time": (np.stack([image] * 9), "TYX"),
        "fine": (place(), "YX"),
        "odd": (place()[:95], "YX"),
        "finest": (np.repeat(np.repeat(place(), 2, 0), 2, 1), "YX"),
        "elsewhere": (place(7), "YX"),
        "even": (np.full((96, 128), 7.0), "YX"),
        "two": (np.stack([place()] * 2), "TYX"),
    }
    for name, (pixels, axes) in files.items():
        save_image(folder / f"{name}.tif", pixels.astype(np.float32), axes)
    return folder


GIVE = "Give optics.na=... optics.wavelength_nm=... optics.pixel_nm=..."
PREDICT = [
    ("unknown", "image", ["honesty=true"], f"wavelength_nm, pixel_nm, neither in the model's card nor given. {GIVE}"),
    ("unknown", "image", ["honesty=true", "optics.na=1.4", "optics.wavelength_nm=520"], "Give optics.pixel_nm=..."),
    ("denoiser", "image", ["honesty=true"], "expected a super-resolving model, found one for denoise. Leave honesty=false"),
    ("known", "image", ["honesty=maybe"], "honesty: expected true or false, found 'maybe'"),
    ("known", "image", ["honesty=true", "optics.na=-1"], "optics.na: expected a number above 0, found -1"),
    ("known", "image", ["honesty=true", "optics.na=1.6"], "WidefieldOptics.na: expected below the refractive index 1.515"),
    ("known", "image", ["honesty=true", "camera=scmos", "camera.gain_adu_per_e=0"], "gain_adu_per_e: expected above 0"),
    ("known", "image", ["camera=scmos"], "camera: expected none for a model that restores images"),
    ("known", "image", ["posterior=true"], "posterior: expected a model trained with blind spots"),
    ("known", "nowhere", ["honesty=true"], "nowhere"),
    ("frames", "image", [], "axes: expected a C axis of 9 channels, as the model takes, found Y=48 X=64"),
    ("frames", "image", ["honesty=true"], "axes: expected a C axis of 9 channels, as the model takes, found Y=48 X=64"),
    ("frames", "as_time", [], "found T=9 Y=48 X=64. If they are the raw frames of one field, say so with axes=CYX"),
    ("frames", "nine", ["augment=true"], "augment: expected false for a model of raw frames"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "image", "extra", "says"), PREDICT, ids=[" ".join([a, b, *c]) for a, b, c, _ in PREDICT]
)
def test_bad_predictions_are_named(models, tmp_path, capsys, model, image, extra, says) -> None:
    files = [f"model={models / model}", f"input={models / image}.tif", f"output={tmp_path / 'out'}"]
    check_refused(run("predict", [*files, *extra]), capsys.readouterr().err, says)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {"result.json"}


EVALUATE = [
    ("known", "image", "finest", [], "is (192, 256), 4x4 times its input (48, 64); the model makes (96, 128) (upscale 2)"),
    ("known", "image", "odd", [], "is (95, 128), 1.98x2 times its input (48, 64)"),
    ("known", "image", "elsewhere", [], "does not register with its input"),
    ("known", "image", "even", [], "cannot be registered with its input; judge it as it lies with register=false"),
    ("known", "image", "two", [], "beyond YX and raw frames they must be alike"),
    ("known", "image", "fine", ["register=often"], "register: expected true or false, found 'often'"),
    ("known", "image", "fine", ["box=[0,99,0,9]"], "box: expected a part of (48, 64) camera pixels, found [0, 99, 0, 9]"),
    ("known", "image", "fine", ["box=[9,2,0,9]"], "box: expected [y0, y1, x0, x1] in camera pixels, found [9, 2, 0, 9]"),
    ("known", "image", "fine", ["box=9"], "box: expected [y0, y1, x0, x1] in camera pixels, found 9"),
    ("known", "image", "fine", ["baselines=[nearest]"], "baselines: expected names of bicubic, lanczos"),
    ("known", "image", "fine", ["data_range=-1"], "data_range: expected a positive number or null, found -1"),
    ("unknown", "image", "fine", ["baselines=[wiener]"], "baselines: wiener need the optics. Give optics.na=..."),
    ("unknown", "image", "fine", ["optics.na=1.4"], "missing: wavelength_nm, pixel_nm"),
    ("frames", "image", "fine", [], "this model takes 9 raw frames of a field as axis C"),
    ("frames", "as_time", "fine", [], "If the file has them under another letter, say axes=CYX"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "image", "target", "extra", "says"), EVALUATE, ids=[" ".join([a, b, c, *d]) for a, b, c, d, _ in EVALUATE]
)
def test_bad_evaluations_are_named(models, tmp_path, capsys, model, image, target, extra, says) -> None:
    files = [f"model={models / model}", f"input={models / image}.tif", f"target={models / target}.tif"]
    check_refused(run("evaluate", [*files, *extra, f"run_dir={tmp_path / 'out'}"]), capsys.readouterr().err, says)
    assert not (tmp_path / "out" / "summary.json").exists()


TRAIN = [
    (
        ["head.upscale=3", "data.simulator.upscale=2"],
        "head.upscale: the targets have 2 pixels along a pixel of the images",
    ),
    (
        ["data.simulator.illumination={_target_: bioflax.optics.illumination.Illumination}"],
        "Set backbone.channels_in=9.",
    ),
    (["task.loss_name=gaussian_nll"], "task.loss_name: gaussian_nll needs a head that predicts scale"),
    (["task.loss_name=mae"], "task.loss_name: 'mae' is not known"),
]


@pytest.mark.parametrize(("extra", "says"), TRAIN, ids=["+".join(extra)[:40] for extra, _ in TRAIN])
def test_bad_trainings_from_physics_are_named(tmp_path, capsys, extra, says) -> None:
    tiny = [part for part in TINY if "patch" not in part and not part.startswith("head")]
    sizes = ["data.simulator.size=16", "+data.simulator.margin=2", "data.validation=2"]
    command = ["experiment=super_resolve", f"run_dir={tmp_path / 'run'}", *tiny, *sizes, *extra]
    check_refused(run("train", command), capsys.readouterr().err, says)
    assert not (tmp_path / "run" / "model").exists()
