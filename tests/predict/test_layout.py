"""Axes of pictures and nets: what is batch, what is space, what is channel, there and back."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.predict.layout import Layout

SIZES = {"T": 2, "S": 3, "Z": 4, "C": 5, "Y": 6, "X": 7}


def picture(axes):
    shape = tuple(SIZES[letter] for letter in axes)
    return np.arange(np.prod(shape)).reshape(shape)


def everything(layout):
    return tuple(slice(0, size) for size in layout.net_shape[:-1])


@pytest.mark.parametrize(
    ("axes", "dims", "channels", "net_axes"),
    [
        ("YX", 2, 1, "YX"),
        ("TYX", 2, 1, "TYX"),
        ("ZYX", 2, 1, "ZYX"),
        ("ZYX", 3, 1, "ZYX"),
        ("TSZYX", 3, 1, "TSZYX"),
        ("YXT", 2, 1, "TYX"),
        ("CYX", 2, 5, "YXC"),
        ("YXC", 2, 5, "YXC"),
        ("TZCYX", 3, 5, "TZYXC"),
        ("TZCYX", 2, 1, "TZCYX"),
        ("CYX", 2, 1, "CYX"),
    ],
)
def test_reading_and_writing_are_transpositions(axes, dims, channels, net_axes):
    image = picture(axes)
    layout = Layout(axes, image.shape, dims, channels, channels)
    expected = image.transpose([axes.index(letter) for letter in net_axes])
    expected = expected.reshape(layout.net_shape)
    found = layout.read(image.__getitem__, everything(layout))
    np.testing.assert_array_equal(found, expected)
    back = np.zeros(layout.shape_out, image.dtype)
    layout.write(back.__setitem__, everything(layout), found)
    np.testing.assert_array_equal(back, image)
    assert layout.axes_out == axes


def test_windows_touch_only_their_part():
    image = picture("TCYX")
    layout = Layout("TCYX", image.shape, 2, 1, 1)
    window = (slice(4, 6), slice(1, 3), slice(2, 7))
    found = layout.read(image.__getitem__, window)
    np.testing.assert_array_equal(found[0, ..., 0], image[0, 4, 1:3, 2:7])
    np.testing.assert_array_equal(found[1, ..., 0], image[1, 0, 1:3, 2:7])
    back = np.zeros_like(image)
    layout.write(back.__setitem__, window, found)
    assert back[0, 4, 1:3, 2:7].all() and np.count_nonzero(back) == 2 * 2 * 5


@pytest.mark.parametrize(
    ("axes", "channels_in", "channels_out", "axes_out", "shape_out"),
    [
        ("YX", 1, 2, "CYX", (2, 6, 7)),
        ("TYX", 1, 2, "TCYX", (2, 2, 6, 7)),
        ("CYX", 5, 1, "YX", (6, 7)),
        ("TCYX", 5, 1, "TYX", (2, 6, 7)),
        ("YXC", 5, 3, "YXC", (6, 7, 3)),
    ],
)
def test_other_channel_counts_out(axes, channels_in, channels_out, axes_out, shape_out):
    layout = Layout(axes, picture(axes).shape, 2, channels_in, channels_out)
    assert (layout.axes_out, layout.shape_out) == (axes_out, shape_out)
    values = np.arange(layout.net_shape[0] * 6 * 7 * channels_out).reshape(-1, 6, 7, channels_out)
    back = np.full(shape_out, -1)
    layout.write(back.__setitem__, everything(layout), values)
    back = back[..., None] if "C" not in axes_out else np.moveaxis(back, axes_out.index("C"), -1)
    in_order = back.reshape(values.shape)
    np.testing.assert_array_equal(in_order, values)


@pytest.mark.parametrize(
    ("axes", "shape", "dims", "channels", "message"),
    [
        ("YQ", (4, 4), 2, 1, "letters from TSZCYX, found 'YQ'"),
        ("YY", (4, 4), 2, 1, "different letters"),
        ("ZYX", (4, 4), 2, 1, "expected 2 letters for shape"),
        ("TYX", (4, 4, 4), 3, 1, "expected ZYX for a 3-D model, found 'TYX'. Take a 2-D model"),
        ("TX", (4, 4), 2, 1, "expected YX for a 2-D model"),
        ("YX", (4, 0), 2, 1, "at least 1 pixel along each axis, found Y=4 X=0"),
        ("CYX", (2, 4, 4), 2, 3, "a C axis of 3 channels, as the model takes, found C=2 Y=4 X=4"),
        ("YX", (4, 4), 2, 3, "a C axis of 3 channels"),
    ],
)
def test_what_does_not_fit_is_told(axes, shape, dims, channels, message):
    with pytest.raises(InputError, match=message):
        Layout(axes, shape, dims, channels, channels)


def test_many_channels_out_of_each_of_many_is_refused():
    with pytest.raises(InputError, match="expected one channel"):
        Layout("CYX", (2, 4, 4), 2, 1, 2)
