"""What a row costs: parameters, training time, and, where asked, operations, speed and memory of a prediction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from bioflax.hub.store import LoadedModel

REPEATS = 5


def measure_costs(models: Sequence[LoadedModel], trainings: Sequence[dict[str, Any]], measured: bool) -> dict[str, Any]:
    """The price of a row; an ensemble costs the sum of its members.

    Args:
        models: one, or the members of an ensemble.
        trainings: `result.json` of each.
        measured: also time a prediction and ask the compiler for its operations and memory.

    Returns:
        `parameters`, `train_seconds`; with `measured` also `flops_per_px` and `seconds_per_mpx` (of an input pixel), and
        `memory_mb` of one picture of the model's test, activations and weights.
    """
    parts = [{"parameters": m.card.parameters, "train_seconds": _seconds(t)} for m, t in zip(models, trainings)]
    if measured:
        parts = [{**part, **_measure(model)} for part, model in zip(parts, models)]
    totals = {name: float(sum(part[name] for part in parts)) for name in parts[0]}
    return {**totals, "parameters": int(totals["parameters"])}


def _seconds(training: dict[str, Any]) -> float:
    return float(training.get("seconds", {}).get("train", 0.0))


def _measure(model: LoadedModel) -> dict[str, float]:
    image = np.asarray(model.normalization.apply(model.test_input[:1]), np.float32)
    pixels = float(np.prod(image.shape[1:-1]))
    run = jax.jit(model.net.apply).lower(model.variables, image).compile()
    analysis, memory = run.cost_analysis() or {}, run.memory_analysis()
    jax.block_until_ready(run(model.variables, image))
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(run(model.variables, image))
        times.append(time.perf_counter() - begun)
    held = sum(getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "output", "temp")) if memory else 0
    return {
        "flops_per_px": float(analysis.get("flops", 0.0)) / pixels,
        "seconds_per_mpx": min(times) / pixels * 1e6,
        "memory_mb": held / 2**20,
    }
