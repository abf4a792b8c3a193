"""Prediction onto a finer grid: tiles, axes, pixel sizes, raw frames, and nets that look at the whole of a tile."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.io import open_image, save_image
from bioflax.models import Direct, Residual, UNet
from bioflax.predict import Layout, predict, predict_file, predict_maps
from bioflax.predict.restore import context

PIXEL = {"Y": 90.0, "X": 90.0}


def finer_model(make_net, channels: int = 1, **change) -> SimpleNamespace:
    """Two pixels for one; for several frames a correction to their mean."""
    backbone = partial(UNet, channels_in=channels, width=4, depth=1)
    head = partial(Direct, upscale=2) if channels == 1 else partial(Residual, upscale=2, over_frames=True)
    module, net = make_net(backbone, head)
    facts = {
        "net": net,
        "variables": net.variables,
        "normalization": Normalization("mean_std", (100.0,), (20.0,)),
        "spatial_dims": 2,
        "channels_in": channels,
        "channels_out": 1,
        "receptive_field": module.receptive_field,
        "stride": module.stride_total,
        "upscale": module.upscale,
        "patch": None,
        "blind_spot": False,
    }
    return SimpleNamespace(**(facts | change))


@pytest.fixture(scope="module")
def model(make_net):
    return finer_model(make_net)


@pytest.fixture(scope="module")
def of_frames(make_net):
    return finer_model(make_net, 3)


def counts(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(100, shape).astype(np.uint16)


def by_hand(model, image: np.ndarray) -> np.ndarray:
    """(N, H, W, C) of even sides through the net in one piece."""
    return 20 * np.asarray(model.net.apply(model.variables, (image.astype(np.float32) - 100) / 20)["image"]) + 100


def test_a_finer_image_comes_back(model) -> None:
    image = counts(20, 24)
    found = predict(model, image, tile=None)
    assert found.shape == (40, 48) and found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(model, image[None, ..., None])[0, ..., 0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(44, 52), (43, 51)])
def test_tiled_equals_whole(model, shape) -> None:
    image = counts(*shape)
    whole, tiled = predict(model, image, tile=None), predict(model, image, tile=24)
    assert whole.shape == tuple(2 * side for side in shape)
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(whole))


def test_odd_sides_are_continued_and_cut(model) -> None:
    image = counts(19, 23)
    padded = np.pad(image, [(0, 1), (0, 1)], mode="reflect")
    np.testing.assert_allclose(predict(model, image, tile=None), predict(model, padded, tile=None)[:38, :46], rtol=1e-5)


def test_time_and_channels_are_a_batch(model) -> None:
    image = counts(3, 20, 24)
    expected = by_hand(model, image[..., None])[..., 0]
    for axes in ("TYX", "CYX"):
        np.testing.assert_allclose(predict(model, image, axes), expected, rtol=1e-5)
    last = predict(model, np.moveaxis(image, 0, -1), "YXT")
    np.testing.assert_allclose(last, np.moveaxis(expected, 0, -1), rtol=1e-5)


def test_turned_pictures_are_averaged_on_the_finer_grid(model) -> None:
    image = counts(20, 20)
    views = [(turns, flip) for turns in range(4) for flip in (False, True)]
    total = np.zeros((40, 40))
    for turns, flip in views:
        view = np.rot90(image, turns)
        one = by_hand(model, (np.flip(view, 0) if flip else view)[None, ..., None])[0, ..., 0]
        total += np.rot90(np.flip(one, 0) if flip else one, -turns)
    np.testing.assert_allclose(predict(model, image, augment=True), total / 8, rtol=1e-5)


def test_frames_become_one_channel_without_an_axis(of_frames) -> None:
    frames = counts(3, 20, 24)
    found = predict_maps(of_frames, frames, "CYX")["image"]
    assert found.shape == (40, 48)
    np.testing.assert_allclose(found, by_hand(of_frames, np.moveaxis(frames, 0, -1)[None])[0, ..., 0], rtol=1e-5)
    movie = predict(of_frames, np.stack([frames, frames[:, ::-1]]), "TCYX")
    assert movie.shape == (2, 40, 48)
    np.testing.assert_allclose(movie[0], found, rtol=1e-5)
    layout = Layout("TCYX", (2, 3, 20, 24), 2, 3, 1, 2)
    assert (layout.axes_out, layout.shape_out) == ("TYX", (2, 40, 48))


@pytest.mark.parametrize(
    ("shape", "axes", "found"), [((20, 24), "YX", "Y=20 X=24"), ((3, 20, 24), "TYX", "T=3 Y=20 X=24")]
)
def test_a_picture_without_its_frames_is_refused(of_frames, shape, axes, found) -> None:
    says = f"a C axis of 3 channels, as the model takes, found {found}. If they are the raw frames of one field"
    with pytest.raises(InputError, match=says) as caught:
        predict(of_frames, counts(*shape), axes)
    assert "axes=CYX" in str(caught.value) and "\n" not in str(caught.value)


def test_raw_frames_are_not_turned(of_frames) -> None:
    with pytest.raises(
        InputError, match="augment: expected false for a model of raw frames: their stripes do not turn"
    ):
        predict(of_frames, counts(3, 20, 24), "CYX", augment=True)


@pytest.mark.parametrize("tile", ["auto", 24])
def test_a_file_has_half_the_pixel_size(model, tmp_path, tile) -> None:
    image = counts(2, 33, 38)
    save_image(tmp_path / "in.tif", image, "TYX", PIXEL)
    written = predict_file(model, tmp_path / "in.tif", tmp_path / "out.tif", tile=tile)["image"]
    result = open_image(written)
    assert (result.axes, result.shape, result.dtype) == ("TYX", (2, 66, 76), np.uint16)
    assert result.pixel_nm["X"] == result.pixel_nm["Y"] == pytest.approx(45.0)
    exact = np.clip(predict(model, image, "TYX", tile=tile), 0, 65535)
    assert np.abs(result.read() - exact).max() <= 0.5 + 1e-3


def test_a_file_of_frames_loses_their_axis(of_frames, tmp_path) -> None:
    save_image(tmp_path / "in.tif", counts(3, 20, 24), "CYX", PIXEL)
    predict_file(of_frames, tmp_path / "in.tif", tmp_path / "out.tif", dtype="float32")
    result = open_image(tmp_path / "out.tif")
    assert (result.axes, result.shape) == ("YX", (40, 48)) and result.pixel_nm["Y"] == pytest.approx(45.0)
    np.testing.assert_array_equal(result.read(), predict(of_frames, counts(3, 20, 24), "CYX"))


def test_nets_of_the_whole_see_their_training_patch(make_net) -> None:
    """The statistics of channel attention are those of a tile: it has the size of the training patches."""
    seen = []

    def watched(variables, image):
        seen.append(image.shape)
        return {"image": image.repeat(2, 1).repeat(2, 2) + image.mean()}

    plain = finer_model(make_net)
    whole = SimpleNamespace(**(vars(plain) | {"net": SimpleNamespace(apply=watched), "patch": (24, 20)}))
    radius = plain.receptive_field // 2
    for tile, sides in (("auto", (24, 20)), (None, (24, 20)), (32, (32, 32)), ([24, 40], (24, 40))):
        assert context(whole, tile) == (sides, tuple(min(side // 4, radius) for side in sides))
    assert context(plain, 32) == (32, radius)
    found = predict(whole, counts(50, 50))
    assert found.shape == (100, 100) and {shape[1:] for shape in seen} == {(24, 20, 1)}
    assert predict(whole, counts(16, 50)).shape == (32, 100)  # a picture that is smaller than a patch
