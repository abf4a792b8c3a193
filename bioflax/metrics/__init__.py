"""Metrics: fidelity, resolution, calibration, intervals, and states that merge across batches and devices."""

from bioflax.metrics.calibration import Reliability, coverage, crps, ence, reliability, within
from bioflax.metrics.image import affine_match, microssim, nrmse, psnr, si_psnr, ssim
from bioflax.metrics.intervals import bootstrap, paired_bootstrap
from bioflax.metrics.resolution import RingCorrelation, frc, frc_resolution_px, radial_power, spectral_psnr
from bioflax.metrics.running import Mean, State, compute, merge

__all__ = [
    "Mean",
    "Reliability",
    "RingCorrelation",
    "State",
    "affine_match",
    "bootstrap",
    "compute",
    "coverage",
    "crps",
    "ence",
    "frc",
    "frc_resolution_px",
    "merge",
    "microssim",
    "nrmse",
    "paired_bootstrap",
    "psnr",
    "radial_power",
    "reliability",
    "si_psnr",
    "spectral_psnr",
    "ssim",
    "within",
]
