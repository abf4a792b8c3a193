"""Blur, Otsu and watershed: shapes that are known, Otsu's threshold written out, small and flat objects, bad input."""

import numpy as np
import pytest

from bioflax.baselines import segment_nuclei
from bioflax.errors import InputError
from bioflax.metrics import match_labels

pytest.importorskip("skimage")


def discs(shape, *centres_radii):
    """Labels 1.. of discs; of two that overlap, each pixel goes to the nearer centre."""
    row, column = np.indices(shape)
    depth = np.array([radius - np.hypot(row - y, column - x) for y, x, radius in centres_radii])
    return np.where(depth.max(0) > 0, 1 + depth.argmax(0), 0)


def seen(labels, noise=0.0, seed=0):
    return 100.0 + 400.0 * (labels > 0) + np.random.default_rng(seed).normal(0, noise or 1e-9, labels.shape)


def test_apart_they_are_found_to_the_pixel():
    truth = discs((60, 80), (15, 15, 9), (40, 30, 12), (20, 60, 6))
    for split in (False, True):
        found = segment_nuclei(seen(truth), 0.0, split)
        assert found.dtype == np.int32
        assert sorted(np.unique(found)) == [0, 1, 2, 3]
        assert ((found > 0) == (truth > 0)).all()
        assert match_labels(truth, found, 1.0).tp == 3
    blurred = segment_nuclei(seen(truth, noise=60.0), 2.0)
    assert match_labels(truth, blurred, 0.85).tp == 3 == blurred.max()


def test_touching_ones_are_parted_where_they_are_narrow():
    truth = discs((50, 70), (25, 22, 12), (25, 42, 12))
    assert segment_nuclei(seen(truth), 0.0, split=False).max() == 1
    found = segment_nuclei(seen(truth, noise=20.0), 1.0)
    assert found.max() == 2 and match_labels(truth, found, 0.9).tp == 2
    # the waist is 12 - sqrt(12² - 10²) = 5.4 px narrower than the discs
    assert segment_nuclei(seen(truth), 0.0, depth_px=4.5).max() == 2
    assert segment_nuclei(seen(truth), 0.0, depth_px=6.5).max() == 1


def test_corners_do_not_join():
    image = np.zeros((20, 20))
    image[2:8, 2:8], image[8:14, 8:14] = 1, 1
    assert segment_nuclei(image, 0.0, split=False).max() == 2


def test_flat_and_small_ones():
    image = np.zeros((30, 60))
    image[3:23, 3:23], image[10, 30:50], image[20:22, 30:32] = 1, 1, 1
    for split in (False, True):
        assert sorted(np.bincount(segment_nuclei(image, 0.0, split).ravel())[1:]) == [20, 400]
        assert sorted(np.bincount(segment_nuclei(image, 0.0, split, smallest_px=0).ravel())[1:]) == [4, 20, 400]
        assert np.bincount(segment_nuclei(image, 0.0, split, smallest_px=21).ravel())[1:].tolist() == [400]


def test_the_threshold_is_that_of_otsu():
    rng = np.random.default_rng(1)
    image = np.where(rng.uniform(size=(64, 64)) < 0.3, 180, 60) + rng.integers(-59, 60, (64, 64))
    best = (-1.0, 0)
    for level in range(image.min(), image.max()):
        low, high = image[image <= level], image[image > level]
        best = max(best, (low.size * high.size * (high.mean() - low.mean()) ** 2, level))
    found = segment_nuclei(image, 0.0, split=False, smallest_px=0) > 0
    # one bin of 256 is less than a grey level: the last of equal levels of an empty bin may differ by one
    assert abs((image > best[1]).mean() - found.mean()) < 0.01
    assert 0.2 < found.mean() < 0.4


def test_gain_and_offset_change_nothing():
    truth = discs((64, 64), (20, 20, 10), (40, 44, 12), (24, 36, 9))
    image = seen(truth, noise=80.0)
    assert (segment_nuclei(image) == segment_nuclei(0.5 * image - 1000.0)).mean() > 0.999
    assert segment_nuclei(np.round(image).astype(np.uint16)).max() >= 3


def test_nothing_there():
    for image in (np.zeros((9, 9)), np.full((9, 9), 7, np.uint8), np.zeros((0, 5))):
        found = segment_nuclei(image)
        assert found.shape == image.shape and found.dtype == np.int32 and not found.any()


@pytest.mark.parametrize(
    ("image", "options", "text"),
    [
        (np.zeros((3, 4, 4)), {}, r"image: expected \(Y, X\), found shape \(3, 4, 4\)"),
        (np.full((4, 4), np.nan), {}, "image: expected finite values, found NaN"),
        (np.zeros((4, 4)), {"sigma_px": -1.0}, "sigma_px: expected at least 0, found -1.0"),
        (np.zeros((4, 4)), {"smallest_px": -1}, "smallest_px: expected at least 0, found -1"),
        (np.zeros((4, 4)), {"depth_px": 0.0}, "depth_px: expected more than 0, found 0.0"),
    ],
)
def test_bad_input(image, options, text):
    with pytest.raises(InputError, match=text) as error:
        segment_nuclei(image, **options)
    assert "\n" not in str(error.value)
