"""Rendered tables: nothing is lost, centres stay where they are, and each picture equals a sum written out."""

import time

import numpy as np
import pytest
from scipy.special import ndtr

from bioflax.errors import InputError
from bioflax.ops import (
    colour_by_z,
    colour_map,
    render_ash,
    render_gaussian,
    render_histogram,
    rendering,
    scale_bar,
    tone,
)

RNG = np.random.default_rng(0)
FIELD = {"pixel_nm": 10.0, "size_nm": (400.0, 600.0)}


def centroid(picture):
    """(x, y) in nm from the outer corner."""
    row, column = np.indices(picture.shape)
    return 10 * np.array([(picture * (place + 0.5)).sum() / picture.sum() for place in (column, row)])


def width(picture, axis):
    profile = picture.sum(axis)
    place = np.arange(profile.size)
    mean = (profile * place).sum() / profile.sum()
    return 10 * np.sqrt((profile * (place - mean) ** 2).sum() / profile.sum())


def written_out(x, y, sigma_x, sigma_y, weights):
    """Every Gaussian over the whole picture, float64."""
    rows, columns = np.arange(41) * 10.0, np.arange(61) * 10.0
    down = np.diff(ndtr((rows - y[:, None]) / sigma_y[:, None]), axis=1)
    along = np.diff(ndtr((columns - x[:, None]) / sigma_x[:, None]), axis=1)
    return np.einsum("n,ni,nj->ij", weights, down, along)


def test_histogram_counts_by_pixel():
    picture = render_histogram([0.0, 9.99, 10.0, 599.9, 600.0, -0.1], [0.0, 0.0, 390.0, 399.9, 10.0, 10.0], **FIELD)
    assert picture.shape == (40, 60)
    assert (picture[0, 0], picture[39, 1], picture[39, 59], picture.sum()) == (2, 1, 1, 4)
    weighted = render_histogram([5.0, 5.0], [5.0, 5.0], weights=[0.5, 2.0], **FIELD)
    assert weighted[0, 0] == 2.5
    assert render_histogram([], [], pixel_nm=10.0, size_nm=(405, 600)).shape == (41, 60)
    assert render_histogram([], [], pixel_nm=0.1, size_nm=(0.3, 0.6)).shape == (3, 6)


def test_nothing_is_lost_and_centres_stay():
    x, y = RNG.uniform(200, 400, 500), RNG.uniform(180, 220, 500)
    for picture in (
        render_histogram(x, y, **FIELD),
        render_ash(x, y, shifts=3, **FIELD),
        render_gaussian(x, y, RNG.uniform(0, 40, 500), **FIELD),
        render_gaussian(x, y, 25.0, 10.0, **FIELD),
    ):
        assert picture.sum() == pytest.approx(500, rel=1e-6)
    for place in RNG.uniform(190, 210, (10, 2)):
        for sigma in (4.0, 12.0, 35.0):
            spot = render_gaussian(place[:1], place[1:], sigma, **FIELD)
            np.testing.assert_allclose(centroid(spot), place, atol=0.6 if sigma < 5 else 0.02)
    everything = render_gaussian(x, y, 15.0, **FIELD)
    np.testing.assert_allclose(centroid(everything), [x.mean(), y.mean()], atol=0.02)


@pytest.mark.parametrize("cost", [6, 1e-9])
def test_gaussian_is_the_sum_of_gaussians(monkeypatch, cost):
    """Drawn one by one, and blurred together where the spots are wide (cost near zero asks for it)."""
    monkeypatch.setattr(rendering, "_BLUR_COST", cost)
    monkeypatch.setattr(rendering, "_BLOCK_PIXELS", 2000)
    x, y = RNG.uniform(-60, 660, 300), RNG.uniform(-60, 460, 300)
    sigma_x, sigma_y, weights = RNG.uniform(3, 40, 300), RNG.uniform(3, 40, 300), RNG.uniform(0.5, 2, 300)
    picture = render_gaussian(x, y, sigma_x, sigma_y, weights=weights, **FIELD)
    expected = written_out(x, y, sigma_x, sigma_y, weights)
    assert abs(picture - expected).max() < (0.05 if cost < 1 else 1e-3) * expected.max()
    assert picture.sum() == pytest.approx(expected.sum(), rel=2e-3 if cost < 1 else 1e-4)


def test_many_wide_spots_of_one_width_keep_centre_and_width():
    centre = np.array([303.3, 197.7])
    x, y = centre[0] + RNG.uniform(-5, 5, 20_000), centre[1] + RNG.uniform(-5, 5, 20_000)
    picture = render_gaussian(x, y, 30.0, 20.0, **FIELD)
    assert picture.sum() == pytest.approx(20_000, rel=1e-6)
    np.testing.assert_allclose(centroid(picture), [x.mean(), y.mean()], atol=0.01)
    # Pixels are 10 nm wide and add 10²/12, the spread of the points another 10²/12
    assert width(picture, 0) == pytest.approx(np.sqrt(900 + 200 / 12), rel=0.01)
    assert width(picture, 1) == pytest.approx(np.sqrt(400 + 200 / 12), rel=0.01)


