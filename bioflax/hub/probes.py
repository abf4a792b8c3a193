"""Probes of a super-resolving model where the truth is known: two lines or points, an empty field, a wrong spot or scale.

They need the simulator that the model was trained with; a model of measured pairs has none and is not probed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioflax.baselines.super_resolve import Tuned
from bioflax.hub.pair_probes import told_apart
from bioflax.metrics import affine_match, psnr
from bioflax.predict.files import mean_numbers
from bioflax.predict.honesty import examine
from bioflax.predict.physics import Physics
from bioflax.simulate.structures import Blank

FIELDS = 24  # pictures of each probe
SHOWN = ("chi_square", "rse_over_noise", "rsp", "null_space_energy", "detail")
RIVALS = ("bicubic", "richardson_lucy", "richardson_lucy_tv")


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
    methods = {name: tuned[name].apply for name in RIVALS if name in tuned}
    dim = simulator.photons[0] if isinstance(simulator.photons, tuple) else simulator.photons
    pairs = {
        "two_lines": told_apart("lines", model, dataclasses.replace(steady, photons=float(dim)), physics, methods),
        "two_points": told_apart("points", model, steady, physics, methods),
    }
    empty = empty_field(model, steady, physics, judged)
    narrow, wide = simulator.blur_scale if isinstance(simulator.blur_scale, tuple) else (simulator.blur_scale,) * 2
    changes = {
        "matched": {},
        "spot 20 % narrower": {"blur_scale": 0.8 * narrow},
        "spot 20 % wider": {"blur_scale": 1.2 * wide},
        "pixel 1.5 times as large": {"pixel": 1.5},
    }
    # Over the whole range of light, so that the false alarms of dim pictures count.
    lit = dataclasses.replace(steady, photons=simulator.photons, background_photons=simulator.background_photons)
    shifts = shifted(model, lit, physics, judged, changes)
    found = {**pairs, "empty": empty, "shifts": shifts}
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)
    numbers = {"false_structures_per_um2": empty["false_structures_per_um2"]}
    half = resolved_from(pairs["two_lines"]["spacing_nm"], pairs["two_lines"]["resolved"]["model"])
    return numbers | ({} if half is None else {"resolved_half_nm": half})


def resolved_from(spacings_nm: Sequence[float], shares: Sequence[float]) -> float | None:
    """The smallest spacing from which on, at all larger ones, half of the pairs or more are told apart; None for none."""
    found = None
    for spacing, share in sorted(zip(spacings_nm, shares), reverse=True):
        if share < 0.5:
            break
        found = spacing
    return found


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


def restored_of(model: Any, raw: np.ndarray) -> np.ndarray:
    """(N, sH, sW) of raw pictures (N, H, W, frames)."""
    return model.restore(raw)["image"][..., 0]


def _middle(span: Any) -> float:
    """Geometric mean of a span; of one that begins at 0, half of its end."""
    if not isinstance(span, tuple):
        return float(span)
    low, high = map(float, span)
    return math.sqrt(low * high) if low > 0 else high / 2


# Compiled once for all widths of the spot and pixels: simulators are pytrees.
@partial(jax.jit, static_argnames="n")
def _sample(simulator: Any, key: jax.Array, n: int) -> dict[str, jax.Array]:
    return simulator.sample(key, n)
