"""Greedy non-maximum suppression of polygons and of points, in arrays of one shape whatever the number found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.errors import InputError
from bioflax.ops.polygons import check_polygons, intersection_areas, polygon_areas, polygon_vertices, power_of_two

TILE = 32  # rows of a tile, neighbours in space
BLOCK = 64  # pairs of tiles at a time
OVERLAPS = 256  # pairs of polygons whose overlap is worked out at a time
ROWS, LEAST_ROWS = 16384, 256  # candidates that the host wrappers send at a time
MOST_PAIRS = 2**23  # beyond this (about 300 MB) the host wrappers send fewer rows
NOTHING = 1e-5  # an overlap that may be rounding
COUNTED = 2**30  # the count of pairs stops here, before int32 does
MEASURES = ("smaller", "iou")
Rows = dict[str, jax.Array]


@partial(jax.jit, static_argnames="max_pairs")
def close_pairs(
    position: jax.Array, reach: jax.Array, mask: jax.Array, max_pairs: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Finds all pairs of rows that lie closer than the sum of their reaches.

    Args:
        position: (K, d), pixels.
        reach: (K,), pixels, not negative.
        mask: (K,) bool, the rows that count.
        max_pairs: P, places for pairs.

    Returns:
        first: (P,) int32, the earlier row of each pair, in no order that means anything; 0 where there is no pair.
        second: (P,) int32, the later row.
        number: () int32, pairs there are: if it exceeds P, the others found no place. It stops near 2^30.
    """
    reach = jnp.asarray(reach, position.dtype)
    room = (reach * (1 + 1e-6))[:, None] + 1e-6 * jnp.abs(position)  # rounding parts no pair
    rows = {"low": position - room, "high": position + room, "position": position, "reach": reach}

    def close(a: Rows, b: Rows) -> jax.Array:
        apart = jnp.sum((a["position"] - b["position"]) ** 2, axis=-1)
        return apart < (a["reach"] + b["reach"]) ** 2

    return _pairs(rows, mask, close, max_pairs)


