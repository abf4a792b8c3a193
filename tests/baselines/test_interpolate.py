import numpy as np
import pytest

from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.errors import InputError

METHODS = pytest.mark.parametrize("method", [bicubic, lanczos])


@METHODS
@pytest.mark.parametrize("upscale", [2, 3])
def test_a_bright_pixel_stays_where_it_is(method, upscale):
    image = np.zeros((12, 14))
    image[5, 8] = 1.0
    fine = method(image, upscale)
    assert fine.shape == (12 * upscale, 14 * upscale)
    assert fine.dtype == np.float32
    rows, columns = np.indices(fine.shape)
    # Camera pixel i covers the fine pixels i s ... i s + s - 1
    assert np.sum(fine * rows) / fine.sum() == pytest.approx(5 * upscale + (upscale - 1) / 2, abs=1e-4)
    assert np.sum(fine * columns) / fine.sum() == pytest.approx(8 * upscale + (upscale - 1) / 2, abs=1e-4)
    assert fine.sum() == pytest.approx(upscale**2, rel=0.01)  # the mean is kept; Lanczos weights only nearly so


@METHODS
def test_constants_stay_constant(method):
    np.testing.assert_allclose(method(np.full((12, 14), 3e4), 3), 3e4, rtol=1e-6)


@METHODS
def test_a_ramp_is_a_ramp_in_the_middle(method):
    image = 5.0 + 2.0 * np.arange(14)[None, :] - 3.0 * np.arange(12)[:, None]
    rows, columns = ((np.arange(size * 2) - 0.5) / 2 for size in image.shape)
    expected = 5.0 + 2.0 * columns[None, :] - 3.0 * rows[:, None]
    inner = (slice(6, -6), slice(6, -6))
    # Cubic weights reproduce a ramp; Lanczos weights, made to sum to 1, miss it by a few hundredths of a step
    np.testing.assert_allclose(method(image, 2)[inner], expected[inner], atol=1e-4 if method is bicubic else 0.1)


@METHODS
def test_an_upscale_of_one_changes_nothing(method):
    image = np.random.default_rng(0).normal(size=(12, 14)).astype(np.float32)
    np.testing.assert_allclose(method(image, 1), image, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "upscale", "text"),
    [
        (np.zeros((2, 8, 8)), 2, r"image: expected \(H, W\), found shape \(2, 8, 8\); give one channel"),
        (np.full((8, 8), np.nan), 2, "image: expected finite values, found 64 NaN or infinite"),
        (np.zeros((8, 8)), 9, "upscale: expected a whole number from 1 to 8, found 9"),
    ],
)
def test_bad_input_is_named(image, upscale, text):
    with pytest.raises(InputError, match=text):
        bicubic(image, upscale)
