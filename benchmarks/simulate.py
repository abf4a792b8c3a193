"""Pictures per second of the simulator inside jit beside NumPy and SciPy doing the same physics, in one run.

    python benchmarks/simulate.py [--size 96] [--batch 8] [--rounds 10] [--out benchmarks/results/simulate.json]

Both draw the same kind of scene (curved lines splatted bilinearly, cubic-spline paths), blur it with the same transfer
function by FFT and expose it with the same camera. The rounds take turns, so a busy machine slows both; the ratio is
the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import jax
import numpy as np
import scipy
from scipy import fft

from bioflax.optics import EMCCD, SCMOS, WidefieldOptics
from bioflax.simulate import Filaments, Mixed, Nuclei, Puncta, Simulator
from bioflax.simulate.draw import _spline_basis
from bioflax.simulate.scenes import _FILAMENT_NM, _KNOTS, _POINTS


def numpy_filaments(rng: np.random.Generator, simulator: Simulator) -> np.ndarray:
    """(H, W) density of one canvas: the scene `Filaments` in NumPy."""
    scene, shape, pixel_nm = simulator.scene, simulator.canvas, simulator.optics.pixel_nm
    area_um2 = shape[0] * shape[1] * (1e-3 * pixel_nm) ** 2
    count = rng.binomial(scene.room, scene.density_per_um2 * area_um2 / scene.room)
    main, spread = rng.random(2)
    heading = 2 * np.pi * (main + (0.06 + 0.5 * spread) * rng.standard_normal(count))
    step_nm = _FILAMENT_NM / (_KNOTS - 3)
    angle = heading[:, None] + np.cumsum(
        np.sqrt(step_nm / scene.persistence_nm) * rng.standard_normal((count, _KNOTS)), axis=1
    )
    path = np.cumsum(step_nm / pixel_nm * np.stack([np.sin(angle), np.cos(angle)], -1), axis=1)
    path += (rng.random((count, 2)) * shape - path[:, _KNOTS // 2])[:, None]
    basis = _spline_basis(_KNOTS, _POINTS)
    position = np.einsum("sk,pkc->psc", basis, path)
    along, ends = np.linspace(0, 1, _POINTS), 0.3 * rng.random((count, 2))
    shown = (along > ends[:, :1]) & (along < 1 - ends[:, 1:])
    label = 1 + scene.grain * (0.9 * rng.standard_normal((count, _KNOTS)) @ basis.T + 2 * rng.random(shown.shape) - 1)
    light = np.exp(0.45 * rng.standard_normal(count) - 0.1)[:, None] * np.maximum(label, 0) * shown
    low = np.floor(position - 0.5)
    share = position - 0.5 - low
    image = np.zeros(shape)
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = low[..., 0].astype(int) + dy, low[..., 1].astype(int) + dx
            weight = light * np.abs(1 - dy - share[..., 0]) * np.abs(1 - dx - share[..., 1])
            inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
            np.add.at(image, (y[inside], x[inside]), weight[inside])
    return scene.line_nm * (_FILAMENT_NM / _POINTS) / pixel_nm**2 * image


def numpy_batch(
    rng: np.random.Generator, simulator: Simulator, otf: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, W) counts and expected counts, as `Simulator.sample` makes them."""
    density = np.stack([numpy_filaments(rng, simulator) for _ in range(n)])
    height, width = simulator.canvas
    blurred = fft.irfft2(fft.rfft2(density) * otf[:, : width // 2 + 1], s=(height, width))
    cut, camera = simulator.margin, simulator.camera
    blurred = np.maximum(blurred[:, cut : height - cut, cut : width - cut], 0)
    photons = simulator.photons * blurred + simulator.background_photons
    if isinstance(camera, EMCCD):
        electrons = rng.poisson(camera.quantum_efficiency * photons + camera.spurious_e)
        electrons = camera.em_gain * np.where(electrons > 0, rng.standard_gamma(np.maximum(electrons, 1)), 0.0)
    else:
        electrons = rng.poisson(camera.quantum_efficiency * photons)
    electrons = electrons + camera.read_noise_e * rng.standard_normal(photons.shape)
    counts = np.clip(np.round(camera.offset_adu + camera.gain_adu_per_e * electrons), 0, 2**camera.bits - 1)
    return counts.astype(np.float32), np.asarray(camera.expected(photons), np.float32)


def main() -> None:
    """Times both and writes the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "simulate.json")
    options = parser.parse_args()
    sample = jax.jit(lambda simulator, key: simulator.sample(key, options.batch))
    optics, light = WidefieldOptics(haze=0.2), {"photons": 40.0, "background_photons": 4.0}
    rows = []
    for scene in (Filaments(), Nuclei(), Puncta(), Mixed()):
        for camera in (SCMOS(), EMCCD()) if isinstance(scene, Filaments) else (SCMOS(),):
            simulator = Simulator(scene=scene, optics=optics, camera=camera, size=options.size, **light)
            rows.append(time_pair(sample, simulator, options))
            print(json.dumps(rows[-1]))
    device = jax.devices()[0]
    result = {
        "benchmark": "simulate",
        "size_px": options.size,
        "batch": options.batch,
        "device": f"{device.platform} {device.device_kind}",
        "processor_cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {options.out}")


def time_pair(sample, simulator: Simulator, options: argparse.Namespace) -> dict[str, object]:
    """Milliseconds per batch of both, in turn; SciPy only for filaments, whose drawing it repeats."""
    started = time.perf_counter()
    jax.block_until_ready(sample(simulator, jax.random.key(0)))
    compile_s = time.perf_counter() - started
    rng, otf = np.random.default_rng(0), np.asarray(simulator.optics.otf(simulator.canvas))
    beside = isinstance(simulator.scene, Filaments)
    ours, theirs = [], []
    for turn in range(options.rounds):
        started = time.perf_counter()
        jax.block_until_ready([sample(simulator, jax.random.key(5 * turn + i)) for i in range(5)])
        ours.append((time.perf_counter() - started) / 5)
        if beside:
            started = time.perf_counter()
            numpy_batch(rng, simulator, otf, options.batch)
            theirs.append(time.perf_counter() - started)
    row = {
        "scene": type(simulator.scene).__name__,
        "camera": type(simulator.camera).__name__,
        "compile_s": round(compile_s, 2),
        "jit_ms_per_batch": round(1e3 * float(np.median(ours)), 2),
        "jit_images_per_s": round(options.batch / float(np.median(ours)), 1),
    }
    if beside:
        row["scipy_ms_per_batch"] = round(1e3 * float(np.median(theirs)), 2)
        row["times_faster_than_scipy"] = round(float(np.median(np.array(theirs) / np.array(ours))), 2)
    return row


if __name__ == "__main__":
    main()
