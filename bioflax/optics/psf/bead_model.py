"""One spline spot for several beads at their own sub-pixel places: linear in the spot, Gauss-Newton in the places."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioflax.optics.psf.spline import MARGIN_PX, axial_coefficients

_RIDGE = 1e-3  # of the beads' total weight; holds down what no bead has seen
_SOFT = 1e-2
_ROUNDS = 8
_STILL_PX = 1e-3


@dataclasses.dataclass
class BeadModel:
    """A spot, planes (K, H', W') of lateral coefficients of `Measured`, and where and how bright the beads are.

    `at_px` (B, 3): z in planes above the stack's own, and y, x in px from the outer corner of the bead's window.
    """

    planes: np.ndarray
    at_px: np.ndarray
    photons: np.ndarray
    planes_per_knot: float

    def render(self, bead: int, shape: tuple[int, int, int]) -> np.ndarray:
        """Photons of a bead in its window, (Z, H, W); 0 in planes of the stack that lie beyond those of the spot."""
        return self.photons[bead] * _project(self.planes, self.bases(bead, shape)[0])

    def covered(self, bead: int, planes: int) -> np.ndarray:
        """Which planes of the stack lie between the first and the last of the spot, (Z,) bool."""
        depth = (np.arange(planes) + self.at_px[bead, 0]) / self.planes_per_knot
        return (depth > -1e-9) & (depth < self.planes.shape[0] - 1 + 1e-9)

    def bases(self, bead: int, shape: tuple[int, int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Values, and slopes in the bead's position, of the splines of z, y and x at the samples of a window."""
        z, y, x = self.at_px[bead]
        knots = self.planes.shape[0]
        depth = (np.arange(shape[0]) + z) / self.planes_per_knot
        # Along z the unknowns are the planes themselves: coefficients of the ends alone would be badly determined.
        through = axial_coefficients(np.eye(knots))
        distance = depth[:, None] + 1 - np.arange(knots + 2)
        inside = self.covered(bead, shape[0])[:, None]
        values = [inside * _spline(distance) @ through]
        slopes = [inside * _slope(distance) @ through / self.planes_per_knot]
        for size, at in ((shape[1], y), (shape[2], x)):
            pixel = np.arange(size) + MARGIN_PX + 0.5 * size - at
            distance = pixel[:, None] - np.arange(size + 2 * MARGIN_PX)
            values.append(_spline(distance))
            slopes.append(-_slope(distance))
        return values, slopes


def fit_beads(
    stacks: np.ndarray, background: np.ndarray, starts_px: np.ndarray, *, planes_per_knot: float, register_z: bool
) -> BeadModel:
    """The spot that all beads share, by turns with the position and the brightness of each.

    Positions move about the mean of their starts, which stays; so does the mean of z.

    Args:
        stacks: (B, Z, H, W) photons, background taken off.
        background: (Z,) photons that were taken off; with the light it gives the noise.
        starts_px: (B, 3) z in planes, y and x in px from the window's outer corner.
        planes_per_knot: planes of the stack per plane of the spot.
        register_z: also fit the beads' z.

    Returns:
        The model; its planes are not normalised.
    """
    _, planes, height, width = stacks.shape
    knots = round((planes - 1) / planes_per_knot) + 1
    empty = np.zeros((knots, height + 2 * MARGIN_PX, width + 2 * MARGIN_PX))
    photons = np.maximum(stacks.sum(axis=(2, 3)).mean(axis=1), 1e-6)
    model = BeadModel(empty, np.array(starts_px, np.float64), photons, planes_per_knot)
    for _ in range(_ROUNDS):
        model.planes = _shared_spot(model, stacks)
        before = model.at_px.copy()
        for bead, stack in enumerate(stacks):
            _move(model, bead, stack, background, register_z=register_z)
        model.at_px -= (model.at_px - starts_px).mean(axis=0)
        if np.abs(model.at_px - before).max() < _STILL_PX:
            break
    model.planes = _shared_spot(model, stacks)
    return model


