"""Rounding is half to even, clipping never wraps around."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.io import FILE_DTYPES, to_dtype


def test_floats_are_rounded_half_to_even_and_clipped():
    found = to_dtype(np.float32([-3.0, 0.5, 1.5, 2.49, 254.6, 300.0]), "uint8")
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 0, 2, 2, 255, 255]


@pytest.mark.parametrize("dtype", [name for name in FILE_DTYPES if "int" in name])
def test_the_ends_of_every_integer_range_are_reached_and_kept(dtype):
    limits = np.iinfo(dtype)
    for source in (np.float32, np.float64):
        assert to_dtype(np.array([-1e12, 1e12], source), dtype).tolist() == [limits.min, limits.max]
    wide = np.array([np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max])
    assert to_dtype(wide, dtype).tolist() == [limits.min, 0, limits.max]
    assert to_dtype(np.array([2**64 - 1, 7], np.uint64), dtype).tolist() == [limits.max, 7]


def test_uint16_survives_float32():
    counts = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_dtype(counts.astype(np.float32), "uint16"), counts)


def test_same_dtype_is_the_same_array_and_floats_are_cast():
    array = np.float32([1.25])
    assert to_dtype(array, np.float32) is array
    assert to_dtype(array, "float64").tolist() == [1.25]
    assert to_dtype(np.array([True, False]), "uint8").tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["complex64", "int64", "float16", "object", "nonsense"])
def test_types_that_no_file_can_hold_are_refused(dtype):
    with pytest.raises(InputError, match="dtype: expected one of uint8"):
        to_dtype(np.zeros(2), dtype)


def test_pixels_that_cannot_be_converted_are_refused():
    with pytest.raises(InputError, match="cannot write NaN or infinity as uint16"):
        to_dtype(np.array([1.0, np.nan]), "uint16")
    with pytest.raises(InputError, match="expected real pixels"):
        to_dtype(np.array([1j]), "uint16")
