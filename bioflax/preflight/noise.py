"""The noise of an image: variance against mean, and the correlation between neighbouring pixels.

With repeats of one scene both come from differences of captures, where the scene cancels. A single image gives
estimates: its smoothest blocks, filtered across the axis in question so that the scene drops out and the noise stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LAGS = 8
BLOCK = 16  # pixels: large enough for an autocorrelation, small enough that many blocks hold no structure
COARSE = 4  # pixels: scene shows at this scale, uncorrelated noise hardly does
CELL = 8  # pixels: means in which the noise of few photons no longer hides the level
STRATA = 16  # levels of brightness, so that bright and dark areas both have a say
CHUNK = 1024  # blocks transformed at once: all of a movie's would take gigabytes
SMOOTH_SHARE = 0.2  # the smoothest blocks of each level are taken as free of structure


@dataclass(frozen=True)
class Noise:
    """What is known of the noise of one scene.

    Args:
        gain_adu_per_photon: slope of variance against mean, or None where the noise does not grow with the signal.
        intercept_adu2: variance at mean zero: read noise^2 - gain * camera offset.
        correlation: autocorrelation at lags 1 .. `LAGS` pixels for each spatial axis.
        lag_map: (2 LAGS + 1, 2 LAGS + 1) autocorrelation over (Y, X) lags, 1 in the middle.
        means, variances: (bins,) the points of the variance-mean plot, ADU and ADU^2.
        skewness, excess_kurtosis: shape of the noise in smooth blocks; both 0 for a Gaussian.
        method: `repeats` (exact) or `single image` (estimated).
    """

    gain_adu_per_photon: float | None
    intercept_adu2: float
    correlation: dict[str, tuple[float, ...]]
    lag_map: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    skewness: float
    excess_kurtosis: float
    method: str

    def variance(self, mean: np.ndarray | float) -> np.ndarray:
        """Noise variance, ADU^2, at an expected level `mean`, ADU."""
        line = (self.gain_adu_per_photon or 0.0) * np.asarray(mean, float) + self.intercept_adu2
        return np.maximum(line, 0.01 * float(np.median(self.variances)))

    def straightness(self) -> float | None:
        """Share of the spread of the variance-mean points that the line explains, R^2; None without a slope."""
        spread = np.var(self.variances)
        if self.gain_adu_per_photon is None or not spread > 0:
            return None
        return float(1 - np.mean((self.variances - self.variance(self.means)) ** 2) / spread)

    def blind_spot_leak(self) -> float:
        """Share of the noise power that the neighbours of a hidden pixel give away; 0 for white noise."""
        return neighbour_share(self.lag_map)


def from_repeats(captures: np.ndarray, *, clipped: tuple[float, float] = (-np.inf, np.inf)) -> Noise | None:
    """Noise from captures of one scene: exact up to what bleaching leaves after each block's plane is taken off.

    Args:
        captures: (R, Z, Y, X) float, ADU, R >= 2 distinct captures.
        clipped: values at or beyond these two are saturated or cut off and are not used in the variance-mean line.

    Returns:
        The noise, or None where the image is too small or constant.
    """
    captures = match_brightness(np.asarray(captures, np.float64))
    height, width = captures.shape[-2:]
    block = min(2 * BLOCK, height, width)
    if block < 8:
        return None
    mean = captures.mean(0)
    residual = tiles(captures[1:] - captures[:-1], block)
    residual = (residual - plane(residual)) / np.sqrt(2.0)
    variance = residual**2
    if not variance.mean() > 0:
        return None
    lag_map = autocorrelation(residual, min(LAGS, block // 2))
    correlation = {"Y": lag_map[LAGS + 1 :, LAGS], "X": lag_map[LAGS, LAGS + 1 :]}
    if captures.shape[1] > 1:
        correlation = {"Z": plane_correlation(residual), **correlation}
    usable = np.all((captures > clipped[0]) & (captures < clipped[1]), 0)
    # Pixels sorted by their own noisy mean would land in bins too dark or too bright and flatten the line.
    cells = (tiles(tiles(a, block), CELL) for a in (mean, variance.mean(0), usable))
    mean, variance, usable = (cell.mean((-1, -2)).ravel() for cell in cells)
    means, variances, counts = bin_by_mean(mean, variance, usable == 1, bins=2 * STRATA)
    gain, intercept = fit_line(means, variances, counts)
    smooth = tiles(captures[0], block)
    skewness, kurtosis = shape_of(smooth[select_smooth(smooth)])
    return Noise(
        gain, intercept, as_tuples(correlation), lag_map, means, variances, skewness, kurtosis, method="repeats"
    )


def from_single(image: np.ndarray, *, clipped: tuple[float, float] = (-np.inf, np.inf)) -> Noise | None:
    """Noise of one image, estimated from its smoothest blocks.

    The autocorrelation along an axis is taken after a second difference across the other in-plane axis: it removes the
    scene, which is smooth, and keeps the noise (exact where the noise spectrum is separable).

    Args:
        image: (Z, Y, X) float, ADU.
        clipped: as in `from_repeats`.

    Returns:
        The noise, or None where the image is too small or constant.
    """
    image = np.asarray(image, np.float64)
    if min(image.shape[-2:]) < 2 * BLOCK or not image.std() > 0:
        return None
    inner = image[:, 1:-1, 1:-1]
    raw = tiles(inner, BLOCK)
    chosen = select_smooth(raw)
    across_y, across_x = second_difference(image, 1)[:, :, 1:-1], second_difference(image, 2)[:, 1:-1]
    across_both = second_difference(second_difference(image, 1), 2)
    along_x = autocorrelation(tiles(across_y, BLOCK)[chosen], LAGS)[LAGS, LAGS + 1 :]
    along_y = autocorrelation(tiles(across_x, BLOCK)[chosen], LAGS)[LAGS + 1 :, LAGS]
    correlation = {"Y": along_y, "X": along_x}
    if image.shape[0] > 1:
        correlation = {"Z": plane_correlation(tiles(across_both, BLOCK)[None], chosen), **correlation}
    residual = raw - plane(raw)
    if max(along_x[0], along_y[0]) > 0.2:
        # A difference filter suppresses correlated noise, so its power comes from the blocks themselves.
        variance = (residual**2).mean((-1, -2))
    else:
        # The gain of [1, -2, 1] on noise with autocorrelation r is 6 - 8 r1 + 2 r2, once for each axis.
        power = np.prod([max(6 - 8 * r[0] + 2 * r[1], 1.0) for r in (along_x, along_y)])
        variance = (tiles(across_both, BLOCK) ** 2).mean((-1, -2)) / power
    usable = ((raw > clipped[0]) & (raw < clipped[1])).mean((-1, -2)) > 0.98
    means, variances, counts = bin_by_mean(raw.mean((-1, -2))[chosen], variance[chosen], usable[chosen], bins=STRATA)
    if not np.any(variances > 0):
        return None
    gain, intercept = fit_line(means, variances, counts)
    mirrored = {axis: np.concatenate([r[::-1], [1.0], r]) for axis, r in correlation.items()}
    return Noise(
        gain,
        intercept,
        as_tuples(correlation),
        np.outer(mirrored["Y"], mirrored["X"]),
        means,
        variances,
        *shape_of(raw[chosen]),
        method="single image",
    )


def match_brightness(captures: np.ndarray) -> np.ndarray:
    """Brings captures (R, Z, Y, X) to the gain and offset of their mean, undoing bleaching or a per-image stretch."""
    block = min(BLOCK, *captures.shape[-2:])
    coarse = tiles(captures, block).mean((-1, -2)).reshape(len(captures), -1)
    common = coarse.mean(0) - coarse.mean()
    matched = []
    for capture, level in zip(captures, coarse):
        centred = level - level.mean()
        spread = np.sqrt((centred**2).sum() * (common**2).sum())
        # Noise alone would give a slope of nearly zero: only a scene that shows in both may set the scale.
        alike = spread > 0 and (centred * common).sum() / spread > 0.9
        slope = (centred * common).sum() / (centred**2).sum() if alike else 1.0
        matched.append((capture - level.mean()) * slope + coarse.mean())
    return np.stack(matched)


def tiles(image: np.ndarray, block: int) -> np.ndarray:
    """Cuts (..., Y, X) into whole blocks (..., rows, columns, block, block)."""
    *lead, height, width = image.shape
    rows, columns = height // block, width // block
    cut = image[..., : rows * block, : columns * block].reshape(*lead, rows, block, columns, block)
    return np.swapaxes(cut, -3, -2)


def plane(blocks: np.ndarray) -> np.ndarray:
    """The least-squares plane of each block (..., b, b)."""
    size = blocks.shape[-1]
    ramp = (np.arange(size) - (size - 1) / 2) / np.sqrt((size**3 - size) / 12)
    mean = blocks.mean((-1, -2), keepdims=True)
    slope_y = (blocks.mean(-1) * ramp).sum(-1)[..., None, None]
    slope_x = (blocks.mean(-2) * ramp).sum(-1)[..., None, None]
    return mean + slope_y * ramp[:, None] + slope_x * ramp


def second_difference(image: np.ndarray, axis: int) -> np.ndarray:
    """The filter [1, -2, 1] along one axis; two samples shorter."""
    return np.diff(image, n=2, axis=axis)


def select_smooth(blocks: np.ndarray) -> np.ndarray:
    """Marks (..., rows, columns) the blocks with the least coarse structure among those of equal brightness."""
    size = blocks.shape[-1] // COARSE * COARSE
    residual = (blocks - plane(blocks))[..., :size, :size]
    shape = (*residual.shape[:-2], size // COARSE, COARSE, size // COARSE, COARSE)
    structure = residual.reshape(shape).mean((-1, -3)).var((-1, -2)).ravel()
    order = np.argsort(blocks.mean((-1, -2)).ravel(), kind="stable")
    marked = np.zeros(order.size, bool)
    for level in np.array_split(order, min(STRATA, max(1, order.size // 8))):
        keep = max(2, round(SMOOTH_SHARE * level.size))
        marked[level[np.argsort(structure[level], kind="stable")[:keep]]] = True
    return marked.reshape(blocks.shape[:-2])


def autocorrelation(residual: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation over (Y, X) lags of blocks (..., b, b), pooled; (2 LAGS + 1, 2 LAGS + 1), zero beyond `lags`."""
    size = residual.shape[-1]
    blocks, padded = residual.reshape(-1, size, size), (2 * size, 2 * size)
    spectrum = np.zeros((2 * size, size + 1))
    for start in range(0, len(blocks), CHUNK):
        spectrum += (np.abs(np.fft.rfft2(blocks[start : start + CHUNK], s=padded)) ** 2).sum(0)
    sums = np.roll(np.fft.irfft2(spectrum, s=padded), (LAGS, LAGS), (0, 1))
    reach = size - np.abs(np.arange(-lags, lags + 1))
    inner = slice(LAGS - lags, LAGS + lags + 1)
    pairs = np.outer(reach, reach)
    covariance = np.zeros((2 * LAGS + 1, 2 * LAGS + 1))
    covariance[inner, inner] = sums[inner, inner] / pairs
    middle = covariance[LAGS, LAGS]
    return covariance / middle if middle > 0 else covariance


