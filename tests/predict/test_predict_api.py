"""Arrays in, arrays out, with the same axes and in the same units."""

import numpy as np
import pytest

import bioflax.predict
from bioflax.errors import InputError
from bioflax.predict import predict, predict_maps


def counts(*shape):
    return np.random.default_rng(0).poisson(100, shape).astype(np.uint16)


def by_hand(model, image):
    """(N, [Z,] H, W, C) with even sizes, through the net in one piece."""
    units = model.normalization
    normalised = (image.astype(np.float32) - units.offset[0]) / units.scale[0]
    found = model.net.apply(model.variables, normalised)
    return np.asarray(found["image"]) * units.scale[0] + units.offset[0]


def test_a_plane_in_camera_counts(flat_model):
    image = counts(20, 26)
    found = predict(flat_model, image)
    assert found.dtype == np.float32 and found.shape == image.shape
    np.testing.assert_allclose(found, by_hand(flat_model, image[None, ..., None])[0, ..., 0], rtol=1e-5)


def test_the_front_door_is_the_function(flat_model):
    image = counts(8, 8)
    np.testing.assert_array_equal(bioflax.predict(flat_model, image), predict(flat_model, image))


def test_time_and_depth_are_a_batch_for_a_flat_model(flat_model):
    image = counts(3, 12, 14)
    expected = by_hand(flat_model, image[..., None])[..., 0]
    for axes in ("TYX", "ZYX", "CYX", "zyx"):
        np.testing.assert_allclose(predict(flat_model, image, axes), expected, rtol=1e-5)
    last = predict(flat_model, np.moveaxis(image, 0, -1), "YXT")
    np.testing.assert_allclose(last, np.moveaxis(expected, 0, -1), rtol=1e-5)


def test_depth_is_space_for_a_deep_model(deep_model):
    image = counts(2, 8, 10, 12)
    expected = by_hand(deep_model, image[..., None])[..., 0]
    np.testing.assert_allclose(predict(deep_model, image, "TZYX"), expected, rtol=1e-5)
    np.testing.assert_allclose(predict(deep_model, image[0]), expected[0], rtol=1e-5)


def test_channels_go_together_where_the_model_takes_them(colour_model):
    image = counts(3, 10, 12)
    expected = np.moveaxis(by_hand(colour_model, np.moveaxis(image, 0, -1)[None])[0], -1, 0)
    np.testing.assert_allclose(predict(colour_model, image, "CYX"), expected, rtol=1e-5)
    with pytest.raises(InputError, match="a C axis of 3 channels"):
        predict(colour_model, image[:2], "CYX")


def test_scale_comes_back_in_the_units_of_the_image(uncertain_model):
    image = counts(12, 12)
    maps = predict_maps(uncertain_model, image)
    normalised = (image.astype(np.float32) - 100) / 20
    expected = uncertain_model.net.apply(uncertain_model.variables, normalised[None, ..., None])["scale"]
    np.testing.assert_allclose(maps["scale"], 20 * np.asarray(expected)[0, ..., 0], rtol=1e-5)
    assert set(maps) == {"image", "scale"}
    np.testing.assert_array_equal(predict(uncertain_model, image), maps["image"])


def test_options_reach_the_tiles(flat_model):
    image, seen = counts(50, 70), []
    whole = predict(flat_model, image, tile=None)
    tiled = predict(flat_model, image, tile=32, on_progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(whole))
    assert seen[-1] == (len(seen), len(seen)) and len(seen) > 1
    assert np.abs(predict(flat_model, image, augment=True) - whole).max() > 1e-3


@pytest.mark.parametrize(
    ("image", "axes", "message"),
    [
        (counts(3, 8, 8), None, "axes: expected the axes of an image of shape .* axes=TYX"),
        (counts(3, 8, 8), "YX", "axes=YX names 2 dimensions"),
        (counts(8, 8), "XZ", "the axes Y and X"),
        (np.full((4, 4), np.nan), None, "16 NaN"),
        (np.zeros((4, 4), complex), None, "expected integer or floating-point pixels"),
        (np.zeros((0, 4)), None, "expected an image with pixels"),
    ],
)
def test_bad_images_are_told_in_one_line(flat_model, image, axes, message):
    with pytest.raises(InputError, match=message) as caught:
        predict(flat_model, image, axes)
    assert "\n" not in str(caught.value)
