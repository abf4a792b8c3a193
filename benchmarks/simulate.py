"""Pictures per second of the simulator inside jit beside NumPy and SciPy doing the same physics, in one run.

    python benchmarks/simulate.py [--size 96] [--batch 8] [--rounds 10] [--out benchmarks/results/simulate.json]
                                  [--emitter-batch 64]

Both draw the same kind of scene (curved lines splatted bilinearly, cubic-spline paths), blur it with the same transfer
function by FFT and expose it with the same camera. The rounds take turns, so a busy machine slows both; the ratio is
the median over rounds. Blinking emitters are timed as frames of 64 x 64 px in which 25 shine, beside NumPy and SciPy
that put as many pixel-integrated spots into each frame and expose it with the same camera.
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
from scipy import fft, special

from bioflax.optics import EMCCD, SCMOS, WidefieldOptics
from bioflax.optics.psf import Astigmatic, Gaussian
from bioflax.simulate import EmitterSimulator, Filaments, Mixed, Nuclei, Puncta, Simulator
from bioflax.simulate.draw import _spline_basis
from bioflax.simulate.scenes import _FILAMENT_NM, _KNOTS, _POINTS

EMITTER_SIZE, SHINING = 64, 25


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
    cut = simulator.margin
    blurred = np.maximum(blurred[:, cut : height - cut, cut : width - cut], 0)
    photons = simulator.photons * blurred + simulator.background_photons
    return numpy_exposure(rng, simulator.camera, photons), np.asarray(simulator.camera.expected(photons), np.float32)


def numpy_exposure(rng: np.random.Generator, camera: SCMOS | EMCCD, photons: np.ndarray) -> np.ndarray:
    """Counts of expected photons, as the cameras make them."""
    if isinstance(camera, EMCCD):
        electrons = rng.poisson(camera.quantum_efficiency * photons + camera.spurious_e)
        electrons = camera.em_gain * np.where(electrons > 0, rng.standard_gamma(np.maximum(electrons, 1)), 0.0)
    else:
        electrons = rng.poisson(camera.quantum_efficiency * photons)
    electrons = electrons + camera.read_noise_e * rng.standard_normal(photons.shape)
    counts = np.clip(np.round(camera.offset_adu + camera.gain_adu_per_e * electrons), 0, 2**camera.bits - 1)
    return counts.astype(np.float32)


def numpy_emitters(rng: np.random.Generator, simulator: EmitterSimulator, shining: int, frames: int) -> np.ndarray:
    """(frames, H, W) photons as the camera reports them; every emitter lasts one frame, the cheapest there is."""
    size, margin, psf = simulator.size, simulator.margin_px, simulator.psf
    position = (rng.random((2, frames, shining)) * (size + 2 * margin) - margin) * psf.pixel_nm
    depth = rng.uniform(*simulator.z_nm, (frames, shining))
    low, high = simulator.photons
    light = low * (high / low) ** rng.random((frames, shining))
    widths = psf.widths_nm(depth) if isinstance(psf, Astigmatic) else (psf.sigma_nm, psf.sigma_nm)
    edges = np.arange(size + 1, dtype=np.float32) * psf.pixel_nm
    x, y = (
        np.diff(0.5 * special.erf((edges - at[..., None]) / (np.sqrt(2.0) * np.asarray(width)[..., None])))
        for at, width in zip(position, widths)
    )
    expected = np.matmul((light[..., None] * y).swapaxes(-1, -2), x) + rng.uniform(
        *simulator.background_photons, (frames, 1, 1)
    )
    return np.asarray(simulator.camera.to_photons(numpy_exposure(rng, simulator.camera, expected)), np.float32)


def main() -> None:
    """Times both and writes the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--emitter-batch", type=int, default=64, help="examples of three frames")
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
    emitter_rows = []
    for psf, camera in ((Gaussian(), SCMOS()), (Astigmatic(), SCMOS()), (Astigmatic(), EMCCD())):
        emitter_rows.append(time_emitters(psf, camera, options))
        print(json.dumps(emitter_rows[-1]))
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
        "emitters": {"size_px": EMITTER_SIZE, "shining": SHINING, "batch": options.emitter_batch, "rows": emitter_rows},
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


def time_emitters(psf, camera: SCMOS | EMCCD, options: argparse.Namespace) -> dict[str, object]:
    """Frames per second of the emitter simulator and of NumPy, in turn; a frame of 64 x 64 px sees 25 emitters."""
    simulator = EmitterSimulator(psf=psf, camera=camera, size=EMITTER_SIZE)
    area_um2 = (simulator.canvas_px * float(psf.pixel_nm) / 1000.0) ** 2
    simulator = EmitterSimulator(psf=psf, camera=camera, size=EMITTER_SIZE, emitters_per_um2=SHINING / area_um2)
    frames = options.emitter_batch * simulator.frames
    sample = jax.jit(lambda simulator, key: simulator.sample(key, options.emitter_batch))
    started = time.perf_counter()
    jax.block_until_ready(sample(simulator, jax.random.key(0)))
    compile_s = time.perf_counter() - started
    rng, ours, theirs = np.random.default_rng(0), [], []
    for turn in range(options.rounds):
        started = time.perf_counter()
        jax.block_until_ready([sample(simulator, jax.random.key(3 * turn + i)) for i in range(3)])
        ours.append((time.perf_counter() - started) / 3)
        started = time.perf_counter()
        numpy_emitters(rng, simulator, SHINING, frames)
        theirs.append(time.perf_counter() - started)
    return {
        "scene": "Emitters",
        "psf": type(psf).__name__,
        "camera": type(camera).__name__,
        "compile_s": round(compile_s, 2),
        "room": simulator.room,
        "jit_frames_per_s": round(frames / float(np.median(ours)), 1),
        "scipy_frames_per_s": round(frames / float(np.median(theirs)), 1),
        "times_faster_than_scipy": round(float(np.median(np.array(theirs) / np.array(ours))), 2),
    }


if __name__ == "__main__":
    main()
