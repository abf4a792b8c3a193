"""The error map finds the blur, the gain and a false structure."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.errors import InputError
from bioflax.metrics.squirrel import error_map

RNG = np.random.default_rng(4)
FINE = (RNG.random((96, 84)) < 0.01) * RNG.uniform(20, 60, (96, 84))


def binned(image, upscale):
    return image.reshape(image.shape[0] // upscale, upscale, image.shape[1] // upscale, upscale).mean((1, 3))


def wide(sigma_px, upscale, gain=3.0, offset=100.0, noise=0.0):
    picture = gaussian_filter(FINE, sigma_px * upscale, mode="reflect", truncate=6)
    return gain * binned(picture, upscale) + offset + RNG.normal(0, noise, np.array(FINE.shape) // upscale)


@pytest.mark.parametrize(("upscale", "sigma_px"), [(2, 1.3), (3, 0.9), (1, 4.0)])
def test_blur_gain_and_offset_are_found(upscale, sigma_px):
    found = error_map(FINE, wide(sigma_px, upscale), upscale)
    assert found.sigma_px == pytest.approx(sigma_px, rel=0.01)
    assert found.gain == pytest.approx(3.0, rel=0.01) and found.offset == pytest.approx(100.0, rel=0.01)
    assert found.rsp > 0.9999 and found.rse < 0.02
    assert found.map.shape == tuple(side // upscale for side in FINE.shape)


def test_noise_of_the_widefield_image_is_what_remains():
    found = error_map(FINE, wide(1.3, 2, noise=0.3), 2)
    assert found.rse == pytest.approx(0.3, rel=0.1)
    assert found.sigma_px == pytest.approx(1.3, rel=0.05)
    assert found.rse == pytest.approx(np.sqrt(np.mean(found.map**2)))


def test_a_false_structure_shows_where_it_is():
    false = FINE.copy()
    false[60:64, 40:44] += 40.0
    found = error_map(false, wide(1.3, 2), 2)
    row, column = np.unravel_index(found.map.argmax(), found.map.shape)
    assert abs(row - 30.5) < 1.5 and abs(column - 20.5) < 1.5
    assert found.rsp < 0.99 and found.map.max() > 10 * np.median(found.map)


def test_detail_that_the_blur_removes_is_not_seen():
    checks = np.where(np.indices(FINE.shape).sum(0) % 2, 5.0, -5.0)
    assert error_map(FINE + checks, wide(1.3, 2), 2).rsp > 0.9999


def test_a_gain_below_zero_is_not_used():
    found = error_map(-FINE, wide(1.3, 2), 2)
    assert found.gain == 0.0 and found.rse == pytest.approx(wide(1.3, 2).std())
    assert error_map(np.ones((8, 8)), RNG.random((4, 4)), 2).rsp == pytest.approx(0.0, abs=1e-6)


def test_the_search_stays_in_its_range():
    found = error_map(FINE, wide(4.0, 1), 1, sigma_range_px=(0.5, 2.0))
    assert found.sigma_px == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: error_map(FINE, FINE, 2), "s = 2"),
        (lambda: error_map(FINE * np.nan, FINE, 1), "finite"),
        (lambda: error_map(FINE, FINE, 1, sigma_range_px=(2, 1)), "sigma_range_px"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
