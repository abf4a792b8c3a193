"""Bad input for detection: exit code 2, one clear line, nothing half-written; and odd input that works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bioflax.configuration import run
from bioflax.io import save_image
from bioflax.io.labels import label_defects, read_labels, write_labels

PROGRESS = r"\w+ \d+/\d+ "
TINY = ["backbone.width=2", "backbone.depth=1", "head.width=2", "data.patch=16", "train.steps=2", "train.batch=2",
        "train.validate_every=2", "train.checkpoint_every=2", "train.log_every=2"]  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images with two squares each."""
    labels = np.zeros((24, 32), np.int32)
    labels[3:9, 4:11], labels[12:20, 18:27] = 1, 2
    random = np.random.default_rng(0)
    for number in range(3):
        image = (100 + 50 * (labels > 0) + random.normal(0, 5, labels.shape)).astype(np.uint16)
        save_image(tmp_path / "images" / f"n{number}.tif", image, "YX")
        write_labels(tmp_path / "labels" / f"n{number}.tif", labels)
    return tmp_path


def train(folder: Path, *extra: str) -> int:
    files = [f"data.folder={folder / 'images'}", f"data.targets={folder / 'labels'}", f"run_dir={folder / 'run'}"]
    return run("train", ["experiment=detect_nuclei", *files, *TINY, *extra])


def check_refused(code: int, error: str, says: str) -> None:
    lines = [line for line in error.splitlines() if line.strip() and not re.match(PROGRESS, line)]
    assert code == 2, f"exit code {code}: {error}"
    assert len(lines) == 1 and lines[0].startswith("bioflax "), error
    assert any(part.lower() in lines[0].lower() for part in says.split("|")), lines[0]


def other_size(folder: Path) -> None:
    write_labels(folder / "labels" / "n1.tif", np.zeros((24, 30), np.int32))


def missing_target(folder: Path) -> None:
    (folder / "labels" / "n1.tif").unlink()


def negative(folder: Path) -> None:
    tifffile.imwrite(folder / "labels" / "n1.tif", np.full((24, 32), -1, np.int16))


def fractions(folder: Path) -> None:
    tifffile.imwrite(folder / "labels" / "n1.tif", np.full((24, 32), 0.5, np.float32))


def truncated(folder: Path) -> None:
    path = folder / "labels" / "n1.tif"
    path.write_bytes(path.read_bytes()[:200])


def coloured(folder: Path) -> None:
    tifffile.imwrite(folder / "labels" / "n1.tif", np.zeros((24, 32, 3), np.uint8), photometric="rgb")


