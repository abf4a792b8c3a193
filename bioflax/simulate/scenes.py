"""What is under the microscope: pictures of fluorophore density, drawn from physics-sized objects inside jit.

A scene is called with a key, a shape and the pixel size and returns (H, W) density, relative, before any optics.
Density 1 is the middle of a bright object; thin lines and spots carry the light of a strip or square of density 1 that
is `line_nm` or `spot_nm` wide, so that after the blur of a good objective they, too, come out near 1.
Sizes and densities are pytree leaves; `capacity` is static, the most objects a picture can hold.
"""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import is_concrete, part, physical, quantity
from bioflax.simulate import draw

_FILAMENT_NM, _KNOTS, _POINTS = 16_000.0, 22, 320


class Scene(Protocol):
    """A pytree `(key, shape, pixel_nm) -> (H, W)` density."""

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array: ...

    def check(self, shape: tuple[int, int], pixel_nm: jax.Array) -> None:
        """Raises InputError if a picture of that size would not hold the objects asked for."""


@physical
class Filaments:
    """Curved lines thinner than the resolution, such as microtubules: uneven label, crossings, bundles of direction."""

    density_per_um2: float = quantity("filaments per square micrometre", at_least=0.0, default=0.1)
    persistence_nm: float = quantity("nm over which direction is kept", above=0.0, default=12_000.0)
    line_nm: float = quantity("nm of equal strip", at_least=0.0, default=260.0)
    grain: float = quantity("share of the label that is uneven", at_least=0.0, at_most=1.0, default=0.45)
    capacity: int = 48

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        keys = jax.random.split(key, 9)
        count = self.capacity
        alive = _alive(keys[0], self.density_per_um2, count, shape, pixel_nm)
        start = jax.random.uniform(keys[1], (count, 2)) * jnp.asarray(shape, jnp.float32)
        # Filaments of a cell share a direction more or less: the spread of directions is drawn per picture.
        main, spread = jax.random.uniform(keys[2], (2,))
        heading = 2.0 * jnp.pi * (main + (0.06 + 0.5 * spread) * jax.random.normal(keys[3], (count,)))
        step_nm = _FILAMENT_NM / (_KNOTS - 3)
        bend = jnp.sqrt(step_nm / self.persistence_nm)
        position = draw.curves(
            keys[4], start, heading, step_px=step_nm / pixel_nm, bend=bend, knots=_KNOTS, points=_POINTS
        )
        ends = jax.random.uniform(keys[5], (count, 2)) * 0.45
        along = jnp.linspace(0.0, 1.0, _POINTS)
        shown = (along > ends[:, :1]) & (along < 1.0 - ends[:, 1:])
        patches = draw.along(jax.random.normal(keys[6], (count, _KNOTS)), _POINTS)
        single = jax.random.uniform(keys[7], (count, _POINTS))
        label = jnp.maximum(1.0 + self.grain * (0.9 * patches + 2.0 * single - 1.0), 0.0)
        brightness = jnp.exp(0.45 * jax.random.normal(keys[8], (count,)) - 0.1)
        light = self.line_nm * (_FILAMENT_NM / _POINTS) / pixel_nm**2
        return draw.splat(position, light * (alive * brightness)[:, None] * label * shown, shape)

    def check(self, shape: tuple[int, int], pixel_nm: jax.Array) -> None:
        """Raises InputError if `capacity` is too small for the density."""
        _check_capacity("Filaments", self.density_per_um2, self.capacity, shape, pixel_nm)


@physical
class Nuclei:
    """Textured, uneven ellipses: chromatin, bright chromocentres, dark nucleoli; those that would overlap are left out."""

    density_per_um2: float = quantity("nuclei per square micrometre", at_least=0.0, default=0.04)
    radius_nm: float = quantity("nm", above=0.0, default=2_300.0)
    texture: float = quantity("contrast of the chromatin", at_least=0.0, at_most=1.0, default=0.5)
    capacity: int = 20

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        keys = jax.random.split(key, 10)
        count, radius_px = self.capacity, self.radius_nm / pixel_nm
        alive = _alive(keys[0], self.density_per_um2, count, shape, pixel_nm)
        centre = jax.random.uniform(keys[1], (count, 2)) * jnp.asarray(shape, jnp.float32)
        size = radius_px * jnp.exp(0.16 * jax.random.normal(keys[2], (count,)))
        aspect = jnp.exp(0.15 * jax.random.normal(keys[3], (count,)))
        radii = jnp.stack([size * aspect, size / aspect], axis=-1)
        apart = jnp.linalg.norm(centre[:, None] - centre[None, :], axis=-1)
        crowded = (apart < 0.95 * (size[:, None] + size[None, :])) & (alive[None, :] > 0)
        alive *= 1.0 - jnp.any(jnp.tril(crowded, -1), axis=1)
        light = alive * jnp.exp(0.3 * jax.random.normal(keys[4], (count,)) - 0.15)
        angle = jnp.pi * jax.random.uniform(keys[5], (count,))
        warp = jnp.stack([draw.smooth_noise(k, shape, 0.9 * radius_px) for k in jax.random.split(keys[6])])
        body = draw.ellipsoids(centre, radii, angle, light, 0.13 * radius_px * warp, edge_px=0.08 * radius_px)
        fine, middle, coarse = (
            draw.smooth_noise(k, shape, share * radius_px) for k, share in zip(keys[7:], (0.09, 0.24, 0.42))
        )
        chromatin = jnp.exp(self.texture * (0.5 * fine + 0.45 * middle - 0.2))
        centres = 1.6 * self.texture * jnp.maximum(middle - 1.25, 0.0)
        nucleoli = 1.0 - 1.5 * self.texture * jnp.clip(coarse - 0.75, 0.0, 0.6)
        return body * jnp.maximum(chromatin * nucleoli, 0.0) * (0.8 + centres)

    def check(self, shape: tuple[int, int], pixel_nm: jax.Array) -> None:
        """Raises InputError if `capacity` is too small for the density."""
        _check_capacity("Nuclei", self.density_per_um2, self.capacity, shape, pixel_nm)


