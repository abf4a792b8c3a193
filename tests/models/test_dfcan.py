"""DFCAN: its parameter counts, its attention beside NumPy in double precision, the gradient where the spectrum is zero."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.functional import outline
from bioflax.models.dfcan import DFCAN, FourierAttention, centred_spectrum, resize
from bioflax.models.heads import Direct
from bioflax.models.model import Model

RNG = np.random.default_rng(0)


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def filled(make):
    """The module with normal parameters drawn by NumPy: an initializer would be compiled for every shape."""
    module = outline(lambda rngs: make(rngs=rngs))
    draw = np.random.default_rng(1)
    nnx.update(
        module, jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype), nnx.state(module))
    )
    return module


@pytest.mark.parametrize(("channels_in", "parameters"), [(1, 1_930_753), (9, 1_935_361)])
def test_parameter_counts_are_the_published_ones(channels_in, parameters):
    head = partial(Direct, channels_out=1, kernel=3, upscale=2, tail="dfcan", squash=True)
    model = outline(lambda rngs: Model(partial(DFCAN, channels_in, **DFCAN.published()), head, rngs=rngs))
    assert count(model) == parameters


def test_the_generator_of_dfgan_has_more_blocks_and_another_power():
    block = 3 * (9 * 64 * 64 + 64) + 64 * 4 + 4 + 4 * 64 + 64
    arguments = DFCAN.dfgan()
    assert (arguments["groups"], arguments["blocks"], arguments["gamma"]) == (5, 10, 0.1)
    assert DFCAN.published()["gamma"] == 0.8
    net = outline(lambda rngs: DFCAN(**{**arguments, "groups": 2, "blocks": 3}, rngs=rngs))
    assert count(net) == 9 * 64 + 64 + 6 * block
    assert net.whole_image and net.receptive_field == 1 + 2 * (1 + 2 * 6)


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_spectrum_is_that_of_the_full_transform(shape):
    image = RNG.normal(size=(2, *shape, 3))
    full = np.abs(np.fft.fft2(image, axes=(1, 2))) + 1e-8
    expected = np.roll(full, [-(n // 2) for n in shape], axis=(1, 2)) ** 0.8
    result = jax.jit(centred_spectrum)(jnp.asarray(image, jnp.float32), 0.8)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def resized(image, side):
    """Linear interpolation at i * size / side, pixel by pixel (the convention of TensorFlow 1)."""
    height, width, _ = image.shape
    out = np.zeros((side, side, image.shape[2]))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = (1 - (x - x0)) * image[y0, x0] + (x - x0) * image[y0, x1]
            bottom = (1 - (x - x0)) * image[y1, x0] + (x - x0) * image[y1, x1]
            out[i, j] = (1 - (y - y0)) * top + (y - y0) * bottom
    return out


def attended(image, kernels, gamma, side):
    """The published Fourier channel attention of one image, (H, W, C), in double precision."""
    height, width, channels = image.shape
    spectrum = np.abs(np.fft.fft2(image, axes=(0, 1))) + 1e-8
    spectrum = np.roll(spectrum, (height // 2, width // 2), axis=(0, 1)) ** gamma
    spectrum = spectrum if side is None else resized(spectrum, side)
    padded = np.pad(spectrum, [(1, 1), (1, 1), (0, 0)])
    rows, columns = spectrum.shape[:2]
    filtered = np.zeros((rows, columns, channels)) + kernels["conv"][1]
    for y in range(3):
        for x in range(3):
            filtered += padded[y : y + rows, x : x + columns] @ kernels["conv"][0][y, x]
    pooled = np.maximum(filtered, 0).mean((0, 1))
    hidden = np.maximum(pooled @ kernels["squeeze"][0][0, 0] + kernels["squeeze"][1], 0)
    return image / (1 + np.exp(-(hidden @ kernels["excite"][0][0, 0] + kernels["excite"][1])))


@pytest.mark.parametrize(("gamma", "side"), [(0.8, 10), (0.1, None)])
def test_attention_equals_numpy(gamma, side):
    attention = filled(partial(FourierAttention, 4, 2, gamma=gamma, spectrum=side))
    attention.excite.kernel[...] = 0.05 * attention.excite.kernel[...]  # sigmoids away from 0 and 1
    attention.squeeze.bias[...] = jnp.array([5.0, 1.0])  # and a bottleneck that is open
    layers = {name: getattr(attention, name) for name in ("conv", "squeeze", "excite")}
    kernels = {name: (np.float64(layer.kernel[...]), np.float64(layer.bias[...])) for name, layer in layers.items()}
    image = RNG.normal(size=(2, 6, 8, 4))
    expected = np.stack([attended(one, kernels, gamma, side) for one in image])
    result = jax.jit(attention)(jnp.asarray(image, jnp.float32))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    factors = expected[:, 0, 0] / image[:, 0, 0]
    assert factors.std() > 1e-3 and factors.min() > 0.01 and factors.max() < 0.99  # the comparison means something


def test_resizing_keeps_the_zero_frequency_in_the_centre():
    spectrum = np.zeros((1, 6, 6, 1), np.float32)
    spectrum[0, 3, 3] = 1
    resized_spectrum = resize(jnp.asarray(spectrum), 12)
    assert np.unravel_index(np.argmax(resized_spectrum), resized_spectrum.shape) == (0, 6, 6, 0)


@pytest.mark.parametrize("gamma", [0.8, 0.1])
def test_gradient_is_finite_where_the_spectrum_is_zero(gamma):
    constant = jnp.ones((1, 4, 4, 1))  # all but one of its frequencies are exactly zero
    gradient = jax.jit(jax.grad(lambda image: centred_spectrum(image, gamma).sum()))
    assert np.isfinite(gradient(constant)).all() and np.isfinite(gradient(0 * constant)).all()
    assert float(jnp.abs(gradient(constant)).max()) > 0


def test_every_feature_reads_every_pixel_and_any_size_is_taken():
    net = filled(partial(DFCAN, channels_in=2, width=4, groups=1, blocks=1, reduction=2, spectrum=8))
    image = jnp.asarray(RNG.normal(size=(1, 12, 9, 2)), jnp.float32)
    for conv in (net.body.group0.block0.attention.excite, net.body.group0.block0.attention.squeeze):
        conv.kernel[...], conv.bias[...] = 0.01 * jnp.abs(conv.kernel[...]), 0 * conv.bias[...]
    run = jax.jit(lambda image: net(image)[0])
    features = run(image)
    assert features.shape == (1, 12, 9, 4) == (*image.shape[:3], *net.widths)
    moved = np.abs(run(image.at[0, 0, 0, 0].add(1.0)) - features).max(-1)[0]
    assert moved[11, 8] > 1e-6 and net.receptive_field // 2 < 8


def test_bfloat16_parameters_make_bfloat16_features():
    net = filled(partial(DFCAN, width=4, groups=1, blocks=1, reduction=2, spectrum=None))
    nnx.update(net, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), nnx.state(net)))
    assert jax.eval_shape(net, jnp.ones((1, 8, 8, 1)))[0].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"groups": 0}, "groups: expected a whole number of at least 1; found 0"),
        ({"gamma": 0}, "gamma: expected a power above 0, such as 0.8; found 0"),
        ({"reduction": 5}, "reduction: expected a divisor of width=64; found 5"),
        ({"spectrum": 1.5}, "spectrum: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        DFCAN(**arguments, rngs=nnx.Rngs(0))


def test_bad_images_are_named():
    net = outline(lambda rngs: DFCAN(width=4, reduction=2, groups=1, blocks=1, rngs=rngs))
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\) with C=1; found shape \(1, 8, 8, 2\)"):
        net(jnp.ones((1, 8, 8, 2)))
