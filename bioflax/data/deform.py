"""Augmentation of labelled pictures inside jit: one warp for image, labels, maps and positions, and changes of light.

Positions are in pixels with pixel centres at integers, (y, x) or (z, y, x). Volumes are warped in the plane only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp

from bioflax.data.augment import check_augment, draw_turns, turn
from bioflax.data.warp import Span, check_warp, pair, within
from bioflax.data.warp import elastic as elastic
from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.typing import Batch


def turn_points(
    points: jax.Array, turns: tuple[jax.Array, jax.Array, jax.Array], augment: tuple[str, ...], shape: tuple[int, ...]
) -> jax.Array:
    """Moves positions as `data.augment.turn` moves the pixels.

    Args:
        points: (N, P, 2 or 3) px.
        turns: from `draw_turns`.
        augment: the same names.
        shape: ([Z,] H, W) of the pictures.

    Returns:
        Positions of the same shape.
    """
    if not augment:
        return points
    transpose, flip_y, flip_x = (flags[:, None] for flags in turns)
    y, x = points[..., -2], points[..., -1]
    if "rot90" in augment:
        y, x = jnp.where(transpose, x, y), jnp.where(transpose, y, x)
    y, x = jnp.where(flip_y, shape[-2] - 1 - y, y), jnp.where(flip_x, shape[-1] - 1 - x, x)
    return jnp.concatenate([points[..., :-2], jnp.stack([y, x], axis=-1)], axis=-1)


def jitter_intensity(
    key: jax.Array, image: jax.Array, *, gain: Span = (0.6, 2.0), offset: Span = (-0.2, 0.2)
) -> jax.Array:
    """Scales and shifts each example of a normalised image, (N, ..., C): gain x image + offset, drawn evenly."""
    share = noise.uniform(key, (2, len(image), *[1] * (image.ndim - 1)))
    return (within(gain, share[0]) * image + within(offset, share[1])).astype(image.dtype)


def blur(key: jax.Array, image: jax.Array, sigma_px: Span = (0.0, 1.0)) -> jax.Array:
    """Blurs half of the examples in the plane by a Gaussian of their own width; the other half stays as it is.

    Args:
        key: typed key.
        image: (N, [Z,] H, W, C).
        sigma_px: standard deviation; a pair draws one per example.

    Returns:
        The same shape; borders repeat the edge pixel.
    """
    chosen, share = noise.uniform(key, (2, len(image)))
    sigma = jnp.where(chosen < 0.5, within(sigma_px, share), 0.0)
    reach = max(math.ceil(3.0 * max(pair(sigma_px))), 1)
    offsets = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdims=True)).T.reshape(-1, len(image), *[1] * (image.ndim - 1))
    for axis in (image.ndim - 3, image.ndim - 2):
        rim = [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)]
        padded, size = jnp.pad(image, rim, mode="edge"), image.shape[axis]
        shifted = (jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(2 * reach + 1))
        image = sum(weight * part for weight, part in zip(weights, shifted)).astype(image.dtype)
    return image


def add_noise(key: jax.Array, image: jax.Array, sigma: Span = (0.0, 0.05)) -> jax.Array:
    """Adds Gaussian noise to a normalised image, (N, ..., C), of a standard deviation drawn for each example."""
    level_key, noise_key = jax.random.split(key)
    level = within(sigma, noise.uniform(level_key, (len(image), *[1] * (image.ndim - 1))))
    return (image + level * noise.normal(noise_key, image.shape)).astype(image.dtype)


@dataclass(frozen=True)
class Deformation:
    """All of it, in order: flips and turns, warp, blur, light, noise. 0, False or None leaves a part out.

    Args:
        flip, rot90: flips and quarter turns in the plane, each element of the group equally likely.
        elastic_px: amplitude of the warp; a pair draws one per example.
        elastic_cell_px: size of its bulges.
        zoom: magnification; a pair draws one per example.
        rotate: largest angle either way, degrees.
        gain: of a normalised image; a pair draws one per example.
        offset: largest shift of a normalised image either way, or a pair.
        blur_px: largest width, or a pair.
        noise: largest standard deviation on a normalised image, or a pair.
        outside: what a warp brings in from beyond the border: "mirror", "edge"; None mirrors a batch without points.
    """

    flip: bool = True
    rot90: bool = True
    elastic_px: Span | None = (0.0, 2.0)
    elastic_cell_px: float = 32.0
    zoom: Span | None = (0.8, 1.25)
    rotate: float | None = 0.0
    gain: Span | None = (0.6, 2.0)
    offset: Span | None = (-0.2, 0.2)
    blur_px: Span | None = None
    noise: Span | None = (0.0, 0.05)
    outside: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, field.name, _as_span(field.name, value))
        check_warp(self.elastic_px or 0.0, self.elastic_cell_px, self.zoom or None)
        for name, sides in (("offset", (-1.0, 1.0)), ("blur_px", (0.0, 1.0)), ("noise", (0.0, 1.0))):
            value = getattr(self, name)
            if isinstance(value, int | float):
                value = tuple(side * float(value) for side in sides) if value else None
                object.__setattr__(self, name, value)
            if value is not None and (value[0] > value[1] or (name != "offset" and value[0] < 0)):
                raise InputError(f"deform.{name}: expected at least 0, found {value}; 0 leaves it out")

    def apply(self, key: jax.Array, batch: Batch) -> Batch:
        """Deforms whichever of these a batch holds, inside jit; other entries pass as they are.

        Args:
            key: typed key; each part takes its own stream of it.
            batch: "image" (N, [Z,] H, W, C), "labels" and "interior" (N, [Z,] H, W), "points" (N, P, 2 or 3) px,
                "mask" (N, P), which becomes 0 for points that leave the picture.

        Returns:
            The batch, the same shapes.
        """
        turn_key, warp_key, blur_key, light_key, noise_key = jax.random.split(key, 5)
        batch = self._warped(warp_key, self._turned(turn_key, dict(batch)))
        image = batch["image"]
        if self.blur_px:
            image = blur(blur_key, image, self.blur_px)
        if self.gain or self.offset:
            image = jitter_intensity(light_key, image, gain=self.gain or 1.0, offset=self.offset or 0.0)
        if self.noise:
            image = add_noise(noise_key, image, self.noise)
        return {**batch, "image": image}

    def _turned(self, key: jax.Array, batch: Batch) -> Batch:
        augment = tuple(name for name in ("flip", "rot90") if getattr(self, name))
        if not augment:
            return batch
        shape = batch["image"].shape[1:-1]
        check_augment(augment, shape)
        turns = draw_turns(noise.uniform(key, (len(batch["image"]),)), augment, jnp)
        batch["image"] = turn(batch["image"], turns, augment, jnp)
        for name in ("labels", "interior"):
            if name in batch:
                batch[name] = turn(batch[name][..., None], turns, augment, jnp)[..., 0]
        if "points" in batch:
            batch["points"] = turn_points(batch["points"], turns, augment, shape)
        return batch

    def _warped(self, key: jax.Array, batch: Batch) -> Batch:
        if not (self.elastic_px or self.zoom or self.rotate):
            return batch
        points = batch.get("points")
        warped = elastic(
            key,
            batch["image"],
            amplitude_px=self.elastic_px or 0.0,
            cell_px=self.elastic_cell_px,
            zoom=self.zoom or None,
            rotate=self.rotate or 0.0,
            labels=batch.get("labels"),
            maps=batch.get("interior"),
            points=points,
            outside=self.outside or ("mirror" if points is None else "edge"),
        )
        inside = warped.pop("inside", None)
        if "mask" in batch and inside is not None:
            warped["mask"] = batch["mask"] * inside
        return {**batch, **{"interior" if name == "maps" else name: value for name, value in warped.items()}}


def _as_span(name: str, value: Sequence[float]) -> tuple[float, float]:
    """A list of the configuration as a pair; InputError unless it is (low, high)."""
    numbers = all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
    if isinstance(value, str) or len(value) != 2 or not numbers or value[0] > value[1]:
        raise InputError(f"deform.{name}: expected one number or (low, high) with low <= high, found {value!r}")
    return float(value[0]), float(value[1])
