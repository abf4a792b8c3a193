"""A point-spread function that was measured or rendered: a cubic B-spline through a volume of pixels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.quantities import physical, quantity

# Beyond the volume the light is 0; the spline needs a few coefficients there to bend down (0.27 times each pixel).
MARGIN_PX = 4


@physical
class Measured:
    """A spot given by a volume of pixels, a uniform cubic B-spline in z, y and x; an `EmitterPSF`.

    Pixels of the volume and of the camera have one size. Beyond the volume the light is 0 sideways; in z the first
    and the last plane go on. The overshoot of the spline below 0 is cut, so shares can be rates of a Poisson draw.
    Coefficients have one more plane at both ends in z and `MARGIN_PX` more pixels on each side than the volume.
    Differentiable in the position and in every leaf; make it by `from_volume`.

    Source: M. Unser, IEEE Signal Process. Mag. 16 (1999); H. P. Babcock and X. Zhuang, Sci. Rep. 7 (2017).
    """

    coefficients: Any = quantity("shares of light, (Z + 2, H', W')", kind="map")
    pixel_nm: float = quantity("nm in the sample", above=0.0)
    z_step_nm: float = quantity("nm between planes", above=0.0)
    z_first_nm: float = quantity("nm, z of the first plane")
    centre_x_px: float = quantity("px, coefficient on which the emitter lies along x, whole numbers are middles")
    centre_y_px: float = quantity("px, coefficient on which the emitter lies along y, whole numbers are middles")

    def _check_together(self) -> None:
        if np.ndim(self.coefficients) != 3 or np.shape(self.coefficients)[0] < 3:
            raise InputError(
                f"Measured.coefficients: expected (Z + 2, H, W), found shape {np.shape(self.coefficients)}; "
                f"make it by Measured.from_volume"
            )

    @classmethod
    def from_volume(
        cls,
        volume: Any,
        *,
        pixel_nm: float,
        z_step_nm: float,
        z_first_nm: float,
        centre_px: tuple[float, float] | None = None,
    ) -> Measured:
        """The spline through the pixels of a volume.

        Args:
            volume: (Z, H, W) share of the light per pixel, z upwards; one plane makes a spot that does not know z.
            pixel_nm: pixel side in the sample, that of the camera.
            z_step_nm: distance of the planes.
            z_first_nm: z of the first plane.
            centre_px: (y, x) of the emitter in the volume, the middle of the first pixel at 0; None is the middle.

        Returns:
            A `Measured` that equals the volume at its nodes.

        Raises:
            InputError: the volume is not three-dimensional or not finite.
        """
        volume = np.asarray(volume)
        if volume.ndim != 3 or 0 in volume.shape or volume.dtype.kind not in "iuf":
            raise InputError(
                f"volume: expected numbers (Z, H, W), found shape {volume.shape} of {volume.dtype}; add missing axes"
            )
        if not np.isfinite(volume).all():
            lost = int((~np.isfinite(volume)).sum())
            raise InputError(f"volume: expected finite shares of light, found {lost} that are not; mend the volume")
        padded = np.pad(volume.astype(np.float64), [(0, 0), (MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX)])
        y_px, x_px = [(size - 1) / 2 for size in volume.shape[1:]] if centre_px is None else centre_px
        return cls(
            coefficients=lateral_coefficients(axial_coefficients(padded)).astype(np.float32),
            pixel_nm=pixel_nm,
            z_step_nm=z_step_nm,
            z_first_nm=z_first_nm,
            centre_x_px=x_px + MARGIN_PX,
            centre_y_px=y_px + MARGIN_PX,
        )

    @property
    def z_range_nm(self) -> tuple[jax.Array, jax.Array]:
        """z of the first and the last plane, nm."""
        return self.z_first_nm, self.z_first_nm + (self.coefficients.shape[0] - 3) * self.z_step_nm

    def spots(self, shape: tuple[int, int], x_nm: jax.Array, y_nm: jax.Array, z_nm: jax.Array) -> jax.Array:
        """Shares of light per pixel, (..., H, W), as `EmitterPSF.spots`; z beyond the planes is that of the last."""
        x_nm, y_nm, z_nm = jnp.broadcast_arrays(*(jnp.asarray(at, dtype=float) for at in (x_nm, y_nm, z_nm)))
        planes, rows, columns = self.coefficients.shape
        # Zeros all round, so that a window may lie anywhere: one that misses the volume reads only zeros.
        sides = [(size + 3, size + 3) for size in shape]
        padded = jnp.pad(jnp.asarray(self.coefficients), [(0, 0), *sides])

        def spot(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
            # Every pixel of a window has the same fraction, so four weights per axis serve them all.
            depth = jnp.clip((z - self.z_first_nm) / self.z_step_nm, 0.0, planes - 3)
            plane, z_weights = _taps(depth, planes - 4 if planes > 3 else 0)
            row, y_weights = _taps(self.centre_y_px + 0.5 - y / self.pixel_nm)
            column, x_weights = _taps(self.centre_x_px + 0.5 - x / self.pixel_nm)
            start = (plane, jnp.clip(row - 1, -sides[0][0], rows) + sides[0][0])
            start = (*start, jnp.clip(column - 1, -sides[1][0], columns) + sides[1][0])
            taken = min(4, planes)
            block = jax.lax.dynamic_slice(padded, start, (taken, *(size + 3 for size in shape)))
            flat = jnp.tensordot(z_weights[:taken], block, 1, precision="highest")
            flat = sum(y_weights[k] * flat[k : k + shape[0]] for k in range(4))
            return sum(x_weights[k] * flat[:, k : k + shape[1]] for k in range(4))

        lit = jax.vmap(spot)(x_nm.reshape(-1), y_nm.reshape(-1), z_nm.reshape(-1))
        return jnp.maximum(lit, 0.0).reshape(*x_nm.shape, *shape)


def axial_coefficients(planes: np.ndarray) -> np.ndarray:
    """B-spline coefficients along z through (Z, ...) planes, float64 (Z + 2, ...), with not-a-knot ends."""
    count = planes.shape[0]
    order = min(4, count)
    system = np.zeros((count + 2, count + 2))
    for place in range(count):
        system[place + 1, place : place + 3] = (1 / 6, 4 / 6, 1 / 6)
    # The end pieces go on as one polynomial: a difference of the coefficients vanishes.
    ends = np.array([1.0])
    for _ in range(order):
        ends = np.convolve(ends, (1.0, -1.0))
    system[0, : order + 1] = ends
    system[-1, -order - 1 :] = ends
    right = np.concatenate([np.zeros_like(planes[:1]), planes, np.zeros_like(planes[:1])])
    return np.linalg.solve(system, right.reshape(count + 2, -1)).reshape(right.shape)


def lateral_coefficients(image: np.ndarray) -> np.ndarray:
    """B-spline coefficients along the last two axes of (..., H, W), with zeros beyond; float64 of the same shape."""
    rows, columns = (_tridiagonal(size) for size in image.shape[-2:])
    return np.linalg.solve(rows, np.linalg.solve(columns, image.swapaxes(-1, -2)).swapaxes(-1, -2))


def spline_weights(fraction: Any) -> Any:
    """The four cubic B-splines at a fraction from 0 to 1 behind the second of four nodes; they sum to 1."""
    t, u = fraction, 1.0 - fraction
    return [u**3 / 6, 2 / 3 - t**2 * (2 - t) / 2, 2 / 3 - u**2 * (2 - u) / 2, t**3 / 6]


def _tridiagonal(size: int) -> np.ndarray:
    return (4 * np.eye(size) + np.eye(size, k=1) + np.eye(size, k=-1)) / 6


def _taps(at: jax.Array, most: int | None = None) -> tuple[jax.Array, jax.Array]:
    """The node before a position, an int without slope, and the weights of the four nodes around it."""
    whole = jnp.floor(jax.lax.stop_gradient(at))
    if most is not None:
        whole = jnp.minimum(whole, most)
    return whole.astype(jnp.int32), jnp.stack(spline_weights(at - whole))
