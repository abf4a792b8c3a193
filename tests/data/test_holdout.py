"""Held-out regions and files: disjoint, of the size asked for, the same every time."""

import numpy as np
import pytest

from bioflax.data import from_arrays, split
from bioflax.errors import InputError

RNG = np.random.default_rng(0)


def make_set(number=4, shape=(40, 50), axes="YX", **options):
    return from_arrays([RNG.random(shape) for _ in range(number)], axes, **options)


def test_regions_lie_in_the_four_corners_and_have_the_area():
    parts = split(make_set(), 0.25)
    boxes = [field.held_out for field in parts.train.items]
    assert boxes == [((20, 40), (25, 50)), ((0, 20), (25, 50)), ((20, 40), (0, 25)), ((0, 20), (0, 25))]
    for field, part, box in zip(parts.train.items, parts.validation.items, boxes, strict=True):
        (top, bottom), (left, right) = box
        np.testing.assert_array_equal(part.repeats[0].read(), field.repeats[0].read()[top:bottom, left:right])
        assert part.held_out is None


def test_a_region_holds_a_patch_and_volumes_keep_their_depth():
    parts = split(make_set(1), 0.01, patch=(16, 16))
    assert parts.validation.items[0].size == (16, 16)
    volumes = make_set(1, (5, 40, 50), "ZYX", spatial_dims=3)
    assert split(volumes, 0.25).validation.items[0].size == (5, 20, 25)


def test_fields_too_small_for_a_region_are_told():
    with pytest.raises(InputError, match=r"array0: \(40, 50\) is too small to hold out a region"):
        split(make_set(1), 0.1, patch=(32, 32))
    with pytest.raises(InputError, match="does not fit into"):
        split(make_set(1), 0.1, patch=(64, 64))


def test_many_files_hold_out_whole_files():
    image_set = make_set(20, (3, 8, 9), "TYX")
    parts = split(image_set, 0.2)
    held = {field.source for field in parts.validation.items}
    assert len(held) == 4
    assert not held & {field.source for field in parts.train.items}
    assert len(parts.train) + len(parts.validation) == 60
    again = split(image_set, 0.2)
    assert [field.name for field in again.validation.items] == [field.name for field in parts.validation.items]
    assert {field.source for field in split(image_set, 0.2, seed=1).validation.items} != held


def test_frames_of_one_file_are_not_independent():
    movie = make_set(1, (30, 20, 20), "TYX")
    assert all(field.held_out is not None for field in split(movie, 0.1).train.items)
    with pytest.raises(InputError, match="images needs two independent files"):
        split(movie, 0.1, "images")
    assert len(split(make_set(2), 0.9, "images").train) == 1


def test_nothing_held_out_and_wrong_options():
    image_set = make_set()
    assert split(image_set, 0).train is image_set
    assert split(image_set, 0).validation is None
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="validation fraction: expected 0 to"):
            split(image_set, fraction)
    with pytest.raises(InputError, match="validation kind: expected auto, region or images"):
        split(image_set, 0.1, "corner")


def test_frames_of_one_file_hold_out_the_same_corner():
    movie = from_arrays([np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)], "TYX")
    parts = split(movie, 0.1, patch=(16, 16))
    assert len(parts.train) == 3 and len({field.held_out for field in parts.train.items}) == 1
