"""Maximum-likelihood fits per second beside Picasso's, on the same windows, in one run.

    python benchmarks/mle_speed.py --picasso-python PYTHON [--windows 20000] [--rounds 7] [--threads 2]

PYTHON is an interpreter that has picassosr (0.11). Windows of 11 x 11 px hold one Gaussian spot each. All sides are
held to the same cores and take turns, so a busy machine slows all. Each fits position, light, background and width
(`picasso.gaussmle`, method "sigma"; here a spot whose depth is its width); `known width` is our fit as a movie gets it,
where the width is known. `gaussfit` is what Picasso 0.11 recommends in place of gaussmle; it samples the spot at pixel
centres and works out no bounds while it fits. The table gives fits per second, errors over the bound, and how far apart
the bounds lie where both evaluate them at the same parameters.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIDE, PIXEL_NM, SIGMA_PX = 11, 100.0, 1.3
EPSILON, MOST_STEPS = 1e-3, 100  # Picasso's own defaults
NAMES = ("x", "y", "photons", "background", "width")  # pixels from the centre of the first pixel, photons, pixels
Side = dict[str, Callable[[], Any]]


def our_side(windows: np.ndarray, threads: int) -> dict[str, Side]:
    """Our fits: with a free width, and with the width known."""
    import jax

    from bioflax.baselines.mle import fit_windows
    from bioflax.optics.likelihood import Sensor
    from bioflax.optics.psf import Gaussian, gaussian_spot
    from bioflax.optics.quantities import physical, quantity

    @physical
    class FreeWidth:
        """A Gaussian whose third coordinate is its width in nm, as Picasso fits it."""

        pixel_nm: float = quantity("nm in the sample", above=0.0, default=PIXEL_NM)

        def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
            return gaussian_spot(shape, x_nm=x_nm, y_nm=y_nm, sigma_nm=z_nm, pixel_nm=self.pixel_nm)

    def side(psf: Any, **settings: Any) -> Side:
        last: list[Any] = []

        def work() -> None:
            last[:] = [fit_windows(psf, Sensor(), windows, threads=threads, **settings)]

        def result() -> np.ndarray:
            """(2, K, 5): values and their bounds in the order and the units of `NAMES`."""
            values, bounds = last[0].values[:, [0, 1, 3, 4, 2]], last[0].deviations[:, [0, 1, 3, 4, 2]]
            unit = np.array([PIXEL_NM, PIXEL_NM, 1, 1, PIXEL_NM])
            return np.stack([values / unit - [0.5, 0.5, 0, 0, 0], bounds / unit])

        about = f"jax {jax.__version__}"
        return {"work": work, "result": result, "about": lambda: [about, float(last[0].converged.mean())]}

    free = side(FreeWidth(), z_range_nm=(50.0, 300.0), depths=5)
    known = side(Gaussian(SIGMA_PX * PIXEL_NM, PIXEL_NM))
    return {"bioflax": free, "bioflax, known width": known}


def picasso_side(windows: np.ndarray, threads: int, kind: str) -> Side:
    """Picasso's fits, in as many threads, each a share of the windows."""
    import warnings

    warnings.simplefilter("ignore")  # gaussmle says that it will go in 1.0
    from importlib.metadata import version

    last: list[Any] = []
    if kind == "gaussmle":
        from picasso import gaussmle

        parts = np.array_split(windows, threads)

        def work() -> None:
            fit = lambda part: gaussmle.gaussmle(part, EPSILON, MOST_STEPS, method="sigma")  # noqa: E731
            with ThreadPoolExecutor(threads) as pool:
                last[:] = [np.concatenate(arrays) for arrays in zip(*pool.map(fit, parts))]

        def result() -> np.ndarray:
            return np.stack([last[0][:, :5], np.sqrt(last[1][:, :5])])

        def share() -> float:
            return float(np.mean(last[3] < MOST_STEPS))

    else:
        from picasso.fitting import gaussfit, seeds

        def work() -> None:
            start = seeds.initial_parameters_gauss(windows, SIDE, spherical=True)
            job = gaussfit.fit_spots_async(gaussfit.SPHERICAL, windows, start, mle=True, n_threads=threads)
            while not job.finished():
                time.sleep(0.002)
            last[:] = job.results()

        def result() -> np.ndarray:
            height, x, y, width, background = last[0].T
            values = np.stack([x, y, 2 * np.pi * width**2 * height, background, np.abs(width)], -1)
            return np.stack([values, np.full_like(values, np.nan)])

        def share() -> float:
            return float(np.mean(last[2] == 0))

    about = f"picassosr {version('picassosr')}"
    return {"work": work, "result": result, "about": lambda: [about, share()]}


