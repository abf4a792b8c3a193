"""How an image is judged against its target: the protocol, stated in words and applied to every method alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bioflax import metrics
from bioflax.errors import InputError

METRICS = ("psnr_db", "si_psnr_db", "ssim", "nrmse", "frc_resolution_px", "coverage_95", "ence")
FINER = ("ms_ssim", "decorrelation_px", "rse", "rsp", "in_band_psnr_db", "null_space_energy")  # of super-resolution
SMALLEST = 16  # pixels a side: less has no window of SSIM and no ring of FRC


@dataclass(frozen=True)
class Scoring:
    """How an image is judged against its target.

    Args:
        data_range: peak of PSNR and SSIM; None takes max - min of the target, or 0.1 to 99.9 percentile with `affine`.
        clip: range that every image is clipped to first.
        affine: match a * image + b to the target by least squares first, for pairs of different exposure or stretch.
    """

    data_range: float | None
    clip: tuple[float, float] | None
    affine: bool

    @property
    def caption(self) -> str:
        """The protocol in words, for the caption of every table."""
        given = f"{self.data_range:g}" if self.data_range is not None else "max - min of the target"
        peak = "0.1 to 99.9 percentile of the target" if self.affine and self.data_range is None else given
        clipped = f"clipped to [{self.clip[0]:g}, {self.clip[1]:g}]" if self.clip else "not clipped"
        matched = ", after a least-squares match a x + b" if self.affine else ""
        return f"PSNR and SSIM range: {peak}; images {clipped}{matched}. Means are over images (mean of dB)."

    def score(self, image: np.ndarray, target: np.ndarray, scale: np.ndarray | None, family: str) -> dict[str, float]:
        """All metrics of one image; `coverage_95` and `ence` where there is a scale in the target's unit.

        Metrics that need a range are NaN for a constant target.
        """
        image, target = np.asarray(image, np.float64), np.asarray(target, np.float64)
        raw = image
        if self.affine:
            image = metrics.affine_match(image, target)
        if self.clip:
            image = np.clip(image, *self.clip)
        peak = self.data_range
        if peak is None:
            low, high = np.percentile(target, (0.1, 99.9)) if self.affine else (target.min(), target.max())
            peak = float(high - low)
        if np.ptp(target) > 0:
            found = {
                "psnr_db": metrics.psnr(image, target, peak),
                "si_psnr_db": metrics.si_psnr(image, target),
                "ssim": thin(lambda a, b: metrics.ssim(a, b, peak), image, target),
                "nrmse": metrics.nrmse(image, target),
                "frc_resolution_px": thin(metrics.frc_resolution_px, image, target),
            }
        else:
            # A constant target has no range, structure or detail; on a given range its error still counts.
            found = dict.fromkeys(METRICS[:5], np.nan)
            if peak > 0 and not self.affine:
                found["psnr_db"] = metrics.psnr(image, target, peak)
        if scale is not None and not self.affine:
            found["coverage_95"] = metrics.coverage(target, raw, scale, 0.95, family)
            found["ence"] = metrics.ence(target, raw, scale, family)
        return {name: float(value) for name, value in found.items()}


def thin(metric: Callable[[np.ndarray, np.ndarray], float], image: np.ndarray, target: np.ndarray) -> float:
    """A metric with a window or a spectrum: of the volume, or the mean over planes of a stack too thin for it."""
    if image.ndim == 3 and image.shape[0] < SMALLEST:
        return float(np.mean([metric(*planes) for planes in zip(image, target) if np.ptp(planes[1]) > 0] or [np.nan]))
    return float(metric(image, target))


def choose_scoring(
    dtype: np.dtype, data_range: float | None, clip: tuple[float, float] | None, affine: bool
) -> Scoring:
    """The default protocol: 8-bit targets on the range 255 and clipped, others on max - min (or percentiles if affine).

    Raises:
        InputError: a range that is not positive, or a clip that is no interval.
    """
    if data_range is not None and not data_range > 0:
        raise InputError(f"data_range: expected a positive number or null, found {data_range}.")
    if clip is not None and (len(clip) != 2 or not clip[0] < clip[1]):
        raise InputError(f"clip: expected two numbers, low below high, or null, found {tuple(clip)}.")
    if data_range is None and dtype == np.uint8 and not affine:
        data_range = 255.0
    if clip is None and data_range == 255 and not affine:
        clip = (0.0, 255.0)
    return Scoring(data_range, None if clip is None else (float(clip[0]), float(clip[1])), affine)
