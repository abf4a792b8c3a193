"""Fidelity of one image against its target: PSNR, SI-PSNR, SSIM, NRMSE, MicroSSIM.

Every function takes single images of equal shape. Host arrays are judged in float64; JAX arrays stay in JAX, so the
functions of one image may be jitted and mapped over a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.metrics.numerics import as_float
from bioflax.typing import Array


def psnr(image: Any, target: Any, data_range: float | None = None, *, clip: tuple[float, float] | None = None) -> Array:
    """Peak signal-to-noise ratio.

    The FMD protocol is `data_range=255, clip=(0, 255)` on 8-bit values; CARE and CAREamics leave `data_range` None.

    Args:
        image: (...) the restored image, in the unit of the target.
        target: (...) the clean image.
        data_range: peak R of 20 log10(R / RMSE); None takes max - min of the target.
        clip: range that the image (not the target) is clipped to first.

    Returns:
        () dB; infinite for equal images.
    """
    xp, (image, target) = as_float(image=image, target=target)
    if clip is not None:
        image = xp.clip(image, clip[0], clip[1])
    return _decibel(xp, _peak(xp, target, data_range), xp.mean((image - target) ** 2))


def si_psnr(image: Any, target: Any) -> Array:
    """Scale-invariant PSNR: the image may have any gain and offset. Not interchangeable with PSNR.

    Definition of careamics: with both means removed, alpha = <g, p> / <p, p>, the error is mean (g - alpha p)^2 and the
    peak is max - min of the target.

    Args:
        image: (...) the restored image, any unit.
        target: (...) the clean image.

    Returns:
        () dB.
    """
    xp, (image, target) = as_float(image=image, target=target)
    matched = affine_match(image, target)
    return _decibel(xp, _peak(xp, target, None), xp.mean((matched - target) ** 2))


def affine_match(image: Any, target: Any) -> Array:
    """The least-squares a * image + b closest to the target; the mean of the target where the image is constant."""
    xp, (image, target) = as_float(image=image, target=target)
    centred = image - xp.mean(image)
    energy = xp.sum(centred**2)
    gain = xp.sum(centred * (target - xp.mean(target))) / xp.where(energy > 0, energy, 1.0)
    return gain * centred + xp.mean(target)


def nrmse(image: Any, target: Any, *, percentiles: tuple[float, float] = (0.1, 99.9)) -> Array:
    """Root mean square error after an affine match, in units of the target's percentile range (CARE, DFCAN).

    Args:
        image: (...) the restored image, any unit.
        target: (...) the clean image.
        percentiles: percent, of the target, that become 0 and 1.

    Returns:
        () dimensionless.
    """
    xp, (image, target) = as_float(image=image, target=target)
    low, high = xp.percentile(target, xp.asarray(percentiles))
    return xp.sqrt(xp.mean((affine_match(image, target) - target) ** 2)) / (high - low)


def ssim(image: Any, target: Any, data_range: float | None = None) -> Array:
    """Structural similarity with Gaussian weights (sigma 1.5 px, 11 taps) and population covariance.

    Wang et al. 2004; equals `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)`.

    Args:
        image: (H, W) or (Z, H, W); axes of length 1 are dropped.
        target: same shape.
        data_range: dynamic range of the constants; None takes max - min of the target.

    Returns:
        () mean over all windows that lie inside the image.

    Raises:
        InputError: a side is shorter than the 11 px window.
    """
    xp, (image, target) = as_float(image=image, target=target)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    return _local_statistics(xp, image, target, taps / taps.sum()).similarity(1.0, _peak(xp, target, data_range)).mean()


def microssim(images: Sequence[Any], targets: Sequence[Any]) -> np.ndarray:
    """MicroSSIM of a set of images: SSIM after background removal and one gain fitted to the whole set.

    Ashesh et al. 2024 (arXiv 2408.08747): the third percentile of each set is its background, both are divided by the
    largest background-free target value, and the gain alpha maximises the mean similarity over the set. Windows are
    uniform, 7 px, with sample covariance, as published.

    Args:
        images: N arrays (H, W) or (Z, H, W), any unit.
        targets: N arrays of the same shapes.

    Returns:
        (N,) float64, one value an image.

    Raises:
        InputError: the sets differ in length or shapes, or a side is shorter than 7 px.
    """
    if len(images) != len(targets) or len(images) == 0:
        raise InputError(f"images: expected one an entry of targets ({len(targets)}), found {len(images)}. Pair them.")
    pairs = [as_float(image=image, target=target)[1] for image, target in zip(images, targets)]
    pairs = [(np.asarray(image, np.float64), np.asarray(target, np.float64)) for image, target in pairs]
    background_image = np.percentile(np.concatenate([image.ravel() for image, _ in pairs]), 3)
    background_target = np.percentile(np.concatenate([target.ravel() for _, target in pairs]), 3)
    peak = max(target.max() for _, target in pairs) - background_target
    peak = peak if peak > 0 else 1.0
    window = np.full(7, 1 / 7)

    def normalised() -> Any:
        for image, target in pairs:
            image, target = (image - background_image) / peak, (target - background_target) / peak
            count = float(np.prod([7 for side in image.shape if side > 1]))
            statistics = _local_statistics(np, image, target, window, unbiased=count / (count - 1))
            yield statistics, max(float(np.ptp(target)), 1e-12)

    # A million windows fix the gain to four digits; all of them would only cost time
    stride = max(1, sum(image.size for image, _ in pairs) // 1_000_000)
    sample = [(statistics.thinned(stride), data_range) for statistics, data_range in normalised()]
    total = sum(statistics.covariance.size for statistics, _ in sample)
    alpha = _maximise(lambda gain: sum(s.similarity(gain, r).sum() for s, r in sample) / total)
    return np.array([statistics.similarity(alpha, data_range).mean() for statistics, data_range in normalised()])


@dataclasses.dataclass(frozen=True)
class _LocalStatistics:
    """Weighted moments of image and target in every window."""

    mean_image: Array
    mean_target: Array
    variance_image: Array
    variance_target: Array
    covariance: Array

    def thinned(self, stride: int) -> _LocalStatistics:
        return _LocalStatistics(*(getattr(self, f.name).ravel()[::stride] for f in dataclasses.fields(self)))

    def similarity(self, gain: float, data_range: Any) -> Array:
        """SSIM of gain * image against the target, window by window."""
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        luminance = (2 * gain * self.mean_image * self.mean_target + c1) / (
            gain**2 * self.mean_image**2 + self.mean_target**2 + c1
        )
        return (
            luminance * (2 * gain * self.covariance + c2) / (gain**2 * self.variance_image + self.variance_target + c2)
        )


def _local_statistics(
    xp: ModuleType, image: Array, target: Array, taps: np.ndarray, unbiased: float = 1.0
) -> _LocalStatistics:
    sides = tuple(side for side in image.shape if side > 1)
    if not sides or min(sides) < len(taps):
        raise InputError(
            f"image: expected at least {len(taps)} px a side for SSIM, found {image.shape}. Use a larger crop."
        )
    image, target = image.reshape(sides), target.reshape(sides)
    # Moments about a common level: with camera offsets of hundreds of counts, E[x^2] - E[x]^2 would cancel
    level = xp.mean(target)
    image, target = image - level, target - level
    stack = xp.stack([image, target, image**2, target**2, image * target])
    for axis in range(1, stack.ndim):
        extent = stack.shape[axis] - len(taps) + 1
        window = [slice(None)] * stack.ndim
        total = 0.0
        for start, weight in enumerate(taps):
            window[axis] = slice(start, start + extent)
            total = total + float(weight) * stack[tuple(window)]
        stack = total
    x, y, xx, yy, xy = stack
    return _LocalStatistics(
        x + level, y + level, unbiased * (xx - x * x), unbiased * (yy - y * y), unbiased * (xy - x * y)
    )


def _maximise(objective: Any) -> float:
    """The positive gain of largest objective: a geometric grid, then golden section around its best point."""
    grid = np.geomspace(1e-3, 1e3, 49)
    best = int(np.argmax([objective(gain) for gain in grid]))
    low, high = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, len(grid) - 1)])
    ratio = (np.sqrt(5) - 1) / 2
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [objective(np.exp(point)) for point in inner]
    while high - low > 1e-5:
        if values[0] >= values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - ratio * (high - low)
            values[0] = objective(np.exp(inner[0]))
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + ratio * (high - low)
            values[1] = objective(np.exp(inner[1]))
    return float(np.exp((low + high) / 2))


def _peak(xp: ModuleType, target: Array, data_range: float | None) -> Any:
    return xp.max(target) - xp.min(target) if data_range is None else data_range


def _decibel(xp: ModuleType, peak: Any, error: Any) -> Array:
    with np.errstate(divide="ignore"):  # equal images: infinite dB is the answer, not a warning
        return 20 * xp.log10(peak) - 10 * xp.log10(error)
