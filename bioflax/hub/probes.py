"""Probes of a super-resolving model on scenes whose truth is known: two lines, an empty field, a wrong spot, a wrong scale.

They need the simulator that the model was trained with; a model of measured pairs has none and is not probed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioflax.baselines.super_resolve import Tuned
from bioflax.metrics import affine_match, psnr
from bioflax.metrics.pairs import is_resolved, profile_across
from bioflax.optics.resolution_bounds import bound_resolved_fraction, separation_crlb_nm
from bioflax.predict.files import mean_numbers
from bioflax.predict.honesty import examine
from bioflax.predict.physics import Physics
from bioflax.simulate.still import Still
from bioflax.simulate.structures import Blank, draw_line_pair

SPACINGS = (
    0.25,
    0.375,
    0.5,
    0.625,
    0.75,
    0.875,
    1.0,
    1.125,
    1.25,
    1.5,
)  # times the cut-off spacing wavelength / (2 NA)
REPEATS = 16  # pairs at each spacing
FIELDS = 12  # pictures of each other probe
LINE_LENGTH = 0.6  # of the picture
LINE_NM = 100.0  # of equal strip, density 1: dim lines, so that light and not the grid decides
JUDGED_ALONG = 0.5  # of a line's length
SHOWN = ("chi_square", "rse_share", "rsp", "null_space_energy", "detail")
RIVALS = ("bicubic", "richardson_lucy", "richardson_lucy_tv")
Resolver = Callable[[np.ndarray], np.ndarray]


def probe(
    model: Any, simulator: Any, physics: Physics, tuned: Mapping[str, Tuned], judged: Mapping[str, float], path: Path
) -> dict[str, float]:
    """Runs all probes; what they found goes into `probes.json`, its few main numbers come back for the card.

    Args:
        model: a loaded super-resolving model.
        simulator: a `simulate.Magnified`, with which it was trained; for another there is nothing to do.
        physics: of its pictures.
        tuned: classical methods beside it.
        judged: its metrics on held-out pictures: what flags are raised against.
        path: of the JSON file.

    Returns:
        `false_structures_per_um2` of an empty field, and `resolved_half_nm`: the spacing from which on half of the pairs of
        lines are told apart; {} without a simulator of pairs.
    """
    if not hasattr(simulator, "scene"):
        return {}
    steady = dataclasses.replace(
        simulator,
        photons=_middle(simulator.photons),
        background_photons=_middle(simulator.background_photons),
        blur_scale=_middle(simulator.blur_scale),
        period_scale=_middle(simulator.period_scale),
    )
    methods: dict[str, Resolver] = {"model": lambda wide: None}
    methods |= {name: tuned[name].apply for name in RIVALS if name in tuned}
    dim = simulator.photons[0] if isinstance(simulator.photons, tuple) else simulator.photons
    lines = two_lines(model, dataclasses.replace(steady, photons=float(dim)), physics, methods)
    empty = empty_field(model, steady, physics, judged)
    narrow, wide = simulator.blur_scale if isinstance(simulator.blur_scale, tuple) else (simulator.blur_scale,) * 2
    changes = {
        "matched": {},
        "spot 20 % narrower": {"blur_scale": 0.8 * narrow},
        "spot 20 % wider": {"blur_scale": 1.2 * wide},
        "pixel 1.5 times as large": {"pixel": 1.5},
    }
    shifts = shifted(model, steady, physics, judged, changes)
    found = {"two_lines": lines, "empty": empty, "shifts": shifts}
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)
    half = [d for d, share in zip(lines["spacing_nm"], lines["resolved"]["model"]) if share >= 0.5]
    numbers = {"false_structures_per_um2": empty["false_structures_per_um2"]}
    return numbers | ({"resolved_half_nm": min(half)} if half else {})


def two_lines(model: Any, simulator: Any, physics: Physics, methods: Mapping[str, Resolver]) -> dict[str, Any]:
    """Share of pairs of parallel lines that are told apart, by spacing, for each method and for the bound.

    The bound is that of an unbiased estimate of the distance (`separation_crlb_nm`). Below the spacing of the cut-off,
    wavelength / (2 NA), what tells the two apart is a prior on lines and not data.
    """
    optics = simulator.optics
    cutoff_nm = 1.0 / physics.reach_per_nm
    rng = np.random.default_rng(0)
    fine_nm, side = physics.fine_nm, physics.upscale * min(simulator.shape)
    margin = physics.upscale * simulator.margin
    resolved: dict[str, list[float]] = {name: [] for name in methods}
    bound = []
    for share in SPACINGS:
        spacing_nm = share * cutoff_nm
        angle = rng.uniform(0, math.pi, REPEATS)
        centre = np.array(simulator.shape) * physics.upscale / 2 + rng.uniform(-3, 3, (REPEATS, 2))
        length_nm = LINE_LENGTH * side * fine_nm
        densities = _line_pairs(simulator.canvas, fine_nm, spacing_nm, centre + margin, angle, length_nm)
        raw = show(simulator, densities)["image"]
        wide = raw.mean(-1)
        for name, method in methods.items():
            images = restored_of(model, raw) if name == "model" else [method(image) for image in wide]
            told = [
                is_resolved(
                    profile_across(
                        image,
                        tuple(at - 0.5),
                        float(turn),
                        4 * spacing_nm / fine_nm,
                        JUDGED_ALONG * length_nm / fine_nm,
                    ),
                    spacing_nm / fine_nm,
                )
                for image, at, turn in zip(images, centre, angle)
            ]
            resolved[name].append(float(np.mean(told)))
        quantum = float(np.mean(simulator.camera.quantum_efficiency))
        light = quantum * simulator.photons * LINE_NM / float(optics.pixel_nm)
        spread = separation_crlb_nm(
            spacing_nm,
            optics,
            photons=light,
            background_photons=quantum * simulator.background_photons,
            read_noise_e=float(np.mean(simulator.camera.read_noise_e)),
            length_px=JUDGED_ALONG * length_nm / float(optics.pixel_nm),
        )
        bound.append(bound_resolved_fraction(spacing_nm, spread))
    return {
        "spacing_nm": [share * cutoff_nm for share in SPACINGS],
        "cutoff_nm": cutoff_nm,
        "repeats": REPEATS,
        "resolved": resolved,
        **({"bound": bound} if physics.frames == 1 else {}),  # that of even light
        "photons": float(simulator.photons),
    }


def empty_field(model: Any, simulator: Any, physics: Physics, judged: Mapping[str, float]) -> dict[str, Any]:
    """What the model makes of fields that hold nothing: structures per square micrometre, and how often it is flagged."""
    batch = sampled(dataclasses.replace(simulator, scene=Blank()), FIELDS)
    rows = [examine(a, b, physics, judged=judged) for a, b in zip(restored_of(model, batch["image"]), batch["image"])]
    rates = [row.numbers.get("false_structures_per_um2", math.nan) for row in rows]
    return {
        "fields": FIELDS,
        "false_structures_per_um2": float(np.nanmean(rates)) if np.isfinite(rates).any() else None,
        "recognised": float(np.mean(np.isfinite(rates))),
        "flagged": float(np.mean([bool(row.flags) for row in rows])),
    }


def shifted(
    model: Any, simulator: Any, physics: Physics, judged: Mapping[str, float], changes: Mapping[str, dict[str, float]]
) -> dict[str, dict[str, Any]]:
    """The model on pictures of another spot width or pixel size, examined as if nothing had changed."""
    found = {}
    for name, change in changes.items():
        other = simulator
        if "blur_scale" in change:
            other = dataclasses.replace(simulator, blur_scale=change["blur_scale"])
        if "pixel" in change:
            optics = dataclasses.replace(simulator.optics, pixel_nm=simulator.optics.pixel_nm * change["pixel"])
            other = dataclasses.replace(simulator, optics=optics)
        batch = sampled(other, FIELDS)
        restored = restored_of(model, batch["image"])
        rows = [examine(a, b, physics, judged=judged) for a, b in zip(restored, batch["image"])]
        targets = batch["target"][..., 0]
        pairs = [(a, b) for a, b in zip(restored.astype(float), targets.astype(float)) if np.ptp(b) > 0]
        quality = [psnr(affine_match(a, b), b) for a, b in pairs]  # of an empty field there is none
        found[name] = {
            **mean_numbers([{key: row.numbers[key] for key in SHOWN if key in row.numbers} for row in rows]),
            **({"si_psnr_db": float(np.mean(quality))} if quality else {}),
            "flagged": float(np.mean([bool(row.flags) for row in rows])),
        }
    return found


def sampled(simulator: Any, n: int) -> dict[str, np.ndarray]:
    """A fixed batch."""
    return jax.device_get(_sample(simulator, jax.random.key(7), n))


def show(simulator: Any, densities: jax.Array) -> dict[str, np.ndarray]:
    """Given densities (N, canvas) through the optics and the camera of a simulator."""
    keys = jax.random.split(jax.random.key(8), len(densities))
    return {name: values[:, 0] for name, values in jax.device_get(_show(simulator, densities, keys)).items()}


def restored_of(model: Any, raw: np.ndarray) -> np.ndarray:
    """(N, sH, sW) of raw pictures (N, H, W, frames)."""
    return model.restore(raw)["image"][..., 0]


def _middle(span: Any) -> float:
    """Geometric mean of a span; of one that begins at 0, half of its end."""
    if not isinstance(span, tuple):
        return float(span)
    low, high = map(float, span)
    return math.sqrt(low * high) if low > 0 else high / 2


# Compiled once for all spacings, widths of the spot and pixels: simulators are pytrees.
@partial(jax.jit, static_argnames="n")
def _sample(simulator: Any, key: jax.Array, n: int) -> dict[str, jax.Array]:
    return simulator.sample(key, n)


@jax.jit
def _show(simulator: Any, densities: jax.Array, keys: jax.Array) -> dict[str, jax.Array]:
    def one(density: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        return dataclasses.replace(simulator, scene=Still(density)).sample(key, 1)

    return jax.vmap(one)(densities, keys)


@partial(jax.jit, static_argnames="shape")
def _line_pairs(
    shape: tuple[int, int],
    pixel_nm: float,
    spacing_nm: float,
    centres_yx_px: jax.Array,
    angles_rad: jax.Array,
    length_nm: float,
) -> jax.Array:
    def one(centre: jax.Array, angle: jax.Array) -> jax.Array:
        return draw_line_pair(shape, pixel_nm, spacing_nm, centre, angle, length_nm, LINE_NM)

    return jax.vmap(one)(centres_yx_px, angles_rad)
