"""Tunes a filter on the noisy image alone, by J-invariance (Batson & Royer 2019, Noise2Self)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bioflax.baselines.anscombe import Anscombe
from bioflax.baselines.filters import FILTERS
from bioflax.errors import InputError

TILE_PX = {2: 128, 3: 32}
STRIDE_PX, MARGIN_PX = 4, 3


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A filter with its parameters found.

    Attributes:
        name: of the filter, a key of `FILTERS`.
        parameters: as the filter takes them, in the unit of the image (of the stabilised image with a transform).
        error: u^2, the self-supervised error at the optimum: true error plus noise variance.
        transform: variance stabilisation around the filter, or None.
    """

    name: str
    parameters: dict[str, float]
    error: float
    transform: Anscombe | None = None

    def apply(self, image: Any) -> np.ndarray:
        """Filters an image of the kind it was calibrated on: (H, W) or (Z, H, W) -> float32."""
        if self.transform is None:
            return FILTERS[self.name](image, **self.parameters)
        stabilised = FILTERS[self.name](self.transform.forward(image), **self.parameters)
        return self.transform.inverse(stabilised).astype(np.float32)


def calibrate(name: str, image: Any, target: Any = None, *, transform: Anscombe | None = None) -> Calibrated:
    """Finds the parameters of a filter without clean data.

    Without a target, every fourth pixel along each axis is replaced by a stand-in made from pixels around it, the image
    is filtered and the result is compared with the pixels that were hidden: with noise independent from pixel to pixel
    this is the true error plus the noise variance. Noise that is correlated between pixels breaks it (too little
    smoothing); a second capture as target does not mind. Four tiles from dark to bright bound the time.

    Args:
        name: a key of `FILTERS`.
        image: (H, W) or (Z, H, W), any unit, at least 16 px a side.
        target: a second, independent noisy capture of the same scene, same shape and unit; never the clean image,
            which only bounds may see.
        transform: stabilises the variance first, for camera counts of known gain.

    Returns:
        The tuned filter.

    Raises:
        InputError: an unknown filter, a bad shape, NaN or infinite values, or a target that is no second capture.
    """
    if name not in FILTERS:
        raise InputError(f"filter: expected one of {', '.join(FILTERS)}, found {name!r}. Choose one of these.")
    image = np.asarray(image, np.float32)
    second = target is not None
    target = np.asarray(target, np.float32) if second else image
    if target.shape != image.shape:
        raise InputError(
            f"target: expected the shape of image {image.shape}, found {target.shape}. Crop or match them."
        )
    if image.ndim not in (2, 3) or min(image.shape) < 16:
        raise InputError(f"image: expected 2 or 3 axes of at least 16 px, found {image.shape}. Filter plane by plane.")
    if not (np.isfinite(image).all() and np.isfinite(target).all()):
        bad = int((~np.isfinite(image)).sum() + (~np.isfinite(target)).sum())
        raise InputError(f"image: expected finite values, found {bad} NaN or infinite. Replace them first.")
    if second and np.array_equal(image, target):
        raise InputError("target: expected another capture of the scene, found a copy of the image. Leave it out.")
    if transform is not None:
        image, target = (transform.forward(array).astype(np.float32) for array in (image, target))
    tiles = [(image[tile], target[tile]) for tile in _tiles(image)]
    error = _error_with_target if second else _error_j_invariant
    noise = _noise(tiles)
    parameters, least = _search(name, image.ndim, noise, lambda values: error(name, tiles, values))
    return Calibrated(name, parameters, least, transform)


def _search(
    name: str, axes: int, noise: float, error: Callable[[dict[str, float]], float]
) -> tuple[dict[str, float], float]:
    """Walks a geometric grid of the filter's one free strength and then halves its steps around the best twice."""
    if name == "median":
        grid = [{"size_px": size} for size in ((3, 5, 7) if axes == 2 else (3, 5))]
        errors = [error(values) for values in grid]
        best = int(np.argmin(errors))
        return grid[best], errors[best]
    make: dict[str, Callable[[float], dict[str, float]]] = {
        "gaussian": lambda s: {"sigma_px": s},
        "nlm": lambda s: {"h": s * noise, "noise": noise},
        "tv": lambda s: {"weight": s * noise},
        "wavelet": lambda s: {"noise": s * noise},
    }
    low, high = {"gaussian": (0.3, 9.6), "nlm": (0.1, 3.2), "tv": (0.1, 12.8), "wavelet": (0.125, 8.0)}[name]
    strengths = np.geomspace(low, high, 1 + round(np.log2(high / low)))
    tried = {float(s): error(make[name](float(s))) for s in strengths}
    step = 2.0
    for _ in range(2):
        step = np.sqrt(step)
        centre = min(tried, key=tried.__getitem__)
        for s in (centre / step, centre * step):
            tried[s] = error(make[name](s))
    best = min(tried, key=tried.__getitem__)
    return make[name](best), tried[best]


