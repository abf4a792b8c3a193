"""The point-spread function of a wide-field microscope as a transfer function, for pictures of whole scenes.

OTF arrays have the full FFT layout (zero frequency at [0, 0]), so their shape is the shape of the image they act on.
A density whose pixels already hold the light of their whole area carries the pixel's own aperture:
no function here multiplies it in again.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.quantities import is_concrete, physical, quantity

_RADIAL_NODES = 192
_ANGLE_NODES, _HEIGHT_NODES = 48, 24


def radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """Distance of each frequency of an FFT from zero.

    Args:
        shape: (H, W) in pixels.

    Returns:
        (H, W) cycles per pixel, zero at [0, 0].
    """
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]).astype(np.float32)


def widefield_otf(shape: tuple[int, int], *, na: jax.Array, wavelength_nm: jax.Array, pixel_nm: jax.Array) -> jax.Array:
    """Transfer function of an aberration-free wide-field microscope in focus (incoherent, scalar, circular pupil).

    Args:
        shape: (H, W) of the image in pixels.
        na: numerical aperture.
        wavelength_nm: emission wavelength in vacuum.
        pixel_nm: pixel side in the sample.

    Returns:
        (H, W) real, 1 at zero frequency, 0 from 2 NA / wavelength on.

    Source: (2/pi) (arccos v - v sqrt(1 - v^2)), v = f wavelength / (2 NA); Goodman, Introduction to Fourier
        Optics, section 6.3.
    """
    v = radial_frequency(shape) * (wavelength_nm / (2.0 * na * pixel_nm))
    inside = v < 1.0
    v = jnp.where(inside, v, 0.0)  # keeps the infinite slopes at v = 1 out of gradients
    return jnp.where(inside, (2.0 / math.pi) * (jnp.arccos(v) - v * jnp.sqrt(1.0 - v * v)), 0.0)


def defocused_otf(
    shape: tuple[int, int],
    *,
    na: jax.Array,
    wavelength_nm: jax.Array,
    pixel_nm: jax.Array,
    defocus_nm: jax.Array,
    refractive_index: jax.Array = 1.515,
) -> jax.Array:
    """Transfer function of a wide-field microscope out of focus: the autocorrelation of its pupil.

    The defocus phase is the exact one of a scalar pupil, 2 pi z sqrt(n^2 - NA^2 r^2) / wavelength. The overlap of two
    pupils is integrated by Gauss-Legendre quadrature at 192 radial frequencies and interpolated; with no defocus it is
    the closed form of `widefield_otf` to 1e-4. Good to 1e-3 up to about 2,000 nm at NA 1.4.

    Args:
        shape: (H, W) of the image in pixels.
        na: numerical aperture, below `refractive_index`.
        wavelength_nm: emission wavelength in vacuum.
        pixel_nm: pixel side in the sample.
        defocus_nm: distance of the sample plane from focus.
        refractive_index: of the immersion medium.

    Returns:
        (H, W) real, 1 at zero frequency, negative where contrast is reversed, 0 from 2 NA / wavelength on.

    Source: H. H. Hopkins, Proc. R. Soc. A 231 (1955), with the phase of a high aperture instead of the parabola.
    """
    nodes = np.linspace(0.0, 1.0, _RADIAL_NODES, dtype=np.float32)
    angle_at, angle_weight = _gauss_legendre(_ANGLE_NODES)
    height_at, height_weight = _gauss_legendre(_HEIGHT_NODES)
    # Half the overlap of two unit circles 2v apart, x from 0 to 1 - v, with x + v = sin(angle): no square-root ends.
    start = np.arcsin(nodes)[:, None, None]
    angle = start + (0.5 * np.pi - start) * angle_at[None, :, None]
    weight = (0.5 * np.pi - start) * angle_weight[None, :, None] * height_weight[None, None, :] * np.cos(angle) ** 2
    x = np.sin(angle) - nodes[:, None, None]
    y = np.cos(angle) * height_at[None, None, :]
    near = (x - nodes[:, None, None]) ** 2 + y**2
    far = np.minimum((x + nodes[:, None, None]) ** 2 + y**2, 1.0)
    squeeze = (na / refractive_index) ** 2
    path = jnp.sqrt(1.0 - squeeze * near) - jnp.sqrt(1.0 - squeeze * far)
    phase = (2.0 * math.pi * refractive_index) * (defocus_nm / wavelength_nm) * path
    curve = (4.0 / math.pi) * jnp.sum(weight.astype(np.float32) * jnp.cos(phase), axis=(1, 2))
    v = radial_frequency(shape) * (wavelength_nm / (2.0 * na * pixel_nm))
    position = jnp.minimum(v, 1.0) * (_RADIAL_NODES - 1)
    left = jnp.minimum(position.astype(jnp.int32), _RADIAL_NODES - 2)
    share = position - left
    return curve[left] * (1.0 - share) + curve[left + 1] * share


def gaussian_otf(shape: tuple[int, int], *, sigma_nm: jax.Array, pixel_nm: jax.Array) -> jax.Array:
    """Transfer function of a Gaussian spot.

    Args:
        shape: (H, W) of the image in pixels.
        sigma_nm: standard deviation of the spot along each axis.
        pixel_nm: pixel side in the sample.

    Returns:
        (H, W) real, 1 at zero frequency.
    """
    return jnp.exp(-2.0 * (math.pi * radial_frequency(shape) * (sigma_nm / pixel_nm)) ** 2)


def psf_from_otf(otf: jax.Array) -> jax.Array:
    """Picture of a point: sums to 1, brightest in the middle pixel [H // 2, W // 2].

    Args:
        otf: (H, W) real transfer function in FFT layout. The spot is non-negative if pixels are no larger than
            wavelength / (4 NA), so that the band fits the grid.

    Returns:
        (H, W) share of the light per pixel.
    """
    height, width = otf.shape[-2:]
    return jnp.fft.fftshift(jnp.fft.irfft2(otf[..., : width // 2 + 1], s=(height, width)), axes=(-2, -1))


def blur(image: jax.Array, otf: jax.Array) -> jax.Array:
    """Convolves images with the spot of a transfer function.

    Args:
        image: (..., H, W), light per pixel.
        otf: (H', W') real transfer function in FFT layout. Of the image's size: the image is taken as periodic.
            Larger: the image is mirrored at its borders up to that size first, and cut back after.

    Returns:
        (..., H, W), light per pixel.

    Raises:
        InputError: the transfer function is smaller than the image.
    """
    size, full = image.shape[-2:], otf.shape[-2:]
    if full[0] < size[0] or full[1] < size[1]:
        raise InputError(
            f"otf: expected at least the image's size {size}, found {full}; make it of that size or larger"
        )
    before = [(outer - inner) // 2 for outer, inner in zip(full, size)]
    if full != size:
        after = [outer - inner - start for outer, inner, start in zip(full, size, before)]
        image = jnp.pad(image, [(0, 0)] * (image.ndim - 2) + list(zip(before, after)), mode="symmetric")
    spectrum = jnp.fft.rfft2(image) * otf[..., : full[1] // 2 + 1]
    blurred = jnp.fft.irfft2(spectrum, s=full)
    return blurred[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]]


@physical
class WidefieldOptics:
    """Objective and pixel of a wide-field microscope; all fields are pytree leaves.

    `haze` is the share of the light that comes from planes far out of focus, as a broad Gaussian of `haze_nm`:
    the veil over a wide-field picture of a thick cell, without a volume to simulate.
    `defocus_nm=None` uses the closed form in focus; any number, 0 included, the quadrature of `defocused_otf`.
    """

    na: float = quantity("numerical aperture", above=0.0, at_most=1.7, default=1.4)
    wavelength_nm: float = quantity("nm", at_least=200.0, at_most=2000.0, default=520.0)
    pixel_nm: float = quantity("nm in the sample", above=0.0, default=100.0)
    refractive_index: float = quantity("of the immersion medium", at_least=1.0, at_most=2.0, default=1.515)
    defocus_nm: float | None = quantity("nm from focus", at_least=-5000.0, at_most=5000.0, optional=True, default=None)
    haze: float = quantity("share of the light", at_least=0.0, at_most=1.0, default=0.0)
    haze_nm: float = quantity("nm", above=0.0, default=1500.0)

    def _check_together(self) -> None:
        if is_concrete(self.na, self.refractive_index) and not self.na < self.refractive_index:
            raise InputError(
                f"WidefieldOptics.na: expected below the refractive index {self.refractive_index:g} of the immersion "
                f"medium, found {self.na:g}; set refractive_index (air 1, water 1.33, oil 1.515) or a lower NA"
            )

    @property
    def cutoff_per_nm(self) -> jax.Array:
        """Highest transmitted frequency 2 NA / wavelength, in cycles per nm."""
        return 2.0 * self.na / self.wavelength_nm

    def otf(self, shape: tuple[int, int]) -> jax.Array:
        """Transfer function for images of a size.

        Args:
            shape: (H, W) in pixels.

        Returns:
            (H, W) real, FFT layout, 1 at zero frequency.
        """
        lens = {"na": self.na, "wavelength_nm": self.wavelength_nm, "pixel_nm": self.pixel_nm}
        if self.defocus_nm is None:
            sharp = widefield_otf(shape, **lens)
        else:
            sharp = defocused_otf(shape, **lens, defocus_nm=self.defocus_nm, refractive_index=self.refractive_index)
        veil = gaussian_otf(shape, sigma_nm=self.haze_nm, pixel_nm=self.pixel_nm)
        return (1.0 - self.haze) * sharp + self.haze * veil

    def psf(self, shape: tuple[int, int]) -> jax.Array:
        """Picture of a point in the middle pixel; (H, W), sums to 1."""
        return psf_from_otf(self.otf(shape))


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    at, weight = np.polynomial.legendre.leggauss(count)
    return 0.5 * (at + 1.0), 0.5 * weight
