"""The bound of every emitter of a table, with the camera's own pixels below it and the neighbours that shine with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.spatial import cKDTree

from bioflax.errors import InputError
from bioflax.optics.fisher import PARAMETERS, fisher_information
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf.interface import EmitterPSF, seen_from

WINDOW_PX = 15
CROWDED_PX = 23  # with neighbours, whose light has to lie in the window as well
REACH = 1 / 3  # of the window: neighbours farther away are left out
CHUNK = 1024  # emitters computed at once: some 50 MB
LEAST_EIGENVALUE = 1e-6  # of an information matrix with a diagonal of 1: float32 knows no less


def emitter_bounds(
    psf: EmitterPSF,
    sensor_: Sensor,
    columns: Mapping[str, Any],
    *,
    window_px: int | None = None,
    neighbours: int = 0,
    gate_nm: tuple[float, float | None] | None = None,
) -> dict[str, np.ndarray]:
    """Square roots of the Cramer-Rao bound of emitters, their light and background known to nobody.

    The window around an emitter has all of its light, also at an edge of the frame. An emitter whose neighbour lies
    within its spot is harder to place than one that is alone: with `neighbours` the position, depth and light of the
    nearest ones are unknown too. The bound is that of a single frame; a method that looks at the frames before and after
    knows more of neighbours that were off there.

    Args:
        psf: the spot, with its pixel size.
        sensor_: numbers, or maps (H, W) of the whole frame.
        columns: (N,) `x_nm`, `y_nm` from the outer corner of the frame, `photons`, `background_photons`; `z_nm`, else 0;
            `frame` where there are neighbours.
        window_px: side of the window, odd; None takes 15, with neighbours 23.
        neighbours: how many of the nearest emitters of the same frame, within a third of the window, are estimated
            with it; 0 takes each emitter as alone.
        gate_nm: (lateral, axial) distance beyond which the judge pairs nothing. A pair that knows nothing of its place is
            spread evenly in it, so no bound is above lateral / 2 and axial / sqrt(3); None leaves the bounds as they are.

    Returns:
        (N,) float64 `crlb_x_nm`, `crlb_y_nm`, `crlb_photons`, `crlb_background_photons`, and `crlb_z_nm` where the spot
        tells the depth; infinite where the light says nothing of
        a parameter. Float32 tells no combination of parameters apart to better than a thousandth: where two emitters lie
        on one another the bound is finite and only large.

    Raises:
        InputError: a column is missing or not finite.
    """
    window_px = window_px or (CROWDED_PX if neighbours else WINDOW_PX)
    needed = [name for name in PARAMETERS if name != "z_nm"] + (["frame"] if neighbours else [])
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"truth: the bound needs {', '.join(missing)}; found {', '.join(columns)}. Add them.")
    values = {name: np.asarray(columns[name], np.float64) for name in PARAMETERS if name in columns}
    wrong = [name for name, column in values.items() if not np.isfinite(column).all()]
    if wrong:
        raise InputError(
            f"truth: the bound needs finite numbers, found some that are not in {', '.join(wrong)}. Drop these rows."
        )
    count = len(values["x_nm"])
    values.setdefault("z_nm", np.zeros(count))
    pixel_nm = float(psf.pixel_nm)
    first = {a: np.floor(values[a] / pixel_nm).astype(int) - window_px // 2 for a in ("x_nm", "y_nm")}
    corner = np.stack([first["x_nm"] * pixel_nm, first["y_nm"] * pixel_nm, np.zeros(count), np.zeros(count)], -1)
    places = np.stack([values[name] for name in PARAMETERS[:4]], -1)
    near, there = _nearest(columns, places, neighbours, REACH * window_px * pixel_nm)
    emitters = (places[near] - corner[:, None]).astype(np.float32)
    background = values["background_photons"].astype(np.float32)
    span, found = np.arange(window_px), np.empty((count, len(PARAMETERS)))
    together = there.sum(1)
    for number in np.unique(together):  # an emitter that stands alone costs what one costs
        (group,) = np.nonzero(together == number)
        size = min(max(1, CHUNK // number**2), _padded(len(group)))
        for start in range(0, len(group), size):
            # The last chunk is filled up with its last row, so that one shape is compiled
            rows = group[np.minimum(np.arange(start, start + size), len(group) - 1)]

            def below(leaf: Any, rows: np.ndarray = rows) -> Any:
                if np.ndim(leaf) < 2:
                    return leaf
                y, x = (np.clip(first[a][rows, None] + span, 0, n - 1) for a, n in zip(("y_nm", "x_nm"), leaf.shape))
                return np.asarray(leaf)[y[:, :, None], x[:, None, :]]

            at, these = jax.tree.map(below, sensor_), emitters[rows, :number]
            information = _information(psf, at, (window_px, window_px), these, background[rows], corner[rows, :2])
            found[rows] = _deviations(np.asarray(information, np.float64))
    bound = dict(zip(PARAMETERS, found.T))
    if gate_nm is not None:
        bound |= {axis: np.minimum(bound[axis], gate_nm[0] / 2) for axis in ("x_nm", "y_nm")}
    if not np.isfinite(bound["z_nm"]).any():
        del bound["z_nm"]
    elif gate_nm is not None and gate_nm[1] is not None:
        bound["z_nm"] = np.minimum(bound["z_nm"], gate_nm[1] / math.sqrt(3.0))
    return {f"crlb_{name}": column for name, column in bound.items()}


def _nearest(
    columns: Mapping[str, Any], places: np.ndarray, neighbours: int, reach_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N, K + 1) row of each emitter and of its nearest in the frame, and whether there is one."""
    itself = np.arange(len(places))[:, None]
    if neighbours == 0 or len(places) == 0:
        return np.repeat(itself, neighbours + 1, 1), np.arange(neighbours + 1)[None] == np.zeros_like(itself)
    # Frames lie in layers farther apart than the search reaches
    layered = np.column_stack([places[:, :2], np.asarray(columns["frame"], np.float64) * 4.0 * reach_nm])
    # One more than asked for: the emitter finds itself, not always first where two share a place
    distance, found = cKDTree(layered).query(layered, neighbours + 1, distance_upper_bound=reach_nm)
    distance[found == itself] = -1.0
    own_lost = ~(found == itself).any(1)
    distance[own_lost, -1], found[own_lost, -1] = -1.0, itself[own_lost, 0]
    order = np.argsort(distance, 1, kind="stable")
    found, distance = np.take_along_axis(found, order, 1), np.take_along_axis(distance, order, 1)
    there = np.isfinite(distance)
    return np.where(there, found, itself), there


