"""What a simulator, a bound and a fitter need of a point-spread function."""

from __future__ import annotations

from typing import Protocol

import jax


class EmitterPSF(Protocol):
    """The picture of a point source at any position; a pytree whose physical fields are leaves, made by `@physical`."""

    pixel_nm: jax.Array

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of an emitter's photons per pixel; smooth in the position and the fields.

        Args:
            shape: (H, W) of the window in pixels, static.
            x_nm, y_nm: (...) positions; the origin is the outer corner of the window's first pixel, x runs along W.
            z_nm: (...) distance from the focal plane, positive away from the objective.

        Returns:
            (..., H, W); sums to 1, or to what falls into the window.
        """
        ...


def seen_from(psf: EmitterPSF, x_nm: jax.Array, y_nm: jax.Array) -> EmitterPSF:
    """The spot as a window sees it whose corner lies at a place of the field, nm; the same where it is one everywhere."""
    return psf.seen_from(x_nm, y_nm) if hasattr(psf, "seen_from") else psf
