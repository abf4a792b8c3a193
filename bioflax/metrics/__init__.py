"""Metrics: fidelity, resolution, calibration, intervals, and states that merge across batches and devices."""

from bioflax.metrics.calibration import Reliability, coverage, crps, ence, reliability, within
from bioflax.metrics.decorrelation import decorrelation_resolution_px
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
from bioflax.metrics.multiscale import ms_ssim
from bioflax.metrics.objects import (
    IOUS,
    LabelMatches,
    LabelRates,
    LabelScores,
    label_overlaps,
    match_labels,
    score_labels,
)
from bioflax.metrics.pairs import ResolvedFraction, is_resolved, profile_across, resolved_fraction, wilson_interval
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
from bioflax.metrics.registration import Shift, register, register_finer, shift_image
from bioflax.metrics.resolution import RingCorrelation, frc, frc_resolution_px, radial_power, spectral_psnr
from bioflax.metrics.running import Mean, State, compute, merge
from bioflax.metrics.squirrel import ErrorMap, error_map
from bioflax.metrics.structures import FalseStructures, false_structures

__all__ = [
    "IOUS",
    "MATCHING_RULES",
    "POINT_RULES",
    "Comparison",
    "EmitterCurve",
    "ErrorMap",
    "FalseStructures",
    "LabelMatches",
    "LabelRates",
    "LabelScores",
    "Matches",
    "Mean",
    "PointMatches",
    "PointRates",
    "PointScores",
    "Reliability",
    "ResolvedFraction",
    "RingCorrelation",
    "Shift",
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
    "decorrelation_resolution_px",
    "detection",
    "efficiency",
    "ence",
    "error_map",
    "errors_over_crlb",
    "f1_integral",
    "false_positives_per_um2",
    "false_structures",
    "frc",
    "frc_resolution_px",
    "grid_bias",
    "is_resolved",
    "label_overlaps",
    "match_emitters",
    "match_labels",
    "match_points",
    "merge",
    "microssim",
    "ms_ssim",
    "nrmse",
    "paired_bootstrap",
    "profile_across",
    "psnr",
    "radial_power",
    "register",
    "register_finer",
    "reliability",
    "resolved_fraction",
    "score_labels",
    "score_localizations",
    "score_points",
    "shift_image",
    "si_psnr",
    "sigma_calibration",
    "spectral_psnr",
    "ssim",
    "summarize",
    "sweep_threshold",
    "tolerance_curve",
    "wilson_interval",
    "within",
]
