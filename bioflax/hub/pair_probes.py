"""How close two lines or two points may lie and still be told apart: a model, classical methods, and the bound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from bioflax.metrics import resolved_fraction
from bioflax.optics.camera import EMCCD
from bioflax.optics.resolution_bounds import bound_resolved_fraction, separation_crlb_nm
from bioflax.predict.physics import Physics
from bioflax.simulate.still import Still
from bioflax.simulate.structures import draw_line_pair, draw_point_pair

SPACINGS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.5)  # of the cut-off spacing
REPEATS = 16  # pairs at each spacing
LINE_LENGTH = 0.6  # of the picture
LINE_NM = 100.0  # of equal strip, density 1: dim lines, so that light and not the grid decides
JUDGED_ALONG = 0.5  # of a line's length
SPOT_NM = 280.0  # of equal square, density 1: the light of a point
Resolver = Callable[[np.ndarray], np.ndarray]


def told_apart(
    kind: str, model: Any, simulator: Any, physics: Physics, methods: Mapping[str, Resolver]
) -> dict[str, Any]:
    """Share of pairs that are told apart, by distance, for the model, each method and the bound.

    The bound is that of an unbiased estimate of the distance (`separation_crlb_nm`). Below the spacing of the cut-off what tells
    the two apart is a prior on lines or points, and not data.

    Args:
        kind: `lines` or `points`.
        model: a loaded super-resolving model.
        simulator: a `simulate.Magnified` of one brightness.
        physics: of its pictures.
        methods: classical ones, wide-field picture (H, W) -> (sH, sW).

    Returns:
        `spacing_nm`, `cutoff_nm`, `repeats`, `resolved` (name -> share at each spacing), `photons`, and `bound` for even light.
    """
    cutoff_nm, fine_nm = 1.0 / physics.reach_per_nm, physics.fine_nm
    rng = np.random.default_rng(0)
    length_nm = LINE_LENGTH * physics.upscale * min(simulator.shape) * fine_nm
    width_px = JUDGED_ALONG * length_nm / fine_nm if kind == "lines" else 1.0
    resolved: dict[str, list[float]] = {name: [] for name in ("model", *methods)}
    for share in SPACINGS:
        spacing_nm = share * cutoff_nm
        angle = rng.uniform(0, math.pi, REPEATS)
        centre = np.array(simulator.shape) * physics.upscale / 2 + rng.uniform(-3, 3, (REPEATS, 2))
        margin = physics.upscale * simulator.margin
        densities = _draw(kind, simulator.canvas, fine_nm, spacing_nm, centre + margin, angle, length_nm)
        raw = show(simulator, densities)["image"]
        made = {name: [method(image) for image in raw.mean(-1)] for name, method in methods.items()}
        made["model"] = model.restore(raw)["image"][..., 0]
        for name, images in made.items():  # drawn from the corner of the first pixel, read from its centre
            found = resolved_fraction(images, centre - 0.5, angle, spacing_nm / fine_nm, width_px=width_px)
            resolved[name].append(found.fraction)
    bound = {}
    if physics.frames == 1:
        bound = {"bound": [bound_at(kind, share * cutoff_nm, simulator, width_px * fine_nm) for share in SPACINGS]}
    return {
        "spacing_nm": [share * cutoff_nm for share in SPACINGS],
        "cutoff_nm": cutoff_nm,
        "repeats": REPEATS,
        "resolved": resolved,
        **bound,
        "photons": float(simulator.photons),
    }


def bound_at(kind: str, spacing_nm: float, simulator: Any, along_nm: float) -> float:
    """How often the best unbiased estimate of a distance comes within half of it, under the light of a simulator."""
    camera, pixel_nm = simulator.camera, float(simulator.optics.pixel_nm)
    electrons, read_noise_e = float(np.mean(camera.quantum_efficiency)), float(np.mean(camera.read_noise_e))
    if isinstance(camera, EMCCD):  # the register doubles the variance of the light and makes the read noise small
        electrons, read_noise_e = 0.5 * electrons, read_noise_e / float(np.mean(camera.em_gain)) * math.sqrt(0.5)
    light_nm2 = LINE_NM * pixel_nm if kind == "lines" else SPOT_NM**2
    spread = separation_crlb_nm(
        spacing_nm,
        simulator.optics,
        photons=electrons * simulator.photons * light_nm2 / pixel_nm**2,
        background_photons=electrons * simulator.background_photons,
        read_noise_e=read_noise_e,
        kind=kind,
        length_px=along_nm / pixel_nm if kind == "lines" else 1.0,
    )
    return float(bound_resolved_fraction(spacing_nm, spread))


def show(simulator: Any, densities: jax.Array) -> dict[str, np.ndarray]:
    """Given densities (N, canvas) through the optics and the camera of a simulator."""
    keys = jax.random.split(jax.random.key(8), len(densities))
    batch = jax.device_get(_shown(simulator, densities, keys))
    return {name: values[:, 0] for name, values in batch.items()}


@jax.jit
def _shown(simulator: Any, densities: jax.Array, keys: jax.Array) -> dict[str, jax.Array]:
    def one(density: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        return dataclasses.replace(simulator, scene=Still(density)).sample(key, 1)

    return jax.vmap(one)(densities, keys)


@partial(jax.jit, static_argnames=("kind", "shape"))
def _draw(
    kind: str,
    shape: tuple[int, int],
    pixel_nm: float,
    spacing_nm: float,
    centres_yx_px: jax.Array,
    angles_rad: jax.Array,
    length_nm: float,
) -> jax.Array:
    def one(centre: jax.Array, angle: jax.Array) -> jax.Array:
        if kind == "lines":
            return draw_line_pair(shape, pixel_nm, spacing_nm, centre, angle, length_nm, LINE_NM)
        return draw_point_pair(shape, pixel_nm, spacing_nm, centre, angle, SPOT_NM)

    return jax.vmap(one)(centres_yx_px, angles_rad)
