"""Cameras from numbers and files."""

import numpy as np
import pytest
import tifffile

from bioflax.data.instruments import emccd, read_value, scmos
from bioflax.errors import InputError


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    stack = np.stack([rng.normal(100, 2, (8, 9)), rng.uniform(1, 9, (8, 9)), rng.uniform(1.9, 2.1, (8, 9))])
    np.save(tmp_path / "stack.npy", stack)
    tifffile.imwrite(tmp_path / "offset.tif", stack[0].astype(np.float32))
    tifffile.imwrite(tmp_path / "stack.tif", stack.astype(np.float32), photometric="minisblack")
    return tmp_path, stack


def test_numbers_are_numbers() -> None:
    camera = scmos(offset_adu=10, gain_adu_per_e=4.0, variance_adu2=64.0)
    assert camera.read_noise_e == pytest.approx(2.0) and camera.offset_adu == 10.0
    assert emccd().em_gain == 300.0 and emccd().gain_adu_per_e == pytest.approx(1 / 45)


@pytest.mark.parametrize("name", ["stack.npy", "stack.tif"])
def test_maps_are_planes_of_a_stack(files, name) -> None:
    folder, stack = files
    offset, variance, gain = (f"{folder / name}:{plane}" for plane in range(3))
    camera = scmos(offset_adu=offset, variance_adu2=variance, gain_adu_per_e=gain)
    np.testing.assert_allclose(camera.offset_adu, stack[0], rtol=1e-5)
    np.testing.assert_allclose(camera.read_noise_e, np.sqrt(stack[1]) / stack[2], rtol=1e-5)


def test_a_single_map(files) -> None:
    np.testing.assert_allclose(read_value(str(files[0] / "offset.tif"), "x"), files[1][0], rtol=1e-5)


def test_what_cannot_be_a_camera_is_told(files) -> None:
    folder, stack = files
    np.save(folder / "small.npy", stack[0][:4])
    np.save(folder / "nan.npy", np.full((3, 3), np.nan))
    cases = [
        (lambda: emccd(em_gain=0.0), "em_gain"),
        (lambda: scmos(variance_adu2=-1.0), r"variance_adu2: expected at least 0 \(ADU\^2\)"),
        (lambda: scmos(quantum_efficiency=82), "quantum_efficiency"),
        (lambda: scmos(offset_adu=str(folder / "none.npy")), "camera.offset_adu: expected a map in a .tif or .npy"),
        (lambda: scmos(offset_adu=str(folder / "stack.npy")), "Pick a plane"),
        (lambda: scmos(offset_adu=f"{folder / 'stack.npy'}:7"), "Pick a plane"),
        (lambda: scmos(offset_adu=str(folder / "nan.npy")), "finite numbers"),
        (
            lambda: scmos(offset_adu=f"{folder / 'stack.npy'}:0", gain_adu_per_e=str(folder / "small.npy")),
            "maps of one shape",
        ),
    ]
    for build, message in cases:
        with pytest.raises(InputError, match=message):
            build()
