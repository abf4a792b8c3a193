"""Losses of structure and of frequencies equal a float64 NumPy oracle; their means equal the metrics of the same name."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax import losses, metrics
from bioflax.errors import InputError

SHAPE = (2, 14, 17, 2)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.normal(size=SHAPE).cumsum(1)
    return target + 0.5 * rng.normal(size=SHAPE), target


def similarity(image: np.ndarray, target: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM window by window, as its definition says."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    weight = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = np.empty((image.shape[0] - 10, image.shape[1] - 10))
    for y, x in np.ndindex(found.shape):
        a, b = image[y : y + 11, x : x + 11], target[y : y + 11, x : x + 11]
        mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
        spread_a, spread_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
        both = (weight * (a - mean_a) * (b - mean_b)).sum()
        found[y, x] = (2 * mean_a * mean_b + c1) * (2 * both + c2)
        found[y, x] /= (mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2)
    return found


@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_charbonnier_is_a_rounded_absolute_error(pair, epsilon) -> None:
    image, target = pair
    found = losses.charbonnier(jnp.float32(image), jnp.float32(target), epsilon=epsilon)
    np.testing.assert_allclose(found, np.hypot(image - target, epsilon), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda e: losses.charbonnier(e, jnp.zeros(()), epsilon=epsilon))
    assert float(slope(jnp.float32(0.0))) == 0.0  # where the absolute error has a corner
    assert float(slope(jnp.float32(100.0))) == pytest.approx(1.0, rel=1e-4)
    mask = (np.arange(SHAPE[1])[None, :, None, None] % 2) * np.ones(SHAPE)
    masked = losses.charbonnier(jnp.float32(image), jnp.float32(target), jnp.float32(mask), epsilon=epsilon)
    np.testing.assert_allclose(masked, np.hypot(image - target, epsilon) * mask, rtol=1e-5, atol=1e-6)


def test_dissimilarity_is_that_of_every_window(pair) -> None:
    image, target = pair
    spread = np.ptp(target, (1, 2, 3), keepdims=True)
    found = np.asarray(losses.structural_dissimilarity(jnp.float32(image), jnp.float32(target), jnp.float32(spread)))
    assert found.shape == (2, 4, 7, 2)
    for n, channel in np.ndindex(2, 2):
        one = (image[n, ..., channel], target[n, ..., channel], float(spread[n, 0, 0, 0]))
        np.testing.assert_allclose(found[n, ..., channel], 1 - similarity(*one), atol=2e-5)
        assert 1 - found[n, ..., channel].mean() == pytest.approx(float(metrics.ssim(*one)), abs=1e-5)
    same = losses.structural_dissimilarity(jnp.float32(target), jnp.float32(target), jnp.float32(spread))
    np.testing.assert_allclose(same, 0.0, atol=1e-6)


def test_dissimilarity_of_a_high_level_keeps_its_digits(pair) -> None:
    """A camera offset of 1,000 counts under a contrast of a few: squares would cancel in float32."""
    image, target = (1000.0 + array[:1, ..., :1] for array in pair)
    spread = float(np.ptp(target))
    found = losses.structural_dissimilarity(jnp.float32(image), jnp.float32(target), jnp.float32(spread))
    np.testing.assert_allclose(found[0, ..., 0], 1 - similarity(image[0, ..., 0], target[0, ..., 0], spread), atol=1e-3)


def test_planes_of_a_stack_are_looked_at_one_by_one(pair) -> None:
    image, target = (jnp.float32(array) for array in pair)
    for loss in (
        lambda a, b: losses.structural_dissimilarity(a, b, jnp.float32(3.0)),
        lambda a, b: losses.fourier_error(a, b, (0.0, 0.2)),
    ):
        stack = jax.jit(loss)(jnp.stack([image, target], 1), jnp.stack([target, target], 1))
        np.testing.assert_allclose(stack[:, 0], loss(image, target), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stack[:, 1], 0.0, atol=1e-5)


@pytest.mark.parametrize(("band", "inside", "outside"), [((0.0, 0.3), 1.0, 0.0), ((0.1, 0.25), 2.0, 0.5)])
def test_fourier_error_weighs_frequencies(pair, band, inside, outside) -> None:
    image, target = pair
    found = losses.fourier_error(jnp.float32(image), jnp.float32(target), band, inside, outside)
    assert found.shape == SHAPE
    power = abs(np.fft.fft2(image - target, axes=(1, 2))) ** 2 / (SHAPE[1] * SHAPE[2])
    radius = np.hypot(np.fft.fftfreq(SHAPE[1])[:, None], np.fft.fftfreq(SHAPE[2])[None, :])
    weight = np.where((band[0] <= radius) & (radius <= band[1]), inside, outside)
    np.testing.assert_allclose(found, power * weight[..., None], rtol=1e-4, atol=1e-5)


def test_fourier_error_of_all_frequencies_is_the_mean_square_error(pair) -> None:
    image, target = pair
    found = losses.fourier_error(jnp.float32(image), jnp.float32(target), (0.2, 0.3), 1.0, 1.0)
    np.testing.assert_allclose(found.mean((1, 2)), ((image - target) ** 2).mean((1, 2)), rtol=1e-5)


def test_a_wave_outside_of_the_band_costs_nothing() -> None:
    x = np.arange(16)
    wave = np.broadcast_to(np.cos(2 * np.pi * 5 / 16 * x), (1, 16, 16))[..., None]
    zero = jnp.zeros((1, 16, 16, 1))
    assert float(losses.fourier_error(jnp.float32(wave), zero, (0.0, 0.3)).sum()) < 1e-4
    assert float(losses.fourier_error(jnp.float32(wave), zero, (0.0, 0.32)).mean()) == pytest.approx(0.5, rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    small, other = jnp.zeros((1, 10, 30, 1)), jnp.zeros((1, 30, 10, 1))
    with pytest.raises(
        InputError, match=r"SSIM needs at least 11 pixels a side, found \(10, 30\); take larger patches"
    ):
        losses.structural_dissimilarity(small, small, jnp.float32(1.0))
    for loss in (
        lambda: losses.charbonnier(small, other),
        lambda: losses.structural_dissimilarity(small, other, jnp.float32(1.0)),
        lambda: losses.fourier_error(small, other, (0.0, 0.5)),
    ):
        with pytest.raises(InputError, match=r"prediction \(1, 10, 30, 1\) and target \(1, 30, 10, 1\) differ"):
            loss()
