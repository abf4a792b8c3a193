"""Star-convex polygons, a centre and radial distances as StarDist has them: areas, overlaps, label images."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.errors import InputError

CHUNK = 256  # pairs of polygons at a time: (CHUNK, R, R) numbers stay within the caches of a CPU
PIXELS = 2**17  # pixels of polygon windows at a time
SLIVER_PX2 = 1e-15  # a triangle of the fan below this is nothing; its square is still a normal float32


def ray_directions(rays: int) -> np.ndarray:
    """Unit vectors of the rays: ray k points along (sin, cos) of 2 pi k / R in (y, x).

    Args:
        rays: R, at least 3: two neighbouring rays must lie less than half a turn apart.

    Returns:
        (R, 2) float32, (dy, dx); those along the axes have exact zeros.

    Raises:
        InputError: fewer than 3 rays.
    """
    if rays < 3:
        raise InputError(f"rays: expected at least 3; found {rays}")
    angle = 2 * np.pi * np.arange(rays) / rays
    return np.round(np.stack([np.sin(angle), np.cos(angle)], axis=1), 15).astype(np.float32)


def polygon_vertices(centre: jax.Array, rays: jax.Array) -> jax.Array:
    """Corners of star-convex polygons.

    Args:
        centre: (..., 2), (y, x) in pixels.
        rays: (..., R), distances from the centre, pixels, not negative.

    Returns:
        (..., R, 2), (y, x) in pixels.
    """
    return centre[..., None, :] + rays[..., None] * ray_directions(rays.shape[-1])


def polygon_areas(rays: jax.Array) -> jax.Array:
    """Areas of star-convex polygons, in closed form: triangles between neighbouring rays.

    Args:
        rays: (..., R), pixels, not negative.

    Returns:
        (...), square pixels.
    """
    return 0.5 * float(np.sin(2 * np.pi / rays.shape[-1])) * jnp.sum(rays * jnp.roll(rays, -1, axis=-1), axis=-1)


@jax.jit
def intersection_areas(centre_a: jax.Array, rays_a: jax.Array, centre_b: jax.Array, rays_b: jax.Array) -> jax.Array:
    """Exact areas that pairs of star-convex polygons have in common.

    B is a fan of triangles around its centre. A is a signed sum of triangles between the same point and A's edges. Two
    triangles that share a corner meet in closed form, so the area is a sum over R x R of them.

    Args:
        centre_a: (P, 2), (y, x) in pixels.
        rays_a: (P, R), pixels, not negative.
        centre_b: (P, 2).
        rays_b: (P, R).

    Returns:
        (P,), square pixels, from 0 to the smaller of the two areas.
    """
    pairs = len(rays_a)
    if not pairs:
        return jnp.zeros(0, rays_a.dtype)
    shift = centre_a - centre_b  # first of all: what is left is as small as the polygons
    chunk = min(CHUNK, pairs)
    # Rows are gathered, not sliced: XLA would take a slice into the loops over R x R, which then run several times slower.
    rows = jnp.minimum(jnp.arange(pairs + -pairs % chunk), pairs - 1).reshape(-1, chunk)
    found = lax.map(lambda group: _intersections(shift[group], rays_a[group], rays_b[group]), rows)
    smaller = jnp.minimum(polygon_areas(rays_a), polygon_areas(rays_b))
    return jnp.clip(found.reshape(-1)[:pairs], 0.0, smaller)


def _intersections(shift: jax.Array, rays_a: jax.Array, rays_b: jax.Array) -> jax.Array:
    """Common areas (C,); A lies `shift` from B, whose centre is the origin.

    In wedge l, between B's rays l and l + 1, the edge p(t) = a + t (b - a) of A runs from t0 to t1. The part of the
    triangle (0, a, b) there reaches out to p(t), or to the chord of B where p(t) lies beyond it, a factor s(t) = m / q(t)
    nearer, with q(t) = n.p(t) linear in t and the chord on n.x = m. Its area is cross(a, b) / 2 times the integral of
    min(1, s^2) over t: the length where q <= m, plus s(ta) s(tb) (tb - ta) over the stretch where q > m.
    """
    direction = ray_directions(rays_a.shape[-1])
    dy, dx = np.concatenate([direction, direction[:1]]).T  # the first ray closes the ring
    rays_a, rays_b = (jnp.concatenate([rays, rays[:, :1]], axis=1) for rays in (rays_a, rays_b))
    ay, ax = shift[:, :1] + rays_a * dy, shift[:, 1:] + rays_a * dx
    by, bx = rays_b * dy, rays_b * dx

    # (C, vertices of A, rays of B): which side of each ray the vertices lie on, and where an edge crosses it.
    side = dx * ay[:, :, None] - dy * ax[:, :, None]
    before, after = side[:, :-1], side[:, 1:]
    change = before - after
    crossing = before / jnp.where(change == 0, 1.0, change)
    # A wedge is where its own ray has p on the left, and the next ray has p on the right.
    start_left, stop_left = jnp.where(before < 0, crossing, 0.0), jnp.where(after < 0, crossing, 1.0)
    start_right, stop_right = jnp.where(before > 0, crossing, 0.0), jnp.where(after > 0, crossing, 1.0)
    start = jnp.clip(jnp.maximum(start_left[..., :-1], start_right[..., 1:]), 0.0, 1.0)
    stop = jnp.clip(jnp.minimum(stop_left[..., :-1], stop_right[..., 1:]), 0.0, 1.0)

    ny, nx = -jnp.diff(bx)[:, None], jnp.diff(by)[:, None]
    m = (bx[:, :-1] * by[:, 1:] - by[:, :-1] * bx[:, 1:])[:, None]
    q = ny * ay[:, :, None] + nx * ax[:, :, None]
    slope = q[:, 1:] - q[:, :-1]
    first, last = q[:, :-1] + start * slope, q[:, :-1] + stop * slope
    over = jnp.maximum(first - m, 0.0) + jnp.maximum(last - m, 0.0)
    total = jnp.abs(first - m) + jnp.abs(last - m)
    beyond = over / jnp.where(total == 0, 1.0, total)  # share of the stretch where the chord is nearer
    # At the point where the edge meets the chord, s = 1: the product of both ends serves a stretch that is cut there.
    nearer = m * m / jnp.maximum(jnp.maximum(first, m) * jnp.maximum(last, m), SLIVER_PX2**2)
    share = jnp.maximum(stop - start, 0.0) * (1.0 - beyond + beyond * nearer)
    turn = (ax[:, :-1] * ay[:, 1:] - ay[:, :-1] * ax[:, 1:])[:, :, None]
    # Two rays without length span no triangle, whatever rounding says about the side of their chord.
    return 0.5 * jnp.sum(jnp.where(m > SLIVER_PX2, share * turn, 0.0), axis=(1, 2))


@partial(jax.jit, static_argnames=("shape", "window"))
def polygons_to_labels(
    centre: jax.Array, rays: jax.Array, mask: jax.Array, shape: tuple[int, int], window: int
) -> jax.Array:
    """Draws star-convex polygons as labels; where they overlap, the earlier row wins.

    A pixel belongs to a polygon if its centre lies inside or on the boundary. What lies outside the image is cut.

    Args:
        centre: (K, 2), (y, x) in pixels, also outside the image.
        rays: (K, R), pixels, not negative.
        mask: (K,) bool, the rows to draw.
        shape: (H, W) of the image.
        window: odd side of the square around the rounded centre that is searched, pixels. Polygons that reach farther
            are cut: it takes at least 2 ceil(longest ray + 1/2) + 1.

    Returns:
        (H, W) int32: 0 for the background, k + 1 for row k.

    Raises:
        InputError: an even window.
    """
    if window < 1 or window % 2 == 0:
        raise InputError(f"window: expected an odd side in pixels; found {window}")
    centre, count, (height, width) = jnp.asarray(centre, rays.dtype), len(rays), shape
    if not count:
        return jnp.zeros(shape, jnp.int32)
    chunk = min(max(PIXELS // window**2, 1), count)
    groups = jnp.arange(count + -count % chunk, dtype=jnp.int32).reshape(-1, chunk)
    steps = jnp.arange(window) - window // 2

    def draw(best: jax.Array, group: jax.Array) -> tuple[jax.Array, None]:
        rows = jnp.minimum(group, count - 1)  # gathered, not sliced: see `intersection_areas`
        middle = centre[rows]
        pixel = jnp.round(middle).astype(jnp.int32)[..., None] + steps  # (C, 2, window)
        away = pixel - middle[..., None]
        inside = _inside(rays[rows], away[:, 0, :, None], away[:, 1, None, :]) & mask[rows, None, None]
        y, x = pixel[:, 0, :, None], pixel[:, 1, None, :]
        seen = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        place = jnp.where(inside & seen, y * width + x, height * width)
        return best.at[place].min(jnp.broadcast_to(group[:, None, None], place.shape), mode="drop"), None

    best, _ = lax.scan(draw, jnp.full(height * width, count, jnp.int32), groups)
    return jnp.where(best < count, best + 1, 0).reshape(shape)


def _inside(rays: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Whether points, relative to the centres, lie in the polygons: (C, H, W) bool of (C, R), (C, H, 1), (C, 1, W)."""
    count = rays.shape[-1]
    direction = ray_directions(count)
    # Half a turn in steps that both the rays and their mirror images fall on; the wedge is the number of steps passed.
    half = count if count % 2 else count // 2
    down = (y < 0) | ((y == 0) & (x < 0))
    up_y, up_x = jnp.where(down, -y, y), jnp.where(down, -x, x)
    passed = jnp.where(down, half, 0)
    for dy, dx in ray_directions(2 * half)[1:half].tolist():
        passed += dx * up_y - dy * up_x >= 0
    wedge = passed // 2 if count % 2 else passed

    by, bx = jnp.moveaxis(rays[..., None] * direction, -1, 0)
    next_y, next_x, after = (jnp.roll(values, -1, axis=1) for values in (by, bx, rays))
    flat = jnp.arange(len(rays))[:, None, None] * count + wedge
    ny, nx, m = (values.reshape(-1)[flat] for values in (bx - next_x, next_y - by, bx * next_y - by * next_x))
    reach = jnp.maximum(rays, after).reshape(-1)[flat]
    # Where a ray has no length the triangle is a line, which its chord does not end.
    return (ny * y + nx * x <= m) & (y * y + x * x <= reach * reach)