def plane_correlation(residual: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """Correlation between planes 1 .. LAGS apart; residual (R, Z, rows, columns, b, b), chosen (Z, rows, columns)."""
    weight = np.ones(residual.shape[1:4]) if chosen is None else chosen.astype(float)
    planes = residual.shape[1]
    power = ((residual**2).mean((0, -1, -2)) * weight).sum() / weight.sum()
    correlation = np.zeros(LAGS)
    for lag in range(1, min(LAGS, planes - 1) + 1):
        product = (residual[:, lag:] * residual[:, :-lag]).mean((0, -1, -2))
        pair = weight[:-lag]
        correlation[lag - 1] = (product * pair).sum() / max(pair.sum(), 1.0) / max(power, 1e-300)
    return correlation


def bin_by_mean(
    mean: np.ndarray, variance: np.ndarray, usable: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups samples into `bins` levels of brightness with equal counts; returns mean, variance and count of each."""
    if usable.sum() >= 2 * bins:
        mean, variance = mean[usable], variance[usable]
    order = np.argsort(mean, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, max(1, order.size // 2))) if group.size]
    counts = np.array([group.size for group in groups])
    return np.array([mean[g].mean() for g in groups]), np.array([variance[g].mean() for g in groups]), counts


def fit_line(means: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> tuple[float | None, float]:
    """Robust line through the variance-mean plot, by relative residuals (a variance is known to a share of itself).

    Returns:
        (slope or None where it is not above its own standard error, intercept).
    """
    level = float(np.average(variances, weights=counts))
    if len(means) < 4 or np.ptp(means) <= 1e-9 * max(abs(means).max(), 1e-300):
        return None, level
    design = np.stack([means, np.ones_like(means)], 1)
    scale = np.maximum(variances, 0.05 * level)
    trust = np.ones_like(means)
    for _ in range(30):
        weight = np.sqrt(counts * trust) / scale
        line = np.linalg.lstsq(design * weight[:, None], variances * weight, rcond=None)[0]
        scale = np.maximum(design @ line, 0.05 * level)
        residual = np.abs(variances - design @ line) / scale
        tolerance = max(1.5 * 1.4826 * float(np.median(residual)), 1e-9)
        trust = np.minimum(1.0, tolerance / np.maximum(residual, 1e-300))
    weight = np.sqrt(counts * trust) / scale
    weighted = design * weight[:, None]
    misfit = ((variances - design @ line) * weight) ** 2
    error = np.sqrt(np.linalg.inv(weighted.T @ weighted)[0, 0] * misfit.sum() / max(len(means) - 2, 1))
    if line[0] <= 2 * error:
        return None, level
    return float(line[0]), float(line[1])


def shape_of(blocks: np.ndarray) -> tuple[float, float]:
    """Skewness and excess kurtosis of blocks (n, b, b), each standardised after its plane is taken off."""
    residual = blocks - plane(blocks)
    spread = residual.std((-1, -2), keepdims=True)
    kept = residual[spread[..., 0, 0] > 0] / spread[spread[..., 0, 0] > 0]
    if kept.size == 0:
        return 0.0, 0.0
    return float((kept**3).mean()), float((kept**4).mean() - 3.0)


def neighbour_share(lag_map: np.ndarray, reach: int = 2) -> float:
    """Share of a pixel's noise that is linear in its neighbours within `reach` pixels: 1 - 1/(R^-1)_ii."""
    middle = lag_map.shape[0] // 2
    offsets = np.array([(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)])
    between = offsets[:, None] - offsets[None] + middle
    matrix = lag_map[between[..., 0], between[..., 1]]
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    # A measured autocorrelation need not be positive definite; tiny or negative powers are noise of the estimate.
    inverse = (vectors / np.maximum(values, 0.02)) @ vectors.T
    own = len(offsets) // 2
    return float(np.clip(1 - 1 / inverse[own, own], 0.0, 1.0))


def as_tuples(correlation: dict[str, np.ndarray]) -> dict[str, tuple[float, ...]]:
    return {axis: tuple(float(value) for value in values) for axis, values in correlation.items()}
