"""Scene, optics and camera as one source of batches that runs inside the training step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import WidefieldOptics, blur
from bioflax.optics.quantities import is_concrete, part, physical, quantity
from bioflax.simulate.scenes import Mixed, Scene
from bioflax.typing import Batch

Span = float | tuple[float, float]


@physical
class Simulator:
    """Noisy pictures and their truth, from physics; a `DeviceSource` and a pytree whose physical fields are leaves.

    `photons` is the expected number per pixel and exposure where the blurred density is 1; a pair (low, high) draws
    one per picture, evenly in the logarithm. `background_photons` is added everywhere; a pair draws evenly.
    The scene is drawn `margin` pixels beyond each border, so light from outside enters as it does in a microscope.
    """

    scene: Scene = part(Mixed())
    optics: WidefieldOptics = part(WidefieldOptics(haze=0.2))
    camera: SCMOS | EMCCD = part(SCMOS())
    photons: Span = quantity("photons per pixel and exposure", kind="span", above=0.0, default=(10.0, 60.0))
    background_photons: Span = quantity("photons per pixel and exposure", kind="span", at_least=0.0, default=(1.0, 6.0))
    size: int | tuple[int, int] = 96
    exposures: int = 1
    margin: int = 16

    def _check_together(self) -> None:
        sides = self.size if isinstance(self.size, (tuple, list)) else (self.size, self.size)
        if len(sides) != 2 or not all(_is_whole(side) and side >= 1 for side in sides):
            raise InputError(
                f"Simulator.size: expected pixels, one whole number or (H, W), found {self.size!r}; try 96"
            )
        object.__setattr__(self, "size", tuple(sides) if isinstance(self.size, list) else self.size)
        if self.exposures not in (1, 2):
            raise InputError(
                f"Simulator.exposures: expected 1 (picture and truth) or 2 (two noisy pictures), "
                f"found {self.exposures!r}; use 2 for Noise2Noise"
            )
        if not _is_whole(self.margin) or self.margin < 0:
            raise InputError(f"Simulator.margin: expected pixels, 0 or more, found {self.margin!r}; try 16")
        for leaf in jax.tree.leaves(self.camera):
            if getattr(leaf, "ndim", 0) and is_concrete(leaf) and leaf.shape != self.shape:
                raise InputError(
                    f"Simulator.camera: expected maps of the picture's size {self.shape}, found {leaf.shape}; "
                    "crop the camera maps or set size"
                )
        object.__setattr__(self, "scene", self.scene.with_room(self.canvas, self.optics.pixel_nm))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the pictures in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H, W) of the drawn scene, margins included."""
        return self.shape[0] + 2 * self.margin, self.shape[1] + 2 * self.margin

    def expected_photons(self, key: jax.Array, n: int) -> jax.Array:
        """Noise-free pictures.

        Args:
            key: typed key.
            n: how many.

        Returns:
            (n, H, W) float32, expected photons per pixel and exposure.
        """
        scene_key, photons_key, background_key = jax.random.split(key, 3)
        density = jax.vmap(lambda k: self.scene(k, self.canvas, self.optics.pixel_nm))(jax.random.split(scene_key, n))
        density = blur(density, self.optics.otf(self.canvas))
        top, left = self.margin, self.margin
        density = density[:, top : top + self.shape[0], left : left + self.shape[1]]
        photons = _draw(photons_key, self.photons, n, logarithmic=True)
        background = _draw(background_key, self.background_photons, n, logarithmic=False)
        # The transfer function cut at the grid's own band can undershoot by a little; light cannot.
        return photons * jnp.maximum(density, 0.0) + background

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch, inside jit.

        Args:
            key: typed key; scene, light and each exposure take their own stream of it.
            n: pictures.

        Returns:
            "image": (n, H, W, 1) float32 ADU, and "target": with one exposure the expected counts, ADU; with two
            a second exposure of the same scene, and the expected counts as "clean".
        """
        scene_key, *exposure_keys = jax.random.split(key, 1 + self.exposures)
        photons = self.expected_photons(scene_key, n)
        clean = self.camera.expected(photons)[..., None]
        shots = [self.camera.expose(k, photons)[..., None] for k in exposure_keys]
        if self.exposures == 1:
            return {"image": shots[0], "target": clean}
        return {"image": shots[0], "target": shots[1], "clean": clean}


def _draw(key: jax.Array, span: Any, n: int, *, logarithmic: bool) -> jax.Array:
    """(n, 1, 1) values of a span, or one value for all."""
    if not isinstance(span, tuple):
        return jnp.asarray(span, jnp.float32)
    low, high = span
    share = noise.uniform(key, (n, 1, 1))
    return low * (high / low) ** share if logarithmic else low + (high - low) * share


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
