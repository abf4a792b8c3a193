"""Kinds of noise: mean, variance and correlation against closed forms; at one light all have the same power."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics.camera import SCMOS
from bioflax.optics.likelihood import sensor
from bioflax.simulate import CorrelatedNoise, GaussianNoise, PixelMaps, RowNoise, Simulator
from bioflax.simulate.noises import KINDS, matched

SHAPE = (40, 64, 64)
CAMERAS = {
    "gaussian": GaussianNoise(noise_e=6.0, bits=None),
    "correlated": CorrelatedNoise(correlation_px=3.0, bits=None),
    "rows": RowNoise(row_noise_e=2.5, bits=None),
    "maps": PixelMaps(gain_spread=0.05, offset_spread_adu=3.0, hot_share=0.05, hot_factor=4.0, bits=None),
}


@jax.jit
def expose(camera, key, photons):
    return camera.expose(key, photons)


def counts(camera, photons: float, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.asarray(expose(camera, jax.random.key(seed), jnp.full(shape, photons, jnp.float32)), np.float64)


@pytest.mark.parametrize("photons", [2.0, 50.0])
@pytest.mark.parametrize("name", CAMERAS)
def test_mean_and_variance_are_as_stated(name, photons) -> None:
    camera = CAMERAS[name]
    seen, expected = counts(camera, photons), float(camera.expected(photons))
    variance = float(camera.variance(jnp.float32(photons)))
    # Independent values: rows, or patches of the correlation, or pixels of the maps.
    number = {"rows": 40 * 64, "correlated": seen.size / (np.pi * 4.5), "maps": 64 * 64}.get(name, seen.size)
    assert abs(seen.mean() - expected) < 4.0 * np.sqrt(variance / number)
    assert np.mean((seen - expected) ** 2) == pytest.approx(variance, rel=8.0 * np.sqrt(2.0 / number))
    np.testing.assert_allclose(camera.to_photons(camera.expected(photons)), photons, rtol=1e-5)


def test_variance_in_numbers() -> None:
    light = jnp.float32(50.0)  # 41 electrons, 2 ADU each
    assert float(GaussianNoise(noise_e=6.0).variance(light)) == pytest.approx(4 * 36.0)
    assert float(CorrelatedNoise().variance(light)) == pytest.approx(4 * (41 + 2.56))
    assert float(RowNoise(row_noise_e=2.5).variance(light)) == pytest.approx(4 * (41 + 2.56 + 6.25))
    bare = PixelMaps(gain_spread=0.1, offset_spread_adu=3.0, read_noise_spread=0.0, hot_share=0.1, hot_factor=2.0)
    read = 2.56 * (0.9 + 0.1 * 4)
    assert float(bare.variance(light)) == pytest.approx(4 * (1.01 * (41 + read) + 0.01 * 41**2) + 9.0)


@pytest.mark.parametrize("correlation_px", [1.5, 4.0])
def test_correlation_falls_as_stated_and_is_even_all_around(correlation_px) -> None:
    seen = counts(CorrelatedNoise(correlation_px=correlation_px, bits=None), 20.0)
    seen -= seen.mean()
    for distance in (1, 2, 4):
        stated = np.exp(-((distance / correlation_px) ** 2))
        for axis in (1, 2):
            found = np.mean(seen * np.roll(seen, distance, axis)) / np.mean(seen**2)
            assert found == pytest.approx(stated, abs=0.03), (distance, axis)
    assert abs(np.mean(seen[0] * seen[1])) < 0.1 * np.mean(seen**2)  # exposures are independent


def test_correlated_variance_follows_the_light_pixel_by_pixel() -> None:
    camera = CorrelatedNoise(correlation_px=3.0, bits=None)
    photons = jnp.broadcast_to(jnp.where(jnp.arange(32) < 16, 2.0, 200.0), (2000, 4, 32)).astype(jnp.float32)
    seen = np.asarray(expose(camera, jax.random.key(0), photons))
    np.testing.assert_allclose(seen.var(0).mean(0), camera.variance(photons[0, 0]), rtol=0.12)


def test_without_a_correlation_it_is_an_scmos() -> None:
    camera = CorrelatedNoise(correlation_px=0.0)
    assert np.abs(counts(camera, 20.0) - counts(SCMOS(), 20.0)).max() <= 1.0  # but for rounding


def test_rows_share_their_offset_and_it_is_new_in_each_exposure() -> None:
    seen = counts(RowNoise(row_noise_e=5.0, read_noise_e=0.0, bits=None), 4.0, (50, 32, 64))
    row = seen.mean(-1)
    # Variance of a row's mean: its offset, and the shot noise over 64 pixels.
    assert row.var() == pytest.approx(4 * (25 + 0.82 * 4 / 64), rel=0.12)
    assert seen.mean(1).var() == pytest.approx(4 * (25 + 0.82 * 4) / 32, rel=0.12)  # columns have none
    assert abs(np.corrcoef(row[0], row[1])[0, 1]) < 0.6


def test_maps_stay_over_exposures_and_follow_the_seed() -> None:
    camera = PixelMaps(gain_spread=0.1, offset_spread_adu=5.0, hot_share=0.03, bits=None)
    mean, again = (counts(camera, 100.0, (400, 16, 16), seed).mean(0) for seed in (0, 1))
    maps = {name: np.asarray(value) for name, value in camera.maps((16, 16)).items()}
    stated = maps["offset_adu"] + maps["gain_adu_per_e"] * 82.0
    assert np.corrcoef(mean.ravel(), again.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(mean, stated, atol=6 * 2 * np.sqrt(82 + 300) / 20)
    dark = counts(camera, 0.0, (400, 16, 16)).std(0)
    np.testing.assert_allclose(dark, maps["gain_adu_per_e"] * maps["read_noise_e"], rtol=0.2)
    assert not np.allclose(maps["offset_adu"], dataclasses.replace(camera, seed=1).maps((16, 16))["offset_adu"])


@pytest.mark.parametrize("kind", KINDS)
def test_matched_kinds_have_one_mean_and_one_variance(kind) -> None:
    reference, camera = matched("scmos", 30.0), matched(kind, 30.0)
    light = jnp.asarray([0.0, 30.0, 300.0])
    np.testing.assert_allclose(camera.expected(light), reference.expected(light), rtol=1e-5)
    np.testing.assert_allclose(camera.variance(light)[1], 4 * (24.6 + 25.0), rtol=1e-4)
    if kind in ("correlated", "rows"):
        np.testing.assert_allclose(camera.variance(light), reference.variance(light), rtol=1e-5)
    if kind == "poisson":
        assert float(camera.variance(light)[0]) == 0.0


def test_a_simulator_takes_each_kind_and_its_numbers_are_leaves() -> None:
    for camera in CAMERAS.values():
        simulator = Simulator(camera=dataclasses.replace(camera, bits=16), size=16, margin=0)
        assert len(jax.tree.leaves(simulator.camera)) == len(dataclasses.fields(camera)) - 1 - hasattr(camera, "seed")
        shape = jax.eval_shape(lambda s: s.sample(jax.random.key(0), 2), simulator)["image"].shape
        assert shape == (2, 16, 16, 1)
    gain = jax.grad(lambda camera: camera.expected(10.0))(CAMERAS["rows"]).gain_adu_per_e
    assert float(gain) == pytest.approx(8.2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: GaussianNoise(noise_e=-1.0), r"GaussianNoise\.noise_e: expected at least 0"),
        (lambda: GaussianNoise(bits=60), "bits: expected a whole number 1 to 24"),
        (lambda: CorrelatedNoise(correlation_px=-1.0), r"CorrelatedNoise\.correlation_px: expected at least 0"),
        (lambda: PixelMaps(seed=1.5), r"PixelMaps\.seed: expected a whole number"),
        (lambda: sensor(GaussianNoise()), "no likelihood or bound for purely Gaussian noise; take camera=scmos"),
        (lambda: matched("pink"), r"camera\.kind: expected one of gaussian, .* found 'pink'"),
        (lambda: matched("rows", row_share=2.0), r"camera\.row_share: .* 0 to 1, found 2\.0"),
        (lambda: matched("rows", 0.0), r"camera\.photons: .* above 0, found 0\.0"),
        (lambda: matched("scmos_maps", 3000.0), r"camera\.read_noise_e: expected more than the pattern of the maps"),
    ],
)
def test_it_refuses(make, text) -> None:
    with pytest.raises(InputError, match=text):
        make()
