"""Finds the stripes of structured illumination in the frames themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bioflax.baselines.sim import checked_frames
from bioflax.baselines.sim_orders import Direction, frequencies_per_nm, overlap, separate_directions
from bioflax.errors import InputError
from bioflax.optics.illumination import Illumination
from bioflax.optics.psf.widefield import WidefieldOptics

BAND = (0.5, 1.15)  # of the cut-off: where the finest stripes are sought; exciting light is finer than what it emits
MOST_CHANCE = 1e-3  # peaks as high as the one found that chance would make
MOST_CHANCE_NEAR = 0.05  # the same among the few places that other directions point at
NEAR, NEAR_STEPS = 0.03, 1.5  # how far from there: of the wave vector, and steps of frequency at least
MEDIAN = {1: 0.6931, 2: 1.6783}  # of the sum of that many squared magnitudes of mean 1
LEAST_SIGNAL = 0.05  # of the power of order 0 in the overlap: with less, the modulation is not more than a guess
ZOOMS, ZOOM_NODES = 5, 9


def estimate_illumination(
    frames: Any,
    optics: WidefieldOptics,
    *,
    phases: int,
    offset: float = 0.0,
    period_range_nm: tuple[float, float] | None = None,
) -> Illumination:
    """Finds wave vector, phase and modulation of the stripes of every direction.

    With even phase steps the orders of the stripes separate exactly. Order n is the object's spectrum moved by n wave
    vectors, so its correlation with order 0, both whitened by the square root of their amplitude, peaks there. The
    peak is refined to a thousandth of a frequency step over all orders together; phase and modulation are the complex
    ratio of the orders where their bands overlap. A direction whose stripes are too weak to be found alone is sought
    near the places that the strongest direction points at, the directions being evenly spread.

    Args:
        frames: (frames, H, W) camera pixels, direction by direction, phases evenly stepped as in `Illumination`.
        optics: objective and camera pixel.
        phases: frames of a direction, 3 or 5.
        offset: of the camera, unit of the frames.
        period_range_nm: shortest and longest period of the finest stripes that are sought; None takes 0.87 to 2
            periods of the cut-off.

    Returns:
        The stripes, each quantity (angles,). Their depth is kept to what light can have: nowhere below 0.

    Raises:
        InputError: frames that are no whole number of directions, or no stripes found in one.

    Source: M. G. L. Gustafsson et al., Biophysical J. 94 (2008), section on parameter fitting.
    """
    frames = checked_frames(frames) - np.float32(offset)
    if phases not in (3, 5) or len(frames) % phases:
        raise InputError(
            f"frames: expected directions of {phases} phases (3 or 5), found {len(frames)} frames; check phases, and "
            "give all frames of one plane"
        )
    cutoff = float(optics.cutoff_per_nm)
    shortest_nm, longest_nm = period_range_nm or (1.0 / (BAND[1] * cutoff), 1.0 / (BAND[0] * cutoff))
    directions = separate_directions(frames, phases, optics)
    waves = [
        _refined(one, wave)
        for one, wave in zip(directions, _coarse_waves(directions, (1.0 / longest_nm, 1.0 / shortest_nm)))
    ]
    shares = np.array(
        [[_share(one, wave, n) for n in range(1, phases // 2 + 1)] for one, wave in zip(directions, waves)]
    )
    phase_deg = np.degrees(np.angle(shares[:, -1])) % 360.0
    depth, wide = np.minimum(2.0 * np.abs(shares[:, -1]), 1.0), np.zeros(len(waves))
    if phases == 5:
        # The wider stripes tell which of the two turns the phase is in
        turn = np.cos(np.angle(shares[:, 0]) - np.radians(phase_deg / 2)) < 0
        phase_deg = phase_deg + 360.0 * turn
        wide = np.minimum(2.0 * np.abs(shares[:, 0]), _widest(depth))
    vectors = np.array(waves)
    return Illumination(
        angle_deg=np.degrees(np.arctan2(vectors[:, 0], vectors[:, 1])),
        period_nm=1.0 / np.hypot(vectors[:, 0], vectors[:, 1]),
        phase_deg=phase_deg,
        modulation=depth,
        half_modulation=wide,
        phases=phases,
    )


def _coarse_waves(directions: list[Direction], band_per_nm: tuple[float, float]) -> list[np.ndarray]:
    """Wave vectors (y, x) per nm of the finest stripes, to about half a frequency step."""
    y, x = np.broadcast_arrays(*frequencies_per_nm(directions[0]))
    radius = np.hypot(y, x)
    band = (radius >= band_per_nm[0]) & (radius <= band_per_nm[1])
    if not band.any():
        raise InputError(
            f"period_range_nm: expected periods of more than two pixels, found none in {1 / band_per_nm[1]:.0f} to "
            f"{1 / band_per_nm[0]:.0f} nm; check pixel_nm and the range"
        )
    around = radius < 1.8 * float(directions[0].optics.cutoff_per_nm)  # further out orders have nothing in common
    heights = [_heights(one, around) for one in directions]
    orders = len(directions[0].parts)
    found = [_highest(one, band, orders) for one in heights]
    place, chance = min(found, key=lambda one: one[1])
    strongest = np.array([y[place], x[place]])
    near = band & _near(y, x, strongest, len(directions))
    for number, one in enumerate(heights):
        if found[number][1] <= MOST_CHANCE:
            continue
        beside = _highest(one, near, orders) if chance <= MOST_CHANCE and near.any() else (place, 1.0)
        if beside[1] > MOST_CHANCE_NEAR:
            raise InputError(
                f"frames: expected stripes in direction {number + 1}, found none: chance alone would make "
                f"{found[number][1]:.2g} peaks as high as the best; check the order of the frames, phases, NA, "
                "wavelength_nm and pixel_nm"
            )
        found[number] = beside
    return [np.array([y[place], x[place]]) for place, _ in found]


def _highest(heights: np.ndarray, inside: np.ndarray, orders: int) -> tuple[tuple[int, ...], float]:
    """The highest place (row, column) inside, and how many as high would be there by chance."""
    place = np.unravel_index(np.argmax(np.where(inside, heights, -1.0)), heights.shape)
    # A sum of squared magnitudes of complex normal numbers, one for each order
    height = float(heights[place])
    alone = math.exp(-height) * sum(height**i / math.factorial(i) for i in range(orders))
    return tuple(int(i) for i in place), alone * int(inside.sum())


def _heights(one: Direction, around: np.ndarray) -> np.ndarray:
    """|Correlation of order 0 with another|^2 over its mean for unrelated spectra, sum over orders, at every wave vector.

    Spectra are whitened by the square root of their amplitude, so that no few frequencies rule the sum. What the mean
    leaves out, such as noise that follows the light, is taken from the median over `around`, bool. (H, W).
    """
    otf = np.asarray(one.optics.otf(one.window.shape), np.float64)
    spectra = np.fft.fft2(one.orders * one.window)
    flat = [spectrum / np.sqrt(np.maximum(np.abs(spectrum), 1e-12)) * otf for spectrum in spectra]
    base, power = np.fft.ifft2(flat[0]), np.fft.ifft2(np.abs(flat[0]) ** 2)
    total = np.zeros(one.window.shape)
    rows, columns = (np.rint(np.fft.fftfreq(size) * size).astype(int) for size in one.window.shape)
    for part, spectrum in zip(one.parts, flat[1:]):
        # Order n peaks at its share of the wave vector, which padding samples exactly
        product, finer = np.conj(base) * np.fft.ifft2(spectrum), round(1 / part)
        peak = np.abs(np.fft.fft2(product, s=[size * finer for size in base.shape])[np.ix_(rows, columns)]) ** 2
        chance = np.fft.fft2(np.conj(power) * np.fft.ifft2(np.abs(spectrum) ** 2)).real / base.size
        chance = np.maximum(chance, 1e-9 * chance.max() + 1e-30)
        total += peak / chance[np.ix_(*(np.rint(part * steps).astype(int) for steps in (rows, columns)))]
    return total * (MEDIAN[len(one.parts)] / max(float(np.median(total[around])), 1e-30))


def _near(y: np.ndarray, x: np.ndarray, wave: np.ndarray, directions: int) -> np.ndarray:
    """Places close to a wave vector turned by whole multiples of 180 degrees / directions, itself and its opposite left out."""
    near = np.zeros(y.shape, bool)
    reach = max(NEAR * np.hypot(*wave), NEAR_STEPS * max(y[1, 0], x[0, 1]))
    for turn in np.pi * np.arange(1, directions) / directions:
        turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ wave
        for sign in (-1, 1):
            near |= np.hypot(y - sign * turned[0], x - sign * turned[1]) < reach
    return near


def _refined(one: Direction, wave: np.ndarray) -> np.ndarray:
    """The wave vector (y, x) per nm at which the moved orders fit order 0 best, all orders together.

    Both are seen through the same product of transfer functions, so that the best fit lies where the truth does; its
    Fourier integral around the last guess is sampled ever finer.
    """
    pixel = float(one.optics.pixel_nm)
    at = [(np.arange(size) - 0.5 * (size - 1)) * pixel for size in one.window.shape]
    for reach in (1.0, 0.5):
        pairs = [overlap(one, wave, order)[:2] for order in range(1, len(one.orders))]
        products = [one.window**2 * np.conj(still) * moved for still, moved in pairs]
        products = [product / np.linalg.norm(product) for product in products]
        wave = wave + _peak(products, one.parts, at, reach / (pixel * min(one.window.shape)))
    return wave


def _peak(products: list[np.ndarray], parts: list[float], at: list[np.ndarray], reach: float) -> np.ndarray:
    """Where the Fourier integrals of pictures (H, W) over places `at` are largest together, (y, x) within +-reach."""
    centre = np.zeros(2)
    for _ in range(ZOOMS):
        steps = np.linspace(-reach, reach, ZOOM_NODES)
        height = np.zeros((ZOOM_NODES, ZOOM_NODES))
        for part, product in zip(parts, products):
            rows, columns = (
                np.exp(-2j * np.pi * part * (middle + steps)[:, None] * along) for middle, along in zip(centre, at)
            )
            height += np.abs(rows @ product @ columns.T) ** 2
        centre = centre + steps[list(np.unravel_index(np.argmax(height), height.shape))]
        reach *= 2.0 / (ZOOM_NODES - 1)
    return centre


def _share(one: Direction, wave: np.ndarray, order: int) -> complex:
    """Complex ratio of an order, moved back, to order 0 by least squares: half the modulation, and the phase."""
    still, moved, noise = overlap(one, wave, order)
    seen = np.sum(one.window**2 * np.abs(still) ** 2)
    power = np.maximum(seen - np.sum(one.window**2 * np.abs(noise) ** 2), LEAST_SIGNAL * seen)
    return np.sum(one.window**2 * np.conj(still) * moved) / power


def _widest(depth: np.ndarray) -> np.ndarray:
    """The deepest wider stripes that leave light nowhere below 0 beside finest ones of a depth."""
    return np.where(depth < 1 / 3, 1.0 + depth, np.sqrt(np.maximum(8.0 * depth * (1.0 - depth), 0.0)))
