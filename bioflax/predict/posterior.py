"""The observed pixel put back into the prediction of a blind-spot net, which did not see it (Laine 2019; PN2V, Krull 2020).

A blind-spot net gives the mean mu of a pixel given its neighbours. Its own noisy value y still holds information: with noise of
variance N and a spread S of the signal about mu, the mean given all pixels is mu + S / (S + N) (y - mu). N comes from the
image itself (`preflight.noise`), S + N is the energy of y - mu; both are taken for each level of brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bioflax.ops.tiles import Window
from bioflax.preflight import noise

LEVELS = 24  # of brightness, with equal numbers of pixels
OUTLIER = 6.0  # standard deviations: hot pixels beyond must not count as signal that the net missed
SAMPLE = 512  # pixels a side of the windows that the shares are fitted on
SAMPLE_3D = (32, 128, 128)
WINDOWS = 4
PILE = 0.01  # share of the pixels at the lowest or highest value that shows clipping


@dataclass(frozen=True)
class Posterior:
    """Which share of y - mu is signal, by the level mu.

    Args:
        levels: (L,) increasing, in the units of the image.
        shares: (L,) between 0 (all noise) and 1.
    """

    levels: np.ndarray
    shares: np.ndarray

    def mix(self, observed: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """The posterior mean, float32, of arrays of one shape in the units of the image."""
        share = np.interp(predicted, self.levels, self.shares)
        return np.asarray(predicted + share * (observed - predicted), np.float32)


NOTHING = Posterior(np.zeros(1), np.zeros(1))


def fit_posterior(observed: np.ndarray, predicted: np.ndarray) -> Posterior:
    """Fits the shares on a sample of one image.

    Args:
        observed: (..., H, W) noisy pixels in the units of the file.
        predicted: the blind-spot prediction there, same shape and units.

    Returns:
        The shares; all 0 where the image is too small (under 32 pixels a side) or too flat to tell its noise.
    """
    observed, predicted = (np.asarray(a, np.float64) for a in (observed, predicted))
    model = noise.from_single(observed.reshape(-1, *observed.shape[-2:]), clipped=clipped_at(observed))
    if model is None:
        return NOTHING
    order = np.argsort(predicted.ravel(), kind="stable")
    residual = (observed - predicted).ravel()
    expected = model.variance(predicted).ravel()
    levels, shares = [], []
    for group in np.array_split(order, min(LEVELS, max(1, order.size // 64))):
        spread = 1.4826 * np.median(np.abs(residual[group]))
        energy = np.mean(np.minimum(residual[group] ** 2, (OUTLIER * spread) ** 2)) if spread > 0 else 0.0
        levels.append(predicted.ravel()[group].mean())
        shares.append(1 - min(1.0, expected[group].mean() / energy) if energy > 0 else 0.0)
    return Posterior(np.array(levels), np.array(shares))


def clipped_at(image: np.ndarray) -> tuple[float, float]:
    """The values below and above which the camera or the file cut the image off; infinite where it did not."""
    low, high = float(image.min()), float(image.max())
    return (
        low if np.mean(image == low) > PILE else -np.inf,
        high if np.mean(image == high) > PILE else np.inf,
    )


def sample_windows(shape: tuple[int, ...], halo: int) -> list[tuple[Window, Window]]:
    """Up to `WINDOWS` windows spread along the diagonal of an image (N, [Z,] H, W), each in one item of the batch.

    Returns:
        Pairs (with up to `halo` pixels of context around it, the window seen from there).
    """
    count, *spatial = shape
    sides = [min(n, side) for n, side in zip(spatial, SAMPLE_3D if len(spatial) == 3 else (SAMPLE, SAMPLE))]
    room = max(count, *(-(-n // side) for n, side in zip(spatial, sides)))
    windows = []
    for place in np.linspace(0, 1, min(WINDOWS, room)) if room > 1 else (0.5,):
        item = round(place * (count - 1))
        read, crop = [slice(item, item + 1)], [slice(None)]
        for n, side in zip(spatial, sides):
            start = round(place * (n - side))
            first = max(0, start - halo)
            read.append(slice(first, min(n, start + side + halo)))
            crop.append(slice(start - first, start - first + side))
        windows.append((tuple(read), tuple(crop)))
    return windows
