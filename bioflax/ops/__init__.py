"""Array functions without parameters."""

from bioflax.ops.colouring import COLOUR_MAPS, colour_by_z, colour_map, scale_bar, tone
from bioflax.ops.conv import convolve, convolve_dilated, convolve_joined
from bioflax.ops.drift import Drift, correct, estimate_drift
from bioflax.ops.memory import keep_freed_memory
from bioflax.ops.peaks import drop_duplicates, find_emitters
from bioflax.ops.rendering import render_ash, render_gaussian, render_histogram
from bioflax.ops.resample import (
    average_pool,
    max_blur_pool,
    max_pool,
    space_to_depth,
    upsample_linear,
    upsample_nearest,
)

__all__ = [
    "COLOUR_MAPS",
    "Drift",
    "average_pool",
    "colour_by_z",
    "colour_map",
    "convolve",
    "convolve_dilated",
    "convolve_joined",
    "correct",
    "drop_duplicates",
    "estimate_drift",
    "find_emitters",
    "keep_freed_memory",
    "max_blur_pool",
    "max_pool",
    "render_ash",
    "render_gaussian",
    "render_histogram",
    "scale_bar",
    "space_to_depth",
    "tone",
    "upsample_linear",
    "upsample_nearest",
]
