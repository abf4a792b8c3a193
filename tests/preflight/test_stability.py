"""Repeats, scenes that change, and noise that is carried over from capture to capture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bioflax.preflight import noise, stability


def field(seed: int, side: int = 128) -> np.ndarray:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    spots = generator.uniform(0, side, (12, 2))
    return sum(100 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 200) for a, b in spots)[None]


def noisy(image: np.ndarray, count: int, seed: int = 0, sigma: float = 20.0) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sigma, (count, *image.shape))


def test_static_scene_does_not_change():
    assert stability.scene_change(noisy(field(0), 4)) < 0.02


def test_static_scene_that_bleaches_does_not_change():
    captures = noisy(field(0), 3) * np.array([1.0, 0.8, 0.6])[:, None, None, None]
    assert stability.scene_change(captures) < 0.05
    assert stability.brightness_range(captures) == pytest.approx(1 / 0.6 - 1, rel=0.1)


@pytest.mark.parametrize("sigma", [5.0, 40.0])
def test_other_scene_is_told_apart(sigma):
    captures = np.concatenate([noisy(field(seed), 1, seed, sigma) for seed in (0, 1)])
    assert stability.scene_change(captures) > stability.ONE_SCENE


def puncta(seed: int, side: int = 128) -> np.ndarray:
    """Spots of about one pixel on a dark ground: the hardest scene to tell from another of its kind."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    places = zip(generator.uniform(0, side, (60, 2)), generator.lognormal(5, 0.6, 60))
    return 50 + sum(light * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 4) for (a, b), light in places)[None]


def test_unrelated_puncta_are_told_apart():
    captures = [noisy(puncta(seed), 2, seed) for seed in range(8)]
    for one, other in itertools.pairwise(captures):
        assert stability.agreement(one) > 0.7
        assert stability.scene_change(one) < 0.1
        assert stability.scene_change(np.stack([one[0], other[0]])) > stability.ONE_SCENE


def test_tiny_captures_have_no_blocks_to_compare():
    assert stability.agreement(noisy(np.zeros((1, 6, 6)), 2)) == 1.0


def test_dark_frames_count_as_one_scene():
    assert stability.scene_change(noisy(np.full((1, 128, 128), 100.0), 4)) <= stability.ONE_SCENE


def test_independent_noise_in_time():
    assert abs(stability.temporal_correlation(noisy(field(0), 8))) < 0.05
    assert stability.temporal_correlation(noisy(field(0), 3)) is None


def test_frame_averaging_shows():
    """A running mean of two frames correlates neighbours by one half."""
    raw = noisy(field(0), 9)
    assert stability.temporal_correlation((raw[1:] + raw[:-1]) / 2) == pytest.approx(0.5, abs=0.03)


def test_shared_resolution():
    assert stability.shared_resolution_px(noisy(field(0), 2, sigma=1.0)) < stability.shared_resolution_px(
        noisy(field(0), 2, sigma=30.0)
    )
    assert stability.shared_resolution_px(noisy(np.zeros((1, 16, 16)), 2)) is None


def test_expected_psnr_is_that_of_the_noise():
    captures = noisy(field(0), 6, sigma=10.0)
    low, high = np.percentile(field(0), (0.1, 99.9))
    expected = 20 * np.log10((high - low) / 10)
    assert stability.expected_psnr_db(captures, noise.from_repeats(captures)) == pytest.approx(expected, abs=0.7)
