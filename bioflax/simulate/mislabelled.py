"""Labels as people make them: objects missed, invented, displaced, drawn too large or too small. The picture stays."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import is_concrete, part, physical, quantity
from bioflax.simulate.nuclei import NucleiSimulator
from bioflax.simulate.spots import SpotSimulator
from bioflax.typing import Batch

MOST_GROWN_PX = 16
_STREAM = 0x6C61  # of the key of a batch


@physical
class Mislabelled:
    """A simulator whose pictures are those of another, key by key, and whose labels have errors; a `DeviceSource`.

    Args:
        simulator: `NucleiSimulator` or `SpotSimulator`.
        missed: share of the objects that the labels lack.
        spurious: labelled points where nothing is asked for, over those asked for; points only.
        shifted_px: standard deviation of each object's displacement along each axis; whole pixels for masks.
        grown_px: pixels that each mask is larger (above 0) or smaller all around; masks only.
    """

    simulator: Any = part()
    missed: float = quantity("share of the objects", at_least=0.0, at_most=1.0, default=0.0)
    spurious: float = quantity("over true points", at_least=0.0, at_most=1.0, default=0.0)
    shifted_px: float = quantity("px", at_least=0.0, default=0.0)
    grown_px: int = 0

    def _check_together(self) -> None:
        if isinstance(self.grown_px, bool) or not isinstance(self.grown_px, int) or abs(self.grown_px) > MOST_GROWN_PX:
            raise InputError(
                f"Mislabelled.grown_px: expected a whole number of pixels from -{MOST_GROWN_PX} to {MOST_GROWN_PX}, found "
                f"{self.grown_px!r}; try 1"
            )
        if isinstance(self.simulator, SpotSimulator) and self.grown_px:
            raise InputError(
                f"Mislabelled.grown_px: expected 0 for spots, which have no masks, found {self.grown_px}; try shifted_px"
            )
        if isinstance(self.simulator, NucleiSimulator) and is_concrete(self.spurious) and self.spurious > 0:
            raise InputError(
                f"Mislabelled.spurious: expected 0 for nuclei, only spots can be invented, found {self.spurious}; try missed"
            )

    @property
    def spoils(self) -> bool:
        """Whether there is any error to make."""
        return any(float(share) > 0 for share in (self.missed, self.spurious, self.shifted_px)) or self.grown_px != 0

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key; pictures are those of the simulator for this key, errors take a stream of their own.
            n: pictures.

        Returns:
            As the simulator's. `labels` are numbered without gaps, and `interior` goes with them; to `points` and `mask`
            as many places are added as there were, for spurious ones.
        """
        batch = self.simulator.sample(key, n)
        keys = jax.random.split(jax.random.fold_in(key, _STREAM), n)
        if "labels" in batch:
            labels, interior = jax.vmap(self._spoil_masks)(keys, batch["labels"], batch["interior"])
            return {**batch, "labels": labels, "interior": interior}
        spoil = functools.partial(self._spoil_points, shape=batch["image"].shape[1:-1])
        points, mask = jax.vmap(spoil)(keys, batch["points"], batch["mask"])
        return {**batch, "points": points, "mask": mask}

    def _spoil_points(
        self, key: jax.Array, points: jax.Array, mask: jax.Array, *, shape: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array]:
        choice_key, shift_key, place_key = jax.random.split(key, 3)
        missed, invented = noise.uniform(choice_key, (2, *mask.shape))
        size = jnp.asarray(shape, jnp.float32)
        moved = points + self.shifted_px * noise.normal(shift_key, points.shape)
        # Nobody clicks beside the picture.
        moved = jnp.where(mask[:, None] > 0, jnp.clip(moved, -0.5, size - 0.501), points)
        anywhere = noise.uniform(place_key, points.shape) * size - 0.5
        kept, added = mask * (missed >= self.missed), mask * (invented < self.spurious)
        return jnp.concatenate([moved, anywhere]), jnp.concatenate([kept, added])

    def _spoil_masks(self, key: jax.Array, labels: jax.Array, interior: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice_key, shift_key = jax.random.split(key)
        most = self.simulator.room
        kept = noise.uniform(choice_key, (most,)) >= self.missed
        step_px = jnp.round(self.shifted_px * noise.normal(shift_key, (most, 2))).astype(jnp.int32)
        labels, interior = move_masks(labels, interior, kept, step_px)
        if self.grown_px:
            labels, interior = grow_masks(labels, interior, self.grown_px, most)
        return renumber(labels, most), interior


def move_masks(
    labels: jax.Array, interior: jax.Array, kept: jax.Array, step_px: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Masks each moved by its own step; where two meet, a pixel belongs to the one whose middle is nearer.

    Args:
        labels: (H, W) int32, 1 to P.
        interior: (H, W), 1 in the middle of an object, 0 at its outline.
        kept: (P,) bool: which objects stay.
        step_px: (P, 2) int32, (y, x).

    Returns:
        labels and interior, (H, W); what is moved beyond the border is gone.
    """
    rows, columns = (jnp.arange(size) for size in labels.shape)

    def add(drawn: tuple[jax.Array, jax.Array], one: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], None]:
        number, stays, (dy, dx) = one
        from_y, from_x = rows - dy, columns - dx
        seen = ((from_y >= 0) & (from_y < labels.shape[0]))[:, None] & (from_x >= 0) & (from_x < labels.shape[1])
        here = (jnp.roll(labels, (dy, dx), (0, 1)) == number) & seen & stays
        depth = jnp.roll(interior, (dy, dx), (0, 1))
        here &= (drawn[0] == 0) | (depth > drawn[1])
        return (jnp.where(here, number, drawn[0]), jnp.where(here, depth, drawn[1])), None

    numbers = jnp.arange(1, len(kept) + 1, dtype=labels.dtype)
    return jax.lax.scan(add, (jnp.zeros_like(labels), jnp.zeros_like(interior)), (numbers, kept, step_px))[0]


def grow_masks(labels: jax.Array, interior: jax.Array, grown_px: int, most: int) -> tuple[jax.Array, jax.Array]:
    """Masks larger or smaller all around, by steps of a pixel to 4 and to 8 neighbours in turn, which makes octagons.

    Larger ones grow into the background only; smaller ones stay as they are at the border of the picture. `interior` is
    that of a round object of the same area.

    Args:
        labels, interior: (H, W).
        grown_px: pixels, below 0 for smaller.
        most: the highest label there can be.
    """
    area = jnp.zeros(most + 1).at[labels.ravel()].add(1.0)
    radius = jnp.maximum(jnp.sqrt(area / math.pi), 1.0)
    whole = jnp.maximum(radius + grown_px, 0.5)  # of the object afterwards
    interior = jnp.where(labels > 0, jnp.maximum(1.0 - (1.0 - interior) * (radius / whole)[labels], 0.0), 0.0)
    for number in range(abs(grown_px)):
        around = _neighbours(labels, diagonal=number % 2 == 1)
        if grown_px > 0:
            new = jnp.where(labels == 0, jnp.max(around, 0), 0)
            outside = 1.0 - ((radius + number + 0.5) / whole)[new]
            labels, interior = labels + new, jnp.where(new > 0, outside, interior)
        else:
            labels = jnp.where(jnp.all(around == labels, 0), labels, 0)
    return labels, jnp.where(labels > 0, interior, 0.0)


def _neighbours(labels: jax.Array, *, diagonal: bool) -> jax.Array:
    """(4 or 8, H, W) labels beside each pixel; beyond the border those of the edge."""
    height, width = labels.shape
    padded = jnp.pad(labels, 1, mode="edge")
    steps = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1) and (diagonal or 1 in (y, x))]
    return jnp.stack([padded[y : y + height, x : x + width] for y, x in steps])


def renumber(labels: jax.Array, most: int) -> jax.Array:
    """The same objects numbered from 1 on without gaps; `most` is the highest label there can be."""
    seen = jnp.zeros(most + 1, labels.dtype).at[labels.ravel()].set(1).at[0].set(0)
    return jnp.cumsum(seen, dtype=labels.dtype)[labels]
