"""How the pictures of a super-resolving model came about: its card, and what the command line says of microscope and camera."""

from __future__ import annotations

from typing import Any

from bioflax.experiments import _command

from bioflax.configuration import build
from bioflax.errors import InputError


def needed(plain: dict[str, Any], model: Any) -> Any:
    """The physics; InputError where neither card nor command line have the optics, or the model is none of super-resolution."""
    from bioflax.predict.physics import physics_of

    if model.card.task != "superresolve":
        raise InputError(
            f"honesty: expected a super-resolving model, found one for {model.card.task}. Leave honesty=false."
        )
    camera = None if plain.get("camera") is None else build(plain["camera"], "camera")
    given = {
        name: None if value is None else _command.positive(f"optics.{name}", value)
        for name, value in plain["optics"].items()
    }
    return physics_of(model, camera=camera, **given)


def known(plain: dict[str, Any], model: Any) -> Any:
    """As `needed`; None where the optics are neither in the card nor given. Wrong settings are errors here, too."""
    found, given = getattr(model.card, "physics", {}) or {}, plain["optics"]
    names = ("na", "wavelength_nm", "pixel_nm")
    lacking = any(given.get(name) is None and found.get(name) is None for name in names)
    if lacking and plain.get("camera") is None and all(value is None for value in given.values()):
        return None
    return needed(plain, model)
