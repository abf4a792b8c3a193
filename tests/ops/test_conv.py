"""The convolution equals the library's own, forward and both gradients, and keeps every transformation of JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from bioflax.ops import conv
from bioflax.ops.conv import convolve, convolve_dilated, convolve_joined
from bioflax.ops.resample import upsample_nearest

LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
CASES = [  # batch, spatial sizes, window, channels in and out
    (2, (7, 9), 3, 3, 4),
    (3, (8, 8), 5, 1, 2),
    (1, (5, 6), 1, 4, 3),
    (2, (1, 1), 3, 2, 2),
    (5, (70, 3), 3, 2, 1),
    (2, (3, 5, 7), 3, 2, 3),
    (1, (4, 4, 4), 5, 1, 2),
    (2, (5, 3, 2), 1, 3, 1),
]


def plain(image, kernel):
    spatial = kernel.ndim - 2
    return lax.conv_general_dilated(image, kernel, (1,) * spatial, "SAME", dimension_numbers=LAYOUT[spatial])


def draw(case, dtype=np.float32):
    batch, sizes, window, channels_in, channels_out = case
    rng = np.random.default_rng(0)
    shapes = (
        (batch, *sizes, channels_in),
        (window,) * len(sizes) + (channels_in, channels_out),
        (batch, *sizes, channels_out),
    )
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.fixture(params=[512, 20], ids=["whole", "blocks"])
def block_pixels(request, monkeypatch):
    """Runs a test with the real block size and with one so small that images and rows are really split."""
    monkeypatch.setattr(conv, "_BLOCK_PIXELS", request.param)
    monkeypatch.setattr(conv, "_BLOCK_VALUES", request.param)


def joined_plainly(coarse, fine, kernel):
    return plain(jnp.concatenate([upsample_nearest(coarse), fine], axis=-1), kernel)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_both_gradients_equal_the_plain_convolution(case, block_pixels):
    image, kernel, weight = draw(case)
    output, pullback = jax.vjp(convolve, image, kernel)
    expected, expected_pullback = jax.vjp(plain, image, kernel)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(pullback(weight), expected_pullback(weight), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(jnp.abs(wanted).max()))


JOINED = [  # coarse sizes, window, channels of the coarse and the fine map
    *(((3, 4), window, channels) for window in (1, 3, 5, 7) for channels in ((1, 3), (3, 1))),
    ((1, 2), 5, (2, 2)),
    *(((2, 3, 1), window, (1, 3)) for window in (1, 3, 5)),
]


@pytest.mark.parametrize(("sizes", "window", "channels"), JOINED, ids=str)
def test_joined_convolution_equals_that_of_the_concatenation(sizes, window, channels):
    rng = np.random.default_rng(2)
    fine_sizes = tuple(2 * size for size in sizes)
    shapes = [(2, *sizes, channels[0]), (2, *fine_sizes, channels[1]), (window,) * len(sizes) + (4, 2)]
    parts = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    weight = jnp.asarray(rng.normal(size=(2, *fine_sizes, 2)), jnp.float32)
    output, pullback = jax.vjp(jax.jit(convolve_joined), *parts)
    expected, expected_pullback = jax.vjp(jax.jit(joined_plainly), *parts)
    for found, wanted in zip((output, *pullback(weight)), (expected, *expected_pullback(weight)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5 * float(jnp.abs(wanted).max()))


def test_joined_convolution_maps_and_lowers_everywhere():
    coarse, fine, kernel = jnp.ones((3, 2, 2, 2, 1)), jnp.ones((3, 2, 4, 4, 1)), jnp.ones((3, 3, 2, 2))
    mapped = jax.vmap(convolve_joined, (0, 0, None))(coarse, fine, kernel)
    np.testing.assert_allclose(mapped[1], joined_plainly(coarse[1], fine[1], kernel), atol=1e-5)
    gradient = jax.jit(jax.grad(lambda kernel: jnp.sum(convolve_joined(coarse[0], fine[0], kernel) ** 2)))
    for platforms in (["cuda"], ["tpu"]):
        module = export.export(gradient, platforms=platforms)(kernel).mlir_module()
        assert module.count("stablehlo.convolution") == 2  # forward and weight gradient of the concatenation
    assert export.export(gradient, platforms=["cpu", "cuda", "tpu"])(kernel).platforms == ("cpu", "cuda", "tpu")


def test_against_a_sum_written_out_in_float64():
    image, kernel, _ = draw((1, (4, 5), 3, 2, 3))
    padded = np.pad(np.asarray(image, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((1, 4, 5, 3))
    for y in range(3):
        for x in range(3):
            expected += padded[:, y : y + 4, x : x + 5] @ np.asarray(kernel, np.float64)[y, x]
    np.testing.assert_allclose(convolve(image, kernel), expected, atol=1e-5)


def test_forward_mode_second_order_and_vmap(block_pixels):
    image, kernel, _ = draw((2, (6, 5), 3, 2, 2))

    def energy(convolution):
        return lambda image, kernel: jnp.sum(convolution(image, kernel) ** 3)

    direction = (image + 1, kernel - 1)
    found = jax.jvp(energy(convolve), (image, kernel), direction)[1]
    wanted = jax.jvp(energy(plain), (image, kernel), direction)[1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)

    hessian = jax.jvp(jax.grad(energy(convolve), 1), (image, kernel), direction)[1]
    expected = jax.jvp(jax.grad(energy(plain), 1), (image, kernel), direction)[1]
    np.testing.assert_allclose(hessian, expected, rtol=1e-3, atol=1e-3)

    kernels = jnp.stack([kernel, 2 * kernel])
    images = jnp.stack([image, image + 1])
    for axes, arguments in {
        (None, 0): (image, kernels),
        (0, 0): (images, kernels),
        (0, None): (images, kernel),
    }.items():
        gradient = jax.vmap(jax.grad(energy(convolve), 1), axes)(*arguments)
        expected = jax.vmap(jax.grad(energy(plain), 1), axes)(*arguments)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("platforms", [["cpu"], ["cuda"], ["tpu"], ["cpu", "cuda", "tpu"]], ids="+".join)
@pytest.mark.parametrize("case", [(16, (64, 64), 3, 4, 124), (2, (8, 8, 8), 3, 1, 2)], ids=["2d", "3d"])
def test_lowers_for_every_platform(case, platforms):
    image, kernel, _ = draw(case)
    gradient = jax.jit(jax.grad(lambda image, kernel: jnp.sum(convolve(image, kernel) ** 2), argnums=(0, 1)))
    exported = export.export(gradient, platforms=platforms)(image, kernel)
    assert exported.platforms == tuple(platforms)
    convolutions = exported.mlir_module().count("stablehlo.convolution")
    if platforms in (["cuda"], ["tpu"]):
        assert convolutions == 3  # forward, image gradient, weight gradient: nothing of the CPU's blocks is left
    elif platforms == ["cpu"] and image.ndim == 4:
        assert convolutions == 2 + 16  # 4 times 4 blocks of 4 images and 16 rows


def test_bfloat16_is_kept():
    image, kernel, weight = draw((2, (8, 8), 3, 4, 4), jnp.bfloat16)
    output, pullback = jax.vjp(convolve, image, kernel)
    image_gradient, kernel_gradient = pullback(weight)
    assert output.dtype == image_gradient.dtype == kernel_gradient.dtype == jnp.bfloat16
    wide = jax.vjp(plain, *(part.astype(jnp.float32) for part in (image, kernel)))[1](weight.astype(jnp.float32))
    np.testing.assert_allclose(kernel_gradient.astype(np.float32), wide[1], atol=0.03 * float(jnp.abs(wide[1]).max()))


@pytest.mark.parametrize("shape", [(16, 64, 64, 1), (1, 512, 512, 1), (999, 64, 64, 1), (1, 3, 9999, 1), (1, 1, 1, 1)])
def test_blocks_stay_few(shape):
    images, rows = conv._block_shape(shape, 64)
    assert 1 <= images <= shape[0] and 1 <= rows <= shape[1]
    assert -(-shape[0] // images) * -(-shape[1] // rows) <= 4 * conv._MANY_BLOCKS


@pytest.mark.parametrize(
    ("case", "dilation"), [((2, (7, 9), 3, 3, 4), 2), ((1, (4, 5), 5, 2, 2), 16), (CASES[5], 3)], ids=str
)
def test_dilation_is_a_window_with_zeros_between_its_taps(case, dilation):
    image, kernel, _ = draw(case)
    dims = len(case[1])
    stuffed = np.zeros(
        [dilation * (size - 1) + 1 for size in kernel.shape[:dims]] + list(kernel.shape[dims:]), np.float32
    )
    stuffed[(slice(None, None, dilation),) * dims] = kernel
    np.testing.assert_allclose(convolve_dilated(image, kernel, dilation), plain(image, stuffed), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(convolve_dilated(image, kernel, 1), convolve(image, kernel))
