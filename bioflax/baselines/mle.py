"""Maximum-likelihood fits of single emitters: Fisher scoring for any spot and camera, thousands of windows at once.

What a deep localizer has to beat where spots do not overlap: there it reaches the Cramer-Rao bound.
Source: C. S. Smith et al., Nature Methods 7 (2010); F. Huang et al., Nature Methods 10 (2013) for sCMOS maps;
K. I. Mortensen et al., Nature Methods 7 (2010) for EMCCD.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.optics.fisher import invert_information, mean_and_slopes
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf.interface import EmitterPSF, seen_from

CHUNK = 512  # windows of one call: large enough to fill the vector units, small enough for the cache
ROUND = 4  # steps, after which the windows that go on are put together: a chunk is as slow as its slowest window
CONVERGED = 1e-4  # squared step in units of the bound: 1 % of the precision
LEAST_PHOTONS, LEAST_BACKGROUND = 1.0, 1e-3


class Fits(NamedTuple):
    """Fits of K windows; positions in nm from the outer corner of each window's first pixel.

    `values`, `deviations`: (K, 5) x_nm, y_nm, z_nm, photons, background_photons and their Cramer-Rao bounds at the fit,
    infinite where the spot does not know one; `chi_square`: (K,) squared residuals over their expectation, 1 for a
    good fit; `converged`: (K,) bool; `steps`: (K,) steps taken.
    """

    values: np.ndarray
    deviations: np.ndarray
    chi_square: np.ndarray
    converged: np.ndarray
    steps: np.ndarray


def fit_windows(
    psf: EmitterPSF,
    sensor: Sensor,
    read_e: Any,
    *,
    start_nm: Any = None,
    corner_nm: Any = None,
    z_range_nm: tuple[float, float] = (-750.0, 750.0),
    depths: int = 9,
    max_steps: int = 40,
    threads: int | None = None,
) -> Fits:
    """Fits one emitter in each window.

    Args:
        psf: the spot.
        sensor: numbers, or maps (K, h, w) of the windows.
        read_e: (K, h, w) photoelectrons, as `optics.likelihood.to_electrons` gives them.
        start_nm: (K, 2) x and y to start from; None takes the centre of mass above the border.
        corner_nm: (K, 2) x and y of each window's corner in the field, for a spot that changes across it; None is (0, 0).
        z_range_nm: least and largest z.
        depths: how many z are tried for the start.
        max_steps: steps after which a fit counts as not converged.
        threads: chunks computed side by side; None takes one a core.

    Returns:
        The fits as NumPy arrays.
    """
    read_e = np.asarray(read_e, np.float32)
    count = len(read_e)
    if start_nm is None:
        start_nm = centre_of_mass_nm(read_e, float(psf.pixel_nm))
    start_nm = np.asarray(start_nm, np.float32)
    corner_nm = np.zeros((count, 2), np.float32) if corner_nm is None else np.asarray(corner_nm, np.float32)
    at_windows = _At(sensor, corner_nm)
    mapped = _At(jax.tree.map(lambda leaf: np.ndim(leaf) == 3, sensor), True)
    size = min(CHUNK, 1 << max(0, count - 1).bit_length())
    begin = partial(_start_chunk, depths=depths, mapped=_Static(mapped))
    go_on = partial(_fit_chunk, mapped=_Static(mapped))
    z_range = jnp.asarray(z_range_nm, jnp.float32)
    fits = Fits(
        np.zeros((count, 5), np.float32), np.zeros((count, 5), np.float32), np.zeros(count, np.float32),
        np.zeros(count, bool), np.zeros(count, np.int32),
    )  # fmt: skip

    def run(at: np.ndarray, most: int, first: bool) -> None:
        """Goes `most` steps on with the windows `at` and writes what they reached into `fits`."""
        # The last chunk is filled up with its first window, so that all chunks have one shape.
        full = np.concatenate([at, np.full(size - len(at), at[0])])
        part = jax.tree.map(lambda leaf, is_map: np.asarray(leaf)[full] if is_map else leaf, at_windows, mapped)
        values = begin(psf, part, read_e[full], start_nm[full], z_range) if first else fits.values[full]
        found = [np.asarray(array)[: len(at)] for array in go_on(psf, part, read_e[full], values, z_range, most)]
        for all_of_them, some in zip(fits[:4], found[:4]):
            all_of_them[at] = some
        fits.steps[at] += found[4]
        done[at] = found[5]

    going, taken, done = np.arange(count), 0, np.zeros(count, bool)
    with ThreadPoolExecutor(threads or max(1, min(-(-count // size), os.cpu_count() or 1))) as pool:
        while len(going) and taken < max_steps:
            most = min(ROUND if taken == 0 else max(ROUND, taken), max_steps - taken)
            chunks = [going[first : first + size] for first in range(0, len(going), size)]
            list(pool.map(lambda at, most=most, first=taken == 0: run(at, most, first), chunks))
            taken += most
            going = going[~done[going]]
    return fits


def centre_of_mass_nm(read_e: np.ndarray, pixel_nm: float) -> np.ndarray:
    """(K, 2) x and y of the light above the border's mean, in windows (K, h, w)."""
    height, width = read_e.shape[1:]
    border = np.ones((height, width), bool)
    border[1:-1, 1:-1] = False
    light = np.maximum(read_e - read_e[:, border].mean(1)[:, None, None], 0.0)
    total = np.maximum(light.sum((1, 2)), 1e-6)
    x = (light.sum(1) @ (np.arange(width) + 0.5)) / total
    y = (light.sum(2) @ (np.arange(height) + 0.5)) / total
    return np.stack([x, y], -1).astype(np.float32) * pixel_nm