def normalised(model: BeadModel, shape: tuple[int, int], *, each_plane: bool) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a spot of sum 1, and the light per plane that they were divided by.

    Args:
        model: the fitted beads.
        shape: (H, W) of the windows.
        each_plane: every plane sums to 1; else the mean of the sharpest fifth of the planes does.

    Returns:
        Coefficients (K + 2, H', W') and the light (K,) in units of the bead's photons.
    """
    middle = [_spline(np.arange(size)[:, None] + MARGIN_PX - np.arange(size + 2 * MARGIN_PX)) for size in shape]
    knots = model.planes.shape[0]
    pixels = _project(model.planes, [np.eye(knots), *middle])
    light = pixels.sum(axis=(1, 2))
    if not each_plane:
        sharp = np.argsort(((pixels / light[:, None, None]) ** 2).sum(axis=(1, 2)))[-max(knots // 5, 1) :]
        light = np.full(knots, light[sharp].mean())
    return axial_coefficients(model.planes / light[:, None, None]), light


def _shared_spot(model: BeadModel, stacks: np.ndarray) -> np.ndarray:
    """Least-squares planes for the beads as they stand, by conjugate gradients; bright beads weigh more."""
    weights = model.photons / model.photons.sum() / model.planes_per_knot
    grams, right = [], 0.0
    for bead, stack in enumerate(stacks):
        depth, down, across = model.bases(bead, stack.shape)[0]
        seen = weights[bead] / model.photons[bead] * _along_z(depth.T, stack)
        right = right + down.T @ seen @ across
        grams.append((weights[bead] * depth.T @ depth, down.T @ down, across.T @ across))

    def normal(spot: np.ndarray) -> np.ndarray:
        return sum(down @ _along_z(depth, spot) @ across for depth, down, across in grams) + _RIDGE * spot

    # The beads differ little in their own systems: the inverse of the mean one, axis by axis, is a good start.
    inverse = [np.linalg.inv(sum(gram[0] for gram in grams) + _RIDGE * np.eye(len(model.planes)))]
    for axis in (1, 2):
        mean = sum(gram[axis] for gram in grams) / len(grams)
        inverse.append(np.linalg.inv(mean + _SOFT * np.eye(len(mean))))
    spot = model.planes
    residual = right - normal(spot)
    direction = ahead = _project(residual, inverse)
    power, goal = np.vdot(residual, ahead), 1e-10 * np.vdot(right, _project(right, inverse))
    for _ in range(100):
        if power <= goal:
            break
        image = normal(direction)
        step = power / np.vdot(direction, image)
        spot, residual = spot + step * direction, residual - step * image
        ahead = _project(residual, inverse)
        power, last = np.vdot(residual, ahead), power
        direction = ahead + (power / last) * direction
    return spot


def _move(model: BeadModel, bead: int, stack: np.ndarray, background: np.ndarray, *, register_z: bool) -> None:
    """One weighted Gauss-Newton step of a bead's position and brightness, at most half a pixel and a knot."""
    values, slopes = model.bases(bead, stack.shape)
    light, photons = _project(model.planes, values), model.photons[bead]
    stack = np.where(model.covered(bead, stack.shape[0])[:, None, None], stack, 0.0)
    changes = [light]
    for axis in (0, 1, 2) if register_z else (1, 2):
        mixed = [slopes[k] if k == axis else values[k] for k in range(3)]
        changes.append(photons * _project(model.planes, mixed))
    # Poisson weights; the floor keeps single dark pixels from ruling.
    variance = np.maximum(photons * light, 0) + np.maximum(background, 0)[:, None, None] + 1.0
    matrix = np.stack([change.reshape(-1) for change in changes], axis=1)
    scaled = matrix / variance.reshape(-1, 1)
    step = np.linalg.solve(
        matrix.T @ scaled + 1e-9 * np.eye(matrix.shape[1]), scaled.T @ (stack - photons * light).reshape(-1)
    )
    model.photons[bead] = max(photons + step[0], 0.1 * photons)
    limit = np.array([model.planes_per_knot, 0.5, 0.5])
    move = np.array([step[1] if register_z else 0.0, step[-2], step[-1]])
    model.at_px[bead] += np.clip(move, -limit, limit)


def _project(planes: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    depth, down, across = bases
    return down @ _along_z(depth, planes) @ across.T


def _along_z(matrix: np.ndarray, volume: np.ndarray) -> np.ndarray:
    # Row by row: products this small stay on one thread, which is quicker where others share the cores.
    return np.matmul(matrix, volume.swapaxes(0, 1)).swapaxes(0, 1)


def _spline(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline."""
    far = np.abs(distance)
    return np.where(far < 1, 2 / 3 - far**2 * (2 - far) / 2, np.maximum(2 - far, 0) ** 3 / 6)


def _slope(distance: np.ndarray) -> np.ndarray:
    far = np.abs(distance)
    return np.sign(distance) * np.where(far < 1, far * (1.5 * far - 2), -(np.maximum(2 - far, 0) ** 2) / 2)
