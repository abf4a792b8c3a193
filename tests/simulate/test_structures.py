"""Scenes of fine structure: where they say it is, as bright as they say, different for each key."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics.pairs import profile_across
from bioflax.simulate import (
    Blank,
    LinePairs,
    Network,
    ParallelFilaments,
    PointPairs,
    SiemensStar,
    Vesicles,
    draw_line_pair,
    draw_point_pair,
)

SHAPE, PIXEL_NM = (40, 48), 50.0
lines_at, points_at = (jax.jit(draw, static_argnums=0) for draw in (draw_line_pair, draw_point_pair))
SCENES = [
    LinePairs(apart_nm=900.0, length_nm=500.0),
    PointPairs(apart_nm=900.0),
    SiemensStar(radius_nm=900.0),
    ParallelFilaments(),
    Network(),
    Vesicles(),
]


@functools.partial(jax.jit, static_argnums=2)
def pictures_of(scene, keys, shape, pixel_nm):
    return jax.vmap(lambda key: scene(key, shape, pixel_nm))(keys)


def drawn(scene, key, n=12, shape=SHAPE, pixel_nm=PIXEL_NM):
    return np.asarray(pictures_of(scene.with_room(shape, pixel_nm), jax.random.split(key, n), shape, pixel_nm))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: type(scene).__name__)
def test_a_scene_is_finite_positive_and_a_function_of_its_key(scene) -> None:
    first, again = drawn(scene, jax.random.key(0)), drawn(scene, jax.random.key(0))
    assert first.shape == (12, *SHAPE) and first.dtype == np.float32
    assert np.isfinite(first).all() and first.min() >= 0 and 0.5 < first.max() < 60
    np.testing.assert_array_equal(first, again)
    assert len({picture.tobytes() for picture in first}) == 12


def test_a_line_pair_lies_where_it_was_put_with_the_light_it_was_given() -> None:
    angle, centre, spacing_nm = 0.4, (20.3, 24.8), 300.0
    picture = np.asarray(lines_at(SHAPE, PIXEL_NM, spacing_nm, centre, angle, 900.0, 200.0), np.float64)
    assert picture.sum() * PIXEL_NM**2 == pytest.approx(2 * 900.0 * 200.0, rel=1e-3)
    y, x = (np.indices(SHAPE) + 0.5 - np.array(centre)[:, None, None]) * PIXEL_NM
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    for side in (-1, 1):
        light = np.where(side * across > 0, picture, 0.0)
        assert np.average(across, weights=light) == pytest.approx(side * 150.0, abs=0.5)
        assert np.average(along, weights=light) == pytest.approx(0.0, abs=0.5)
        assert np.average(along**2, weights=light) == pytest.approx(900.0**2 / 12, rel=0.02)
    assert np.average(np.abs(np.abs(across) - 150.0) > 1.5 * PIXEL_NM, weights=picture) < 1e-6


def test_a_point_pair_lies_along_its_angle_and_numbers_can_be_mapped_over() -> None:
    angle, spacing_nm = 1.1, jnp.asarray([0.0, 200.0, 400.0])
    pictures = jax.jit(jax.vmap(lambda d: draw_point_pair(SHAPE, PIXEL_NM, d, (19.6, 25.0), angle, 280.0)))(spacing_nm)
    y, x = (np.indices(SHAPE) + 0.5 - np.array([19.6, 25.0])[:, None, None]) * PIXEL_NM
    across = x * np.cos(angle) + y * np.sin(angle)
    for picture, distance in zip(np.asarray(pictures, np.float64), spacing_nm):
        assert picture.sum() * PIXEL_NM**2 == pytest.approx(2 * 280.0**2, rel=1e-3)
        assert np.average(across, weights=picture) == pytest.approx(0.0, abs=0.5)
        if distance > 0:
            second = np.where(across > 0, picture, 0.0)
            assert np.average(across, weights=second) == pytest.approx(float(distance) / 2, abs=0.5)


def test_the_metric_of_pairs_reads_the_peaks_where_they_were_drawn() -> None:
    centre, angle = (20.2, 23.9), 0.7
    picture = lines_at(SHAPE, PIXEL_NM, 400.0, centre, angle, 900.0, 200.0)
    # The metric counts from the centre of the first pixel, drawing from its corner; its profile goes in quarter pixels.
    profile = profile_across(picture, tuple(np.array(centre) - 0.5), angle, length_px=16.0, width_px=8.0)
    at = (np.arange(profile.size) - profile.size // 2) / 4 * PIXEL_NM
    for side in (-1, 1):
        assert at[np.argmax(np.where(side * at > 0, profile, -1.0))] == pytest.approx(side * 200.0, abs=PIXEL_NM / 4)


@pytest.mark.parametrize("kind", ["lines", "points"])
def test_the_geometry_of_pairs_is_that_of_the_picture(kind: str) -> None:
    scene = LinePairs(apart_nm=900.0, length_nm=500.0) if kind == "lines" else PointPairs(apart_nm=900.0)
    scene = scene.with_room(SHAPE, PIXEL_NM)
    assert scene.room == (2, 2)
    key = jax.random.key(5)
    pairs = {name: np.asarray(value) for name, value in scene.pairs(key, SHAPE, PIXEL_NM).items()}
    assert pairs["spacing_nm"].min() >= 80 and pairs["spacing_nm"].max() <= 400
    assert np.abs(pairs["centre_yx_px"][0] - pairs["centre_yx_px"][1]).max() * PIXEL_NM > 800
    total = 0.0
    for centre, angle, spacing_nm, bright in zip(
        *(pairs[n] for n in ("centre_yx_px", "angle_rad", "spacing_nm", "brightness"))
    ):
        if kind == "lines":
            total += bright * np.asarray(lines_at(SHAPE, PIXEL_NM, spacing_nm, centre, angle, 500.0, scene.line_nm))
        else:
            total += bright * np.asarray(points_at(SHAPE, PIXEL_NM, spacing_nm, centre, angle, scene.spot_nm))
    # Two ways to place the points along a line differ by a share of a pixel at its ends.
    picture = np.asarray(pictures_of(scene, key[None], SHAPE, PIXEL_NM))[0]
    assert np.abs(picture - total).max() < 0.06 * total.max()


def test_spokes_are_half_of_a_disc_and_grey_where_they_are_too_fine() -> None:
    star = drawn(SiemensStar(radius_nm=700.0, spokes=8), jax.random.key(1), n=1)[0]
    assert star.max() == 1.0 and star[[0, -1]].max() == 0
    assert star.sum() * PIXEL_NM**2 == pytest.approx(0.5 * np.pi * 700.0**2, rel=0.02)
    y, x = np.indices(SHAPE)
    inside = np.hypot(y - np.average(y, weights=star), x - np.average(x, weights=star)) < 12
    assert np.mean((star[inside] > 0.95) | (star[inside] < 0.05)) > 0.5
    fine = drawn(SiemensStar(radius_nm=700.0, spokes=120), jax.random.key(1), n=1)[0]
    assert np.abs(fine[inside] - 0.5).max() < 0.13


def test_stripes_have_their_spacing_and_light() -> None:
    for spacing_nm in (200.0, 400.0):
        pictures = drawn(ParallelFilaments(spacing_nm=spacing_nm), jax.random.key(2), n=4, shape=(48, 48))
        assert pictures.mean() == pytest.approx(120.0 / spacing_nm, rel=0.05)
        for picture in pictures:
            power = np.abs(np.fft.fft2((picture - picture.mean()) * np.hanning(48)[:, None] * np.hanning(48)))
            at = np.unravel_index(np.argmax(power), power.shape)
            peak = np.hypot(*(np.fft.fftfreq(48)[i] for i in at)) / PIXEL_NM
            assert peak == pytest.approx(1 / spacing_nm, abs=0.6 / (48 * PIXEL_NM))


def test_vesicles_are_shells_of_their_radius() -> None:
    scene = Vesicles(radius_nm=250.0, apart_nm=2_400.0, grain=0.0)
    pictures = [p for p in drawn(scene, jax.random.key(3), n=60, shape=(48, 48)) if p.max() > 0]
    whole = [p for p in pictures if p[[0, -1]].max() == 0 and p[:, [0, -1]].max() == 0]
    assert len(whole) > 10
    for p in whole:
        y, x = np.indices(p.shape)
        cy, cx = np.average(y, weights=p), np.average(x, weights=p)
        square = (y - cy) ** 2 + (x - cx) ** 2
        # A shell seen from above: mean squared radius 2/3 R^2, and the 1/3 px^2 of the drawing.
        assert np.average(square, weights=p) == pytest.approx(2 / 3 * 25.0 + 1 / 3, rel=0.05)
        assert p[square > 6.5**2].max() == 0
    middle = [p.sum() / (2 * np.pi * 25.0) for p in whole]
    assert np.mean(middle) == pytest.approx(1.0, abs=0.25)


def test_tubes_meet_in_threes_and_their_light_grows_with_their_number() -> None:
    scene = Network(grain=0.0, apart_nm=800.0)
    most, half, none = (
        drawn(dataclasses.replace(scene, kept=kept), jax.random.key(4), n=12).mean() for kept in (1.0, 0.5, 0.0)
    )
    # A honeycomb of sides a has the length 2 / (sqrt(3) a) per area; crooked tubes are somewhat longer.
    assert 1.0 < most / (220.0 * 2 / (np.sqrt(3) * 800.0)) < 1.25
    assert none == 0 and half / most == pytest.approx(0.5, abs=0.1)


def test_blank_is_even() -> None:
    assert np.ptp(drawn(Blank(density=0.3), jax.random.key(0), n=2)) == 0
    assert drawn(Blank(), jax.random.key(0), n=1).max() == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="LinePairs.spacing_nm: expected .*low <= high"):
        LinePairs(spacing_nm=(300.0, 100.0))
    with pytest.raises(InputError, match="SiemensStar.spokes: expected a whole number of at least 2, found 1"):
        SiemensStar(spokes=1)
    with pytest.raises(InputError, match="Vesicles.apart_nm: expected a plain number where the scene gets its room"):
        jax.jit(lambda apart: Vesicles(apart_nm=apart).with_room(SHAPE, PIXEL_NM).room)(700.0)
