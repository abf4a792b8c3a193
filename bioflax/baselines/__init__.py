"""Baselines: what a user would pick instead, tuned without clean data."""

from bioflax.baselines.anscombe import Anscombe, anscombe
from bioflax.baselines.calibrate import Calibrated, calibrate
from bioflax.baselines.filters import FILTERS, gaussian, median, nlm, tv, wavelet

__all__ = ["FILTERS", "Anscombe", "Calibrated", "anscombe", "calibrate", "gaussian", "median", "nlm", "tv", "wavelet"]
