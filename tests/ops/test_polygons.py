"""Areas, overlaps and label images of star-convex polygons, against clipped triangles and crossing numbers in float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.ops.polygons import (
    CHUNK,
    intersection_areas,
    polygon_areas,
    polygon_vertices,
    polygons_to_labels,
    ray_directions,
    render_polygons,
)


def corners(centre, rays):
    """(..., R, 2) in float64, from the definition."""
    angle = 2 * np.pi * np.arange(rays.shape[-1]) / rays.shape[-1]
    return centre[..., None, :] + rays[..., None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def cross(a, b):
    return a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]


def clip_triangles(one, two):
    """Common areas (n,) of triangles (n, 3, 2): one is cut at each line of the other (Sutherland-Hodgman)."""
    turn = cross(two[:, 1] - two[:, 0], two[:, 2] - two[:, 0])
    two = np.where((turn < 0)[:, None, None], two[:, ::-1], two)
    found = one
    for k in range(3):
        start, along = two[:, None, k], two[:, None, (k + 1) % 3] - two[:, None, k]
        p, q = found, np.roll(found, -1, axis=1)
        here, there = cross(along, p - start), cross(along, q - start)
        change = np.where(here == there, 1, here - there)
        met = p + (here / change)[..., None] * (q - p)
        first, last = np.where((here >= 0)[..., None], p, met), np.where((there >= 0)[..., None], q, met)
        outside = (here < 0) & (there < 0)
        slots = np.stack([first, last], axis=2).reshape(len(one), -1, 2)
        gone = np.repeat(outside, 2, axis=1)
        # A slot of an edge that is cut away repeats the last one that stays, which encloses nothing.
        index = np.maximum.accumulate(np.where(gone, -1, np.arange(slots.shape[1])), axis=1)
        index = np.where(index < 0, index[:, -1:], index)
        found = np.take_along_axis(slots, np.maximum(index, 0)[..., None], axis=1)
        found = np.where(gone.all(axis=1)[:, None, None], 0.0, found)
    moved = found - found[:, :1]
    return np.where(turn == 0, 0.0, np.abs(cross(moved, np.roll(moved, -1, axis=1)).sum(axis=1)) / 2)


def oracle(centre_a, rays_a, centre_b, rays_b):
    """Common areas (P,): all R x R pairs of the triangles of two fans."""
    fans = []
    for centre, rays in ((centre_a, rays_a), (centre_b, rays_b)):
        ring = corners(centre.astype(float), rays.astype(float))
        middle = np.broadcast_to(centre[:, None].astype(float), ring.shape)
        fans.append(np.stack([middle, ring, np.roll(ring, -1, axis=1)], axis=2))
    count, rays = rays_a.shape
    one = np.broadcast_to(fans[0][:, :, None], (count, rays, rays, 3, 2)).reshape(-1, 3, 2)
    two = np.broadcast_to(fans[1][:, None], (count, rays, rays, 3, 2)).reshape(-1, 3, 2)
    return clip_triangles(one, two).reshape(count, -1).sum(axis=1)


def draw_pairs(count, rays, seed):
    """Pairs of all kinds, float32: smooth, spiky, without some rays or any, within each other, alike, touching, apart."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 1000, (count, 1, 2)) + rng.uniform(-12, 12, (count, 2, 2))
    length = rng.uniform(3, 15, (count, 2, 1)) * rng.uniform(0.7, 1.2, (count, 2, rays))
    kind = np.arange(count) % 10
    length[kind == 1] *= rng.exponential(1, length[kind == 1].shape)
    length[kind == 2] *= rng.random(length[kind == 2].shape) < 0.6
    length[kind == 3, 1] *= 0.1
    centre[kind == 4, 1], length[kind == 4, 1] = centre[kind == 4, 0], length[kind == 4, 0]
    centre[kind == 5, 1] = centre[kind == 5, 0]
    length[kind == 6] = 6.0
    centre[kind == 6, 1] = centre[kind == 6, 0] + rng.choice([0, 6, 12], (int((kind == 6).sum()), 2))
    centre[kind == 7, 1] += 200
    length[kind == 8, 1] = 0.0
    centre[kind == 9, 1] = corners(centre[kind == 9, 0], length[kind == 9, 0])[:, 1]
    centre, length = centre.astype(np.float32), length.astype(np.float32)
    return centre[:, 0], length[:, 0], centre[:, 1], length[:, 1]