class _At(NamedTuple):
    """What a window looks through: the sensor below it, and where it lies in the field, nm."""

    sensor: Any
    corner: Any


class _Static:
    """A pytree of bools as a static argument of jit: equal by content."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.key = (tuple(jax.tree.leaves(tree)), str(jax.tree.structure(tree)))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key


@partial(jax.jit, static_argnames=("depths", "mapped"))
def _start_chunk(
    psf: EmitterPSF,
    at: _At,
    read_e: jax.Array,
    start_nm: jax.Array,
    z_range_nm: jax.Array,
    *,
    depths: int,
    mapped: _Static,
) -> jax.Array:
    shape = read_e.shape[1:]

    def start(a: _At, x: jax.Array, first: jax.Array) -> jax.Array:
        return _start(seen_from(psf, *a.corner), a.sensor, x, first, shape, z_range_nm, depths)

    return _over(mapped)(start)(at, read_e, start_nm)


def _over(mapped: _Static) -> Callable[..., Any]:
    """vmap over windows, and over the maps of their sensors."""
    axes = jax.tree.map(lambda is_map: 0 if is_map else None, mapped.tree)
    return partial(jax.vmap, in_axes=(axes, 0, 0))


@partial(jax.jit, static_argnames=("mapped",))
def _fit_chunk(
    psf: EmitterPSF,
    at: _At,
    read_e: jax.Array,
    values: jax.Array,
    z_range_nm: jax.Array,
    max_steps: jax.Array,
    *,
    mapped: _Static,
) -> tuple[jax.Array, ...]:
    shape, over = read_e.shape[1:], _over(mapped)
    limits = _limits(psf, shape, z_range_nm)
    look = over(lambda a, x, v: _look(seen_from(psf, *a.corner), a.sensor, x, v, shape))
    state = _State(values, *look(at, read_e, values), jnp.full(len(values), 1e-3), jnp.zeros(len(values), bool), 0)
    state = state._replace(steps=jnp.zeros(len(values), jnp.int32))

    def go_on(state: _State) -> jax.Array:
        return jnp.any(~state.done) & jnp.any(state.steps < max_steps) & (jnp.max(state.steps) < max_steps)

    def step(state: _State) -> _State:
        move = solve(state.information, state.slope, state.damping)
        trial = jnp.clip(state.values + move, limits[0], limits[1])
        # A single step neither doubles nor halves the light, and moves less than a pixel: quadratic models end there.
        trial = _restrain(state.values, trial, psf.pixel_nm)
        likelihood, slope, information = look(at, read_e, trial)
        better = likelihood >= state.likelihood - 1e-6 * jnp.abs(state.likelihood)
        moved = trial - state.values
        size = jnp.einsum("ki,kij,kj->k", moved, state.information, moved)
        done = state.done | (better & (size < CONVERGED)) | (~better & (state.damping > 1e6))
        keep = better & ~state.done
        choose = lambda new, old: jnp.where(keep.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)  # noqa: E731
        return _State(
            choose(trial, state.values),
            choose(likelihood, state.likelihood),
            choose(slope, state.slope),
            choose(information, state.information),
            jnp.where(better, jnp.maximum(0.1 * state.damping, 1e-6), 10.0 * state.damping),
            done,
            state.steps + ~state.done,
        )

    state = jax.lax.while_loop(go_on, step, state)
    deviations = jnp.sqrt(jax.vmap(lambda matrix: jnp.diagonal(invert_information(matrix)))(state.information))
    chi_square = over(lambda a, x, v: _chi_square(seen_from(psf, *a.corner), a.sensor, x, v, shape))(
        at, read_e, state.values
    )
    inside = jnp.all((state.values[:, :2] > limits[0][:2]) & (state.values[:, :2] < limits[1][:2]), -1)
    return state.values, deviations, chi_square, state.done & inside, state.steps, state.done


class _State(NamedTuple):
    values: jax.Array
    likelihood: jax.Array
    slope: jax.Array
    information: jax.Array
    damping: jax.Array
    done: jax.Array
    steps: Any


def _limits(psf: EmitterPSF, shape: Sequence[int], z_range_nm: jax.Array) -> tuple[jax.Array, jax.Array]:
    low = jnp.stack([0.0, 0.0, z_range_nm[0], LEAST_PHOTONS, LEAST_BACKGROUND])
    high = jnp.stack([shape[1] * psf.pixel_nm, shape[0] * psf.pixel_nm, z_range_nm[1], 1e9, 1e9])
    return low, high


def _restrain(values: jax.Array, trial: jax.Array, pixel_nm: jax.Array) -> jax.Array:
    position = values[:, :2] + jnp.clip(trial[:, :2] - values[:, :2], -pixel_nm, pixel_nm)
    depth = values[:, 2:3] + jnp.clip(trial[:, 2:3] - values[:, 2:3], -200.0, 200.0)
    light = jnp.clip(trial[:, 3:], 0.3 * values[:, 3:], 3.0 * values[:, 3:] + 1.0)
    return jnp.concatenate([position, depth, light], -1)


def _look(
    psf: EmitterPSF, sensor: Sensor, read_e: jax.Array, values: jax.Array, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log likelihood, its slope (5,) and the Fisher information (5, 5) at `values`."""
    mean, slopes = mean_and_slopes(psf, shape, values[None, :4], values[4])
    likelihood = jnp.sum(sensor.log_likelihood(read_e, mean))
    # One product gives both: the slope is the row of the score, in units in which every pixel knows equally much.
    root = jnp.sqrt(jnp.maximum(sensor.information(mean), 1e-30))
    rows = jnp.concatenate([slopes * root, (sensor.score(read_e, mean) / root)[None]]).reshape(6, -1)
    products = jnp.matmul(rows, rows.T, precision="highest")
    return likelihood, products[5, :5], products[:5, :5]


