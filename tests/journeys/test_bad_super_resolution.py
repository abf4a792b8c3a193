"""Bad input for super-resolution: exit code 2, one clear line, nothing half-written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bioflax.configuration import run
from bioflax.io import save_image
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
