"""Baselines: what a user would pick instead, tuned without clean data, and oracles that saw it, which say so."""

from bioflax.baselines.anscombe import Anscombe, anscombe
from bioflax.baselines.blobs import BLOB_FILTERS, best_threshold, find_blobs
from bioflax.baselines.calibrate import Calibrated, calibrate
from bioflax.baselines.deconvolve import richardson_lucy, richardson_lucy_snapshots, wiener
from bioflax.baselines.filters import FILTERS, gaussian, median, nlm, tv, wavelet
from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.baselines.nuclei import segment_nuclei
from bioflax.baselines.sim import reconstruct, widefield
from bioflax.baselines.sim_parameters import estimate_illumination
from bioflax.baselines.super_resolve import SUPER_RESOLVERS, Tuned, default_parameters, through_otf, tune

__all__ = [
    "BLOB_FILTERS",
    "FILTERS",
    "SUPER_RESOLVERS",
    "Anscombe",
    "Calibrated",
    "Tuned",
    "anscombe",
    "best_threshold",
    "bicubic",
    "calibrate",
    "default_parameters",
    "estimate_illumination",
    "find_blobs",
    "gaussian",
    "lanczos",
    "median",
    "nlm",
    "reconstruct",
    "richardson_lucy",
    "richardson_lucy_snapshots",
    "segment_nuclei",
    "through_otf",
    "tune",
    "tv",
    "wavelet",
    "widefield",
    "wiener",
]
