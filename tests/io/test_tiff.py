"""Every TIFF flavour gives the same pixels, whole and by window; damaged files give one line."""

import numpy as np
import pytest
import tifffile

from bioflax.errors import InputError
from bioflax.io import open_image
from bioflax.io.tiff_pixels import MappedPixels, PagedPixels

STACK = np.random.default_rng(0).integers(0, 60000, (6, 33, 40)).astype(np.uint16)


def write(path, pixels=STACK, **options):
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})
    return path


def write_pages(path, **options):
    with tifffile.TiffWriter(path) as writer:
        for page in STACK:
            writer.write(page, metadata=None, contiguous=False, photometric="minisblack", **options)
    return path


FLAVOURS = {
    "ome": (write, {"ome": True, "metadata": {"axes": "TYX"}}, MappedPixels),
    "bigtiff": (write, {"bigtiff": True, "metadata": {"axes": "TYX"}}, MappedPixels),
    "big endian": (write, {"byteorder": ">", "metadata": {"axes": "TYX"}}, MappedPixels),
    "imagej": (write, {"imagej": True, "photometric": None, "metadata": {"axes": "TYX"}}, MappedPixels),
    "ome deflate": (write, {"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"}, PagedPixels),
    "strips": (write, {"metadata": {"axes": "TYX"}, "compression": "zlib", "rowsperstrip": 5}, PagedPixels),
    "tiles": (
        write,
        {"metadata": {"axes": "TYX"}, "compression": "zlib", "predictor": True, "tile": (16, 16)},
        PagedPixels,
    ),
    "plain tiles": (write_pages, {"tile": (16, 32)}, PagedPixels),
    "plain pages": (write_pages, {"rowsperstrip": 7}, PagedPixels),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_reads_whole_and_by_window(tmp_path, flavour):
    make, options, reader = FLAVOURS[flavour]
    path = make(tmp_path / "a.tif", **options)
    image = open_image(path, axes="TYX" if make is write_pages else None)
    assert (image.axes, image.shape, image.dtype, image.kind) == ("TYX", STACK.shape, np.dtype("uint16"), "tiff")
    assert image.lazy
    assert isinstance(image.reader, reader)
    whole = image.read()
    np.testing.assert_array_equal(whole, STACK)
    assert whole.dtype.isnative
    for window in [(slice(1, 3), slice(0, 33), slice(39, 40)), (slice(2, 6), slice(14, 19), slice(10, 33))]:
        np.testing.assert_array_equal(image.read_window(window), STACK[window])
    np.testing.assert_array_equal(image.read_window((4, slice(None), -1)), STACK[4, :, -1])


def test_only_the_tiles_that_a_window_touches_are_decoded(tmp_path):
    image = open_image(write(tmp_path / "a.tif", STACK[0], compression="zlib", tile=(16, 16)))
    decoded = []
    plain = image.reader.decode
    object.__setattr__(image.reader, "decode", lambda data, number: decoded.append(number) or plain(data, number))
    np.testing.assert_array_equal(image.read_window((slice(17, 31), slice(16, 32))), STACK[0, 17:31, 16:32])
    assert decoded == [4]  # second row, second column of three by three tiles
    decoded.clear()
    image.read_window((slice(15, 17), slice(15, 17)))
    assert decoded == [0, 1, 3, 4]


def test_a_mapped_image_holds_no_file_open(tmp_path):
    path = write(tmp_path / "a.tif", STACK[0])
    image = open_image(path)
    window = image.read_window((slice(0, 3), slice(0, 3)))
    path.unlink()
    np.testing.assert_array_equal(window, STACK[0, :3, :3])
    with pytest.raises(InputError, match="cannot be read any more"):
        image.read()


def test_hyperstack_axes_of_imagej_and_ome(tmp_path):
    pixels = np.arange(2 * 3 * 2 * 8 * 9, dtype=np.uint16).reshape(2, 3, 2, 8, 9)
    for options in ({"imagej": True, "photometric": None}, {"ome": True}):
        image = open_image(write(tmp_path / "a.tif", pixels, metadata={"axes": "TZCYX"}, **options))
        assert image.axes == "TZCYX"
        np.testing.assert_array_equal(image.read(), pixels)


def test_colours_become_channels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (12, 10, 3)).astype(np.uint8)
    image = open_image(write(tmp_path / "rgb.tif", pixels, photometric="rgb", compression="zlib"))
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.read(), pixels)
    np.testing.assert_array_equal(image.read_window((slice(3, 5), slice(2, 9), 1)), pixels[3:5, 2:9, 1])
    planar = pixels.transpose(2, 0, 1)
    image = open_image(write(tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate"))
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.read(), planar)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_one_pixel_and_one_line(tmp_path, shape):
    image = open_image(write(tmp_path / "a.tif", np.full(shape, 7, np.uint8)))
    assert image.axes == "YX"
    assert image.read().tolist() == np.full(shape, 7).tolist()


@pytest.mark.parametrize("make", [write, write_pages])
def test_an_ambiguous_stack_is_an_error_that_shows_how_to_say_it(tmp_path, make):
    path = make(tmp_path / "a.tif")
    with pytest.raises(
        InputError, match=r"does not say what its 3 dimensions \(6, 33, 40\) are; .*axes=TYX or axes=ZYX"
    ):
        open_image(path)
    np.testing.assert_array_equal(open_image(path, axes="zyx").read(), STACK)
    with pytest.raises(InputError, match="axes=YX names 2 dimensions"):
        open_image(path, axes="YX")


def test_given_axes_override_the_metadata(tmp_path):
    path = write(tmp_path / "a.tif", ome=True, metadata={"axes": "TYX"})
    assert open_image(path, axes="ZYX").axes == "ZYX"


def test_positions_come_back_as_s(tmp_path):
    assert open_image(write(tmp_path / "a.tif", metadata={"axes": "SYX"})).axes == "SYX"
    assert open_image(write(tmp_path / "b.tif", ome=True, metadata={"axes": "RYX"})).axes == "SYX"


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("part", [0.95, 0.6, 0.3, 0.01])
def test_a_truncated_file_is_told_and_never_read_in_part(tmp_path, flavour, part):
    make, options, _ = FLAVOURS[flavour]
    path = make(tmp_path / "a.tif", **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=r"truncated|damaged") as caught:
        open_image(path, axes="TYX").read()
    assert "\n" not in str(caught.value)


def test_damaged_compressed_bytes_are_told(tmp_path):
    path = write(tmp_path / "a.tif", STACK[0], compression="zlib", rowsperstrip=16)
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[1]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = b"\x00" * 40
    path.write_bytes(content)
    image = open_image(path)  # the first strip is whole
    with pytest.raises(InputError, match="the pixels cannot be decoded"):
        image.read()


def test_other_content_with_the_name_of_a_tiff(tmp_path):
    path = tmp_path / "notes.tif"
    path.write_text("these are my notes, not an image")
    with pytest.raises(InputError, match=r"notes\.tif: expected a TIFF image, found another format"):
        open_image(path)


def test_nan_and_infinity_are_counted(tmp_path):
    pixels = np.zeros((4, 5), np.float32)
    pixels[0, :2], pixels[3, 3] = np.nan, -np.inf
    image = open_image(write(tmp_path / "a.tif", pixels))
    with pytest.raises(InputError, match="found 2 NaN and 1 infinite of 20"):
        image.read()
    assert image.read_window((slice(1, 3), slice(0, 5))).sum() == 0


def test_complex_pixels_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected integer or floating-point pixels, found complex64"):
        open_image(write(tmp_path / "a.tif", np.zeros((4, 5), np.complex64)))


def test_several_series_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK[0])
        writer.write(STACK[1, :5])
    with pytest.warns(UserWarning, match="holds 2 image series, only the first"):
        image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read(), STACK[0])


def test_one_file_of_an_ome_set_is_told_and_can_be_read_alone(tmp_path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint16" '
        'SizeX="40" SizeY="33" SizeZ="1" SizeT="2" SizeC="1">'
        '<TiffData IFD="0" FirstT="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstT="1" PlaneCount="1"><UUID FileName="gone.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    path = write(tmp_path / "a.tif", STACK[0], metadata=None, description=xml)
    with pytest.raises(InputError, match="belongs to an OME-TIFF set of several files"):
        open_image(path)
    np.testing.assert_array_equal(open_image(path, axes="YX").read(), STACK[0])


def test_windows_that_do_not_fit(tmp_path):
    image = open_image(write(tmp_path / "a.tif", STACK[0]))
    with pytest.raises(InputError, match="needs 2 slices"):
        image.read_window((slice(0, 1),))
    with pytest.raises(InputError, match="axis Y of length 33 has no window"):
        image.read_window((slice(40, 50), slice(0, 3)))
    with pytest.raises(InputError, match="has no window"):
        image.read_window((slice(0, 10, 2), slice(0, 3)))
    with pytest.raises(InputError, match="axis X has length 40, found index 40"):
        image.read_window((0, 40))
