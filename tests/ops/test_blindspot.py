"""Blind spots are stratified, inside the patch, and what is hidden stays hidden."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.ops import blindspot

KEY = jax.random.key(0)


def test_box_sides_of_n2v() -> None:
    assert blindspot.box_side(0.198, 2) == 22
    assert blindspot.box_side(1.5, 2) == 8


@pytest.mark.parametrize("space", [(64, 64), (50, 37), (9, 20, 24)])
def test_one_spot_in_every_box(space) -> None:
    percent = 1.5
    side = blindspot.box_side(percent, len(space))
    coordinates = np.asarray(blindspot.draw_coordinates(KEY, 3, space, percent))
    boxes = np.unique(coordinates[0] // side, axis=0)
    assert len(boxes) == coordinates.shape[1] == np.prod([-(-size // side) for size in space])
    assert (coordinates >= 0).all() and (coordinates < np.array(space)).all()
    mask = np.asarray(blindspot.mark(jnp.asarray(coordinates), space))
    assert mask.sum() == 3 * coordinates.shape[1]


def test_spots_are_uniform_over_the_box() -> None:
    coordinates = np.asarray(blindspot.draw_coordinates(KEY, 4000, (8, 8), 1.5))[:, 0]
    counts = np.bincount(coordinates[:, 0] * 8 + coordinates[:, 1], minlength=64)
    chi_square = ((counts - 4000 / 64) ** 2 / (4000 / 64)).sum()
    assert chi_square < 110  # 99.98 % quantile of chi-square with 63 degrees of freedom


@pytest.mark.parametrize("replacement", blindspot.REPLACEMENTS)
@pytest.mark.parametrize("space", [(24, 20), (8, 16, 12)])
def test_hidden_values_cannot_come_back(replacement, space) -> None:
    """The gradient of everything the net sees with respect to every hidden pixel is zero: no path, even by neighbours."""
    image = jax.random.normal(KEY, (2, *space, 1))
    coordinates = blindspot.draw_coordinates(KEY, 2, space, 2.0)
    mask = blindspot.mark(coordinates, space)
    weights = jax.random.normal(jax.random.key(1), image.shape)

    def seen(x: jax.Array) -> jax.Array:
        return jnp.sum(weights * blindspot.replace(KEY, x, coordinates, replacement=replacement, radius=3))

    gradient = np.asarray(jax.grad(seen)(image))
    assert np.abs(gradient[np.asarray(mask) > 0]).max() == 0
    assert np.abs(gradient[np.asarray(mask) == 0]).max() > 0


def test_mean_and_median_equal_the_oracle() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 20, 20, 1)).astype(np.float32)
    coordinates = jnp.array([[[0, 0], [10, 11], [19, 5]]], jnp.int32)
    hidden = np.asarray(blindspot.mark(coordinates, (20, 20)))[0, ..., 0] > 0
    for replacement, reduce in (("mean", np.mean), ("median", np.median)):
        out = np.asarray(blindspot.replace(KEY, jnp.asarray(image), coordinates, replacement=replacement, radius=2))
        for y, x in np.asarray(coordinates)[0]:
            y0, x0 = np.clip(y - 2, 0, 15), np.clip(x - 2, 0, 15)
            window = image[0, y0 : y0 + 5, x0 : x0 + 5, 0][~hidden[y0 : y0 + 5, x0 : x0 + 5]]
            np.testing.assert_allclose(out[0, y, x, 0], reduce(window), atol=1e-6)
        np.testing.assert_array_equal(out[0, ..., 0][~hidden], image[0, ..., 0][~hidden])


def test_structure_hides_the_line_and_is_not_copied_from() -> None:
    image = jax.random.normal(KEY, (1, 21, 21, 1))
    coordinates = jnp.array([[[10, 10]]], jnp.int32)

    def centre(x: jax.Array) -> jax.Array:
        out = blindspot.replace(KEY, x, coordinates, replacement="mean", radius=4, structure=((0, 2),))
        return out[0, 10, 10, 0]

    gradient = np.asarray(jax.grad(centre)(image))[0, ..., 0]
    assert (gradient[10, 8:13] == 0).all() and (gradient[9, 8:13] != 0).all()
    out = blindspot.replace(KEY, image, coordinates, radius=4, structure=((0, 2), (2, 0)))
    changed = np.argwhere(np.asarray(out != image)[0, ..., 0])
    expected = {(10, x) for x in range(8, 13)} | {(y, 10) for y in range(8, 13)}
    assert {tuple(place) for place in changed} == expected
    line = np.asarray(out)[0, 10, 8:10, 0]
    assert (np.abs(line) <= 2).all()
