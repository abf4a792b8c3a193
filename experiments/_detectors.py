"""What `predict` and `evaluate` share for detection: the detector that the settings ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

from bioflax.experiments import _command

from bioflax.errors import InputError


def detector(plain: dict[str, Any], model: Any) -> Any:
    """`(image, on_progress=...) -> Detections`; thresholds are those of the card where the settings have none."""
    from bioflax.predict.objects import detect_objects

    for group in ("psf", "camera"):
        if plain.get(group) is not None:
            raise InputError(f"{group}: expected none for a model that finds objects, found one. Leave it out.")
    for option, unused in {"augment": False, "posterior": False, "dtype": "auto"}.items():
        if plain.get(option, unused) != unused:
            raise InputError(f"{option}: expected {unused} for a model that finds objects, found {plain[option]}.")
    given = {
        name: _command.positive(name, plain[name])
        for name in ("threshold", "overlap", "distance_px")
        if _command.optional(plain[name]) is not None
    }
    return partial(detect_objects, model, tile=_command.tile_size(plain["tile"]), **given)
