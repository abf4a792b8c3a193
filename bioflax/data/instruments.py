"""Cameras and spots as a user writes them down: numbers, or files with one value a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import open_image, read_localizations
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import FieldPupil, Measured, Pupil, from_beads

Value = float | str | None


def scmos(
    offset_adu: Value = 100.0,
    gain_adu_per_e: Value = 2.0,
    read_noise_e: Value = 1.6,
    quantum_efficiency: Value = 0.82,
    variance_adu2: Value = None,
    bits: int | None = 16,
) -> SCMOS:
    """An sCMOS camera.

    Args:
        offset_adu, gain_adu_per_e, read_noise_e, quantum_efficiency: a number, or a file with a map: `.tif` or `.npy`, with
            `:K` after the name for plane K of a stack, such as `calibration.npy:2`.
        variance_adu2: variance of the dark counts, in place of the read noise: read noise = sqrt(variance) / gain.
        bits: of the counts; null neither rounds nor clips.

    Raises:
        InputError: a file that cannot be read, maps of different shapes, an impossible value.
    """
    names = {
        "offset_adu": offset_adu,
        "gain_adu_per_e": gain_adu_per_e,
        "read_noise_e": read_noise_e,
        "quantum_efficiency": quantum_efficiency,
    }
    values = {name: read_value(value, f"camera.{name}") for name, value in names.items()}
    if variance_adu2 is not None:
        variance = read_value(variance_adu2, "camera.variance_adu2")
        if isinstance(variance, bool) or not isinstance(variance, (int, float, np.ndarray)) or np.min(variance) < 0:
            found = variance if np.ndim(variance) == 0 else np.min(variance)
            raise InputError(f"camera.variance_adu2: expected at least 0 (ADU^2), found {found!s}.")
        check_shapes({**values, "variance_adu2": variance})
        # The gain is judged before it divides.
        gain = SCMOS(gain_adu_per_e=values["gain_adu_per_e"]).gain_adu_per_e
        values["read_noise_e"] = np.sqrt(variance) / gain
        if np.ndim(values["read_noise_e"]) == 0:
            values["read_noise_e"] = float(values["read_noise_e"])
    check_shapes(values)
    return SCMOS(**values, bits=bits)


def emccd(
    offset_adu: Value = 100.0,
    gain_adu_per_e: Value = 1.0 / 45.0,
    read_noise_e: Value = 74.4,
    em_gain: Value = 300.0,
    quantum_efficiency: Value = 0.9,
    spurious_e: Value = 0.002,
    bits: int | None = 16,
) -> EMCCD:
    """An EMCCD camera; the defaults are those of the 2016 single-molecule challenge. Arguments as `scmos`."""
    names = {
        "offset_adu": offset_adu,
        "gain_adu_per_e": gain_adu_per_e,
        "read_noise_e": read_noise_e,
        "em_gain": em_gain,
        "quantum_efficiency": quantum_efficiency,
        "spurious_e": spurious_e,
    }
    values = {name: read_value(value, f"camera.{name}") for name, value in names.items()}
    check_shapes(values)
    return EMCCD(**values, bits=bits)


def read_value(value: Any, field: str) -> Any:
    """A number as it is; a text as the map in that file, (H, W) float32.

    Raises:
        InputError: no such file, several planes without a choice, values that are not finite.
    """
    if not isinstance(value, str):
        return value
    name, _, plane = value.rpartition(":")
    path, number = (Path(name), int(plane)) if name and plane.isdigit() else (Path(value), None)
    if not path.suffix:
        raise InputError(f"{field}: expected a number, or a .tif or .npy file with a map, found {value!r}.")
    array = _read_array(path, field, None if number is None else "ZYX")
    if array.ndim == 3 and number is not None and number < len(array):
        array = array[number]
    if array.ndim != 2 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InputError(
            f"{field}: expected a map (H, W) of finite numbers, found shape {array.shape} in {path}. "
            "Pick a plane of a stack with :K after the name."
        )
    return array.astype(np.float32)


def check_shapes(values: dict[str, Any]) -> None:
    """Raises where maps of one camera have different shapes."""
    shapes = {name: np.shape(value) for name, value in values.items() if np.ndim(value)}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"camera: expected maps of one shape, found {listed}. Crop or transpose them.")


def measured_psf(
    beads: str,
    pixel_nm: float,
    z_step_nm: float,
    bead_positions: str | None = None,
    z_first_nm: float | None = None,
    window_px: int = 25,
    normalise: str = "plane",
    offset_adu: float = 100.0,
) -> Measured:
    """A spot measured on a z-stack of beads.

    Args:
        beads: TIFF of axes ZYX, counts.
        pixel_nm, z_step_nm, z_first_nm, window_px, normalise: as `optics.psf.from_beads`.
        bead_positions: a localization table; the places of its first frame are the beads, z comes from the stack.
        offset_adu: counts without light. The gain does not matter: the spot sums to 1.

    Raises:
        InputError: a file that cannot be read, or beads that make no spot.
    """
    image = open_image(beads)
    if "Z" not in image.axes and image.axes.endswith("YX") and len(image.shape) == 3:
        image = open_image(beads, axes="ZYX")
    stack = image.read().astype(np.float32) - offset_adu
    positions = None
    if bead_positions is not None:
        table = read_localizations(bead_positions, pixel_nm=pixel_nm)
        positions = np.column_stack([table["x_nm"], table["y_nm"]])[table["frame"] == table["frame"].min()]
    fitted = from_beads(
        np.squeeze(stack),
        pixel_nm=pixel_nm,
        z_step_nm=z_step_nm,
        z_first_nm=z_first_nm,
        positions_nm=positions,
        window_px=window_px,
        normalise=normalise,
    )
    return fitted.psf


def field_pupil(zernike_maps: str, field_nm: float, pixel_nm: float, **pupil: Any) -> FieldPupil:
    """A pupil whose aberrations change across the field.

    Args:
        zernike_maps: `.npy` or TIFF (terms, H', W'), nm rms from Noll 5 on, rows along y.
        field_nm: side of the square field that the maps cover.
        pixel_nm: pixel side in the sample.
        pupil: as `optics.psf.Pupil`, without `zernikes_nm`.

    Raises:
        InputError: a file that cannot be read, or holds no stack of maps.
    """
    path = Path(zernike_maps)
    maps = _read_array(path, "psf.zernike_maps", "ZYX")
    if maps.ndim != 3 or maps.dtype.kind not in "iuf" or not np.isfinite(maps).all():
        raise InputError(
            f"psf.zernike_maps: expected (terms, H, W) of finite numbers in nm, found shape {maps.shape} in {path}."
        )
    return FieldPupil(maps.astype(np.float32), field_nm, Pupil(pixel_nm=pixel_nm, **pupil))


def _read_array(path: Path, field: str, axes: str | None) -> np.ndarray:
    """The one array in a `.npy` or TIFF file."""
    if path.suffix != ".npy":
        try:
            return open_image(path, axes=axes).read()
        except InputError as cause:
            raise InputError(f"{field}: {cause}") from cause
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as cause:
        raise InputError(f"{field}: expected a map in a .tif or .npy file, found {str(path)!r} ({cause}).") from cause
    if not isinstance(array, np.ndarray):
        raise InputError(f"{field}: expected one array, found an archive of several in {path}.")
    return array