def test_the_oracle_itself():
    square = np.full((3, 4), 5.0)  # |y| + |x| <= 5
    here = np.zeros((3, 2))
    there = np.array([[2.0, 2.0], [0.0, 4.0], [5.0, 5.0]])
    np.testing.assert_allclose(oracle(here, square, there, square), [30.0, 18.0, 0.0], atol=1e-12)
    circle = np.full((1, 128), 10.0)
    lens = 2 * 100 * np.arccos(8 / 20) - 4 * np.sqrt(400 - 64)
    np.testing.assert_allclose(oracle(here[:1], circle, np.array([[0.0, 8.0]]), circle), lens, rtol=2e-3)
    triangle = np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]])
    np.testing.assert_allclose(clip_triangles(triangle, triangle[:, ::-1]), 8.0)
    np.testing.assert_allclose(clip_triangles(triangle, triangle + 1.0), 2.0)


@pytest.mark.parametrize("rays, count", [(8, 1000), (32, 50), (5, 100), (3, 100)])
def test_common_areas_equal_the_clipped_triangles(rays, count):
    pairs = draw_pairs(count, rays, seed=rays)
    expected = oracle(*pairs)
    found = np.asarray(intersection_areas(*pairs))
    assert found.shape == (count,) and (expected > 1).mean() > 0.3
    scale = np.minimum(polygon_areas(pairs[1]), polygon_areas(pairs[3]))
    assert np.max(np.abs(found - expected) / (scale + 1.0)) < 2e-5
    np.testing.assert_allclose(intersection_areas(*pairs[2:], *pairs[:2]), found, atol=2e-5 * (scale.max() + 1))
    same = np.arange(count) % 10 == 4
    np.testing.assert_allclose(found[same], polygon_areas(pairs[1])[same], rtol=1e-5)
    assert np.max(found[np.arange(count) % 10 == 7]) < 1e-4  # apart: nothing but rounding
    assert not np.any(found[np.arange(count) % 10 == 8])  # no area at all


def test_common_areas_far_from_the_origin_and_in_any_number():
    a, length_a, b, length_b = draw_pairs(2 * CHUNK + 3, 8, seed=1)
    found = intersection_areas(a, length_a, b, length_b)
    np.testing.assert_allclose(
        found[-5:], intersection_areas(a[-5:], length_a[-5:], b[-5:], length_b[-5:]), rtol=1e-5, atol=1e-4
    )
    whole, move = np.round(a), np.float32(2**16)  # whole numbers, that a shift leaves exact
    moved = intersection_areas(whole + move, length_a, np.round(b) + move, length_b)
    np.testing.assert_array_equal(moved, intersection_areas(whole, length_a, np.round(b), length_b))
    assert intersection_areas(a[:0], length_a[:0], b[:0], length_b[:0]).shape == (0,)
    eager = intersection_areas.__wrapped__(*(jnp.asarray(values[:20]) for values in (a, length_a, b, length_b)))
    np.testing.assert_allclose(eager, found[:20], rtol=1e-5, atol=1e-4)


def test_corners_and_areas():
    np.testing.assert_array_equal(ray_directions(4), [[0, 1], [1, 0], [0, -1], [-1, 0]])
    rng = np.random.default_rng(0)
    centre, rays = rng.uniform(0, 50, (3, 5, 2)), rng.uniform(0, 9, (3, 5, 7))
    ring = corners(centre, rays)
    np.testing.assert_allclose(polygon_vertices(centre, rays), ring, rtol=1e-5)
    shoelace = np.abs(cross(ring, np.roll(ring, -1, axis=-2)).sum(axis=-1)) / 2
    np.testing.assert_allclose(polygon_areas(rays), shoelace, rtol=1e-5)


def crossing_number(centre, rays, shape):
    """Whether pixels lie inside, and how far from the boundary, in float64."""
    ring = corners(centre.astype(float), rays.astype(float))
    point = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)
    inside, gap = np.zeros(shape, bool), np.full(shape, np.inf)
    for p, q in zip(ring, np.roll(ring, -1, axis=0)):
        spans = (p[0] > point[..., 0]) != (q[0] > point[..., 0])
        height = np.where(q[0] == p[0], 1, q[0] - p[0])
        inside ^= spans & (point[..., 1] < p[1] + (point[..., 0] - p[0]) / height * (q[1] - p[1]))
        length = max(np.sum((q - p) ** 2), 1e-30)
        along = np.clip(np.sum((point - p) * (q - p), axis=-1) / length, 0, 1)
        gap = np.minimum(gap, np.linalg.norm(point - p - along[..., None] * (q - p), axis=-1))
    return inside, gap


