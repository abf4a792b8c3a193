"""Tiled prediction: equal to the whole, one compile, and it survives running out of memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.models import Direct, DnCNN, Gaussian, UNet
from bioflax.predict.tiled import compiled, predict_tiled


@pytest.fixture
def make(make_net):
    def build(backbone, head=Direct):
        module, net = make_net(backbone, head)
        return net, {"halo": module.receptive_field // 2, "stride": module.stride_total}

    return build


def picture(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def check_equal(found, expected):
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5 * max(np.ptp(values), 1e-6))


NETS = {
    "plain": partial(UNet, width=4, depth=2),
    "depth 3": partial(UNet, width=2, depth=3),
    "kernel 5 with batch norm": partial(UNet, width=2, depth=1, kernel=5, norm="batch"),
    "n2v2": partial(
        UNet, width=2, depth=2, pool="max_blur", top_skip=False, upsampling="linear", activation="identity"
    ),
    "dncnn": partial(DnCNN, width=4, layers=4),
}


@pytest.mark.parametrize("name", NETS)
def test_tiled_equals_whole_in_two_dimensions(make, name):
    net, geometry = make(NETS[name], Gaussian)
    least = 2 * geometry["halo"] + 3 * geometry["stride"]
    image = picture(2, least + 13, 2 * least - 5, 1)
    whole = predict_tiled(net.apply, net.variables, image, tile=None, **geometry)
    assert set(whole) == {"image", "scale"} and whole["image"].shape == image.shape
    for tile in ((least, least + 20), 4096):
        check_equal(predict_tiled(net.apply, net.variables, image, tile=tile, **geometry), whole)


def test_tiled_equals_whole_in_three_dimensions(make):
    net, geometry = make(partial(UNet, width=2, depth=1, spatial_dims=3))
    image = picture(1, 9, 43, 34, 1)
    whole = predict_tiled(net.apply, net.variables, image, tile=None, **geometry)
    for tile in (24, (10, 26, 30)):
        check_equal(predict_tiled(net.apply, net.variables, image, tile=tile, **geometry), whole)


def test_a_halo_below_the_receptive_field_would_show(make):
    # All-positive weights, so that every pixel of the field counts: the check above can fail.
    net, geometry = make(partial(UNet, width=2, depth=2, activation="identity", pool="max_blur"))
    variables = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.1, net.variables)
    image = np.abs(picture(1, 120, 8, 1))
    whole = predict_tiled(net.apply, variables, image, tile=None, **geometry)["image"]
    right = predict_tiled(net.apply, variables, image, tile=80, **geometry)["image"]
    short = predict_tiled(net.apply, variables, image, tile=80, halo=geometry["halo"] // 2, stride=4)["image"]
    assert np.abs(right - whole).max() <= 1e-5 * np.ptp(whole)
    assert np.abs(short - whole).max() > 1e-3 * np.ptp(whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 1)])
def test_tiny_images_continue_by_reflection(make, size):
    net, geometry = make(NETS["plain"])
    image = picture(1, *size, 1)
    padded = np.pad(image, [(0, 0), (0, -size[0] % 4), (0, -size[1] % 4), (0, 0)], mode="reflect")
    expected = np.asarray(compiled(net.apply)(net.variables, padded)["image"])[:, : size[0], : size[1]]
    found = predict_tiled(net.apply, net.variables, image, **geometry)["image"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


class Counted:
    """A stand-in net: adds the mean of 3 x 3 pixels, counts its traces and raises above a size."""

    def __init__(self, largest=None, error=None):
        self.traces, self.shapes, self.largest, self.error = 0, [], largest, error

    def __call__(self, variables, image):
        self.traces += 1

        def watch(block):
            self.shapes.append(block.shape)
            if self.largest is not None and block.size > self.largest:
                raise self.error
            return block

        if self.largest is not None and image.size > self.largest:
            raise self.error
        image = jax.pure_callback(watch, jax.ShapeDtypeStruct(image.shape, image.dtype), image)
        window = (1,) + (3,) * (image.ndim - 2) + (1,)
        return {"image": image + jax.lax.reduce_window(image, 0.0, jax.lax.add, window, (1,) * image.ndim, "SAME")}


def test_all_tiles_share_one_shape_and_one_compile():
    net, image, seen = Counted(), picture(3, 45, 61, 1), []
    options = {"halo": 1, "stride": 1, "tile": 16}
    predict_tiled(net, {}, image, on_progress=lambda done, total: seen.append((done, total)), **options)
    assert net.traces == 1 and set(net.shapes) == {(1, 16, 16, 1)}
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)] and len(net.shapes) == len(seen) == 60
    predict_tiled(net, {}, image, **options)
    assert net.traces == 1
    assert compiled(net) is compiled(net)


@pytest.mark.parametrize(
    "error",
    [MemoryError("no room"), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")],
    ids=["python", "xla"],
)
def test_out_of_memory_halves_the_tile_and_goes_on(error):
    image = picture(1, 40, 100, 1)
    expected = predict_tiled(Counted(), {}, image, halo=1, stride=2, tile=None)["image"]
    net = Counted(largest=700, error=error)
    found = predict_tiled(net, {}, image, halo=1, stride=2, tile=None)["image"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(set(net.shapes)) == 1 and max(np.prod(shape) for shape in net.shapes) <= 700


def test_a_batch_is_halved_before_an_image_is_cut():
    net = Counted(largest=4096, error=MemoryError())
    image = picture(8, 60, 50, 1)
    found = predict_tiled(net, {}, image, halo=1, stride=1, memory_gb=1)["image"]
    assert set(net.shapes) == {(1, 60, 50, 1)}
    np.testing.assert_allclose(found, predict_tiled(Counted(), {}, image, halo=1, stride=1)["image"], atol=1e-6)


def test_no_memory_at_all_and_other_errors_end():
    with pytest.raises(InputError, match="memory: expected room for a tile"):
        predict_tiled(Counted(largest=4, error=MemoryError()), {}, picture(1, 40, 40, 1), halo=1, stride=2, tile=None)
    with pytest.raises(ZeroDivisionError):
        predict_tiled(
            Counted(largest=4, error=ZeroDivisionError()), {}, picture(1, 8, 8, 1), halo=1, stride=2, tile=None
        )


def test_small_images_go_in_batches_and_memory_bounds_the_tile():
    net, image = Counted(), picture(7, 8, 8, 1)
    predict_tiled(net, {}, image, halo=1, stride=1)
    assert net.shapes == [(7, 8, 8, 1)]
    net = Counted()
    predict_tiled(net, {}, picture(1, 200, 200, 1), halo=1, stride=1, memory_gb=1e-4)
    assert max(np.prod(shape) for shape in net.shapes) * 4 * 2 < 1e5
    assert len(net.shapes) > 4


def test_turns_and_flips_average_to_an_equivariant_result(make):
    net, geometry = make(NETS["plain"], Gaussian)
    image = picture(1, 50, 70, 1)
    options = {**geometry, "augment": True}
    whole = predict_tiled(net.apply, net.variables, image, tile=None, **options)
    check_equal(predict_tiled(net.apply, net.variables, image, tile=(60, 56), **options), whole)
    square = picture(1, 24, 24, 1)
    plain = predict_tiled(net.apply, net.variables, square, **options)["image"]
    turned = predict_tiled(net.apply, net.variables, np.rot90(square, axes=(1, 2)), **options)["image"]
    np.testing.assert_allclose(turned, np.rot90(plain, axes=(1, 2)), atol=1e-5)
    once = predict_tiled(net.apply, net.variables, square, **geometry)["image"]
    assert np.abs(once - plain).max() > 1e-3


def test_bfloat16_compute_is_close_and_gives_float32(make):
    net, geometry = make(NETS["plain"])
    image = picture(1, 24, 24, 1)
    full = predict_tiled(net.apply, net.variables, image, **geometry)["image"]
    half = predict_tiled(net.apply, net.variables, image, compute_dtype="bfloat16", **geometry)["image"]
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.05 * np.ptp(full)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": "big"}, "tile: expected auto"),
        ({"tile": 0}, "tile: expected a whole number"),
        ({"tile": (32, 32, 32)}, "tile: expected a whole number, or 2"),
        ({"tile": 8}, "tile: expected at least"),
        ({"compute_dtype": "float7"}, "compute_dtype: expected float32, bfloat16"),
        ({"memory_gb": -1}, "memory_gb: expected a number above 0"),
        ({"memory_gb": 1e-9}, "memory_gb: expected more than the weights"),
    ],
)
def test_bad_options_are_told_in_one_line(make, options, message):
    net, geometry = make(NETS["plain"])
    with pytest.raises(InputError, match=message) as caught:
        predict_tiled(net.apply, net.variables, picture(1, 80, 80, 1), **geometry, **options)
    assert "\n" not in str(caught.value)


def test_an_image_without_batch_and_channel_is_refused():
    with pytest.raises(InputError, match=r"expected \(N, H, W, C\)"):
        predict_tiled(Counted(), {}, picture(8, 8), halo=1, stride=1)
