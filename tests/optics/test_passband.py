"""The measured part and the prior part of an image, and whether a result explains the raw image."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import passband

RNG = np.random.default_rng(3)
NOISE = RNG.normal(50.0, 2.0, (48, 40))


def wave(cycles_per_px, shape=(48, 48), axis=1, amplitude=1.0):
    return amplitude * np.cos(2 * np.pi * cycles_per_px * (np.indices(shape)[axis] + 0.5))


@pytest.mark.parametrize("mirror", [True, False])
def test_the_parts_add_up_and_splitting_again_changes_nothing(mirror):
    measured, prior = passband.split(NOISE, 0.2, 2, mirror=mirror)
    np.testing.assert_allclose(measured + prior, NOISE, atol=1e-12)
    np.testing.assert_allclose(np.sum(measured**2) + np.sum(prior**2), np.sum(NOISE**2), rtol=1e-12)
    again, rest = passband.split(measured, 0.2, 2, mirror=mirror)
    np.testing.assert_allclose(again, measured, atol=1e-11)
    assert abs(rest).max() < 1e-11
    assert prior.mean() == pytest.approx(0.0, abs=1e-12)


def test_mirror_equals_the_projection_of_the_image_continued_by_its_mirror_image():
    whole = np.pad(NOISE, [(0, 48), (0, 40)], mode="symmetric")
    expected, _ = passband.split(whole, 0.17, 3, mirror=False)
    np.testing.assert_allclose(passband.split(NOISE, 0.17, 3)[0], expected[:48, :40], atol=1e-11)


@pytest.mark.parametrize("mirror", [True, False])
def test_a_wave_goes_to_the_side_of_the_cut_off_that_it_lies_on(mirror):
    low, high = wave(4 / 48), wave(12 / 48, axis=0)
    measured, prior = passband.split(low + high, 0.2, 1, mirror=mirror)
    np.testing.assert_allclose(measured, low, atol=1e-12)
    np.testing.assert_allclose(prior, high, atol=1e-12)


def test_the_camera_limits_the_band_unless_upscale_is_one():
    image = wave(
        14 / 48
    )  # 0.29 cycles per fine pixel: beyond the Nyquist frequency 0.25 of a camera of twice the pixel
    assert passband.null_space_energy(image, 0.4, 2) == pytest.approx(1.0)
    assert passband.null_space_energy(image, 0.4, 1) == pytest.approx(0.0, abs=1e-12)


def test_a_border_is_no_structure_beyond_the_band():
    ramp = np.linspace(0.0, 1.0, 48) * np.ones((48, 1))
    assert passband.null_space_energy(ramp, 0.1) < 1e-3
    assert passband.null_space_energy(ramp, 0.1, mirror=False) > 5e-3


def test_energy_of_white_noise_is_the_share_of_the_band():
    share = passband.band_mask(NOISE.shape, 0.3, 2).mean()
    assert share == pytest.approx(0.25, rel=0.06)
    # 1,920 frequencies: the share varies by sqrt(2 share (1 - share) / n)
    assert passband.null_space_energy(NOISE, 0.3, 2) == pytest.approx(
        1 - share, abs=4 * np.sqrt(2 * share * (1 - share) / NOISE.size)
    )


def test_the_map_shows_where_detail_was_added_and_is_zero_where_flat():
    y, x = np.indices((48, 48))
    image = 100.0 + np.exp(-((x - 10) ** 2) / 40) * wave(4 / 48)  # measured detail, and one finer than the band:
    image += np.exp(-((x - 38) ** 2 + (y - 10) ** 2) / 40) * wave(20 / 48, axis=0)
    found = passband.null_space_map(image, 0.25, window_px=7)
    assert found.min() >= 0.0 and found.max() <= 1.0
    assert found[10, 38] > 0.95 and found[:, 6:15].max() < 0.05 and found[40, 42] < 0.05
    assert not passband.null_space_map(np.full((16, 16), 7.3), 0.2).any()
    assert passband.null_space_energy(np.full((16, 16), 7.3), 0.2) == 0.0


def test_chi_square_of_the_truth_is_one_and_the_map_shows_a_false_object():
    truth = 60.0 + 40.0 * np.exp(-((np.indices((64, 64)) - 32) ** 2).sum(0) / 50)
    raw = RNG.poisson(truth) + RNG.normal(0.0, 1.5, truth.shape)
    variance = truth + 1.5**2
    value, where = passband.chi_square(truth, raw, variance, window_px=5)
    error = np.sqrt((2 + 1 / 60) / raw.size)
    assert value == pytest.approx(1.0, abs=4 * error)
    assert value < passband.chi_square_limit(raw.size, tolerance=0.0)
    assert where.max() < passband.chi_square_limit(25, sigmas=6, tolerance=0.0)
    false = truth.copy()
    false[8:13, 8:13] += 60.0
    _, where = passband.chi_square(false, raw, variance, window_px=5)
    assert np.unravel_index(where.argmax(), where.shape) == (10, 10)
    assert where.max() > 10 * passband.chi_square_limit(25, tolerance=0.0)
    assert passband.chi_square(raw, raw, variance)[0] == 0.0


def test_chi_square_limit_is_its_formula():
    assert passband.chi_square_limit(200, sigmas=5, tolerance=0.0) == pytest.approx(1.5)
    assert passband.chi_square_limit(200, sigmas=5, tolerance=0.2) == pytest.approx(1.7)


def test_affine_fit_is_least_squares_and_never_negative():
    truth = RNG.normal(3.0, 1.0, (12, 10))
    raw = 7.0 * truth + 100.0 + RNG.normal(0.0, 0.5, truth.shape)
    gain, offset = passband.fit_affine(truth, raw)
    expected = np.polyfit(truth.ravel(), raw.ravel(), 1)
    np.testing.assert_allclose((gain, offset), expected, rtol=1e-9)
    variance = RNG.uniform(0.5, 4.0, truth.shape)
    weighted = np.polyfit(truth.ravel(), raw.ravel(), 1, w=1 / np.sqrt(variance).ravel())
    np.testing.assert_allclose(passband.fit_affine(truth, raw, variance), weighted, rtol=1e-9)
    assert passband.fit_affine(-truth, raw) == (0.0, pytest.approx(raw.mean()))
    assert passband.fit_affine(np.ones_like(raw), raw)[0] == 0.0


def test_in_band_psnr_ignores_what_was_not_measured():
    target = 10 * wave(4 / 48)
    assert passband.in_band_psnr_db(target + 5 * wave(20 / 48), target, 0.2, 2) > 250
    # An error of mean square 1/2 in the band, peak 20
    value = passband.in_band_psnr_db(target + wave(3 / 48) + 5 * wave(20 / 48), target, 0.2, 2, data_range=20.0)
    assert value == pytest.approx(10 * np.log10(400 / 0.5))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: passband.split(NOISE[0], 0.2), "finite numbers"),
        (lambda: passband.split(NOISE * np.nan, 0.2), "not finite"),
        (lambda: passband.split(NOISE, 0.0), "cutoff_per_px"),
        (lambda: passband.split(NOISE, 0.2, 9), "upscale"),
        (lambda: passband.null_space_energy(NOISE[None], 0.2), "one image"),
        (lambda: passband.chi_square(NOISE, NOISE[:4], 1.0), "one shape"),
        (lambda: passband.chi_square(NOISE, NOISE, 0.0), "variance"),
        (lambda: passband.chi_square(NOISE, NOISE, np.ones(3)), "variance"),
        (lambda: passband.null_space_map(NOISE, 0.2, window_px=0), "window_px"),
        (lambda: passband.chi_square_limit(0), "n_pixels"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
