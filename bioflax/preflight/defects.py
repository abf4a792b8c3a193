"""What is wrong with frames whatever their noise: duplicates, blanks, saturation, and pixels that never tell true."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioflax.preflight.noise import Noise

PILE_UP = 16  # pixels at one value before it may be called a pile-up


@dataclass
class FrameStatistics:
    """Gathers what one pass over all frames shows; `add` each frame once."""

    digests: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    blank: list[str] = field(default_factory=list)
    tops: list[tuple[float, int, bool]] = field(default_factory=list)
    bottoms: list[tuple[float, int, bool]] = field(default_factory=list)
    levels: set[float] = field(default_factory=set)
    pixels: int = 0

    def add(self, name: str, image: np.ndarray) -> None:
        """Takes in one frame of any shape."""
        low, high = image.min(), image.max()
        self.pixels += image.size
        if low == high:
            self.blank.append(name)
            return
        digest = hashlib.blake2b(f"{image.shape}{image.dtype.str}".encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image))
        self.digests[digest.hexdigest()].append(name)
        self.tops.append((float(high), *pile(image, high, top=True)))
        self.bottoms.append((float(low), *pile(image, low, top=False)))
        if len(self.levels) <= 256:
            self.levels.update(np.unique(image.ravel()[:: max(1, image.size // 65536)]).tolist())

    @property
    def duplicates(self) -> list[list[str]]:
        """Names of frames whose pixels are equal, byte for byte."""
        return [names for names in self.digests.values() if len(names) > 1]

    def saturation(self, dtype: np.dtype) -> tuple[float | None, float]:
        """(level, fraction of all pixels at it): the dtype's largest value, or a maximum at which pixels pile up."""
        return clipped_share(self.tops, float(np.iinfo(dtype).max) if dtype.kind in "ui" else None, self.pixels, max)

    def floor(self) -> tuple[float | None, float]:
        """(level, fraction of all pixels at it): a minimum at which pixels pile up, as where an offset was cut off."""
        return clipped_share(self.bottoms, None, self.pixels, min)


def clipped_share(
    ends: list[tuple[float, int, bool]], limit: float | None, pixels: int, extreme: Callable
) -> tuple[float | None, float]:
    """The level at which values were cut off, and the share of pixels at it; (None, 0.0) where they were not."""
    if not ends:
        return None, 0.0
    reached = extreme(value for value, _, _ in ends)
    # A stretch frame by frame cuts each frame off at another value; a pile in a single frame elsewhere is chance.
    common = sum(piled for _, _, piled in ends) > len(ends) / 2
    cut = [count for value, count, piled in ends if value == limit or (piled and (common or value == reached))]
    return (reached, sum(cut) / pixels) if cut else (None, 0.0)


def pile(image: np.ndarray, end: float, *, top: bool) -> tuple[int, bool]:
    """Pixels at the extreme value `end`, and whether they are far more than just inside it.

    A 12-bit camera in a 16-bit file, or a clipped float image, shows such a pile where no dtype limit is reached.
    """
    at_end = int((image == end).sum())
    if at_end < PILE_UP or at_end > 0.9 * image.size:
        return at_end, False
    end, integer = float(end), image.dtype.kind in "ui"
    width = 0.02 * (float(image.max()) - float(image.min()))
    width = max(width, 1.0) if integer else width
    inside = (image >= end - width) if top else (image <= end + width)
    near = int(inside.sum()) - at_end
    return at_end, at_end > 4 * (near / max(int(width), 1) if integer else near)


@dataclass(frozen=True)
class BadPixels:
    """Positions (z, y, x) of pixels that stand alone in every capture; `certain` once other scenes show them too."""

    hot: np.ndarray
    dead: np.ndarray
    certain: bool = False


def find_bad_pixels(captures: np.ndarray, noise: Noise) -> BadPixels:
    """Pixels far above (hot) or below (dead) all their neighbours, in every capture.

    A point source spreads over its neighbours, so a hot pixel must also exceed the brightest of them fourfold.

    Args:
        captures: (R, Z, Y, X) float, ADU; all of one scene, so that a point of the scene is a candidate, too.
        noise: gives the expected spread at each level.
    """
    repeats = len(captures)
    threshold, single = (6.0, 3.0) if repeats > 1 else (12.0, 12.0)
    mean = captures.mean(0)
    around = neighbours(mean)
    level = np.median(around, axis=0)
    spread = np.sqrt(noise.variance(level))
    contrast = mean - level
    # At low light a single photon already stands many deviations out: so many photons must come together, too.
    least = threshold * (noise.gain_adu_per_photon or 0.0) / np.sqrt(repeats)
    found = []
    for sign, near, far in ((1, around.max(0), around.min(0)), (-1, around.min(0), around.max(0))):
        stands_out = sign * contrast > np.maximum(threshold * spread / np.sqrt(repeats), least)
        alone = sign * (mean - far) > 4 * sign * (near - far)
        spots = np.argwhere(stands_out & alone)
        at = tuple(spots.T)
        each = sign * (captures[(slice(None), *at)] - level[at]) > single * spread[at]
        found.append(spots[each.all(0)])
    return BadPixels(*found)


def settle(records: Sequence[dict[str, Any]], suspects: Sequence[BadPixels | None]) -> None:
    """Adds the numbers of bad pixels to the records of scenes, in place: certain where scenes of one shape agree."""
    nothing = BadPixels(np.empty((0, 3), int), np.empty((0, 3), int))
    scenes = [nothing if suspect is None else suspect for suspect in suspects]
    for shape in {tuple(record["shape"]) for record in records}:
        own = [at for at, record in enumerate(records) if tuple(record["shape"]) == shape]
        # Channels and times of one file show one field: they are no second witness.
        fields = [records[at]["name"].partition("[")[0] for at in own]
        for at, bad in zip(own, confirm([scenes[at] for at in own], fields)):
            counts = {"hot_pixels": len(bad.hot), "dead_pixels": len(bad.dead)}
            records[at].update(counts, bad_pixels_certain=bad.certain)


def confirm(scenes: Sequence[BadPixels], fields: Sequence[str]) -> list[BadPixels]:
    """Keeps the positions that stand alone in at least half of the fields, and in two; one field alone confirms none.

    Repeats of one field cannot tell a point of the scene from a pixel of the camera; another field can.

    Args:
        scenes: what was found in each of several scenes of one shape.
        fields: which field of view each of them shows.
    """
    names = sorted(set(fields))
    if len(names) < 2:
        return list(scenes)
    kept = []
    for kind in ("hot", "dead"):
        found = [[getattr(s, kind) for s, field in zip(scenes, fields) if field == name] for name in names]
        kept.append(common([common(one, 1) for one in found], max(2, len(names) / 2)))
    return [BadPixels(common([s.hot, kept[0]], 2), common([s.dead, kept[1]], 2), certain=True) for s in scenes]


def common(positions: Sequence[np.ndarray], least: float) -> np.ndarray:
    """Positions (n, 3) that occur in at least so many of the lists."""
    found, counts = np.unique(np.concatenate(positions), axis=0, return_counts=True)
    return found[counts >= least]


def neighbours(image: np.ndarray) -> np.ndarray:
    """(8, Z, Y, X): the eight in-plane neighbours of each pixel, reflected at the border."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    height, width = image.shape[-2:]
    offsets = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return np.stack([padded[:, y : y + height, x : x + width] for y, x in offsets])
