"""Root mean square error of the maximum-likelihood fit over the Cramer-Rao bound, for isolated emitters.

    python benchmarks/localize_vs_crlb.py [--fits 2000] [--psf gaussian astigmatic] [--name localize_vs_crlb]

Every cell is a spot, a camera, a number of photons and a background; each emitter lies at a random place of the middle
pixel and, where the spot tells depth, within +-300 nm of the focus. Windows have 11 x 11 px, 13 x 13 in three
dimensions. A ratio is the root mean square of error / bound, with each emitter's own bound at its true parameters; for
depth it is the median over six slices. Cells above 1.05 are fitted again from the truth: where the ratio stays, no
search is at fault, and the cell lies in the threshold regime, where the noise makes second maxima and no unbiased
estimate reaches the bound.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.baselines import mle
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics import psf as spots
from bioflax.optics.fisher import PARAMETERS, crlb, expected_photons
from bioflax.optics.likelihood import sensor, to_electrons

PHOTONS = (500, 1000, 2500, 5000, 10000)
BACKGROUND = (1, 10, 30, 100)
CAMERAS = {"ideal": None, "scmos": SCMOS(), "emccd": EMCCD()}
DEPTH_NM, SEARCHED_NM, SLICES = 300.0, (-750.0, 750.0), 6
TOO_MUCH = 1.05


def known_spots() -> dict[str, Any]:
    """Spots that are one across the field; pupils with 60 nm rms of astigmatism, and a spline through such a pupil's."""
    pupil = spots.Pupil(zernikes_nm=[0.0, 60.0], pupil_px=24, subpixels=2)
    depth = np.arange(-900.0, 901.0, 50.0)
    volume = jax.lax.map(lambda z: pupil.spots((25, 25), 1250.0, 1250.0, z), jnp.asarray(depth, jnp.float32))
    return {
        "gaussian": spots.Gaussian(),
        "astigmatic": spots.Astigmatic(),
        "pupil": pupil,
        "vectorial": dataclasses.replace(pupil, vectorial=True),
        "measured": spots.Measured.from_volume(volume, pixel_nm=100.0, z_step_nm=50.0, z_first_nm=-900.0),
    }


def knows_depth(psf: Any) -> bool:
    at = 5.5 * float(psf.pixel_nm)
    near, far = (np.asarray(psf.spots((11, 11), *(jnp.asarray(v) for v in (at, at, z)))) for z in (-200.0, 200.0))
    return bool(np.abs(near - far).max() > 1e-3 * near.max())


@partial(jax.jit, static_argnums=1)
def expected(psf: Any, shape: tuple[int, int], truth: jax.Array) -> jax.Array:
    draw = lambda row: expected_photons(psf, shape, row[None, :4], row[4])  # noqa: E731
    return jax.lax.map(draw, truth, batch_size=256)


