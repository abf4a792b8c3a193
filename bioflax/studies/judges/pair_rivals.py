"""Classical rivals of super-resolution under one test condition, the least error of linear methods, and the true physics."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from bioflax.baselines.super_resolve import SUPER_RESOLVERS, Tuned, tune
from bioflax.data.pairs import simulator_physics
from bioflax.errors import InputError
from bioflax.hub.held_out_pairs import mean_spectrum
from bioflax.optics.resolution_bounds import super_resolution_mse
from bioflax.predict.physics import Physics, physics_of
from bioflax.studies.judges.pair_tallies import Row, has_structure, light_of_one

BELIEVED = "_believed"  # of a rival that takes the optics to be those of the reference condition
LINEAR = "best_linear"
KNOWN = (*SUPER_RESOLVERS, *(name + BELIEVED for name in SUPER_RESOLVERS), LINEAR)
TOLD = ("psnr_db", "in_band_psnr_db")  # what the least error says


def true_physics(simulator: Any) -> Physics:
    """What really happens to the pictures of a simulator of pairs.

    Args:
        simulator: a `simulate.Magnified` or `simulate.BlurredProcess`.

    Returns:
        The physics, its factor on the blur in the wavelength; of a span of factors the middle.
    """
    plain = simulator_physics(simulator)
    blur = float(np.mean(plain["blur_scale"] or 1.0))
    plain["blur_scale"] = None
    plain["wavelength_nm"] *= blur
    if plain["sharpness"]:  # the wavelength of the target stays: that of the optics over the sharpness
        plain["sharpness"] *= blur
    return physics_of(SimpleNamespace(card=SimpleNamespace(physics=plain), upscale=plain["upscale"]))


def tuned(name: str, raw: np.ndarray, targets: np.ndarray, physics: Physics) -> Tuned:
    """A classical method with the parameters that come closest to the truth on some pictures: a strong rival.

    Args:
        name: of `SUPER_RESOLVERS`.
        raw: (N, H, W) wide-field pictures of the condition; not those that are judged.
        targets: (N, sH, sW) in the unit of the pictures.
        physics: what the method is told of them.
    """
    offset = float(np.mean(physics.camera.offset_adu)) if physics.camera is not None else float(raw.min())
    dark = max(float(np.percentile(raw, 1)) - offset, 0.0)
    told = {"imaging": physics.imaging, "offset": offset, "sharpness": physics.sharpness}
    levels = (0.0, dark) if name.startswith("richardson_lucy") else (0.0,)
    return max(
        (tune(name, list(raw), list(targets), **told, background=level) for level in levels),
        key=lambda one: one.psnr_db,
    )


def least_linear_error(raw: np.ndarray, targets: np.ndarray, simulator: Any, physics: Physics) -> list[Row]:
    """The least error of linear methods as PSNR of each picture; of a Gaussian process no method has a smaller one.

    Of other scenes it is that of methods that know the mean spectrum of these very targets and the noise of each picture.

    Args:
        raw: (N, H, W), even light.
        targets: (N, sH, sW).
        simulator: that made them; its `spectrum` is taken where it has one.
        physics: `true_physics` of it.

    Returns:
        `psnr_db` and `in_band_psnr_db` of each, with the range of each target; None where there is nothing.

    Raises:
        InputError: raw frames under stripes, which fold the spectrum in other ways.
    """
    if physics.frames != 1:
        raise InputError(
            f"study.baselines: {LINEAR} is known for even light, found {physics.frames} frames. Leave it out."
        )
    exact = getattr(simulator, "spectrum", None)
    light = light_of_one(simulator)
    full = [has_structure(target, light) for target in targets]
    nothing: Row = dict.fromkeys(TOLD)
    if not any(full):
        return [nothing] * len(targets)
    form = mean_spectrum(targets[full]) if exact is None else exact
    otf = physics.from_target(form.shape)
    rows = []
    for picture, target, there in zip(raw, targets.astype(np.float64), full):
        if not there:
            rows.append(nothing)
            continue
        if exact is None:
            noise, power = float(np.mean(physics.variance(picture, picture)[0])), target.var()
        else:
            noise, power = simulator.noise_std**2, 1.0
        least = super_resolution_mse(form * power, otf, noise, physics.upscale)
        peak_db = 20 * math.log10(np.ptp(target))
        mses = (least.mse, least.in_band_mse)
        rows.append({name: peak_db - 10 * math.log10(max(mse, 1e-30)) for name, mse in zip(TOLD, mses)})
    return rows
