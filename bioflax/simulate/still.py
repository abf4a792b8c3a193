"""A scene that does not change: the same density every time, for probes whose truth is known."""

from __future__ import annotations

import jax

from bioflax.errors import InputError
from bioflax.optics.quantities import part, physical


@physical
class Still:
    """A given density (H, W), on the canvas of the simulator that shows it; a leaf, so that many are mapped over."""

    density: jax.Array = part()

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; `key` and `pixel_nm` change nothing."""
        del key, pixel_nm
        return self.density

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Still:
        """The scene itself; InputError if the density has another size than the canvas."""
        del pixel_nm
        found = tuple(getattr(self.density, "shape", shape))
        if found != tuple(shape):
            raise InputError(f"Still.density: expected the size of the canvas {tuple(shape)}, found {found}")
        return self
