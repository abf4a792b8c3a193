"""Points and polygons as napari saves and opens them: CSV with numbered axes, pixel centres at integers as in bioflax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bioflax.io.aside import written_aside
from bioflax.io.outlines import check_ring
from bioflax.io.points_csv import check_columns, check_points, write_table


def write_napari_points(
    path: str | Path, points_px: np.ndarray, columns: Mapping[str, np.ndarray] | None = None
) -> None:
    """Writes `index,axis-0,axis-1[,axis-2]` and further columns, which napari makes features of the layer.

    Args:
        path: `.csv`.
        points_px: (N, 2) (y, x) or (N, 3) (z, y, x) in pixels, centres at integers as in napari.
        columns: name to (N,) numbers, such as `probability`.

    Raises:
        InputError: as `write_points_csv`.
    """
    points = check_points(points_px)
    table = {"index": np.arange(len(points))}
    table |= {f"axis-{axis}": values for axis, values in enumerate(points.T)}
    write_table(path, table, check_columns(columns, len(points), "columns"))


def write_napari_shapes(path: str | Path, rings: Sequence[np.ndarray]) -> None:
    """Writes polygons, `index,shape-type,vertex-index,axis-0,axis-1`: a layer of shapes. It has no room for holes.

    Args:
        path: `.csv`.
        rings: (V, 2) corners (y, x) each, in pixels with centres at integers as in napari.

    Raises:
        InputError: no polygon, or a file that cannot be written.
    """
    checked = [check_ring(ring, f"rings[{number}]") for number, ring in enumerate(rings)]
    with written_aside(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("index,shape-type,vertex-index,axis-0,axis-1\n")
        for number, ring in enumerate(checked):
            file.writelines(f"{number},polygon,{place},{y!r},{x!r}\n" for place, (y, x) in enumerate(ring.tolist()))
