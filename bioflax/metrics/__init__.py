"""Metrics: fidelity, resolution, calibration, intervals, and states that merge across batches and devices."""

from bioflax.metrics.calibration import Reliability, coverage, crps, ence, reliability, within
from bioflax.metrics.emitter_curves import EmitterCurve, binned_score, tolerance_curve
from bioflax.metrics.emitter_errors import errors_over_crlb, false_positives_per_um2, grid_bias, sigma_calibration
from bioflax.metrics.emitters import (
    Comparison,
    compare_localizations,
    detection,
    efficiency,
    score_localizations,
    summarize,
)
from bioflax.metrics.image import affine_match, microssim, nrmse, psnr, si_psnr, ssim
from bioflax.metrics.intervals import bootstrap, paired_bootstrap
from bioflax.metrics.matching import MATCHING_RULES, Matches, match_emitters
from bioflax.metrics.objects import (
    IOUS,
    LabelMatches,
    LabelRates,
    LabelScores,
    label_overlaps,
    match_labels,
    score_labels,
)
from bioflax.metrics.points import (
    POINT_RULES,
    PointMatches,
    PointRates,
    PointScores,
    ThresholdCurve,
    both_found,
    f1_integral,
    match_points,
    score_points,
    sweep_threshold,
)
from bioflax.metrics.resolution import RingCorrelation, frc, frc_resolution_px, radial_power, spectral_psnr
from bioflax.metrics.running import Mean, State, compute, merge

__all__ = [
    "IOUS",
    "MATCHING_RULES",
    "POINT_RULES",
    "Comparison",
    "EmitterCurve",
    "LabelMatches",
    "LabelRates",
    "LabelScores",
    "Matches",
    "Mean",
    "PointMatches",
    "PointRates",
    "PointScores",
    "Reliability",
    "RingCorrelation",
    "State",
    "ThresholdCurve",
    "affine_match",
    "binned_score",
    "bootstrap",
    "both_found",
    "compare_localizations",
    "compute",
    "coverage",
    "crps",
    "detection",
    "efficiency",
    "ence",
    "errors_over_crlb",
    "f1_integral",
    "false_positives_per_um2",
    "frc",
    "frc_resolution_px",
    "grid_bias",
    "label_overlaps",
    "match_emitters",
    "match_labels",
    "match_points",
    "merge",
    "microssim",
    "nrmse",
    "paired_bootstrap",
    "psnr",
    "radial_power",
    "reliability",
    "score_labels",
    "score_localizations",
    "score_points",
    "si_psnr",
    "sigma_calibration",
    "spectral_psnr",
    "ssim",
    "summarize",
    "sweep_threshold",
    "tolerance_curve",
    "within",
]
