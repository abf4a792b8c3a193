"""A spot whose aberrations change across the field of view: maps of Zernike coefficients over a pupil."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from bioflax.errors import InputError
from bioflax.optics.psf.pupil import Pupil
from bioflax.optics.quantities import part, physical, quantity


@physical
class FieldPupil:
    """A pupil with other Zernike terms at every place of the field; an `EmitterPSF`.

    The coefficients are given on an even grid whose outermost nodes lie on the edges of the field and are interpolated
    linearly between; beyond the field they stay as at its edge. They take the place of the pupil's own. A window that
    does not begin at the corner of the field is looked at through `seen_from`, as the simulator, the bound and the
    fitter do.

    Source: S. Fu et al., Nature Methods 20 (2023), whose maps are of this kind.
    """

    zernike_maps_nm: Any = quantity("nm rms, (terms, H', W'), from Noll 5 on", kind="map")
    field_nm: float = quantity("nm, side of the square field", above=0.0)
    pupil: Pupil = part(Pupil())
    corner_x_nm: float = quantity("nm of the window's corner in the field", default=0.0)
    corner_y_nm: float = quantity("nm of the window's corner in the field", default=0.0)

    def _check_together(self) -> None:
        shape = np.shape(self.zernike_maps_nm)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(
                f"FieldPupil.zernike_maps_nm: expected (terms, H', W'), found shape {shape}; stack the maps"
            )

    @property
    def pixel_nm(self) -> jax.Array:
        """Pixel side in the sample, nm."""
        return self.pupil.pixel_nm

    def seen_from(self, x_nm: jax.Array, y_nm: jax.Array) -> FieldPupil:
        """The same field from a window whose corner lies there, nm from the corner that this one counts from."""
        corner = {"corner_x_nm": self.corner_x_nm + x_nm, "corner_y_nm": self.corner_y_nm + y_nm}
        return dataclasses.replace(self, **corner)

    def zernikes_nm(self, x_nm: jax.Array, y_nm: jax.Array) -> jax.Array:
        """Coefficients (..., terms) at places (...) of the window, nm rms."""
        maps = jnp.asarray(self.zernike_maps_nm)
        row = jnp.clip((y_nm + self.corner_y_nm) / self.field_nm, 0.0, 1.0) * (maps.shape[1] - 1)
        column = jnp.clip((x_nm + self.corner_x_nm) / self.field_nm, 0.0, 1.0) * (maps.shape[2] - 1)
        at = lambda one: map_coordinates(one, [row, column], order=1, mode="nearest")  # noqa: E731
        return jnp.moveaxis(jax.vmap(at)(maps), 0, -1)

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of light per pixel, (..., H, W), as `EmitterPSF.spots`."""
        x_nm, y_nm, z_nm = jnp.broadcast_arrays(*(jnp.asarray(at, dtype=float) for at in (x_nm, y_nm, z_nm)))

        def spot(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
            return dataclasses.replace(self.pupil, zernikes_nm=self.zernikes_nm(x, y)).spots(shape, x, y, z)

        lit = jax.vmap(spot)(x_nm.reshape(-1), y_nm.reshape(-1), z_nm.reshape(-1))
        return lit.reshape(*x_nm.shape, *shape)
