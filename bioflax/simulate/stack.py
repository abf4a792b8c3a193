"""Simulated stacks as NumPy arrays, for files on disk."""

from __future__ import annotations

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.simulate.simulator import Simulator


def simulate_stack(simulator: Simulator, seed: int, frames: int, repeats: int = 1) -> dict[str, np.ndarray]:
    """Simulates fields of view, each exposed several times: a function of the seed alone, picture by picture.

    Args:
        simulator: scene, optics and camera.
        seed: frame i of a seed is the same however many frames or repeats are asked for.
        frames: fields of view.
        repeats: exposures of each field.

    Returns:
        "image": (frames, repeats, H, W) counts, uint16 where the camera's bits fit, else float32;
        "clean": (frames, H, W) float32 expected counts; both in ADU.

    Raises:
        InputError: fewer than one frame or repeat.
    """
    for name, value in (("frames", frames), ("repeats", repeats)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name}: expected a whole number of at least 1, found {value!r}; try 8")
    one = jax.jit(_expose_field, static_argnums=2)
    root = jax.random.key(seed)
    pairs = [one(simulator, jax.random.fold_in(root, frame), repeats) for frame in range(frames)]
    image, clean = (np.stack([np.asarray(pair[i]) for pair in pairs]) for i in (0, 1))
    bits = simulator.camera.bits
    return {"image": image.astype(np.uint16) if bits is not None and bits <= 16 else image, "clean": clean}


def _expose_field(simulator: Simulator, key: jax.Array, repeats: int) -> tuple[jax.Array, jax.Array]:
    """(repeats, H, W) exposures and the (H, W) expected counts of one field."""
    scene_key, camera_key = jax.random.split(key)
    photons = simulator.expected_photons(scene_key, 1)[0]
    keys = jax.vmap(lambda repeat: jax.random.fold_in(camera_key, repeat))(np.arange(repeats))
    return jax.vmap(lambda k: simulator.camera.expose(k, photons))(keys), simulator.camera.expected(photons)
