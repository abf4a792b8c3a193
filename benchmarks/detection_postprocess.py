"""Candidates to a label image: our suppression and drawing beside StarDist's own, on the same candidates, in one run.

    python benchmarks/detection_postprocess.py --stardist-python PYTHON [--objects 1000] [--rounds 9] [--threads 1]

PYTHON is an interpreter that has stardist (0.9.2; it needs no tensorflow for this). The image has 1024 x 1024 px; every
object has 9 candidates of 32 rays, on a grid of 2 px around its centre, with noise. Both sides drop by the same rule
(common area over the smaller area, above 0.4), are held to the same core and take turns, so a busy machine slows both.
More than one core is fair on a quiet machine only: StarDist's threads spin while they wait.
StarDist's C++ takes whole pixels for the corners of polygons, so answers near the threshold may differ; the agreement is
given. Memory is the largest that each process has had, with its libraries.
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

SIDE, RAYS, THRESHOLD = 1024, 32, 0.4
STEPS = ("suppress", "draw")
Side = dict[str, Callable[[], Any]]


def simulate(objects: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates: centres (K, 2) on whole pixels, rays (K, R) and scores (K,) of wavy discs of 8 to 13 px radius."""
    rng = np.random.default_rng(seed)
    cells = int(np.ceil(np.sqrt(objects)))
    pitch = SIDE / cells
    place = rng.permutation(cells**2)[:objects]
    truth = (np.stack([place // cells, place % cells], axis=1) + 0.5) * pitch + rng.uniform(-5, 5, (objects, 2))
    angle = 2 * np.pi * np.arange(RAYS) / RAYS
    wave = 1 + 0.15 * np.sin(2 * angle + rng.uniform(0, 2 * np.pi, (objects, 1)))
    radius = rng.uniform(8, 13, (objects, 1)) * wave
    step = np.stack(np.meshgrid([-2, 0, 2], [-2, 0, 2], indexing="ij"), axis=-1).reshape(-1, 1, 2)
    centre = 2 * np.round(truth / 2) + step
    offset = truth - centre
    rays = radius + offset @ np.stack([np.sin(angle), np.cos(angle)]) + rng.normal(0, 0.5, (9, objects, RAYS))
    score = 0.95 - 0.03 * np.linalg.norm(offset, axis=-1) + rng.normal(0, 0.02, (9, objects))
    inside = np.all((centre >= 0) & (centre < SIDE), axis=-1).ravel()
    found = centre.reshape(-1, 2), np.maximum(rays, 1e-3).reshape(-1, RAYS), score.ravel()
    centre, rays, score = (values[inside].astype(np.float32) for values in found)
    return centre, rays, score


def our_side(centre: np.ndarray, rays: np.ndarray, score: np.ndarray) -> Side:
    import jax

    from bioflax.ops.polygons import render_polygons
    from bioflax.ops.suppression import non_maximum_suppression

    last: dict[str, np.ndarray] = {}

    def suppress() -> None:
        last["keep"] = non_maximum_suppression(centre, rays, score, threshold=THRESHOLD)

    def draw() -> None:
        last["labels"] = render_polygons(centre[last["keep"]], rays[last["keep"]], (SIDE, SIDE))

    about = f"jax {jax.__version__} on {jax.devices()[0].device_kind}"
    return {"suppress": suppress, "draw": draw, "result": lambda: last, "about": lambda: about}


def stardist_side(centre: np.ndarray, rays: np.ndarray, score: np.ndarray) -> Side:
    """StarDist's steps, from sorting the scores to the labels, as its `_instances_from_prediction` takes them."""
    from importlib.metadata import version

    from stardist.geometry import polygons_to_label
    from stardist.nms import non_maximum_suppression_inds

    last: dict[str, np.ndarray] = {}

    def suppress() -> None:
        order = np.argsort(-score, kind="stable")
        points = centre[order].astype(np.int32)
        keep = non_maximum_suppression_inds(rays[order], points, scores=score[order], thresh=THRESHOLD, verbose=False)
        last["keep"] = order[keep]

    def draw() -> None:
        keep = last["keep"]
        last["labels"] = polygons_to_label(rays[keep], centre[keep], (SIDE, SIDE), prob=score[keep])

    about = f"stardist {version('stardist')}"
    return {"suppress": suppress, "draw": draw, "result": lambda: last, "about": lambda: about}


def timed(function: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def memory_mb() -> float:
    """Largest memory that this process has had so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(side: Side, word: str) -> Any:
    return timed(side[word]) if word in STEPS else [side["about"](), memory_mb()]


def serve(side: Side, folder: Path) -> None:
    """Answers a word a line: a step with its time, `about` with a list, `result` through a file."""
    for line in sys.stdin:
        word = line.strip()
        if word == "result":
            np.savez(folder / "result.npz", **side["result"]())
        print(json.dumps("result.npz" if word == "result" else answer(side, word)), flush=True)


class Peer:
    """A StarDist process that works when asked."""

    def __init__(self, python: str, folder: Path, threads: int) -> None:
        command = [python, __file__, "--serve", str(folder), "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._folder = folder

    def ask(self, word: str) -> Any:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # what its imports print comes first
            if line[0] in '{["':
                found = json.loads(line)
                return dict(np.load(self._folder / found)) if word == "result" else found
        raise RuntimeError(f"StarDist ended without an answer to {word!r}.")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs both sides in turn, forwards and backwards, and returns every time with the summary."""
    candidates = simulate(options.objects)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "candidates.npz", *candidates)
        ours = our_side(*candidates)
        sides = {"bioflax": lambda word: answer(ours, word)}
        peer = Peer(options.stardist_python, Path(folder), options.threads) if options.stardist_python else None
        if peer:
            sides["stardist"] = peer.ask
        times: dict[str, dict[str, list[dict[str, float]]]] = {name: {step: [] for step in STEPS} for name in sides}
        compiling: dict[str, float] = {}
        for number in range(-1, options.rounds):  # one to compile
            for name in list(sides)[:: 1 if number % 2 else -1]:
                taken = {step: sides[name](step) for step in STEPS}
                if number < 0:
                    compiling[name] = sum(found["wall"] for found in taken.values())
                else:
                    for step in STEPS:
                        times[name][step].append(taken[step])
        results = {"bioflax": ours["result"]()} | ({"stardist": peer.ask("result")} if peer else {})
        about = {name: ask("about") for name, ask in sides.items()}
        if peer:
            peer.close()
    return {
        "benchmark": "detection_postprocess",
        "image": [SIDE, SIDE],
        "objects": options.objects,
        "candidates": len(candidates[0]),
        "rays": RAYS,
        "threads": options.threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_before": load,
        "versions": [found[0] for found in about.values()],
        "rounds": options.rounds,
        "summary": {name: row(times, name, results[name], about[name][1], compiling[name]) for name in sides},
        "agreement": agreement(results) if peer else None,
        "times_s": times,
    }


def row(times: dict[str, Any], name: str, result: dict[str, np.ndarray], memory: float, first: float) -> dict[str, Any]:
    """Milliseconds and memory of one side; a ratio is the median over rounds of its time over ours."""

    def total(who: str) -> list[float]:
        return [sum(run["wall"] for run in both) for both in zip(*(times[who][step] for step in STEPS))]

    found: dict[str, Any] = {"kept": len(result["keep"]), "memory_mb": memory, "first_call_ms": 1e3 * first}
    for step in STEPS:
        wall, own = ([run["wall"] for run in times[who][step]] for who in (name, "bioflax"))
        found[step] = {
            "ms": 1e3 * statistics.median(wall),
            "fastest_ms": 1e3 * min(wall),
            "cpu_ms": 1e3 * statistics.median(run["cpu"] for run in times[name][step]),
            "bioflax_times_faster": statistics.median(a / b for a, b in zip(wall, own)),
        }
    wall, own = total(name), total("bioflax")
    found["total_ms"] = 1e3 * statistics.median(wall)
    found["bioflax_times_faster"] = statistics.median(a / b for a, b in zip(wall, own))
    return found


def agreement(results: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """How much both sides keep in common, and the share of pixels that both call an object or both background."""
    keep = [set(results[name]["keep"].tolist()) for name in results]
    pixels = [results[name]["labels"] > 0 for name in results]
    return {"kept_by_both": len(keep[0] & keep[1]), "pixels_alike": float(np.mean(pixels[0] == pixels[1]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stardist-python", help="an interpreter that has stardist; without it only we are timed")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="cores of each side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # before JAX and OpenMP make their threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.serve:
        serve(stardist_side(*np.load(options.serve / "candidates.npz").values()), options.serve)
        return
    result = measure(options)
    print(f"{'':10} {'suppress':>9} {'draw':>8} {'total':>8} {'fastest':>8} {'we are':>7} {'kept':>6} {'MB':>6}")
    for name, found in result["summary"].items():
        fastest = sum(found[step]["fastest_ms"] for step in STEPS)
        print(
            f"{name:10} {found['suppress']['ms']:7.1f}ms {found['draw']['ms']:6.1f}ms {found['total_ms']:6.1f}ms"
            f" {fastest:6.1f}ms {found['bioflax_times_faster']:6.2f}x {found['kept']:6d} {found['memory_mb']:6.0f}"
        )
    print(f"{result['candidates']} candidates; load before: {result['load_before']}; agreement: {result['agreement']}")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "detection_postprocess.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
