"""Pixel sizes: in nanometres whatever wrote them, and none where a tag speaks of a printer."""

import numpy as np
import pytest
import tifffile

from bioflax.io import open_image

PLANE = np.zeros((8, 9), np.uint16)


def pixel_nm(path, pixels=PLANE, **options):
    tifffile.imwrite(path, pixels, photometric="minisblack", **options)
    return open_image(path).pixel_nm


@pytest.mark.parametrize(
    ("unit", "value", "nm"),
    [("µm", 0.065, 65.0), ("nm", 65.0, 65.0), ("mm", 65e-6, 65.0), ("Å", 650.0, 65.0), ("cm", 65e-7, 65.0)],
)
def test_ome_units(tmp_path, unit, value, nm):
    metadata = {"axes": "ZYX"}
    for axis, factor in (("X", 1), ("Y", 1), ("Z", 4)):
        metadata |= {f"PhysicalSize{axis}": value * factor, f"PhysicalSize{axis}Unit": unit}
    found = pixel_nm(tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint16), ome=True, metadata=metadata)
    assert found == pytest.approx({"Y": nm, "X": nm, "Z": 4 * nm})


def test_ome_without_a_unit_means_micrometres(tmp_path):
    metadata = {"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2}
    assert pixel_nm(tmp_path / "a.tif", ome=True, metadata=metadata) == pytest.approx({"X": 100.0, "Y": 200.0})


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_in_pixels_is_no_size(tmp_path, unit):
    metadata = {"axes": "YX", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}
    metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    assert pixel_nm(tmp_path / "a.tif", ome=True, metadata=metadata) is None


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_spacing_and_resolution(tmp_path, unit):
    path = tmp_path / "a.tif"
    stack = np.zeros((3, 8, 9), np.uint16)
    metadata = {"axes": "ZYX", "spacing": 0.3, "unit": unit}
    tifffile.imwrite(path, stack, imagej=True, metadata=metadata, resolution=(10.0, 5.0))
    assert open_image(path).pixel_nm == pytest.approx({"X": 100.0, "Y": 200.0, "Z": 300.0})
    metadata["axes"] = "TYX"
    tifffile.imwrite(path, stack, imagej=True, metadata=metadata, resolution=(10.0, 5.0))
    assert "Z" not in open_image(path).pixel_nm


def test_plain_tags_count_only_where_they_can_be_a_microscope(tmp_path):
    path = tmp_path / "a.tif"
    good = pixel_nm(path, resolution=(1e5, 1e5), resolutionunit="CENTIMETER", metadata=None)
    assert good == pytest.approx({"X": 100.0, "Y": 100.0})
    inches = pixel_nm(path, resolution=(254000, 254000), resolutionunit="INCH", metadata=None)
    assert inches == pytest.approx({"X": 100.0, "Y": 100.0})
    for dots in (72, 300, 1200):
        assert pixel_nm(path, resolution=(dots, dots), resolutionunit="INCH", metadata=None) is None
    assert pixel_nm(path, resolution=(1, 1), resolutionunit="CENTIMETER", metadata=None) is None
    assert pixel_nm(path, resolution=(5, 5), resolutionunit="NONE", metadata=None) is None
    assert pixel_nm(path, metadata=None) is None
