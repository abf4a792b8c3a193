"""Pre-flight: the noise and the defects of a set of images, and the training scheme that fits them."""

from bioflax.preflight.inspection import inspect, write

__all__ = ["inspect", "write"]
