"""Scenes of membranes with detail at the limit of resolution: the net of the endoplasmic reticulum, and vesicles.

Protocol, unit and room are those of `simulate.structures`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.optics import noise
from bioflax.optics.quantities import physical, quantity
from bioflax.simulate import draw
from bioflax.simulate.spans import Span, within
from bioflax.simulate.structures import fit_cells

_LANES, _KNOTS = 3, 6
_SPHERE_POINTS = 256


@physical
class Network:
    """Thin tubes that meet in threes, as in the endoplasmic reticulum: a crooked honeycomb with gaps, uneven label.

    Args:
        apart_nm: mean length of a tube between two junctions.
        tube_nm: width of a tube.
        line_nm: light of a tube: that of a strip of density 1 of this width.
        kept: share of the honeycomb's tubes that are there.
        grain: share of the label that is uneven.
        room: junctions along and across, static; see `with_room`.
    """

    apart_nm: float = quantity("nm between junctions", above=0.0, default=800.0)
    tube_nm: float = quantity("nm", at_least=0.0, default=100.0)
    line_nm: float = quantity("nm of equal strip", at_least=0.0, default=220.0)
    kept: float = quantity("share of the tubes", at_least=0.0, at_most=1.0, default=0.85)
    grain: float = quantity("share of the label that is uneven", at_least=0.0, at_most=1.0, default=0.5)
    room: tuple[int, int] = (0, 0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        node_key, turn_key, form_key, label_key = jax.random.split(key, 4)
        room = self.with_room(shape, pixel_nm).room[0]
        corners, first, second = _honeycomb(room)
        scale_px = self.apart_nm / pixel_nm
        nodes = scale_px * (corners + noise.uniform(node_key, corners.shape, -0.4, 0.4))
        turn = 2.0 * jnp.pi * noise.uniform(turn_key, ())
        turning = jnp.stack([jnp.cos(turn), -jnp.sin(turn), jnp.sin(turn), jnp.cos(turn)]).reshape(2, 2)
        nodes = nodes @ turning + 0.5 * jnp.asarray(shape, jnp.float32)
        points = 3 * math.ceil(math.hypot(*shape) / room)
        form = noise.normal(form_key, (len(first), 2 + _KNOTS))
        share = noise.uniform(label_key, (len(first), 1 + points))
        position, length_px = _tubes(nodes[first], nodes[second], 0.12 * form[:, 0], points)
        position = position[:, :, None, :] + self.tube_nm / pixel_nm * _lanes(nodes[first], nodes[second], length_px)
        label = 1.0 + self.grain * (0.5 * draw.along(form[:, 2:], points) + 1.6 * share[:, 1:] - 0.8)
        bright = jnp.exp(0.25 * form[:, 1] - 0.03) * (share[:, 0] < self.kept) * length_px
        light = bright[:, None] * jnp.maximum(label, 0.0) / (_LANES * points)
        image = draw.splat(position, jnp.broadcast_to(light[..., None], position.shape[:-1]), shape)
        return self.line_nm / pixel_nm * image

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Network:
        """The scene with room for a picture of that size, however the net is turned."""
        diagonal = math.ceil(math.hypot(*shape))
        return fit_cells(self, (diagonal, diagonal), pixel_nm)


@physical
class Vesicles:
    """Hollow spheres, label on the membrane alone: seen from above a disc with a bright rim, 1 in its middle.

    Args:
        radius_nm: of a sphere; a pair draws one for each, evenly.
        apart_nm: at most one vesicle on a square of this side, on average; a picture has 3 to 10 tenths of that.
        grain: share of the label that is uneven.
        room: rows and columns of such squares, static; see `with_room`.
    """

    radius_nm: Span = quantity("nm", kind="span", above=0.0, default=(60.0, 250.0))
    apart_nm: float = quantity("nm between neighbours", above=0.0, default=700.0)
    grain: float = quantity("share of the label that is uneven", at_least=0.0, at_most=1.0, default=0.5)
    room: tuple[int, int] = (0, 0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        place_key, light_key, label_key, number_key = jax.random.split(key, 4)
        room = math.prod(self.with_room(shape, pixel_nm).room)
        place = noise.uniform(place_key, (room, 5))
        centre = place[:, :2] * jnp.asarray(shape, jnp.float32)
        radius_px = within(self.radius_nm, place[:, 2]) / pixel_nm
        position = centre[:, None] + radius_px[:, None, None] * _spheres(2.0 * jnp.pi * place[:, 3:])
        there = jnp.arange(room) < room * noise.uniform(number_key, (), 0.3, 1.0)
        bright = jnp.exp(0.3 * noise.normal(light_key, (room,)) - 0.05) * there
        # An even shell shows 1 / sqrt(1 - (r / radius)^2), whose integral over the disc is 2 pi radius^2.
        light = 2.0 * jnp.pi * radius_px**2 * bright / _SPHERE_POINTS
        label = 1.0 + self.grain * noise.uniform(label_key, position.shape[:-1], -1.0, 1.0)
        return draw.splat(position, light[:, None] * label, shape)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Vesicles:
        """The scene with room for a picture of that size."""
        return fit_cells(self, shape, pixel_nm)


def _honeycomb(room: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (P, 2) (y, x) about zero of a honeycomb of sides 1 that covers `room` + 1 sides, and its sides' two ends."""
    rows, columns = (math.ceil((room + 1) / step) + 2 for step in (1.5, math.sqrt(0.75)))
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    even = (i + j) % 2 == 0
    corners = np.stack([1.5 * i + np.where(even, 0.25, -0.25), math.sqrt(0.75) * j], axis=-1).reshape(-1, 2)
    number = i * columns + j
    below = even[:-1]
    first = np.concatenate([number[:, :-1].ravel(), number[:-1][below]])
    second = np.concatenate([number[:, 1:].ravel(), number[1:][below]])
    return (corners - corners.mean(axis=0)).astype(np.float32), first, second


