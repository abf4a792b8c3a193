"""Baselines: what a user would pick instead, tuned without clean data."""

from bioflax.baselines.anscombe import Anscombe, anscombe
from bioflax.baselines.blobs import BLOB_FILTERS, best_threshold, find_blobs
from bioflax.baselines.calibrate import Calibrated, calibrate
from bioflax.baselines.filters import FILTERS, gaussian, median, nlm, tv, wavelet
from bioflax.baselines.nuclei import segment_nuclei

__all__ = [
    "BLOB_FILTERS",
    "FILTERS",
    "Anscombe",
    "Calibrated",
    "anscombe",
    "best_threshold",
    "calibrate",
    "find_blobs",
    "gaussian",
    "median",
    "nlm",
    "segment_nuclei",
    "tv",
    "wavelet",
]
