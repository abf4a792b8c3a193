"""Objects and points as ImageJ ROIs in a .zip, for Fiji's ROI Manager; by roifile (extra `rois`).

Inside bioflax pixel centres are at integers. ImageJ counts areas (polygons) from pixel EDGES, half a pixel more, but
points from pixel CENTRES, as they are here. It has x before y, and single precision below a pixel.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bioflax.errors import InputError, require
from bioflax.io.aside import written_aside
from bioflax.io.outlines import check_ring
from bioflax.io.points_csv import check_points


def write_imagej_rois(path: str | Path, rings: Sequence[np.ndarray], names: Sequence[str] | None = None) -> None:
    """Writes each ring as a polygon; corners that are not on pixel corners keep their fractions.

    Args:
        path: `.zip`.
        rings: (V, 2) corners (y, x) each, in pixels with centres at integers. A polygon of ImageJ has no holes.
        names: one per ring, all different; None numbers them from 0001.

    Raises:
        InputError: no polygon, names that do not fit, roifile missing, or a file that cannot be written.
    """
    roifile = require("roifile", "rois")
    checked = [check_ring(ring, f"rings[{number}]") for number, ring in enumerate(rings)]
    names = [f"{number:04d}" for number in range(1, len(checked) + 1)] if names is None else list(map(str, names))
    if len(names) != len(checked) or len(set(names)) != len(names):
        raise InputError(f"names: expected {len(checked)} different names, found {len(set(names))}. Give one a ring.")
    bad = next((name for name in names if not name or set(name) & set("/\\:")), None)
    if bad is not None:
        raise InputError(f"names: expected names of files, found {bad!r}. Leave out slashes and colons.")
    polygons = []
    for name, ring in zip(names, checked, strict=True):
        roi = _roi(roifile, ring[:, ::-1] + 0.5, name)
        roi.roitype = roifile.ROI_TYPE.POLYGON
        polygons.append(roi)
    _write_zip(path, polygons)


def write_imagej_points(path: str | Path, points_px: np.ndarray, name: str = "points") -> None:
    """Writes points as one multi-point ROI, those of a stack as one for each plane (`points-z0001`, ..).

    Args:
        path: `.zip`.
        points_px: (N, 2) (y, x) or (N, 3) (z, y, x) in pixels, centres at integers; z goes to the nearest plane.
        name: of the ROI.

    Raises:
        InputError: no points, roifile missing, or a file that cannot be written.
    """
    roifile = require("roifile", "rois")
    points = check_points(points_px)
    groups = {name: (points, None)} if len(points) else {}
    if points.shape[1] == 3:
        planes = np.rint(points[:, 0]).clip(min=0).astype(int)
        groups = {f"{name}-z{z + 1:04d}": (points[planes == z], z) for z in np.unique(planes).tolist()}
    rois = []
    for label, (group, z) in groups.items():
        roi = _roi(roifile, group[:, :-3:-1], label)
        roi.roitype = roifile.ROI_TYPE.POINT
        if z is not None:
            roi.position = z + 1  # slices count from 1
        rois.append(roi)
    _write_zip(path, rois)


def _roi(roifile: ModuleType, corners: np.ndarray, name: str) -> Any:
    """A ROI of corners (V, 2) (x, y): as integers where they are, else with fractions."""
    whole = np.rint(corners)
    # ImageJ keeps integers in 16 bits: outside of them roifile adds the exact numbers by itself.
    return roifile.ImagejRoi.frompoints(
        whole.astype(np.int64) if np.array_equal(whole, corners) else corners, name=name
    )


def _write_zip(path: str | Path, rois: list[Any]) -> None:
    if Path(path).suffix.lower() != ".zip":
        raise InputError(f"{path}: expected an output ending in .zip, found {Path(path).suffix or 'none'!r}.")
    with written_aside(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for roi in rois:
            entry = zipfile.ZipInfo(f"{roi.name}.roi")  # the date of 1980: the same ROIs give the same file
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED)