def fit_from(psf: Any, camera: Any, read_e: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fits that begin at the truth: where its likelihood leads, whatever a search would have found."""
    flat = mle._Static(mle._At(jax.tree.map(lambda leaf: False, sensor(camera)), False))
    z_range = jnp.asarray(SEARCHED_NM, jnp.float32)
    found = mle._fit_chunk(
        psf,
        mle._At(sensor(camera), np.zeros(2, np.float32)),
        read_e,
        jnp.asarray(truth, jnp.float32),
        z_range,
        100,
        mapped=flat,
    )
    return np.asarray(found[0])


def ratios(errors: np.ndarray, truth: np.ndarray, bound: dict[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    """Root mean square of error / bound, median over slices of depth where there is depth."""
    slices = np.zeros(len(truth), int)
    if "z_nm" in names:
        slices = np.clip(np.floor((truth[:, 2] + DEPTH_NM) / (2 * DEPTH_NM) * SLICES).astype(int), 0, SLICES - 1)
    found = {}
    for name in names:
        over = np.square(errors[:, PARAMETERS.index(name)] / np.asarray(bound[name]))
        found[name] = float(np.median([np.sqrt(over[slices == number].mean()) for number in np.unique(slices)]))
    return found


def cell(psf: Any, camera: Any, photons: float, background: float, count: int, seed: int) -> dict[str, Any]:
    """One number of photons and background."""
    deep = knows_depth(psf)
    side, names = (13 if deep else 11), tuple(n for n in PARAMETERS if deep or n != "z_nm")
    pixel, rng = float(psf.pixel_nm), np.random.default_rng(seed)
    centre = (side / 2 + rng.uniform(-0.5, 0.5, (count, 2))) * pixel
    depth = rng.uniform(-DEPTH_NM, DEPTH_NM, count) if deep else np.zeros(count)
    truth = np.column_stack([centre, depth, np.full(count, photons), np.full(count, background)])
    light = expected(psf, (side, side), jnp.asarray(truth, jnp.float32))
    key = jax.random.key(seed)
    counts = jax.random.poisson(key, light).astype(jnp.float32) if camera is None else camera.expose(key, light)
    read_e = np.asarray(to_electrons(camera, counts))
    bound = crlb(psf, camera, (side, side), **dict(zip(PARAMETERS, truth.T)), unknown=names)
    fits = mle.fit_windows(psf, sensor(camera), read_e, z_range_nm=SEARCHED_NM)
    row = {
        "photons": photons,
        "background_photons": background,
        "bound_nm": {n: float(np.median(bound[n])) for n in names if n.endswith("_nm")},
        "ratio": ratios(fits.values - truth, truth, bound, names),
        "converged": float(fits.converged.mean()),
    }
    if max(value for name, value in row["ratio"].items() if name.endswith("_nm")) > TOO_MUCH:
        again = fit_from(psf, camera, read_e, truth)
        row["ratio_from_truth"] = ratios(again - truth, truth, bound, names)
        # A fit that ends far from the truth, of those that begin there: the likelihood itself has another maximum.
        error = np.abs(fits.values - truth)
        row["beyond_4_bounds"] = float(np.mean(error[:, 0] > 4 * np.asarray(bound["x_nm"])))
        row["why"] = why(psf, camera, read_e, fits.values, again, row, count)
        if deep:
            row["at_the_edge_of_z"] = float(np.mean(np.abs(fits.values[:, 2]) > SEARCHED_NM[1] - 1))
    return row


def why(psf: Any, camera: Any, read_e: np.ndarray, found: np.ndarray, again: np.ndarray, row: Any, count: int) -> str:
    """What makes a cell exceed the limit: chance, the search, or the noise itself."""
    # A root mean square of K normal errors scatters by 1 / sqrt(2 K), a median of slices by a quarter more.
    deviation = (1.25 if "z_nm" in row["ratio"] else 1.0) / np.sqrt(2 * count)
    worst = max(value for name, value in row["ratio"].items() if name.endswith("_nm"))
    if worst - 2 * deviation < TOO_MUCH:
        return f"chance: {count} fits tell a ratio to {deviation:.3f}"
    light = [np.asarray(expected(psf, read_e.shape[1:], jnp.asarray(v, jnp.float32))) for v in (found, again)]
    here, there = (np.asarray(sensor(camera).log_likelihood(read_e, one)).sum((1, 2)) for one in light)
    # Likelihoods that differ by less than 0.1 are one maximum, or two that the data cannot tell apart.
    worse = float(np.mean(here < there - 0.1))
    if worse > 0.005:
        return f"search: {worse:.3f} of the fits are less likely than those that begin at the truth"
    return f"noise: {worse:.4f} of the fits are less likely than those that begin at the truth"


def main() -> None:
    """Prints the table and writes it as JSON."""
    known = known_spots()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=2000, help="of a cell; 2000 tell a ratio to 1.6 %%")
    parser.add_argument("--psf", nargs="+", choices=sorted(known), default=sorted(known))
    parser.add_argument("--camera", nargs="+", choices=list(CAMERAS), default=list(CAMERAS))
    parser.add_argument("--photons", nargs="+", type=float, default=PHOTONS)
    parser.add_argument("--background", nargs="+", type=float, default=BACKGROUND)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--name", default="localize_vs_crlb", help="of the file of results")
    options = parser.parse_args()
    tables = []
    for spot in options.psf:
        for camera in options.camera:
            rows = []
            for n, photons in enumerate(options.photons):
                for m, background in enumerate(options.background):
                    rows.append(cell(known[spot], CAMERAS[camera], photons, background, options.fits, seed=100 * n + m))
            tables.append({"psf": spot, "camera": camera, "rows": rows})
            show(tables[-1])
    result = {
        "benchmark": "localize_vs_crlb",
        "fits_per_cell": options.fits,
        "depth_nm": [-DEPTH_NM, DEPTH_NM],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
        "above": TOO_MUCH,
        "tables": tables,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{options.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwrote {path}")


def show(table: dict[str, Any]) -> None:
    axes = [name for name in ("x_nm", "y_nm", "z_nm") if name in table["rows"][0]["ratio"]]
    head = "  ".join(f"{axis[0]:>5}" for axis in axes)
    print(f"\n{table['psf']}, {table['camera']}: error / bound, the bound of x in nm, converged")
    print(f"{'photons':>8} {'backgr.':>8}   {head}  {'bound':>6} {'conv.':>6}")
    for row in table["rows"]:
        values = "  ".join(f"{row['ratio'][axis]:5.3f}" for axis in axes)
        line = f"{row['photons']:8g} {row['background_photons']:8g}   {values}  {row['bound_nm']['x_nm']:6.2f}"
        line += f" {row['converged']:6.3f}"
        if "ratio_from_truth" in row:
            line += "   from the truth " + "  ".join(f"{row['ratio_from_truth'][axis]:5.3f}" for axis in axes)
            line += f", {row['why']}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
