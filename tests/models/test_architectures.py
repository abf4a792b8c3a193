"""Parameter counts of the published networks, receptive fields against gradients, tiles against the whole."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import Direct, DnCNN, Gaussian, Laplace, Model, Residual, SpotHead, StarHead, UNet


def build(backbone, head=Direct, seed=0):
    return Model(backbone, head, rngs=nnx.Rngs(seed))


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def filled(backbone, head=Direct, low=-0.3, high=0.3):
    """A model with uniform parameters, drawn by NumPy: building it for real would compile an initializer a shape."""
    model = nnx.eval_shape(lambda: build(backbone, head))
    rng = np.random.default_rng(0)
    draw = partial(rng.uniform, low, high)
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape), leaf.dtype), nnx.state(model, nnx.Param)))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), nnx.state(model, nnx.BatchStat))
    nnx.update(model, ones)
    return model


@pytest.mark.parametrize(
    ("backbone", "head", "parameters"),
    [
        (partial(UNet, **UNet.care()), Residual, 922_977),
        (partial(UNet, **UNet.care()), Laplace, 923_010),
        (partial(UNet, **UNet.noise2void()), Direct, 924_065),
        (partial(UNet, **UNet.noise2void_bsd68()), Residual, 2_991_841),
        (partial(UNet, **UNet.n2v2()), Direct, 2_991_841 - 9 * 96 * 96),
        (partial(DnCNN, **DnCNN.published()), partial(Residual, **Residual.dncnn()), 556_096),
        (partial(UNet, **UNet.stardist(grid=1)), StarHead, 1_406_689),
        (partial(UNet, **UNet.stardist(grid=2)), StarHead, 1_425_185),
        (partial(UNet, **UNet.spotiflow()), partial(SpotHead, **SpotHead.spotiflow()), 11_826_115),
    ],
    ids=["care", "care probabilistic", "n2v", "n2v bsd68", "n2v2", "dncnn", "stardist", "stardist grid 2", "spotiflow"],
)
def test_parameter_counts_of_published_networks(backbone, head, parameters):
    shapes = nnx.eval_shape(lambda: build(backbone, head))
    assert count(shapes) == parameters


def test_care_in_3d_has_the_channels_of_2d_and_cubes_for_windows():
    shapes = nnx.eval_shape(lambda: build(partial(UNet, **UNet.care(spatial_dims=3)), Residual))
    pairs = [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 64), (128, 64), (64, 32), (64, 32), (32, 32)]
    assert count(shapes) == sum(27 * a * b + b for a, b in pairs) + 33


SMALL = {
    "unet": partial(UNet, width=2),
    "deep, kernel 5": partial(UNet, width=2, depth=3, kernel=5, convs=1),
    "max_blur, no top skip": partial(UNet, width=2, pool="max_blur", top_skip=False),
    "linear upsampling": partial(UNet, width=2, upsampling="linear"),
    "batch norm": partial(UNet, width=2, norm="batch"),
    "3-D": partial(UNet, width=2, depth=1, spatial_dims=3, convs=1),
    "dncnn": partial(DnCNN, width=2, layers=5),
}


@pytest.mark.parametrize("name", SMALL)
def test_receptive_field_is_the_support_of_the_gradient(name):
    model = filled(SMALL[name], partial(Direct, kernel=3), low=0.01)  # positive: no rectifier hides a pixel
    stride, field = model.stride_total, model.receptive_field
    size = -(-(field + 4 * stride) // stride) * stride
    image = jnp.ones((1,) + (stride,) * (model.spatial_dims - 1) + (size, 1))
    pixels = np.arange(size // 2, size // 2 + stride)  # one of each place in the coarse grid

    def outputs(image):
        return model(image)["image"].reshape(-1, size).sum(axis=0)[pixels]

    gradients = np.abs(jax.jit(jax.jacrev(outputs))(image)).reshape(stride, -1, size).max(axis=1)
    touched = [np.flatnonzero(gradient) for gradient in gradients]
    reach = max(max(t.max() - pixel, pixel - t.min()) for t, pixel in zip(touched, pixels, strict=True))
    assert field == 2 * reach + 1


def test_receptive_field_of_dncnn_is_the_published_35():
    model = nnx.eval_shape(lambda: build(DnCNN, partial(Residual, **Residual.dncnn())))
    assert model.receptive_field == 35


@pytest.mark.parametrize("name", ["unet", "max_blur, no top skip", "linear upsampling", "batch norm"])
def test_a_window_equals_the_whole(name):
    model = filled(SMALL[name])
    image = jnp.asarray(np.random.default_rng(1).normal(size=(1, 24, 128, 1)), jnp.float32)
    halo = -(-(model.receptive_field // 2) // model.stride_total) * model.stride_total
    start, stop = 48, 64
    run = jax.jit(lambda image: model(image)["image"])
    window = run(image[:, :, start - halo : stop + halo])[:, :, halo:-halo]
    np.testing.assert_allclose(window, run(image)[:, :, start:stop], atol=1e-6)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_features_have_the_announced_widths_and_strides(spatial_dims):
    make = partial(UNet, channels_in=2, width=4, depth=2, convs=1, spatial_dims=spatial_dims)
    net = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    features = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))(jnp.ones((1,) + (8,) * spatial_dims + (2,))))
    assert net.widths == (4, 4, 8) and net.strides == (1, 2, 4)
    for feature, width, stride in zip(features, net.widths, net.strides, strict=True):
        assert feature.shape == (1,) + (8 // stride,) * spatial_dims + (width,)


def test_bfloat16_parameters_make_bfloat16_features_and_float32_predictions():
    model = filled(partial(UNet, width=2), Gaussian)
    nnx.update(model, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), nnx.state(model)))
    image = jnp.ones((1, 8, 8, 1))
    features, prediction = jax.eval_shape(lambda image: (model.backbone(image), model(image)), image)
    assert {feature.dtype for feature in features} == {jnp.dtype(jnp.bfloat16)}
    assert {value.dtype for value in prediction.values()} == {jnp.dtype(jnp.float32)}


def test_one_seed_one_network():
    nets = (build(partial(UNet, width=1, depth=1, convs=1), seed=seed) for seed in (3, 3, 4))
    a, b, c = (jax.tree.leaves(nnx.state(net)) for net in nets)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(a, c, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel": 4}, "kernel: expected an odd size"),
        ({"depth": 0}, "depth: expected a whole number of at least 1; found 0"),
        ({"width": 2.5}, "width: expected a whole number"),
        ({"pool": "mean"}, "pool: expected one of max, max_blur; found 'mean'"),
        ({"activation": "rely"}, "activation: expected one of relu, leaky_relu"),
        ({"norm": "group"}, "norm: expected one of None, batch"),
        ({"spatial_dims": 4}, "spatial_dims: expected one of 2, 3; found 4"),
        ({"init": "ones"}, "init: expected one of glorot_uniform"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        UNet(**arguments, rngs=nnx.Rngs(0))


def test_bad_images_are_named():
    net = nnx.eval_shape(lambda: UNet(width=2, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=r"multiples of 4 .* found \(8, 6\)"):
        net(jnp.ones((1, 8, 6, 1)))
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\) with C=1; found shape \(1, 8, 8, 2\)"):
        net(jnp.ones((1, 8, 8, 2)))
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\)"):
        DnCNN(width=2, layers=2, rngs=nnx.Rngs(0))(jnp.ones((8, 8, 1)))
