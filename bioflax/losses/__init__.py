"""Losses: never reduced over the batch. Those of pixels are elementwise, mask last; those of emitters are per example."""

from bioflax.losses.detection import cross_entropy, penalty_reduced_focal, ray_error
from bioflax.losses.emitters import emitter_nll, liteloc_nll
from bioflax.losses.regression import absolute_error, charbonnier, gaussian_nll, laplace_nll, squared_error
from bioflax.losses.structure import fourier_error, structural_dissimilarity
from bioflax.losses.volumes import volume_mse_dice

__all__ = [
    "absolute_error",
    "charbonnier",
    "cross_entropy",
    "emitter_nll",
    "fourier_error",
    "gaussian_nll",
    "laplace_nll",
    "liteloc_nll",
    "penalty_reduced_focal",
    "ray_error",
    "squared_error",
    "structural_dissimilarity",
    "volume_mse_dice",
]
