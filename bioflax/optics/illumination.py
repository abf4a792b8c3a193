"""Structured illumination: the stripes of light that carry fine detail into the pass band of the optics.

Along the wave vector k (one per direction, |k| = 1 / period) the light of a frame is

    I(r) = 1 + modulation cos(2 pi k.r + phase) + half_modulation cos(pi k.r + phase / 2)

Two beams make the first stripes alone (3 phases, 2-D SIM); a third, central beam adds the stripes of twice the period
(5 phases, 3-D SIM). The phases of a direction are evenly stepped, so its frames have the mean 1 at every point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.optics.psf.widefield import WidefieldOptics
from bioflax.optics.quantities import is_concrete, physical, quantity

_TURNS = {3: 1, 5: 2}  # of the finest stripes while the phase is stepped through: two where half of it must close too


@physical
class Illumination:
    """Frames of striped light, direction by direction; each quantity is a number or an (angles,) array and a leaf.

    Args:
        angle_deg: direction of the wave vector, from +x (columns) towards +y (rows); its length is the number of
            directions.
        period_nm: of the finest stripes, in the sample.
        phase_deg: of the finest stripes in the first frame of each direction, at the outer corner of the first pixel;
            the wider stripes have half of it there, so with 5 phases it counts to 720.
        modulation: of the finest stripes.
        half_modulation: of the stripes of twice the period; three equal beams give 4/3 and a `modulation` of 2/3.
        phases: frames of a direction: 3 (2-D SIM) or 5 (3-D SIM).

    Source: M. G. L. Gustafsson, J. Microscopy 198 (2000); M. G. L. Gustafsson et al., Biophysical J. 94 (2008).
    """

    angle_deg: float = quantity("degrees", kind="map", at_least=-360.0, at_most=360.0, default=(0.0, 60.0, 120.0))
    period_nm: float = quantity("nm", kind="map", above=0.0, default=210.0)
    phase_deg: float = quantity("degrees", kind="map", default=0.0)
    modulation: float = quantity("of the mean light", kind="map", at_least=0.0, at_most=1.0, default=0.8)
    half_modulation: float = quantity("of the mean light", kind="map", at_least=0.0, at_most=1.5, default=0.0)
    phases: int = 3

    def _check_together(self) -> None:
        if self.phases not in _TURNS:
            raise InputError(
                f"Illumination.phases: expected 3 (2-D SIM) or 5 (3-D SIM), found {self.phases!r}; count the frames "
                "of one direction"
            )
        for name in ("angle_deg", "period_nm", "phase_deg", "modulation", "half_modulation"):
            shape = np.shape(getattr(self, name))
            if len(shape) > 1 or (shape and name != "angle_deg" and shape != np.shape(self.angle_deg)):
                raise InputError(
                    f"Illumination.{name}: expected one number or one for each of the {self.angles} directions in "
                    f"angle_deg, found shape {shape}; list as many"
                )
        if is_concrete(self.modulation, self.half_modulation):
            self._check_light()

    def _check_light(self) -> None:
        fine, wide = np.asarray(self.modulation, np.float64), np.asarray(self.half_modulation, np.float64)
        if self.phases == 3 and wide.max() > 0:
            raise InputError(
                f"Illumination.half_modulation: expected 0 with 3 phases, found {wide.max():g}; take phases=5"
            )
        # With u = cos(pi k.r + phase / 2) the light is 1 - m + h u + 2 m u^2: a parabola over -1 ... 1.
        lowest = np.clip(-wide / np.maximum(4.0 * fine, 1e-9), -1.0, 0.0)
        darkest = float((1.0 - fine + wide * lowest + 2.0 * fine * lowest**2).min())
        if darkest < -1e-6:
            raise InputError(
                f"Illumination.half_modulation: expected light that is nowhere below 0, found {darkest:.3g} of the "
                "mean in the dark stripes; lower modulation or half_modulation (equal beams: 2/3 and 4/3)"
            )

    @property
    def angles(self) -> int:
        """Number of directions."""
        return int(np.size(self.angle_deg)) if np.ndim(self.angle_deg) else 1

    @property
    def frames(self) -> int:
        """Number of frames: directions times phases."""
        return self.angles * self.phases

    def patterns(self, shape: tuple[int, int], pixel_nm: jax.Array, *, before_px: jax.Array = 0.0) -> jax.Array:
        """The light of every frame at the pixel centres (i + 0.5) pixel_nm.

        Args:
            shape: (H, W) in pixels.
            pixel_nm: pixel side in the sample.
            before_px: pixels that the array begins before the corner that `phase_deg` refers to, along both axes: the
                margin of a canvas.

        Returns:
            (frames, H, W) float32, mean light 1, direction by direction.
        """
        angle = jnp.deg2rad(self._per_angle(self.angle_deg))[:, None]
        wave = math.pi / self._per_angle(self.period_nm)[:, None]  # of the wider stripes
        y_nm, x_nm = ((jnp.arange(size, dtype=jnp.float32) + 0.5 - before_px) * pixel_nm for size in shape)
        along_x, along_y = wave * jnp.cos(angle) * x_nm, wave * jnp.sin(angle) * y_nm
        step = math.pi * _TURNS[self.phases] / self.phases * jnp.arange(self.phases, dtype=jnp.float32)
        start = 0.5 * jnp.deg2rad(self._per_angle(self.phase_deg))[:, None] + step
        shifted = along_y[:, None, :] + start[:, :, None]  # (angles, phases, H)
        light = 1.0 + self._depth(self.modulation) * _stripes(2.0 * shifted, 2.0 * along_x)
        if self.phases == 5:
            light += self._depth(self.half_modulation) * _stripes(shifted, along_x)
        return light.reshape(self.frames, *shape)

    def band_per_nm(self, optics: WidefieldOptics) -> jax.Array:
        """The highest frequency that a reconstruction can reach, cut-off plus stripes, in cycles per nm."""
        return optics.cutoff_per_nm + 1.0 / jnp.min(jnp.asarray(self.period_nm))

    def _per_angle(self, value: jax.Array) -> jax.Array:
        return jnp.broadcast_to(jnp.asarray(value, jnp.float32), (self.angles,))

    def _depth(self, value: jax.Array) -> jax.Array:
        return self._per_angle(value)[:, None, None, None]


def measured_reach_per_nm(
    cutoff_per_nm: float, period_nm: Sequence[float] | float, angle_deg: Sequence[float] = (0.0, 60.0, 120.0)
) -> float:
    """Up to which frequency frames under stripes have measured *every* direction, cycles per nm.

    Each direction moves the pass band by +- 1 / period along its wave vector; what they cover together is no disc, and this is
    the largest disc inside it. A single direction measures nothing more across its stripes.

    Args:
        cutoff_per_nm: of the optics; where the camera's Nyquist frequency is lower, that.
        period_nm: of the finest stripes, of all directions or of each.
        angle_deg: of the wave vectors.
    """
    angles = np.deg2rad(np.atleast_1d(np.asarray(angle_deg, np.float64)))
    waves = 1.0 / np.broadcast_to(np.asarray(period_nm, np.float64), angles.shape)
    towards = np.linspace(0.0, np.pi, 361)[:, None] - angles
    across = waves * np.sin(towards)
    height = np.sqrt(np.maximum(cutoff_per_nm**2 - across**2, 0.0))
    reached = np.where(np.abs(across) < cutoff_per_nm, np.abs(waves * np.cos(towards)) + height, 0.0)
    return float(np.maximum(reached.max(1), cutoff_per_nm).min())


def _stripes(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """cos(rows + columns), (A, P, H) and (A, W) to (A, P, H, W), from cosines along the sides alone."""
    columns = columns[:, None, None, :]
    cosine = jnp.cos(rows)[..., None] * jnp.cos(columns)
    return cosine - jnp.sin(rows)[..., None] * jnp.sin(columns)
