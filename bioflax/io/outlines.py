"""Outlines of labelled objects along pixel edges, and which of several rings are holes of which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bioflax.errors import InputError
from bioflax.io.label_image import check_labels

Rings = np.ndarray | Sequence[np.ndarray]  # an object: one ring, or the rings of its pieces and holes

# Headings 0 to 3 along the edges between pixels: right, down, left, up (y runs down), as (dy, dx).
_STEP = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])


def label_outlines(labels: np.ndarray, holes: bool = False) -> list[tuple[int, np.ndarray]]:
    """Follows the pixel edges round each object: the ring encloses exactly the pixels of the object.

    Pixel centres are at integers, so all coordinates end in .5: the pixel (0, 0) alone has the corners -0.5 and 0.5.
    No ring touches itself: pixels that meet at a corner only are pieces with a ring each. In (x, y) the shoelace area
    of an outer ring is positive, that of a hole negative.

    Args:
        labels: (Y, X) whole numbers from 0.
        holes: adds the rings of holes; without them an outer ring with its holes filled is all there is.

    Returns:
        (label, (V, 2) float64 corners (y, x) in pixels, the first not repeated at the end), by increasing label,
        several entries for an object in several pieces.

    Raises:
        InputError: as `check_labels`, or a stack.
    """
    labels = check_labels(labels)
    if labels.ndim != 2:
        raise InputError(f"labels: expected (Y, X) for outlines, found the shape {labels.shape}. Give one plane.")
    keys, owner = _edges(labels)
    following = _following(keys, owner, labels.shape[1] + 1)
    corner = keys >> 2
    places = corner.tolist()
    found = []
    for walk in _walks(following.tolist()):
        simple = [walk] if len({places[edge] for edge in walk}) == len(walk) else _simple(walk, places)
        for edges in simple:
            heading = keys[edges] & 3
            turns = corner[edges][heading != np.roll(heading, 1)]
            ring = np.stack(np.divmod(turns, labels.shape[1] + 1), axis=1) - 0.5
            if holes or ring_area(ring) > 0:
                found.append((int(owner[walk[0]]), ring))
    return sorted(found, key=lambda entry: entry[0])


def group_rings(outlines: Iterable[tuple[int, np.ndarray]]) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Puts the rings of each object together.

    Args:
        outlines: (label, ring) as of `label_outlines`.

    Returns:
        (N,) int64 labels, increasing, and for each the list of its rings.
    """
    objects: dict[int, list[np.ndarray]] = {}
    for label, ring in outlines:
        objects.setdefault(int(label), []).append(ring)
    labels = sorted(objects)
    return np.array(labels, np.int64), [objects[label] for label in labels]


def nest_rings(rings: Rings, name: str = "rings") -> list[list[np.ndarray]]:
    """Tells outer rings from holes by what lies in what, whichever way round the rings run.

    Args:
        rings: (V, 2) (y, x), or several of an object, none crossing another.
        name: what messages call it.

    Returns:
        For each piece its outer ring, of positive shoelace area in (x, y), and then its holes, of negative area.

    Raises:
        InputError: as `check_ring`, or no ring.
    """
    single = isinstance(rings, np.ndarray) and rings.ndim == 2
    checked = [check_ring(ring, name) for ring in ([rings] if single else rings)]
    if not checked:
        raise InputError(f"{name}: expected at least one ring, found none. Leave this object out.")
    areas = np.array([ring_area(ring) for ring in checked])
    order = np.argsort(-abs(areas), kind="stable")
    checked, areas = [checked[place] for place in order], areas[order]
    if len(checked) == 1:
        inside = np.zeros((1, 1), bool)
    else:
        # A point of a side that is no corner: rings may touch at corners. Row: holder; column: held.
        probes = np.array([ring[0] + 0.381966 * (ring[1] - ring[0]) for ring in checked])
        inside = np.triu(np.array([_contains(ring, probes) for ring in checked]), 1)
    depth = inside.sum(0)
    pieces = {place: [_wound(checked[place], 1)] for place in np.flatnonzero(depth % 2 == 0).tolist()}
    for place in np.flatnonzero(depth % 2).tolist():
        holders = [holder for holder in np.flatnonzero(inside[:, place]).tolist() if holder in pieces]
        pieces[holders[-1]].append(_wound(checked[place], -1))
    return list(pieces.values())


