"""Scenes with fine structure whose geometry is known: pairs, spokes, stripes, nets, vesicles, and nothing at all.

The protocol and the unit are those of `simulate.scenes`: density 1 is the middle of a bright object, and thin lines and
spots carry the light of a strip or square of density 1. Positions are in pixels from the outer corner of the first pixel,
(y, x); angles from +x (columns) towards +y (rows). How many objects a picture has follows from its size and from the
distance between neighbours: `room`, static, which `with_room` finds (a simulator calls it).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import is_concrete, physical, quantity
from bioflax.simulate import draw
from bioflax.simulate.spans import Span, within

_APART = "nm between the middles of neighbours"


def draw_line_pair(
    shape: tuple[int, int],
    pixel_nm: jax.Array,
    spacing_nm: jax.Array,
    centre_yx_px: Any,
    angle_rad: jax.Array,
    length_nm: jax.Array,
    line_nm: jax.Array,
) -> jax.Array:
    """Two parallel lines, anti-aliased: the same picture for the same numbers.

    Args:
        shape: (H, W) in pixels.
        pixel_nm: pixel side.
        spacing_nm: distance of the two lines; 0 draws one line with the light of both.
        centre_yx_px: (2,) the middle between them, (y, x) from the outer corner of the first pixel.
        angle_rad: direction from one line to the other, a right angle from that of the lines.
        length_nm: of each line.
        line_nm: light of a line: that of a strip of density 1 of this width.

    Returns:
        (H, W) density.
    """
    diagonal = math.ceil(math.hypot(*shape))
    length_px = jnp.minimum(length_nm / pixel_nm, 2.0 * diagonal)  # from any middle inside it leaves the picture
    points = 4 * diagonal
    along_px = length_px * ((jnp.arange(points) + 0.5) / points - 0.5)
    offset_px = 0.5 * spacing_nm / pixel_nm * jnp.asarray([-1.0, 1.0])[:, None]
    return line_nm / pixel_nm * length_px / points * _turned(shape, centre_yx_px, angle_rad, along_px, offset_px)


def draw_point_pair(
    shape: tuple[int, int],
    pixel_nm: jax.Array,
    spacing_nm: jax.Array,
    centre_yx_px: Any,
    angle_rad: jax.Array,
    spot_nm: jax.Array,
) -> jax.Array:
    """Two points, anti-aliased; as `draw_line_pair` with lines that are points.

    Args:
        shape, pixel_nm, centre_yx_px: as `draw_line_pair`.
        spacing_nm: distance of the two points.
        angle_rad: direction from one point to the other.
        spot_nm: light of a point: that of a square of density 1 of this side.

    Returns:
        (H, W) density.
    """
    offset_px = 0.5 * spacing_nm / pixel_nm * jnp.asarray([-1.0, 1.0])[:, None]
    return (spot_nm / pixel_nm) ** 2 * _turned(shape, centre_yx_px, angle_rad, jnp.zeros(1), offset_px)


def fit_cells(scene: Any, shape: tuple[int, int], pixel_nm: jax.Array) -> Any:
    """The scene with `room` set: rows and columns of cells of at least `apart_nm`.

    Raises:
        InputError: inside jit, for a scene that has no room yet.
    """
    if not is_concrete(scene.apart_nm, pixel_nm):
        if not min(scene.room):
            raise InputError(
                f"{type(scene).__name__}.apart_nm: expected a plain number where the scene gets its room, found a traced "
                "one; call with_room(shape, pixel_nm) outside jit first"
            )
        return scene
    cells = tuple(max(int(side * float(np.max(pixel_nm)) / float(np.min(scene.apart_nm))), 1) for side in shape)
    return dataclasses.replace(scene, room=cells)


@physical
class LinePairs:
    """Pairs of parallel lines at known spacing, far from each other: one in each cell of a grid."""

    spacing_nm: Span = quantity("nm between two lines", kind="span", at_least=0.0, default=(80.0, 400.0))
    length_nm: float = quantity("nm", above=0.0, default=1_400.0)
    line_nm: float = quantity("nm of equal strip", at_least=0.0, default=200.0)
    apart_nm: float = quantity(_APART, above=0.0, default=2_400.0)
    room: tuple[int, int] = (0, 0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        pairs = self.pairs(key, shape, pixel_nm)
        points = 2 * math.ceil(math.hypot(*shape) / min(fit_cells(self, shape, pixel_nm).room))
        along_px = (self.length_nm / pixel_nm) * ((jnp.arange(points) + 0.5) / points - 0.5)
        return self.line_nm * self.length_nm / points / pixel_nm**2 * _draw_pairs(shape, pixel_nm, pairs, along_px)

    def pairs(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> dict[str, jax.Array]:
        """Where the pairs are that a call with the same arguments draws.

        Returns:
            "centre_yx_px" (P, 2), "angle_rad" (P,) from one line to the other, "spacing_nm" (P,), and "brightness" (P,).
        """
        return _pairs(key, self, shape, pixel_nm)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> LinePairs:
        """The scene with room for a picture of that size."""
        return fit_cells(self, shape, pixel_nm)


@physical
class PointPairs:
    """Pairs of points at known spacing, far from each other: one in each cell of a grid."""

    spacing_nm: Span = quantity("nm between two points", kind="span", at_least=0.0, default=(80.0, 400.0))
    spot_nm: float = quantity("nm of equal square", at_least=0.0, default=280.0)
    apart_nm: float = quantity(_APART, above=0.0, default=1_400.0)
    room: tuple[int, int] = (0, 0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        pairs = self.pairs(key, shape, pixel_nm)
        return (self.spot_nm / pixel_nm) ** 2 * _draw_pairs(shape, pixel_nm, pairs, jnp.zeros(1))

    def pairs(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> dict[str, jax.Array]:
        """As `LinePairs.pairs`."""
        return _pairs(key, self, shape, pixel_nm)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> PointPairs:
        """The scene with room for a picture of that size."""
        return fit_cells(self, shape, pixel_nm)


@physical
class SiemensStar:
    """A star of spokes of density 1 about the middle of the picture: the spacing at radius r is 2 pi r / spokes."""

    radius_nm: float = quantity("nm", above=0.0, default=2_500.0)
    spokes: int = 24

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        shift_y, shift_x, turn = noise.uniform(key, (3,))
        y = jnp.arange(shape[0])[:, None] + 0.5 - shape[0] * (0.4 + 0.2 * shift_y)
        x = jnp.arange(shape[1])[None, :] + 0.5 - shape[1] * (0.4 + 0.2 * shift_x)
        radius_px = jnp.sqrt(x * x + y * y)
        wave = jnp.sin(self.spokes * jnp.arctan2(y, x) + 2.0 * jnp.pi * turn)
        # Distance from the edge of a spoke in pixels: where the spokes are finer than the grid all is grey.
        spokes = jnp.clip(0.5 + wave * radius_px / self.spokes, 0.0, 1.0)
        return spokes * jnp.clip(0.5 + self.radius_nm / pixel_nm - radius_px, 0.0, 1.0)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> SiemensStar:
        """The scene itself: one star a picture."""
        return self

    def _check_together(self) -> None:
        if isinstance(self.spokes, bool) or not isinstance(self.spokes, int) or self.spokes < 2:
            raise InputError(
                f"SiemensStar.spokes: expected a whole number of at least 2, found {self.spokes!r}; try 24"
            )


@physical
class ParallelFilaments:
    """Straight lines across the whole picture at one spacing, drawn per picture like their direction."""

    spacing_nm: Span = quantity("nm between neighbours", kind="span", above=0.0, default=(120.0, 500.0))
    line_nm: float = quantity("nm of equal strip", at_least=0.0, default=120.0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        share, turn, start = noise.uniform(key, (3,))
        spacing_px = within(self.spacing_nm, share) / pixel_nm
        y, x = jnp.arange(shape[0])[:, None] + 0.5, jnp.arange(shape[1])[None, :] + 0.5
        across = (x * jnp.cos(jnp.pi * turn) + y * jnp.sin(jnp.pi * turn)) / spacing_px + start
        after = spacing_px * (across - jnp.floor(across))
        # A line is spread over the two nearest pixels; at a pixel those before and behind it can add up.
        light = jnp.maximum(1.0 - after, 0.0) + jnp.maximum(1.0 - (spacing_px - after), 0.0)
        return self.line_nm / pixel_nm * light

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> ParallelFilaments:
        """The scene itself: lines go right across."""
        return self


@physical
class Blank:
    """Even density: no structure, so that all structure in a result is false."""

    density: float = quantity("relative", at_least=0.0, default=0.0)

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        return jnp.broadcast_to(jnp.asarray(self.density, jnp.float32), shape)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Blank:
        """The scene itself: it has no objects."""
        return self


def _pairs(key: jax.Array, scene: Any, shape: tuple[int, int], pixel_nm: jax.Array) -> dict[str, jax.Array]:
    """One pair in each cell of the grid, at most a tenth of the cell from its middle."""
    rows, columns = fit_cells(scene, shape, pixel_nm).room
    place = noise.uniform(key, (rows * columns, 5))
    cell = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    size = jnp.asarray([shape[0] / rows, shape[1] / columns], jnp.float32)
    return {
        "centre_yx_px": (cell + 0.4 + 0.2 * place[:, :2]) * size,
        "angle_rad": jnp.pi * place[:, 2],
        "spacing_nm": within(scene.spacing_nm, place[:, 3]),
        "brightness": 0.6 + 0.8 * place[:, 4],
    }


def _draw_pairs(
    shape: tuple[int, int], pixel_nm: jax.Array, pairs: dict[str, jax.Array], along_px: jax.Array
) -> jax.Array:
    """Points of the light of their pair's brightness."""
    offset_px = 0.5 * pairs["spacing_nm"][:, None, None] / pixel_nm * jnp.asarray([-1.0, 1.0])[:, None]
    positions = _positions(pairs["centre_yx_px"][:, None, None], pairs["angle_rad"][:, None, None], along_px, offset_px)
    return draw.splat(positions, jnp.broadcast_to(pairs["brightness"][:, None, None], positions.shape[:-1]), shape)


def _turned(
    shape: tuple[int, int], centre_yx_px: Any, angle_rad: jax.Array, along_px: jax.Array, offset_px: jax.Array
) -> jax.Array:
    """Points of light 1 about a centre, on lines of one direction."""
    positions = _positions(jnp.asarray(centre_yx_px, jnp.float32), angle_rad, along_px, offset_px)
    return draw.splat(positions, jnp.ones(positions.shape[:-1]), shape)


def _positions(centre: jax.Array, angle: jax.Array, along_px: jax.Array, across_px: jax.Array) -> jax.Array:
    """(..., 2) (y, x): `across_px` in the direction of the angle, `along_px` at a right angle to it."""
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    y = across_px * sine + along_px * cosine
    x = across_px * cosine - along_px * sine
    return centre + jnp.stack([y, x], axis=-1)
