"""Backgrounds: means, ranges and shapes that their definitions give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.simulate.background import draw_background, perlin_noise, slope

KEYS = jax.random.split(jax.random.key(0), 200)


def test_a_gradient_rises_by_its_share_and_keeps_the_mean() -> None:
    planes = np.asarray(jax.vmap(lambda k: draw_background(k, 10.0, (40, 40), gradient=0.8))(KEYS))
    assert planes.mean((1, 2)) == pytest.approx(10.0, rel=1e-4)
    assert np.ptp(planes, (1, 2)) == pytest.approx(10.0 * 0.8 * 39 / 40, rel=1e-3)
    second = np.diff(planes, 2, 1)
    assert np.abs(second).max() < 1e-3  # a plane has no curvature
    assert np.std(np.asarray(jax.vmap(lambda k: slope(k, (8, 8)))(KEYS))[:, 0, 0]) > 0.1  # its direction is random


def test_perlin_noise_is_bounded_smooth_and_zero_at_its_nodes() -> None:
    pictures = np.asarray(jax.vmap(lambda k: perlin_noise(k, (64, 64), 16.0))(KEYS))
    assert np.abs(pictures).max() <= 1.0 and 0.2 < pictures.std() < 0.45
    assert abs(pictures.mean()) < 0.02
    # The largest slope of a cell is about two per cell side.
    assert np.abs(np.diff(pictures, axis=1)).max() < 3.0 / 16
    # Beyond two cells nothing is shared: no correlation at four.
    far = np.mean(pictures[:, :, 32:] * pictures[:, :, :-32]) / pictures.var()
    near = np.mean(pictures[:, :, 2:] * pictures[:, :, :-2]) / pictures.var()
    assert abs(far) < 0.1 and near > 0.8


def test_light_is_never_negative_and_the_amplitude_is_relative() -> None:
    wild = np.asarray(
        jax.vmap(lambda k: draw_background(k, 5.0, (32, 32), structure=1.0, perlin=1.0, gradient=2.0))(KEYS)
    )
    assert wild.min() >= 0.0
    one, ten = (draw_background(KEYS[0], level, (32, 32), perlin=0.3) for level in (1.0, 10.0))
    np.testing.assert_allclose(10.0 * one, ten, rtol=1e-5)
    assert float(jnp.ptp(draw_background(KEYS[0], 7.0, (16, 16)))) == 0.0
