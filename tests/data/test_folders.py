"""Folders and arrays become fields with repeats and targets; what does not fit is told."""

import os
from pathlib import Path

import numpy as np
import pytest

from bioflax.data import from_arrays, open_folder, pair_files
from bioflax.errors import InputError
from bioflax.io import save_image

RNG = np.random.default_rng(0)


def picture(*shape):
    return RNG.integers(0, 60000, shape or (12, 10)).astype(np.uint16)


def fill(folder, names, shape=(12, 10), axes="YX"):
    pixels = {name: picture(*shape) for name in names}
    for name, image in pixels.items():
        save_image(folder / f"{name}.tif", image, axes, {"Y": 65.0, "X": 65.0})
    return pixels


def test_repeats_are_grouped_by_the_expression_and_matched_to_targets(tmp_path):
    pixels = fill(tmp_path / "raw", ["b_1", "b_2", "a_10", "a_2"])
    clean = fill(tmp_path / "gt", ["a", "b", "unused"])
    found = open_folder(tmp_path / "raw", tmp_path / "gt", repeats=r"_(\d+)$")
    assert [(field.name, field.size, len(field.repeats)) for field in found.items] == [
        ("a", (12, 10), 2),
        ("b", (12, 10), 2),
    ]
    np.testing.assert_array_equal(found.items[0].repeats[0].read()[..., 0], pixels["a_2"])
    np.testing.assert_array_equal(found.items[0].repeats[1].read()[..., 0], pixels["a_10"])
    np.testing.assert_array_equal(found.items[1].target.read()[..., 0], clean["b"])
    assert found.has_targets and found.has_repeats
    assert found.pixel_nm == pytest.approx({"Y": 65.0, "X": 65.0})
    assert found.items[0].repeats[0].read().dtype == np.float32
    assert len(list(found.captures())) == 4


def test_a_duplicated_capture_is_dropped_with_a_warning_and_stays_in_the_files(tmp_path):
    pixels = fill(tmp_path, ["a_1", "a_3", "b_1", "b_2"], (200, 150))
    save_image(tmp_path / "a_2.tif", pixels["a_1"], "YX")
    almost = pixels["b_1"].copy()
    almost[0, 0] += 1  # equal in the middle, different at the edge
    save_image(tmp_path / "b_3.tif", almost, "YX")
    with pytest.warns(UserWarning, match=r"equal bit for bit .* left out: a_2\.tif = a_1\.tif$"):
        found = open_folder(tmp_path, repeats=r"_(\d+)$")
    assert [len(field.repeats) for field in found.items] == [2, 3]
    assert found.duplicates == (("a_1.tif", "a_2.tif"),)
    assert len(found.files) == 6


def test_axes_are_cut_into_fields_and_channels_come_last(tmp_path):
    pixels = picture(2, 3, 2, 8, 9)
    save_image(tmp_path / "a.tif", pixels, "TZCYX")
    plane = open_folder(tmp_path)
    assert [field.name for field in plane.items] == [f"a[t={t},z={z}]" for t in range(2) for z in range(3)]
    assert {field.source for field in plane.items} == {"a"}
    assert plane.channels == 2
    np.testing.assert_array_equal(plane.items[4].repeats[0].read(), pixels[1, 1].transpose(1, 2, 0))
    volume = open_folder(tmp_path, spatial_dims=3)
    assert [field.size for field in volume.items] == [(3, 8, 9)] * 2
    np.testing.assert_array_equal(volume.items[1].repeats[0].read(), pixels[1].transpose(0, 2, 3, 1))
    part = volume.items[1].crop(((1, 3), (2, 8), (0, 9))).repeats[0]
    np.testing.assert_array_equal(
        part.read_window((1, 2, 3), (1, 3, 4)), pixels[1].transpose(0, 2, 3, 1)[2:3, 4:7, 3:7]
    )


def test_an_axis_may_hold_the_repeats(tmp_path):
    pixels, clean = picture(5, 8, 9), picture(8, 9)
    found = from_arrays([pixels], "TYX", [clean], repeat_axis="T")
    assert len(found) == 1
    assert [capture.fixed for capture in found.items[0].repeats] == [(("T", t),) for t in range(5)]
    np.testing.assert_array_equal(found.items[0].repeats[3].read()[..., 0], pixels[3])
    np.testing.assert_array_equal(found.items[0].target.read()[..., 0], clean)
    pixels[4] = pixels[1]
    with pytest.warns(UserWarning, match=r"array0\[t=4\] = array0\[t=1\]"):
        assert len(from_arrays([pixels], "TYX", repeat_axis="T").items[0].repeats) == 4
    save_image(tmp_path / "a.tif", picture(5, 8, 9), "TYX")
    with pytest.raises(InputError, match=r"repeat_axis: expected one of the other axes of .*\(TYX\), found Z"):
        open_folder(tmp_path, repeat_axis="Z")


