"""Fields of spots: light, places and numbers against closed forms; what cannot be seen is not asked for."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from bioflax.errors import InputError
from bioflax.optics import SCMOS
from bioflax.simulate import SpotSimulator
from bioflax.simulate.spots import gaussian_light

CLEAN = {
    "structure": 0.0, "gradient": 0.0, "perlin": 0.0, "haze_share": 0.0, "cell_photons": 0.0, "clustered": 0.0,
    "pair_share": 0.0, "least_contrast": 0.0, "background_photons": 0.0, "pair_distance_px": 3.0, "spots_per_px": 0.004,
    "photons": 1000.0, "cluster_px": 4.0, "size": 64, "room": 110, "camera": SCMOS(bits=None),
    "stray_share": 0.0, "stray_room": 110,
}  # fmt: skip
expected = jax.jit(lambda s, key: jax.vmap(s.expected_photons)(jax.random.split(key, 150)))
sample = jax.jit(lambda s, key: s.sample(key, 30))


def simulator_of(**changes):
    """Even fields of equal spots but for the changes: one compilation serves all of one size."""
    return SpotSimulator(**(CLEAN | changes))


def draw(simulator):
    """Light and spots of 150 pictures, and their mask as booleans."""
    light, spots = jax.device_get(expected(simulator, jax.random.key(0)))
    return light, spots, spots["mask"] > 0


def share(centre, sigma, size):
    edges = (np.arange(size + 1) - 0.5 - centre) / (math.sqrt(2) * sigma)
    return np.diff(0.5 * erf(edges))


@pytest.mark.parametrize("shape", [(20, 30), (9, 20, 30)])
def test_light_of_spots_is_that_of_gaussians_integrated_over_pixels(shape) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(6, 9, (4, len(shape))) if len(shape) == 2 else rng.uniform([3, 6, 6], [5, 13, 23], (4, 3))
    photons, sigma, depth = rng.uniform(100, 900, 4), rng.uniform(0.8, 1.5, 4), rng.uniform(0.5, 0.8, 4)
    truth = 0.0
    for place, light, width, z in zip(points, photons, sigma, depth):
        plane = light * np.outer(share(place[-2], width, shape[-2]), share(place[-1], width, shape[-1]))
        along = math.sqrt(2 * math.pi) * z * share(place[0], z, shape[0])
        truth = truth + (plane if len(shape) == 2 else along[:, None, None] * plane)
    drawn = gaussian_light(*(jnp.asarray(v, jnp.float32) for v in (points, photons, sigma, depth)), shape=shape)
    np.testing.assert_allclose(drawn, truth, atol=2e-3)
    total = photons.sum() if len(shape) == 2 else (photons * depth).sum() * math.sqrt(2 * math.pi)
    assert float(drawn.sum()) == pytest.approx(total, rel=1e-3)


def test_the_light_of_a_lone_spot_lies_around_its_point() -> None:
    light, spots, mask = draw(simulator_of(spots_per_px=0.0002))
    deep = np.all((spots["points"] > 9) & (spots["points"] < 54), -1)
    alone = ((spots["photons"] > 0).sum(1) == 1) & (mask & deep).any(1)
    points, photons = spots["points"][mask & alone[:, None]], spots["photons"][mask & alone[:, None]]
    y, x = np.mgrid[:64, :64]
    total = light[alone].sum((1, 2))
    centroid = np.stack([(light[alone] * axis).sum((1, 2)) / total for axis in (y, x)], -1)
    assert alone.sum() > 8 and np.abs(centroid - points).max() < 0.05
    np.testing.assert_allclose(total, photons, rtol=1e-3)


@pytest.mark.parametrize("size", [64, pytest.param((5, 64, 64), marks=pytest.mark.acceptance)])
def test_as_many_spots_as_asked_for_all_inside_with_the_light_asked_for(size) -> None:
    simulator = simulator_of(size=size, pair_share=0.4)
    _, spots, mask = draw(simulator)
    count = mask.sum(1)
    assert count.mean() == pytest.approx(0.004 * 64**2, rel=0.07)
    assert count.var() > 0.7 * count.mean()
    shown = spots["points"][mask]
    assert shown.min() >= -0.5 and np.all(shown < np.array(simulator.shape) - 0.5)
    assert shown[:, -1].mean() == pytest.approx(31.5, abs=1.5)
    assert spots["photons"][mask].mean() == pytest.approx(1000, rel=0.05)
    assert np.log(spots["photons"][mask]).std() == pytest.approx(0.5, rel=0.05)
    # Two of 40 % of the pairs 2k, 2k + 1 lie 3 px apart.
    there = (spots["photons"] > 0)[:, 1::2]
    apart = np.linalg.norm(spots["points"][:, 1::2] - spots["points"][:, 0::2], axis=-1)[there]
    assert (np.abs(apart - 3.0) < 1e-3).mean() == pytest.approx(0.4, abs=0.04)


def test_no_spots_leave_a_background_with_the_noise_of_the_camera() -> None:
    batch = sample(simulator_of(spots_per_px=0.0, background_photons=50.0), jax.random.key(1))
    photons = SCMOS().to_photons(batch["image"])
    assert float(photons.mean()) == pytest.approx(50, rel=0.01) and float(batch["mask"].sum()) == 0
    assert float(photons.var()) == pytest.approx(50 / 0.82 + (1.6 / 0.82) ** 2, rel=0.03)


def test_clusters_bring_spots_together_and_leave_their_number() -> None:
    nearest, number = [], []
    for simulator in (simulator_of(), simulator_of(clustered=1.0)):
        _, spots, mask = draw(simulator)
        found = []
        for points, shown in zip(spots["points"], mask):
            apart = np.linalg.norm(points[shown][:, None] - points[shown][None], axis=-1)
            found.append((apart + 1e6 * np.eye(len(apart))).min(1, initial=1e6))
        nearest.append(np.median(np.concatenate(found)))
        number.append(mask.sum(1).mean())
    assert nearest[0] == pytest.approx(math.sqrt(math.log(2) / (math.pi * 0.004)), rel=0.15)  # of a Poisson process
    assert nearest[1] < 0.6 * nearest[0] and number[1] == pytest.approx(number[0], rel=0.1)


def test_what_cannot_be_seen_is_not_asked_for() -> None:
    asked = simulator_of(background_photons=30.0, photons=150.0, least_contrast=2.0)
    light, _, mask = draw(asked)
    all_light, spots, everything = draw(dataclasses.replace(asked, least_contrast=0.0))
    np.testing.assert_array_equal(light, all_light)
    peak = spots["photons"] * erf(0.5 / (math.sqrt(2) * spots["sigma_px"])) ** 2
    contrast = 0.82 * peak / math.sqrt(0.82 * 30 + 1.6**2)
    np.testing.assert_allclose(spots["contrast"], contrast, rtol=1e-4)
    np.testing.assert_array_equal(mask, everything & (spots["contrast"] >= 2.0))
    assert 0.2 < mask.sum() / everything.sum() < 0.9


def test_light_out_of_focus_and_cell_bodies_are_no_spots() -> None:
    plain, hazy, cell = (simulator_of(**more) for more in ({}, {"haze_share": 0.5}, {"cell_photons": 20.0}))
    (light, spots, mask), (veiled, same, _), (lit, _, shown) = draw(plain), draw(hazy), draw(cell)
    np.testing.assert_array_equal(spots["points"], same["points"])
    np.testing.assert_array_equal(mask, shown)
    added = veiled - light
    assert added.min() > -1e-2 and added.mean() > 1.0 and (lit - light).mean() == pytest.approx(10.0, rel=0.2)
    assert np.percentile(added, 99.9) < 0.6 * np.percentile(light, 99.9)


def test_strays_lobes_and_halo_bring_their_light_and_are_no_spots() -> None:
    more = {
        "stray": {"stray_share": 1.0, "stray_photons": 0.2},
        "lobes": {"lobe_peak": 0.1},
        "halo": {"halo_peak": 0.05},
    }
    light, spots, mask = draw(simulator_of())
    # Two lobes as wide as the spot; a halo of 3.5 times its width; stray spots of a fifth of its light.
    for name, expected in {"stray": 0.2, "lobes": 0.2, "halo": 0.05 * 3.5**2}.items():
        lit, same, shown = draw(simulator_of(**more[name]))
        np.testing.assert_array_equal(spots["points"], same["points"])
        np.testing.assert_array_equal(mask, shown)
        inside = spots["photons"][mask].sum()  # light of the margin leaves the field, and as much comes in
        assert (lit - light).sum() == pytest.approx(expected * inside, rel=0.12), name


def test_a_saturated_picture_is_cut_off_at_its_level() -> None:
    whole, cut = (np.asarray(sample(simulator_of(saturation=s), jax.random.key(2))["image"]) for s in (0.0, 1.0))
    axes = (1, 2, 3)
    np.testing.assert_array_equal(cut, np.minimum(whole, cut.max(axes, keepdims=True)))
    height = (cut.max(axes) - cut.min(axes)) / (whole.max(axes) - whole.min(axes))
    assert 0.29 < height.min() < 0.5 and 0.7 < height.max() < 0.91


def test_a_batch_is_a_function_of_its_key_and_compiles_once() -> None:
    first, again, other = (sample(simulator_of(), jax.random.key(seed)) for seed in (0, 0, 1))
    size = sample._cache_size()
    sample(simulator_of(spots_per_px=0.002, clustered=0.3), jax.random.key(0))
    assert sample._cache_size() == size
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert np.any(np.asarray(value) != np.asarray(other[name]))
    volumes = SpotSimulator(size=(3, 24, 32))
    shapes = jax.eval_shape(lambda s, key: s.sample(key, 2), volumes, jax.random.key(0))
    assert all(value.dtype == jnp.float32 for value in shapes.values())
    assert {name: value.shape for name, value in shapes.items()} == {
        "image": (2, 3, 24, 32, 1), "points": (2, volumes.room, 3), "mask": (2, volumes.room),
    }  # fmt: skip


@pytest.mark.acceptance  # every operation compiles by itself
def test_the_simulation_is_the_same_outside_jit() -> None:
    simulator = SpotSimulator(size=24, spots_per_px=0.01)
    light, spots = simulator.expected_photons(jax.random.key(3))
    again, same = jax.jit(lambda s, key: s.expected_photons(key))(simulator, jax.random.key(3))
    np.testing.assert_allclose(light, again, rtol=1e-3)
    np.testing.assert_allclose(spots["points"], same["points"], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"size": 4},
            r"SpotSimulator.size: expected pixels, one whole number of at least 8 or \(H, W\) or \(Z, H, W\)",
        ),
        ({"size": (8,)}, "SpotSimulator.size"),
        ({"margin_px": -1}, "SpotSimulator.margin_px: expected a whole number of at least 0, found -1"),
        ({"room": 0}, "SpotSimulator.room: expected a whole number of at least 1"),
        ({"spots_per_px": -1.0}, r"SpotSimulator.spots_per_px: expected at least 0 \(spots per pixel"),
        ({"photons": (5.0, 1.0)}, "low <= high"),
        (
            {"camera": SCMOS(offset_adu=np.full((32, 32), 100.0))},
            r"SpotSimulator.camera: expected maps .* \(256, 256\)",
        ),
    ],
)
def test_impossible_settings_are_told(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        SpotSimulator(**arguments)


def test_room_follows_from_the_highest_density_and_camera_maps_are_taken() -> None:
    mean = 0.01 * 80 * 80
    assert SpotSimulator(size=[64, 64], spots_per_px=[0.001, 0.01]).room == math.ceil(mean + 5 * math.sqrt(mean) + 4)
    camera = SCMOS(offset_adu=np.arange(64.0 * 64).reshape(64, 64), bits=None)
    shapes = jax.eval_shape(lambda s: s.sample(jax.random.key(4), 2), simulator_of(camera=camera))
    assert shapes["image"].shape == (2, 64, 64, 1)
