"""Resolution of a single image by decorrelation analysis. Float64 NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.resolution import _radius, _taper

_FILTERS = 10
_LEAST_DROP = 1e-3
"""How far the curve must fall behind a maximum for it to count: less is the last wave of noise."""


def decorrelation_resolution_px(image: Any) -> float:
    """Finest detail of an image, from how it correlates with its own phases up to a frequency.

    d(r) = Re sum I I_n* M_r / sqrt(sum |I|^2 sum |I_n M_r|^2), I the Fourier transform, I_n = I / |I|, M_r the disc of
    radius r; sums up to the Nyquist frequency. With noise beyond the band d falls behind the cut-off, so it has a
    maximum. High-pass filters of ten strengths, and ten more around the best, push the maximum outwards; the largest
    radius found is the cut-off. It needs no second image and no threshold. It measures where detail ends, not whether
    that detail is true.

    Args:
        image: (H, W) any unit; its borders are tapered.

    Returns:
        px: 1 / cut-off frequency, at least 2, in steps of a ring (1 / shorter side); infinity where no curve has a
        maximum, as for white noise, or for detail at high frequencies that is no stronger than the noise.

    Raises:
        InputError: no image (H, W) of at least 32 px a side, values that are not finite, or an even image.

    Source: A. Descloux, K. S. Grussmayer, A. Radenovic, Nature Methods 16 (2019).
    """
    image = np.asarray(image, np.float64)
    if image.ndim != 2 or min(image.shape) < 32 or not np.isfinite(image).all():
        raise InputError(f"image: expected finite numbers (H, W), 32 px a side or more, found shape {image.shape}.")
    if not np.ptp(image) > 0:
        raise InputError("image: expected some structure, found an even image. It has no resolution.")
    size = abs(np.fft.fft2((image - image.mean()) * _taper(image.shape, "tukey")))
    radius = 2 * _radius(image.shape)  # 1 is the Nyquist frequency
    inside = (radius > 0) & (radius <= 1)
    order = np.argsort(radius[inside], kind="stable")
    size, radius = size[inside][order], radius[inside][order]
    # One value a ring: within a ring the order of the frequencies means nothing
    rings = np.linspace(0.0, 1.0, min(image.shape) // 2 + 1)[1:]
    ends = np.searchsorted(radius, rings + 1e-9)

    def peak(sigma_px: float | None) -> float:
        passed = 1.0 if sigma_px is None else -np.expm1(-0.5 * (np.pi * sigma_px * radius) ** 2)
        return _peak(size * passed, ends, rings)

    first = peak(None)
    widest = 2 / first if first > 0 else min(image.shape) / 4
    sigmas_px = np.concatenate([[min(image.shape) / 4], np.geomspace(max(widest, 0.3), 0.15, _FILTERS - 1)])
    found = np.array([peak(sigma_px) for sigma_px in sigmas_px])
    best = int(np.argmax(found))
    around = np.geomspace(sigmas_px[max(best - 1, 0)], sigmas_px[min(best + 1, _FILTERS - 1)], _FILTERS)
    cutoff = max(first, found.max(), *(peak(sigma_px) for sigma_px in around))
    return float(2 / cutoff) if cutoff > 0 else float("inf")


def _peak(size: np.ndarray, ends: np.ndarray, rings: np.ndarray) -> float:
    """Radius of the highest maximum of the curve that it falls behind, of a spectrum sorted by radius; 0 without one."""
    power = float(np.sum(size**2))
    if power == 0:
        return 0.0
    curve = np.cumsum(size)[ends - 1] / np.sqrt(power * ends)
    drop = curve - np.minimum.accumulate(curve[::-1])[::-1]
    counted = np.where(drop >= _LEAST_DROP, curve, -np.inf)
    at = int(np.argmax(counted))
    return float(rings[at]) if np.isfinite(counted[at]) else 0.0
