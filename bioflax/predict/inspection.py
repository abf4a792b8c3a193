"""What a page shows of a localization table: pictures, densities, histograms and a few frames, as small arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioflax.io import ImageFile, Localizations
from bioflax.metrics import grid_bias
from bioflax.ops.colouring import colour_by_z, tone
from bioflax.ops.rendering import render_gaussian, render_histogram
from bioflax.predict.movie import movie_shape, read_frames

PAGE_ARRAYS = "_report.npz"  # after the stem of a table: what its page is made of
PICTURE_PX = 640  # widest picture
LEAST_RENDER_NM = 5.0
WIDEST_SIGMA_NM = 250.0  # a fit that knows its place no better draws no wider
DENSITY_CELLS = (6, 48)  # fewest and most along the longer side
PER_CELL = 6  # localizations that a cell holds on average, where there are so many
TONE = {"percentile": 99.0, "gamma": 0.45}  # single spots must be seen beside crowds
SHOWN_FRAMES = 3
CROP_PX = 64  # of a shown frame: emitters must be told apart
TIME_POINTS = 600
BINS = 50
OFFSET_BINS = 20
HISTOGRAMS = ("photons", "background_photons", "z_nm", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm", "probability")
LOGARITHMIC = ("photons", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm")
FOUND, FALSE, MISSED, TRUE, PLAIN = range(5)  # states of a drawn point; TRUE: the true place of one that was found

Arrays = dict[str, np.ndarray]


def inspect_table(
    table: Localizations,
    *,
    size_nm: tuple[float, float],
    frames: int,
    pixel_nm: float | None,
    z_range_nm: tuple[float, float] | None = None,
    cells: int | None = None,
) -> Arrays:
    """Arrays of a table without its movie.

    Args:
        table: the localizations.
        size_nm: (height, width) of the field, nm.
        frames: length of the movie.
        pixel_nm: camera pixel; None leaves out the offsets in it.
        z_range_nm: depths of the first and last colour; None takes the 1 and 99 % quantiles.
        cells: of the density along the longer side; None takes some with enough localizations in each.

    Returns:
        `render` uint8 (H, W[, 3]) with `render_nm` and, in 3-D, `z_range_nm`; `density` (h, w), 1 / µm² and frame, with
        `density_nm`; `per_frame` with `frame_number`; `count_NAME` and `edges_NAME` for each known column;
        `offset_x`, `offset_y` counts in equal parts of a pixel with `grid_ks`; `rows`.
    """
    x, y = table["x_nm"], table["y_nm"]
    side = max(size_nm)
    found: Arrays = {"rows": np.array(len(table)), "frames": np.array(frames)}
    render_nm = max(LEAST_RENDER_NM, side / PICTURE_PX)
    where = {"pixel_nm": render_nm, "size_nm": size_nm}
    spread = table.columns.get("sigma_x_nm", np.full(len(table), 2 * render_nm))
    sigma = np.clip(spread, render_nm, max(WIDEST_SIGMA_NM, render_nm))
    if "z_nm" in table.columns and len(table) and np.ptp(table["z_nm"]) > 0:
        if z_range_nm is None:
            low, high = (float(value) for value in np.quantile(table["z_nm"], [0.01, 0.99]))
            z_range_nm = (low, max(high, low + 1.0))
        found["render"] = colour_by_z(x, y, table["z_nm"], sigma, z_range_nm=z_range_nm, **where, **TONE)
        found["z_range_nm"] = np.array(z_range_nm)
    else:
        found["render"] = np.round(255 * tone(render_gaussian(x, y, sigma, **where), **TONE)).astype(np.uint8)
    found["render_nm"] = np.array(render_nm)
    cell_nm = side / (cells or cells_for(len(table)))
    per_cell = render_histogram(x, y, pixel_nm=cell_nm, size_nm=size_nm)
    found["density"] = (per_cell / ((cell_nm / 1000.0) ** 2 * max(frames, 1))).astype(np.float32)
    found["density_nm"] = np.array(cell_nm)
    found |= over_time(table["frame"], frames)
    for name in HISTOGRAMS:
        if name in table.columns and len(table):
            found[f"count_{name}"], found[f"edges_{name}"] = histogram(table[name], logarithmic=name in LOGARITHMIC)
            found[f"median_{name}"] = np.array(np.median(table[name]))
    if pixel_nm and len(table):
        for axis in "xy":
            offset = np.mod(table[f"{axis}_nm"] / pixel_nm, 1.0)
            found[f"offset_{axis}"] = np.histogram(offset, OFFSET_BINS, (0.0, 1.0))[0]
        bias = grid_bias(x, y, pixel_nm)
        found["grid_ks"] = np.array([bias["grid_ks_x"], bias["grid_ks_y"]])
    return found


def cells_for(count: int) -> int:
    """Cells along a side so that each holds a few of `count` localizations."""
    return int(np.clip(np.sqrt(count / PER_CELL), *DENSITY_CELLS))


def over_time(frame: np.ndarray, frames: int) -> Arrays:
    """Localizations per frame; of a long movie the means of equal parts."""
    counts = np.bincount(np.asarray(frame, int) - 1, minlength=frames).astype(np.float64)
    parts = np.array_split(np.arange(len(counts)), min(TIME_POINTS, max(len(counts), 1)))
    return {
        "per_frame": np.array([counts[part].mean() if len(part) else 0.0 for part in parts]),
        "frame_number": np.array([part.mean() + 1.0 if len(part) else 1.0 for part in parts]),
    }


def histogram(values: np.ndarray, *, logarithmic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges; a few far values go into the first and the last bin."""
    kept = values[values > 0] if logarithmic else values
    if kept.size == 0:
        return np.zeros(1), np.array([0.0, 1.0])
    low, high = (float(value) for value in np.quantile(kept, [0.002, 0.998]))
    if logarithmic:
        edges = np.geomspace(0.95 * low, 1.05 * high, BINS + 1)
    else:
        room = 0.02 * (high - low) or max(abs(high), 1.0) * 0.05
        edges = np.linspace(low - room, high + room, BINS + 1)
    return np.histogram(np.clip(kept, edges[0], edges[-1]), edges)[0], edges


