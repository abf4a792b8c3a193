"""How good a localizer is on simulated frames that it has not seen: beside maximum likelihood and the Cramer-Rao bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioflax.baselines.localize import localize_electrons
from bioflax.data.assemble import Prepared
from bioflax.data.emitters import EmitterScales
from bioflax.hub.store import LoadedModel
from bioflax.metrics import score_localizations
from bioflax.optics.emitter_bounds import emitter_bounds
from bioflax.optics.likelihood import Sensor, sensor

REPORTED = (
    "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "rmse_over_crlb_x", "rmse_over_crlb_y",
    "rmse_over_crlb_z", "efficiency_3d", "coverage_68", "coverage_95",
)  # fmt: skip
BORDER_NM = 450.0
CROWD = {"neighbours": 4, "gate_nm": (250.0, 500.0)}  # the bound of an emitter among its neighbours, as evaluate has it
PREVIEWED = 8


def judge_emitters(model: LoadedModel, task: Any, prepared: Prepared, preview: Path) -> dict[str, Any]:
    """Scores by the protocol of the 2016 challenge (250 nm, 500 nm, 450 nm border), under the same names for all.

    Args:
        model: the localizer.
        task: decodes its maps.
        prepared: held-out examples with their truth.
        preview: where frames, probabilities and true positions go, as .npz.

    Returns:
        {"metrics", "baselines": {"mle"}, "bounds"}: the bound is that of each emitter among its neighbours.
    """
    if not prepared.truth:
        return {"metrics": {}, "baselines": {}, "bounds": {}}
    simulator, scales = prepared.source.simulator, prepared.source.scales
    truth = truth_columns(prepared.truth, simulator)
    found, logits = predict_batches(model, task, prepared.validation, scales)
    frames = np.concatenate([batch["image"] for batch in prepared.truth])[..., scales.frames // 2]
    classic = classical_columns(frames, simulator)
    side = simulator.size * scales.pixel_nm
    protocol = {"size_nm": (side, side), "border_nm": BORDER_NM if side > 3 * BORDER_NM else 0.0}
    save_preview(preview, frames, logits, truth, scales)
    bound = {"rmse_lateral_nm": float(np.sqrt(np.mean(truth["crlb_x_nm"] ** 2 + truth["crlb_y_nm"] ** 2)))}
    if "crlb_z_nm" in truth:
        bound["rmse_axial_nm"] = float(np.sqrt(np.mean(truth["crlb_z_nm"] ** 2)))
    bound |= {f"rmse_over_crlb_{axis}": 1.0 for axis in "xyz"}
    return {
        "metrics": reported(score_localizations(found, truth, **protocol)),
        "baselines": {"mle": reported(score_localizations(classic, truth, **protocol))},
        "bounds": bound,
    }


def truth_columns(batches: list[dict[str, np.ndarray]], simulator: Any) -> dict[str, np.ndarray]:
    """Columns of the emitters that shine in the middle frames, with the bound of each among its neighbours."""
    joined = {
        name: np.concatenate([batch[name] for batch in batches])
        for name in ("x_nm", "y_nm", "z_nm", "photons", "present", "background")
    }
    present = joined["present"].astype(bool)
    example = np.nonzero(present)[0]
    table = {name: joined[name][present].astype(np.float64) for name in ("x_nm", "y_nm", "z_nm", "photons")}
    table["frame"] = example + 1
    pixel_nm = float(simulator.psf.pixel_nm)
    row, column = (np.clip((table[axis] / pixel_nm).astype(int), 0, simulator.size - 1) for axis in ("y_nm", "x_nm"))
    table["background_photons"] = joined["background"][example, row, column, 0].astype(np.float64)
    return {**table, **emitter_bounds(simulator.psf, plain_sensor(simulator.camera), table, **CROWD)}


def predict_batches(
    model: LoadedModel, task: Any, batches: list[dict[str, np.ndarray]], scales: EmitterScales
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The localizer's columns for batches in its own units, one frame an example; and the logits (n, H, W)."""

    @jax.jit
    def run(variables: Any, image: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        prediction = model.net.apply(variables, image)
        return task.decode(prediction), prediction["logit"][..., 0]

    parts, logits, first = [], [], 1
    for batch in batches:
        found, logit = jax.device_get(run(model.variables, batch["image"]))
        parts.append(scales.to_columns(found, first))
        logits.append(logit)
        first += len(batch["image"])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, np.concatenate(logits)


def classical_columns(photons: np.ndarray, simulator: Any) -> dict[str, np.ndarray]:
    """What the maximum-likelihood localizer finds in frames (T, H, W) of camera photons."""
    at = plain_sensor(simulator.camera)
    low, high = (float(z) for z in simulator.z_nm)
    return localize_electrons(np.asarray(at.expected_e(photons)), at, simulator.psf, z_range_nm=(1.2 * low, 1.2 * high))


def plain_sensor(camera: Any) -> Sensor:
    """The sensor with maps replaced by their medians: each simulated example sees another part of them."""
    return jax.tree.map(lambda leaf: float(np.median(leaf)), sensor(camera))


def reported(score: dict[str, float]) -> dict[str, float]:
    """The numbers that a card holds."""
    return {name: score[name] for name in REPORTED if name in score and np.isfinite(score[name])}


def save_preview(
    path: Path, frames: np.ndarray, logits: np.ndarray, truth: dict[str, np.ndarray], scales: EmitterScales
) -> None:
    """Frames, probabilities and true positions (as pixels that hold an emitter) of a few examples."""
    target = np.zeros(frames.shape, np.float32)
    row, column = ((truth[axis] / scales.pixel_nm).astype(int) for axis in ("y_nm", "x_nm"))
    np.add.at(target, (truth["frame"] - 1, row, column), 1.0)
    aside = path.with_suffix(".part")
    with aside.open("wb") as stream:
        np.savez_compressed(
            stream,
            names=np.array([f"simulated {n}" for n in range(min(PREVIEWED, len(frames)))]),
            input=frames[:PREVIEWED].astype(np.float32),
            output=(1.0 / (1.0 + np.exp(-logits[:PREVIEWED]))).astype(np.float32),
            target=target[:PREVIEWED],
        )
    aside.replace(path)
