"""Duplicates, blanks, saturation and bad pixels that were put there."""

from __future__ import annotations

import numpy as np
import pytest

from bioflax.preflight import defects, noise


def gathered(*images: np.ndarray) -> defects.FrameStatistics:
    statistics = defects.FrameStatistics()
    for at, image in enumerate(images):
        statistics.add(f"frame{at}", image)
    return statistics


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).normal(1000, 100, (64, 64)).astype(np.uint16)


def test_duplicates_need_equal_pixels_shape_and_dtype(frame):
    other = frame.copy()
    other[5, 5] += 1
    statistics = gathered(frame, other, frame.copy(), frame.reshape(32, 128), frame.astype(np.int32))
    assert statistics.duplicates == [["frame0", "frame2"]]


def test_duplicates_do_not_depend_on_memory_layout(frame):
    assert gathered(frame, np.asfortranarray(frame)).duplicates == [["frame0", "frame1"]]


def test_blank_frames_are_no_duplicates(frame):
    statistics = gathered(np.zeros((8, 8), np.uint16), frame, np.zeros((8, 8), np.uint16))
    assert statistics.blank == ["frame0", "frame2"]
    assert statistics.duplicates == []


def test_saturation_at_the_limit_of_the_dtype(frame):
    frame[:2, :10] = 65535
    assert gathered(frame).saturation(frame.dtype) == (65535.0, 20 / frame.size)


def test_a_pile_up_below_the_limit_is_saturation(frame):
    """A 12-bit camera in a 16-bit file."""
    bright = np.minimum(frame.astype(int) * 4, 4095).astype(np.uint16)
    level, share = gathered(bright).saturation(bright.dtype)
    assert level == 4095
    assert share == pytest.approx((bright == 4095).mean())


def test_floats_that_were_clipped():
    image = np.clip(np.random.default_rng(1).normal(0.8, 0.1, (64, 64)), 0, 1).astype(np.float32)
    level, share = gathered(image).saturation(image.dtype)
    assert (level, share) == (1.0, pytest.approx((image == 1).mean()))
    assert gathered(image).floor() == (None, 0.0)


def test_no_saturation_without_a_pile(frame):
    assert gathered(frame, frame // 2).saturation(frame.dtype) == (None, 0.0)


def test_few_photons_do_not_pile_up():
    """The brightest value of a photon count is rare, not cut off."""
    image = np.random.default_rng(2).poisson(0.7, (128, 128)).astype(np.uint8)
    assert gathered(image).saturation(image.dtype) == (None, 0.0)


def test_stretch_frame_by_frame_is_found_in_every_frame(frame):
    cut = [np.minimum(frame, top).astype(np.uint16) for top in (1050, 1060, 1070)]
    level, share = gathered(*cut).saturation(frame.dtype)
    assert level == 1070
    assert share == pytest.approx(np.mean([(image == image.max()).mean() for image in cut]))


def test_floor_where_an_offset_was_cut_off(frame):
    below = np.maximum(frame.astype(int) - 980, 0).astype(np.uint16)
    assert gathered(below).floor() == (0.0, pytest.approx((below == 0).mean()))


def test_grey_levels_are_counted():
    image = (np.arange(4096).reshape(64, 64) % 7 * 30).astype(np.uint8)
    assert len(gathered(image).levels) == 7


def test_hot_and_dead_pixels_in_repeats():
    generator = np.random.default_rng(3)
    captures = generator.normal(500, 10, (4, 1, 96, 96))
    captures[:, 0, 10, 20] += 300
    captures[:, 0, 50, 60] -= 400
    captures[1, 0, 70, 70] += 300  # once only: no property of the camera
    found = defects.find_bad_pixels(captures, noise.from_repeats(captures))
    np.testing.assert_array_equal(found.hot, [[0, 10, 20]])
    np.testing.assert_array_equal(found.dead, [[0, 50, 60]])


def spots(*positions: tuple[int, int, int]) -> defects.BadPixels:
    return defects.BadPixels(np.array(positions, int).reshape(-1, 3), np.empty((0, 3), int))


def test_points_of_the_scene_are_not_blamed_on_the_camera():
    camera = (0, 10, 20)
    scenes = [spots(camera, (0, 5, k)) for k in range(4)]
    for found in defects.confirm(scenes, list("abcd")):
        assert found.certain
        np.testing.assert_array_equal(found.hot, [camera])
    assert all(len(found.hot) == 0 for found in defects.confirm([spots((0, 1, 1)), spots((0, 2, 2))], list("ab")))


def test_one_field_confirms_nothing():
    for found in defects.confirm([spots((0, 1, 1)), spots((0, 1, 1))], ["movie.tif"] * 2):
        assert not found.certain
        assert len(found.hot) == 1


def test_scenes_of_other_shapes_are_no_witnesses():
    records = [{"name": "a", "shape": [1, 8, 8]}, {"name": "b", "shape": [1, 9, 9]}, {"name": "c", "shape": [1, 9, 9]}]
    defects.settle(records, [spots((0, 1, 1)), spots((0, 1, 1)), None])
    assert [record["hot_pixels"] for record in records] == [1, 0, 0]
    assert [record["bad_pixels_certain"] for record in records] == [False, True, True]


def test_a_point_source_is_not_hot():
    generator = np.random.default_rng(4)
    y, x = np.mgrid[:64, :64]
    spot = 2000 * np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 2)
    captures = 500 + spot + generator.normal(0, 10, (4, 1, 64, 64))
    assert len(defects.find_bad_pixels(captures, noise.from_repeats(captures)).hot) == 0


def test_photon_spikes_are_not_hot():
    captures = 20.0 * np.random.default_rng(5).poisson(0.3, (1, 1, 128, 128))
    found = defects.find_bad_pixels(captures, noise.from_single(captures[0]))
    assert not found.certain
    assert len(found.hot) == len(found.dead) == 0


def test_neighbours_leave_the_pixel_out():
    image = np.arange(25.0).reshape(1, 5, 5)
    around = defects.neighbours(image)
    assert around.shape == (8, 1, 5, 5)
    assert sorted(around[:, 0, 2, 2]) == [6, 7, 8, 11, 13, 16, 17, 18]