@physical
class Puncta:
    """Spots below the resolution, such as vesicles: uneven brightness, half of them in clusters, over a faint cell body."""

    density_per_um2: float = quantity("spots per square micrometre", at_least=0.0, default=0.5)
    size_nm: float = quantity("nm, standard deviation of a spot's light", above=0.0, default=70.0)
    spot_nm: float = quantity("nm of equal square", at_least=0.0, default=280.0)
    cell: float = quantity("density of the cell body", at_least=0.0, default=0.06)
    capacity: int = 160

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        keys = jax.random.split(key, 7)
        count, size = self.capacity, jnp.asarray(shape, jnp.float32)
        alive = _alive(keys[0], self.density_per_um2, count, shape, pixel_nm)
        free = jax.random.uniform(keys[1], (count, 2)) * size
        parents = free[jax.random.randint(keys[2], (count,), 0, max(count // 10, 1))]
        # Clusters reach 1.1 micrometres and wrap round the picture, which keeps the mean density even.
        gathered = (parents + 1_100.0 / pixel_nm * jax.random.normal(keys[3], (count, 2))) % size
        position = jnp.where((jnp.arange(count) % 2 == 0)[:, None], free, gathered)
        brightness = jnp.exp(0.6 * jax.random.normal(keys[4], (count,)) - 0.18)
        sigma_px = self.size_nm / pixel_nm * jnp.exp(0.35 * jax.random.normal(keys[5], (count,)))
        light = (self.spot_nm / pixel_nm) ** 2 * alive * brightness
        body = jax.nn.sigmoid(2.5 * draw.smooth_noise(keys[6], shape, 4_000.0 / pixel_nm))
        return draw.spots(position, light, sigma_px, shape) + self.cell * body

    def check(self, shape: tuple[int, int], pixel_nm: jax.Array) -> None:
        """Raises InputError if `capacity` is too small for the density."""
        _check_capacity("Puncta", self.density_per_um2, self.capacity, shape, pixel_nm)


@physical
class Mixed:
    """Filaments, nuclei and puncta: each picture shows mainly one of them, in half of the pictures a second as well."""

    scenes: tuple[Scene, ...] = part((Filaments(), Nuclei(), Puncta()))

    def __call__(self, key: jax.Array, shape: tuple[int, int], pixel_nm: jax.Array = 100.0) -> jax.Array:
        """(H, W) density; arguments as in the module's first lines."""
        order_key, second_key, *keys = jax.random.split(key, 2 + len(self.scenes))
        rank = jnp.argsort(jax.random.uniform(order_key, (len(self.scenes),)))
        second = jnp.maximum(jax.random.uniform(second_key, minval=-0.8, maxval=0.8), 0.0)
        weights = jnp.where(rank == 0, 1.0, jnp.where(rank == 1, second, 0.0))
        return sum(weights[i] * scene(keys[i], shape, pixel_nm) for i, scene in enumerate(self.scenes))

    def check(self, shape: tuple[int, int], pixel_nm: jax.Array) -> None:
        """Raises InputError if a scene's `capacity` is too small for its density."""
        for scene in self.scenes:
            scene.check(shape, pixel_nm)

    def _check_together(self) -> None:
        if not isinstance(self.scenes, (tuple, list)) or not self.scenes or not all(map(callable, self.scenes)):
            raise InputError(f"Mixed.scenes: expected one or more scenes, found {self.scenes!r}; list them")
        object.__setattr__(self, "scenes", tuple(self.scenes))


def _alive(
    key: jax.Array, density_per_um2: jax.Array, capacity: int, shape: tuple[int, int], pixel_nm: jax.Array
) -> jax.Array:
    """(capacity,) ones for a Poisson number of objects, zeros for the rest."""
    count = noise.poisson(key, density_per_um2 * _area_um2(shape, pixel_nm))
    return (jnp.arange(capacity) < count).astype(jnp.float32)


def _area_um2(shape: tuple[int, int], pixel_nm: jax.Array) -> jax.Array:
    return shape[0] * shape[1] * (1e-3 * pixel_nm) ** 2


def _check_capacity(
    name: str, density_per_um2: jax.Array, capacity: int, shape: tuple[int, int], pixel_nm: jax.Array
) -> None:
    if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
        raise InputError(f"{name}.capacity: expected a whole number of at least 1 (objects), found {capacity!r}")
    if not is_concrete(density_per_um2, pixel_nm):
        return
    mean = float(density_per_um2 * _area_um2(shape, pixel_nm))
    if mean > capacity:
        raise InputError(
            f"{name}.capacity: expected at least {mean:.0f} objects for density_per_um2={float(density_per_um2):g} on "
            f"{shape[0]} x {shape[1]} px of {float(pixel_nm):g} nm, found {capacity}; "
            "raise capacity or lower the density"
        )
