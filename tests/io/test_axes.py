"""Axis letters are checked, and moved by name."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import check_axes, rearrange, suggest_axes


def test_letters_are_upper_case_and_keep_their_order():
    assert check_axes("czyx", (2, 3, 4, 5)) == "CZYX"
    assert check_axes("yx") == "YX"


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        ("QYX", None, "unknown axis Q"),
        ("TZQSCYXABCDE", None, "unknown axis A, B, D, E, Q"),
        ("ZZYX", None, "each axis may appear once"),
        ("ZY", None, "has the axes Y and X"),
        ("", None, "has the axes Y and X"),
        ("ZYX", (4, 5), r"names 3 dimensions, the image has 2 \(4, 5\); say what they are with axes=YX"),
        ("YX", (3, 4, 5), "axes=TYX or axes=ZYX or axes=CYX"),
        (("Y", "X"), None, "expected letters such as axes=ZYX"),
    ],
)
def test_wrong_axes_are_told_in_one_line(axes, shape, message):
    with pytest.raises(InputError, match=message) as caught:
        check_axes(axes, shape)
    assert "\n" not in str(caught.value)


def test_suggestions_are_themselves_valid():
    for dimensions in range(2, 7):
        for word in suggest_axes(dimensions).split():
            if word.startswith("axes="):
                assert len(check_axes(word.removeprefix("axes="), (3,) * dimensions)) == dimensions
    assert "two to six" in suggest_axes(12)


def test_rearrange_moves_adds_and_drops_axes_by_name():
    array = np.arange(2 * 1 * 3 * 4).reshape(2, 1, 3, 4)
    moved = rearrange(array, "CTYX", "YXC")
    assert moved.shape == (3, 4, 2)
    assert moved[1, 2, 0] == array[0, 0, 1, 2]
    assert rearrange(array, "CTYX", "ZYXC").shape == (1, 3, 4, 2)
    np.testing.assert_array_equal(rearrange(rearrange(array, "CTYX", "YXTC"), "YXTC", "CTYX"), array)


def test_rearrange_never_loses_pixels():
    with pytest.raises(InputError, match="axis C has length 2, not 1"):
        rearrange(np.zeros((2, 3, 4)), "CYX", "YX")
