"""What a TIFF says of itself: axes and pixel size from OME-XML, ImageJ, tifffile's shape or the resolution tags."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import tifffile

from bioflax.errors import InputError
from bioflax.io.axes import AXES, check_axes, suggest_axes

_NM = {
    "pm": 1e-3, "a": 0.1, "å": 0.1, "angstrom": 0.1, "nm": 1.0, "nanometer": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "micron": 1e3, "microns": 1e3, "micrometer": 1e3, "mm": 1e6, "millimeter": 1e6, "cm": 1e7, "m": 1e9, "inch": 2.54e7,
}  # fmt: skip
# A pixel that a microscope program wrote down, and a pixel that a bare resolution tag suggests. Tags often hold the
# resolution of a printer or a screen (72 to 1200 dots an inch, that is 353 to 21 um), which is no pixel size.
_PLAUSIBLE_NM = (0.01, 1e6)
_PLAUSIBLE_TAG_NM = (1.0, 2e4)


def read_axes(series: tifffile.TiffPageSeries, samples: int, axes: str | None, path: Path) -> str:
    """The axes of a series, from the metadata or from the user, never guessed.

    Args:
        series: the image series.
        samples: samples per pixel of its pages (3 for RGB).
        axes: what the user says; overrides the metadata.
        path: for messages.

    Returns:
        Letters of `TSZCYX`, one per dimension of the series.

    Raises:
        InputError: the metadata do not say what a dimension is, or the user's axes do not fit.
    """
    shape = tuple(series.shape)
    if axes is not None:
        return check_axes(axes, shape, str(path))
    letters = series.axes.upper()
    # TIFF calls the colours of a pixel samples (S); positions are S in ours, R (tile) in OME's and Micro-Manager's.
    if samples > 1 and "S" in letters and "C" not in letters:
        letters = letters.replace("S", "C")
    elif "R" in letters and "S" not in letters:
        letters = letters.replace("R", "S")
    if len(letters) != len(shape) or set(letters) - set(AXES) or len(set(letters)) != len(letters):
        raise InputError(
            f"{path}: the file does not say what its {len(shape)} dimensions {shape} are; {suggest_axes(len(shape))}"
        )
    return check_axes(letters, shape, str(path))


def read_pixel_nm(tif: tifffile.TiffFile, axes: str) -> dict[str, float] | None:
    """The pixel size.

    Args:
        tif: the open file.
        axes: axes of the image; a Z spacing counts only if there is a Z.

    Returns:
        nm per axis, such as `{"Y": 65.0, "X": 65.0, "Z": 200.0}`; None if the file does not say it believably.
    """
    if tif.is_ome and tif.ome_metadata:
        sizes = _from_ome(tif.ome_metadata)
    elif tif.is_imagej:
        sizes = _from_imagej(tif)
    else:
        sizes = _from_tags(tif.pages.first)
    sizes = {axis: size for axis, size in sizes.items() if axis in axes}
    return sizes if {"X", "Y"} <= set(sizes) else None


def _plausible(sizes: dict[str, float | None], limits: tuple[float, float] = _PLAUSIBLE_NM) -> dict[str, float]:
    return {axis: size for axis, size in sizes.items() if size is not None and limits[0] <= size <= limits[1]}


def _from_ome(xml: str) -> dict[str, float]:
    """`PhysicalSizeX` and its unit (micrometres unless said) of the first image."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return {}
    pixels = next((element for element in root.iter() if element.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return {}
    sizes: dict[str, float | None] = {}
    for axis in "YXZ":
        factor = _unit_nm(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        value = _number(pixels.get(f"PhysicalSize{axis}"))
        sizes[axis] = None if factor is None or value is None else value * factor
    return _plausible(sizes)


def _from_imagej(tif: tifffile.TiffFile) -> dict[str, float]:
    """ImageJ: pixels per `unit` in the resolution tags, `spacing` of the planes in `unit`."""
    metadata = tif.imagej_metadata or {}
    factor = _unit_nm(str(metadata.get("unit", "")))
    if factor is None:
        return _from_tags(tif.pages.first)
    sizes = {axis: None if (one := _per_unit(tif.pages.first, axis)) is None else factor / one for axis in "YX"}
    spacing = _number(metadata.get("spacing"))
    sizes["Z"] = None if spacing is None else abs(spacing) * factor
    return _plausible(sizes)


def _from_tags(page: tifffile.TiffPage) -> dict[str, float]:
    """Plain resolution tags in pixels per inch or centimetre, where they can be a microscope's."""
    tag = page.tags.get("ResolutionUnit")
    factor = {2: 2.54e7, 3: 1e7}.get(int(tag.value) if tag is not None else 0)
    if factor is None:
        return {}
    sizes = {axis: None if (one := _per_unit(page, axis)) is None else factor / one for axis in "YX"}
    return _plausible(sizes, _PLAUSIBLE_TAG_NM)


def _per_unit(page: tifffile.TiffPage, axis: str) -> float | None:
    """Pixels per unit of length, None if the tag is missing or no positive ratio."""
    tag = page.tags.get(f"{axis}Resolution")
    if tag is None:
        return None
    numerator, denominator = tag.value
    return numerator / denominator if numerator > 0 and denominator > 0 else None


def _unit_nm(unit: str) -> float | None:
    """Nanometres of a unit's name; ImageJ writes the micro sign as an escape."""
    return _NM.get(unit.strip().lower().replace("\\u00b5", "µ"))


def _number(text: object) -> float | None:
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if value > 0 else None
