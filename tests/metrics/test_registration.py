"""Known shifts are found, unrelated images are told apart, and a shift moves what it should."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.errors import InputError
from bioflax.metrics.registration import register, shift_image

RNG = np.random.default_rng(11)
# Texture of about 5 px on a large canvas, so that what enters at a border is true
CANVAS = gaussian_filter(RNG.normal(size=(160, 150)), 2.0, mode="wrap") * 50


def pair(dy, dx, noise=1.0, seed=0):
    """The image and a reference in which everything lies (dy, dx) further down and right."""
    rows, columns = (np.fft.fftfreq(side) for side in CANVAS.shape)
    ramp = np.exp(-2j * np.pi * (rows[:, None] * dy + columns[None, :] * dx))
    moved = np.fft.ifft2(np.fft.fft2(CANVAS) * ramp).real
    rng = np.random.default_rng(seed)
    crop = (slice(40, 104), slice(40, 100))
    return tuple(picture[crop] + rng.normal(0, noise, (64, 60)) for picture in (CANVAS, moved))


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (0.37, -0.62), (-3.5, 5.25), (9.8, -0.1)])
def test_known_shifts_are_found_whatever_gain_offset_and_background(dy, dx):
    image, reference = pair(dy, dx)
    uneven = 0.3 * reference + 200 + np.linspace(0, 30, 60)
    found = register(image, uneven)
    assert found.dy_px == pytest.approx(dy, abs=0.05) and found.dx_px == pytest.approx(dx, abs=0.05)
    assert found.correlation > 0.9
    back = register(uneven, image)
    assert back.dy_px == pytest.approx(-dy, abs=0.05) and back.dx_px == pytest.approx(-dx, abs=0.05)


def test_without_noise_the_shift_is_exact_to_a_hundredth():
    found = register(*pair(1.234, -2.345, noise=0.0))
    assert (found.dy_px, found.dx_px) == (pytest.approx(1.234, abs=0.01), pytest.approx(-2.345, abs=0.01))


def test_unrelated_images_correlate_little_and_shifts_stay_within_their_limit():
    other = gaussian_filter(np.random.default_rng(5).normal(size=(64, 60)), 2.0, mode="wrap") * 50
    found = register(pair(0, 0)[0], other, max_shift_px=4)
    assert found.correlation < 0.35
    assert abs(found.dy_px) <= 4 and abs(found.dx_px) <= 4
    assert register(pair(0, 0)[0], -pair(0, 0)[0], max_shift_px=0).correlation == pytest.approx(-1.0)


def test_shift_image_moves_down_and_right_and_mirrors_at_borders():
    image = RNG.normal(size=(9, 12))
    moved = shift_image(image, 2, -3)
    np.testing.assert_allclose(moved[2:, :-3], image[:-2, 3:], atol=1e-12)
    np.testing.assert_allclose(moved[:2, 0], image[1::-1, 3], atol=1e-12)
    np.testing.assert_allclose(moved[2:, -3:], image[:-2, :-4:-1], atol=1e-12)
    smooth = CANVAS[:40, :44]
    np.testing.assert_allclose(
        shift_image(shift_image(smooth, 0.4, -0.7), -0.4, 0.7)[4:-4, 4:-4], smooth[4:-4, 4:-4], atol=0.1
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: register(CANVAS, CANVAS[:20]), "one non-empty shape"),
        (lambda: register(CANVAS[:10], CANVAS[:10]), "at least 16 px"),
        (lambda: register(CANVAS, np.full_like(CANVAS, 3.0)), "reference: expected an image with structure"),
        (lambda: register(CANVAS, CANVAS, max_shift_px=-1), "max_shift_px"),
        (lambda: register(CANVAS, CANVAS, detail_px=(3, 2)), "detail_px"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
