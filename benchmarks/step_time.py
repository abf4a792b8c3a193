"""Seconds a training step and a prediction of the U-Net take, beside the same U-Net in PyTorch, in one run.

    python benchmarks/step_time.py --torch-python PYTHON [--rounds 15] [--threads 0] [--output benchmarks/results]

PYTHON is an interpreter that has torch. Both sides hold the same weights (checked: equal parameter counts, outputs
equal to 1e-3) and take turns, so a busy machine slows both. Training: 16 patches of 64 x 64, forward, backward and
Adam. Prediction: one image of 512 x 512. PyTorch runs in its default memory layout and in channels-last. The table
gives medians; a ratio is the median over rounds of ours / theirs, beside the ratio of the fastest runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, DEPTH, BATCH, PATCH, IMAGE, RATE = 32, 2, 16, 64, 512, 4e-4
STAGES = [f"{level}/conv{i}" for level in ("encoder/level0", "encoder/level1", "middle") for i in (0, 1)]
STAGES += [f"decoder/level{n}/conv{i}" for n in (1, 0) for i in (0, 1)]  # in the order of the forward pass
WORK = ("train", "predict")


def draw(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def jax_side(weights: Path) -> dict[str, Callable[[], Any]]:
    """Our training step and prediction; also writes the weights, one pair of arrays a convolution."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from bioflax.functional import flatten_paths, purify
    from bioflax.models import Direct, Model, UNet
    from bioflax.ops.memory import keep_freed_memory

    keep_freed_memory()
    net = purify(Model(lambda rngs: UNet(width=WIDTH, depth=DEPTH, rngs=rngs), Direct, rngs=nnx.Rngs(0)))
    flat = {path: np.asarray(leaf) for path, leaf in flatten_paths(net.variables).items()}
    names = [f"backbone/{stage}/conv" for stage in STAGES] + ["head/mean"]
    np.savez(weights, *(flat[f"{name}/{part}"] for name in names for part in ("kernel", "bias")))

    optimizer = optax.adam(RATE)

    def step(params, state, image, target):
        def loss(params):
            return jnp.mean((net.apply(params, image)["image"] - target) ** 2)

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    step = jax.jit(step, donate_argnums=(0, 1))
    apply = jax.jit(lambda params, image: net.apply(params, image)["image"])
    image, target = (jnp.asarray(draw(BATCH, PATCH, PATCH, 1, seed=seed)) for seed in (1, 2))
    large = jnp.asarray(draw(1, IMAGE, IMAGE, 1, seed=3))
    carry = [jax.tree.map(jnp.copy, net.variables)]
    carry.append(optimizer.init(carry[0]))

    def train() -> None:
        carry[0], carry[1], value = step(*carry, image, target)
        value.block_until_ready()

    return {
        "train": train,
        "predict": lambda: apply(net.variables, large).block_until_ready(),
        "check": lambda: np.asarray(apply(net.variables, image)),
        "parameters": lambda: sum(leaf.size for leaf in flat.values()),
        "version": lambda: f"jax {jax.__version__}",
    }