def _start(
    psf: EmitterPSF,
    sensor: Sensor,
    read_e: jax.Array,
    start_nm: jax.Array,
    shape: tuple[int, int],
    z_range_nm: jax.Array,
    depths: int,
) -> jax.Array:
    """Position as given, and the z, light and background that fit the window best by least squares."""
    photons = (read_e - sensor.spurious_e) / sensor.quantum_efficiency
    z = z_range_nm[0] + (z_range_nm[1] - z_range_nm[0]) * (jnp.arange(depths) + 0.5) / depths
    spots = psf.spots(shape, jnp.full(depths, start_nm[0]), jnp.full(depths, start_nm[1]), z)
    mean = photons.mean()
    centred = spots - spots.mean((1, 2), keepdims=True)
    power = jnp.maximum(jnp.sum(centred**2, (1, 2)), 1e-12)
    light = jnp.sum(centred * (photons - mean), (1, 2)) / power
    best = jnp.argmax(jnp.where(light > 0, light**2 * power, light))
    light = jnp.maximum(light[best], 10.0)
    background = jnp.maximum(mean - light * spots[best].mean(), 0.1)
    return jnp.stack([start_nm[0], start_nm[1], z[best], light, background])


def _chi_square(
    psf: EmitterPSF, sensor: Sensor, read_e: jax.Array, values: jax.Array, shape: tuple[int, int]
) -> jax.Array:
    mean = sensor.expected_e(values[3] * psf.spots(shape, *values[:3]) + values[4])
    variance = (2.0 if sensor.multiplied else 1.0) * mean + jnp.square(sensor.read_noise_e)
    return jnp.sum(jnp.square(read_e - mean) / variance) / (read_e.size - 5)


def solve(information: jax.Array, slope: jax.Array, damping: jax.Array) -> jax.Array:
    """Damped Newton steps of K small systems at once, by a Cholesky decomposition written out.

    Args:
        information: (K, P, P) symmetric; a zero row and column is a parameter that stays.
        slope: (K, P).
        damping: (K,) share of the diagonal that is added to it.

    Returns:
        (K, P).
    """
    size = slope.shape[-1]
    diagonal = jnp.diagonal(information, axis1=-2, axis2=-1)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0)
    entry: Callable[[int, int], jax.Array] = lambda i, j: information[:, i, j] * scale[:, i] * scale[:, j]  # noqa: E731
    factor: dict[tuple[int, int], jax.Array] = {}
    for j in range(size):
        left = sum(factor[j, k] ** 2 for k in range(j))
        factor[j, j] = jnp.sqrt(jnp.maximum(1.0 + damping - left, 1e-6))
        for i in range(j + 1, size):
            factor[i, j] = (entry(i, j) - sum(factor[i, k] * factor[j, k] for k in range(j))) / factor[j, j]
    forward: list[jax.Array] = []
    for i in range(size):
        forward.append((slope[:, i] * scale[:, i] - sum(factor[i, k] * forward[k] for k in range(i))) / factor[i, i])
    back: dict[int, jax.Array] = {}
    for i in reversed(range(size)):
        back[i] = (forward[i] - sum(factor[k, i] * back[k] for k in range(i + 1, size))) / factor[i, i]
    return jnp.stack([back[i] * scale[:, i] for i in range(size)], -1)
