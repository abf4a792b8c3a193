"""Warnings and remarks appear where they should, and only there."""

from __future__ import annotations

import pytest

from bioflax.preflight import advice

GROUP = {
    "name": "g", "captures": 4, "distinct": 4, "method": "repeats", "repeats_valid": True, "scene_change": 0.0,
    "temporal_correlation": 0.0, "brightness_range": 0.0, "pixels": 10**6, "hot_pixels": 0, "dead_pixels": 0,
    "bad_pixels_certain": True, "correlated_axes": "", "noise_correlation": {"Y": [0.0], "X": [0.0]},
    "blind_spot_leak": 0.0, "straightness": 0.99, "gain_adu_per_photon": 2.0,
}  # fmt: skip
REPORT = {
    "duplicates": [], "blank": [], "saturated_fraction": 0.0, "saturation_level": None, "floor_fraction": 0.0,
    "floor_level": None, "grey_levels": 4000, "pixel_nm": {"X": 65.0, "Y": 65.0}, "groups": [GROUP],
}  # fmt: skip


def test_a_sound_input_is_left_in_peace():
    assert advice.group_warnings(GROUP) == advice.input_warnings(REPORT) == advice.remarks(REPORT) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scene_change": 0.2}, "g: 20% of the scene changes between captures"),
        ({"temporal_correlation": 0.5}, "g: the noise of neighbouring captures is correlated (0.50)"),
        (
            {"hot_pixels": 40, "dead_pixels": 2},
            "g: 40 hot and 2 dead pixels stand alone in every capture of several scenes",
        ),
        (
            {"correlated_axes": "X", "noise_correlation": {"Y": [0.0] * 8, "X": [0.6, 0.3] + [0.0] * 6}},
            "g: the noise of neighbouring pixels is correlated (lag 1: X 0.60;",
        ),
    ],
)
def test_warnings_of_a_group(change, text):
    (found,) = advice.group_warnings({**GROUP, **change})
    assert found.startswith(text)
    assert "\n" not in found


def test_candidates_of_a_single_capture_are_no_warning():
    assert advice.group_warnings({**GROUP, "hot_pixels": 40, "bad_pixels_certain": False}) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"saturated_fraction": 0.004, "saturation_level": 255.0}, "0.40% of all pixels are at the top value 255"),
        ({"floor_fraction": 0.3, "floor_level": 0.0}, "30.0% of all pixels are at the lowest value 0"),
        ({"grey_levels": 17}, "Only 17 grey levels"),
        ({"pixel_nm": None}, "The files state no pixel size"),
        (
            {"groups": [{**GROUP, "brightness_range": 0.2}]},
            "Captures of one scene differ in brightness in 1 of 1 groups",
        ),
        ({"groups": [{**GROUP, "straightness": 0.2}]}, "g: the variance does not follow a straight line"),
        ({"groups": [{**GROUP, "gain_adu_per_photon": None, "straightness": None}]}, "Where no gain is given"),
    ],
)
def test_remarks(change, text):
    (found,) = advice.remarks({**REPORT, **change})
    assert found.startswith(text)


@pytest.mark.parametrize(
    ("change", "target", "scheme"),
    [
        ({}, True, "supervised"),
        ({}, False, "noise2noise"),
        ({"temporal_correlation": 0.5}, False, "noise2void"),
        ({"repeats_valid": False}, False, "noise2void"),
        ({"scene_change": 0.2}, False, "noise2void"),
        ({"correlated_axes": "X"}, False, "noise2noise"),
        ({"correlated_axes": "X", "repeats_valid": False}, False, "structured_noise2void"),
    ],
)
def test_scheme_of_a_group(change, target, scheme):
    group = {**GROUP, **change}
    advice.settle_scheme(group, target)
    assert group["recommended_scheme"] == scheme
    assert group["reasons"]


@pytest.mark.parametrize(("lag", "scheme"), [(0.41, "noise2void"), (0.56, "structured_noise2void")])
def test_a_single_image_may_only_suspect_correlation(lag, scheme):
    """Fine filaments reach 0.3 to 0.41 at lag 1 under white noise."""
    lags = {"Y": [0.0] * 8, "X": [lag] + [0.0] * 7}
    single = {"method": "single image", "captures": 1, "distinct": 1, "repeats_valid": False}
    group = {**GROUP, **single, "correlated_axes": "X", "noise_correlation": lags}
    advice.settle_scheme(group, False)
    assert group["recommended_scheme"] == scheme
    assert not any("independent" in reason for reason in group["reasons"])
    (found,) = advice.group_warnings(group)
    assert "may be correlated, or the scene has fine structure (lag 1: X" in found


def test_long_lists_are_cut():
    assert advice.shorten(["a", "b"]) == "a, b"
    assert advice.shorten(list("abcdefgh"), 3) == "a, b, c and 5 more"
