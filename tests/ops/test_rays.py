"""Ray distances and interiors against brute force on random label images."""

from __future__ import annotations

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.ops.rays import object_interiors, ray_distances


def random_labels(seed: int, size: int = 40, objects: int = 6) -> np.ndarray:
    """Ellipses that overlap and touch, some cut by the border."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number in range(1, objects + 1):
        cy, cx = random.uniform(0, size, 2)
        a, b = random.uniform(2, 9, 2)
        labels[((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 <= 1] = number
    return labels


def marched(labels: np.ndarray, rays: int, grid: int) -> np.ndarray:
    """One ray after the other, one step after the other."""
    height, width = labels.shape
    found = np.zeros((-(-height // grid), -(-width // grid), rays))
    for row in range(0, height, grid):
        for column in range(0, width, grid):
            own = labels[row, column]
            for ray in range(rays) if own else ():
                angle = 2 * np.pi * ray / rays
                dy, dx = np.float32(np.sin(angle)), np.float32(np.cos(angle))
                steps = 0
                while True:
                    steps += 1
                    at = row + int(np.round(steps * dy)), column + int(np.round(steps * dx))
                    if not (0 <= at[0] < height and 0 <= at[1] < width) or labels[at] != own:
                        break
                found[row // grid, column // grid, ray] = steps - 1 + 0.5 / max(abs(dy), abs(dx))
    return found


@pytest.mark.parametrize(("rays", "grid"), [(32, 1), (32, 2), (8, 4)])
def test_distances_equal_a_march_ray_by_ray(rays, grid) -> None:
    labels = np.stack([random_labels(1), random_labels(2)])
    found = np.asarray(ray_distances(labels, rays=rays, grid=grid))
    expected = np.stack([marched(one, rays, grid) for one in labels])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_large_square_is_half_its_side_away_from_its_middle() -> None:
    labels = np.zeros((1, 201, 201), np.int32)
    labels[0, 20:181, 20:181] = 7
    middle = np.asarray(ray_distances(labels, rays=4))[0, 100, 100]
    np.testing.assert_allclose(middle, 80.5, atol=1e-4)


def test_pictures_without_objects_have_no_distances() -> None:
    assert not np.asarray(ray_distances(np.zeros((2, 9, 5), np.int32), rays=16)).any()
    with pytest.raises(InputError, match=r"labels: expected \(N, H, W\) integers; found float32 of shape \(9, 5\)"):
        ray_distances(np.zeros((9, 5), np.float32))


def nearest_outside(labels: np.ndarray) -> np.ndarray:
    """The distance of every object pixel to the nearest pixel of another label, over its maximum; no algorithm."""
    places = np.argwhere(np.ones(labels.shape, bool))
    made = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        inside, outside = np.argwhere(labels == label), places[(labels != label).ravel()]
        depth = np.sqrt(((inside[:, None] - outside[None]) ** 2).sum(-1)).min(1)
        made[tuple(inside.T)] = depth / depth.max()
    return made


def test_interiors_equal_the_distance_to_every_other_pixel() -> None:
    labels = random_labels(3, size=24)
    np.testing.assert_allclose(object_interiors(labels), nearest_outside(labels), atol=1e-6)
    volume = np.zeros((5, 7, 7), np.int32)
    volume[1:4, 1:6, 1:6] = 3
    np.testing.assert_allclose(object_interiors(volume), nearest_outside(volume), atol=1e-6)


def test_an_object_that_fills_the_image_and_one_of_one_pixel() -> None:
    np.testing.assert_array_equal(object_interiors(np.ones((4, 4), np.int32)), 1.0)
    one = np.zeros((5, 5), np.int32)
    one[2, 2] = 9
    assert object_interiors(one)[2, 2] == 1.0 and object_interiors(one).sum() == 1.0