def render_polygons(centre: np.ndarray, rays: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Draws any number of star-convex polygons as labels; where they overlap, the earlier row wins.

    Polygons of like size share a window, and the numbers of them are rounded up: few shapes are compiled.

    Args:
        centre: (K, 2), (y, x) in pixels.
        rays: (K, R), pixels, not negative.
        shape: (H, W) of the image.

    Returns:
        (H, W) int32: 0 for the background, k + 1 for row k.

    Raises:
        InputError: arrays that do not fit together, negative or non-finite numbers.
    """
    centre, rays = check_polygons(centre, rays)
    nobody = np.iinfo(np.int32).max
    best = np.full(shape, nobody, np.int32)
    # A ray that leaves the image changes nothing beyond it: centres lie inside, or close by.
    rays = np.minimum(rays, float(np.hypot(*shape)) + np.abs(centre).max(axis=1, initial=0.0)[:, None])
    longest = np.minimum(np.ceil(rays.max(axis=1, initial=0.0) + 0.5), 2 * max(shape) + 1)
    half = power_of_two(longest, least=8)
    half = np.where(longest <= half * 3 // 4, half * 3 // 4, half)
    for size in np.unique(half):
        rows = np.flatnonzero(half == size)
        room = ((0, int(power_of_two(len(rows), least=64)) - len(rows)), (0, 0))
        mask = np.arange(len(rows) + room[0][1]) < len(rows)
        drawn = polygons_to_labels(
            np.pad(centre[rows], room), np.pad(rays[rows], room), mask, tuple(shape), 2 * int(size) + 1
        )
        best = np.minimum(best, np.concatenate([[nobody], rows + 1]).astype(np.int32)[np.asarray(drawn)])
    return np.where(best < nobody, best, 0)


def check_polygons(centre: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes polygons as float32 arrays.

    Args:
        centre: (K, 2), pixels.
        rays: (K, R), pixels.

    Returns:
        (K, 2) and (K, R) float32.

    Raises:
        InputError: arrays that do not fit together, negative or non-finite numbers.
    """
    centre, rays = np.asarray(centre, np.float32), np.asarray(rays, np.float32)
    if rays.ndim != 2 or rays.shape[1] < 3:
        raise InputError(f"rays: expected (K, R) with at least 3 rays; found shape {rays.shape}")
    if centre.shape != (len(rays), 2):
        raise InputError(f"centre: expected ({len(rays)}, 2), one (y, x) for each polygon; found shape {centre.shape}")
    if not np.isfinite(centre).all():
        raise InputError("centre: expected finite numbers; found NaN or infinity. Drop those polygons first")
    if not (np.isfinite(rays) & (rays >= 0)).all():
        raise InputError("rays: expected finite distances of at least 0; found others. Clip them first")
    return centre, rays


def power_of_two(numbers: np.ndarray | float, *, least: int) -> np.ndarray:
    """Rounds up to powers of two, so that few shapes are compiled.

    Args:
        numbers: (...), what must fit.
        least: smallest answer, a power of two.

    Returns:
        (...) int64.
    """
    return 2 ** np.ceil(np.log2(np.maximum(numbers, least))).astype(np.int64)