def _error_j_invariant(name: str, tiles: list[tuple[np.ndarray, np.ndarray]], parameters: dict[str, float]) -> float:
    total, count = 0.0, 0
    for image, _ in tiles:
        for hidden, stand_in in _hide(image):
            masked = image.copy()
            masked[hidden] = stand_in
            residual = FILTERS[name](masked, **parameters)[hidden] - image[hidden]
            total, count = total + float(np.sum(residual.astype(np.float64) ** 2)), count + residual.size
    return total / count


def _error_with_target(name: str, tiles: list[tuple[np.ndarray, np.ndarray]], parameters: dict[str, float]) -> float:
    residuals = [FILTERS[name](image, **parameters) - target for image, target in tiles]
    return float(sum(np.sum(r.astype(np.float64) ** 2) for r in residuals) / sum(r.size for r in residuals))


def _hide(image: np.ndarray) -> Iterator[tuple[tuple[np.ndarray, ...], np.ndarray]]:
    """Two grids of hidden pixels and what stands in for them, which knows nothing of the pixel itself.

    The mean of the neighbours alone would be an already denoised value: every filter would look best switched off.
    Adding the residual of a pixel a knight's move away, scaled so that the noise variance is again that of a pixel,
    makes the hidden grid indistinguishable from the rest, and the tuned strength that of the plain filter. The knight's
    move is the nearest whose neighbours are neither the hidden pixel nor any that its mean is taken from.
    """
    axes = image.ndim
    neighbours = _neighbour_mean(image)
    residual = image - neighbours
    scale = np.sqrt((1 - 1 / (2 * axes)) / (1 + 1 / (2 * axes)))
    generator = np.random.default_rng(0)
    for offset in (0, STRIDE_PX // 2):
        ranges = [np.arange(MARGIN_PX + offset, side - MARGIN_PX, STRIDE_PX) for side in image.shape]
        hidden = tuple(axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij"))
        move = np.zeros((hidden[0].size, axes), int)
        move[:, :2] = generator.permuted(np.broadcast_to([2, 1], (len(move), 2)), axis=1)
        move = generator.permuted(move, axis=1) * generator.choice([-1, 1], move.shape)
        source = tuple(position + step for position, step in zip(hidden, move.T))
        yield hidden, neighbours[hidden] + scale * residual[source]


def _neighbour_mean(image: np.ndarray) -> np.ndarray:
    """Mean of the 2 * ndim nearest neighbours, mirrored at the border."""
    framed = np.pad(image, 1, mode="reflect")
    total = np.zeros_like(image)
    for axis, shift in itertools.product(range(image.ndim), (0, 2)):
        window = [slice(1, -1)] * image.ndim
        window[axis] = slice(shift, shift + image.shape[axis])
        total += framed[tuple(window)]
    return total / (2 * image.ndim)


def _noise(tiles: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Scale of the noise, from pixels against their neighbours; detail counts as noise, so it is an upper guess."""
    axes = tiles[0][0].ndim
    square = np.mean([np.mean((image - _neighbour_mean(image)) ** 2, dtype=np.float64) for image, _ in tiles])
    spread = np.sqrt(square / (1 + 1 / (2 * axes)))
    # A constant image has none: any small positive strength leaves it as it is
    return float(max(spread, 1e-6 * max(abs(float(tiles[0][0].flat[0])), 1.0)))


def _tiles(image: np.ndarray) -> list[tuple[slice, ...]]:
    """At most four tiles at even ranks of brightness, so that background and structure both have a say."""
    side = TILE_PX[image.ndim]
    starts = [range(0, max(length - side, 0) + 1, side) for length in image.shape]
    tiles = [tuple(slice(start, start + side) for start in corner) for corner in itertools.product(*starts)]
    tiles.sort(key=lambda tile: float(image[tile].mean()))
    ranks = np.unique(np.linspace(0, len(tiles) - 1, 4).round().astype(int))
    return [tiles[rank] for rank in ranks]
