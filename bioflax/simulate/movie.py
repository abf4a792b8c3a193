"""A movie of blinking emitters with the list of all that shine in it."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.simulate.emitters import EmitterSimulator

BLOCK = 32  # frames drawn in one call


def simulate_movie(simulator: EmitterSimulator, seed: int, frames: int) -> dict[str, np.ndarray]:
    """Simulates one movie; emitters go on from frame to frame, and the background stays.

    Args:
        simulator: its own number of frames does not matter; camera maps must have the field's size.
        seed: of emitters and noise.
        frames: T.

    Returns:
        "image": (T, H, W) counts, uint16 where the camera's bits fit, else float32; "background": (H, W) expected photons;
        and the truth, a row for each emitter and frame, of equal lengths: "frame" (from 1), "x_nm", "y_nm" (from the outer
        corner of the first pixel), "z_nm", "photons", "background_photons", "emitter".

    Raises:
        InputError: fewer than one frame.
    """
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
        raise InputError(f"frames: expected a whole number of at least 1, found {frames!r}; try 100")
    emitter_key, background_key, structure_key, camera_key = jax.random.split(jax.random.key(seed), 4)
    long = dataclasses.replace(simulator, frames=frames | 1, room=None)
    drawn = jax.device_get(jax.jit(lambda s, k: s.draw(k, long.room))(long, emitter_key))
    photons = drawn["photons"][:, :frames]
    background = np.asarray(simulator.draw_background(background_key, structure_key))

    @jax.jit
    def block(emitters: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        return simulator.camera.expose(key, simulator.render(emitters) + background)

    images = []
    for first in range(0, frames, BLOCK):
        light = photons[:, first : first + BLOCK]
        lit = np.nonzero(light.sum(1) > 0)[0]
        # Few shapes: emitters are padded to a power of two, frames to a block.
        room = 1 << max(3, int(lit.size - 1).bit_length())
        part = {name: np.zeros(room, np.float32) for name in ("x_nm", "y_nm", "z_nm")}
        for name, values in part.items():
            values[: lit.size] = drawn[name][lit]
        part["photons"] = np.zeros((room, BLOCK), np.float32)
        part["photons"][: lit.size, : light.shape[1]] = light[lit]
        images.append(np.asarray(block(part, jax.random.fold_in(camera_key, first)))[: light.shape[1]])
    image, bits = np.concatenate(images), simulator.camera.bits
    return {
        "image": image.astype(np.uint16) if bits is not None and bits <= 16 else image,
        "background": background,
        **_truth(drawn, photons, background, simulator),
    }


def _truth(
    drawn: dict[str, np.ndarray], photons: np.ndarray, background: np.ndarray, simulator: EmitterSimulator
) -> dict[str, np.ndarray]:
    side = simulator.size * float(simulator.psf.pixel_nm)
    inside = (drawn["x_nm"] >= 0) & (drawn["x_nm"] < side) & (drawn["y_nm"] >= 0) & (drawn["y_nm"] < side)
    frame, emitter = np.nonzero((photons * inside[:, None]).T > 0)
    at = {name: drawn[name][emitter].astype(np.float64) for name in ("x_nm", "y_nm", "z_nm")}
    row, column = ((at[axis] / float(simulator.psf.pixel_nm)).astype(int) for axis in ("y_nm", "x_nm"))
    return {
        "frame": frame + 1,
        **at,
        "photons": photons[emitter, frame].astype(np.float64),
        "background_photons": background[row, column].astype(np.float64),
        "emitter": emitter,
    }
