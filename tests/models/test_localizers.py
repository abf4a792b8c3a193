"""The localization networks: published parameter counts, activations, receptive fields, movies, descriptions, lowering."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export, lax

from bioflax.errors import InputError
from bioflax.functional import purify
from bioflax.models import (
    DECODE,
    DeepSTORM3D,
    Direct,
    DnCNN,
    EmitterHead,
    LiteLoc,
    Model,
    UNet,
    VolumeHead,
    build_from,
    describe,
)
from bioflax.models.blocks import LateNormStage, reach
from bioflax.ops import space_to_depth

LITELOC_HEAD = partial(EmitterHead, **EmitterHead.liteloc())
SMALL = {
    "decode": partial(DECODE, width=2),
    "decode, deep, kernel 5": partial(DECODE, width=2, depth=3, kernel=5, convs=1, channels_in=1),
    "liteloc": partial(LiteLoc, width=2),
    "liteloc, two dilations, one frame": partial(LiteLoc, width=2, dilations=(1, 3), channels_in=1),
    "deepstorm3d": partial(DeepSTORM3D, width=2),
}


def build(backbone, head=Direct):
    return Model(backbone, head, rngs=nnx.Rngs(0))


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def filled(backbone, head=Direct, low=-0.3, high=0.3):
    """A model with uniform parameters, drawn by NumPy: building it for real would compile an initializer a shape."""
    model = nnx.eval_shape(lambda: build(backbone, head))
    rng = np.random.default_rng(0)
    weights, statistics = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(low, high, leaf.shape), leaf.dtype), weights))
    nnx.update(model, jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), statistics))
    return model


def run(model):
    return jax.jit(lambda image: model(image))


@pytest.mark.parametrize(
    ("backbone", "head", "parameters"),
    [
        (DECODE, EmitterHead, 2_199_418),
        (LiteLoc, LITELOC_HEAD, 1_332_299),
        (DeepSTORM3D, VolumeHead, 612_703),
    ],
)
def test_parameter_counts_of_published_networks(backbone, head, parameters):
    assert count(nnx.eval_shape(lambda: build(backbone, head))) == parameters


def test_parts_of_decode_have_their_published_counts():
    model = nnx.eval_shape(lambda: build(DECODE, EmitterHead))
    parts = (model.backbone.frame, model.backbone.context, model.head)
    assert [count(part) for part in parts] == [1_027_008, 1_088_784, 83_626]


@pytest.mark.parametrize("name", SMALL)
def test_receptive_field_covers_the_support_of_the_gradient(name):
    # Positive parameters: no rectifier hides a pixel.
    model = filled(SMALL[name], low=0.01)
    stride, field = model.stride_total, model.receptive_field
    size = -(-(field + 4 * stride) // stride) * stride
    image = jnp.ones((1, stride, size, model.channels_in))
    pixels = np.arange(size // 2, size // 2 + stride)  # one of each place in the coarse grid

    def outputs(image):
        return model(image)["image"].reshape(-1, size).sum(axis=0)[pixels]

    gradients = np.abs(jax.jit(jax.jacrev(outputs))(image)).sum(-1).reshape(stride, -1, size).max(axis=1)
    touched = [np.flatnonzero(gradient) for gradient in gradients]
    within = max(max(t.max() - pixel, pixel - t.min()) for t, pixel in zip(touched, pixels, strict=True))
    assert within <= field // 2
    if "decode" not in name:
        assert within == field // 2  # exact; that of two U-Nets in series is at most one coarse pixel too large
    assert field // 2 - within < stride


def test_volume_reaches_as_far_as_the_head_says():
    model = filled(partial(DeepSTORM3D, width=2, dilations=()), partial(VolumeHead, width=2, planes=2), low=0.01)
    assert model.receptive_field == 7
    image = jnp.ones((1, 1, 15, 1))
    gradient = jax.jit(jax.jacrev(lambda image: model(image)["volume"][0, :, 28:32].sum((0, 2))))(image)
    touched = np.flatnonzero(np.abs(gradient).reshape(4, 15).max(axis=0))
    assert (touched.min(), touched.max()) == (7 - 3, 7 + 3)


def test_reach_of_a_path():
    assert reach([1, 2], 1) == 3
    assert reach(["up", 1, "down"], 2) == 3  # pixel 0 sees coarse -1..1, which are pixels -2..3
    assert reach([0, "up", "down"], 4) == 1


@pytest.mark.parametrize(
    "backbone",
    [
        partial(DECODE, width=4, convs=1),
        partial(LiteLoc, width=4),
        partial(UNet, channels_in=3, width=4, depth=1),
        partial(DnCNN, width=4, layers=3),
    ],
)
def test_predictions_have_the_contracted_shapes_and_ranges(backbone):
    model = filled(backbone, partial(EmitterHead, width=4), low=-3, high=3)
    image = 30 * jax.random.normal(jax.random.key(0), (2, 8, 12, model.channels_in))
    prediction = run(model)(image)
    shapes = {name: value.shape for name, value in prediction.items()}
    full = (2, 8, 12)
    assert shapes == {"logit": (*full, 1), "mean": (*full, 4), "spread": (*full, 4), "background": (*full, 1)}
    assert np.abs(prediction["logit"]).max() == 8.0
    photons, rest = np.split(np.asarray(prediction["mean"]), [1], axis=-1)
    assert photons.min() >= 0 and photons.max() <= 1 and np.abs(rest).max() <= 1 and rest.min() < -0.5
    assert prediction["spread"].min() >= 1e-3 and 1 < prediction["spread"].max() <= 3.001
    assert model.channels_out == 10


def test_head_of_liteloc():
    model = filled(partial(LiteLoc, width=2), partial(EmitterHead, **{**EmitterHead.liteloc(), "width": 2}))
    nnx.update(model.head, jax.tree.map(lambda leaf: 1e3 + leaf, nnx.state(model.head)))
    prediction = run(model)(jnp.ones((1, 4, 4, 3)))
    assert set(prediction) == {"logit", "mean", "spread"} and model.channels_out == 9
    np.testing.assert_allclose(prediction["logit"], 16.0)
    np.testing.assert_allclose(prediction["spread"], 1.001)


def test_a_new_head_expects_no_emitters():
    head = EmitterHead((2,), width=64, background=False, rngs=nnx.Rngs(0))
    prediction = head((jnp.zeros((1, 2, 2, 2)),), jnp.zeros((1, 2, 2, 1)))
    np.testing.assert_allclose(prediction["logit"], -6.0)
    stds = {name: float(head.branches[name].out.kernel[...].std()) * 64**0.5 for name in ("logit", "mean")}
    assert stds["logit"] == pytest.approx(1, rel=0.3) and stds["mean"] == pytest.approx(2**0.5, rel=0.25)


def test_volume_is_four_times_finer_and_clipped():
    model = filled(partial(DeepSTORM3D, width=4), partial(VolumeHead, planes=5, width=4), low=-1, high=1)
    volume = run(model)(50 * jax.random.normal(jax.random.key(0), (2, 3, 5, 1)))["volume"]
    assert volume.shape == (2, 12, 20, 5) and volume.dtype == jnp.float32
    assert volume.min() == 0.0 and volume.max() == 800.0


@pytest.mark.parametrize(
    "backbone",
    [partial(LiteLoc, width=2, dilations=(2,)), partial(DECODE, 5, 1, 1, convs=1)],
)
def test_a_movie_gives_what_its_frames_give_one_by_one(backbone):
    model = filled(backbone)
    frames = model.channels_in
    movie = jax.random.normal(jax.random.key(0), (7, 4, 8, 1))
    windows = jnp.stack([jnp.concatenate(list(movie[t : t + frames]), axis=-1) for t in range(8 - frames)])
    together = jax.jit(lambda movie: model.backbone.sequence(movie))(movie)[0]
    np.testing.assert_allclose(together, run(model.backbone)(windows)[0], atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match=f"frames: expected at least {frames} consecutive frames; found 2"):
        model.backbone.sequence(movie[:2])


def test_x_runs_along_the_last_axis_and_frames_are_not_mixed_up():
    model = filled(partial(DECODE, width=4, depth=1, convs=1), partial(EmitterHead, width=4))
    predict = run(model)
    image = jnp.zeros((1, 16, 16, 3)).at[0, 3, 9].set(5.0)
    plain = predict(jnp.zeros_like(image))["logit"]
    change = np.abs(predict(image)["logit"] - plain)[0, :, :, 0]
    assert np.unravel_index(change.argmax(), change.shape) in [(r, c) for r in range(1, 6) for c in range(7, 12)]
    swapped = predict(image.at[..., 0].set(0.0))["logit"]
    assert not np.allclose(swapped, predict(image.at[..., 2].set(0.0))["logit"])


def test_strided_halving_is_a_window_of_two():
    model = nnx.eval_shape(lambda: build(partial(DECODE, width=3, depth=1)))
    down = model.backbone.frame.down.level0
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(1, 1, 12, 3)), jnp.float32)
    image = jnp.asarray(rng.normal(size=(1, 4, 6, 3)), jnp.float32)
    nnx.update(down, {"kernel": kernel, "bias": jnp.zeros(3)})
    window = kernel.reshape(2, 2, 3, 3).swapaxes(0, 1)  # channels: columns outermost, then rows
    expected = lax.conv_general_dilated(image, window, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(down(space_to_depth(image)), expected, atol=1e-5)


def test_late_norm_normalises_after_the_rectifier_and_keeps_statistics():
    stage = LateNormStage(1, 3, slope=0.2, rngs=nnx.Rngs(0))
    image = jax.random.normal(jax.random.key(0), (4, 6, 6, 1))
    raw = stage.conv(image)
    stage.norm.training = True
    out = stage(image)
    rectified = np.where(raw > 0, raw, 0.2 * raw)
    mean, var = rectified.mean((0, 1, 2)), rectified.var((0, 1, 2))
    np.testing.assert_allclose(out, (rectified - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    np.testing.assert_allclose(stage.norm.mean[...], 0.1 * mean, atol=1e-6)


def test_training_updates_the_statistics_of_liteloc():
    net = purify(filled(partial(LiteLoc, width=2), partial(EmitterHead, width=2)))
    prediction, statistics = jax.jit(net.train)(net.variables, jnp.ones((1, 4, 4, 3)))
    assert set(prediction) == {"logit", "mean", "spread", "background"}
    np.testing.assert_allclose(statistics["backbone"]["norm"]["mean"], 0.9 + 0.1)
    assert any("merge" in path for path in net.statistics)


@pytest.mark.parametrize(
    "model",
    [
        partial(
            Model, partial(DECODE, **{**DECODE.small(), "width": 2}), partial(EmitterHead, width=2, logit_clamp=5.0)
        ),
        partial(Model, partial(LiteLoc, width=1, dilations=[1, 2]), partial(EmitterHead, width=1, background=False)),
        partial(Model, partial(DeepSTORM3D, width=1, dilations=(2,)), partial(VolumeHead, width=1, planes=2)),
        partial(Model, partial(UNet, 3, width=2, depth=1, convs=1), partial(EmitterHead, width=1)),
    ],
    ids=["decode", "liteloc", "deepstorm3d", "unet"],
)
def test_description_survives_json_and_rebuilds_the_same_structure(model):
    original = nnx.eval_shape(lambda: model(rngs=nnx.Rngs(0)))
    description = json.loads(json.dumps(describe(original)))
    rebuilt = nnx.eval_shape(lambda: build_from(description, nnx.Rngs(0)))
    assert describe(rebuilt) == description
    assert nnx.graphdef(original) == nnx.graphdef(rebuilt)
    paths = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(original)))
    assert all(isinstance(key.key, str) for path, _ in paths for key in path)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        (partial(DECODE, width=2, depth=1, convs=1), partial(EmitterHead, width=2)),
        (partial(LiteLoc, width=2, dilations=(2,)), partial(EmitterHead, width=2)),
        (partial(DeepSTORM3D, width=2, dilations=(2,)), partial(VolumeHead, width=2, planes=2)),
    ],
    ids=["decode", "liteloc", "deepstorm3d"],
)
def test_compiled_equals_eager_and_gradients_lower_everywhere(backbone, head):
    model = filled(backbone, head)
    net = purify(model)
    image = jax.random.normal(jax.random.key(1), (1, 4, 8, model.channels_in))
    eager, compiled = net.apply(net.variables, image), jax.jit(net.apply)(net.variables, image)
    for name, value in eager.items():
        np.testing.assert_allclose(value, compiled[name], atol=1e-4, rtol=1e-4)

    def total(variables):
        return sum(value.sum() for value in net.apply(variables, image).values())

    exported = export.export(jax.jit(jax.grad(total)), platforms=["cpu", "cuda", "tpu"])(net.variables)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(DECODE, 2), "channels_in: expected an odd number of frames .* found 2"),
        (partial(LiteLoc, 4), "channels_in: expected an odd number of frames"),
        (partial(DECODE, depth=0), "depth: expected a whole number of at least 1"),
        (partial(LiteLoc, width=2, dilations=(0,)), "dilation: expected a whole number of at least 1"),
        (partial(EmitterHead, (2,), logit_clamp=0.0), "head.logit_clamp: expected a positive number"),
        (partial(EmitterHead, (2,), spatial_dims=3), "head.spatial_dims: expected one of 2; found 3"),
        (partial(VolumeHead, (2,), peak=-1.0), "head.peak: expected a positive number"),
        (partial(VolumeHead, (2,), planes=0), "head.planes: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(InputError, match=words):
        nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))


def test_bad_images_are_named():
    net = nnx.eval_shape(lambda: DECODE(width=2, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=r"multiples of 4; found \(8, 6\)"):
        net(jnp.ones((1, 8, 6, 3)))
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\) with C=3; found shape \(1, 8, 8, 1\)"):
        net(jnp.ones((1, 8, 8, 1)))
