"""Upsampling tails: order of the shuffle, no checkerboard at the start, reach against gradients, heads on finer grids."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import Direct, DnCNN, Gaussian, Laplace, Model, Residual, UNet, Upsampler, build_from, describe
from bioflax.models.upsample import TAILS, shuffles, tail_reach
from bioflax.ops import depth_to_space, space_to_depth, upsample_in_plane, upsample_linear

TINY = partial(DnCNN, width=2, layers=2, norm=None)


def outline(backbone, head):
    return nnx.eval_shape(lambda: Model(backbone, head, rngs=nnx.Rngs(0)))


def filled(backbone, head, low=-0.3, high=0.3):
    """A model with uniform parameters, drawn by NumPy: building it for real would compile an initializer a shape."""
    model = outline(backbone, head)
    rng = np.random.default_rng(0)
    weights = nnx.state(model, nnx.Param)
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(low, high, leaf.shape), leaf.dtype), weights))
    return model


def run(model, image):
    return jax.tree.map(np.asarray, jax.jit(lambda image: model(image))(image))


def draw(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("factor", [2, 3])
def test_shuffle_puts_columns_outermost(factor):
    image = draw(2, 3, 2, factor**2 * 2)
    expected = np.empty((2, 3 * factor, 2 * factor, 2), np.float32)
    for dy in range(factor):
        for dx in range(factor):
            for c in range(2):
                expected[:, dy::factor, dx::factor, c] = image[..., (dx * factor + dy) * 2 + c]
    np.testing.assert_array_equal(depth_to_space(jnp.asarray(image), factor), expected)


def test_shuffle_undoes_space_to_depth_and_keeps_z():
    image = draw(1, 4, 6, 3)
    np.testing.assert_array_equal(jax.jit(lambda image: depth_to_space(space_to_depth(image), 2))(image), image)
    volume = draw(2, 3, 2, 2, 4)
    planes = depth_to_space(jnp.asarray(volume.reshape(6, 2, 2, 4)), 2).reshape(2, 3, 4, 4, 1)
    np.testing.assert_array_equal(depth_to_space(volume, 2), planes)
    with pytest.raises(InputError, match="a multiple of 9 channels to shuffle by 3; found 4"):
        depth_to_space(volume, 3)


@pytest.mark.parametrize("factor", [1, 3, 4])
def test_linear_enlargement_keeps_a_ramp_about_the_pixel_centres(factor):
    plane = np.arange(5.0)[:, None] * 2 + np.arange(4.0) + 1
    y, x = ((np.arange(size * factor) + 0.5) / factor - 0.5 for size in plane.shape)
    expected = np.clip(y, 0, 4)[:, None] * 2 + np.clip(x, 0, 3) + 1  # borders repeat the edge pixel
    enlarged = upsample_in_plane(jnp.asarray(plane, jnp.float32)[None, :, :, None], factor)
    np.testing.assert_allclose(enlarged[0, ..., 0], expected, atol=1e-5)


def test_linear_enlargement_by_two_is_the_old_one_and_leaves_z():
    image = draw(1, 3, 4, 2)
    np.testing.assert_array_equal(upsample_in_plane(image, 2), upsample_linear(image))
    assert upsample_in_plane(image[..., None], 2).shape == (1, 3, 8, 4, 1)


@pytest.mark.parametrize(
    ("upscale", "tail", "expected"),
    [(4, "edsr", (2, 2)), (3, "edsr", (3,)), (8, "srresnet", (2, 2, 2)), (6, "swinir", (2, 3)), (4, "dfcan", (4,))],
)
def test_factors_of_the_shuffles(upscale, tail, expected):
    assert shuffles(upscale, tail) == expected


@pytest.mark.parametrize(
    ("upscale", "tail", "parameters"),
    [
        (2, "edsr", 147_712),
        (4, "edsr", 2 * 147_712),
        (3, "edsr", 9 * 64 * 576 + 576),
        (4, "srresnet", 2 * 147_713),
        (4, "dfcan", 9 * 64 * 1024 + 1024),
        (2, "swinir", 9 * 64 * 64 + 64 + 147_712),
    ],
)
def test_parameters_of_the_tails_on_64_channels(upscale, tail, parameters):
    shapes = nnx.eval_shape(lambda: Upsampler(64, upscale, tail, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(shapes, nnx.Param))) == parameters


@pytest.mark.parametrize(("tail", "upscale"), [("edsr", 4), ("dfcan", 2), ("direct", 2)])
def test_an_even_map_is_enlarged_without_a_checkerboard(tail, upscale):
    head = Direct((3,), kernel=1, upscale=upscale, tail=tail, rngs=nnx.Rngs(0))
    image = jax.jit(lambda maps: head((maps,), maps)["image"])(np.full((1, 9, 9, 3), 0.7, np.float32))
    assert image.shape == (1, 9 * upscale, 9 * upscale, 1) and np.abs(image).max() > 1e-3
    inside = np.asarray(image)[0, 3 * upscale : 6 * upscale, 3 * upscale : 6 * upscale, 0]  # away from the zero padding
    np.testing.assert_allclose(inside, inside[0, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tail", ["edsr", "direct"])
def test_a_bright_pixel_lands_on_its_own_fine_pixels(tail):
    model = filled(TINY, partial(Direct, upscale=2, tail=tail))

    def centred(leaf):
        """Each channel passes on the sum of all, pixel by pixel."""
        kernel = np.zeros(leaf.shape, np.float32)
        if leaf.ndim == 4:
            kernel[leaf.shape[0] // 2, leaf.shape[1] // 2] = 1
        return jnp.asarray(kernel)

    nnx.update(model, jax.tree.map(centred, nnx.state(model)))
    image = np.zeros((1, 3, 4, 1), np.float32)
    image[0, 1, 2] = 1
    rows, columns = np.nonzero(run(model, image)["image"][0, ..., 0] > 0.5)
    assert (sorted(set(rows)), sorted(set(columns))) == ([2, 3], [4, 5])


@pytest.mark.parametrize(
    ("upscale", "tail", "kernel", "expected"),
    [
        (1, "edsr", 3, 1),
        (2, "edsr", 3, 2),
        (4, "edsr", 1, 2),
        (3, "dfcan", 9, 3),
        (2, "swinir", 3, 3),
        (4, "direct", 3, 1),
    ],
)
def test_reach_by_hand(upscale, tail, kernel, expected):
    assert tail_reach(upscale, tail, kernel) == expected


CASES = {
    "edsr x4": (TINY, partial(Direct, kernel=3, upscale=4)),
    "dfcan x3": (TINY, partial(Direct, **Direct.dfcan(3))),
    "swinir x2": (TINY, partial(Direct, **Direct.swinir(2))),
    "added, x3": (partial(DnCNN, width=2, layers=2, kernel=1), partial(Residual, upscale=3, tail="direct")),
    "3-D, x2": (partial(TINY, spatial_dims=3), partial(Gaussian, kernel=3, upscale=2)),
}


@pytest.mark.parametrize("name", CASES)
def test_receptive_field_in_input_pixels_is_the_support_of_the_gradient(name):
    model = filled(*CASES[name], low=0.01, high=0.05)  # positive: no rectifier hides a pixel
    centre, axes = model.receptive_field // 2 + 1, range(1, 1 + model.spatial_dims)
    size = 2 * centre + 1
    reached = []
    for axis in axes:
        shape = [1] * (model.spatial_dims + 2)
        shape[axis] = size
        scale = model.upscale if axis > model.spatial_dims - 2 else 1
        pixels = np.arange(centre * scale, (centre + 1) * scale)

        def outputs(image, axis=axis, pixels=pixels):
            image = model(image)["image"]
            return jnp.moveaxis(image, axis, 0).reshape(image.shape[axis], -1).sum(-1)[pixels]

        gradient = np.abs(jax.jit(jax.jacrev(outputs))(jnp.zeros(shape))).reshape(len(pixels), size).max(axis=0)
        touched = np.flatnonzero(gradient > 1e-12)
        reached.append(max(touched.max() - centre, centre - touched.min()))
    assert model.receptive_field == 2 * max(reached) + 1


@pytest.mark.parametrize("tail", TAILS)
def test_both_outputs_lie_on_the_finer_grid(tail):
    model = outline(partial(UNet, width=4, depth=1, convs=1), partial(Laplace, upscale=3, tail=tail))
    prediction = nnx.eval_shape(lambda model: model(jnp.ones((2, 4, 6, 1))), model)
    assert {value.shape for value in prediction.values()} == {(2, 12, 18, 1)}
    assert model.upscale == 3 and model.whole_image is False


@pytest.mark.parametrize("head", [Residual, Gaussian])
def test_residual_heads_add_the_enlarged_input_or_the_mean_of_its_frames(head):
    image = draw(1, 3, 4, 2)
    model = filled(partial(TINY, channels_in=2), partial(head, channels_out=2, upscale=2), low=0.0, high=0.0)
    np.testing.assert_allclose(run(model, image)["image"], upsample_linear(image), atol=1e-6)
    model = filled(partial(TINY, channels_in=2), partial(head, channels_out=1, over_frames=True), low=0.0, high=0.0)
    np.testing.assert_allclose(run(model, image)["image"], image.mean(-1, keepdims=True), atol=1e-6)


def test_a_squashed_image_stays_between_zero_and_one():
    model = filled(TINY, partial(Direct, upscale=2, squash=True), low=-9.0, high=9.0)
    restored = run(model, 30 * draw(1, 4, 4, 1))["image"]
    assert restored.min() >= 0 and restored.max() <= 1 and np.ptp(restored) > 0.5


def test_a_tile_equals_the_whole_on_the_finer_grid():
    model = filled(TINY, partial(Residual, kernel=3, upscale=2))
    image = draw(1, 24, 24, 1)
    halo = model.receptive_field // 2
    whole, tile = (run(model, part)["image"] for part in (image, image[:, 10 - halo : 14 + halo]))
    np.testing.assert_allclose(tile[:, 2 * halo : -2 * halo], whole[:, 20:28], atol=1e-5)


def test_descriptions_rebuild_and_those_of_before_the_argument_still_load():
    model = outline(TINY, partial(Gaussian, upscale=2, tail="srresnet", kernel=3))
    rebuilt = nnx.eval_shape(lambda: build_from(describe(model), nnx.Rngs(0)))
    assert describe(rebuilt) == describe(model) and nnx.graphdef(model) == nnx.graphdef(rebuilt)
    old = {"widths": [2], "channels_out": 1, "spatial_dims": 2, "residual": True}
    head = nnx.eval_shape(lambda: build_from({"name": "Gaussian", "arguments": old}, nnx.Rngs(0)))
    assert set(nnx.to_pure_dict(nnx.state(head))) == {"mean", "scale"} and head.window == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"upscale": 9}, "upscale: expected a whole number from 1 to 8; found 9"),
        ({"upscale": True}, "upscale: expected a whole number from 1 to 8; found True"),
        ({"upscale": 2, "tail": "espcn"}, "tail: expected one of edsr, dfcan, srresnet, swinir, direct; found 'espcn'"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        Direct((2,), **arguments, rngs=nnx.Rngs(0))


def test_frames_that_do_not_fit_the_channels_are_explained():
    with pytest.raises(InputError, match="has 9 channels; found channels_out=1.*over_frames=true"):
        outline(partial(TINY, channels_in=9), Residual)
