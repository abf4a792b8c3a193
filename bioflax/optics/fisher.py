"""The Cramer-Rao bound of an emitter, or of several that overlap, for any spot and camera; and its closed forms.

No unbiased estimate has a smaller variance than the inverse of the Fisher information,
I_ij = sum over pixels of J(mu) d_i mu d_j mu, mu the expected photons of a pixel and J the information of the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.likelihood import Sensor, sensor
from bioflax.optics.psf.interface import EmitterPSF

PARAMETERS = ("x_nm", "y_nm", "z_nm", "photons", "background_photons")


def expected_photons(psf: EmitterPSF, shape: tuple[int, int], emitters: jax.Array, background: jax.Array) -> jax.Array:
    """Expected photons per pixel of a window.

    Args:
        psf: the spot.
        shape: (H, W) in pixels.
        emitters: (E, 4): x_nm, y_nm, z_nm, photons; the origin is the outer corner of the window's first pixel.
        background: photons per pixel.

    Returns:
        (H, W).
    """
    x_nm, y_nm, z_nm, photons = jnp.moveaxis(emitters, -1, 0)
    return jnp.tensordot(photons, psf.spots(shape, x_nm, y_nm, z_nm), 1) + background


def fisher_information(
    psf: EmitterPSF,
    camera: SCMOS | EMCCD | Sensor | None,
    shape: tuple[int, int],
    emitters: jax.Array,
    background: jax.Array,
) -> jax.Array:
    """Fisher information about all emitters of a window and their common background.

    Args:
        psf: the spot.
        camera: None for an ideal one. Maps must have the window's shape.
        shape: (H, W) in pixels.
        emitters: (E, 4), as `expected_photons`.
        background: photons per pixel.

    Returns:
        (4 E + 1, 4 E + 1): x_nm, y_nm, z_nm, photons of each emitter in turn, then the background.
    """
    with jax.default_matmul_precision("highest"):
        mean, slopes = mean_and_slopes(psf, shape, emitters, background)
        weight = (camera if isinstance(camera, Sensor) else sensor(camera)).information(mean)
        return jnp.einsum("ihw,hw,jhw->ij", slopes, weight, slopes)


def mean_and_slopes(
    psf: EmitterPSF, shape: tuple[int, int], emitters: jax.Array, background: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Expected photons (H, W) and their derivatives (4 E + 1, H, W), in the order of `fisher_information`."""
    emitters, background = jnp.asarray(emitters, float), jnp.asarray(background, float)
    flat = jnp.concatenate([emitters.ravel(), background[None]])

    def mean(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        image = expected_photons(psf, shape, values[:-1].reshape(emitters.shape), values[-1])
        return image, image

    slopes, image = jax.jacfwd(mean, has_aux=True)(flat)
    return image, jnp.moveaxis(slopes, -1, 0)


def crlb(
    psf: EmitterPSF,
    camera: SCMOS | EMCCD | Sensor | None,
    shape: tuple[int, int],
    *,
    x_nm: Any,
    y_nm: Any,
    z_nm: Any = 0.0,
    photons: Any,
    background_photons: Any,
    unknown: Sequence[str] = PARAMETERS,
) -> dict[str, jax.Array]:
    """Least standard deviation of each unknown of single emitters; compiled once for a shape and a kind of spot.

    Args:
        psf: the spot.
        camera: None for an ideal one.
        shape: (H, W) of the window in pixels.
        x_nm, y_nm, z_nm, photons, background_photons: numbers or arrays of one shape (...); positions from the outer
            corner of the window's first pixel.
        unknown: what is estimated together, of `PARAMETERS`. A spot that does not know z needs it left out.

    Returns:
        {name: (...) standard deviation, in the unit of its name}; infinite where the light says nothing.

    Raises:
        InputError: a name that is not known.
    """
    wrong = [name for name in unknown if name not in PARAMETERS]
    if wrong or not unknown:
        raise InputError(f"unknown: expected some of {', '.join(PARAMETERS)}, found {list(unknown)}.")
    values = [jnp.asarray(v, jnp.float32) for v in (x_nm, y_nm, z_nm, photons, background_photons)]
    values = jnp.broadcast_arrays(*values)
    table = jnp.stack([v.ravel() for v in values], -1)
    bounds = _crlb(psf, camera, tuple(shape), table, tuple(PARAMETERS.index(name) for name in unknown))
    return {name: bounds[:, i].reshape(values[0].shape) for i, name in enumerate(unknown)}


@partial(jax.jit, static_argnums=(2, 4))
def _crlb(psf: EmitterPSF, camera: Any, shape: tuple[int, int], table: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    def one(row: jax.Array) -> jax.Array:
        information = fisher_information(psf, camera, shape, row[None, :4], row[4])
        return jnp.sqrt(jnp.diagonal(invert_information(information[jnp.ix_(jnp.array(kept), jnp.array(kept))])))

    return jax.vmap(one)(table)


def invert_information(information: jax.Array) -> jax.Array:
    """Covariance (P, P) of an information matrix; infinite on the diagonal for a parameter that nothing is known of.

    The matrix is scaled to a diagonal of 1 first: nanometres and thousands of photons differ by ten orders.
    """
    diagonal = jnp.diagonal(information, axis1=-2, axis2=-1)
    known = diagonal > 0
    scale = jnp.where(known, jax.lax.rsqrt(jnp.where(known, diagonal, 1.0)), 0.0)
    size = information.shape[-1]
    scaled = information * scale[..., :, None] * scale[..., None, :] + jnp.eye(size) * ~known[..., None, :]
    covariance = jnp.linalg.inv(scaled) * scale[..., :, None] * scale[..., None, :]
    lost = jnp.where(known, 0.0, jnp.inf)
    return jnp.where(jnp.eye(size, dtype=bool), covariance + lost[..., None, :], covariance)


def mortensen_nm(
    sigma_nm: float, pixel_nm: float, photons: float, background_photons: float, *, excess: float = 1.0
) -> float:
    """Precision of the maximum-likelihood estimate of a Gaussian spot along one axis, nm.

    F s_a^2 / N / integral, s_a^2 = sigma^2 + pixel^2 / 12; the light is taken as a Gaussian of that width.

    Args:
        sigma_nm: width of the spot.
        pixel_nm: pixel side.
        photons: of the emitter.
        background_photons: per pixel.
        excess: 1, or 2 for an EMCCD at high signal.

    Source: K. I. Mortensen et al., Nature Methods 7 (2010), eq. 5.
    """
    square = sigma_nm**2 + pixel_nm**2 / 12
    ratio = 2 * math.pi * square * background_photons / (photons * pixel_nm**2)
    at, weight = np.polynomial.legendre.leggauss(200)
    t = (0.5 * (at + 1)) ** 4  # crowds the nodes where ln t is steep
    integral = np.sum(0.5 * weight * 4 * (0.5 * (at + 1)) ** 3 * -t * np.log(t) / (t + ratio)) if ratio > 0 else 1.0
    return math.sqrt(excess * square / photons / integral)


def rieger_stallinga_nm(
    sigma_nm: float, pixel_nm: float, photons: float, background_photons: float, *, excess: float = 1.0
) -> float:
    """As `mortensen_nm`, by a closed expression good to 2 %.

    Source: B. Rieger, S. Stallinga, ChemPhysChem 15 (2014), eq. 5.
    """
    square = sigma_nm**2 + pixel_nm**2 / 12
    tau = 2 * math.pi * square * background_photons / (photons * pixel_nm**2)
    return math.sqrt(excess * square / photons * (1 + 4 * tau + math.sqrt(2 * tau / (1 + 4 * tau))))
