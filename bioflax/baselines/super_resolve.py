"""The classical super-resolvers in one call shape, and the best parameters that each could have had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from bioflax.baselines.deconvolve import border_px, richardson_lucy, richardson_lucy_snapshots, wiener
from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.errors import InputError
from bioflax.metrics import psnr
from bioflax.optics.imaging import Imaging
from bioflax.optics.psf.widefield import blur, widefield_otf

SuperResolver = Callable[..., np.ndarray]
Family = Iterator[tuple[dict[str, float], list[np.ndarray]]]

SUPER_RESOLVERS: dict[str, SuperResolver] = {
    "bicubic": lambda image, imaging, **_: bicubic(image, imaging.upscale),
    "lanczos": lambda image, imaging, **_: lanczos(image, imaging.upscale),
    "wiener": wiener,
    "richardson_lucy": richardson_lucy,
    "richardson_lucy_tv": richardson_lucy,
}
_DEFAULTS: dict[str, dict[str, float]] = {
    "bicubic": {},
    "lanczos": {},
    "wiener": {"balance": 1.0, "slope": 2.0},
    "richardson_lucy": {"iterations": 30},
    "richardson_lucy_tv": {"iterations": 50, "tv": 0.01},
}
BALANCES = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 9))
SLOPES = (1.0, 2.0, 3.0)
WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
ITERATIONS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 320)
PATIENCE = 3  # parameters in a row that are no better before the rest is left out


def default_parameters(name: str) -> dict[str, float]:
    """What to use where there is no truth to tune with, such as 30 iterations; raises an InputError for an unknown name."""
    _known(name)
    return dict(_DEFAULTS[name])


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A super-resolver with its parameters chosen.

    Attributes:
        name: a key of `SUPER_RESOLVERS`.
        parameters: as that function takes them.
        psnr_db: mean score of the images that it was tuned on; NaN where it was not tuned.
        imaging: optics, camera pixel and upscale.
        through: sharpness of the transfer function that the estimate is blurred by in the end, None for not at all.
    """

    name: str
    parameters: dict[str, float]
    psnr_db: float
    imaging: Imaging
    through: float | None = None

    def apply(self, image: Any) -> np.ndarray:
        """(H, W) camera pixels to (s H, s W) float32, same unit."""
        return through_otf(
            SUPER_RESOLVERS[self.name](image, self.imaging, **self.parameters), self.imaging, self.through
        )


def through_otf(estimate: np.ndarray, imaging: Imaging, sharpness: float | None) -> np.ndarray:
    """An estimate of the object as a microscope with `sharpness` times the cut-off would show it; None changes nothing.

    Args:
        estimate: (s H, s W) on the fine grid.
        imaging: the optics whose cut-off is meant.
        sharpness: cut-off of the wide-field transfer function over that of the optics; 2 stands for linear SIM.

    Returns:
        (s H, s W) float32, same unit.
    """
    if sharpness is None:
        return estimate
    optics, mirror_px = imaging.fine_optics, border_px(imaging)
    shape = tuple(size + 2 * mirror_px for size in estimate.shape)
    lens = {"na": optics.na, "wavelength_nm": optics.wavelength_nm / sharpness, "pixel_nm": optics.pixel_nm}
    level = estimate.mean()
    return np.asarray(blur(jnp.asarray(estimate - level), widefield_otf(shape, **lens))) + level


def tune(
    name: str,
    images: Sequence[Any],
    targets: Sequence[Any],
    imaging: Imaging,
    *,
    offset: float = 0.0,
    background: float = 0.0,
    sharpness: float | None = None,
    score: Callable[[np.ndarray, np.ndarray], Any] = psnr,
) -> Tuned:
    """Chooses the parameters of a super-resolver that come closest to the truth: an oracle.

    No user can do this, for the truth is what is sought: a network that beats it beats the method, and not merely
    parameters that were badly chosen. Tune on few images of the kind, and apply to others.

    Args:
        name: a key of `SUPER_RESOLVERS`.
        images: (H, W) camera pixels each, any unit.
        targets: (s H, s W) each, the unit of the images.
        imaging: optics, camera pixel and upscale s.
        offset: of the camera, same unit.
        background: even light above the offset that is no part of the object, same unit.
        sharpness: cut-off of the target's transfer function over that of the optics. Each estimate is then tried with
            and without that blur, and the better is taken. None where the target is the object itself.
        score: (estimate, target) -> dB, higher is better.

    Returns:
        The tuned super-resolver.

    Raises:
        InputError: an unknown name, no images, or images and targets that do not fit.
    """
    _known(name)
    targets = [np.asarray(target) for target in targets]
    if not images or len(images) != len(targets):
        raise InputError(f"targets: expected one for each image, found {len(images)} images and {len(targets)} targets")
    for image, target in zip(images, targets):
        size = tuple(side * imaging.upscale for side in np.shape(image))
        if target.shape != size:
            raise InputError(
                f"targets: expected {size}, the image times upscale {imaging.upscale}, found {target.shape}; crop them"
            )
    best = Tuned(name, {}, -np.inf, imaging)
    for family in _families(name, images, imaging, {"offset": offset, "background": background}):
        top, worse = -np.inf, 0
        for parameters, estimates in family:
            for through in dict.fromkeys((None, sharpness)):
                seen = [through_otf(estimate, imaging, through) for estimate in estimates]
                found = float(np.mean([score(one, target) for one, target in zip(seen, targets)]))
                top, worse = (found, -1) if found > top else (top, worse)
                if found > best.psnr_db:
                    best = Tuned(name, parameters, found, imaging, through)
            worse += 1
            if worse == PATIENCE:
                break
    return best


def _families(name: str, images: Sequence[Any], imaging: Imaging, camera: dict[str, float]) -> Iterator[Family]:
    """Rows of parameters in which the score rises and then falls, each set with its estimates of all images."""
    if name in ("bicubic", "lanczos"):
        yield iter([({}, [SUPER_RESOLVERS[name](image, imaging) for image in images])])
    elif name == "wiener":
        for slope in SLOPES:
            yield _wiener_family(images, imaging, slope)
    else:
        for tv in (0.0,) if name == "richardson_lucy" else WEIGHTS:
            yield _richardson_lucy_family(images, imaging, {**camera, "tv": tv})


def _wiener_family(images: Sequence[Any], imaging: Imaging, slope: float) -> Family:
    for balance in BALANCES:
        parameters = {"balance": balance, "slope": slope}
        yield parameters, [wiener(image, imaging, **parameters) for image in images]


def _richardson_lucy_family(images: Sequence[Any], imaging: Imaging, options: dict[str, float]) -> Family:
    runs = [richardson_lucy_snapshots(image, imaging, at=ITERATIONS, **options) for image in images]
    for iterations, estimates in zip(ITERATIONS, zip(*runs)):
        yield {**options, "iterations": iterations}, list(estimates)


def _known(name: str) -> None:
    if name not in SUPER_RESOLVERS:
        raise InputError(f"super-resolver: expected one of {', '.join(SUPER_RESOLVERS)}, found {name!r}")
