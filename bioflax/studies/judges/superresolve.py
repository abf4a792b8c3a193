"""Judges super-resolution: paired pictures of a simulator, fidelity, what is prior, and agreement with the raw data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.baselines.interpolate import bicubic
from bioflax.errors import InputError
from bioflax.hub.held_out_pairs import known_physics
from bioflax.hub.store import LoadedModel
from bioflax.optics import passband
from bioflax.predict.physics import Physics
from bioflax.studies.judges import pair_rivals
from bioflax.studies.judges.base import Judged, Rivals
from bioflax.studies.judges.pair_tallies import (
    BEYOND,
    FALSE,
    FIDELITY,
    HONEST,
    PairTests,
    Row,
    has_structure,
    light_of_one,
    measure,
    tallies_of,
)

ITEMS, OTHERS = 0x5E57, 0x0B57  # folded into the seed: pictures to judge, pictures to tune the rivals on
TUNED = 8  # others, with the truth before the rivals' eyes
OPTIONS = ("physics",)
BELIEVED = "believed"  # data of the reference condition


class SuperResolveJudge:
    """Judges super-resolution on simulated pairs.

    There are two physics. Metrics that compare with the truth take the band of the test condition, the same for all rows:
    `in_band_psnr_db`; `null_space_error`, the energy of the error beyond what was measured over that of the truth there (1 for a
    result that shows nothing there, more where what was made up is worse than nothing); and `false_structures_per_um2`, which
    counts what is a quarter as bright as an object of density 1, or brighter, where the truth is empty for a cut-off spacing
    around. `null_space_energy`, `chi_square`, `rsp` and `flagged` are what a user sees who does not know that anything has
    changed: their optics and noise are those of the model's card, or, with `test.physics=true`, those of the test condition.
    `flagged` is the share of pictures on which `bioflax.predict.honesty` raises a flag.

    Rivals are tuned with the truth before their eyes, on other pictures of the condition, and told its true optics; with the
    ending `_believed` they take the optics of the reference condition, as a user would who does not know better. Of a Gaussian
    process the bound is exact. For other scenes there is none: `best_linear` is a baseline, what no linear method can pass
    that knows the mean spectrum of these very scenes.
    """

    believes: ClassVar[bool] = True  # the engine passes the data of the reference condition
    metrics: ClassVar[tuple[str, ...]] = (*FIDELITY, BEYOND, *HONEST, FALSE, "flagged")
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"nrmse", "null_space_energy", "chi_square", BEYOND, FALSE})

    def draw(self, data: Any, task: Any, items: int, seed: int, options: Mapping[str, Any]) -> PairTests:
        """Item i has the same scene and noise key under every condition: they follow from the seed and i alone.

        A scene whose room for objects follows from its density or from the size of a pixel draws other objects when these change;
        with `scene.capacity` set, a denser picture holds the objects of a sparser one and more.

        Args:
            data: `data.SimulatedPairs` under the test condition.
            task: not used.
            items: pictures.
            seed: of the test.
            options: of this judge.

        Raises:
            InputError: data without a simulator of pairs, or an unknown option.
        """
        del task
        check_options(options)
        simulator = getattr(data, "simulator", None)
        if not hasattr(simulator, "upscale"):
            raise InputError(
                f"data: expected simulated pairs for task superresolve, found {type(data).__name__}. Take data=simulated_pairs or "
                "data=blurred_process."
            )
        return drawn(simulator, items, seed, ITEMS)

    def score(self, models: Sequence[LoadedModel], task: Any, tests: PairTests, options: Mapping[str, Any]) -> Judged:
        """Tallies of a model, or of the mean result of several, and panels of the picture with the lowest PSNR.

        Args:
            models: one, or the members of an ensemble.
            task: not used.
            tests: the items.
            options: of this judge.

        Raises:
            InputError: models of another upscale or other frames than the pictures, or of different units.
        """
        del task
        check_options(options)
        same_unit = common_unit(models, tests)
        restored = np.mean([model.restore(tests.raw)["image"][..., 0] for model in models], axis=0)
        believed = known_physics(models[0])
        if options.get("physics"):
            trained = believed.trained_pixel_nm if believed else None
            believed = dataclasses.replace(tests.physics, same_unit=same_unit, trained_pixel_nm=trained)
        rows = measure(restored, tests, believed, same_unit)
        return Judged(tallies_of(rows), picture_of(restored, tests, rows, believed))

    def rivals(self, tests: PairTests, task: Any, baselines: Sequence[str], options: Mapping[str, Any]) -> Rivals:
        """Classical methods tuned for this condition, and the bound where there is one.

        Args:
            tests: the items.
            task: not used.
            baselines: names of `SUPER_RESOLVERS`, with or without `_believed`, or `best_linear`.
            options: of this judge.

        Raises:
            InputError: an unknown name, or `_believed` where there is no reference condition.
        """
        del task
        check_options(options)
        found, linear = {}, None
        others = others_of(tests)
        wide, exact = tests.raw.mean(-1), hasattr(tests.simulator, "spectrum")
        if exact or pair_rivals.LINEAR in baselines:
            linear = pair_rivals.least_linear_error(wide, tests.target, tests.simulator, tests.physics)
        for name in baselines:
            if name == pair_rivals.LINEAR:
                found[name] = tallies_of(linear)
                continue
            physics = self._told(name, tests, options)
            method = name.removesuffix(pair_rivals.BELIEVED)
            best = pair_rivals.tuned(method, *others, physics)
            restored = np.stack([best.apply(image) for image in wide])
            found[name] = tallies_of(measure(restored, tests, physics, True))
        return Rivals(found, tallies_of(linear) if exact else {})

    def _told(self, name: str, tests: PairTests, options: Mapping[str, Any]) -> Physics:
        if name not in pair_rivals.KNOWN:
            raise InputError(f"study.baselines: expected some of {', '.join(pair_rivals.KNOWN)}, found {name!r}.")
        if not name.endswith(pair_rivals.BELIEVED):
            return tests.physics
        believed = getattr(options.get(BELIEVED), "simulator", None)
        if believed is None:
            raise InputError(f"study.baselines: {name} needs a reference condition that can be built; leave it out.")
        return pair_rivals.true_physics(believed)


def drawn(simulator: Any, items: int, seed: int, stream: int) -> PairTests:
    """Pictures of a simulator of pairs; each follows from the seed, the stream and its number."""
    key = jax.random.fold_in(jax.random.key(seed), stream)
    keys = jax.vmap(lambda item: jax.random.fold_in(key, item))(jnp.arange(items))
    batch = jax.device_get(_sample(simulator, keys))
    return PairTests(batch["image"], batch["target"][..., 0], simulator, pair_rivals.true_physics(simulator), seed)


def others_of(tests: PairTests) -> tuple[np.ndarray, np.ndarray]:
    """Wide-field pictures (N, H, W) and targets (N, sH, sW) of the condition that are not judged; empty ones last."""
    items = max(len(tests.raw), TUNED)  # as many as are judged: compiled once
    found = drawn(tests.simulator, items, tests.seed, OTHERS)
    light = light_of_one(tests.simulator)
    chosen = np.argsort([not has_structure(target, light) for target in found.target], kind="stable")[:TUNED]
    return found.raw[chosen].mean(-1), found.target[chosen]


# One compilation for all levels of physical quantities: simulators are pytrees.
@jax.jit
def _sample(simulator: Any, keys: jax.Array) -> dict[str, jax.Array]:
    batch = jax.vmap(lambda key: simulator.sample(key, 1))(keys)
    return {name: batch[name][:, 0] for name in ("image", "target")}


def picture_of(
    restored: np.ndarray, tests: PairTests, rows: Sequence[Row], believed: Physics | None
) -> dict[str, np.ndarray]:
    """Panels (sH, sW) of the item with the lowest PSNR: input (enlarged), output, truth, and the part that is prior."""
    worst = int(np.argmin([math.inf if row["psnr_db"] is None else row["psnr_db"] for row in rows]))
    panels = {
        "input": bicubic(tests.raw[worst].mean(-1), tests.physics.upscale),
        "output": restored[worst],
        "truth": tests.target[worst],
    }
    if believed is not None:
        panels["prior"] = passband.split(restored[worst], believed.reach_per_px, believed.band_upscale)[1]
    return {name: np.asarray(panel, np.float32) for name, panel in panels.items()}


def common_unit(models: Sequence[LoadedModel], tests: PairTests) -> bool:
    """Whether the results are in counts of the camera; InputError where models and pictures do not fit one another."""
    for model in models:
        found, expected = (model.channels_in, model.upscale), (tests.raw.shape[-1], tests.physics.upscale)
        if found != expected:
            raise InputError(
                f"study: the pictures have {expected[0]} frames and targets {expected[1]} times as fine, the model takes "
                f"{found[0]} and makes {found[1]} times as fine; keep head.upscale and the frames in all conditions."
            )
    units = {model.card.physics.get("units", "input") == "input" for model in models}
    if len(units) > 1:
        raise InputError("fit.members: expected results in one unit, found counts and units of their own; keep task.")
    return units.pop()


def check_options(options: Mapping[str, Any]) -> None:
    """InputError for an option that this judge does not know."""
    unknown = sorted(set(options) - {*OPTIONS, BELIEVED})
    if unknown:
        raise InputError(
            f"test.{unknown[0]}: expected one of {', '.join(OPTIONS)} for task superresolve. Leave it out."
        )