def masks(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        write_labels(path, np.where(read_labels(path)[0] > 0, 255, 0))


def overflow(folder: Path) -> None:
    many = np.zeros((24, 32), np.int64)
    many[::2, ::2][:, ::1] = np.arange(1, 193).reshape(12, 16)
    many[1::2, ::2] = np.arange(193, 385).reshape(12, 16)
    tifffile.imwrite(folder / "labels" / "n1.tif", many.astype(np.uint8))


FILES = [
    (other_size, "expected labels of the size of n1.tif (24, 32), found (24, 30)"),
    (missing_target, "targets: no file for n1"),
    (negative, "n1.tif"),
    (fractions, "n1.tif"),
    (truncated, "truncated|damaged"),
    (coloured, "n1.tif"),
    (masks, "expected label images, where each object has a number of its own, found masks of one value"),
    (overflow, "found 8-bit labels that seem to have run out at 255"),
]


@pytest.mark.parametrize(("damage", "says"), FILES, ids=[damage.__name__ for damage, _ in FILES])
def test_bad_label_files_are_named(folder, capsys, damage, says) -> None:
    damage(folder)
    check_refused(train(folder), capsys.readouterr().err, says)
    assert not (folder / "run" / "model").exists()


SETTINGS = [
    (["data.targets=null"], "data.targets: expected a folder of label images"),
    (["data.validation=2"], "data.validation: expected 0 to 0.9"),
    (["data.split=nowhere"], "split: expected a file of hashes"),
    (["data.split=dsb2018"], "3 of 3 files are not in the split dsb2018"),
    (["data.part=some"], "part: expected one of train, test, all"),
    (["data.images=9"], "data.images: expected 1 to 3"),
    (["data.foreground=3"], "data.foreground: expected 0 to 1"),
    (["data.family='('"], "data.family: expected a regular expression"),
    (["data.normalization=median"], "normalization: expected one of"),
    (["data.deformation.zoom=-1"], "zoom"),
    (["backbone.grid=3"], "grid: expected a power of two"),
    (["backbone.channels_in=2"], "backbone.channels_in: the images have 1 channel(s)"),
    (["task.scheme.grid=1"], "Give rays as the head and grid as the backbone have them"),
    (["task.scheme.rays=16"], "Give rays as the head and grid as the backbone have them"),
    (["task=denoise_n2v"], "data"),
    (["head=spots"], "head: expected one that predicts logit, rays for task.scheme stardist"),
    (["data.patch=[16]"], "data.patch: expected 2 positive sizes"),
    (["head=direct", "task.scheme.rays=32"], "head: Direct needs a map at full resolution"),
    (["task=detect_spotiflow"], "tables of points|.csv"),
]


@pytest.mark.parametrize(("extra", "says"), SETTINGS, ids=[extra[0] for extra, _ in SETTINGS])
def test_bad_settings_are_named(folder, capsys, extra, says) -> None:
    files = [f"data.folder={folder / 'images'}", f"data.targets={folder / 'labels'}", f"run_dir={folder / 'run'}"]
    tiny = [part for part in TINY if not (extra[0].startswith("head=") and part.startswith("head"))]
    code = run("train", ["experiment=detect_nuclei", *files, *tiny, *extra])
    check_refused(code, capsys.readouterr().err, says)


TABLES = [
    ("x_px,y_px\n1,2\n40,2\n", "1 of 2 points lie outside the image (24, 32)"),
    ("1,2\n3,4\n", "n1.csv"),
    ("x_px,y_px\n1,two\n", "n1.csv"),
    ("", "n1.csv"),
    ("x_px,y_px,z_px\n1,2,3\n1,2,4\n", "n1.csv"),
]


@pytest.mark.parametrize(("text", "says"), TABLES, ids=["outside", "no header", "words", "empty", "3-D"])
def test_bad_tables_of_points_are_named(folder, capsys, text, says) -> None:
    for number in range(3):
        (folder / "labels" / f"n{number}.csv").write_text(text if number == 1 else "x_px,y_px\n3,4\n")
    tiny = [part for part in TINY if not part.startswith("head")]
    files = ["data=points", f"data.folder={folder / 'images'}", f"data.targets={folder / 'labels'}"]
    levels = ["task.scheme.levels=2", "head.levels=2", f"run_dir={folder / 'run'}"]
    code = run("train", ["experiment=detect_spots", *files, *tiny, *levels])
    check_refused(code, capsys.readouterr().err, says)


def test_prediction_refuses_clearly_and_takes_odd_images(folder, capsys) -> None:
    assert train(folder, "data.validation=0.3") == 0
    capsys.readouterr()
    model = f"model={folder / 'run'}"
    for extra, says in [
        ([f"input={folder / 'images'}", f"output={folder / 'out.npy'}"], "output: expected a folder"),
        ([f"input={folder / 'images'}", f"output={folder / 'out.csv'}"], "is one file"),
        ([f"input={folder / 'images'}", f"output={folder / 'out'}", "formats=[xml]"], "formats: expected some of"),
        ([f"input={folder / 'images'}", f"output={folder / 'out'}", "threshold=2"], "threshold: expected a number"),
        ([f"input={folder / 'images'}", f"output={folder / 'out'}", "psf=gaussian"], "psf: expected none"),
        ([f"input={folder / 'labels' / 'none.tif'}", f"output={folder / 'out'}"], "none.tif"),
    ]:
        check_refused(run("predict", [model, *extra]), capsys.readouterr().err, says)
    # Results never take the place of their inputs, nor of one another's.
    before = (folder / "images" / "n0.tif").read_bytes()
    code = run("predict", [model, f"input={folder / 'images'}", f"output={folder / 'images'}"])
    check_refused(code, capsys.readouterr().err, "is an input and would be written over")
    assert (folder / "images" / "n0.tif").read_bytes() == before
    (folder / "images" / "n0.tiff").write_bytes(before)
    code = run("predict", [model, f"input={folder / 'images'}", f"output={folder / 'out'}"])
    check_refused(code, capsys.readouterr().err, "several files are called n0")
    for name, image in {
        "one_pixel": np.array([[7]], np.uint8),
        "noise": np.random.default_rng(0).integers(0, 255, (33, 47)).astype(np.uint8),
    }.items():
        save_image(folder / "odd" / f"{name}.tif", image, "YX")
    assert run("predict", [model, f"input={folder / 'odd'}", f"output={folder / 'out'}", "threshold=0.01"]) == 0
    for path in (folder / "odd").iterdir():
        assert read_labels(folder / "out" / path.name)[0].shape == tifffile.imread(path).shape


def test_holes_and_eight_bit_overflow_are_seen() -> None:
    ring = np.zeros((40, 300), np.uint8)
    for number in range(70):
        ring[4 * (number // 14) * 2 : 4 * (number // 14) * 2 + 3, 20 * (number % 14) : 20 * (number % 14) + 3] = (
            number + 1
        )
    ring[1, 1] = 0
    assert label_defects(ring)["holes"] == 1 and not label_defects(ring)["overflow"]
    many = np.zeros((80, 120), np.int64)
    for number in range(600):
        row, column = divmod(number, 30)
        many[4 * row : 4 * row + 2, 4 * column : 4 * column + 2] = number + 1
    assert label_defects(many.astype(np.uint8))["overflow"]
    assert not label_defects(many.astype(np.uint16))["overflow"]