def _pairs(
    rows: Rows, mask: jax.Array, test: Callable[[Rows, Rows], jax.Array], places: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pairs of rows that pass a test, of those whose boxes from "low" to "high" may meet; returns as `close_pairs`.

    Rows are put into tiles of neighbours, and only tiles whose boxes meet are compared: work and memory follow the
    number of pairs, not the square of the number of rows.
    """
    count = len(mask)
    if not count:
        return jnp.zeros(places, jnp.int32), jnp.zeros(places, jnp.int32), jnp.int32(0)
    order = jnp.argsort(jnp.where(mask, _morton(0.5 * (rows["low"] + rows["high"]), mask), COUNTED * 2 - 1))
    order = jnp.pad(order.astype(jnp.int32), (0, -count % TILE), constant_values=count).reshape(-1, TILE)
    wanted = jnp.append(mask, False)[order]
    tiled = {name: values[jnp.minimum(order, count - 1)] for name, values in rows.items()}
    low = jnp.where(wanted[..., None], tiled["low"], jnp.inf).min(axis=1)
    high = jnp.where(wanted[..., None], tiled["high"], -jnp.inf).max(axis=1)
    tiles = len(order)
    meet = jnp.triu(jnp.all((low[:, None] <= high) & (low <= high[:, None]), axis=-1))
    room = tiles * (tiles + 1) // 2
    block = min(BLOCK, room)
    one, two = (jnp.pad(found, (0, -room % block)) for found in jnp.nonzero(meet, size=room, fill_value=0))
    meetings = jnp.sum(meet)
    lane = jnp.arange(TILE)

    def compare(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, number, first, second = state
        place = step * block + jnp.arange(block)
        a, b = one[place], two[place]
        left = {name: values[a][:, :, None] for name, values in tiled.items()}
        right = {name: values[b][:, None] for name, values in tiled.items()}
        once = (a != b)[:, None, None] | (lane[:, None] < lane)
        real = (place < meetings)[:, None, None] & wanted[a][:, :, None] & wanted[b][:, None]
        found = (test(left, right) & once & real).reshape(-1)
        rank = jnp.cumsum(found.astype(jnp.int32))
        at = jnp.where(found, number + rank - 1, places)
        i, j = jnp.broadcast_arrays(order[a][:, :, None], order[b][:, None])
        first = first.at[at].set(jnp.minimum(i, j).reshape(-1), mode="drop")
        second = second.at[at].set(jnp.maximum(i, j).reshape(-1), mode="drop")
        return step + 1, jnp.minimum(number + rank[-1], COUNTED), first, second

    nothing = jnp.zeros(places, jnp.int32)
    start = (jnp.int32(0), jnp.int32(0), nothing, nothing)
    _, number, first, second = lax.while_loop(lambda state: state[0] * block < meetings, compare, start)
    return first, second, number


def _morton(position: jax.Array, mask: jax.Array) -> jax.Array:
    """Numbers (K,) below 2^30 that are alike for positions close together: the bits of the axes in turn."""
    axes = position.shape[1]
    bits = 30 // axes
    low = jnp.where(mask[:, None], position, jnp.inf).min(axis=0)
    high = jnp.where(mask[:, None], position, -jnp.inf).max(axis=0)
    # One scale for all axes, or tiles would be long.
    scale = 2**bits / jnp.maximum(jnp.max(high - low), 1e-6)
    cell = jnp.clip((position - low) * scale, 0, 2**bits - 1).astype(jnp.int32)
    code = jnp.zeros(len(position), jnp.int32)
    for axis in range(axes):
        for bit in range(bits):
            code |= ((cell[:, axis] >> bit) & 1) << (bit * axes + axis)
    return code


@jax.jit
def keep_greedily(first: jax.Array, second: jax.Array, conflict: jax.Array, mask: jax.Array) -> jax.Array:
    """Keeps rows from the first to the last, unless one that is kept conflicts: what a loop over the rows would keep.

    All rows are judged at once until nothing changes. Conflicts point from earlier to later rows, so each round settles
    at least the first row that was open, and there is one answer.

    Args:
        first: (P,) the earlier row of each pair; rows come by falling score.
        second: (P,) the later row.
        conflict: (P,) bool, pairs of which only one may stay.
        mask: (K,) bool, the rows there are.

    Returns:
        (K,) bool, the rows to keep.
    """

    def judge(keep: jax.Array) -> jax.Array:
        return mask & ~jnp.zeros_like(mask).at[second].max(conflict & keep[first])

    def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return state[1], judge(state[1])

    start = (mask, judge(mask))
    return lax.while_loop(lambda state: jnp.any(state[0] != state[1]), step, start)[1]


@partial(jax.jit, static_argnames=("measure", "max_pairs"))
def suppress_polygons(
    centre: jax.Array,
    rays: jax.Array,
    mask: jax.Array,
    *,
    threshold: float,
    measure: str = "smaller",
    max_pairs: int,
) -> tuple[jax.Array, jax.Array]:
    """Greedy non-maximum suppression of star-convex polygons by their exact overlaps.

    A row is dropped if an earlier row that is kept overlaps it by more than the threshold. Overlaps are worked out only
    against rows that are kept. Source: Schmidt et al., MICCAI 2018 (StarDist), whose overlap is "smaller".

    Args:
        centre: (K, 2), (y, x) in pixels, by falling score.
        rays: (K, R), pixels, not negative.
        mask: (K,) bool, the rows there are.
        threshold: largest overlap of two that both stay, 0 to 1.
        measure: "smaller": the common area over the smaller area; "iou": over the area of the union.
        max_pairs: P, places for pairs that may conflict, as far as their bounding boxes tell.

    Returns:
        keep: (K,) bool, the rows to keep.
        number: () int32, pairs that may conflict: if it exceeds `max_pairs`, `keep` is of no use.

    Raises:
        InputError: an unknown measure.
    """
    if measure not in MEASURES:
        raise InputError(f"measure: expected one of {', '.join(MEASURES)}; found {measure!r}")
    if not len(mask):
        return mask, jnp.int32(0)
    centre, threshold = jnp.asarray(centre, rays.dtype), jnp.maximum(threshold, NOTHING)
    area = polygon_areas(rays)

    def needed(one: jax.Array, two: jax.Array) -> jax.Array:
        """The common area that a conflict exceeds: of an IoU t, t (a + b) / (1 + t)."""
        return threshold * jnp.minimum(one, two) if measure == "smaller" else threshold / (1 + threshold) * (one + two)

    def possible(a: Rows, b: Rows) -> jax.Array:
        side = jnp.minimum(a["high"], b["high"]) - jnp.maximum(a["low"], b["low"])
        most = jnp.minimum(jnp.prod(jnp.maximum(side, 0.0), axis=-1), jnp.minimum(a["area"], b["area"]))
        return most * (1 + 1e-5) > needed(a["area"], b["area"])

    corners = polygon_vertices(centre, rays)
    room = 1e-6 * jnp.abs(centre) + 1e-6 * rays.max(axis=1, keepdims=True)  # rounding parts no pair
    boxes = {"low": corners.min(axis=1) - room, "high": corners.max(axis=1) + room, "area": area}
    first, second, number = _pairs(boxes, mask, possible, max_pairs)

    def conflict(i: jax.Array, j: jax.Array) -> jax.Array:
        return intersection_areas(centre[i], rays[i], centre[j], rays[j]) > needed(area[i], area[j])

    return _settle(first, second, jnp.arange(max_pairs) >= number, mask, conflict), number


def _settle(
    first: jax.Array,
    second: jax.Array,
    done: jax.Array,
    mask: jax.Array,
    conflict: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """`keep_greedily`, with conflicts worked out where the answer hangs on them; `done` leaves out pairs (P,).

    A row that no open pair holds back is kept; then its pairs with rows that are still open are judged.
    """
    chunk = min(OVERLAPS, len(first))
    places = len(first) + -len(first) % chunk

    def judge(step: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        dropped, listed, number = state
        place = step * chunk + jnp.arange(chunk)
        pair = listed[place]
        i, j = first[pair], second[pair]
        return dropped.at[j].max(conflict(i, j) & (place < number)), listed, number

    def settle(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        kept, dropped, done = state
        held = jnp.zeros_like(mask).at[second].max(~done & ~dropped[first])
        kept |= ~dropped & ~held
        now = ~done & kept[first] & ~dropped[second]
        rank = jnp.cumsum(now.astype(jnp.int32))
        listed = jnp.zeros(places, jnp.int32)
        listed = listed.at[jnp.where(now, rank - 1, places)].set(jnp.arange(len(first), dtype=jnp.int32), mode="drop")
        steps = (rank[-1] + chunk - 1) // chunk
        dropped, _, _ = lax.fori_loop(0, steps, judge, (dropped, listed, rank[-1]))
        return kept, dropped, done | now

    def open_rows(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return jnp.any(~state[0] & ~state[1])

    return lax.while_loop(open_rows, settle, (jnp.zeros_like(mask), ~mask, done))[0]


@partial(jax.jit, static_argnames="max_pairs")
def suppress_points(
    position: jax.Array, mask: jax.Array, *, distance_px: float, max_pairs: int
) -> tuple[jax.Array, jax.Array]:
    """Greedy non-maximum suppression of points: a row is dropped if an earlier one that is kept lies closer.

    Args:
        position: (K, d), pixels, by falling score.
        mask: (K,) bool, the rows there are.
        distance_px: least distance of two that both stay.
        max_pairs: P, places for pairs closer than that.

    Returns:
        keep: (K,) bool, the rows to keep.
        number: () int32, pairs closer than the distance: if it exceeds `max_pairs`, `keep` is of no use.
    """
    reach = jnp.full(len(position), 0.5 * jnp.asarray(distance_px, position.dtype))
    first, second, number = close_pairs(position, reach, mask, max_pairs)
    return keep_greedily(first, second, jnp.arange(max_pairs) < number, mask), number


def non_maximum_suppression(
    centre: np.ndarray, rays: np.ndarray, score: np.ndarray, *, threshold: float = 0.4, measure: str = "smaller"
) -> np.ndarray:
    """Picks the star-convex polygons to keep, from the highest score down, of any number of candidates.

    Args:
        centre: (K, 2), (y, x) in pixels.
        rays: (K, R), pixels, not negative.
        score: (K,); of equals the earlier row comes first.
        threshold: largest overlap of two that both stay, 0 to 1.
        measure: "smaller" (StarDist's) or "iou", see `suppress_polygons`.

    Returns:
        (M,) int64, rows by falling score.

    Raises:
        InputError: arrays that do not fit together, negative or non-finite numbers, a threshold outside [0, 1], an unknown
            measure.
    """
    centre, rays = check_polygons(centre, rays)
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold: expected an overlap, from 0 to 1; found {threshold}")
    if measure not in MEASURES:
        raise InputError(f"measure: expected one of {', '.join(MEASURES)}; found {measure!r}")
    run = partial(suppress_polygons, threshold=threshold, measure=measure)
    return _by_score(run, (centre, rays), score)


def thin_points(position: np.ndarray, score: np.ndarray, *, distance_px: float) -> np.ndarray:
    """Picks points that keep their distance, from the highest score down, of any number of them.

    Args:
        position: (K, d), pixels.
        score: (K,); of equals the earlier row comes first.
        distance_px: least distance of two that both stay.

    Returns:
        (M,) int64, rows by falling score.

    Raises:
        InputError: arrays that do not fit together, non-finite numbers, a distance that is not positive.
    """
    position = np.asarray(position, np.float32)
    if position.ndim != 2 or not np.isfinite(position).all():
        raise InputError(
            f"position: expected finite numbers (K, d); found shape {position.shape} or numbers that are not"
        )
    if not distance_px > 0:
        raise InputError(f"distance_px: expected a positive distance in pixels; found {distance_px}")
    return _by_score(partial(suppress_points, distance_px=distance_px), (position,), score)


def _by_score(
    run: Callable[..., tuple[jax.Array, jax.Array]], arrays: tuple[np.ndarray, ...], score: np.ndarray
) -> np.ndarray:
    """Runs a suppression over rows by falling score, so many at a time: rows that are kept go before the next ones.

    If more pairs are found than there is room for, it runs again, with more room or with fewer rows: none is left out.
    """
    score = np.asarray(score)
    if score.shape != (len(arrays[0]),) or np.isnan(score).any():
        raise InputError(
            f"score: expected ({len(arrays[0])},), one number for each row; found shape {score.shape} or NaN"
        )
    order = np.argsort(-score, kind="stable")
    kept, start, size, places = order[:0], 0, ROWS, 0
    while start < len(order):
        rows = np.concatenate([kept, order[start : start + size]])
        count = int(power_of_two(len(rows), least=LEAST_ROWS))
        places = max(places, 8 * count)
        padded = [np.pad(values[rows], ((0, count - len(rows)), (0, 0))) for values in arrays]
        keep, number = run(*padded, np.arange(count) < len(rows), max_pairs=places)
        if int(number) <= places:
            kept, start = rows[np.asarray(keep)[: len(rows)]], start + size
        elif int(number) > MOST_PAIRS and size > LEAST_ROWS:
            size //= 2
        else:
            places = int(power_of_two(int(number), least=places))
    return kept
