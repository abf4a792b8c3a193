"""What simulators of labelled pictures share: values drawn from a span, the size of a field, and a check of camera maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bioflax.errors import InputError
from bioflax.optics import noise
from bioflax.optics.quantities import is_concrete

Span = float | tuple[float, float]


def draw_spans(
    key: jax.Array, record: Any, names: Sequence[str], logarithmic: Sequence[str] = ()
) -> dict[str, jax.Array]:
    """One value of each named field of a record, from one row of random numbers.

    Args:
        key: typed key.
        record: its fields are spans (low, high) or numbers.
        names: of the fields.
        logarithmic: those that are drawn evenly in the logarithm.

    Returns:
        A float32 number for each name.
    """
    shares = noise.uniform(key, (len(names),))
    return {
        name: within(getattr(record, name), share, logarithmic=name in logarithmic)
        for name, share in zip(names, shares)
    }


def within(span: Any, share: jax.Array, *, logarithmic: bool = False) -> jax.Array:
    """The value at a share (0 to 1) of the way through a span, float32; of a number, that number."""
    if not isinstance(span, tuple):
        return jnp.broadcast_to(jnp.asarray(span, jnp.float32), share.shape)
    low, high = span
    return low * (high / low) ** share if logarithmic else low + (high - low) * share


def poisson_first(share: jax.Array, mean: jax.Array) -> jax.Array:
    """A Poisson number of objects: true for the first of a row, by the gaps of a Poisson process.

    Args:
        share: (P,) uniform numbers in [0, 1); more than P objects there cannot be.
        mean: expected number.

    Returns:
        (P,) bool.
    """
    return jnp.cumsum(-jnp.log1p(-share)) < mean


def highest(span: Any) -> float:
    """The largest value of a span, as a number."""
    return float(span[1] if isinstance(span, tuple) else span)


def field_size(name: str, size: Any, axes: tuple[int, ...]) -> int | tuple[int, ...]:
    """The size of a field as a static value: an int, or a tuple where a list is given.

    Args:
        name: of the field, for the error text.
        size: pixels a side of a square, or one number per axis.
        axes: allowed numbers of axes.

    Raises:
        InputError: anything else.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in sides)
    if len(sides) not in axes or not whole or min(sides[-2:]) < 8:
        forms = " or ".join({2: "(H, W)", 3: "(Z, H, W)"}[count] for count in axes)
        raise InputError(f"{name}: expected pixels, one whole number of at least 8 or {forms}, found {size!r}; try 256")
    return sides if isinstance(size, tuple | list) else size


def check_count(name: str, value: Any, least: int) -> None:
    """InputError if the value is not a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, found {value!r}; give one")


def check_camera_maps(name: str, camera: Any, shape: tuple[int, int]) -> None:
    """InputError if a map of the camera does not have the field's (H, W)."""
    for leaf in jax.tree.leaves(camera):
        if getattr(leaf, "ndim", 0) and is_concrete(leaf) and leaf.shape != shape:
            raise InputError(
                f"{name}: expected maps of the picture's size {shape}, found {leaf.shape}; "
                "crop the camera maps or set size"
            )
