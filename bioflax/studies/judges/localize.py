"""Judge of localizers: simulated frames as counts of the camera, emitters paired by the rule of the 2016 challenge.

What is paired: item i has one key for its scene and one for its noise, whatever the condition, and room for the same
number of emitters. Under other light, background, spot or camera it keeps every emitter. At a higher density the
emitters of the lower one stay in place with their light; more come in, and some that came later shine from the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.baselines.localize import localize
from bioflax.errors import InputError
from bioflax.hub.held_out_emitters import truth_columns
from bioflax.hub.store import LoadedModel
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.quantities import part, physical
from bioflax.predict.movie import card_camera, scales_of
from bioflax.studies.judges.base import Judged, Rivals
from bioflax.studies.judges.emitter_tallies import HIGHER, METRICS, LocalizeTests, bounds, tally

ROOM = 512  # emitters of an item: one room for all conditions, since another one would move them
CHUNK = 32  # items that a model sees at once
REPLACED = ("size", "frames", "emitters_per_um2")  # of the simulator, by options of the test
AT_ONCE = 4  # items that are simulated at once
MOST = 512  # emitters that are decoded in a frame


@physical
class _Counting:
    """A camera whose counts are not brought back to photons."""

    camera: Any = part(SCMOS())

    def expose(self, key: jax.Array, photons: jax.Array) -> jax.Array:
        return self.camera.expose(key, photons)

    def to_photons(self, adu: jax.Array) -> jax.Array:
        return adu


class LocalizeJudge:
    """Draws frames of emitters, and scores localizers, maximum likelihood and the Cramer-Rao bound on them.

    Metrics, with what an item adds to them, all by the protocol of the 2016 challenge (250 nm, 500 nm, 450 nm border):
    `jaccard`, `precision`, `recall`: hits over hits, false alarms and misses. `rmse_*`: squared errors over hits.
    `rmse_over_crlb`: squared lateral errors over the squared bounds of the same emitters. `bias_*`: errors with their sign
    over hits. `false_positives_per_um2`: false alarms over area. `coverage_68`: errors within the central 68 % of the
    predicted spread, over errors along all axes. `sigma_ratio`: root mean square of error over predicted spread, so that a
    bias counts too. Both are right at 0.68 and 1; a model that is too sure falls below the one and rises above the other.
    `grid_bias`: length of the first Fourier component of the hits' places in their pixel, less that of the true places,
    which takes out what the sample has by chance. It stands for the Kolmogorov-Smirnov distance, which is no ratio of sums
    over items; of a pure wave that distance is grid_bias / pi.
    """

    metrics: ClassVar[tuple[str, ...]] = METRICS
    believes: ClassVar[bool] = True  # the engine passes the data of the reference condition
    lower_is_better: ClassVar[frozenset[str]] = frozenset(METRICS) - frozenset(HIGHER)

    def draw(self, data: Any, task: Any, items: int, seed: int, options: Mapping[str, Any]) -> LocalizeTests:
        """Items of one test condition.

        Args:
            data: `data.SimulatedEmitters` of the test condition.
            task: not needed.
            items: their number.
            seed: of the test; with the number of an item it makes the item's keys.
            options: `size` (pixels a side), `frames` (consecutive ones, odd) and `emitters_per_um2` in place of the simulator's.
        """
        del task
        if not hasattr(getattr(data, "simulator", None), "emitters_per_um2"):
            raise InputError(
                "study: a localizer is judged on simulated emitters. Take data=emitters (experiment=localize_astigmatic)."
            )
        simulator = _with_room(data.simulator, options)
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(items))
        counting = dataclasses.replace(simulator, camera=_Counting(simulator.camera))
        drawn = jax.device_get(_draw(counting, keys))
        truth = truth_columns([drawn], simulator) if _has_bound(simulator.camera) else _plain_truth(drawn)
        if len(truth["frame"]) and "crlb_x_nm" in truth and "crlb_z_nm" not in truth:
            del truth["z_nm"]  # the spot does not tell it
        return LocalizeTests(drawn["image"], truth, simulator.camera, float(simulator.psf.pixel_nm))

    def score(
        self, models: Sequence[LoadedModel], task: Any, tests: LocalizeTests, options: Mapping[str, Any]
    ) -> Judged:
        """A localizer on the items: counts become photons by the camera that its card holds, which is what its user believes.

        Args:
            models: one, or several of the same scales, whose maps are joined as one mixture.
            task: decodes the maps.
            tests: as drawn.
            options: not needed.
        """
        del options
        scales = scales_of(models[0])
        if any(scales_of(model) != scales for model in models):
            raise InputError("fit.members: expected localizers of the same scales, found different ones.")
        frames = tests.counts.shape[-1]
        if frames < scales.frames:
            raise InputError(
                f"test.frames: the model takes {scales.frames} frames, the test has {frames}. Set test.frames={scales.frames}."
            )
        first = (frames - scales.frames) // 2
        counts = tests.counts[..., first : first + scales.frames]
        maps = join_maps([predict_maps(model, photons_of(model, tests, counts)) for model in models])
        found = scales.to_columns(jax.device_get(task.decode(maps, max_emitters=MOST)))
        return Judged(tally(found, tests), _picture(found, tests, maps["logit"][..., 0]))

    def rivals(self, tests: LocalizeTests, task: Any, baselines: Sequence[str], options: Mapping[str, Any]) -> Rivals:
        """Maximum likelihood that believes in the spot and the camera of the reference condition, and the bound of the true ones.

        Args:
            tests: as drawn.
            task: not needed.
            baselines: `mle`, or none.
            options: `believed`, the data of the reference condition.
        """
        del task
        unknown = [name for name in baselines if name != "mle"]
        if unknown:
            raise InputError(f"study.baselines: {unknown[0]!r} is not known for a localizer. Take mle.")
        if baselines and "believed" not in options:
            raise InputError("options.believed: the data of the reference condition is needed for maximum likelihood.")
        scored = {
            name: tally(believed_columns(tests.middle, options["believed"].simulator), tests) for name in baselines
        }
        return Rivals(scored, bounds(tests))


def believed_columns(counts: np.ndarray, simulator: Any) -> dict[str, np.ndarray]:
    """What maximum likelihood finds in counts (N, H, W) by the spot, the camera and the depths of a simulator."""
    low, high = (float(z) for z in simulator.z_nm)
    depths = (1.2 * low, 1.2 * high) if low < high else (low - 1.0, high + 1.0)
    return localize(counts, simulator.psf, _cut(simulator.camera, counts.shape[1]), z_range_nm=depths)


def photons_of(model: LoadedModel, tests: LocalizeTests, counts: np.ndarray) -> np.ndarray:
    """Photons (N, H, W, F) of counts by the card's camera; of maps, which no card holds, the test's own."""
    found = model.card.physics.get("camera") or {}
    maps = any(isinstance(value, str) for name, value in found.items() if name != "kind")
    camera = tests.camera if maps else card_camera(model)
    return np.moveaxis(np.asarray(camera.to_photons(np.moveaxis(counts, -1, 1))), 1, -1)


def predict_maps(model: LoadedModel, photons: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of a localizer for photons (N, H, W, F), in its scaled units; always CHUNK at once, so that one shape is compiled."""
    parts = []
    for first in range(0, len(photons), CHUNK):
        rows = np.minimum(np.arange(first, first + CHUNK), len(photons) - 1)
        parts.append(model.restore(photons[rows]))
    return {name: np.concatenate([part[name] for part in parts])[: len(photons)] for name in parts[0]}


