"""What `predict` and `evaluate` share for localization: the localizer that the settings ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

from bioflax.experiments import _command

from bioflax.configuration import build
from bioflax.errors import InputError


def built(plain: dict[str, Any], model: Any) -> tuple[Any, Any]:
    """The spot, None where there is none, and the camera: of the settings, else that of the model's card."""
    camera = None if plain.get("camera") is None else build(plain["camera"], "camera")
    if model is not None and camera is None:
        from bioflax.predict.movie import card_camera

        camera = card_camera(model)
    return None if plain.get("psf") is None else build(plain["psf"], "psf"), camera


def localizer(plain: dict[str, Any], model: Any, psf: Any, camera: Any) -> Any:
    """`(movie, on_progress=...) -> Localizations`; `model` None is maximum likelihood."""
    from bioflax.predict.movie import localize_classically, localize_movie

    given = plain["threshold"]
    threshold = {} if given == "auto" else {"threshold": _command.positive("threshold", given)}
    if model is not None:
        return partial(localize_movie, model, camera=camera, tile=_command.tile_size(plain["tile"]), **threshold)
    if psf is None:
        raise InputError("psf: the classical localizer needs a spot. Give psf=gaussian psf.sigma_nm=..., or another.")
    return partial(localize_classically, psf, camera=camera, z_range_nm=depths(plain), **search(plain), **threshold)


def search(plain: dict[str, Any]) -> dict[str, Any]:
    """How the classical localizer looks for spots: `detector` and `window_px`."""
    return {"detector": plain["detector"], "window_px": _command.whole("window_px", plain["window_px"], least=5)}


def depths(plain: dict[str, Any]) -> tuple[float, float]:
    """`z_nm`: two increasing numbers."""
    given = plain["z_nm"]
    numbers = isinstance(given, list) and len(given) == 2 and all(isinstance(z, (int, float)) for z in given)
    if not numbers or not given[0] < given[1]:
        raise InputError(f"z_nm: expected two increasing numbers such as [-600,600], found {given!r}.")
    return float(given[0]), float(given[1])


def pixel_nm(plain: dict[str, Any], model: Any) -> float:
    """Camera pixel; a spot with another one than the model's is refused."""
    given = _command.positive("data.pixel_nm", plain["data"]["pixel_nm"])
    if model is None:
        return given
    from bioflax.predict.movie import scales_of

    own = float(scales_of(model).pixel_nm)
    if plain.get("psf") is not None and abs(own - given) > 1e-6 * own:
        raise InputError(f"data.pixel_nm: expected the {own:g} nm of the model, found {given:g}. Give it for the spot.")
    return own
