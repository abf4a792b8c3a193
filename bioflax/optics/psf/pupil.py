"""The spot of an emitter from the pupil of the objective: defocus, aberrations, index mismatch, polarisation."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.psf.zernike import zernike
from bioflax.optics.quantities import is_concrete, physical, quantity

_FIRST_NOLL = 5
# The six pupil fields of a rotating dipole, E_x and E_y of the dipoles x, y, z: E_y of x and E_x of y are the same.
_DIPOLE_FIELDS = np.array([1.0, 2.0, 1.0, 1.0, 1.0])


@physical
class Pupil:
    """A point source seen through a circular pupil; an `EmitterPSF`.

    The emitter at z lies `depth_nm` + z above the coverslip in a medium of `medium_index` (None: that of the
    immersion). The objective has moved `focus_nm` towards the sample, on the stage's scale, since its focus was on
    the coverslip; None moves it to where the wavefront from z = 0 has the least rms error. The phase in the pupil is
    2 pi / wavelength (n_s (depth + z) cos a_s - n_i focus cos a_i + sum of Zernike terms), for the wave exp(i phase).
    Light above the critical angle decays with the distance from the coverslip.

    `zernikes_nm` are the coefficients from Noll's 5 on, in nm rms over the disc: oblique and vertical astigmatism,
    vertical and horizontal coma, two trefoils, spherical aberration, and so on. A positive vertical astigmatism (the
    second) makes the spot wide along y above the focus and wide along x below it.

    `vectorial=False`: one wave of even amplitude. True: a freely rotating dipole, which is the sum of its three
    directions, with Fresnel transmission into the immersion and the sine condition. Photons are those that come
    through the pupil, so the whole plane sums to 1 at any z.

    The field is an integral over `pupil_px` x `pupil_px` Gauss nodes that lie in the disc itself, so it has no
    staircase edge, no period and no grid that positions snap to. It holds up to `reach_nm` from the emitter; light
    further out is left out. 32 nodes are good to 1e-5 of the peak; where the NA is above
    `medium_index` the kink at the critical angle makes that 1e-2 to 5e-2, and up to 4e-2 with 64.

    Source: S. F. Gibson and F. Lanni, J. Opt. Soc. Am. A 9 (1992); K. I. Mortensen et al., Nature Methods 7 (2010);
        S. Stallinga and B. Rieger, Opt. Express 18 (2010).
    """

    na: float = quantity("numerical aperture", above=0.0, at_most=1.7, default=1.49)
    wavelength_nm: float = quantity("nm in vacuum", at_least=200.0, at_most=2000.0, default=660.0)
    pixel_nm: float = quantity("nm in the sample", above=0.0, default=100.0)
    refractive_index: float = quantity("of the immersion medium", at_least=1.0, at_most=2.0, default=1.515)
    medium_index: float | None = quantity("of the sample", at_least=1.0, at_most=2.0, optional=True, default=None)
    depth_nm: float = quantity("nm of z = 0 above the coverslip", at_least=0.0, default=0.0)
    focus_nm: float | None = quantity("nm of stage travel", optional=True, default=None)
    zernikes_nm: Any = quantity("nm rms, from Noll 5 on", kind="map", optional=True, default=None)
    vectorial: bool = False
    pupil_px: int = 32
    subpixels: int = 3

    def _check_together(self) -> None:
        for name, least, most in (("pupil_px", 8, 512), ("subpixels", 1, 16)):
            value = getattr(self, name)
            if not (isinstance(value, int) and least <= value <= most):
                raise InputError(f"Pupil.{name}: expected a whole number from {least} to {most}, found {value!r}")
        if self.zernikes_nm is not None and np.ndim(self.zernikes_nm) > 1:
            raise InputError(
                f"Pupil.zernikes_nm: expected a list of coefficients, found shape {np.shape(self.zernikes_nm)}; "
                f"give one number per Noll index from {_FIRST_NOLL} on"
            )
        if is_concrete(self.na, self.refractive_index) and not self.na < self.refractive_index:
            raise InputError(
                f"Pupil.na: expected below the refractive index {self.refractive_index:g} of the immersion "
                f"medium, found {self.na:g}; set refractive_index (air 1, water 1.33, oil 1.515) or a lower NA"
            )

    @property
    def reach_nm(self) -> jax.Array:
        """Distance from the emitter up to which the nodes resolve the waves of the pupil, nm."""
        return (self.pupil_px - 5) * self.wavelength_nm / (math.pi * self.na)

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of light per pixel, (..., H, W), as `EmitterPSF.spots`."""
        x_nm, y_nm, z_nm = jnp.broadcast_arrays(*(jnp.asarray(at, dtype=float) for at in (x_nm, y_nm, z_nm)))
        disc = _disc(self.pupil_px)
        # Distances from the window's middle keep the phases small, which float32 likes.
        (y_at, x_at), gauss = self._samples(shape)
        x_off = x_nm.reshape(-1) - 0.5 * shape[1] * self.pixel_nm
        y_off = y_nm.reshape(-1) - 0.5 * shape[0] * self.pixel_nm
        wavenumber = 2.0 * math.pi * self.na / self.wavelength_nm
        phase, decay = self._paths(z_nm.reshape(-1))
        tilt = wavenumber * (disc.x * x_off[:, None, None] + disc.y[:, None] * y_off[:, None, None])
        wave = jnp.exp(-decay) * jnp.exp(1j * (phase - tilt))
        fields, copies = self._fields()
        seen = jnp.sum(copies[:, None, None] * jnp.abs(fields) ** 2, axis=0)
        energy = jnp.sum(disc.area * seen * jnp.exp(-2.0 * decay), axis=(1, 2))
        to_columns = disc.area[..., None] * jnp.exp(1j * wavenumber * disc.x[..., None] * x_at)
        to_rows = jnp.exp(1j * wavenumber * y_at[:, None] * disc.y)
        light = 0.0
        for field, times in zip(fields, copies):
            columns = jnp.einsum("evu,vux->evx", wave * field, to_columns, precision="highest")
            picture = jnp.einsum("yv,evx->eyx", to_rows, columns, precision="highest")
            light = light + times * (picture.real**2 + picture.imag**2)
        near = (y_at - y_off[:, None])[:, :, None] ** 2 + (x_at - x_off[:, None])[:, None, :] ** 2 < self.reach_nm**2
        light = jnp.where(near, light, 0.0).reshape(-1, shape[0], self.subpixels, shape[1], self.subpixels)
        shares = jnp.einsum("eyaxb,a,b->eyx", light, gauss, gauss, precision="highest")
        scale = (self.na * self.pixel_nm / self.wavelength_nm) ** 2 / energy
        return (shares * scale[:, None, None]).reshape(*x_nm.shape, *shape)

    def _samples(self, shape: tuple[int, int]) -> tuple[list[jax.Array], np.ndarray]:
        """Gauss points of all pixels along y and x, nm from the window's middle, and their weights in a pixel."""
        at, weight = np.polynomial.legendre.leggauss(self.subpixels)
        points = [(np.arange(n)[:, None] + 0.5 * (at + 1.0) - 0.5 * n).reshape(-1) for n in shape]
        return [axis * self.pixel_nm for axis in points], 0.5 * weight

    def _paths(self, z_nm: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Phase and decay exponent of the wave from each depth, (E, V, U)."""
        disc = _disc(self.pupil_px)
        square = self.na**2 * disc.radius**2
        # Both cosines less their value on the axis, without the difference of two near numbers.
        immersion = -square / (jnp.sqrt(self.refractive_index**2 - square) + self.refractive_index)
        wavenumber = 2.0 * math.pi / self.wavelength_nm
        height = self.depth_nm + z_nm[:, None, None]
        if self.medium_index is None and self.focus_nm is None:
            path, decay = z_nm[:, None, None] * immersion, jnp.zeros((1, *disc.area.shape))
        else:
            index = self._medium
            cosine, lost = _cosine(index**2 - square)
            medium = jnp.where(lost > 0.0, -index, -square / (cosine + index))
            focus = self._best_focus() if self.focus_nm is None else self.focus_nm
            path = height * medium - focus * immersion
            decay = wavenumber * lost * jnp.maximum(height, 0.0)
        if self.zernikes_nm is not None:
            terms = jnp.atleast_1d(jnp.asarray(self.zernikes_nm))
            path = path + jnp.tensordot(terms, _wavefronts(self.pupil_px, terms.shape[0]), 1)
        return wavenumber * path, decay

    @property
    def _medium(self) -> jax.Array:
        return self.refractive_index if self.medium_index is None else self.medium_index

    def _best_focus(self) -> jax.Array:
        """Stage travel for the least rms wavefront error from z = 0, over the light below the critical angle."""
        at, weight = np.polynomial.legendre.leggauss(self.pupil_px)
        at, weight = 0.5 * (at + 1.0), 0.5 * weight * (at + 1.0)  # weight sums to 1; square = largest (1 - at^2)
        widest = jnp.minimum(self.na, self._medium)
        square = widest**2 * (1.0 - at**2)
        beyond = jnp.maximum(self._medium**2 - widest**2, 0.0)  # 0 where light goes above the critical angle
        cosine = jnp.sqrt(beyond + (widest * at) ** 2)
        medium = -square / (cosine + self._medium)
        immersion = -square / (jnp.sqrt(self.refractive_index**2 - square) + self.refractive_index)
        centred = immersion - jnp.sum(weight * immersion)
        return self.depth_nm * jnp.sum(weight * centred * medium) / jnp.sum(weight * centred * immersion)

    def _fields(self) -> tuple[jax.Array, np.ndarray]:
        """Amplitudes (C, V, U) in the pupil, and how often each occurs; complex above the critical angle."""
        disc = _disc(self.pupil_px)
        if not self.vectorial:
            return jnp.ones((1, *disc.radius.shape)), np.ones(1)
        square, index = self.na**2 * disc.radius**2, self._medium
        below, above = _cosine(index**2 - square)
        medium = below + 1j * above  # n cos(angle)
        immersion = jnp.sqrt(self.refractive_index**2 - square)
        lens = 2.0 * jnp.sqrt(self.refractive_index * immersion)
        s_wave = lens / (medium + immersion)
        ratio = self.refractive_index / index
        p_wave = lens / (ratio * medium + immersion / ratio)
        p_flat, p_steep = p_wave * medium / index, p_wave * self.na * disc.radius / index
        x, y = disc.x / disc.radius, disc.y[:, None] / disc.radius
        return jnp.stack(
            [
                p_flat * x * x + s_wave * y * y,
                (p_flat - s_wave) * x * y,
                p_flat * y * y + s_wave * x * x,
                p_steep * x,
                p_steep * y,
            ]
        ), _DIPOLE_FIELDS


@dataclasses.dataclass(frozen=True)
class _Disc:
    """Nodes of the unit disc: rows y (V,) of Chebyshev, in each row its own x (V, U) of Legendre; areas (V, U)."""

    y: np.ndarray
    x: np.ndarray
    radius: np.ndarray
    area: np.ndarray


@functools.cache
def _disc(size: int) -> _Disc:
    """Quadrature of the unit disc; exact for polynomials of degree below 2 `size`."""
    turn = np.pi * np.arange(1, size + 1) / (size + 1)
    along, weight = np.polynomial.legendre.leggauss(size)
    x = np.sin(turn)[:, None] * along
    y = np.cos(turn)
    area = (np.pi / (size + 1) * np.sin(turn) ** 2)[:, None] * weight
    return _Disc(y, x, np.hypot(x, y[:, None]), area)


@functools.cache
def _wavefronts(size: int, count: int) -> np.ndarray:
    """Zernike polynomials from Noll 5 on at the nodes, (count, V, U)."""
    disc = _disc(size)
    angle = np.arctan2(np.broadcast_to(disc.y[:, None], disc.x.shape), disc.x)
    terms = [zernike(_FIRST_NOLL + place, disc.radius, angle) for place in range(count)]
    return np.stack(terms)


def _cosine(square: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Real and imaginary part of the root of n^2 cos^2; the slope at the critical angle itself is set to 0."""
    root = jnp.sqrt(jnp.where(square == 0.0, 1.0, jnp.abs(square)))
    return jnp.where(square > 0.0, root, 0.0), jnp.where(square < 0.0, root, 0.0)
