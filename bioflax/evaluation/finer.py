"""What is judged of super-resolution: camera images against images on a finer grid, registered, by every method alike."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines import FILTERS
from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.baselines.super_resolve import SUPER_RESOLVERS, default_parameters
from bioflax.errors import InputError
from bioflax.evaluation.methods import EvaluationItem
from bioflax.evaluation.scoring import Scoring
from bioflax.optics import passband
from bioflax.predict.physics import Physics

INTERPOLATIONS = {"bicubic": bicubic, "lanczos": lanczos}
SIM = "sim_wiener"
LEAST_CORRELATION = 0.3  # of a pair, once registered
LARGEST_SHIFT_PX = 3.0  # camera pixels
LEAST_DECORRELATION_PX = 32  # fine pixels a side: less has too few rings


@dataclass(frozen=True)
class FinerMethods:
    """Everything that makes a camera image finer, in the order of the table; the input of the table is the bicubic one.

    Args:
        predict: (H, W, frames) -> {"image": (sH, sW), optional "scale"}.
        upscale: s.
        baselines: keys of `SUPER_RESOLVERS`, with their default parameters: there is no truth to tune on.
        scoring: the protocol.
        physics: of the images; without it only interpolations stand beside the model, and no band is told apart.
        register: move each target onto its image first, by the shift between it and the bicubic input, and keep the shift.
        sim: (H, W, frames) -> (sH, sW), the classical reconstruction of structured illumination; a baseline `sim_wiener` needs
            it; an image in which it finds no stripes is left out of its row.
    """

    predict: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    upscale: int
    baselines: tuple[str, ...]
    scoring: Scoring
    physics: Physics | None = None
    register: bool = True
    sim: Callable[[np.ndarray], np.ndarray] | None = None
    bounds: tuple[str, ...] = ()
    shifts: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    def load(self, item: EvaluationItem) -> tuple[np.ndarray, np.ndarray]:
        """An image (H, W, frames) and its target (sH, sW), registered.

        Raises:
            InputError: sizes that do not fit the model, or a pair that does not register.
        """
        noisy, target = (np.asarray(image(), np.float32) for image in (item.noisy, item.target))
        expected = tuple(side * self.upscale for side in noisy.shape[:2])
        if target.shape != expected:
            ratio = "x".join(f"{b / a:.3g}" for a, b in zip(noisy.shape, target.shape))
            raise InputError(
                f"target: {item.name} is {target.shape}, {ratio} times its input {noisy.shape[:2]}; the model makes "
                f"{expected} (upscale {self.upscale}). Crop them to fit, or take a model of that scale."
            )
        return noisy, self._registered(item.name, noisy, target) if self.register else target

    def _registered(self, name: str, noisy: np.ndarray, target: np.ndarray) -> np.ndarray:
        try:
            shift = metrics.register_finer(target, noisy.mean(-1), self.upscale, max_shift_px=LARGEST_SHIFT_PX)
        except InputError as cause:  # too small or even: the reason needs the name of the pair
            raise InputError(
                f"target: {name} cannot be registered with its input; judge it as it lies with register=false. {cause}"
            ) from cause
        if shift.correlation < LEAST_CORRELATION:
            raise InputError(
                f"target: {name} does not register with its input (correlation {shift.correlation:.2f}, at least "
                f"{LEAST_CORRELATION}). Pair the right files, or judge as they lie with register=false."
            )
        self.shifts[name] = (shift.dy_px, shift.dx_px, shift.correlation)
        return np.asarray(metrics.shift_image(target, shift.dy_px, shift.dx_px), np.float32)

    def run(
        self, noisy: np.ndarray, target: np.ndarray, only: Sequence[str] | None = None
    ) -> Iterator[tuple[str, str, np.ndarray, np.ndarray | None, float]]:
        """Yields (method, kind, image, scale or None, seconds) for each method, or for those named."""
        del target
        chosen = (lambda name: True) if only is None else (lambda name: name in only)
        wide = noisy.mean(-1)
        if chosen("input"):
            yield "input", "input", bicubic(wide, self.upscale), None, 0.0
        for name in filter(chosen, self.baselines):
            start = time.perf_counter()
            try:
                image = self.sim(noisy) if name == SIM else self._classical(name, wide)
            except InputError as cause:
                if name != SIM:
                    raise
                # Stripes that are not found in one image are no reason to judge no method on any.
                warnings.warn(f"{SIM} is left out for an image: {cause}", stacklevel=2)
                continue
            yield name, "baseline", image, None, time.perf_counter() - start
        if chosen("model"):
            start = time.perf_counter()
            output = self.predict(noisy)
            image, scale = np.asarray(output["image"]), output.get("scale")
            yield "model", "model", image, None if scale is None else np.asarray(scale), time.perf_counter() - start

    def _classical(self, name: str, wide: np.ndarray) -> np.ndarray:
        if name in INTERPOLATIONS:
            return INTERPOLATIONS[name](wide, self.upscale)
        parameters = {"offset": camera_offset(self.physics, wide), **default_parameters(name)}
        return SUPER_RESOLVERS[name](wide, self.physics.imaging, **parameters)

    def extra(self, noisy: np.ndarray, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """`ms_ssim`, `decorrelation_px`, `rse`, `rsp`; with known optics also `in_band_psnr_db` and `null_space_energy`.

        NaN where an image or its target is too even or too small for a number.
        """
        matched = np.asarray(metrics.affine_match(image, target), np.float64)
        low, high = np.percentile(target, (0.1, 99.9))
        squirrel = metrics.error_map(image, noisy.mean(-1), self.upscale)
        detailed = np.ptp(image) > 0 and min(image.shape) >= LEAST_DECORRELATION_PX
        found = {
            "ms_ssim": metrics.ms_ssim(matched, target, high - low) if high > low else np.nan,
            "decorrelation_px": metrics.decorrelation_resolution_px(image) if detailed else np.nan,
            "rse": squirrel.rse,
            "rsp": squirrel.rsp,
        }
        if self.physics is not None:
            band = (self.physics.reach_per_px, self.physics.band_upscale)
            seen = high > low
            found["in_band_psnr_db"] = passband.in_band_psnr_db(matched, target, *band, high - low) if seen else np.nan
            found["null_space_energy"] = passband.null_space_energy(image, *band)
        return {name: float(value) for name, value in found.items()}


def camera_offset(physics: Physics, image: np.ndarray) -> float:
    """Counts without light: of the camera, or, where none is known, the darkest pixels."""
    camera = physics.camera
    return float(np.mean(camera.offset_adu)) if camera is not None else float(np.percentile(image, 0.1))


def fitting_baselines(physics: Physics | None, asked: Sequence[str]) -> tuple[str, ...]:
    """The super-resolvers that can be run: all with known optics, interpolations without.

    Args:
        physics: of the images, or None.
        asked: names from the configuration; those that are filters for denoising stand for all there are.

    Raises:
        InputError: a name that neither list has, or a method that needs the optics.
    """
    unknown = [name for name in asked if name not in SUPER_RESOLVERS and name not in FILTERS]
    if unknown:
        raise InputError(f"baselines: expected names of {', '.join(SUPER_RESOLVERS)}, found {', '.join(unknown)}.")
    able = tuple(SUPER_RESOLVERS) if physics is not None else tuple(INTERPOLATIONS)
    named = [name for name in asked if name in SUPER_RESOLVERS]
    unable = [name for name in named if name not in able]
    if unable:
        raise InputError(
            f"baselines: {', '.join(unable)} need the optics. Give optics.na=... optics.wavelength_nm=... optics.pixel_nm=..., or "
            f"take {', '.join(INTERPOLATIONS)}."
        )
    return tuple(named) or tuple(name for name in able if name != "bicubic")  # that is the input of the table


def plain_shifts(shifts: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Shifts of the targets for result.json: fine pixels along y and x, and the correlation then."""
    return {name: [round(float(value), 3) for value in shift] for name, shift in shifts.items()}
