"""What is under the microscope: pictures of fluorophore density, drawn from physics-sized objects inside jit.

A scene is called with a key, a shape and the pixel size and returns (H, W) density, relative, before any optics.
Density 1 is the middle of a bright object; thin lines and spots carry the light of a strip or square of density 1 that
is `line_nm` or `spot_nm` wide, so that after the blur of a good objective they, too, come out near 1.
Sizes and densities are pytree leaves. The number of objects a picture has room for is static: `capacity`, or, where
that is None, what `with_room` finds from the density (a simulator calls it). A density raised later, by a sweep inside
jit, fills that room and no more: set `capacity` for the highest one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import is_concrete, part, physical, quantity
from bioflax.simulate import draw

_FILAMENT_NM, _KNOTS, _POINTS = 12_000.0, 16, 176


class Scene(Protocol):
    """A pytree `(key, shape, pixel_nm) -> (H, W)` density."""

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array: ...

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Scene:
        """The scene with room for the objects of a picture of that size; InputError if `capacity` forbids it."""


@physical
class Filaments:
    """Curved lines thinner than the resolution, such as microtubules: uneven label, crossings, bundles of direction."""

    density_per_um2: float = quantity("filaments per square micrometre", at_least=0.0, default=0.14)
    persistence_nm: float = quantity("nm over which direction is kept", above=0.0, default=15_000.0)
    line_nm: float = quantity("nm of equal strip", at_least=0.0, default=260.0)
    grain: float = quantity("share of the label that is uneven", at_least=0.0, at_most=1.0, default=0.45)
    capacity: int | None = None
    room: int = 0

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        light_key, place_key, form_key, label_key = jax.random.split(key, 4)
        count = _with_room(self, shape, pixel_nm).room
        place = noise.uniform(place_key, (count, 5))
        form = noise.normal(form_key, (count, 2 + 2 * _KNOTS))
        # Filaments of a cell share a direction more or less: the spread of directions is drawn per picture.
        main, spread = noise.uniform(light_key, (2,))
        step_nm = _FILAMENT_NM / (_KNOTS - 3)
        position = draw.curves(
            start=place[:, :2] * jnp.asarray(shape, jnp.float32),
            heading=2.0 * jnp.pi * (main + (0.06 + 0.5 * spread) * form[:, 0]),
            turns=jnp.sqrt(step_nm / self.persistence_nm) * form[:, 2 : 2 + _KNOTS],
            step_px=step_nm / pixel_nm,
            points=_POINTS,
        )
        along = jnp.linspace(0.0, 1.0, _POINTS)
        shown = (along > 0.3 * place[:, 2:3]) & (along < 1.0 - 0.3 * place[:, 3:4])
        patches = draw.along(form[:, 2 + _KNOTS :], _POINTS)
        single = noise.uniform(label_key, (count, _POINTS))
        label = jnp.maximum(1.0 + self.grain * (0.9 * patches + 2.0 * single - 1.0), 0.0)
        brightness = _alive(place[:, 4], self, shape, pixel_nm) * jnp.exp(0.45 * form[:, 1] - 0.1)
        image = draw.splat(position, brightness[:, None] * label * shown, shape)
        return self.line_nm * (_FILAMENT_NM / _POINTS) / pixel_nm**2 * image

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Filaments:
        """The scene with room for its objects; InputError if `capacity` is too small for the density."""
        return _with_room(self, shape, pixel_nm)


@physical
class Nuclei:
    """Textured, uneven ellipses: chromatin, bright chromocentres, dark nucleoli; where two overlap, one is left out."""

    density_per_um2: float = quantity("nuclei per square micrometre", at_least=0.0, default=0.08)
    radius_nm: float = quantity("nm", above=0.0, default=2_300.0)
    texture: float = quantity("contrast of the chromatin", at_least=0.0, at_most=1.0, default=0.5)
    capacity: int | None = None
    room: int = 0

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        place_key, form_key, field_key = jax.random.split(key, 3)
        count, radius_px = _with_room(self, shape, pixel_nm).room, self.radius_nm / pixel_nm
        place = noise.uniform(place_key, (count, 4))
        form = noise.normal(form_key, (count, 3))
        centre = place[:, :2] * jnp.asarray(shape, jnp.float32)
        alive = _alive(place[:, 2], self, shape, pixel_nm)
        size, aspect = radius_px * jnp.exp(0.16 * form[:, 0]), jnp.exp(0.15 * form[:, 1])
        apart = jnp.sqrt(jnp.sum((centre[:, None] - centre[None, :]) ** 2, axis=-1) + 1e-6)
        crowded = (apart < 0.9 * (size[:, None] + size[None, :])) & (alive[None, :] > 0)
        alive *= 1.0 - jnp.any(jnp.tril(crowded, -1), axis=1)
        cells = radius_px * jnp.asarray([0.9, 0.9, 0.09, 0.24, 0.42])
        *warp, fine, middle, coarse = jax.vmap(lambda k, cell: draw.smooth_noise(k, shape, cell))(
            jax.random.split(field_key, 5), cells
        )
        body = draw.ellipsoids(
            centre,
            radii=jnp.stack([size * aspect, size / aspect], axis=-1),
            angle=jnp.pi * place[:, 3],
            light=alive * jnp.exp(0.3 * form[:, 2] - 0.15),
            warp=0.13 * radius_px * jnp.stack(warp),
            edge_px=0.08 * radius_px,
        )
        chromatin = jnp.exp(self.texture * (0.5 * fine + 0.45 * middle - 0.2))
        centres = 1.2 * self.texture * jnp.maximum(middle - 1.25, 0.0)
        nucleoli = 1.0 - 1.5 * self.texture * jnp.clip(coarse - 0.75, 0.0, 0.6)
        return body * chromatin * jnp.maximum(nucleoli, 0.0) * (0.8 + centres)

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Nuclei:
        """The scene with room for its objects; InputError if `capacity` is too small for the density."""
        return _with_room(self, shape, pixel_nm)


@physical
class Puncta:
    """Spots below the resolution, such as vesicles: uneven, half of them in clusters, over a faint cell body."""

    density_per_um2: float = quantity("spots per square micrometre", at_least=0.0, default=0.5)
    size_nm: float = quantity("nm, standard deviation of a spot's light", above=0.0, default=70.0)
    spot_nm: float = quantity("nm of equal square", at_least=0.0, default=280.0)
    cell: float = quantity("density of the cell body", at_least=0.0, default=0.06)
    capacity: int | None = None
    room: int = 0

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        place_key, form_key, cell_key = jax.random.split(key, 3)
        count, size = _with_room(self, shape, pixel_nm).room, jnp.asarray(shape, jnp.float32)
        place = noise.uniform(place_key, (count, 4))
        form = noise.normal(form_key, (count, 4))
        free = place[:, :2] * size
        # Clusters of about five reach 1.1 micrometres and wrap round the picture, which keeps the mean density even.
        parent = (place[:, 2] * max(count // 10, 1)).astype(jnp.int32)
        gathered = (free[parent] + 1_100.0 / pixel_nm * form[:, :2]) % size
        position = jnp.where((jnp.arange(count) % 2 == 0)[:, None], free, gathered)
        brightness = _alive(place[:, 3], self, shape, pixel_nm) * jnp.exp(0.6 * form[:, 2] - 0.18)
        sigma_px = self.size_nm / pixel_nm * jnp.exp(0.35 * form[:, 3])
        body = jax.nn.sigmoid(2.5 * draw.smooth_noise(cell_key, shape, 4_000.0 / pixel_nm))
        light = (self.spot_nm / pixel_nm) ** 2 * brightness
        return draw.spots(position, light, sigma_px, shape) + self.cell * body

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Puncta:
        """The scene with room for its objects; InputError if `capacity` is too small for the density."""
        return _with_room(self, shape, pixel_nm)


@physical
class Mixed:
    """Filaments, nuclei and puncta: each picture shows mainly one of them, in half of the pictures a second as well."""

    scenes: tuple[Scene, ...] = part((Filaments(), Nuclei(), Puncta()))

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        order_key, second_key, *keys = jax.random.split(key, 2 + len(self.scenes))
        rank = jnp.argsort(noise.uniform(order_key, (len(self.scenes),)))
        second = jnp.maximum(noise.uniform(second_key, (), -0.8, 0.8), 0.0)
        weights = jnp.where(rank == 0, 1.0, jnp.where(rank == 1, second, 0.0))
        return sum(weights[i] * scene(keys[i], shape, pixel_nm) for i, scene in enumerate(self.scenes))

    def with_room(self, shape: tuple[int, int], pixel_nm: jax.Array) -> Mixed:
        """The scenes with room for their objects; InputError if a `capacity` is too small for its density."""
        return Mixed(tuple(scene.with_room(shape, pixel_nm) for scene in self.scenes))

    def _check_together(self) -> None:
        if not isinstance(self.scenes, (tuple, list)) or not self.scenes or not all(map(callable, self.scenes)):
            raise InputError(f"Mixed.scenes: expected one or more scenes, found {self.scenes!r}; list them")
        object.__setattr__(self, "scenes", tuple(self.scenes))


def _alive(share: jax.Array, scene: Any, shape: tuple[int, int], pixel_nm: jax.Array) -> jax.Array:
    """Ones for objects that are there, zeros for empty room: uniform shares against mean number over room."""
    mean = scene.density_per_um2 * _area_um2(shape, pixel_nm)
    return (share * share.shape[0] < mean).astype(jnp.float32)


def _area_um2(shape: tuple[int, int], pixel_nm: jax.Array) -> jax.Array:
    return shape[0] * shape[1] * (1e-3 * pixel_nm) ** 2


def _with_room(scene: Any, shape: tuple[int, int], pixel_nm: jax.Array) -> Any:
    """The scene with `room` set: the capacity, or the mean number of objects and two standard deviations more."""
    name, capacity, density = type(scene).__name__, scene.capacity, scene.density_per_um2
    if capacity is not None and (not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1):
        raise InputError(f"{name}.capacity: expected a whole number of at least 1, or None, found {capacity!r}; try 64")
    if not is_concrete(density, pixel_nm):
        room = capacity or scene.room
        if not room:
            raise InputError(
                f"{name}.capacity: expected a whole number where the density is traced (inside jit), found None; "
                "set it to the most objects per picture"
            )
        return dataclasses.replace(scene, room=room)
    mean = float(np.max(density)) * _area_um2(shape, float(np.max(pixel_nm)))
    if capacity is not None and mean > capacity:
        needed = math.ceil(mean - 1e-6)
        raise InputError(
            f"{name}.capacity: expected at least {needed} objects for density_per_um2={np.max(density):g} on "
            f"{shape[0]} x {shape[1]} px of {np.max(pixel_nm):g} nm, found {capacity}; raise it or lower the density"
        )
    return dataclasses.replace(scene, room=capacity or math.ceil(mean + 2.0 * math.sqrt(mean) + 1.0))
