"""Patches from the atlas hold what the pictures hold, and the points go with them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from bioflax.data.atlas import make_atlas, shelves
from bioflax.errors import InputError


def coded(number: int, size: tuple[int, ...]) -> np.ndarray:
    """A picture whose pixels say which picture and which place they are from."""
    places = np.arange(np.prod(size), dtype=np.float64).reshape(size)
    return (1000.0 * number + places).astype(np.float32)[..., None]


def pictures() -> list[dict[str, np.ndarray]]:
    made = []
    for number, size in enumerate([(20, 24), (12, 30), (16, 16)]):
        labels = np.zeros(size, np.int32)
        labels[2:5, 3:7] = number + 1
        made.append({"image": coded(number, size), "labels": labels, "interior": labels.astype(np.float32)})
    return made


def test_shelves_do_not_overlap() -> None:
    sizes = np.random.default_rng(0).integers(5, 60, (40, 2))
    origins, extent = shelves(sizes)
    sheet = np.zeros(extent, int)
    for (row, column), (height, width) in zip(origins, sizes):
        sheet[row : row + height, column : column + width] += 1
    assert sheet.max() == 1 and sheet.sum() == np.prod(sizes, axis=1).sum()
    assert sheet.mean() > 0.7


def test_a_patch_is_a_window_of_one_picture() -> None:
    given = pictures()
    atlas = make_atlas(given, patch=(8, 8))
    batch = jax.device_get(jax.jit(lambda key: atlas.sample(key, 64))(jax.random.key(0)))
    seen = set()
    for image, labels, interior in zip(batch["image"][..., 0], batch["labels"], batch["interior"]):
        number, place = divmod(int(image[0, 0]), 1000)
        row, column = divmod(place, given[number]["image"].shape[1])
        window = (slice(row, row + 8), slice(column, column + 8))
        np.testing.assert_array_equal(image, given[number]["image"][window][..., 0])
        np.testing.assert_array_equal(labels, given[number]["labels"][window])
        np.testing.assert_array_equal(interior, given[number]["interior"][window])
        seen.add(number)
    assert seen == {0, 1, 2}  # small pictures come as often as large ones


def test_foreground_places_patches_around_objects() -> None:
    always = make_atlas(pictures(), patch=(8, 8), foreground=1.0).sample(jax.random.key(1), 64)["labels"]
    never = make_atlas(pictures(), patch=(8, 8), foreground=0.0).sample(jax.random.key(1), 64)["labels"]
    assert (np.asarray(always).max((1, 2)) > 0).all()
    assert (np.asarray(never).max((1, 2)) > 0).mean() < 0.8


@pytest.mark.parametrize("size", [(30, 40), (8, 30, 26)])
def test_points_go_with_their_patch(size) -> None:
    points = np.random.default_rng(2).integers(0, np.array(size), (25, len(size))).astype(float)
    points = np.unique(points, axis=0)
    image = np.zeros((*size, 1), np.float32)
    image[tuple(points.astype(int).T)] = 1
    empty = {"image": np.zeros((*size, 1), np.float32), "points": np.zeros((0, len(size)))}
    patch = (6, 12, 12)[-len(size) :]
    batch = make_atlas([{"image": image, "points": points}, empty], patch=patch).sample(jax.random.key(3), 32)
    for picture, places, mask in zip(*(np.asarray(batch[name]) for name in ("image", "points", "mask"))):
        found = {tuple(place) for place in places[mask > 0].astype(int)}
        assert found == {tuple(place) for place in np.argwhere(picture[..., 0] == 1)}


def test_small_pictures_are_continued_by_reflection() -> None:
    image = np.zeros((5, 6, 1), np.float32)
    points = np.array([[0.0, 1.0], [3.0, 4.0], [4.0, 5.0]])
    image[tuple(points.astype(int).T)] = 1
    atlas = make_atlas([{"image": image, "points": points}], patch=(16, 8))
    batch = atlas.sample(jax.random.key(0), 1)
    picture, places, mask = (np.asarray(batch[name])[0] for name in ("image", "points", "mask"))
    assert {tuple(p) for p in places[mask > 0].astype(int)} == {tuple(p) for p in np.argwhere(picture[..., 0] == 1)}


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="expected at least one picture to train on"):
        make_atlas([], patch=(8, 8))
    with pytest.raises(InputError, match="data.foreground: expected 0 to 1, found 2"):
        make_atlas(pictures(), patch=(8, 8), foreground=2)
