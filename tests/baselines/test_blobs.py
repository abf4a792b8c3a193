"""Spot finders: heights in closed form, places below a pixel, the automatic threshold, and the oracle by trying all."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_laplace

from bioflax.baselines import BLOB_FILTERS, best_threshold, find_blobs
from bioflax.errors import InputError
from bioflax.metrics import match_points, score_points


def spots(shape, positions, width=1.5, height=100.0, background=50.0):
    """Gaussian spots on an even background."""
    grid = np.indices(shape)
    image = np.full(shape, background)
    for position in positions:
        square = sum((axis - p) ** 2 for axis, p in zip(grid, position))
        image += height * np.exp(-square / (2 * width**2))
    return image


@pytest.mark.parametrize("axes", [2, 3])
def test_the_score_is_the_closed_form(axes):
    side, width, height = (41, 2.0, 100.0) if axes == 2 else (33, 2.0, 100.0)
    image = spots((side,) * axes, [(side // 2,) * axes], width, height)
    for sigma in (1.5, 2.0, 2.5):
        at = lambda s: height * width**axes / (width**2 + s**2) ** (axes / 2)  # noqa: E731
        log = sigma**2 * axes / (width**2 + sigma**2) * at(sigma)
        dog = (at(sigma) - at(1.6 * sigma)) / 0.78
        for name, expected in (("log", log), ("dog", dog)):
            position, score = find_blobs(image, sigma, 1.0, name)
            assert position.tolist() == pytest.approx(np.full((1, axes), side // 2))
            assert score == pytest.approx([expected], rel=0.03), (name, sigma)  # pixels are not points
    best = max(np.arange(1.0, 3.0, 0.05), key=lambda sigma: find_blobs(image, sigma, None)[1].max())
    assert best == pytest.approx(width * np.sqrt(2 / axes), abs=0.11)


@pytest.mark.parametrize("name", BLOB_FILTERS)
def test_places_below_a_pixel(name):
    rng = np.random.default_rng(0)
    for shape in ((90, 100), (24, 40, 44)):
        cells = np.array(np.meshgrid(*(np.arange(10, side - 9, 12) for side in shape))).reshape(len(shape), -1).T
        truth = cells + rng.uniform(-0.5, 0.5, cells.shape)
        image = spots(shape, truth)
        position, score = find_blobs(image, 1.5, "auto", name)
        found = match_points(truth, position, 0.5)
        assert len(position) == len(truth) == len(found)
        assert np.abs(position[found.predicted] - truth[found.truth]).max() < 0.06
        assert (np.diff(score) <= 0).all()
        # centres at integers: without the parabola they would be a quarter of a pixel off on average
        assert np.abs(np.round(position) - position).mean() > 0.15


def test_the_automatic_threshold_is_written_out():
    rng = np.random.default_rng(1)
    image = spots((120, 140), rng.uniform(10, 110, (12, 2)), height=60.0) + rng.normal(0, 5, (120, 140))
    every, score = find_blobs(image, 1.5, None)
    for sigmas in (5.0, 10.0):
        position, kept = find_blobs(image, 1.5, auto_sigmas=sigmas)
        np.testing.assert_array_equal(position, every[: len(position)])
        # white noise of 5 through the filter: sum of its squared weights
        delta = np.zeros((61, 61))
        delta[30, 30] = 1.0
        noise = 5 * 1.5**2 * np.sqrt((gaussian_laplace(delta, 1.5) ** 2).sum())
        assert kept.min() >= 0.9 * sigmas * noise
        assert (score[len(kept) :] < 1.25 * sigmas * noise).all()
    flat = rng.normal(0, 5, (300, 300))
    assert len(find_blobs(flat, 1.5, auto_sigmas=5.0)[0]) <= 1
    assert len(find_blobs(flat, 1.5, None)[0]) > 500


def test_gain_and_offset_go_with_the_threshold():
    rng = np.random.default_rng(2)
    image = spots((60, 60), rng.uniform(5, 55, (8, 2))) + rng.normal(0, 4, (60, 60))
    position, score = find_blobs(image, 1.5)
    scaled, scores = find_blobs(7 * image + 300, 1.5)
    np.testing.assert_allclose(scaled, position, atol=1e-6)
    np.testing.assert_allclose(scores, 7 * score, rtol=1e-6)


def test_flat_images_and_plateaus():
    for image in (np.zeros((20, 20)), np.full((9, 20, 20), 1e6), np.zeros((0, 4))):
        for threshold in ("auto", None, 3.0):
            position, score = find_blobs(image, 1.0, threshold)
            assert position.shape == (0, image.ndim) and score.shape == (0,)
    # two equal pixels are one spot, between them
    image = np.zeros((21, 22))
    image[10, 10:12] = 50
    position, _ = find_blobs(image, 1.0, 1.0)
    np.testing.assert_allclose(position, [[10.0, 10.5]], atol=1e-9)


def test_the_oracle_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(3)
    images, truths = [], []
    for _ in range(3):
        truth = rng.uniform(4, 60, (25, 2))
        images.append(spots((64, 64), truth, 1.2, 30.0) + rng.normal(0, 5, (64, 64)))
        truths.append(truth)
    sigmas, best = (0.7, 1.2, 2.5), (0.0, 0.0, -1.0)
    for sigma in sigmas:
        found = [find_blobs(image, sigma, None) for image in images]
        for threshold in np.unique(np.concatenate([score for _, score in found]))[::7]:
            pairs = [(truth, position[score >= threshold]) for truth, (position, score) in zip(truths, found)]
            best = max(best, (sigma, threshold, score_points(pairs, 2.0).pooled.f1), key=lambda way: way[2])
    sigma, threshold, f1 = best_threshold(images, truths, sigmas, 2.0)
    assert sigma == best[0] == 1.2
    assert best[2] <= f1 < best[2] + 0.03
    again = [(truth, find_blobs(image, sigma, threshold)[0]) for truth, image in zip(truths, images)]
    assert score_points(again, 2.0).pooled.f1 == pytest.approx(f1, abs=1e-12)
    alone = best_threshold(images[0], truths[0], 1.2, 2.0)
    assert alone == best_threshold(images[:1], truths[:1], [1.2], 2.0)
    nothing = best_threshold(images[0], np.zeros((0, 2)), 1.2)
    assert nothing[1:] == (np.inf, 1.0) and len(find_blobs(images[0], 1.2, nothing[1])[0]) == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: find_blobs(np.zeros(9), 1.0), r"image: expected \(Y, X\) or \(Z, Y, X\), found shape \(9,\)"),
        (lambda: find_blobs(np.full((9, 9), np.inf), 1.0), "image: expected finite values, found NaN or infinity"),
        (lambda: find_blobs(np.zeros((9, 9)), 0.0), "sigma_px: expected a positive width in px, found 0.0"),
        (
            lambda: find_blobs(np.zeros((9, 9)), 1.0, "otsu"),
            "threshold: expected a number, 'auto' or None, found 'otsu'",
        ),
        (lambda: find_blobs(np.zeros((9, 9)), 1.0, np.nan), "threshold: expected a number, 'auto' or None, found nan"),
        (lambda: find_blobs(np.zeros((9, 9)), 1.0, filter="doh"), "filter: expected one of log, dog, found 'doh'"),
        (lambda: best_threshold([np.zeros((9, 9))], []), "truths: expected one list of points an image, found 0 for 1"),
    ],
)
def test_bad_input(call, text):
    with pytest.raises(InputError, match=text) as error:
        call()
    assert "\n" not in str(error.value)