def torch_side(weights: Path, threads: int, channels_last: bool) -> dict[str, Callable[[], Any]]:
    """The same network, step and prediction in PyTorch."""
    import torch
    from torch import nn

    if threads:
        torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    arrays = list(np.load(weights).values())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList()
            for kernel, bias in zip(arrays[::2], arrays[1::2], strict=True):
                conv = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding=kernel.shape[0] // 2)
                conv.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
                conv.bias.data = torch.from_numpy(bias)
                self.convs.append(conv)
            self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")

        def stage(self, image: Any, number: int) -> Any:
            for conv in self.convs[2 * number : 2 * number + 2]:
                image = torch.relu(conv(image))
            return image

        def forward(self, image: Any) -> Any:
            fine = self.stage(image, 0)
            coarse = self.stage(self.pool(fine), 1)
            image = self.stage(self.pool(coarse), 2)
            image = self.stage(torch.cat([self.up(image), coarse], 1), 3)
            image = self.stage(torch.cat([self.up(image), fine], 1), 4)
            return self.convs[-1](image)

    net = Net().to(memory_format=layout)
    first = [leaf.detach().clone() for leaf in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    image, target, large = (
        torch.from_numpy(draw(*shape, seed=seed).transpose(0, 3, 1, 2).copy()).contiguous(memory_format=layout)
        for seed, shape in [(1, (BATCH, PATCH, PATCH, 1)), (2, (BATCH, PATCH, PATCH, 1)), (3, (1, IMAGE, IMAGE, 1))]
    )

    def train() -> None:
        optimizer.zero_grad()
        loss = ((net(image) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        loss.item()

    def predict() -> None:
        with torch.inference_mode():
            net(large)

    def check() -> np.ndarray:
        with torch.inference_mode():
            return net(image).numpy().transpose(0, 2, 3, 1)

    return {
        "train": train,
        "predict": predict,
        "check": check,
        "parameters": lambda: sum(leaf.numel() for leaf in first),
        "version": lambda: f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    }


def timed(function: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def serve(side: dict[str, Callable[[], Any]], folder: Path) -> None:
    """Answers a word a line: `train` and `predict` with their time, others with their value (arrays through a file)."""
    for line in sys.stdin:
        word = line.strip()
        if word in WORK:
            answer: Any = timed(side[word])
        else:
            answer = side[word]()
            if isinstance(answer, np.ndarray):
                np.save(folder / "check.npy", answer)
                answer = "check.npy"
        print(json.dumps(answer), flush=True)


class Peer:
    """A PyTorch process that runs one piece of work when asked."""

    def __init__(self, python: str, weights: Path, threads: int, layout: str) -> None:
        command = [python, __file__, "--serve", str(weights), "--layout", layout, "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, word: str) -> Any:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(torch_python: str, rounds: int, threads: int) -> dict[str, Any]:
    """Runs all sides in turn, forwards and backwards, and returns every time with the summary."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        ours = jax_side(weights)
        peers = {name: Peer(torch_python, weights, threads, name) for name in ("default", "channels_last")}
        sides = {"bioflax": lambda word: timed(ours[word])}
        sides |= {f"torch {name}": peer.ask for name, peer in peers.items()}
        counts, versions = [ours["parameters"]()], [ours["version"]()]
        for peer in peers.values():
            counts.append(peer.ask("parameters"))
            versions.append(peer.ask("version"))
            difference = np.abs(ours["check"]() - np.load(weights.parent / peer.ask("check"))).max()
            assert difference < 1e-3, f"the two networks differ by {difference}"
        assert len(set(counts)) == 1, f"parameter counts differ: {counts}"
        times = {word: {name: [] for name in sides} for word in WORK}
        for number in range(-2, rounds):  # two to warm up
            for word in WORK:
                for name in list(sides)[:: 1 if number % 2 else -1]:
                    result = sides[name](word)
                    if number >= 0:
                        times[word][name].append(result)
        for peer in peers.values():
            peer.close()
    return {
        "parameters": counts[0],
        "versions": sorted(set(versions)),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": rounds,
        "summary": {word: summarize(times[word]) for word in WORK},
        "times_s": times,
    }


def summarize(times: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    own = [run["wall"] for run in times["bioflax"]]
    summary = {}
    for name, runs in times.items():
        wall = [run["wall"] for run in runs]
        summary[name] = {
            "median_ms": 1e3 * statistics.median(wall),
            "fastest_ms": 1e3 * min(wall),
            "cpu_ms": 1e3 * statistics.median(run["cpu"] for run in runs),
            "ratio_of_pairs": statistics.median(a / b for a, b in zip(own, wall, strict=True)),
            "ratio_of_fastest": min(own) / min(wall),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="an interpreter that has torch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0 is its own choice")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--layout", default="default", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(torch_side(options.serve, options.threads, options.layout == "channels_last"), options.serve.parent)
        return
    if not options.torch_python:
        parser.error("--torch-python: give an interpreter that has torch")
    result = measure(options.torch_python, options.rounds, options.threads)
    for word in WORK:
        print(f"\n{word:22} {'median ms':>10} {'fastest ms':>11} {'cpu ms':>8} {'ours/theirs':>12} {'of fastest':>11}")
        for name, row in result["summary"][word].items():
            print(
                f"{name:22} {row['median_ms']:10.0f} {row['fastest_ms']:11.0f} {row['cpu_ms']:8.0f}"
                f" {row['ratio_of_pairs']:12.2f} {row['ratio_of_fastest']:11.2f}"
            )
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "step_time.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{result['parameters']} parameters; wrote {path}")


if __name__ == "__main__":
    main()
