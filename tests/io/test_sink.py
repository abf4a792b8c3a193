"""Writing: same axes and pixel size back, windows in any order, and nothing half-written under a final name."""

import errno
import os
from collections import namedtuple

import numpy as np
import pytest
import tifffile

from bioflax.errors import InputError
from bioflax.io import FILE_DTYPES, ImageSink, open_image, save_image, sink

RNG = np.random.default_rng(0)
PIXEL_NM = {"Y": 65.0, "X": 65.0, "Z": 200.0}


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "SYX", "CYX", "ZTYX", "STYX", "TSZCYX", "STZCYX", "CZYX"])
def test_axes_pixels_and_pixel_size_come_back(tmp_path, axes):
    shape = tuple({"T": 2, "S": 3, "Z": 4, "C": 2, "Y": 6, "X": 5}[axis] for axis in axes)
    pixels = RNG.integers(0, 65535, shape).astype(np.uint16)
    save_image(tmp_path / "out" / "a.tif", pixels, axes, PIXEL_NM)
    image = open_image(tmp_path / "out" / "a.tif")
    assert set(image.axes) == set(axes)
    moved = pixels.transpose([axes.index(axis) for axis in image.axes])
    np.testing.assert_array_equal(image.read(), moved)
    assert image.axes == axes or axes == "STZCYX"
    assert image.pixel_nm == pytest.approx({axis: size for axis, size in PIXEL_NM.items() if axis in axes})
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tif:
        assert tif.is_ome


def test_rows_and_columns_are_moved_to_the_end(tmp_path):
    pixels = RNG.random((6, 5, 3)).astype(np.float32)
    save_image(tmp_path / "a.tif", pixels, "YXC")
    image = open_image(tmp_path / "a.tif")
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.read(), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", FILE_DTYPES)
def test_every_dtype_comes_back(tmp_path, dtype):
    pixels = np.array([[0, 1, 100], [7, 50, 127]], dtype)
    save_image(tmp_path / "a.tif", pixels, "YX")
    image = open_image(tmp_path / "a.tif")
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.read(), pixels)


def test_results_take_the_dtype_asked_for(tmp_path):
    save_image(tmp_path / "a.tif", np.array([[-1.0, 1.5, 7e4]]), "YX", dtype="uint16")
    assert open_image(tmp_path / "a.tif").read().tolist() == [[0, 2, 65535]]
    save_image(tmp_path / "b.tif", np.array([[True, False]]), "YX")
    assert open_image(tmp_path / "b.tif").dtype == np.uint8


@pytest.mark.parametrize("axes", ["CYX", "YXC", "YCX"])
def test_windows_in_any_order_make_the_image(tmp_path, axes):
    shape = tuple({"C": 3, "Y": 20, "X": 17}[axis] for axis in axes)
    pixels = RNG.integers(0, 255, shape).astype(np.uint8)
    windows = []
    for y in range(0, 20, 8):
        for x in range(0, 17, 6):
            spans = {"C": slice(0, 3), "Y": slice(y, min(y + 8, 20)), "X": slice(x, min(x + 6, 17))}
            windows.append(tuple(spans[axis] for axis in axes))
    with ImageSink(tmp_path / "a.tif", shape, axes, "uint8", bigtiff=True) as out:
        for place in RNG.permutation(len(windows)):
            out.write_window(windows[place], pixels[windows[place]])
        assert not (tmp_path / "a.tif").exists()
    found = open_image(tmp_path / "a.tif").read()
    np.testing.assert_array_equal(found, pixels.transpose([axes.index(axis) for axis in "CYX"]))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_bigtiff
    assert os.listdir(tmp_path) == ["a.tif"]


def test_an_exception_leaves_nothing_and_keeps_the_older_file(tmp_path):
    save_image(tmp_path / "a.tif", np.ones((4, 4), np.uint8), "YX")
    with pytest.raises(KeyboardInterrupt), ImageSink(tmp_path / "a.tif", (4, 4), "YX", "uint8") as out:
        out.write_window((slice(0, 2), slice(0, 4)), np.zeros((2, 4)))
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a.tif"]
    assert open_image(tmp_path / "a.tif").read().sum() == 16


def test_a_disk_without_room_is_told_before_any_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(sink.shutil, "disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(InputError, match=r"needs 20\.0 MB for this image, found 0\.0 MB free"):
        ImageSink(tmp_path / "a.tif", (1000, 10000), "YX", "uint16")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", ["_reserve", "_write_all"])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch, place):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sink, place, full)
    with pytest.raises(InputError, match=r"the disk needs .* it is full"):
        save_image(tmp_path / "a.tif", np.zeros((8, 8)), "YX")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        save_image(tmp_path / "file" / "a.tif", np.zeros((8, 8)), "YX")


@pytest.mark.parametrize(
    ("name", "shape", "axes", "dtype", "message"),
    [
        ("a.jpg", (4, 4), "YX", "uint8", r"ending in \.tif or \.tiff, found '\.jpg'"),
        ("a.tif", (4, 4), "ZYX", "uint8", "names 3 dimensions"),
        ("a.tif", (4, 4), "YX", "complex64", "dtype: expected one of"),
        ("a.tif", (4, -4), "YX", "uint8", "expected positive lengths"),
    ],
)
def test_arguments_are_checked_before_a_file_is_made(tmp_path, name, shape, axes, dtype, message):
    with pytest.raises(InputError, match=message):
        ImageSink(tmp_path / name, shape, axes, dtype)
    assert os.listdir(tmp_path) == []


def test_blocks_must_fit_and_a_closed_sink_stays_closed(tmp_path):
    out = ImageSink(tmp_path / "a.tif", (8, 8), "YX", "uint8")
    with pytest.raises(InputError, match="does not fit a block"):
        out.write_window((slice(0, 4), slice(4, 12)), np.zeros((4, 8)))
    out.commit()
    with pytest.raises(InputError, match="already committed"):
        out.write_window((slice(0, 8), slice(0, 8)), np.zeros((8, 8)))
    with pytest.raises(InputError, match="already committed"):
        out.commit()
    out.abort()
    assert open_image(tmp_path / "a.tif").read().sum() == 0


def test_memory_is_that_of_a_window(tmp_path):
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    block = RNG.integers(0, 60000, (500, 500)).astype(np.uint16)
    before, peak = process.memory_info().rss, 0
    with ImageSink(tmp_path / "a.tif", (6000, 6000), "YX", "uint16") as out:  # 72 MB
        for y in range(0, 6000, 500):
            for x in range(0, 6000, 500):
                out.write_window((slice(y, y + 500), slice(x, x + 500)), block)
                peak = max(peak, process.memory_info().rss)
    image = open_image(tmp_path / "a.tif")
    for y in range(0, 6000, 500):
        np.testing.assert_array_equal(image.read_window((slice(y, y + 500), slice(500, 1000))), block)
        peak = max(peak, process.memory_info().rss)
    assert peak - before < 20e6


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    orphan = tmp_path / ".a.tif.999999999.part"
    mine = tmp_path / f".a.tif.{os.getpid()}.part"
    other = tmp_path / ".b.tif.999999999.part"
    for path in (orphan, mine, other):
        path.write_bytes(b"half")
    save_image(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), "YX")
    assert not orphan.exists() and other.exists()
