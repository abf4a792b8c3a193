"""The loss of volumes of voxels, as DeepSTORM3D has it. Per example, (N,)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from bioflax.errors import InputError

RADIUS = 3  # of the blur in voxels: 7 taps along each axis


def volume_mse_dice(volume: jax.Array, target: jax.Array, *, peak: float = 800.0) -> dict[str, jax.Array]:
    """Squared error of blurred volumes, and one minus an overlap.

    mse = mean((G * volume - peak G * target)^2), G a Gaussian of 7^3 voxels, sigma 1 voxel, 1 at its centre, padded with
    zeros along z and cropped by 3 voxels at each side of x and y;
    dice = 1 - (2 sum(p t) + 1) / (sum(p t) + sum(t^2) + 1), p = volume / peak: sum(p t) where the usual one has sum(p^2).
    The published overlap sums over the batch, this one over an example.
    Source: Nehme et al., "DeepSTORM3D", Nature Methods 2020, as in its code.

    Args:
        volume: (N, H, W, D) in [0, peak].
        target: (N, H, W, D), 1 where a voxel holds an emitter, else 0.
        peak: what a voxel that holds an emitter is worth.

    Returns:
        "loss" and its parts "mse" and "dice", each (N,).

    Raises:
        InputError: shapes that differ, or sides shorter than the blur.
    """
    if volume.shape != target.shape or volume.ndim != 4:
        raise InputError(f"volume: expected (N, H, W, D) as the target's {target.shape}; found {volume.shape}")
    if min(volume.shape[1:3]) <= 2 * RADIUS:
        raise InputError(f"volume: expected sides of at least {2 * RADIUS + 1} voxels; found {volume.shape[1:3]}")
    error = volume - peak * target  # the blur is linear: one serves both
    error = _blur(_blur(error, 1), 2)
    error = _blur(jnp.pad(error, ((0, 0), (0, 0), (0, 0), (RADIUS, RADIUS))), 3)
    mse = jnp.mean(error**2, axis=(1, 2, 3))
    overlap = jnp.sum(volume * target, axis=(1, 2, 3)) / peak
    dice = 1 - (2 * overlap + 1) / (overlap + jnp.sum(target**2, axis=(1, 2, 3)) + 1)
    return {"loss": mse + dice, "mse": mse, "dice": dice}


def _blur(image: jax.Array, axis: int) -> jax.Array:
    size = image.shape[axis] - 2 * RADIUS
    taps = range(-RADIUS, RADIUS + 1)
    return sum(
        math.exp(-0.5 * tap**2) * lax.slice_in_dim(image, RADIUS + tap, RADIUS + tap + size, axis=axis) for tap in taps
    )
