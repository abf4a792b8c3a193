"""Gaussian spots integrated over pixels: of one width, and astigmatic, whose two widths depend on the depth."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from bioflax.optics.quantities import physical, quantity

# Gaussian of the Airy spot's peak that is nearest to it, least squares over the plane (in focus, scalar; computed).
_GAUSSIAN_OF_AIRY = 0.2103


def gaussian_spot(
    shape: tuple[int, int], *, x_nm: jax.Array, y_nm: jax.Array, sigma_nm: jax.Array, pixel_nm: jax.Array
) -> jax.Array:
    """Gaussian spots integrated over each pixel.

    Args:
        shape: (H, W) in pixels.
        x_nm, y_nm: (...) centres; the origin is the outer corner of the first pixel, x runs along W.
        sigma_nm: standard deviation, broadcasts against the centres.
        pixel_nm: pixel side.

    Returns:
        (..., H, W) share of each spot's light per pixel; sums to 1 for a spot well inside.

    Source: C. S. Smith et al., Nature Methods 7 (2010), eq. 3.
    """
    rows = gaussian_shares(shape[0], centre_nm=y_nm, sigma_nm=sigma_nm, pixel_nm=pixel_nm)
    columns = gaussian_shares(shape[1], centre_nm=x_nm, sigma_nm=sigma_nm, pixel_nm=pixel_nm)
    return rows[..., :, None] * columns[..., None, :]


def gaussian_shares(size: int, *, centre_nm: jax.Array, sigma_nm: jax.Array, pixel_nm: jax.Array) -> jax.Array:
    """Integral of a normal density over each of `size` pixels in a row.

    Args:
        size: number of pixels.
        centre_nm: (...) centre, from the outer edge of the first pixel.
        sigma_nm: standard deviation, broadcasts against the centres.
        pixel_nm: pixel side.

    Returns:
        (..., size) shares.
    """
    edges_nm = jnp.arange(size + 1, dtype=jnp.float32) * pixel_nm
    centre_nm, sigma_nm = jnp.asarray(centre_nm)[..., None], jnp.asarray(sigma_nm)[..., None]
    below = jax.lax.erf((edges_nm - centre_nm) / (math.sqrt(2.0) * sigma_nm))
    return 0.5 * (below[..., 1:] - below[..., :-1])


def gaussian_sigma_nm(na: jax.Array, wavelength_nm: jax.Array) -> jax.Array:
    """Width of the Gaussian nearest (least squares over the plane, equal peaks) to the in-focus Airy spot.

    Args:
        na: numerical aperture.
        wavelength_nm: emission wavelength in vacuum.

    Returns:
        Standard deviation in nm.
    """
    return _GAUSSIAN_OF_AIRY * wavelength_nm / na


@physical
class Gaussian:
    """A Gaussian spot of one width; an `EmitterPSF` that does not know z."""

    sigma_nm: float = quantity("nm", above=0.0, default=130.0)
    pixel_nm: float = quantity("nm in the sample", above=0.0, default=100.0)

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of light per pixel, (..., H, W), as `EmitterPSF.spots`; `z_nm` has no effect."""
        del z_nm
        return gaussian_spot(shape, x_nm=x_nm, y_nm=y_nm, sigma_nm=self.sigma_nm, pixel_nm=self.pixel_nm)


@physical
class Astigmatic:
    """A Gaussian spot behind a cylindrical lens: its widths along x and y are smallest at two different depths.

    sigma_x(z) = sigma_nm sqrt(1 + u^2 + A u^3 + B u^4), u = (z - astigmatism_nm) / depth_nm; sigma_y with z +
    astigmatism_nm. With A = B = 0 it is symmetric.

    Source: B. Huang et al., Science 319 (2008); C. S. Smith et al., Nature Methods 7 (2010).
    """

    sigma_nm: float = quantity("nm, in the focus of an axis", above=0.0, default=130.0)
    astigmatism_nm: float = quantity("nm, half the distance of the two foci", default=250.0)
    depth_nm: float = quantity("nm, at which the spot is sqrt(2) wider", above=0.0, default=400.0)
    third_order: float = quantity("A, no unit", at_least=-1.0, at_most=1.0, default=0.0)
    fourth_order: float = quantity("B, no unit", at_least=0.0, at_most=10.0, default=0.0)
    pixel_nm: float = quantity("nm in the sample", above=0.0, default=100.0)

    def widths_nm(self, z_nm: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Standard deviations along x and y at a depth, nm."""
        return self._width(z_nm - self.astigmatism_nm), self._width(z_nm + self.astigmatism_nm)

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of light per pixel, (..., H, W), as `EmitterPSF.spots`."""
        width_x, width_y = self.widths_nm(z_nm)
        rows = gaussian_shares(shape[0], centre_nm=y_nm, sigma_nm=width_y, pixel_nm=self.pixel_nm)
        columns = gaussian_shares(shape[1], centre_nm=x_nm, sigma_nm=width_x, pixel_nm=self.pixel_nm)
        return rows[..., :, None] * columns[..., None, :]

    def _width(self, distance_nm: jax.Array) -> jax.Array:
        u = distance_nm / self.depth_nm
        # A third order may turn the sum negative far out of focus, where no fit of it holds.
        square = jnp.maximum(1.0 + u**2 + self.third_order * u**3 + self.fourth_order * u**4, 0.25)
        return self.sigma_nm * jnp.sqrt(square)
