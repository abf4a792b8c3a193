"""Pooling and upsampling against NumPy, their gradients, and windows that equal the whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.ops import average_pool, max_blur_pool, max_pool, space_to_depth, upsample_linear, upsample_nearest

ALL = [max_pool, max_blur_pool, upsample_linear, upsample_nearest]


def draw(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 4, 6, 2, 3)], ids=["2d", "3d"])
def test_max_pool_is_the_maximum_of_each_block(shape):
    image = draw(*shape)
    blocks = np.asarray(image).reshape(shape[0], *(part for size in shape[1:-1] for part in (size // 2, 2)), shape[-1])
    expected = blocks.max(axis=tuple(range(2, 2 * len(shape) - 3, 2)))
    np.testing.assert_array_equal(max_pool(image), expected)


def test_max_pool_gradient_goes_to_the_maximum():
    image = draw(1, 4, 4, 1)
    gradient = jax.grad(lambda image: jnp.sum(max_pool(image) * 3))(image)
    largest = np.asarray(image) == np.repeat(np.repeat(np.asarray(max_pool(image)), 2, 1), 2, 2)
    np.testing.assert_array_equal(gradient, 3.0 * largest)


def test_max_blur_pool_by_hand_in_one_axis():
    row = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    edge = np.pad(row, 1, mode="edge")
    running = np.maximum(edge[:-1], edge[1:])  # at -1, 0, ..., 7
    expected = [running[2 * j : 2 * j + 3] @ [0.25, 0.5, 0.25] for j in range(4)]
    image = jnp.asarray(np.tile(row, (2, 1)), jnp.float32)[None, :, :, None]  # constant along y
    np.testing.assert_allclose(max_blur_pool(image)[0, 0, :, 0], expected)


def test_max_blur_pool_is_mirror_symmetric():
    image = draw(1, 8, 6, 2)
    mirrored = max_blur_pool(image[:, ::-1, ::-1])[:, ::-1, ::-1]
    np.testing.assert_allclose(mirrored, max_blur_pool(image), atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 5, 2), (1, 2, 3, 4, 2)], ids=["2d", "3d"])
def test_nearest_repeats_and_its_gradient_sums(shape):
    image = draw(*shape)
    expected = np.asarray(image)
    for axis in range(1, len(shape) - 1):
        expected = np.repeat(expected, 2, axis)
    np.testing.assert_array_equal(upsample_nearest(image), expected)
    weight = draw(*expected.shape)
    gradient = jax.vjp(upsample_nearest, image)[1](weight)[0]
    blocks = np.asarray(weight).reshape(shape[0], *(part for size in shape[1:-1] for part in (size, 2)), shape[-1])
    np.testing.assert_allclose(gradient, blocks.sum(axis=tuple(range(2, 2 * len(shape) - 3, 2))), atol=1e-5)


def test_linear_upsampling_equals_image_resize_and_keeps_a_ramp():
    image = draw(2, 5, 6, 3)
    expected = jax.image.resize(image, (2, 10, 12, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(upsample_linear(image), expected, atol=1e-6)
    ramp = jnp.arange(6.0).reshape(1, 1, 6, 1)
    np.testing.assert_allclose(upsample_linear(ramp)[0, 0, 1:-1, 0], np.arange(0.25, 5.0, 0.5), atol=1e-6)


@pytest.mark.parametrize("function", ALL, ids=lambda function: function.__name__)
def test_constants_stay_and_types_stay(function):
    image = jnp.full((1, 4, 4, 2), 1.5, jnp.bfloat16)
    result = function(image)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result.astype(np.float32), 1.5)


@pytest.mark.parametrize("function", ALL, ids=lambda function: function.__name__)
def test_a_window_on_an_even_pixel_equals_the_whole(function):
    image = draw(1, 24, 20, 2)
    whole, window = function(image), function(image[:, 4:20, 6:18])
    up = whole.shape[1] // 12 / 2  # output pixels per input pixel: 2 or 1/2
    top, left, height, width = (int(n * up) for n in (4, 6, 16, 12))
    halo = 2
    inside = slice(halo, height - halo), slice(halo, width - halo)
    cut = whole[:, top : top + height, left : left + width]
    np.testing.assert_array_equal(window[:, inside[0], inside[1]], cut[:, inside[0], inside[1]])


def test_average_pool_and_space_to_depth_of_every_pair():
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), jnp.float32)
    pairs = np.asarray(image).reshape(2, 2, 2, 3, 2, 3)
    np.testing.assert_allclose(average_pool(image), pairs.mean(axis=(2, 4)), atol=1e-6)
    expected = np.concatenate([pairs[:, :, row, :, column] for column in (0, 1) for row in (0, 1)], axis=-1)
    np.testing.assert_array_equal(space_to_depth(image), expected)
    volume = jnp.arange(16.0).reshape(1, 2, 4, 2, 1)
    np.testing.assert_allclose(average_pool(volume)[0, 0, :, 0, 0], [5.5, 9.5])