def choose_frames(key: np.ndarray) -> np.ndarray:
    """Frames (from 0) of least, median and largest key, which is NaN where a frame shows nothing."""
    known = np.flatnonzero(np.isfinite(key))
    if known.size == 0:
        return np.arange(min(1, len(key)))
    order = known[np.argsort(key[known], kind="stable")]
    return order[np.unique(np.linspace(0, len(order) - 1, SHOWN_FRAMES).round().astype(int))]


def cut_frames(movie: ImageFile, chosen: np.ndarray, points: Mapping[str, Any], pixel_nm: float) -> Arrays:
    """Crops of frames, each where most points are.

    Args:
        movie: axes TYX or YX.
        chosen: (K,) frames, from 0.
        points: columns `frame`, `x_nm`, `y_nm` of everything that may be drawn.
        pixel_nm: camera pixel.

    Returns:
        `frames_shown` (K, h, w) float32 counts, `numbers_shown` (K,) from 1, `corner_px` (K, 2) row and column of each.
    """
    _, size = movie_shape(movie)
    side = [min(CROP_PX, length) for length in size]
    crops, corners = [], []
    for frame in chosen:
        here = np.asarray(points["frame"]) == frame + 1
        place = [np.asarray(points[name])[here] / pixel_nm for name in ("y_nm", "x_nm")]
        corner = [0, 0]
        if here.any():
            half = CROP_PX / 2
            cells, counts = np.unique(np.floor(np.stack(place) / half), axis=1, return_counts=True)
            middle = (cells[:, counts.argmax()] + 0.5) * half
            corner = [int(np.clip(m - s / 2, 0, n - s)) for m, s, n in zip(middle, side, size)]
        image = read_frames(movie, int(frame), int(frame) + 1)[0]
        crops.append(image[corner[0] : corner[0] + side[0], corner[1] : corner[1] + side[1]])
        corners.append(corner)
    return {
        "frames_shown": np.asarray(crops, np.float32),
        "numbers_shown": np.asarray(chosen) + 1,
        "corner_px": np.asarray(corners, int).reshape(-1, 2),
    }


def points_in(cut: Arrays, groups: Mapping[int, Mapping[str, Any]], pixel_nm: float) -> list[np.ndarray]:
    """For each crop of `cut_frames` the points inside: (n, 3) x and y in pixels of the crop (0 is the outer corner), state.

    Args:
        cut: of `cut_frames`.
        groups: state -> columns `frame`, `x_nm`, `y_nm`.
        pixel_nm: camera pixel.
    """
    found = []
    for frame, (top, left), image in zip(cut["numbers_shown"], cut["corner_px"], cut["frames_shown"]):
        rows = [np.zeros((0, 3))]
        for state, columns in groups.items():
            here = np.asarray(columns["frame"]) == frame
            x = np.asarray(columns["x_nm"])[here] / pixel_nm - left
            y = np.asarray(columns["y_nm"])[here] / pixel_nm - top
            inside = (x >= 0) & (x <= image.shape[1]) & (y >= 0) & (y <= image.shape[0])
            rows.append(np.column_stack([x[inside], y[inside], np.full(inside.sum(), state)]))
        found.append(np.concatenate(rows).astype(np.float32))
    return found


def inspect_prediction(table: Localizations, movie: ImageFile) -> Arrays:
    """All that the page of a prediction without a truth shows.

    Args:
        table: with its pixel size, frame size and length, as `localize_movie` returns it.
        movie: where it was found.
    """
    size_nm = tuple(length * table.pixel_nm for length in table.size_px)
    found = inspect_table(table, size_nm=size_nm, frames=table.frames, pixel_nm=table.pixel_nm)
    counts = np.bincount(table["frame"] - 1, minlength=table.frames).astype(float)
    cut = cut_frames(movie, choose_frames(np.where(counts > 0, counts, np.nan)), table.columns, table.pixel_nm)
    shown = points_in(cut, {PLAIN: table.columns}, table.pixel_nm)
    found["pixel_nm"] = np.array(table.pixel_nm)
    return found | cut | {f"points_{k}": points for k, points in enumerate(shown)}
