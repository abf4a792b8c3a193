"""Seconds that the same seeds take side by side in one program (`train.fit_together`) and one after another, in one run.

    python benchmarks/vectorised_seeds.py [--seeds 4] [--width 16] [--depth 2] [--batch 8] [--patch 64] [--steps 5]
        [--rounds 5] [--precision float32] [--steps-per-call 1] [--out benchmarks/results/vectorised_seeds.json]

Both train a U-Net on a simulated denoising set, forward, backward and Adam, the simulation included. The sides take turns,
so a busy machine slows both; the ratio is the median over rounds of serial / together: above 1 it pays. The result is added
under the name of the device, so that one file holds several devices.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.data.assemble import NormalizedSimulator
from bioflax.data.normalize import Normalization
from bioflax.functional import purify
from bioflax.models import Model, Residual, UNet
from bioflax.ops.memory import keep_freed_memory
from bioflax.simulate import Mixed, Simulator
from bioflax.tasks import Denoise, Supervised
from bioflax.train import Hardware, create_state, make_optimizer, make_step
from bioflax.train.together import stack_runs


def sides(options: argparse.Namespace) -> tuple[dict[str, Callable[[], float]], dict[str, float]]:
    """`{side: run}`, where `run()` trains all seeds by `options.steps` steps and returns seconds; and seconds of compiling."""
    hardware = Hardware(precision=options.precision, steps_per_call=options.steps_per_call)
    nets = [
        purify(Model(partial(UNet, width=options.width, depth=options.depth), Residual, rngs=nnx.Rngs(seed)))
        for seed in range(options.seeds)
    ]
    simulator = Simulator(Mixed(), photons=30.0, background_photons=2.0, size=options.patch, margin=8)
    source = NormalizedSimulator(simulator, Normalization("mean_std", (110.0,), (30.0,)), "target")
    task, optimizer = Denoise(Supervised()), make_optimizer(1000)

    def step(state: Any, data: Any, root: jax.Array) -> Any:
        return make_step(nets[0], task, optimizer, batch_size=options.batch, seed=root, hardware=hardware)(state, data)

    roots = [jax.random.key(seed) for seed in range(options.seeds)]
    states = [create_state(net, optimizer) for net in nets]
    one = jax.device_put(source, hardware.replicated())
    # Leaves of the stack as `fit_together` makes them: every run brings its own simulator.
    many, stacked = stack_runs("data", [source] * options.seeds), stack_runs("model", states)
    root = jnp.stack(roots)
    compiling, programs = {}, {}
    for name, function, arguments in (
        ("serial", step, (states[0], one, roots[0])),
        ("together", jax.vmap(step), (stacked, many, root)),
    ):
        begun = time.perf_counter()
        programs[name] = jax.jit(function, donate_argnums=0).lower(*arguments).compile()
        compiling[name] = time.perf_counter() - begun
    calls = options.steps // options.steps_per_call
    held = {"serial": states, "together": [stacked]}

    def run(name: str, data: Any, keys: list[jax.Array]) -> float:
        begun = time.perf_counter()
        for number, key in enumerate(keys):
            for _ in range(calls):
                held[name][number], _ = programs[name](held[name][number], data, key)
        jax.block_until_ready(held[name])
        return time.perf_counter() - begun

    return {"serial": lambda: run("serial", one, roots), "together": lambda: run("together", many, [root])}, compiling


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times of both sides, taken in turn, with their summary."""
    both, compiling = sides(options)
    times: dict[str, list[float]] = {name: [] for name in both}
    for number in range(-1, options.rounds):  # one to warm up
        for name in list(both)[:: 1 if number % 2 else -1]:
            seconds = both[name]()
            if number >= 0:
                times[name].append(seconds)
    return {
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "version": f"jax {jax.__version__}",
        "ratio": statistics.median(a / b for a, b in zip(times["serial"], times["together"], strict=True)),
        "ratio_of_fastest": min(times["serial"]) / min(times["together"]),
        "step_ms_a_seed": {
            name: 1e3 * statistics.median(taken) / options.steps / options.seeds for name, taken in times.items()
        },
        "compile_s": compiling,
        "times_s": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=64, help="pixels along a side")
    parser.add_argument("--steps", type=int, default=5, help="steps of a round; a multiple of --steps-per-call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps-per-call", type=int, default=1, help="20 on an accelerator")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "vectorised_seeds.json")
    options = parser.parse_args()
    if options.steps < 1 or options.steps % options.steps_per_call:
        parser.error("--steps: give a multiple of --steps-per-call")
    keep_freed_memory()
    device, result = jax.devices()[0].device_kind, measure(options)
    for name, milliseconds in result["step_ms_a_seed"].items():
        print(f"{name:10} {milliseconds:8.1f} ms a step and seed, compiled in {result['compile_s'][name]:.1f} s")
    print(f"{device}: {options.seeds} seeds one after another take {result['ratio']:.2f} times as long as together")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    options.out.write_text(json.dumps({**known, device: result}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
