"""Bad input: exit code 2, one clear line, nothing half-written under a final name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bioflax import hub
from bioflax.configuration import run
from bioflax.io import save_image

SIDE = 40
PROGRESS = r"\w+ \d+/\d+ "
TINY = ["backbone.width=4", "backbone.depth=1", "train.steps=2", "train.batch=2", "train.validate_every=2",
        "train.checkpoint_every=2", "train.log_every=2", "data.patch=16"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A tiny trained run, and the images it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "images" / "a.tif")
    write(folder / "images" / "b.tif", seed=1)
    assert (
        run("train", ["experiment=denoise_n2v", f"data.folder={folder / 'images'}", f"run_dir={folder / 'run'}", *TINY])
        == 0
    )
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    write(tmp_path / "images" / "a.tif")
    write(tmp_path / "images" / "b.tif", seed=1)
    return tmp_path / "images"


def write(path: Path, shape=(SIDE, SIDE), seed: int = 0, axes: str = "YX", value: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(seed).poisson(100, shape).astype(np.uint16)
    save_image(path, drawn if value is None else value, axes)


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


def truncate(folder: Path) -> None:
    path = folder / "a.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def raw(folder: Path, name: str, array: np.ndarray) -> None:
    tifffile.imwrite(folder / name, array)


def with_pixel(value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        array = np.random.default_rng(0).normal(100, 9, (SIDE, SIDE)).astype(np.float32)
        array[3, 4] = value
        raw(folder, "a.tif", array)

    return change


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def constant(folder: Path) -> None:
    for name in ("a.tif", "b.tif"):
        raw(folder, name, np.full((SIDE, SIDE), 7, np.uint16))


def one_pixel(folder: Path) -> None:
    empty(folder)
    raw(folder, "a.tif", np.full((1, 1), 7, np.uint16))


NOTHING = lambda folder: None  # noqa: E731

# name, what is done to the folder of images, further overrides, what the line must say
TRAIN = [
    ("empty folder", empty, [], "expected images"),
    ("missing folder", shutil.rmtree, [], "data.folder|exist|no such"),
    ("truncated TIFF", truncate, [], "a.tif"),
    ("text named .tif", lambda f: put(f, "a.tif", b"hello"), [], "a.tif"),
    ("zero bytes", lambda f: put(f, "a.tif", b""), [], "a.tif"),
    ("text named .png", lambda f: put(f, "c.png", b"hello"), [], "c.png"),
    ("NaN", with_pixel(np.nan), [], "NaN|finite"),
    ("Inf", with_pixel(np.inf), [], "Inf|finite"),
    ("constant images", constant, [], "constant"),
    ("1-pixel image", one_pixel, [], "patch|small|size|pixel"),
    ("patch larger than image", NOTHING, ["data.patch=64"], "patch"),
    ("negative patch", NOTHING, ["data.patch=-8"], "patch"),
    ("ambiguous 3-D stack", lambda f: raw(f, "a.tif", np.random.default_rng(0).poisson(9, (5, SIDE, SIDE)).astype(np.uint16)), [], "axes=TYX|axes=ZYX"),
    ("wrong axes", NOTHING, ["data.axes=TYX"], "axes"),
    ("axes of unknown letters", NOTHING, ["data.axes=QX"], "axes"),
    ("12 axes", NOTHING, ["data.axes=TSZCYXTSZCYX"], "axes"),
    ("axes twice", NOTHING, ["data.axes=YY"], "axes"),
    ("complex pixels", lambda f: raw(f, "a.tif", np.ones((SIDE, SIDE), np.complex64)), [], "complex"),
    ("channels differ from the model", lambda f: [write(f / n, (3, SIDE, SIDE), axes="CYX") for n in ("a.tif", "b.tif")], [], "channels_in"),
    ("3-D model on planes", NOTHING, ["backbone.spatial_dims=3", "task.scheme.spatial_axes=ZYX"], "ZYX|Z"),
    ("no target folder", NOTHING, ["task=denoise_supervised"], "data.targets"),
    ("missing target", lambda f: write(f.parent / "clean" / "a.tif"), ["task=denoise_supervised", "data.targets={clean}"], "b"),
    ("target of another size", lambda f: [write(f.parent / "clean" / n, (SIDE, 8)) for n in ("a.tif", "b.tif")], ["task=denoise_supervised", "data.targets={clean}"], "size"),
    ("repeats of other sizes", lambda f: [empty(f), write(f / "a_1.tif", (SIDE, 30)), write(f / "a_2.tif")], ["data.repeats='_(\\d+)$'"], "size"),
    ("no repeats for Noise2Noise", NOTHING, ["task=denoise_n2n"], "repeat|capture|pairs"),
    ("broken regular expression", NOTHING, ["data.repeats='_(\\d+$'"], "repeats"),
    ("unknown normalisation", NOTHING, ["data.normalization=zscore"], "mean_std"),
    ("photons without a camera", NOTHING, ["data.normalization=photons"], "gain_adu_per_photon"),
    ("unknown experiment", NOTHING, ["experiment=denoise_everything"], "denoise_everything"),
    ("unknown backbone", NOTHING, ["backbone=resnet"], "resnet"),
    ("misspelt override", NOTHING, ["train.stepz=3"], "train.step"),
    ("override that is no override", NOTHING, ["hello"], "hello"),
    ("a word for a number", NOTHING, ["train.steps=many"], "train.steps|many|steps"),
    ("negative steps", NOTHING, ["train.steps=-3"], "train.steps"),
    ("batch 0", NOTHING, ["train.batch=0"], "batch"),
    ("even kernel", NOTHING, ["backbone.kernel=4"], "kernel"),
    ("negative learning rate", NOTHING, ["optim.learning_rate=-1"], "learning_rate"),
    ("unknown pool", NOTHING, ["backbone.pool=average"], "max_blur"),
    ("more devices than there are", NOTHING, ["hardware.devices=64"], "hardware.devices"),
    ("code in a target", NOTHING, ["backbone._target_=os.system"], "only bioflax"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "extra", "says"), TRAIN, ids=[case[0] for case in TRAIN])
def test_train_refuses(name, change, extra, says, images, tmp_path, capfd) -> None:
    change(images)
    overrides = [part.replace("{clean}", str(tmp_path / "clean")) for part in extra]
    code = run(
        "train", ["experiment=denoise_n2v", f"data.folder={images}", f"run_dir={tmp_path / 'run'}", *TINY, *overrides]
    )
    check_refused(code, capfd.readouterr().err, says)
    assert not (tmp_path / "run" / "model").exists()


def check_refused(code: int, error: str, says: str) -> None:
    lines = [line for line in error.splitlines() if line.strip() and not re.match(PROGRESS, line)]
    assert code == 2, f"exit code {code}: {error}"
    assert len(lines) == 1 and lines[0].startswith("bioflax "), error
    assert any(part.lower() in lines[0].lower() for part in says.split("|")), lines[0]


def test_missing_folder_option(tmp_path, capfd) -> None:
    code = run("train", ["experiment=denoise_n2v", f"run_dir={tmp_path / 'run'}"])
    check_refused(code, capfd.readouterr().err, "data.folder")


def test_other_settings_in_the_same_folder(trained, capfd) -> None:
    overrides = [f"data.folder={trained / 'images'}", f"run_dir={trained / 'run'}", *TINY, "seed=5"]
    check_refused(run("train", ["experiment=denoise_n2v", *overrides]), capfd.readouterr().err, "seed=0")


def empty_files(checkpoints: Path) -> None:
    for path in checkpoints.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


CHECKPOINTS = [
    ("zero-byte checkpoint", empty_files, [], "checkpoint"),
    ("checkpoint of another net", NOTHING, ["backbone.width=6"], "backbone.width|checkpoint"),
]


@pytest.mark.parametrize(("name", "change", "extra", "says"), CHECKPOINTS, ids=[case[0] for case in CHECKPOINTS])
def test_train_refuses_to_go_on_from_a_bad_checkpoint(name, change, extra, says, trained, tmp_path, capfd) -> None:
    folder = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    (folder / "result.json").unlink()  # as if it had been killed before the end
    change(folder / "checkpoints")
    overrides = [f"data.folder={trained / 'images'}", f"run_dir={folder}", *TINY, *extra]
    check_refused(run("train", ["experiment=denoise_n2v", *overrides]), capfd.readouterr().err, says)


def test_predict_refuses_the_posterior_of_a_model_that_sees_its_pixel(trained, tmp_path, capfd) -> None:
    model = copy_model(trained, tmp_path)
    card = (model / "card.json").read_text()
    (model / "card.json").write_text(card.replace('"noise2void"', '"noise2noise"'))
    image = trained / "images" / "a.tif"
    arguments = [f"model={model}", f"input={image}", f"output={tmp_path / 'out'}", "posterior=true"]
    check_refused(run("predict", arguments), capfd.readouterr().err, "posterior")
    assert not list(tmp_path.glob("out/*.tif"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
@pytest.mark.parametrize("size", ["64k", "300k"], ids=["at once", "at a checkpoint"])
def test_full_disk(size, images, tmp_path, capfd) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        code = run("train", ["experiment=denoise_n2v", f"data.folder={images}", f"run_dir={disk / 'run'}", *TINY])
        check_refused(code, capfd.readouterr().err, "space")
        model = disk / "run" / "model"
        assert not model.exists() or hub.load(model, verify=True)  # whole, or not there
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def copy_model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))


def edit_weights(model: Path) -> None:
    content = bytearray((model / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "weights.safetensors").write_bytes(content)


MODELS = [
    ("edited weights", edit_weights, "weights.safetensors"),
    ("zero-byte weights", lambda m: (m / "weights.safetensors").write_bytes(b""), "weights.safetensors"),
    ("missing weights", lambda m: (m / "weights.safetensors").unlink(), "weights.safetensors"),
    ("card that is no JSON", lambda m: (m / "card.json").write_text("{"), "card"),
    ("card of another shape", lambda m: (m / "card.json").write_text('{"_target_": "os.system"}'), "card"),
    ("no model there", shutil.rmtree, "model"),
]


@pytest.mark.parametrize(("name", "change", "says"), MODELS, ids=[case[0] for case in MODELS])
def test_predict_refuses_a_bad_model(name, change, says, trained, tmp_path, capfd) -> None:
    model = copy_model(trained, tmp_path)
    change(model)
    code = run("predict", [f"model={model}", f"input={trained / 'images'}", f"output={tmp_path / 'out'}"])
    check_refused(code, capfd.readouterr().err, says)
    assert not list(tmp_path.glob("out/*.tif"))


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["input=nowhere"], "nowhere"),
        (["tile=-5"], "tile"),
        (["tile=3.5"], "tile"),
        (["axes=CYX"], "axes"),
        (["dtype=int99"], "dtype|int99"),
        (["output=out.jpg"], "out.jpg|.tif"),
        (["colour=red"], "colour"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_predict_refuses(extra, says, trained, tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = run("predict", [f"model={trained / 'run'}", f"input={trained / 'images' / 'a.tif'}", "output=out", *extra])
    check_refused(code, capfd.readouterr().err, says)
    assert not list(tmp_path.rglob("*.tif"))


def test_a_hostile_zip_is_refused(trained, tmp_path, capfd) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for path in (trained / "run" / "model").iterdir():
            archive.write(path, f"../{path.name}")
    code = run(
        "predict", [f"model={tmp_path / 'model.zip'}", f"input={trained / 'images'}", f"output={tmp_path / 'out'}"]
    )
    check_refused(code, capfd.readouterr().err, "zip|path|name")


def test_evaluate_refuses_targets_that_do_not_fit(trained, tmp_path, capfd) -> None:
    write(tmp_path / "clean" / "a.tif", (SIDE, 30))
    write(tmp_path / "clean" / "b.tif")
    overrides = [f"model={trained / 'run'}", f"input={trained / 'images'}", f"target={tmp_path / 'clean'}"]
    code = run("evaluate", [*overrides, f"run_dir={tmp_path / 'evaluation'}"])
    check_refused(code, capfd.readouterr().err, "Crop or register")


def test_preflight_refuses_a_text(tmp_path, capfd) -> None:
    (tmp_path / "a.tif").write_text("no picture")
    code = run("preflight", [f"input={tmp_path / 'a.tif'}", f"run_dir={tmp_path / 'page'}"])
    check_refused(code, capfd.readouterr().err, "a.tif")


def test_no_write_permission(trained, tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("in the way")
    code = run(
        "predict", [f"model={trained / 'run'}", f"input={trained / 'images'}", f"output={tmp_path / 'file' / 'out'}"]
    )
    check_refused(code, capfd.readouterr().err, "file")