def test_several_weights_at_once():
    x, y, sigma = RNG.uniform(0, 600, 50), RNG.uniform(0, 400, 50), RNG.uniform(0, 50, 50)
    weights = RNG.uniform(0, 1, (3, 50))
    together = render_gaussian(x, y, sigma, weights=weights, **FIELD)
    for picture, weight in zip(together, weights):
        np.testing.assert_allclose(picture, render_gaussian(x, y, sigma, weights=weight, **FIELD), atol=1e-12)
    assert render_gaussian([], [], 10.0, **FIELD).sum() == 0


def test_averaged_shifted_histogram_is_what_it_says():
    x, y, shifts = RNG.uniform(100, 500, 200), RNG.uniform(100, 300, 200), 4
    wide = np.zeros((40, 60))
    for down in range(shifts):
        for along in range(shifts):
            rows, columns = np.floor((y / 10 + down) / shifts), np.floor((x / 10 + along) / shifts)
            cells = np.zeros((12, 17))
            np.add.at(cells, (rows.astype(int), columns.astype(int)), 1)
            fine = np.kron(cells, np.ones((shifts, shifts)))[down : down + 40, along : along + 60]
            wide += fine / shifts**2 / shifts**2  # a wide cell's count, spread over its fine pixels
    np.testing.assert_allclose(render_ash(x, y, shifts=shifts, **FIELD), wide, atol=1e-12)
    np.testing.assert_array_equal(render_ash(x, y, shifts=1, **FIELD), render_histogram(x, y, **FIELD))


def test_colour_is_depth_and_brightness_density():
    x, y, z = (
        np.repeat([105.0, 305.0, 505.0], [8, 8, 2]),
        np.full(18, 205.0),
        np.repeat([-300.0, 300.0, 0.0], [8, 8, 2]),
    )
    picture = colour_by_z(x, y, z, z_range_nm=(-300, 300), percentile=100, gamma=1, **FIELD)
    assert picture.shape == (40, 60, 3) and picture.dtype == np.uint8
    expected = np.rint(255 * colour_map([0.0, 1.0, 0.5]) * np.array([[1], [1], [0.25]]))
    np.testing.assert_allclose(picture[20, [10, 30, 50]], expected, atol=1)
    assert picture.sum() == picture[20, [10, 30, 50]].sum()
    blurred = colour_by_z(x, y, z, 15.0, **FIELD)
    assert np.argmax(blurred[20, 10]) == 2 and np.argmax(blurred[20, 30]) == 0
    assert colour_by_z([], [], [], 10.0, **FIELD).max() == 0
    grey = colour_map([0.0, 0.25, 1.0, 2.0], "grey")
    np.testing.assert_allclose(grey, np.repeat([[0.0], [0.25], [1.0], [1.0]], 3, 1))


def test_tone_saturates_and_lifts():
    picture = np.array([[0.0, 1.0], [4.0, 16.0]])
    np.testing.assert_allclose(tone(picture, percentile=100, gamma=0.5), [[0, 0.25], [0.5, 1]])
    assert tone(picture, percentile=50, gamma=1).max() == 1
    assert tone(np.zeros((2, 2))).max() == 0


def test_scale_bar():
    image, length = scale_bar(np.zeros((100, 200), np.uint8), 10.0)
    assert length == 200
    assert image.max() == 255 and (image.max(0) > 0).sum() == 20 and image[-6].max() == 255
    colour, length = scale_bar(np.zeros((100, 200, 3)), 10.0, 500.0, value=7)
    assert length == 500 and (colour.max((0, 2)) == 7).sum() == 50
    with pytest.raises(InputError, match="length_nm: expected 10 to 1900 nm here, found 5000"):
        scale_bar(np.zeros((100, 200)), 10.0, 5000)


def test_bad_input_is_told():
    for call, message in [
        (lambda: render_histogram([1.0], [1.0, 2.0], **FIELD), r"expected \(N,\) values each"),
        (lambda: render_histogram([np.nan], [1.0], **FIELD), "x_nm: expected finite"),
        (lambda: render_histogram([1.0], [1.0], pixel_nm=0, size_nm=(1, 1)), "expected positive numbers, found 0"),
        (lambda: render_ash([1.0], [1.0], shifts=0, **FIELD), "shifts: expected"),
        (lambda: render_gaussian([1.0], [1.0], [-1.0], **FIELD), "expected no negative values"),
        (lambda: render_gaussian([1.0], [1.0], [1.0, 2.0], **FIELD), r"expected \(N,\) values each"),
        (lambda: colour_by_z([1.0], [1.0], [1.0], z_range_nm=(1, 1), **FIELD), "z_range_nm: expected"),
        (lambda: colour_map([0.5], "jet"), "expected one of depth, fire, grey"),
        (lambda: colour_map([0.5], [[1, 2]]), r"expected \(K, 3\) anchors"),
        (lambda: tone(np.ones((2, 2)), gamma=0), "percentile/gamma"),
        (lambda: scale_bar(np.zeros(3), 10.0), r"image: expected \(H, W\)"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_hundred_thousand_spots_take_no_time():
    x, y = RNG.uniform(0, 10_000, (2, 100_000))
    start = time.perf_counter()
    render_gaussian(x, y, RNG.gamma(8, 1.5, 100_000), pixel_nm=10.0, size_nm=(10_000.0, 10_000.0))
    assert time.perf_counter() - start < 5  # 0.3 s on a quiet core
