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
    """As `needed`; None where the optics are not known and nothing of them was given."""
    if any(value is not None for value in plain["optics"].values()):
        return needed(plain, model)
    try:
        return needed(plain, model)
    except InputError:
        return None
