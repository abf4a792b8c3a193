"""The bound of every emitter of a table as if it were alone, with the camera's own pixels below it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.fisher import PARAMETERS, fisher_information, invert_information
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf.interface import EmitterPSF

WINDOW_PX = 15
CHUNK = 1024  # emitters computed at once: some 50 MB


def emitter_bounds(
    psf: EmitterPSF, sensor_: Sensor, columns: Mapping[str, Any], *, window_px: int = WINDOW_PX
) -> dict[str, np.ndarray]:
    """Square roots of the Cramer-Rao bound of single emitters, their light and background known to nobody.

    The window around an emitter has all of its light, also at an edge of the frame.

    Args:
        psf: the spot, with its pixel size.
        sensor_: numbers, or maps (H, W) of the whole frame.
        columns: (N,) `x_nm`, `y_nm` from the outer corner of the frame, `photons`, `background_photons`; `z_nm`, else 0.
        window_px: side of the window, odd.

    Returns:
        (N,) float64 `crlb_x_nm`, `crlb_y_nm`, `crlb_photons`, `crlb_background_photons`, and `crlb_z_nm` where the spot
        tells the depth; infinite where the light says nothing.

    Raises:
        InputError: a column is missing.
    """
    missing = [name for name in PARAMETERS if name not in columns and name != "z_nm"]
    if missing:
        raise InputError(f"truth: the bound needs {', '.join(missing)}; found {', '.join(columns)}. Add them.")
    values = {name: np.asarray(columns[name], np.float64) for name in PARAMETERS if name in columns}
    values.setdefault("z_nm", np.zeros(len(values["x_nm"])))
    pixel_nm = float(psf.pixel_nm)
    first = {a: np.floor(values[a] / pixel_nm).astype(int) - window_px // 2 for a in ("x_nm", "y_nm")}
    table = np.stack([values[name] - first.get(name, 0) * pixel_nm for name in PARAMETERS], 1).astype(np.float32)
    span = np.arange(window_px)
    for known in (PARAMETERS, tuple(name for name in PARAMETERS if name != "z_nm")):
        kept, parts = tuple(PARAMETERS.index(name) for name in known), [np.zeros((0, len(known)))]
        for start in range(0, len(table), CHUNK):
            # The last chunk is filled up with its last row, so that one shape is compiled
            rows = np.minimum(np.arange(start, start + min(CHUNK, _padded(len(table)))), len(table) - 1)

            def below(leaf: Any, rows: np.ndarray = rows) -> Any:
                if np.ndim(leaf) < 2:
                    return leaf
                y, x = (np.clip(first[a][rows, None] + span, 0, n - 1) for a, n in zip(("y_nm", "x_nm"), leaf.shape))
                return np.asarray(leaf)[y[:, :, None], x[:, None, :]]

            found = _bounds(psf, jax.tree.map(below, sensor_), (window_px, window_px), table[rows], kept)
            parts.append(np.asarray(found, np.float64)[: len(table) - start])
        bound = np.concatenate(parts)
        if np.isfinite(bound[:, len(known) // 2]).any():  # the depth in the first round
            break
    return {f"crlb_{name}": bound[:, i] for i, name in enumerate(known)}


def _padded(count: int) -> int:
    """The next power of two: few shapes are compiled."""
    return 1 << max(count - 1, 0).bit_length()


@partial(jax.jit, static_argnums=(2, 4))
def _bounds(psf: EmitterPSF, at: Sensor, shape: tuple[int, int], table: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    chosen = jnp.array(kept)
    leaves, tree = jax.tree.flatten(at)

    def one(leaves: list[jax.Array], row: jax.Array) -> jax.Array:
        information = fisher_information(psf, jax.tree.unflatten(tree, leaves), shape, row[None, :4], row[4])
        return jnp.sqrt(jnp.diagonal(invert_information(information[jnp.ix_(chosen, chosen)])))

    return jax.vmap(one, in_axes=([0 if jnp.ndim(leaf) == 3 else None for leaf in leaves], 0))(leaves, table)
