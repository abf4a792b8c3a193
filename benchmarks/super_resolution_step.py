"""Seconds and memory of a training step and a prediction of DFCAN and RCAN, beside the same nets in PyTorch, in one run.

    python benchmarks/super_resolution_step.py --torch-python PYTHON [--nets ...] [--rounds 7] [--output FILE]

PYTHON is an interpreter that has torch. Nets: the published DFCAN, x2; RCAN as for microscopy (32 channels, 5 groups of 3
blocks), x1 and x2. Both sides hold the same weights (checked: equal parameter counts, outputs equal to 1e-3 of the range)
and take turns, forwards and backwards, each in a process of its own; PyTorch in its default memory layout and in
channels-last. Training: 2 camera patches of 64 x 64, forward, backward and Adam. Prediction: one camera image of 128 x
128. A ratio is the median over rounds of ours / theirs. Memory is the peak of the process, compilation included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from step_time import WORK, draw, summarize, timed

BATCH, PATCH, IMAGE, RATE = 2, 64, 128, 1e-4
AGREEMENT = 1e-3  # largest difference of the two outputs, as a part of the range
SPECTRUM = 128
# Groups, blocks of a group and magnification; a block's layers in the order in which it uses them.
NETS = {"dfcan_x2": (4, 4, 2), "rcan_x1": (5, 3, 1), "rcan_x2": (5, 3, 2)}
LAYERS = {
    "dfcan": ("conv0", "conv1", "attention/conv", "attention/squeeze", "attention/excite"),
    "rcan": ("conv0", "conv1", "squeeze", "excite"),
}
SIDES = ("bioflax", "torch default", "torch channels_last")


def layer_names(net: str) -> list[str]:
    """Paths of the layers of our model, in the order of the forward pass."""
    (groups, blocks, upscale), kind = NETS[net], net.split("_")[0]
    names = ["backbone/first"]
    for group in range(groups):
        inside = f"backbone/body/group{group}"
        under = inside if kind == "dfcan" else f"{inside}/blocks"
        names += [f"{under}/block{block}/{layer}" for block in range(blocks) for layer in LAYERS[kind]]
        names += [] if kind == "dfcan" else [f"{inside}/last"]
    names += [] if kind == "dfcan" else ["backbone/last"]
    return names + (["head/upsampler/convs/conv0"] if upscale > 1 else []) + ["head/mean"]


def jax_side(net: str, weights: Path) -> dict[str, Callable[[], Any]]:
    """Our training step and prediction; also writes the weights, one pair of arrays a layer."""
    from functools import partial

    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from bioflax.functional import flatten_paths, purify, unflatten_paths
    from bioflax.models import DFCAN, RCAN, Direct, Model
    from bioflax.ops.memory import keep_freed_memory

    keep_freed_memory()
    if net.startswith("dfcan"):
        parts = partial(DFCAN, **DFCAN.published()), partial(Direct, **Direct.dfcan(2))
    else:
        parts = partial(RCAN, **RCAN.microscopy(2)), partial(Direct, **Direct.edsr(NETS[net][2]))
    model = purify(Model(*parts, rngs=nnx.Rngs(0)))
    flat = flatten_paths(model.variables)  # moved from the start, where biases are zero and sub-pixels equal
    flat = {
        path: np.asarray(leaf) + 0.01 * draw(*leaf.shape, seed=seed) for seed, (path, leaf) in enumerate(flat.items())
    }
    variables = unflatten_paths(jax.tree.map(jnp.asarray, flat))
    np.savez(weights, *(flat[f"{name}/{part}"] for name in layer_names(net) for part in ("kernel", "bias")))
    optimizer = optax.adam(RATE)

    def step(params, state, image, target):
        def loss(params):
            return jnp.mean((model.apply(params, image)["image"] - target) ** 2)

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    step = jax.jit(step, donate_argnums=(0, 1))
    apply = jax.jit(lambda params, image: model.apply(params, image)["image"])
    image, target, large = (jnp.asarray(array) for array in inputs(net))
    carry = [jax.tree.map(jnp.copy, variables)]
    carry.append(optimizer.init(carry[0]))

    def train() -> None:
        carry[0], carry[1], value = step(*carry, image, target)
        value.block_until_ready()

    return {
        "train": train,
        "predict": lambda: apply(variables, large).block_until_ready(),
        "check": lambda: np.asarray(apply(variables, large)),
        "parameters": lambda: sum(leaf.size for leaf in flat.values()),
        "version": lambda: f"jax {jax.__version__}",
    }


def torch_side(net: str, weights: Path, threads: int, channels_last: bool) -> dict[str, Callable[[], Any]]:
    """The same network, step and prediction in PyTorch."""
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    params = []
    for array in np.load(weights).values():
        tensor = torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array)
        tensor = tensor.contiguous(memory_format=layout) if array.ndim == 4 else tensor
        params.append(tensor.requires_grad_())
    forward = torch_dfcan if net.startswith("dfcan") else torch_rcan
    optimizer = torch.optim.Adam(params, RATE)
    image, target, large = (
        torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=layout) for array in inputs(net)
    )

    def run(image: Any) -> Any:
        return forward(image, zip(params[::2], params[1::2], strict=True), *NETS[net])

    def train() -> None:
        optimizer.zero_grad()
        loss = ((run(image) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        loss.item()

    def predict() -> Any:
        with torch.inference_mode():
            return run(large)

    return {
        "train": train,
        "predict": predict,
        "check": lambda: predict().detach().numpy().transpose(0, 2, 3, 1),
        "parameters": lambda: sum(leaf.numel() for leaf in params),
        "version": lambda: f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    }


def torch_rcan(image: Any, layers: Iterator[Any], groups: int, blocks: int, upscale: int) -> Any:
    import torch
    from torch.nn import functional

    def conv(image: Any) -> Any:
        return functional.conv2d(image, *next(layers), padding="same")

    shallow = image = conv(image)
    for _ in range(groups):
        before_group = image
        for _ in range(blocks):
            before, image = image, conv(torch.relu(conv(image)))
            weights = torch.sigmoid(conv(torch.relu(conv(image.mean((2, 3), keepdim=True)))))
            image = before + image * weights
        image = conv(image) + before_group
    image = conv(image) + shallow
    return conv(shuffle(conv(image), upscale) if upscale > 1 else image)


def torch_dfcan(image: Any, layers: Iterator[Any], groups: int, blocks: int, upscale: int) -> Any:
    import torch
    from torch.nn import functional

    def conv(image: Any) -> Any:
        return functional.conv2d(image, *next(layers), padding="same")

    size = image.shape[-1]
    resize = torch.from_numpy(resize_weights(size)) if size != SPECTRUM else None
    image = functional.gelu(conv(image))
    for _ in range(groups):
        before_group = image
        for _ in range(blocks):
            before, image = image, functional.gelu(conv(functional.gelu(conv(image))))
            spectrum = (torch.fft.fft2(image.contiguous()).abs() + 1e-8) ** 0.8
            spectrum = torch.fft.fftshift(spectrum, (2, 3))
            if resize is not None:
                spectrum = resize @ spectrum @ resize.T
            if image.is_contiguous(memory_format=torch.channels_last):
                spectrum = spectrum.contiguous(memory_format=torch.channels_last)
            pooled = torch.relu(conv(spectrum)).mean((2, 3), keepdim=True)
            image = before + image * torch.sigmoid(conv(torch.relu(conv(pooled))))
        image = image + before_group
    return torch.sigmoid(conv(shuffle(functional.gelu(conv(image)), upscale)))


def shuffle(image: Any, upscale: int) -> Any:
    """Channels to sub-pixels, their column slowest, then their row (PyTorch's own takes the channel slowest)."""
    count, channels, height, width = image.shape
    image = image.reshape(count, upscale, upscale, channels // upscale**2, height, width)
    return image.permute(0, 3, 4, 2, 5, 1).reshape(count, -1, upscale * height, upscale * width)


def resize_weights(size: int) -> np.ndarray:
    """(SPECTRUM, size) linear weights that read at i * size / SPECTRUM (TensorFlow 1)."""
    place = np.arange(SPECTRUM) * size / SPECTRUM
    distance = np.abs(place[:, None] - np.arange(size))
    weights = np.maximum(0, 1 - distance)
    weights[place > size - 1, -1] = 1
    return weights.astype(np.float32)


def inputs(net: str) -> list[np.ndarray]:
    upscale = NETS[net][2]
    shapes = [(BATCH, PATCH, PATCH, 1), (BATCH, upscale * PATCH, upscale * PATCH, 1), (1, IMAGE, IMAGE, 1)]
    return [draw(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def serve(side: dict[str, Callable[[], Any]], folder: Path) -> None:
    """Answers a word a line: `train` and `predict` with their time, others with their value (arrays through a file)."""
    side["memory"] = peak_mb
    for line in sys.stdin:
        word = line.strip()
        answer = timed(side[word]) if word in WORK else side[word]()
        if isinstance(answer, np.ndarray):
            np.save(folder / "check.npy", answer)
            answer = "check.npy"
        print(json.dumps(answer), flush=True)


def peak_mb() -> float:
    """Peak resident memory of this process in 1e6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Side:
    """A process of one framework that does a piece of work when asked."""

    def __init__(self, python: str, name: str, net: str, weights: Path, threads: int) -> None:
        options = {"--serve": name, "--nets": net, "--weights": weights, "--threads": threads}
        command = [python, __file__, *(str(part) for pair in options.items() for part in pair)]
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, word: str) -> Any:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(net: str, torch_python: str, rounds: int, threads: int) -> dict[str, Any]:
    """Runs the sides of one net in turn and returns every time with the summary."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        sides, outputs, facts = {}, {}, {}
        for name in SIDES:  # ours first: it leaves its weights for the others
            python = sys.executable if name == "bioflax" else torch_python
            sides[name] = Side(python, name, net, weights, threads)
            facts[name] = {"parameters": sides[name].ask("parameters"), "version": sides[name].ask("version")}
            facts[name]["memory_at_start_mb"] = sides[name].ask("memory")
            outputs[name] = np.load(weights.parent / sides[name].ask("check"))
            facts[name]["memory_after_predict_mb"] = sides[name].ask("memory")
        counts = {fact["parameters"] for fact in facts.values()}
        assert len(counts) == 1, f"{net}: parameter counts differ: {counts}"
        difference = max(np.abs(output - outputs["bioflax"]).max() for output in outputs.values())
        difference = float(difference / np.ptp(outputs["bioflax"]))
        assert difference < AGREEMENT, f"{net}: the outputs differ by {difference:.2g} of the range"
        times = {word: {name: [] for name in sides} for word in WORK}
        for number in range(-2, rounds):  # two to warm up
            for word in WORK:
                for name in SIDES[:: 1 if number % 2 else -1]:
                    result = sides[name].ask(word)
                    if number >= 0:
                        times[word][name].append(result)
        for name, side in sides.items():
            facts[name]["memory_after_train_mb"] = side.ask("memory")
            side.close()
    return {
        "parameters": counts.pop(),
        "difference_of_range": difference,
        "sides": facts,
        "summary": {word: summarize(times[word]) for word in WORK},
        "times_s": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="an interpreter that has torch")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "super_resolution_step.json")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        net, weights = options.nets[0], options.weights
        ours = options.serve == "bioflax"
        layout = options.serve == "torch channels_last"
        side = jax_side(net, weights) if ours else torch_side(net, weights, options.threads, layout)
        return serve(side, weights.parent)
    if not options.torch_python:
        parser.error("--torch-python: give an interpreter that has torch")
    before = os.getloadavg()[0]
    results = {net: measure(net, options.torch_python, options.rounds, options.threads) for net in options.nets}
    for net, result in results.items():
        show(net, result)
    report = {
        "what": f"training: {BATCH} x {PATCH} x {PATCH} camera pixels; prediction: {IMAGE} x {IMAGE}; float32",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_before": before,
        "rounds": options.rounds,
        "nets": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwrote {options.output}")


def show(net: str, result: dict[str, Any]) -> None:
    for word in WORK:
        title = f"{net} {word}"
        print(f"\n{title:22} {'median ms':>10} {'fastest ms':>11} {'cpu ms':>8} {'ours/theirs':>12} {'peak MB':>8}")
        for name, row in result["summary"][word].items():
            print(
                f"{name:22} {row['median_ms']:10.0f} {row['fastest_ms']:11.0f} {row['cpu_ms']:8.0f}"
                f" {row['ratio_of_pairs']:12.2f} {result['sides'][name][f'memory_after_{word}_mb']:8.0f}"
            )


if __name__ == "__main__":
    main()
