"""Noise estimates against noise of known statistics."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.preflight import noise
from bioflax.simulate import Filaments, Nuclei

GAIN, OFFSET, READ = 2.5, 100.0, 6.0


def scene(side: int = 192) -> np.ndarray:
    """Smooth expected photons between about 5 and 85, with flat and curved areas; (1, H, W)."""
    y, x = np.mgrid[:side, :side] / side
    blobs = sum(80 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.012) for a, b in ((0.25, 0.3), (0.7, 0.65), (0.3, 0.8)))
    return (5 + np.minimum(blobs, 80) + 10 * x)[None]


def camera(generator: np.random.Generator, photons: np.ndarray) -> np.ndarray:
    return GAIN * generator.poisson(photons) + OFFSET + generator.normal(0, READ, photons.shape)


@pytest.fixture(scope="module")
def captures() -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.stack([camera(generator, scene()) for _ in range(4)])


def test_repeats_recover_gain_and_read_noise(captures):
    found = noise.from_repeats(captures)
    assert found.method == "repeats"
    assert found.gain_adu_per_photon == pytest.approx(GAIN, rel=0.06)
    # variance at the camera offset is the read noise squared
    assert found.variance(OFFSET) == pytest.approx(READ**2, abs=12)
    assert found.variance(OFFSET + GAIN * 50) == pytest.approx(READ**2 + GAIN**2 * 50, rel=0.06)
    assert found.straightness() > 0.95


@pytest.mark.parametrize("scene", [Filaments(), Nuclei()], ids=["filaments", "nuclei"])
@pytest.mark.parametrize("photons", [5, 10, 40])
def test_gain_of_two_dim_captures(scene, photons):
    """Pixels sorted by their own noisy mean would lose up to half of the gain."""
    density = gaussian_filter(np.asarray(scene(jax.random.key(0), (256, 256)), float), 1.2)[None]
    expected = 1 + photons * density / np.percentile(density, 95)
    found = noise.from_repeats(np.stack([camera(np.random.default_rng(seed), expected) for seed in (0, 1)]))
    assert found.gain_adu_per_photon == pytest.approx(GAIN, rel=0.15)


def test_single_image_agrees_with_repeats(captures):
    exact, estimate = noise.from_repeats(captures), noise.from_single(captures[0])
    assert estimate.method == "single image"
    assert estimate.gain_adu_per_photon == pytest.approx(GAIN, rel=0.2)
    levels = OFFSET + GAIN * np.array([10.0, 40.0, 80.0])
    np.testing.assert_allclose(estimate.variance(levels), exact.variance(levels), rtol=0.15)


@pytest.mark.parametrize("estimate", [noise.from_repeats, lambda c: noise.from_single(c[0])])
def test_independent_noise_has_no_correlation(captures, estimate):
    found = estimate(captures)
    assert set(found.correlation) == {"Y", "X"}
    assert max(abs(value) for lags in found.correlation.values() for value in lags) < 0.08
    assert found.blind_spot_leak() < 0.05


def smeared(generator: np.random.Generator, side: int, axes: tuple[int, ...]) -> np.ndarray:
    """White noise under the kernel [1/2, 1/2] along `axes`, unit variance: lag-1 autocorrelation is exactly 1/2."""
    field = generator.normal(size=(1, side, side))
    for axis in axes:
        field = (field + np.roll(field, 1, axis)) / np.sqrt(2)
    return field


@pytest.mark.parametrize(("axes", "letters"), [((2,), "X"), ((1,), "Y"), ((1, 2), "XY")])
def test_correlated_noise_is_found_along_its_axis(axes, letters):
    generator = np.random.default_rng(2)
    captures = np.stack([100 + 20 * scene(192) + 15 * smeared(generator, 192, axes) for _ in range(3)])
    for found, tolerance in ((noise.from_repeats(captures), 0.04), (noise.from_single(captures[0]), 0.1)):
        for axis in "XY":
            expected = 0.5 if axis in letters else 0.0
            assert found.correlation[axis][0] == pytest.approx(expected, abs=tolerance)
            assert abs(found.correlation[axis][3]) < 0.1
        assert found.blind_spot_leak() > 0.3


def test_row_noise_is_a_plateau_along_x():
    generator = np.random.default_rng(3)
    captures = [100 + generator.normal(0, 3, (1, 192, 192)) + generator.normal(0, 3, (1, 192, 1)) for _ in range(3)]
    found = noise.from_repeats(np.stack(captures))
    np.testing.assert_allclose(found.correlation["X"], 0.5, atol=0.06)
    assert abs(found.correlation["Y"][0]) < 0.05


def test_depth_correlation_of_a_volume():
    generator = np.random.default_rng(4)
    white = generator.normal(size=(3, 9, 64, 64))
    deep = (white[:, 1:] + white[:, :-1]) / np.sqrt(2) * 10 + 200
    exact = noise.from_repeats(deep)
    assert list(exact.correlation) == ["Z", "Y", "X"]
    assert exact.correlation["Z"][0] == pytest.approx(0.5, abs=0.03)
    assert abs(exact.correlation["Z"][1]) < 0.05
    assert noise.from_single(deep[0]).correlation["Z"][0] == pytest.approx(0.5, abs=0.08)


def test_flat_noise_has_no_gain():
    generator = np.random.default_rng(5)
    captures = np.stack([100 + scene(128) + generator.normal(0, 5, (1, 128, 128)) for _ in range(4)])
    found = noise.from_repeats(captures)
    assert found.gain_adu_per_photon is None
    assert found.variance(150.0) == pytest.approx(25, rel=0.05)
    assert found.straightness() is None


def test_saturated_levels_do_not_bend_the_line():
    generator = np.random.default_rng(6)
    photons = np.linspace(2, 100, 128)[None, None, :] * np.ones((1, 128, 1))
    top = 200.0
    captures = np.minimum(np.stack([GAIN * generator.poisson(photons) for _ in range(4)]), top)
    found = noise.from_repeats(captures, clipped=(-np.inf, top))
    assert found.gain_adu_per_photon == pytest.approx(GAIN, rel=0.1)
    assert found.gain_adu_per_photon > noise.from_repeats(captures).gain_adu_per_photon


def test_brightness_of_captures_is_matched(captures):
    bleached = np.stack([OFFSET + (capture - OFFSET) * share for capture, share in zip(captures, (1.0, 0.9, 0.8, 0.7))])
    matched = noise.match_brightness(bleached)
    np.testing.assert_allclose(matched.mean((1, 2, 3)), matched.mean(), rtol=1e-6)
    contrast = [capture[0, 30:60, 40:70].mean() - capture[0, 120:150, 20:50].mean() for capture in matched]
    assert np.ptp(contrast) < 0.05 * np.mean(contrast)
    lags = noise.from_repeats(bleached).correlation
    assert max(abs(value) for values in lags.values() for value in values) < 0.08


def test_captures_without_a_scene_keep_their_scale():
    generator = np.random.default_rng(7)
    dark = generator.normal(100, 5, (3, 1, 64, 64))
    matched = noise.match_brightness(dark)
    np.testing.assert_allclose(matched.std((1, 2, 3)), dark.std((1, 2, 3)), rtol=1e-6)


def test_plane_is_the_least_squares_plane():
    y, x = np.mgrid[:16, :16]
    blocks = (3.0 + 0.5 * y - 0.25 * x)[None]
    np.testing.assert_allclose(noise.plane(blocks), blocks, atol=1e-12)
    residual = np.random.default_rng(8).normal(size=(5, 16, 16))
    residual -= noise.plane(residual)
    np.testing.assert_allclose((residual * y).sum((1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose((residual * x).sum((1, 2)), 0, atol=1e-9)


def test_autocorrelation_equals_its_definition():
    blocks = np.random.default_rng(9).normal(size=(7, 16, 16))
    found = noise.autocorrelation(blocks, 5)
    middle, power = noise.LAGS, (blocks**2).mean()
    assert found[middle, middle] == pytest.approx(1)
    assert found[middle, middle + 3] == pytest.approx((blocks[:, :, 3:] * blocks[:, :, :-3]).mean() / power)
    assert found[middle + 2, middle] == pytest.approx((blocks[:, 2:] * blocks[:, :-2]).mean() / power)
    assert found[middle + 1, middle + 4] == pytest.approx((blocks[:, 1:, 4:] * blocks[:, :-1, :-4]).mean() / power)
    assert found[middle, middle + 7] == 0


def test_autocorrelation_is_gathered_in_chunks(monkeypatch):
    blocks, sizes, whole = np.random.default_rng(9).normal(size=(7, 16, 16)), [], np.fft.rfft2
    expected = noise.autocorrelation(blocks, 5)
    monkeypatch.setattr(noise, "CHUNK", 3)
    monkeypatch.setattr(np.fft, "rfft2", lambda a, **options: sizes.append(len(a)) or whole(a, **options))
    np.testing.assert_allclose(noise.autocorrelation(blocks, 5), expected, atol=1e-12)
    assert sizes == [3, 3, 1]


def test_neighbour_share_of_a_first_order_process():
    """Exact for r^|lag| along one axis: from both neighbours a share 2 r^2 / (1 + r^2) is known."""
    r = 0.5
    lags = np.abs(np.arange(-noise.LAGS, noise.LAGS + 1))
    lag_map = np.zeros((lags.size, lags.size))
    lag_map[noise.LAGS] = r**lags
    assert noise.neighbour_share(lag_map) == pytest.approx(2 * r**2 / (1 + r**2), rel=1e-6)
    white = np.zeros_like(lag_map)
    white[noise.LAGS, noise.LAGS] = 1
    assert noise.neighbour_share(white) == pytest.approx(0, abs=1e-12)


def test_fit_line_ignores_outliers():
    means = np.linspace(10, 100, 16)
    variances = 3 * means + 20
    spoilt = variances.copy()
    spoilt[[3, 12]] *= 4
    gain, intercept = noise.fit_line(means, spoilt, np.full(16, 50))
    assert gain == pytest.approx(3, rel=0.02)
    assert intercept == pytest.approx(20, abs=3)


def test_shape_of_skewed_and_gaussian_noise():
    generator = np.random.default_rng(10)
    assert noise.shape_of(generator.normal(size=(200, 16, 16))) == pytest.approx((0, 0), abs=0.06)
    skewness, kurtosis = noise.shape_of(generator.exponential(size=(400, 16, 16)))
    assert skewness == pytest.approx(2, abs=0.15)
    assert kurtosis > 4


@pytest.mark.parametrize("image", [np.zeros((1, 64, 64)), np.full((1, 20, 20), 3.0), np.ones((1, 1, 1))])
def test_nothing_to_measure(image):
    assert noise.from_single(image) is None
    assert noise.from_repeats(np.stack([image, image])) is None
