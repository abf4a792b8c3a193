"""Drawing: light is kept, positions are where they should be, lines and discs have no stairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.simulate import draw

splat = jax.jit(draw.splat, static_argnums=2)


def test_splat_keeps_light_and_place():
    positions = jnp.array([[5.5, 7.5], [5.5, 8.0], [10.2, 3.9]])
    light = jnp.array([1.0, 2.0, 0.5])
    image = np.asarray(splat(positions, light, (16, 20)))
    assert image.sum() == pytest.approx(3.5, abs=1e-4)
    assert image[5, 7] == pytest.approx(1.0 + 1.0) and image[5, 8] == pytest.approx(1.0)
    alone = np.asarray(splat(positions[2:], light[2:], (16, 20))) / 0.5
    assert alone.sum(1) @ (np.arange(16) + 0.5) == pytest.approx(10.2, abs=1e-3)
    assert alone.sum(0) @ (np.arange(20) + 0.5) == pytest.approx(3.9, abs=1e-3)


def test_splat_drops_what_lies_outside():
    positions = jnp.array([[-3.0, 5.0], [5.0, 99.0], [0.0, 5.5], [8.0, 8.0]])
    image = np.asarray(splat(positions, jnp.ones(4), (8, 8)))
    # A point on the border shares half its light with the outside, one on the corner three quarters.
    assert image.sum() == pytest.approx(0.75, abs=1e-4)
    assert image[0, 5] == pytest.approx(0.5, abs=1e-4) and image[7, 7] == pytest.approx(0.25, abs=1e-4)


def test_a_tilted_line_is_even_without_stairs():
    along = jnp.linspace(-10.0, 70.0, 400)
    positions = jnp.stack([0.37 * along + 12.3, along], axis=-1)
    image = np.asarray(splat(positions, jnp.full(400, 0.2), (50, 60)))
    columns = image.sum(0)[5:-5]
    assert columns.std() / columns.mean() < 0.03
    centre = (image * (np.arange(50) + 0.5)[:, None]).sum(0)[5:-5] / columns
    np.testing.assert_allclose(centre, 0.37 * (np.arange(60) + 0.5)[5:-5] + 12.3, atol=0.06)


def test_curves_pass_their_middle_evenly():
    turns = 0.1 * jax.random.normal(jax.random.key(1), (6, 20))
    start = jnp.full((6, 2), 50.0)
    path = np.asarray(draw.curves(start=start, heading=jnp.zeros(6), turns=turns, step_px=5.0, points=200))
    assert path.shape == (6, 200, 2)
    assert np.linalg.norm(path - 50.0, axis=-1).min(axis=1).max() < 1.0
    spacing = np.linalg.norm(np.diff(path, axis=1), axis=-1)
    np.testing.assert_allclose(spacing, 5.0 * 17 / 199, rtol=0.05)


def test_a_curve_without_turns_is_straight():
    path = draw.curves(
        start=jnp.array([[3.0, 4.0]]), heading=jnp.array([0.5]), turns=jnp.zeros((1, 9)), step_px=2.0, points=30
    )[0]
    assert np.linalg.matrix_rank(np.asarray(path - path[0]), tol=1e-3) == 1


def test_spots_hold_their_light():
    image = draw.spots(jnp.array([[10.0, 12.0], [20.0, 8.0]]), jnp.array([3.0, 1.0]), jnp.array([1.0, 1.5]), (32, 32))
    assert float(image.sum()) == pytest.approx(4.0, abs=1e-4)
    assert float(image[9, 11]) == pytest.approx(float(image[10, 12]), rel=1e-4)


def test_ellipsoids_have_the_area_of_ellipses():
    flat = draw.ellipsoids(
        jnp.array([[32.0, 30.0]]),
        jnp.array([[14.0, 9.0]]),
        jnp.array([0.6]),
        jnp.array([1.0]),
        jnp.zeros((2, 64, 64)),
        edge_px=1.0,
    )
    assert float((flat > 0.225).sum()) == pytest.approx(np.pi * 14.0 * 9.0, rel=0.02)
    y, x = (np.asarray(flat).sum(axis) @ (np.arange(64) + 0.5) / float(flat.sum()) for axis in (1, 0))
    assert (y, x) == pytest.approx((32.0, 30.0), abs=0.01)
    # The long half axis is tilted by the angle from +x towards +y.
    assert float(flat[int(32 + 11 * np.sin(0.6)), int(30 + 11 * np.cos(0.6))]) > 0
    assert float(flat[int(32 - 11 * np.sin(0.6)), int(30 + 11 * np.cos(0.6))]) == 0


@pytest.mark.parametrize("cell_px", [4.0, 11.0])
def test_smooth_noise_has_unit_power_and_the_asked_size(cell_px):
    fields = np.asarray(
        jax.jit(jax.vmap(lambda k: draw.smooth_noise(k, (64, 64), cell_px)))(jax.random.split(jax.random.key(0), 40))
    )
    assert fields.mean() == pytest.approx(0.0, abs=0.1)
    assert fields.std() == pytest.approx(1.0, abs=0.1)
    lag = int(cell_px)
    near, far = ((fields[:, :, :-d] * fields[:, :, d:]).mean() for d in (1, 3 * lag))
    assert near > 0.85 and abs(far) < 0.15


def test_smooth_noise_is_fastest_at_three_pixels():
    key = jax.random.key(5)
    np.testing.assert_array_equal(draw.smooth_noise(key, (20, 20), 0.5), draw.smooth_noise(key, (20, 20), 3.0))
