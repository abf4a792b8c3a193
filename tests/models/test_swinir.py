"""SwinIR: its parameter counts, a shifted layer beside NumPy in double precision, its reach, tiles against the whole."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.functional import outline
from bioflax.models.heads import Direct, Residual
from bioflax.models.model import Model
from bioflax.models.swinir import SwinIR, SwinLayer, softmax

RNG = np.random.default_rng(0)
SMALL = partial(SwinIR, embed=4, depths=(2, 1), heads=(2, 1), window=4)


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def filled(make):
    """The module with normal parameters drawn by NumPy: an initializer would be compiled for every shape."""
    module = outline(lambda rngs: make(rngs=rngs))
    draw = np.random.default_rng(1)
    fill = lambda leaf: jnp.asarray(0.5 * draw.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    nnx.update(module, jax.tree.map(fill, nnx.state(module)))
    return module


@pytest.mark.parametrize(
    ("backbone", "head", "parameters"),
    [
        (
            partial(SwinIR, 3, **SwinIR.published()),
            partial(Direct, channels_out=3, upscale=2, tail="swinir"),
            11_752_487,
        ),
        (
            partial(SwinIR, 3, **SwinIR.published()),
            partial(Direct, channels_out=3, upscale=4, tail="swinir"),
            11_900_199,
        ),
        (partial(SwinIR, 1, **SwinIR.published()), partial(Direct, upscale=2, tail="swinir"), 11_748_093),
        (partial(SwinIR, 3, **SwinIR.light()), partial(Direct, channels_out=3, upscale=2, tail="direct"), 910_152),
        (partial(SwinIR, 1, **SwinIR.denoising()), Residual, 11_497_681),
    ],
    ids=["classical x2", "classical x4", "grey x2", "light x2", "denoising"],
)
def test_parameter_counts_are_the_published_ones(backbone, head, parameters):
    model = outline(lambda rngs: Model(backbone, partial(head, kernel=3), rngs=rngs))
    assert count(model) == parameters
    assert model.stride_total == 8


def normed(x, norm):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm["scale"] + norm["bias"]


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def swin_layer(image, p, heads, window, shift):
    """The published layer on one image, (H, W, C), in double precision: pairs of pixels that share a window attend.

    Windows are cut out where they lie, those at the border by the border: what the cyclic shift and its mask compute.
    """
    height, width, channels = image.shape
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])
    flat, depth = image.reshape(-1, channels), channels // heads
    window_of = (y - shift) // window * 1000 + (x - shift) // window
    query, key, value = dense(normed(flat, p["norm0"]), p["qkv"]).reshape(-1, 3, heads, depth).transpose(1, 2, 0, 3)
    result = np.zeros((len(flat), heads, depth))
    for head in range(heads):
        for i in range(len(flat)):
            seen = np.flatnonzero(window_of == window_of[i])
            offset = (y[i] - y[seen] + window - 1) * (2 * window - 1) + (x[i] - x[seen] + window - 1)
            logits = key[head, seen] @ query[head, i] / math.sqrt(depth) + p["position"][offset, head]
            weights = np.exp(logits - logits.max())
            result[i, head] = weights @ value[head, seen] / weights.sum()
    flat = flat + dense(result.reshape(-1, channels), p["project"])
    hidden = dense(normed(flat, p["norm1"]), p["expand"])
    hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return (flat + dense(hidden, p["contract"])).reshape(image.shape)


@pytest.mark.parametrize("shift", [0, 2])
def test_a_layer_equals_numpy(shift):
    layer = filled(partial(SwinLayer, 6, 2, 4, shift, 12))
    parameters = jax.tree.map(np.float64, nnx.to_pure_dict(nnx.state(layer)))
    image = RNG.normal(size=(2, 8, 12, 6))
    expected = np.stack([swin_layer(one, parameters, 2, 4, shift) for one in image])
    np.testing.assert_allclose(jax.jit(layer)(jnp.asarray(image, jnp.float32)), expected, rtol=1e-3, atol=1e-4)


def test_softmax_has_the_derivatives_of_a_softmax():
    logits, towards = jnp.asarray(RNG.normal(size=(2, 3, 4)), jnp.float32)

    def gradient(function):
        return jax.jit(jax.grad(lambda x: (function(x) ** 2 * towards).sum()))(logits)

    expected = gradient(jax.nn.softmax)
    np.testing.assert_allclose(gradient(softmax), expected, atol=1e-6)
    assert np.abs(expected).max() > 0.01


@pytest.fixture(scope="module")
def small():
    return filled(SMALL)


def test_receptive_field_is_the_support_of_the_gradient(small):
    window, size = small.window, 96
    pixels = np.arange(size // 2, size // 2 + window)  # one of each place in a window

    def outputs(image):
        return small(image)[0].sum(-1).reshape(-1, size).sum(0)[pixels]

    image = jnp.asarray(RNG.normal(size=(1, window, size, 1)), jnp.float32)
    gradients = np.abs(jax.jit(jax.jacrev(outputs))(image)).reshape(window, -1, size).max(axis=1)
    touched = [np.flatnonzero(gradient) for gradient in gradients]
    reach = max(max(t.max() - pixel, pixel - t.min()) for t, pixel in zip(touched, pixels, strict=True))
    assert small.receptive_field == 2 * reach + 1


def test_an_aligned_tile_equals_the_whole_and_a_shifted_one_does_not(small):
    image = jnp.asarray(RNG.normal(size=(1, 8, 96, 1)), jnp.float32)
    halo = -(-(small.receptive_field // 2) // small.window) * small.window
    run = jax.jit(lambda image: small(image)[0])
    whole = run(image)
    start, stop = 40, 56
    for offset, equal in [(0, True), (2, False)]:
        low, high = start - halo + offset, stop + halo + offset
        tile = run(image[:, :, low:high])[:, :, halo:-halo]
        assert np.allclose(tile, whole[:, :, start + offset : stop + offset], atol=1e-4) == equal


def test_features_have_the_announced_width_and_lists_become_tuples():
    net = outline(lambda rngs: SwinIR(2, 6, [1], [3], window=4, rngs=rngs))
    assert (net.depths, net.heads, net.widths, net.strides, net.stride_total) == ((1,), (3,), (6,), (1,), 4)
    nnx.update(net, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), nnx.state(net)))
    (features,) = jax.eval_shape(net, jnp.ones((1, 8, 4, 2)))
    assert features.shape == (1, 8, 4, 6) and features.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"embed": 0}, "embed: expected a whole number of at least 1; found 0"),
        ({"window": 1}, "window: expected a whole number of at least 2; found 1"),
        ({"depths": (6, 0)}, "depths: expected a whole number of at least 1; found 0"),
        ({"heads": (6, 6)}, r"heads: expected as many numbers as depths=\(6, 6, 6, 6, 6, 6\) has"),
        ({"heads": (7,) * 6}, r"heads: expected divisors of embed=180; found \(7, 7"),
        ({"mlp_ratio": 0}, "mlp_ratio: expected a number above 0, such as 2; found 0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        SwinIR(**arguments, rngs=nnx.Rngs(0))


def test_bad_images_are_named(small):
    with pytest.raises(InputError, match=r"multiples of 4; found \(8, 6\)"):
        small(jnp.ones((1, 8, 6, 1)))
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\) with C=1; found shape \(1, 8, 8, 3\)"):
        small(jnp.ones((1, 8, 8, 3)))