def simulate(count: int, photons: float, background: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows (K, 11, 11) with Poisson noise, and the truth (K, 5) in the order of `NAMES`."""
    from scipy.special import erf

    rng = np.random.default_rng(0)
    centre = SIDE // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    edges = np.arange(SIDE + 1) - 0.5
    below = 0.5 * erf((edges - centre[..., None]) / (np.sqrt(2) * SIGMA_PX))
    share = np.diff(below, axis=-1)
    light = photons * share[:, 1, :, None] * share[:, 0, None, :] + background
    truth = np.column_stack([centre, np.tile([photons, background, SIGMA_PX], (count, 1))])
    return rng.poisson(light).astype(np.float32), truth


def timed(function: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def memory_mb() -> float:
    """Largest memory that this process has had so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(side: Side, word: str) -> Any:
    return timed(side["work"]) if word == "work" else [*side["about"](), memory_mb()]


def serve(side: Side, folder: Path) -> None:
    """Answers a word a line: `work` with its time, `about` with a list, `result` through a file."""
    for line in sys.stdin:
        word = line.strip()
        if word == "result":
            np.save(folder / "result.npy", side["result"]())
        print(json.dumps("result.npy" if word == "result" else answer(side, word)), flush=True)


class Peer:
    """A Picasso process that fits when asked."""

    def __init__(self, python: str, folder: Path, threads: int, kind: str) -> None:
        command = [python, __file__, "--serve", str(folder), "--kind", kind, "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._folder = folder

    def ask(self, word: str) -> Any:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        # What Picasso prints while it is imported comes first.
        for line in self._process.stdout:
            if line[0] in '{["':
                found = json.loads(line)
                return np.load(self._folder / found) if word == "result" else found
        raise RuntimeError(f"Picasso ended without an answer to {word!r}.")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs all sides in turn, forwards and backwards, and returns every time with the summary."""
    windows, truth = simulate(options.windows, options.photons, options.background)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "windows.npy", windows)
        ours = our_side(windows, options.threads)
        peers = {kind: Peer(options.picasso_python, Path(folder), options.threads, kind) for kind in KINDS}
        sides = {name: (lambda word, side=side: answer(side, word)) for name, side in ours.items()}
        sides |= {f"picasso {kind}": peer.ask for kind, peer in peers.items()}
        times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for number in range(-1, options.rounds):  # one to compile
            for name in list(sides)[:: 1 if number % 2 else -1]:
                taken = sides[name]("work")
                if number >= 0:
                    times[name].append(taken)
        results = {name: side["result"]() for name, side in ours.items()}
        results |= {f"picasso {kind}": peer.ask("result") for kind, peer in peers.items()}
        about = {name: ask("about") for name, ask in sides.items()}
        for peer in peers.values():
            peer.close()
    rows = {name: row(times, name, results[name], truth, *about[name][1:]) for name in sides}
    return {
        "benchmark": "mle_speed",
        "windows": [options.windows, SIDE, SIDE],
        "photons": options.photons,
        "background_photons": options.background,
        "sigma_px": SIGMA_PX,
        "threads": options.threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": sorted({found[0] for found in about.values()}),
        "rounds": options.rounds,
        "bounds_apart": compare_bounds(results["picasso gaussmle"]),
        "summary": rows,
        "times_s": times,
    }


KINDS = ("gaussmle", "gaussfit")


def row(
    times: dict[str, list[dict[str, float]]],
    name: str,
    result: np.ndarray,
    truth: np.ndarray,
    converged: float,
    memory: float,
) -> dict[str, Any]:
    """Speed and accuracy of one side; errors are over the bound at the truth of the parameters that it fits."""
    wall, own = ([run["wall"] for run in times[key]] for key in (name, "bioflax"))
    bound = bounds_at(truth, known_width="known width" in name)
    error = result[0] - truth
    # A fit that ran off is counted apart: one of them would hide what the others reach.
    off = np.hypot(error[:, 0], error[:, 1]) > 5 * np.hypot(bound[:, 0], bound[:, 1])
    ratio = np.sqrt(np.mean((error[~off] / bound[~off]) ** 2, axis=0))
    ratios = {key: float(value) for key, value in zip(NAMES, ratio) if np.isfinite(value)}
    return {
        "fits_per_s": len(truth) / statistics.median(wall),
        "fastest_fits_per_s": len(truth) / min(wall),
        "cpu_us_per_fit": 1e6 * statistics.median(run["cpu"] for run in times[name]) / len(truth),
        "bioflax_times_faster": statistics.median(b / a for a, b in zip(own, wall)),
        "error_over_bound": ratios,
        "ran_off": int(off.sum()),
        "converged": converged,
        "memory_mb": memory,
    }


def bounds_at(values: np.ndarray, *, known_width: bool = False) -> np.ndarray:
    """Our bounds (K, 5) at parameters in the order of `NAMES`; infinite for a width that is known."""
    from bioflax.optics.fisher import crlb
    from bioflax.optics.psf import Astigmatic, Gaussian

    x, y, photons, background, width = values.T
    light = {"photons": photons, "background_photons": background}
    where = {"x_nm": (x + 0.5) * PIXEL_NM, "y_nm": (y + 0.5) * PIXEL_NM, **light}
    shape, infinite = (SIDE, SIDE), np.full(len(values), np.inf)
    if known_width:
        found = crlb(Gaussian(SIGMA_PX * PIXEL_NM, PIXEL_NM), None, shape, **where, unknown=tuple(where))
        wide = infinite
    else:
        # A spot that widens with depth: z tells the width, s^2 = s0^2 (1 + (z / depth)^2), so ds = s0^2 z / (s depth^2) dz.
        narrow, depth = 60.0, 100.0
        psf = Astigmatic(sigma_nm=narrow, astigmatism_nm=0.0, depth_nm=depth, pixel_nm=PIXEL_NM)
        z = depth * np.sqrt(np.maximum((width * PIXEL_NM / narrow) ** 2 - 1, 1e-6))
        found = crlb(psf, None, shape, z_nm=z, **where)
        wide = np.asarray(found["z_nm"]) * narrow**2 * z / (width * PIXEL_NM * depth**2) / PIXEL_NM
    position = [np.asarray(found[axis]) / PIXEL_NM for axis in ("x_nm", "y_nm")]
    return np.column_stack([*position, found["photons"], found["background_photons"], wide])


def compare_bounds(result: np.ndarray) -> dict[str, float]:
    """Largest and median relative distance of our bounds from Picasso's, at the parameters that Picasso found."""
    good = np.all(np.isfinite(result[1]), -1) & (np.abs(result[0][:, 4] - SIGMA_PX) < 0.5)
    apart = np.abs(bounds_at(result[0][good]) / result[1][good] - 1)
    return {
        "largest": float(apart.max()),
        "median": float(np.median(apart)),
        "windows": int(good.sum()),
        **{name: float(worst) for name, worst in zip(NAMES, apart.max(0))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picasso-python", help="an interpreter that has picassosr")
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--photons", type=float, default=1000.0)
    parser.add_argument("--background", type=float, default=10.0, help="photons a pixel")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="cores and threads of each side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # before JAX and Numba make their threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.serve:
        serve(picasso_side(np.load(options.serve / "windows.npy"), options.threads, options.kind), options.serve)
        return
    if not options.picasso_python:
        parser.error("--picasso-python: give an interpreter that has picassosr")
    result = measure(options)
    print(
        f"{'':22} {'fits/s':>8} {'fastest':>8} {'us cpu':>7} {'we are':>7} {'x':>6} {'y':>6} {'N':>6} {'off':>5} {'MB':>6}"
    )
    for name, found in result["summary"].items():
        error = found["error_over_bound"]
        print(
            f"{name:22} {found['fits_per_s']:8.0f} {found['fastest_fits_per_s']:8.0f} {found['cpu_us_per_fit']:7.1f}"
            f" {found['bioflax_times_faster']:6.2f}x {error['x']:6.3f} {error['y']:6.3f} {error['photons']:6.3f}"
            f" {found['ran_off']:5d} {found['memory_mb']:6.0f}"
        )
    apart = result["bounds_apart"]
    print(f"bounds at the same parameters: apart by {apart['median']:.1e} (median), {apart['largest']:.1e} (largest)")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "mle_speed.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
