"""EDSR, RCAN and SRResNet: published parameter counts, their blocks against NumPy, receptive fields, whole-tile features."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import EDSR, RCAN, Conv, Direct, Model, SRResNet, build_from, describe

RGB = {"channels_in": 3}


class SameKey:
    """In place of `nnx.Rngs` where only shapes matter: counting the keys of 800 layers takes JAX many seconds."""

    def params(self):
        return jax.random.key(0)


def outline(make):
    return nnx.eval_shape(lambda: make(SameKey()))


def build(backbone, head=Direct):
    return outline(lambda rngs: Model(backbone, head, rngs=rngs))


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def filled(backbone, low=-0.3, high=0.3):
    """A backbone with uniform parameters, drawn by NumPy: building it for real would compile an initializer a shape."""
    net = outline(lambda rngs: backbone(rngs=rngs))
    rng = np.random.default_rng(0)
    weights, statistics = nnx.state(net, nnx.Param), nnx.state(net, nnx.BatchStat)
    nnx.update(net, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(low, high, leaf.shape), leaf.dtype), weights))
    nnx.update(net, jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), statistics))
    return net


@pytest.mark.parametrize(
    ("backbone", "head", "parameters"),
    [
        (partial(RCAN, **RGB, **RCAN.published()), partial(Direct, channels_out=3, **Direct.edsr(4)), 15_592_355),
        (partial(RCAN, **RGB, **RCAN.published()), partial(Direct, channels_out=3, **Direct.edsr(2)), 15_444_643),
        (partial(RCAN, **RCAN.microscopy(2)), partial(Direct, **Direct.edsr(1)), 337_917),
        (partial(RCAN, **RCAN.microscopy(3)), partial(Direct, kernel=3), 1_002_621),
        (partial(EDSR, **RGB), partial(Direct, channels_out=3, **Direct.edsr(2)), 1_369_859),
        (partial(EDSR, **RGB), partial(Direct, channels_out=3, **Direct.edsr(3)), 1_554_499),
        (partial(EDSR, **RGB), partial(Direct, channels_out=3, **Direct.edsr(4)), 1_517_571),
        (partial(EDSR, **EDSR.baseline()), partial(Direct, **Direct.edsr(2)), 1_367_553),
        (
            partial(SRResNet, **RGB, **SRResNet.published()),
            partial(Direct, channels_out=3, **Direct.srresnet(4)),
            1_549_462,
        ),
    ],
    ids=["rcan x4", "rcan x2", "3d-rcan in 2-D", "3d-rcan", "edsr x2", "edsr x3", "edsr x4", "edsr grey", "srresnet"],
)
def test_parameter_counts_of_published_networks(backbone, head, parameters):
    assert count(build(backbone, head)) == parameters


def test_full_edsr_has_32_scaled_blocks_of_256():
    conv = 9 * 256 * 256 + 256
    net = outline(lambda rngs: EDSR(**EDSR.full(), rngs=rngs))
    assert count(net) == 65 * conv + 10 * 256 and net.residual_scale == 0.1


def convolved(image, conv):
    """Correlation with zero padding, in float64."""
    kernel, bias = (np.asarray(part[...], np.float64) for part in (conv.kernel, conv.bias))
    pad = kernel.shape[0] // 2
    padded = np.pad(image, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = image.shape[1:3]
    taps = np.ndindex(*kernel.shape[:2])
    return bias + sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in taps)


def rectified(image):
    return np.maximum(image, 0)


def test_rcan_is_what_the_paper_says():
    net = filled(partial(RCAN, width=4, groups=1, blocks=1, reduction=2))
    image = np.random.default_rng(1).normal(size=(2, 5, 6, 1))
    group, block = net.body.group0, net.body.group0.blocks.block0
    shallow = convolved(image, net.first)
    inner = convolved(rectified(convolved(shallow, block.conv0)), block.conv1)
    mean = inner.mean((1, 2), keepdims=True)
    weights = 1 / (1 + np.exp(-convolved(rectified(convolved(mean, block.squeeze)), block.excite)))
    out = convolved(shallow + inner * weights, group.last) + shallow
    np.testing.assert_allclose(net(jnp.asarray(image, jnp.float32))[0], convolved(out, net.last) + shallow, atol=1e-4)


def test_edsr_is_what_the_paper_says():
    net = filled(partial(EDSR, width=3, blocks=1, residual_scale=0.1))
    image = np.random.default_rng(1).normal(size=(1, 5, 6, 1))
    shallow = convolved(image, net.first)
    block = net.body.block0
    out = shallow + 0.1 * convolved(rectified(convolved(shallow, block.conv0)), block.conv1)
    np.testing.assert_allclose(net(jnp.asarray(image, jnp.float32))[0], convolved(out, net.last) + shallow, atol=1e-4)


def test_srresnet_is_what_the_paper_says():
    net = filled(partial(SRResNet, width=3, blocks=1, first_kernel=5))
    image = np.random.default_rng(1).normal(size=(1, 5, 6, 1))

    def normed(image, norm):  # running mean and variance are 1
        return (image - 1) / np.sqrt(1 + 1e-5) * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])

    def sloped(image, prelu):
        return np.where(image > 0, image, float(prelu.slope[0]) * image)

    shallow = sloped(convolved(image, net.first), net.slope)
    block = net.body.block0
    inner = sloped(normed(convolved(shallow, block.conv0), block.norm0), block.slope)
    out = shallow + normed(convolved(inner, block.conv1), block.norm1)
    expected = normed(convolved(out, net.last), net.norm) + shallow
    np.testing.assert_allclose(net(jnp.asarray(image, jnp.float32))[0], expected, atol=1e-4)


SMALL = {
    "edsr": partial(EDSR, width=2, blocks=2),
    "srresnet": partial(SRResNet, width=2, blocks=1),
    "rcan": partial(RCAN, width=2, groups=2, blocks=1, reduction=2),
}


def touched(net):
    """Pixels of a row that the middle pixel of the features depends on."""
    centre = net.receptive_field
    image = jnp.zeros((1, 1, 2 * centre + 1, 1))
    gradient = jax.jit(jax.grad(lambda image: net(image)[0][0, 0, centre].sum()))(image)
    return np.flatnonzero(np.abs(np.asarray(gradient).ravel()) > 1e-12) - centre


@pytest.mark.parametrize("name", SMALL)
def test_receptive_field_is_that_of_the_convolutions(name):
    net = filled(SMALL[name], low=0.01)  # positive: no rectifier hides a pixel
    if name == "rcan":
        for group in net.body.values():
            group.blocks.block0.excite.kernel[...] = jnp.zeros((1, 1, 1, 2))  # the attention reads nothing
    within = touched(net)
    assert (within.min(), within.max()) == (-(net.receptive_field // 2), net.receptive_field // 2)


def test_attention_reads_the_whole_tile_and_the_model_says_so():
    net = filled(SMALL["rcan"], low=0.01)
    within = touched(net)
    assert within.max() == net.receptive_field
    models = {name: build(backbone) for name, backbone in SMALL.items()}
    assert {name: model.whole_image for name, model in models.items()} == {
        "edsr": False, "srresnet": False, "rcan": True,
    }  # fmt: skip


def test_published_receptive_fields():
    fields = [build(make).receptive_field for make in (EDSR, SRResNet, partial(RCAN, **RCAN.microscopy(2)))]
    assert fields == [69, 75, 75]


def test_blocks_start_small_so_that_hundreds_of_them_do_not_explode():
    assert {filled(make).init for make in SMALL.values()} == {"small_uniform"}
    largest = float(np.abs(np.asarray(Conv(32, 8, init="small_uniform", rngs=nnx.Rngs(0)).kernel[...])).max())
    assert 0.99 < largest * (9 * 32) ** 0.5 <= 1  # uniform within 1 / sqrt(fan in): a third of LeCun's variance


@pytest.mark.parametrize("name", SMALL)
def test_descriptions_rebuild_the_same_structure(name):
    net = outline(lambda rngs: partial(SMALL[name], spatial_dims=3)(rngs=rngs))
    description = json.loads(json.dumps(describe(net)))
    rebuilt = outline(lambda rngs: build_from(description, rngs))
    assert describe(rebuilt) == description and nnx.graphdef(net) == nnx.graphdef(rebuilt)


def test_bfloat16_parameters_make_bfloat16_features():
    for make in SMALL.values():
        net = filled(make)
        nnx.update(net, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), nnx.state(net, nnx.Param)))
        features = jax.eval_shape(lambda image, net=net: net(image)[0], jnp.ones((1, 6, 8, 1)))
        assert features.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(RCAN, width=12), "reduction: expected a divisor of width=12, such as 1; found 16"),
        (partial(RCAN, groups=0), "groups: expected a whole number of at least 1; found 0"),
        (partial(EDSR, residual_scale=0), "residual_scale: expected a positive number, such as 0.1; found 0"),
        (partial(SRResNet, first_kernel=4), "first_kernel: expected an odd size"),
        (partial(EDSR, spatial_dims=1), "spatial_dims: expected one of 2, 3; found 1"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make(rngs=nnx.Rngs(0))


def test_images_of_the_wrong_kind_are_named():
    net = outline(lambda rngs: EDSR(width=2, blocks=1, spatial_dims=3, rngs=rngs))
    with pytest.raises(InputError, match=r"expected \(N, Z, H, W, C\) with C=1; found shape \(1, 4, 4, 1\)"):
        net(jnp.ones((1, 4, 4, 1)))