def test_one_input_and_one_target_belong_together(tmp_path):
    fill(tmp_path, ["low_snr", "high_snr"])
    found = open_folder(tmp_path / "low_snr.tif", tmp_path / "high_snr.tif")
    assert found.items[0].target.file.path.name == "high_snr.tif"


@pytest.mark.parametrize(
    ("names", "targets", "options", "message"),
    [
        (["a", "b"], ["a", "c"], {}, "targets: no file for b; .* there are a, c"),
        (["a_1", "b"], None, {"repeats": r"_(\d+)$"}, "matches no part of the name 'b'"),
        (["a"], None, {"repeats": "_(["}, "repeats: expected a regular expression"),
        (["a"], None, {"spatial_dims": 3}, "3-D needs the axes ZYX, found YX"),
        (["a"], None, {"spatial_dims": 4}, "spatial_dims: expected 2 or 3"),
        (["a"], None, {"axes": "ZYX"}, "axes=ZYX names 3 dimensions"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, names, targets, options, message):
    fill(tmp_path / "raw", names)
    if targets is not None:
        fill(tmp_path / "gt", targets)
    with pytest.raises(InputError, match=message) as caught:
        open_folder(tmp_path / "raw", None if targets is None else tmp_path / "gt", **options)
    assert "\n" not in str(caught.value)


def test_sizes_must_agree_where_they_belong_together(tmp_path):
    fill(tmp_path / "raw", ["a_1"])
    fill(tmp_path / "raw", ["a_2"], (12, 11))
    with pytest.raises(InputError, match=r"captures of one field must have one size, found YX \(12, 11\) beside"):
        open_folder(tmp_path / "raw", repeats=r"_(\d+)$")
    fill(tmp_path / "gt", ["a_1", "a_2"], (24, 20))
    with pytest.raises(InputError, match=r"the target must have the size of its input .* found YX \(24, 20\)"):
        open_folder(tmp_path / "raw", tmp_path / "gt")
    with pytest.raises(InputError, match="same number of channels, found 2 beside 1"):
        fill(tmp_path / "raw", ["b"], (2, 12, 10), "CYX")
        open_folder(tmp_path / "raw")
    (tmp_path / "raw" / "b.png").write_bytes(b"x")
    with pytest.raises(InputError, match="two files have the name 'b'"):
        open_folder(tmp_path / "raw")
    with pytest.raises(InputError, match="targets: expected one for each of the 1 images"):
        from_arrays([picture()], "YX", [])


def test_pair_files_for_evaluation(tmp_path):
    fill(tmp_path / "raw", ["a_1", "a_2", "b_1"])
    fill(tmp_path / "gt", ["a", "b"])
    pairs = [(one.stem, other.stem) for one, other in pair_files(tmp_path / "raw", tmp_path / "gt")]
    assert pairs == [("a_1", "a"), ("a_2", "a"), ("b_1", "b")]
    same = [(one.stem, other.stem) for one, other in pair_files(tmp_path / "raw", tmp_path / "raw")]
    assert same == [("a_1", "a_1"), ("a_2", "a_2"), ("b_1", "b_1")]
    assert [other.stem for _, other in pair_files(tmp_path / "raw/b_1.tif", tmp_path / "gt/a.tif")] == ["a"]
    with pytest.raises(InputError, match="targets: no file for b_1"):
        pair_files(tmp_path / "raw", str(tmp_path / "gt" / "a*"), repeats=r"_\d$")


@pytest.mark.acceptance
def test_the_fluorescence_microscopy_set():
    shared = os.environ.get("BIOFLAX_SHARED")
    if not shared:
        pytest.skip("BIOFLAX_SHARED is not set")
    folder = Path(shared) / "data" / "denoising" / "fmd"
    with pytest.warns(UserWarning, match=r"WideField_BPAE_B_2\.png = WideField_BPAE_B_1\.png$"):
        found = open_folder(folder / "raw", folder / "gt", repeats=r"_(\d+)$")
    assert (len(found), len(found.files), found.has_targets) == (12, 48, True)
    assert sorted(len(field.repeats) for field in found.items) == [3] + [4] * 11
    assert len(pair_files(folder / "raw", folder / "gt")) == 48