def check_ring(ring: np.ndarray, name: str = "ring") -> np.ndarray:
    """Refuses what is no polygon; drops a last corner that repeats the first.

    Returns:
        (V, 2) float64, V at least 3.

    Raises:
        InputError: another shape, fewer than three corners, or NaN.
    """
    ring = np.asarray(ring, np.float64)
    if ring.ndim == 2 and len(ring) > 1 and np.array_equal(ring[0], ring[-1]):
        ring = ring[:-1]
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
        raise InputError(f"{name}: expected (V, 2) corners (y, x), three or more, found the shape {ring.shape}.")
    if not np.isfinite(ring).all():
        raise InputError(f"{name}: expected finite corners, found NaN or infinity. Remove this object.")
    return ring


def ring_area(ring: np.ndarray) -> float:
    """Shoelace area in px² of a ring (V, 2) (y, x): positive if it turns from x to y, clockwise on a screen."""
    y, x = (ring - ring[0]).T  # near the origin: no digits are lost far out in a large image
    return float(0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _edges(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between unlike pixels, seen from each object: sorted keys (corner * 4 + heading) and its label.

    The object lies to the right of the heading on a screen. Corners are numbered along the rows.
    """
    padded = np.pad(labels, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    keys, owners = [], []
    for heading, (inside, outside) in enumerate(((se, ne), (sw, se), (nw, sw), (ne, nw))):
        edge = (inside != outside) & (inside != 0)
        keys.append(np.flatnonzero(edge) * 4 + heading)
        owners.append(inside[edge])
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    return key[order], np.concatenate(owners)[order]


def _following(keys: np.ndarray, owner: np.ndarray, width: int) -> np.ndarray:
    """The edge after each edge: round the same pixel first, then straight on, then round the next one."""
    heading = keys & 3
    end = (keys >> 2) + (_STEP @ (width, 1))[heading]
    following = np.full(len(keys), -1)
    for turn in (1, 0, 3):
        wanted = end * 4 + (heading + turn) % 4
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        fits = (following < 0) & (keys[place] == wanted) & (owner[place] == owner)
        following[fits] = place[fits]
    return following


def _walks(following: list[int]) -> Iterator[list[int]]:
    """The closed walks of a permutation, from the top left corner of each."""
    seen = bytearray(len(following))
    for start in range(len(following)):
        if seen[start]:
            continue
        walk, edge = [], start
        while not seen[edge]:
            seen[edge] = 1
            walk.append(edge)
            edge = following[edge]
        yield walk


def _simple(walk: list[int], places: list[int]) -> Iterator[list[int]]:
    """Cuts a closed walk that comes through a corner twice into rings that do not."""
    ring: list[int] = []
    at: dict[int, int] = {}
    for edge in walk:
        first = at.get(places[edge])
        if first is not None:
            yield ring[first:]
            for gone in ring[first:]:
                del at[places[gone]]
            del ring[first:]
        at[places[edge]] = len(ring)
        ring.append(edge)
    yield ring


def _contains(ring: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) bool: whether points (N, 2) that lie on no side are in a ring, by the sides that a ray crosses."""
    y0, x0 = ring.T
    y1, x1 = np.roll(ring, -1, axis=0).T
    y, x = points[:, :1], points[:, 1:]
    crossed = (y0 > y) != (y1 > y)
    slope = (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)
    return (crossed & (x < x0 + (y - y0) * slope)).sum(1) % 2 == 1


def _wound(ring: np.ndarray, sign: int) -> np.ndarray:
    return ring if ring_area(ring) * sign >= 0 else ring[::-1]