def _tubes(start: jax.Array, end: jax.Array, bow: jax.Array, points: int) -> tuple[jax.Array, jax.Array]:
    """(E, points, 2) positions along bowed lines, and the distance (E,) of their ends; `bow` in lengths."""
    share = ((jnp.arange(points) + 0.5) / points)[:, None]
    step = (end - start)[:, None, :]
    across = jnp.stack([step[..., 1], -step[..., 0]], axis=-1)
    bowed = 4.0 * bow[:, None, None] * share * (1.0 - share) * across
    return start[:, None, :] + share * step + bowed, jnp.sqrt(jnp.sum(step[:, 0] ** 2, axis=-1) + 1e-6)


def _lanes(start: jax.Array, end: jax.Array, length_px: jax.Array) -> jax.Array:
    """(E, 1, lanes, 2) steps across a tube of width 1."""
    step = (end - start) / length_px[:, None]
    across = jnp.stack([step[:, 1], -step[:, 0]], axis=-1)
    lanes = (jnp.arange(_LANES) + 0.5) / _LANES - 0.5
    return across[:, None, None, :] * lanes[:, None]


def _spheres(turns: jax.Array) -> jax.Array:
    """(P, points, 2) points spread evenly over unit spheres, seen from above; `turns` (P, 2) radians place them."""
    height = 1.0 - (2.0 * np.arange(_SPHERE_POINTS) + 1.0) / _SPHERE_POINTS
    around = np.arange(_SPHERE_POINTS) * math.pi * (3.0 - math.sqrt(5.0)) + turns[:, :1]
    ring = np.sqrt(1.0 - height**2).astype(np.float32)
    y, x, z = ring * jnp.sin(around), ring * jnp.cos(around), jnp.asarray(height, jnp.float32)
    tilt = turns[:, 1:]
    return jnp.stack([y * jnp.cos(tilt) - z * jnp.sin(tilt), x], axis=-1)
