"""Tiles: windows partition the image, keep the grid of the stride and their halo, and reflection equals NumPy's."""

import itertools

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.ops.tiles import fit_tile, plan_tiles, read_window, reflected, round_up, smallest_tile


def check_plan(shape, tile, halo, stride):
    plan = plan_tiles(shape, tile, halo, stride)
    covered = np.zeros(shape, int)
    shapes = set()
    for one in plan:
        covered[one.write] += 1
        shapes.add(tuple(span.stop - span.start for span in one.read))
        for axis, (read, crop, write) in enumerate(zip(one.read, one.crop, one.write)):
            padded = round_up(shape[axis], stride[axis])
            assert read.start % stride[axis] == 0 and read.start >= 0 and read.stop <= padded
            assert (read.start + crop.start, read.start + crop.stop) == (write.start, write.stop)
            assert write.stop > write.start
            # Exact where the tile ends with the image, or beyond the halo.
            assert read.start == 0 or crop.start >= halo[axis]
            assert read.stop == padded or read.stop - read.start - crop.stop >= halo[axis]
    assert (covered == 1).all()
    assert len(shapes) == 1
    return plan


def test_plans_partition_the_image_for_many_sizes():
    sizes, strides, halos = (1, 2, 3, 17, 40, 63, 64, 65), (1, 2, 4), (0, 3, 8)
    for size, stride, halo in itertools.product(sizes, strides, halos):
        for extra in (0, stride, 11):
            tile = smallest_tile((halo,), (stride,))[0] + extra
            check_plan((size,), (tile,), (halo,), (stride,))


def test_plan_in_two_and_three_dimensions():
    assert len(check_plan((50, 70), (40, 32), (8, 5), (4, 2))) == 2 * 3
    check_plan((9, 33, 20), (9, 20, 20), (2, 4, 4), (1, 2, 2))


def test_plan_is_in_row_major_order_and_one_tile_covers_a_small_image():
    starts = [(one.read[0].start, one.read[1].start) for one in plan_tiles((40, 40), (24, 24), (4, 4), (4, 4))]
    assert starts == sorted(starts)
    (only,) = plan_tiles((5, 1), (512, 512), (20, 20), (4, 4))
    assert only.read == (slice(0, 8), slice(0, 4))
    assert only.write == only.crop == (slice(0, 5), slice(0, 1))


def test_impossible_plans_say_what_is_needed():
    with pytest.raises(InputError, match=r"tile: expected at least 20 pixels along axis 1 .* found 16"):
        plan_tiles((10, 100), (16, 16), (0, 8), (4, 4))
    with pytest.raises(InputError, match="at least 1 pixel"):
        plan_tiles((0, 100), (16, 16), (0, 0), (4, 4))


@pytest.mark.parametrize("shape", [(300, 300), (64, 1000), (20, 200, 200), (7, 9)])
def test_fitted_tiles_stay_below_the_budget_and_cover(shape):
    halo, stride = (8,) * len(shape), (4,) * len(shape)
    floor = np.prod([min(round_up(n, 4), least) for n, least in zip(shape, smallest_tile(halo, stride))])
    for pixels in (1, 2000, 30_000, 1e9):
        tile = fit_tile(shape, halo, stride, pixels)
        assert np.prod(tile) <= max(pixels, floor)
        assert all(size % 4 == 0 for size in tile)
        check_plan(shape, tile, halo, stride)
    assert fit_tile(shape, halo, stride, 1e9) == tuple(round_up(size, 4) for size in shape)


def test_fitted_tiles_share_the_axis_evenly():
    # Two tiles over 100 pixels with 10 of halo on each inner side: 60 each, nothing computed twice but the halos.
    assert fit_tile((100, 10), (10, 10), (1, 1), 600) == (60, 10)
    assert len(plan_tiles((100, 10), (60, 10), (10, 10), (1, 1))) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_reflection_equals_numpy(size):
    line = np.arange(size)
    padded = np.pad(line, (0, 20), mode="reflect")
    for start, stop in ((0, size), (0, size + 20), (size - 1, size + 3), (2, 9)):
        np.testing.assert_array_equal(line[reflected(start, stop, size)], padded[start:stop])


def test_windows_of_the_padded_image_read_only_what_they_need():
    image = np.arange(5 * 7 * 2).reshape(5, 7, 2)
    padded = np.pad(image, ((0, 3), (0, 1), (0, 0)), mode="reflect")
    asked = []

    def read(window):
        asked.append(window)
        return image[window]

    for window in ((slice(0, 8), slice(0, 8)), (slice(4, 8), slice(4, 8)), (slice(0, 4), slice(0, 4))):
        np.testing.assert_array_equal(read_window(read, window, (5, 7)), padded[window])
    assert asked[1] == (slice(1, 5), slice(4, 7))
    assert asked[2] == (slice(0, 4), slice(0, 4))
