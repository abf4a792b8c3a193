"""Named axes of an image: `T` time, `S` series or position, `Z` depth, `C` channel, `Y` row, `X` column."""

from __future__ import annotations

import numpy as np

from bioflax.errors import InputError

AXES = "TSZCYX"


def check_axes(axes: str, shape: tuple[int, ...] | None = None, name: str = "axes") -> str:
    """Validates axis letters, and that they fit a shape.

    Args:
        axes: letters of `TSZCYX`, each once, with Y and X, in the order of the array; case does not matter.
        shape: shape that they must fit, or None to check the letters alone.
        name: what the message calls them, for instance a file.

    Returns:
        The letters in upper case.

    Raises:
        InputError: a letter is unknown or repeated, Y or X is missing, or there are more or fewer letters than
            dimensions.
    """
    if not isinstance(axes, str):
        raise InputError(f"{name}: expected letters such as axes=ZYX, found {axes!r}")
    letters = axes.upper()
    unknown = sorted(set(letters) - set(AXES))
    if unknown:
        raise InputError(f"{name}: unknown axis {', '.join(unknown)} in axes={axes}; the letters are T, S, Z, C, Y, X")
    if len(set(letters)) != len(letters):
        raise InputError(f"{name}: each axis may appear once, found axes={axes}")
    if not {"Y", "X"} <= set(letters):
        raise InputError(f"{name}: an image has the axes Y and X, found axes={axes!r}")
    if shape is not None and len(letters) != len(shape):
        raise InputError(
            f"{name}: axes={letters} names {len(letters)} dimensions, the image has {len(shape)} {shape}; "
            f"{suggest_axes(len(shape))}"
        )
    return letters


def suggest_axes(dimensions: int) -> str:
    """The end of an error message: how to name the axes of an array of so many dimensions."""
    examples = {
        2: "YX",
        3: "TYX|ZYX|CYX|SYX",
        4: "TZYX|TCYX|ZCYX|CZYX",
        5: "TZCYX|TCZYX",
        6: "TSZCYX",
    }.get(dimensions)
    if examples is None:
        return "an image has two to six dimensions, of T, S, Z, C, Y, X"
    return "say what they are with " + " or ".join(f"axes={example}" for example in examples.split("|"))


def rearrange(array: np.ndarray, axes: str, to: str) -> np.ndarray:
    """Puts the axes of an array into another order; axes that are new get the length one.

    Args:
        array: one dimension per letter of `axes`.
        axes: letters of the array.
        to: letters of the result; an axis of `axes` that it leaves out must have length one.

    Returns:
        A view of the array with one dimension per letter of `to`.

    Raises:
        InputError: an axis that `to` leaves out is longer than one.
    """
    axes = check_axes(axes, array.shape)
    for letter, length in zip(axes, array.shape, strict=True):
        if letter not in to and length != 1:
            raise InputError(
                f"axes: expected {to}, found {axes} {array.shape}: axis {letter} has length {length}, not 1"
            )
    kept = [letter for letter in axes if letter in to]
    view = array.reshape([length for letter, length in zip(axes, array.shape, strict=True) if letter in to])
    view = view.transpose([kept.index(letter) for letter in to if letter in kept])
    return view.reshape([array.shape[axes.index(letter)] if letter in kept else 1 for letter in to])