@pytest.mark.parametrize("rays", [32, 7])
def test_labels_equal_the_crossing_numbers(rays):
    rng = np.random.default_rng(rays)
    centre = rng.uniform(-8, 52, (12, 2)).astype(np.float32)
    length = rng.uniform(4, 12, (12, 1)) * rng.uniform(0.3, 1.3, (12, rays)) * (rng.random((12, rays)) < 0.9)
    length = length.astype(np.float32)
    length[3] *= 3  # another window
    mask = np.arange(12) != 5
    shape, expected, clear = (44, 48), np.zeros((44, 48), int), np.ones((44, 48), bool)
    for k in np.flatnonzero(mask)[::-1]:
        inside, gap = crossing_number(centre[k], length[k], shape)
        expected[inside], clear = k + 1, clear & (gap > 1e-4)
    drawn = np.asarray(polygons_to_labels(centre, length, mask, shape, 2 * int(np.ceil(length.max() + 0.5)) + 1))
    assert drawn.dtype == np.int32 and clear.mean() > 0.99 and len(np.unique(expected)) > 8
    np.testing.assert_array_equal(drawn[clear], expected[clear])
    rows = np.flatnonzero(mask)
    rendered = render_polygons(centre[rows], length[rows], shape)
    assert rendered.dtype == np.int32
    np.testing.assert_array_equal(np.append(0, rows + 1)[rendered], drawn)


def test_the_boundary_counts_and_the_earlier_row_wins():
    y, x = np.mgrid[:20, :20]
    centre = np.array([[9.0, 9.0], [9.0, 13.0], [0.0, 0.0]])
    rays = np.array([[5.0] * 4, [3.0] * 4, [4.0] * 4])
    within = [np.abs(y - c[0]) + np.abs(x - c[1]) <= r[0] for c, r in zip(centre, rays)]
    expected = np.select(within, [1, 2, 3], 0)
    np.testing.assert_array_equal(render_polygons(centre, rays, (20, 20)), expected)
    arrays = jnp.asarray(centre), jnp.asarray(rays), jnp.ones(3, bool)
    eager = polygons_to_labels.__wrapped__(*arrays, (20, 20), 13)
    np.testing.assert_array_equal(eager, expected)


def test_rays_without_length_end_the_polygon():
    rays = np.zeros((2, 4), np.float32)
    rays[0, 0] = 3.0  # a line along x
    drawn = render_polygons(np.array([[2.0, 1.0], [4.0, 4.0]]), rays, (6, 8))
    expected = np.zeros((6, 8), int)
    expected[2, 1:5], expected[4, 4] = 1, 2
    np.testing.assert_array_equal(drawn, expected)


def test_no_polygons():
    empty = render_polygons(np.zeros((0, 2)), np.zeros((0, 32)), (5, 4))
    assert empty.shape == (5, 4) and empty.dtype == np.int32 and not empty.any()
    nothing = np.zeros((0, 2), np.float32), np.zeros((0, 32), np.float32), np.zeros(0, bool)
    assert not polygons_to_labels(*nothing, (5, 4), 9).any()
    out = render_polygons(np.array([[-50.0, 2.0], [1e6, -1e6]]), np.full((2, 32), 4.0), (5, 4))
    assert not out.any()


@pytest.mark.parametrize(
    "centre, rays, text",
    [
        ((2, 2), np.ones((2, 2)), r"rays: expected \(K, R\) with at least 3 rays; found shape \(2, 2\)"),
        ((3, 2), np.ones((2, 8)), r"centre: expected \(2, 2\), one \(y, x\) for each polygon; found shape \(3, 2\)"),
        ((2, 2), -np.ones((2, 8)), "rays: expected finite distances of at least 0; found others. Clip them first"),
        ((2, 2), np.full((2, 8), np.nan), "rays: expected finite distances"),
    ],
)
def test_bad_polygons_are_named(centre, rays, text):
    with pytest.raises(InputError, match=text):
        render_polygons(np.zeros(centre), rays, (9, 9))


def test_bad_options_are_named():
    with pytest.raises(InputError, match="centre: expected finite numbers; found NaN or infinity"):
        render_polygons(np.full((1, 2), np.nan), np.ones((1, 8)), (9, 9))
    with pytest.raises(InputError, match="rays: expected at least 3; found 2"):
        ray_directions(2)
    arrays = np.zeros((1, 2), np.float32), np.ones((1, 8), np.float32), np.ones(1, bool)
    with pytest.raises(InputError, match="window: expected an odd side in pixels; found 8"):
        polygons_to_labels(*arrays, (9, 9), 8)
