"""Frames of blinking emitters and their truth, from physics, inside jit."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import Astigmatic, EmitterPSF, seen_from
from bioflax.optics.quantities import is_concrete, part, physical, quantity
from bioflax.simulate.background import draw_background
from bioflax.typing import Batch

Span = float | tuple[float, float]


@physical
class EmitterSimulator:
    """Consecutive frames of blinking emitters; a `DeviceSource` and a pytree whose physical fields are leaves.

    Emitters appear at random times, stay on for an exponential time and shine evenly while they are on, so a frame
    holds the share of its light that falls into its exposure. The state at the first frame is stationary: those on at
    its start, and those that come later. Positions are uniform over the field and `margin_px` around it.

    Args:
        psf: the spot.
        camera: maps may be larger than the field: each example then sees a random part of them.
        emitters_per_um2: mean number that shine in a frame, per square micrometre; a pair draws one per example.
        photons: expected photons of a full frame: a pair (low, high) draws evenly in the logarithm.
        background_photons: per pixel and frame; a pair draws one per example.
        structure: relative amplitude of a smooth background of blotches of `structure_px`.
        gradient: relative rise of the background from edge to edge, in a direction of its own in each example.
        perlin: relative amplitude of Perlin noise in the background, with cells of `perlin_px`.
        z_nm: range of depths.
        lifetime_frames: mean time an emitter is on.
        whole_frames: emitters go on and off between frames only, so that each frame has all of an emitter's light.
        size: pixels a side of the field.
        frames: consecutive frames; the truth belongs to the one in the middle.
        spot_px: side of the window in which a spot is drawn; None draws it over the whole field (spots that are cheap).
        margin_px: how far outside the field emitters still shine into it.
        room: emitters an example has room for; None takes five deviations above the mean of the highest density.
    """

    psf: EmitterPSF = part(Astigmatic())
    camera: SCMOS | EMCCD = part(SCMOS())
    emitters_per_um2: Span = quantity("per square micrometre and frame", kind="span", at_least=0.0, default=0.5)
    photons: Span = quantity("photons of a full frame", kind="span", above=0.0, default=(2000.0, 10000.0))
    background_photons: Span = quantity("photons per pixel and frame", kind="span", at_least=0.0, default=(5.0, 30.0))
    structure: float = quantity("relative amplitude", at_least=0.0, at_most=1.0, default=0.0)
    structure_px: float = quantity("px", at_least=3.0, default=12.0)
    gradient: float = quantity("relative rise", at_least=0.0, at_most=2.0, default=0.0)
    perlin: float = quantity("relative amplitude", at_least=0.0, at_most=1.0, default=0.0)
    perlin_px: float = quantity("px", at_least=3.0, default=32.0)
    z_nm: tuple[float, float] = quantity("nm", kind="span", default=(-500.0, 500.0))
    lifetime_frames: float = quantity("frames", above=0.0, default=2.0)
    whole_frames: bool = False
    size: int = 40
    frames: int = 3
    spot_px: int | None = None
    margin_px: int = 4
    room: int | None = None

    def _check_together(self) -> None:
        for name, least in (("size", 8), ("frames", 1), ("margin_px", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"EmitterSimulator.{name}: expected a whole number of at least {least}, found {value!r}."
                )
        if self.frames % 2 == 0:
            raise InputError(
                f"EmitterSimulator.frames: expected an odd number (one is in the middle), found {self.frames}."
            )
        if self.spot_px is not None and (
            not isinstance(self.spot_px, int) or self.spot_px < 5 or self.spot_px % 2 == 0
        ):
            raise InputError(
                f"EmitterSimulator.spot_px: expected an odd number of at least 5, or null; found {self.spot_px!r}."
            )
        for leaf in jax.tree.leaves(self.camera):
            if getattr(leaf, "ndim", 0) and is_concrete(leaf) and min(leaf.shape) < self.size:
                raise InputError(
                    f"EmitterSimulator.camera: expected maps of at least {self.size} x {self.size} px, the simulated field, "
                    f"found {leaf.shape}; set size to less or give larger maps."
                )
        if self.room is None:
            object.__setattr__(self, "room", self._needed_room())

    @property
    def canvas_px(self) -> int:
        """Side of the area that emitters are drawn in, margins included."""
        return self.size + 2 * self.margin_px

    def _needed_room(self) -> int:
        most = self.emitters_per_um2[1] if isinstance(self.emitters_per_um2, tuple) else self.emitters_per_um2
        area = (self.canvas_px * float(self.psf.pixel_nm) / 1000.0) ** 2
        touched = self._frames_touched(math.expm1, float(self.lifetime_frames))
        mean = float(most) * area * (touched - 1.0 + self.frames) / touched
        return math.ceil(mean + 5.0 * math.sqrt(mean) + 4)

    def _frames_touched(self, expm1: Any, lifetime: Any) -> Any:
        """Mean number of frames that an emitter shines in: lifetime + 1, or the mean of a rounded-up exponential."""
        return -1.0 / expm1(-1.0 / lifetime) if self.whole_frames else lifetime + 1.0

    def draw(self, key: jax.Array, room: int) -> dict[str, jax.Array]:
        """Emitters of one example.

        Args:
            key: typed key.
            room: how many there may be.

        Returns:
            x_nm, y_nm, z_nm: (room,), the origin is the outer corner of the field's first pixel; photons: (room, frames),
            0 in the frames where an emitter is off.
        """
        keys = jax.random.split(key, 8)
        area = (self.canvas_px * self.psf.pixel_nm / 1000.0) ** 2
        # In a stationary state births x touched emitters shine in a frame, all but one birth's worth of them already.
        touched = self._frames_touched(jnp.expm1, self.lifetime_frames)
        births = _draw(keys[0], self.emitters_per_um2) * area / touched
        already = noise.poisson(keys[1], births * (touched - 1.0))
        later = noise.poisson(keys[2], births * self.frames)
        number = jnp.arange(room)
        start = jnp.where(number < already, 0.0, noise.uniform(keys[3], (room,), 0.0, float(self.frames)))
        on = -self.lifetime_frames * jnp.log1p(-noise.uniform(keys[4], (room,)))
        if self.whole_frames:
            start, on = jnp.floor(start), jnp.ceil(on)
        frame = jnp.arange(self.frames)
        share = jnp.minimum((start + on)[:, None], frame + 1.0) - jnp.maximum(start[:, None], frame)
        flux = _draw(keys[5], self.photons, (room,), logarithmic=True)
        lit = (number < already + later)[:, None]
        photons = jnp.where(lit, flux[:, None] * jnp.clip(share, 0.0, 1.0), 0.0)
        low = -self.margin_px * self.psf.pixel_nm
        position = low + noise.uniform(keys[6], (2, room)) * self.canvas_px * self.psf.pixel_nm
        depth = self.z_nm[0] + (self.z_nm[1] - self.z_nm[0]) * noise.uniform(keys[7], (room,))
        return {"x_nm": position[0], "y_nm": position[1], "z_nm": depth, "photons": photons}

    def render(self, emitters: dict[str, jax.Array]) -> jax.Array:
        """Expected photons of the emitters of one example, (frames, size, size), without background."""
        photons = emitters["photons"].T
        if self.spot_px is None:
            shape = (self.size, self.size)
            spots = self.psf.spots(shape, emitters["x_nm"], emitters["y_nm"], emitters["z_nm"])
            return jnp.tensordot(photons, spots, 1)
        pixel, side = self.psf.pixel_nm, self.spot_px
        first = [jnp.floor(emitters[axis] / pixel) - side // 2 for axis in ("x_nm", "y_nm")]
        corner = [at * pixel for at in first]
        spots = jax.vmap(lambda left, top, x, y, z: seen_from(self.psf, left, top).spots((side, side), x, y, z))(
            *corner, emitters["x_nm"] - corner[0], emitters["y_nm"] - corner[1], emitters["z_nm"]
        )
        # Windows are put into place by products with 0 and 1: deterministic on a GPU and differentiable, as no scatter is.
        columns, rows = (
            (jnp.arange(self.size)[None, None, :] == (at[:, None, None] + jnp.arange(side)[None, :, None])).astype(
                spots.dtype
            )
            for at in first
        )
        wide = jnp.einsum("eab,ebw->eaw", spots, columns)
        return jnp.einsum("fe,eah,eaw->fhw", photons, rows, wide)

    def draw_background(self, level_key: jax.Array, structure_key: jax.Array) -> jax.Array:
        """Expected photons (size, size) of the background of one example."""
        return draw_background(
            structure_key,
            _draw(level_key, self.background_photons),
            (self.size, self.size),
            gradient=self.gradient,
            structure=self.structure,
            structure_px=self.structure_px,
            perlin=self.perlin,
            perlin_px=self.perlin_px,
        )

    def expected_photons(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
        """One example without noise: light (frames, size, size), its emitters, and the background (size, size)."""
        emitter_key, background_key, structure_key = jax.random.split(key, 3)
        emitters = self.draw(emitter_key, self.room)
        background = self.draw_background(background_key, structure_key)
        return self.render(emitters) + background, emitters, background

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key.
            n: examples.

        Returns:
            "image": (n, H, W, frames) photons as the camera reports them; "x_nm", "y_nm", "z_nm", "photons": (n, room)
            of the middle frame; "present": (n, room) bool, those that shine inside the field in the middle frame;
            "background": (n, H, W, 1) expected photons.
        """
        light_key, crop_key, expose_key = jax.random.split(key, 3)
        light, emitters, background = jax.vmap(self.expected_photons)(jax.random.split(light_key, n))
        image = self._expose(crop_key, expose_key, light, n)
        middle = emitters["photons"][..., self.frames // 2]
        side = self.size * self.psf.pixel_nm
        inside = (
            (emitters["x_nm"] >= 0) & (emitters["x_nm"] < side) & (emitters["y_nm"] >= 0) & (emitters["y_nm"] < side)
        )
        return {
            "image": jnp.moveaxis(image, 1, -1),
            **{name: emitters[name] for name in ("x_nm", "y_nm", "z_nm")},
            "photons": middle,
            "present": inside & (middle > 0),
            "background": background[..., None],
        }

    def _expose(self, crop_key: jax.Array, expose_key: jax.Array, light: jax.Array, n: int) -> jax.Array:
        if all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(self.camera)):
            return self.camera.to_photons(self.camera.expose(expose_key, light))

        def one(crop_key: jax.Array, expose_key: jax.Array, light: jax.Array) -> jax.Array:
            shapes = [leaf.shape for leaf in jax.tree.leaves(self.camera) if jnp.ndim(leaf)]
            limit = np.min(shapes, axis=0) - self.size + 1
            corner = jax.random.randint(crop_key, (2,), 0, jnp.asarray(limit))
            window = (self.size, self.size)
            camera = jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice(leaf, corner, window) if jnp.ndim(leaf) else leaf, self.camera
            )
            return camera.to_photons(camera.expose(expose_key, light))

        return jax.vmap(one)(jax.random.split(crop_key, n), jax.random.split(expose_key, n), light)


def _draw(key: jax.Array, span: Any, shape: tuple[int, ...] = (), *, logarithmic: bool = False) -> jax.Array:
    """Values of a span, or the one value."""
    if not isinstance(span, tuple):
        return jnp.broadcast_to(jnp.asarray(span, jnp.float32), shape)
    low, high = span
    share = noise.uniform(key, shape)
    return low * (high / low) ** share if logarithmic else low + (high - low) * share
