"""Flips and quarter turns of patches in the plane: the same code on NumPy arrays and inside jit."""

from __future__ import annotations

from types import ModuleType

from bioflax.errors import InputError
from bioflax.typing import Array

AUGMENTATIONS = ("flip", "rot90")


def check_augment(augment: tuple[str, ...], patch: tuple[int, ...]) -> tuple[str, ...]:
    """Validates the names, and that turned patches keep their shape.

    Raises:
        InputError: an unknown name, or `rot90` with patches that are not square.
    """
    augment = tuple(augment)
    unknown = [name for name in augment if name not in AUGMENTATIONS]
    if unknown:
        raise InputError(f"augment: expected some of {', '.join(AUGMENTATIONS)}, found {', '.join(map(str, unknown))}")
    if "rot90" in augment and patch[-1] != patch[-2]:
        raise InputError(
            f"augment: rot90 needs patches as high as wide, found {patch}; leave it out or change the patch"
        )
    return augment


def draw_turns(uniform: Array, augment: tuple[str, ...], xp: ModuleType) -> tuple[Array, Array, Array]:
    """Turns uniform numbers into what is done with each patch.

    Args:
        uniform: (N,) in [0, 1).
        augment: some of `flip` (along Y and along X, each with probability one half) and `rot90` (0 to 3 quarter
            turns).
        xp: `numpy` or `jax.numpy`.

    Returns:
        transpose, flip_y, flip_x: (N,) bool; the transposition comes first. Every element of the group that
        `augment` generates is equally likely.
    """
    number = xp.minimum((uniform * 16).astype(xp.int32), 15)
    turns, flips = number & 3, number >> 2
    transpose, flip_x = (turns & 1, turns >> 1) if "rot90" in augment else (turns * 0, turns * 0)
    flip_y = flip_x ^ transpose  # a quarter turn is a transposition and one flip, a half turn is both flips
    if "flip" in augment:
        flip_y, flip_x = flip_y ^ (flips & 1), flip_x ^ (flips >> 1)
    return transpose > 0, flip_y > 0, flip_x > 0


def turn(patches: Array, turns: tuple[Array, Array, Array], augment: tuple[str, ...], xp: ModuleType) -> Array:
    """Applies `draw_turns` to patches.

    Args:
        patches: (N, [Z,] H, W, C).
        turns: from `draw_turns`.
        augment: the same names; what is not in them costs nothing.
        xp: `numpy` or `jax.numpy`.

    Returns:
        Patches of the same shape.
    """

    def choose(flags: Array, changed: Array) -> Array:
        return xp.where(flags.reshape((-1,) + (1,) * (patches.ndim - 1)), changed, patches)

    transpose, flip_y, flip_x = turns
    if "rot90" in augment:
        patches = choose(transpose, xp.swapaxes(patches, -3, -2))
    if augment:
        patches = choose(flip_y, xp.flip(patches, -3))
        patches = choose(flip_x, xp.flip(patches, -2))
    return patches
