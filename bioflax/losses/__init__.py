"""Losses: elementwise, never reduced, mask last."""

from bioflax.losses.regression import absolute_error, gaussian_nll, laplace_nll, squared_error

__all__ = ["absolute_error", "gaussian_nll", "laplace_nll", "squared_error"]