def _padded(count: int) -> int:
    """The next power of two: few shapes are compiled."""
    return 1 << max(count - 1, 0).bit_length()


@partial(jax.jit, static_argnums=2)
def _information(
    psf: EmitterPSF, at: Sensor, shape: tuple[int, int], emitters: jax.Array, background: jax.Array, corner: jax.Array
) -> jax.Array:
    leaves, tree = jax.tree.flatten(at)

    def one(leaves: list[jax.Array], these: jax.Array, level: jax.Array, corner: jax.Array) -> jax.Array:
        return fisher_information(seen_from(psf, *corner), jax.tree.unflatten(tree, leaves), shape, these, level)

    axes = ([0 if jax.numpy.ndim(leaf) == 3 else None for leaf in leaves], 0, 0, 0)
    return jax.vmap(one, in_axes=axes)(leaves, emitters, background, corner)


def _deviations(information: np.ndarray) -> np.ndarray:
    """(K, 5) bounds of the first emitter and the background, from (K, 4 E + 1, 4 E + 1); infinite without information."""
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    known = diagonal > 0
    scale = np.where(known, 1.0 / np.sqrt(np.where(known, diagonal, 1.0)), 0.0)
    scaled = information * scale[:, :, None] * scale[:, None, :] + np.eye(known.shape[1]) * ~known[:, None, :]
    value, vector = np.linalg.eigh(scaled)
    variance = np.einsum("kpi,ki->kp", vector**2, 1.0 / np.maximum(value, LEAST_EIGENVALUE)) * scale**2
    asked = [0, 1, 2, 3, known.shape[1] - 1]
    return np.where(known, np.sqrt(variance), np.inf)[:, asked]
