"""Listing in natural order, and the errors before any format is looked at."""

import builtins

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import image_from_array, image_stem, list_images, open_image, save_image


def test_natural_order_hidden_files_and_subfolders(tmp_path):
    for name in ("a10.tif", "a2.TIF", "b1.png", "A1.tiff", ".hidden.tif", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "more.tif").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["A1.tiff", "a2.TIF", "a10.tif", "b1.png"]
    assert [path.name for path in list_images(f"{tmp_path}/a*.tif")] == ["a10.tif"]
    assert [path.name for path in list_images(tmp_path / "b1.png")] == ["b1.png"]


def test_a_name_with_brackets_is_a_name_first(tmp_path):
    (tmp_path / "cell[1].tif").write_bytes(b"x")
    assert len(list_images(tmp_path / "cell[1].tif")) == 1


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        list_images(tmp_path / "absent")
    with pytest.raises(InputError, match="no file matches the pattern"):
        list_images(f"{tmp_path}/*.tif")
    with pytest.raises(InputError, match="found no files"):
        list_images(tmp_path)
    for name in ("a.txt", "b.txt", "c.czi"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"found 2 x \.txt, 1 x \.czi"):
        list_images(tmp_path)


def test_open_tells_what_it_found_instead(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="expected an image file, found a folder"):
        open_image(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_image(tmp_path / "absent.tif")
    (tmp_path / "a.czi").write_bytes(b"x")
    with pytest.raises(InputError, match=r"found the suffix '\.czi'"):
        open_image(tmp_path / "a.czi")
    (tmp_path / "empty.tif").touch()
    with pytest.raises(InputError, match="the file is empty"):
        open_image(tmp_path / "empty.tif")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.tif").write_bytes(b"x")
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(InputError, match="no permission to read it"):
        open_image(tmp_path / "secret.tif")


def test_stems_of_ome_tiff():
    assert image_stem("x/cells_1.ome.tif") == "cells_1"
    assert image_stem("cells.v2.png") == "cells.v2"


def test_an_array_is_an_image(tmp_path):
    pixels = np.arange(24.0).reshape(2, 3, 4)
    image = image_from_array(pixels, "tyx", {"Y": 65.0, "X": 65.0})
    assert (image.axes, image.kind, image.lazy) == ("TYX", "array", True)
    np.testing.assert_array_equal(image.read_window((1, slice(0, 2), slice(1, 3))), pixels[1, :2, 1:3])
    with pytest.raises(InputError, match="found object"):
        image_from_array(np.array([[None]]), "YX")
    with pytest.raises(InputError, match="expected an image with pixels"):
        image_from_array(np.zeros((0, 4)), "YX")
    save_image(tmp_path / "a.tif", pixels, "TYX")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read(), pixels)
