"""Per-item sums of super-resolved pictures: fidelity, what is prior, agreement with the raw data, structures that are false."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from bioflax import metrics
from bioflax.hub.held_out_pairs import make_score
from bioflax.optics import passband
from bioflax.predict.honesty import examine
from bioflax.predict.physics import Physics
from bioflax.studies.tally import Tally

FIDELITY = ("psnr_db", "in_band_psnr_db", "ssim", "nrmse")
HONEST = ("null_space_energy", "chi_square", "rsp")
FALSE = "false_structures_per_um2"
BEYOND = "null_space_error"
EMPTY_SHARE = 0.1  # of the light of density 1: below it the truth counts as empty
FALSE_SHARE = 0.25  # of the light of density 1: from there on what stands in an empty part counts as a structure
Row = dict[str, float | None]


@dataclass(frozen=True)
class PairTests:
    """Pictures of one test condition, in counts of the camera.

    Attributes:
        raw: (N, H, W, frames) as the camera took them.
        target: (N, sH, sW) what the sharper microscope would have shown.
        simulator: that made them.
        physics: what really happened to them.
        seed: they were drawn with.
    """

    raw: np.ndarray
    target: np.ndarray
    simulator: Any
    physics: Physics
    seed: int


def measure(restored: np.ndarray, tests: PairTests, believed: Physics | None, same_unit: bool) -> list[Row]:
    """All metrics of each picture; None where it says nothing, such as the PSNR of a field in which there is nothing.

    Args:
        restored: (N, sH, sW).
        tests: the items.
        believed: what the pictures are taken to have gone through; None leaves out what needs it.
        same_unit: whether the result is in counts of the camera.
    """
    score, light = make_score(tests.physics, same_unit), light_of_one(tests.simulator)
    rows = []
    for image, target, raw in zip(restored.astype(np.float64), tests.target.astype(np.float64), tests.raw):
        row: Row = dict(score(image[None], target[None]))
        there = has_structure(target, light)
        row = row if there else dict.fromkeys(row)
        if believed is not None:
            honest = examine(image, raw, believed)
            row |= {name: honest.numbers.get(name) for name in HONEST} | {"flagged": float(bool(honest.flags))}
        matched = image if same_unit else np.asarray(metrics.affine_match(image, target))
        row |= beyond_of(matched, target, tests.physics) if there else {"wrong": 0.0, "there": 0.0}
        if light is not None:
            row |= false_of(matched, target, light, tests.physics)
        rows.append(row)
    return rows


def has_structure(target: np.ndarray, light: float | None) -> bool:
    """Whether there is something to restore, more than the flank of an object beyond the border; `light` of density 1."""
    return float(np.ptp(target)) > (0.0 if light is None else EMPTY_SHARE * light)


def beyond_of(image: np.ndarray, target: np.ndarray, physics: Physics) -> Row:
    """Beyond what was measured: the energy of the error, `wrong`, and of the truth, `there`."""
    parts = [passband.split(part, physics.reach_per_px, physics.band_upscale)[1] for part in (image - target, target)]
    return {name: float(np.sum(part**2)) for name, part in zip(("wrong", "there"), parts)}


def false_of(image: np.ndarray, target: np.ndarray, light: float, physics: Physics) -> Row:
    """Structures of a result (sH, sW) in the empty part of the truth: `false` of them on `area_um2`; `light` of density 1."""
    from scipy.ndimage import maximum_filter

    reach_px = 2 * math.ceil(1.0 / physics.reach_per_px) + 1
    empty = ~maximum_filter(target > target.min() + EMPTY_SHARE * light, reach_px, mode="constant")
    if not empty.any():
        return {"false": 0.0, "area_um2": 0.0}
    level = float(np.median(image[empty]))
    found = metrics.false_structures(image, level, FALSE_SHARE * light, physics.fine_nm, mask=empty)
    return {"false": float(found.count), "area_um2": found.area_um2}


def light_of_one(simulator: Any) -> float | None:
    """Counts of density 1 above the background; of a span of light the geometric mean. None for a process."""
    if not hasattr(simulator, "scene"):
        return None
    photons = float(np.exp(np.mean(np.log(simulator.photons))))
    dark, bright = (simulator.camera.expected(jnp.full(simulator.shape, value)) for value in (0.0, photons))
    return float(jnp.mean(bright - dark))


def tallies_of(rows: Sequence[Row]) -> dict[str, Tally]:
    """Per-item sums: means over the pictures that say something; energies over energies, false structures over area."""
    found = {}
    for name in (*FIDELITY, *HONEST, "flagged"):
        if name in rows[0]:
            values = np.array([math.nan if row[name] is None else row[name] for row in rows])
            told = np.isfinite(values)
            found[name] = Tally(np.where(told, values, 0.0), told.astype(float))
    for name, sums in ((BEYOND, ("wrong", "there")), (FALSE, ("false", "area_um2"))):
        if sums[0] in rows[0]:
            found[name] = Tally(*(np.array([row[part] for row in rows]) for part in sums))
    return found
