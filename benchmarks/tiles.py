"""Tiled prediction of a large image: bioflax beside the same U-Net, weights and tiles in PyTorch.

    python benchmarks/tiles.py --torch-python PYTHON [--size 2048] [--tiles auto 256] [--pairs 5] [--output FILE]

PYTHON is an interpreter that has torch (it need not have bioflax). Each side runs in a process of its own, so that the
peaks of memory are comparable; the two take turns, one prediction of the whole image each, and the ratio is the median
over the pairs. The outputs are compared before anything is timed. Without --torch-python only bioflax is timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, DEPTH = 32, 2
AGREEMENT = 1e-4  # largest difference of the two outputs, as a part of the range
# In both frameworks the parameters come in this order: down, middle, up from coarse to fine, head.
STAGES = [
    *(f"encoder/level{n}/conv{i}" for n in range(DEPTH) for i in range(2)),
    *(f"middle/conv{i}" for i in range(2)),
    *(f"decoder/level{n}/conv{i}" for n in reversed(range(DEPTH)) for i in range(2)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="interpreter that has torch")
    parser.add_argument("--size", type=int, default=2048, help="pixels along each side of the image")
    parser.add_argument("--tiles", nargs="+", default=["auto"], help="auto, or sizes in pixels")
    parser.add_argument("--pairs", type=int, default=5, help="timed predictions a side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "tiles.json")
    parser.add_argument("--side", choices=("bioflax", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return serve(options.side, options.folder)
    rows = [compare(options, tile) for tile in options.tiles]
    report = {
        "what": f"U-Net width {WIDTH} depth {DEPTH}, {options.size} x {options.size} pixels, float32, tiled",
        "processor": platform.processor() or platform.machine(),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.output}")


def compare(options: argparse.Namespace, tile: str) -> dict[str, Any]:
    """Times both sides in turn on one tiling; returns a row of the report."""
    pythons = {"bioflax": sys.executable} | ({"torch": options.torch_python} if options.torch_python else {})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        image = np.random.default_rng(0).normal(size=(options.size, options.size)).astype(np.float32)
        np.save(folder / "image.npy", image)
        (folder / "tile.json").write_text(json.dumps(tile if tile == "auto" else int(tile)))
        sides = {}
        try:
            for name, python in pythons.items():  # bioflax first: it leaves its weights and its plan for the other
                sides[name] = Side(name, python, folder)
            outputs = {name: np.load(folder / f"{name}.npy") for name in sides}
            if "torch" in sides:
                difference = float(np.abs(outputs["bioflax"] - outputs["torch"]).max() / np.ptp(outputs["torch"]))
                if difference > AGREEMENT:
                    raise SystemExit(f"the outputs differ by {difference:.2g} of the range: not the same computation")
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(options.pairs):
                for name, side in sides.items():
                    seconds[name].append(side.ask("run")["seconds"])
            facts = {name: side.ask("end") for name, side in sides.items()}
        finally:
            for side in sides.values():
                side.process.kill()
        plan = json.loads((folder / "plan.json").read_text())
    row: dict[str, Any] = {"tile": tile, "tile_pixels": plan["tile"], "tiles": len(plan["tiles"])}
    for name in sides:
        row[name] = {"seconds": seconds[name], "median_seconds": statistics.median(seconds[name]), **facts[name]}
        row[name]["megapixels_per_second"] = options.size**2 / 1e6 / row[name]["median_seconds"]
    if "torch" in sides:
        ratios = [ours / theirs for ours, theirs in zip(seconds["bioflax"], seconds["torch"])]
        row |= {"ratio_to_torch": statistics.median(ratios), "ratios": ratios, "difference_of_range": difference}
    print(json.dumps({name: value for name, value in row.items() if name not in ("ratios",)}))
    return row


class Side:
    """One framework in a process of its own, asked line by line."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        command = [python, str(Path(__file__).resolve()), "--side", name, "--folder", str(folder)]
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended with code {self.process.wait()}")
        return json.loads(line)


def serve(side: str, folder: Path) -> None:
    """The life of a side: prepare and predict once (compiles, warms up), then answer `run` and `end`."""
    before = peak_mb()
    predict, facts = {"bioflax": prepare_bioflax, "torch": prepare_torch}[side](folder)
    np.save(folder / f"{side}.npy", predict())
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            print(json.dumps({**facts, "peak_memory_mb": peak_mb(), "memory_at_start_mb": before}), flush=True)
            return
        begin = time.perf_counter()
        predict()
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


