"""Objects and points as GeoJSON, as QuPath imports it.

Inside bioflax pixel centres are at integers; QuPath has pixel EDGES at integers, x before y: the centre of the first
pixel is written as (0.5, 0.5). Outer rings run counter-clockwise in the sense of RFC 7946, which draws y upwards
(clockwise on a screen, where y runs down), holes the other way round; QuPath takes either.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io.aside import written_aside
from bioflax.io.outlines import Rings, check_ring, nest_rings
from bioflax.io.points_csv import check_columns, check_points

_IDENTITIES = uuid.uuid5(uuid.NAMESPACE_DNS, "bioflax")
_DIGITS = 6  # of a pixel: below what any method measures, and half the size of the file


@dataclasses.dataclass(frozen=True)
class GeoObjects:
    """What a GeoJSON file holds, pixel centres at integers.

    Attributes:
        rings: one entry per Polygon or MultiPolygon: its rings (V, 2) (y, x), outer ones and holes, as `nest_rings`
            takes them.
        points_px: (N, 2) (y, x), or (N, 3) (z, y, x) where a point says its plane.
        ring_properties: `properties` of each entry of `rings`.
        point_properties: `properties` of each point.
    """

    rings: list[list[np.ndarray]]
    points_px: np.ndarray
    ring_properties: list[dict[str, Any]]
    point_properties: list[dict[str, Any]]


def write_objects_geojson(
    path: str | Path,
    rings: Sequence[Rings],
    properties: Mapping[str, np.ndarray] | None = None,
    *,
    name: str = "object",
    color: tuple[int, int, int] = (255, 200, 0),
    plane: int | None = None,
) -> None:
    """Writes objects as detections of QuPath; the same objects give the same file.

    Args:
        path: `.geojson` or `.json`.
        rings: one entry per object: a ring (V, 2) (y, x) in pixels with centres at integers, or the list of its
            rings. Several pieces become a MultiPolygon, rings inside others holes.
        properties: measurements: name to (N,) numbers; what is not finite is left out of its object.
        name: class of the objects.
        color: of the class, red, green, blue from 0 to 255.
        plane: number of the plane in a stack, from 0; None for a single image.

    Raises:
        InputError: no polygon, measurements of another length, or a file that cannot be written.
    """
    geometries = []
    for number, entry in enumerate(rings):
        pieces = [[_closed(ring) for ring in piece] for piece in nest_rings(entry, f"rings[{number}]")]
        kind, coordinates = ("Polygon", pieces[0]) if len(pieces) == 1 else ("MultiPolygon", pieces)
        geometries.append({"type": kind, "coordinates": coordinates, **_plane(plane)})
    _write(path, geometries, check_columns(properties, len(geometries), "properties"), name, color)


def write_points_geojson(
    path: str | Path,
    points_px: np.ndarray,
    properties: Mapping[str, np.ndarray] | None = None,
    *,
    name: str = "spot",
    color: tuple[int, int, int] = (255, 0, 255),
) -> None:
    """Writes points as detections of QuPath; the same points give the same file.

    A point of a stack goes to its nearest plane, from 0, and keeps its exact z as the measurement `z_px`.

    Args:
        path: `.geojson` or `.json`.
        points_px: (N, 2) (y, x) or (N, 3) (z, y, x) in pixels, centres at integers.
        properties: measurements: name to (N,) numbers; what is not finite is left out of its point.
        name: class of the points.
        color: of the class, red, green, blue from 0 to 255.

    Raises:
        InputError: as `write_objects_geojson`.
    """
    points = check_points(points_px)
    columns = check_columns(properties, len(points), "properties")
    planes: list[int | None] = [None] * len(points)
    if points.shape[1] == 3:
        planes = np.rint(points[:, 0]).clip(min=0).astype(int).tolist()
        columns = {"z_px": points[:, 0], **columns}
    edges = np.round(points[:, :-3:-1] + 0.5, _DIGITS).tolist()
    geometries = [{"type": "Point", "coordinates": at, **_plane(z)} for at, z in zip(edges, planes, strict=True)]
    _write(path, geometries, columns, name, color)


def read_geojson(path: str | Path) -> GeoObjects:
    """Reads Polygon, MultiPolygon, Point and MultiPoint features, such as QuPath exports.

    Args:
        path: a FeatureCollection, a list of features, or one feature.

    Returns:
        Rings and points with pixel centres at integers.

    Raises:
        InputError: no such file, no GeoJSON, another geometry, or coordinates that are no numbers.
    """
    rings: list[list[np.ndarray]] = []
    points: list[list[float]] = []
    ring_properties: list[dict[str, Any]] = []
    point_properties: list[dict[str, Any]] = []
    stacked = False
    for number, feature in enumerate(_features(Path(path))):
        where = f"{path}: feature {number + 1}"
        try:
            geometry, properties = feature["geometry"], feature.get("properties") or {}
            kind, coordinates = geometry["type"], geometry["coordinates"]
            if kind in ("Polygon", "MultiPolygon"):
                pieces = [coordinates] if kind == "Polygon" else coordinates
                rings.append([_opened(ring, where) for piece in pieces for ring in piece])
                ring_properties.append(properties)
            elif kind in ("Point", "MultiPoint"):
                z = _depth(geometry, properties)
                stacked |= z is not None
                for x, y in [coordinates] if kind == "Point" else coordinates:
                    points.append([z or 0.0, float(y) - 0.5, float(x) - 0.5])
                    point_properties.append(properties)
            else:
                raise InputError(f"{where}: expected a Polygon, MultiPolygon, Point or MultiPoint, found {kind!r}.")
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            if isinstance(cause, InputError):
                raise
            raise InputError(
                f"{where}: expected a geometry with numbers, found another form. Export it again."
            ) from cause
    found = np.array(points, np.float64).reshape(-1, 3)
    if not np.isfinite(found).all():
        raise InputError(f"{path}: expected finite coordinates, found NaN or infinity. Export it again.")
    return GeoObjects(rings, found if stacked else found[:, 1:], ring_properties, point_properties)


def _write(
    path: str | Path,
    geometries: list[dict[str, Any]],
    columns: dict[str, np.ndarray],
    name: str,
    color: Iterable[int],
) -> None:
    classification = {"name": name, "color": [int(part) for part in color]}
    rows = {label: values.tolist() for label, values in columns.items()}
    with written_aside(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, geometry in enumerate(geometries):
            measured = {label: values[number] for label, values in rows.items() if np.isfinite(values[number])}
            content = json.dumps([number, geometry, name, measured], allow_nan=False)
            feature = {
                "type": "Feature",
                "id": str(uuid.uuid5(_IDENTITIES, content)),
                "geometry": geometry,
                "properties": {
                    "objectType": "detection", "classification": classification, "measurements": measured,
                },
            }  # fmt: skip
            file.write(("," if number else "") + "\n" + json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")


def _plane(plane: int | None) -> dict[str, Any]:
    """QuPath's place of a geometry in a stack; channel -1 means all."""
    return {} if plane is None else {"plane": {"c": -1, "z": int(plane), "t": 0}}


