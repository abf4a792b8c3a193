"""PNG: 8 and 16 bit grey, grey in disguise, colours only on request."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import open_image

image = pytest.importorskip("PIL.Image")
GREY = np.random.default_rng(0).integers(0, 255, (11, 13)).astype(np.uint8)


def save(path, pixels, **options):
    picture = image.fromarray(pixels)
    if "mode" in options:
        picture = picture.convert(options["mode"])
    picture.save(path)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_pictures(tmp_path, dtype):
    pixels = GREY.astype(dtype) * (257 if dtype == "uint16" else 1)
    found = open_image(save(tmp_path / "a.png", pixels))
    assert (found.axes, found.shape, found.dtype, found.pixel_nm) == ("YX", (11, 13), np.dtype(dtype), None)
    np.testing.assert_array_equal(found.read(), pixels)
    assert found.read().dtype == found.dtype
    np.testing.assert_array_equal(found.read_window((slice(2, 5), slice(0, 13))), pixels[2:5])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_saved_as_colour_is_grey(tmp_path, mode):
    found = open_image(save(tmp_path / "a.png", GREY, mode=mode))
    assert (found.axes, found.dtype) == ("YX", np.dtype("uint8"))
    np.testing.assert_array_equal(found.read(), GREY)


def test_one_bit_pictures_are_0_and_255(tmp_path):
    found = open_image(save(tmp_path / "a.png", GREY > 100))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.read(), np.where(GREY > 100, 255, 0))


def test_colours_are_an_error_unless_asked_for(tmp_path):
    pixels = np.stack([GREY, GREY, 255 - GREY], -1)
    path = save(tmp_path / "a.png", pixels)
    with pytest.raises(InputError, match=r"found 3 colours that differ; .*axes=YXC"):
        open_image(path)
    found = open_image(path, axes="YXC")
    np.testing.assert_array_equal(found.read(), pixels)
    with pytest.raises(InputError, match="axes YX or YXC"):
        open_image(path, axes="CYX")


def test_varying_transparency_is_an_error(tmp_path):
    with pytest.raises(InputError, match="transparency that varies"):
        open_image(save(tmp_path / "a.png", np.stack([GREY, GREY, GREY, GREY], -1)))


def test_damaged_and_foreign_files(tmp_path):
    path = save(tmp_path / "a.png", GREY)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match="truncated or damaged"):
        open_image(path).read()
    (tmp_path / "b.png").write_text("not a picture")
    with pytest.raises(InputError, match="expected a PNG picture"):
        open_image(tmp_path / "b.png")
