"""Whether an image and its target show the same place, and how far they are apart: measured before anyone learns from them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from bioflax.data.image_set import Field, ImageSet
from bioflax.errors import InputError

REGISTER = ("apply", "check", "none")
_STILL_PX = 0.1  # camera pixels; a smaller shift is within the error of its measurement
_LISTED = 50


def register_pairs(
    image_set: ImageSet, how: str, *, least_correlation: float = 0.3, max_shift_px: float = 1.0
) -> tuple[ImageSet, dict[str, Any]]:
    """Measures the shift of every pair, and moves the targets.

    The mean of all captures and frames of a field, brought onto the fine grid, is compared with its target, blurred like a
    picture of a camera that samples it finely enough.

    Args:
        image_set: 2-D fields with targets.
        how: `apply` (the targets are moved, between pixels by interpolation, and a border as wide as the shift is left
            out of the field), `check` or `none`.
        least_correlation: below it the pair is refused.
        max_shift_px: camera pixels along Y or X; above it the pair is refused.

    Returns:
        The set, and plain JSON for the card: `how`, the largest shift, and for the first fields [dy, dx, correlation]: what
        the target has to move by to lie on its image, camera pixels.

    Raises:
        InputError: an unknown word, or a pair that does not fit.
    """
    if how not in REGISTER:
        raise InputError(f"data.register: expected one of {', '.join(REGISTER)}, found {how!r}.")
    if how == "none":
        return image_set, {"how": how}
    items, shifts = [], {}
    for field in image_set.items:
        dy, dx, correlation = _measure(field, max_shift_px)
        if correlation < least_correlation:
            raise InputError(
                f"{field.target.file.path}: the target does not show what {field.name} shows: correlation {correlation:.2f}, "
                f"expected at least {least_correlation:g}; check the pairing and the crop, or give data.register=none."
            )
        if max(abs(dy), abs(dx)) > max_shift_px:
            raise InputError(
                f"{field.target.file.path}: the target would have to move by {dy:.2f} px (Y) and {dx:.2f} px (X) to lie on "
                f"{field.name}, expected at most {max_shift_px:g} camera pixels; crop both to one field, or raise "
                "data.max_shift_px."
            )
        shifts[field.name] = [round(dy, 4), round(dx, 4), round(correlation, 4)]
        items.append(_moved(field, dy, dx) if how == "apply" else field)
    largest = max(shifts, key=lambda name: max(abs(dy) for dy in shifts[name][:2]))
    found = {"how": how, "largest_px": max(map(abs, shifts[largest][:2])), "fields": len(shifts)}
    if how == "check" and found["largest_px"] > 0.1:
        warnings.warn(
            f"the target of {largest} would have to move by {shifts[largest][0]:.2f} px (Y) and {shifts[largest][1]:.2f} px "
            "(X) to lie on its image; data.register=apply moves it",
            stacklevel=3,
        )
    found["shifts_px"] = dict(list(shifts.items())[:_LISTED])
    return replace(image_set, items=tuple(items)), found


def _measure(field: Field, max_shift_px: float) -> tuple[float, float, float]:
    """(dy, dx, correlation): what the target has to move by to lie on the image, camera pixels."""
    from bioflax.metrics.registration import register_finer

    upscale = field.upscale
    picture = np.mean([capture.read().mean(-1) for capture in field.repeats], 0, dtype=np.float64)
    # Room to see that a shift is too large.
    shift = register_finer(field.target.read()[..., 0], picture, upscale, max_shift_px=2.0 * max_shift_px + 2.0)
    return float(shift.dy_px) / upscale, float(shift.dx_px) / upscale, float(shift.correlation)


def _moved(field: Field, dy: float, dx: float) -> Field:
    """The field with its target moved onto the image, without the border that the target has nothing for."""
    if max(abs(dy), abs(dx)) < _STILL_PX:
        return field
    target = replace(field.target, moved_px=(dy * field.upscale, dx * field.upscale))
    border = [ceil(abs(step)) for step in (dy, dx)]
    box = tuple((edge, length - edge) for edge, length in zip(border, field.size, strict=True))
    return replace(field, target=target).crop(box)
