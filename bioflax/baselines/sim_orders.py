"""The orders of structured illumination: taken apart, moved back, and seen through one filter."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioflax.optics.psf.widefield import WidefieldOptics

SLOW = 0.1  # of the cut-off, below which light out of focus outweighs the object


@dataclasses.dataclass(frozen=True)
class Direction:
    """The separated orders of one direction: complex (orders, H, W), the mean of order 0 removed.

    `noise` holds pictures (n, H, W) that together have the power of the noise in order 0, as other directions show it;
    zeros where there is one direction only.
    """

    orders: np.ndarray
    noise: np.ndarray
    window: np.ndarray
    optics: WidefieldOptics

    @property
    def parts(self) -> list[float]:
        """Share of the finest stripes' frequency of each order from 1 on."""
        highest = len(self.orders) - 1
        return [order / highest for order in range(1, highest + 1)]


def separate(frames: np.ndarray) -> np.ndarray:
    """Orders 0 to phases // 2 of one direction: (phases, H, W) -> complex (orders, H, W), for even phase steps."""
    phases = len(frames)
    order, step = np.arange(phases // 2 + 1), np.arange(phases)
    matrix = np.exp(-2j * np.pi * order[:, None] * step[None, :] / phases) / phases
    return np.tensordot(matrix, frames.astype(np.float64), 1)


def separate_directions(frames: np.ndarray, phases: int, optics: WidefieldOptics) -> list[Direction]:
    """All directions with one order 0, which they share but for the brightness of the lamp: less noise in it."""
    separated = np.stack([separate(part) for part in frames.reshape(-1, phases, *frames.shape[1:])])
    brightness = separated[:, 0].real.mean((1, 2))
    separated *= (brightness.mean() / brightness)[:, None, None, None]
    still = separated[:, 0].mean(0) - brightness.mean()
    count = len(separated)
    noise = (separated[:, 0] - separated[:, 0].mean(0)) / np.sqrt(max(count * (count - 1), 1))
    # A half sine to each border: opposite borders do not meet in a step
    sides = [np.sin(np.pi * (np.arange(size) + 0.5) / size) for size in frames.shape[1:]]
    window = sides[0][:, None] * sides[1][None, :]
    directions = []
    for orders in separated:
        # What brightness that drifts from frame to frame leaves of order 0 in the others
        leak = np.tensordot(orders[1:], still, 2) / np.sum(np.abs(still) ** 2)
        orders = np.concatenate([still[None], orders[1:] - leak[:, None, None] * still])
        orders[np.abs(orders) < 1e-9 * np.abs(still).max()] = 0.0  # rounding is no stripe
        directions.append(Direction(orders, noise, window, optics))
    return directions


def overlap(one: Direction, wave: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (H, W) of what order 0 and another, moved back, show of the same frequencies through the same filter.

    The spectrum of the other at f + k times H(f) is its share of that of order 0 at f times H(f + k), up to noise of
    variance H(f)^2 + H(f + k)^2, by which both are divided. Slow frequencies are left out. Filters come before any
    window: a window moves the peak of what is filtered after it. Third comes the noise of the first, (n, H, W).
    """
    y, x = frequencies_per_nm(one)
    moved = one.parts[order - 1] * wave
    pixel = float(one.optics.pixel_nm)
    along = [moved[axis] * (np.arange(size) + 0.5) * pixel for axis, size in enumerate(one.window.shape)]
    back = np.exp(-2j * np.pi * (along[0][:, None] + along[1][None, :]))
    near, far = np.hypot(y, x), np.hypot(y + moved[0], x + moved[1])
    here, there = _otf_at(one.optics, near), _otf_at(one.optics, far)
    slow = SLOW * float(one.optics.cutoff_per_nm)
    weight = -np.expm1(-((near / slow) ** 2)) * -np.expm1(-((far / slow) ** 2)) / np.sqrt(here**2 + there**2 + 1e-4)
    still, *noise = np.fft.ifft2(np.fft.fft2([one.orders[0], *one.noise]) * there * weight)
    other = np.fft.ifft2(np.fft.fft2(one.orders[order] * back) * here * weight)
    return still, other, np.array(noise)


def frequencies_per_nm(one: Direction) -> tuple[np.ndarray, np.ndarray]:
    """Cycles per nm along rows (H, 1) and columns (1, W), FFT layout."""
    rows, columns = (np.fft.fftfreq(size, float(one.optics.pixel_nm)) for size in one.window.shape)
    return rows[:, None], columns[None, :]


def _otf_at(optics: WidefieldOptics, per_nm: np.ndarray) -> np.ndarray:
    """Transfer function at any frequencies, from its values along a line."""
    line = np.asarray(optics.otf((1, 4096)), np.float64)[0, :2048]
    return np.interp(per_nm, np.arange(2048) / (4096 * float(optics.pixel_nm)), line, right=0.0)
