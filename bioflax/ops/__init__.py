"""Array functions without parameters."""

from bioflax.ops.colouring import COLOUR_MAPS, colour_by_z, colour_map, scale_bar, tone
from bioflax.ops.conv import convolve, convolve_dilated, convolve_joined
from bioflax.ops.drift import Drift, correct, estimate_drift
from bioflax.ops.memory import keep_freed_memory
from bioflax.ops.peaks import drop_duplicates, find_emitters
from bioflax.ops.polygons import (
    intersection_areas,
    polygon_areas,
    polygon_vertices,
    polygons_to_labels,
    ray_directions,
    render_polygons,
)
from bioflax.ops.rendering import render_ash, render_gaussian, render_histogram
from bioflax.ops.resample import (
    average_pool,
    depth_to_space,
    max_blur_pool,
    max_pool,
    space_to_depth,
    upsample_in_plane,
    upsample_linear,
    upsample_nearest,
)
from bioflax.ops.suppression import (
    close_pairs,
    keep_greedily,
    non_maximum_suppression,
    suppress_points,
    suppress_polygons,
    thin_points,
)

__all__ = [
    "COLOUR_MAPS",
    "Drift",
    "average_pool",
    "close_pairs",
    "colour_by_z",
    "colour_map",
    "convolve",
    "convolve_dilated",
    "convolve_joined",
    "correct",
    "depth_to_space",
    "drop_duplicates",
    "estimate_drift",
    "find_emitters",
    "intersection_areas",
    "keep_freed_memory",
    "keep_greedily",
    "max_blur_pool",
    "max_pool",
    "non_maximum_suppression",
    "polygon_areas",
    "polygon_vertices",
    "polygons_to_labels",
    "ray_directions",
    "render_ash",
    "render_gaussian",
    "render_histogram",
    "render_polygons",
    "scale_bar",
    "space_to_depth",
    "suppress_points",
    "suppress_polygons",
    "thin_points",
    "tone",
    "upsample_in_plane",
    "upsample_linear",
    "upsample_nearest",
]
