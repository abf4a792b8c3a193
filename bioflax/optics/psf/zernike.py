"""Zernike polynomials by Noll's index, orthonormal on the unit disc; NumPy float64."""

from __future__ import annotations

import math

import numpy as np

from bioflax.errors import InputError


def noll_order(noll: int) -> tuple[int, int]:
    """Radial order and signed azimuthal frequency of a Noll index.

    Args:
        noll: 1 is piston, 2 and 3 tilt, 4 defocus, 5 and 6 astigmatism (oblique, vertical), 7 and 8 coma, 9 and 10
            trefoil, 11 spherical aberration.

    Returns:
        n and m; m > 0 goes with cos(m angle), m < 0 with sin(|m| angle).

    Raises:
        InputError: the index is below 1.

    Source: R. J. Noll, J. Opt. Soc. Am. 66 (1976), table I.
    """
    if noll < 1:
        raise InputError(f"noll: expected an index of at least 1, found {noll}; 1 is piston, 5 oblique astigmatism")
    order = (math.isqrt(8 * noll - 7) - 1) // 2
    place = noll - 1 - order * (order + 1) // 2
    frequency = order % 2 + 2 * ((place + (order + 1) % 2) // 2)
    return order, frequency if noll % 2 == 0 else -frequency


def zernike(noll: int, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """One Zernike polynomial; its mean square over the disc is 1, so a coefficient in nm is a wavefront in nm rms.

    Args:
        noll: index from 1 on.
        radius: distance from the pupil's middle, 1 at its edge.
        angle: rad, from x towards y.

    Returns:
        Array of the broadcast shape of `radius` and `angle`, float64.

    Source: R. J. Noll, J. Opt. Soc. Am. 66 (1976), eq. 1 and 2.
    """
    order, signed = noll_order(noll)
    frequency = abs(signed)
    radius, angle = np.asarray(radius, np.float64), np.asarray(angle, np.float64)
    radial = np.zeros_like(radius)
    for term in range((order - frequency) // 2 + 1):
        left, right = (order + frequency) // 2 - term, (order - frequency) // 2 - term
        ways = math.factorial(order - term) // (math.factorial(term) * math.factorial(left) * math.factorial(right))
        radial = radial + (-1) ** term * ways * radius ** (order - 2 * term)
    if frequency == 0:
        return math.sqrt(order + 1) * radial + 0.0 * angle
    turn = np.cos(frequency * angle) if signed > 0 else np.sin(frequency * angle)
    return math.sqrt(2 * (order + 1)) * radial * turn
