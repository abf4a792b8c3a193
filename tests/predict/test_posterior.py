"""The observed pixel put back: against the best share that the truth gives, and where it must do nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.errors import InputError
from bioflax.predict import predict, predict_maps
from bioflax.predict.posterior import NOTHING, fit_posterior, sample_windows


def scene(seed=0, size=256, noise=4.0, detail=8.0):
    """Truth, noisy pixels, and a prediction of each pixel that has not seen its own noise but misses some detail."""
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=(size, size)), 8)
    known = 200 + 40 * smooth / smooth.std()
    missed = gaussian_filter(generator.normal(size=(size, size)), 3)
    truth = known + detail * missed / missed.std()
    return truth, truth + noise * generator.normal(size=truth.shape), known


def mse(image, truth):
    return np.mean((image - truth) ** 2)


def test_the_share_is_the_best_linear_one():
    truth, noisy, known = scene()
    share = fit_posterior(noisy, known).shares
    residual = noisy - known
    best = np.sum(residual * (truth - known)) / np.sum(residual**2)
    assert share.mean() == pytest.approx(best, abs=0.04)  # 64 / 80 here
    mixed = fit_posterior(noisy, known).mix(noisy, known)
    assert mixed.dtype == np.float32
    assert mse(mixed, truth) < 1.05 * mse(known + best * residual, truth)
    assert mse(mixed, truth) < 0.85 * min(mse(noisy, truth), mse(known, truth))


def test_noise_that_grows_with_the_signal_gives_bright_pixels_a_smaller_share():
    truth, _, known = scene(1, detail=6.0)
    noisy = np.random.default_rng(2).poisson(np.maximum(truth, 1)).astype(float)
    found = fit_posterior(noisy, known)
    bright, dark = found.shares[-5:].mean(), found.shares[:5].mean()
    assert bright < dark - 0.05
    assert np.all((found.shares >= 0) & (found.shares <= 1)) and np.all(np.diff(found.levels) > 0)


def test_a_prediction_that_misses_nothing_is_left_alone():
    truth, noisy, _ = scene(3, noise=10.0)
    found = fit_posterior(noisy, truth)
    assert found.shares.mean() < 0.05
    assert mse(found.mix(noisy, truth), truth) < 0.01 * mse(noisy, truth)


def test_hot_pixels_do_not_make_the_noise_look_like_signal():
    truth, noisy, _ = scene(4, noise=10.0)
    where = np.random.default_rng(5).integers(0, 256, (40, 2))
    noisy[where[:, 0], where[:, 1]] = 60000.0
    assert fit_posterior(noisy, truth).shares.mean() < 0.1


@pytest.mark.parametrize("image", [np.full((64, 64), 7.0), np.random.default_rng(0).normal(size=(16, 16))])
def test_an_image_that_does_not_tell_its_noise_keeps_its_prediction(image):
    assert fit_posterior(image, image + 1) is NOTHING
    np.testing.assert_array_equal(NOTHING.mix(image, image + 1), (image + 1).astype(np.float32))


def test_windows_spread_over_the_image_with_their_context():
    windows = sample_windows((1, 2000, 700), halo=20)
    assert len(windows) == 4 and windows[0][0][1] == slice(0, 532) and windows[-1][0][1] == slice(1468, 2000)
    for read, crop in windows:
        image = np.zeros((1, 2000, 700), np.int8)
        assert image[read][crop].shape == (1, 512, 512)
    assert len(sample_windows((1, 300, 300), halo=20)) == 1
    assert [read[0].start for read, _ in sample_windows((9, 64, 64), halo=5)] == [0, 3, 5, 8]


def noisy_counts(shape, seed=0):
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=shape), (0,) * (len(shape) - 2) + (4, 4))
    return (100 + 20 * smooth / smooth.std() + 5 * generator.normal(size=shape)).astype(np.float32)


def test_tiles_give_what_the_whole_image_gives(flat_model):
    image = noisy_counts((150, 170))
    whole = predict(flat_model, image, posterior=True, tile=None)
    tiled = predict(flat_model, image, posterior=True, tile=48)
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(whole))
    assert np.abs(whole - predict(flat_model, image, tile=None)).max() > 1  # the random net misses most of the scene


def test_each_channel_has_its_own_shares(flat_model):
    image = noisy_counts((2, 3, 64, 80))
    image[:, 1] = 100 + 10 * (image[:, 1] - 100)
    whole = predict(flat_model, image, "TCYX", posterior=True)
    for channel in range(3):
        alone = predict(flat_model, image[:, channel], "TYX", posterior=True)
        np.testing.assert_allclose(whole[:, channel], alone, atol=1e-3)


def test_joined_channels_have_their_own_shares(colour_model):
    image = noisy_counts((3, 64, 64))
    image[2] *= 5
    plain, mixed = (predict(colour_model, image, "CYX", posterior=on) for on in (False, True))
    for channel in range(3):
        expected = fit_posterior(image[channel][None], plain[channel][None]).mix(image[channel], plain[channel])
        np.testing.assert_allclose(mixed[channel], expected, rtol=1e-4, atol=1e-2)


def test_a_volume(deep_model):
    image = noisy_counts((6, 64, 64))
    assert predict(deep_model, image, "ZYX", posterior=True).shape == image.shape


def test_it_is_refused_where_it_makes_no_sense(flat_model, uncertain_model):
    image = noisy_counts((64, 64))
    sighted = SimpleNamespace(**{**vars(flat_model), "blind_spot": False})
    with pytest.raises(InputError, match="posterior: expected a model trained with blind spots"):
        predict(sighted, image, posterior=True)
    with pytest.raises(InputError, match="posterior: expected a model that predicts the image alone"):
        predict_maps(uncertain_model, image, posterior=True)
