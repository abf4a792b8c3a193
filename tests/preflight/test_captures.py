"""Which frames are taken for repeats of one scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioflax.io import ImageFile, image_from_array
from bioflax.preflight.captures import Frame, Reader, dissolve, group_frames, split_frames


def file(name: str, axes: str = "YX", shape: tuple[int, ...] = (8, 9)) -> ImageFile:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return image_from_array(array, axes, name=f"/data/{name}")


def names(*files: ImageFile, repeats: str | None = "auto") -> dict[str, int]:
    return {group.name: len(group.frames) for group in group_frames(files, repeats)}


@pytest.mark.parametrize("mark", ["_", "-", " ", ".", ""])
def test_names_that_differ_in_their_last_number(mark):
    assert names(file(f"cell{mark}1.tif"), file(f"cell{mark}02.tif")) == {"cell": 2}


def test_names_that_differ_elsewhere_stay_apart():
    assert names(file("cell_1.tif"), file("cell_1b.tif"), file("12.tif")) == {
        "cell_1.tif": 1,
        "cell_1b.tif": 1,
        "12.tif": 1,
    }


def test_regular_expression_names_the_part_that_differs():
    files = [file(f"{field}_rep{k}_gfp.tif") for field in "ab" for k in range(3)]
    assert names(*files, repeats=r"_rep\d+") == {"a_gfp": 3, "b_gfp": 3}
    assert len(names(*files)) == 6


@pytest.mark.parametrize("repeats", [None, "none"])
def test_no_repeats_wanted(repeats):
    assert names(file("a_1.tif"), file("a_2.tif"), repeats=repeats) == {"a_1.tif": 1, "a_2.tif": 1}


def test_sizes_are_never_mixed():
    assert names(file("a_1.tif"), file("a_2.tif", shape=(8, 8))) == {"a_1.tif": 1, "a_2.tif": 1}


def test_frames_of_a_movie_are_repeats_and_two_movies_two_scenes():
    movies = [file(f"movie_{k}.tif", "TYX", (3, 8, 9)) for k in (1, 2)]
    assert names(*movies) == {"movie_1": 3, "movie_2": 3}


def test_axis_s_holds_fields_unless_named():
    stack = file("plate.tif", "SYX", (3, 8, 9))
    assert names(stack) == {f"plate.tif[S={s}]": 1 for s in range(3)}
    assert names(stack, repeats="S") == {"plate": 3}


def test_channels_are_never_mixed():
    assert names(file("x.tif", "TCYX", (4, 2, 8, 9))) == {"x[C=0]": 4, "x[C=1]": 4}


def test_ome_suffix_is_no_part_of_the_name():
    assert names(file("a_1.ome.tif"), file("a_2.ome.tif")) == {"a": 2}


def test_frames_carry_their_index():
    frames = list(split_frames(file("x.tif", "TCYX", (2, 2, 8, 9)), "x.tif"))
    assert [frame.name for frame in frames] == [f"x.tif[T={t},C={c}]" for t in (0, 1) for c in (0, 1)]


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX", "YXTZ", "TYZX"])
def test_frames_are_read_as_z_y_x(axes):
    lengths = {"T": 2, "Z": 3, "Y": 8, "X": 9}
    image = file("x.tif", axes, tuple(lengths[axis] for axis in axes))
    expected = np.moveaxis(image.read(), [axes.index(axis) for axis in "TZYX"], range(4))
    for frame in split_frames(image, "x.tif"):
        np.testing.assert_array_equal(Reader()(frame), expected[frame.fixed["T"]])


def test_a_file_that_cannot_be_windowed_is_read_once():
    reads = []
    array = np.arange(4 * 72.0).reshape(4, 8, 9)

    def whole(window):
        reads.append(window)
        return array[window]

    image = ImageFile(Path("z.tif"), "tiff", "TYX", array.shape, array.dtype, None, False, whole)
    reader = Reader()
    for t, frame in enumerate(split_frames(image, "z.tif")):
        np.testing.assert_array_equal(reader(frame)[0], array[t])
    assert len(reads) == 1


def test_dissolved_groups_keep_their_frames():
    (group,) = group_frames((file("a_1.tif"), file("a_2.tif")), "auto")
    parts = dissolve(group)
    assert [part.name for part in parts] == ["a_1.tif", "a_2.tif"]
    assert all(isinstance(part.frames[0], Frame) and len(part.frames) == 1 for part in parts)
