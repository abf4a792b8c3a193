"""Classical finders on many images: the methods there are, and what is said where there is none."""

from __future__ import annotations

import numpy as np

from bioflax.baselines.finders import find_objects, find_points


def test_squares_are_found_by_otsu() -> None:
    image = np.full((40, 40), 10.0)
    image[5:15, 5:15], image[20:32, 22:34] = 100, 120
    made, notes = find_objects([image, np.full((8, 8), 3.0)])
    assert set(made) == {"otsu_watershed", "otsu"} and not notes
    assert [labels.max() for labels in made["otsu"]] == [2, 0]
    assert find_objects([np.zeros((4, 8, 8))]) == ({}, ["there is no classical segmentation of volumes"])


def test_spots_are_found_by_the_oracle() -> None:
    truth = np.array([[10.0, 12.0], [25.0, 30.0], [33.0, 8.0]])
    y, x = np.mgrid[:40, :40]
    image = sum(100 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2) for a, b in truth)
    image = image + np.random.default_rng(0).normal(0, 1, image.shape)
    made, notes = find_points([image], [truth])
    assert set(made) == {"log_oracle", "dog_oracle", "log_auto"} and "saw the truth" in notes[0]
    for method in ("log_oracle", "dog_oracle"):
        found = made[method][0]
        np.testing.assert_allclose(found[np.argsort(found[:, 0])], truth, atol=0.1)
    assert find_points([image], [np.zeros((0, 2))])[0] == {}