def peak_mb() -> float:
    """Peak resident memory of this process in 1e6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def prepare_bioflax(folder: Path) -> tuple[Callable[[], np.ndarray], dict[str, Any]]:
    """Makes the net, leaves its weights and the plan of the tiles in the folder."""
    import jax
    from flax import nnx

    from bioflax.functional import flatten_paths, purify
    from bioflax.models import Direct, Model, UNet
    from bioflax.ops.tiles import plan_tiles
    from bioflax.predict.tiled import choose_tile, predict_tiled

    model = Model(partial(UNet, width=WIDTH, depth=DEPTH), Direct, rngs=nnx.Rngs(0))
    net = purify(model)
    flat = flatten_paths(net.variables)
    names = [f"backbone/{stage}/conv" for stage in STAGES] + ["head/mean"]
    arrays = [np.asarray(flat[f"{name}/{part}"]) for name in names for part in ("kernel", "bias")]
    np.savez(folder / "weights.npz", *arrays)
    image = np.load(folder / "image.npy")[None, :, :, None]
    tile = json.loads((folder / "tile.json").read_text())
    geometry = {"halo": model.receptive_field // 2, "stride": model.stride_total}
    chosen = choose_tile(net.apply, net.variables, image.shape, tile=tile, **geometry)
    tiles = plan_tiles(image.shape[1:3], chosen[1:], (geometry["halo"],) * 2, (geometry["stride"],) * 2)
    windows = [[[[s.start, s.stop] for s in part] for part in (one.read, one.crop, one.write)] for one in tiles]
    (folder / "plan.json").write_text(json.dumps({"tile": chosen[1:], "tiles": windows}))

    def predict() -> np.ndarray:
        return predict_tiled(net.apply, net.variables, image, tile=tile, **geometry)["image"][0, :, :, 0]

    return predict, {"version": jax.__version__, "parameters": sum(array.size for array in arrays)}


def prepare_torch(folder: Path) -> tuple[Callable[[], np.ndarray], dict[str, Any]]:
    """The same net over the same tiles, in the faster of torch's two memory layouts."""
    import torch
    from torch.nn import functional

    loaded = np.load(folder / "weights.npz")
    arrays = [torch.from_numpy(loaded[name].copy()) for name in loaded.files]
    kernels = [kernel.permute(3, 2, 0, 1).contiguous() for kernel in arrays[::2]]
    biases = arrays[1::2]
    image = torch.from_numpy(np.load(folder / "image.npy"))[None, None]
    plan = json.loads((folder / "plan.json").read_text())["tiles"]

    def net(block: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
        layers = iter(zip(weights, biases))

        def stage(block: torch.Tensor) -> torch.Tensor:
            kernel, bias = next(layers)
            return functional.relu_(functional.conv2d(block, kernel, bias, padding="same"))

        skips = []
        for _ in range(DEPTH):
            block = stage(stage(block))
            skips.append(block)
            block = functional.max_pool2d(block, 2)
        block = stage(stage(block))
        for skip in reversed(skips):
            block = torch.cat([functional.interpolate(block, scale_factor=2, mode="nearest"), skip], 1)
            block = stage(stage(block))
        kernel, bias = next(layers)
        return functional.conv2d(block, kernel, bias)

    def predict(layout: torch.memory_format) -> np.ndarray:
        weights = [kernel.to(memory_format=layout) for kernel in kernels]
        result = torch.empty(image.shape[2:])
        with torch.inference_mode():
            for tile in plan:
                read, crop, write = (tuple(slice(*span) for span in part) for part in tile)
                block = image[(slice(None), slice(None), *read)].contiguous(memory_format=layout)
                result[write] = net(block, weights)[0, 0][crop]
        return result.numpy()

    seconds = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        predict(layout)
        begin = time.perf_counter()
        predict(layout)
        seconds[layout] = time.perf_counter() - begin
    best = min(seconds, key=seconds.__getitem__)
    return partial(predict, best), {
        "version": torch.__version__,
        "layout": str(best),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