def _closed(ring: np.ndarray) -> list[list[float]]:
    """(x, y) from the pixel edge, the first corner again at the end."""
    corners = np.round(ring[:, ::-1] + 0.5, _DIGITS).tolist()
    return [*corners, corners[0]]


def _opened(ring: Any, where: str) -> np.ndarray:
    return check_ring(np.asarray(ring, np.float64)[:, 1::-1] - 0.5, where)


def _depth(geometry: dict[str, Any], properties: dict[str, Any]) -> float | None:
    """z in planes: the exact measurement of our writer if it is there, else the number of the plane."""
    plane = geometry.get("plane")
    if plane is None:
        return None
    measurements = properties.get("measurements")
    exact = measurements.get("z_px") if isinstance(measurements, dict) else None
    return float(plane.get("z", 0) if exact is None else exact)


def _features(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: expected a GeoJSON file, found no such file. Check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as cause:
        raise InputError(f"{path}: cannot be read ({cause.strerror or cause})") from cause
    except ValueError as cause:
        raise InputError(f"{path}: expected GeoJSON, found another format or a cut file. Export it again.") from cause
    if isinstance(content, dict):
        content = [content] if content.get("type") == "Feature" else content.get("features")
    if not isinstance(content, list):
        raise InputError(f"{path}: expected GeoJSON with features, found JSON without them. Export objects as GeoJSON.")
    return content