def join_maps(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Maps of an ensemble as one: the mean probability, and mean and spread of the mixture of its Gaussians.

    Source: B. Lakshminarayanan et al., NeurIPS 2017, whose members' weights are here their probabilities.
    """
    if len(members) == 1:
        return dict(members[0])
    logit = np.stack([maps["logit"] for maps in members]).astype(np.float64)
    probability = 0.5 * (1.0 + np.tanh(0.5 * logit))
    weight = (probability + 1e-12) / np.sum(probability + 1e-12, 0)
    mean = np.stack([maps["mean"] for maps in members])
    joined = np.sum(weight * mean, 0)
    spread = np.sqrt(np.sum(weight * (np.stack([maps["spread"] for maps in members]) ** 2 + (mean - joined) ** 2), 0))
    p = np.clip(probability.mean(0), 1e-7, 1.0 - 1e-7)
    found = {"logit": np.log(p / (1.0 - p)), "mean": joined, "spread": spread}
    if "background" in members[0]:
        found["background"] = np.mean([maps["background"] for maps in members], 0)
    return {name: values.astype(np.float32) for name, values in found.items()}


def _picture(found: Mapping[str, np.ndarray], tests: LocalizeTests, logit: np.ndarray) -> dict[str, np.ndarray]:
    """The item with the most misses and false alarms: counts, probability, and pixels that hold an emitter."""
    scores = tally(found, tests)["jaccard"]
    item = int(np.argmax(scores.denominator - scores.numerator))
    truth = np.zeros(logit.shape[1:], np.float32)
    here = tests.truth["frame"] == item + 1
    row, column = ((tests.truth[axis][here] / tests.pixel_nm).astype(int) for axis in ("y_nm", "x_nm"))
    np.add.at(truth, (row, column), 1.0)
    return {"input": tests.middle[item], "output": 1.0 / (1.0 + np.exp(-logit[item])), "truth": truth}


@jax.jit
def _draw(simulator: Any, keys: jax.Array) -> dict[str, jax.Array]:
    drawn = jax.lax.map(lambda key: simulator.sample(key, 1), keys, batch_size=min(AT_ONCE, len(keys)))
    return jax.tree.map(lambda values: values[:, 0], drawn)


def _with_room(simulator: Any, options: Mapping[str, Any]) -> Any:
    """The simulator with the field of the test, maps of the camera cut to it, and the room that all conditions share."""
    changed = {name: options[name] for name in REPLACED if name in options}
    camera = _cut(simulator.camera, changed.get("size", simulator.size))
    simulator = dataclasses.replace(simulator, **changed, camera=camera, room=None)
    return dataclasses.replace(simulator, room=max(ROOM, simulator.room))


def _cut(camera: Any, size: int) -> Any:
    """The upper left part of the camera's maps."""
    return jax.tree.map(lambda leaf: leaf[:size, :size] if np.ndim(leaf) == 2 else leaf, camera)


def _has_bound(camera: Any) -> bool:
    """Whether there is a likelihood for its counts; of rows or pixels that differ it knows nothing, and takes the mean pixel."""
    return isinstance(camera, (SCMOS, EMCCD))


def _plain_truth(drawn: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the emitters that shine in the middle frames, without bounds."""
    item, _ = np.nonzero(drawn["present"])
    table = {name: drawn[name][drawn["present"]].astype(np.float64) for name in ("x_nm", "y_nm", "z_nm", "photons")}
    return {"frame": item + 1, **table}
