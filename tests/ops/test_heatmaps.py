"""Targets of spots and centres against brute force and closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bioflax.ops import heatmaps
from bioflax.ops.peaks import local_maxima


@pytest.mark.parametrize("shape", [(9, 13), (5, 7, 6)])
def test_vectors_lead_to_the_nearest_point(shape) -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 1, (2, 6, len(shape))) * (np.array(shape) - 1)
    mask = np.ones((2, 6), np.float32)
    mask[0, 3:], mask[1] = 0, 0
    vector = np.asarray(heatmaps.nearest_points(jnp.asarray(points), jnp.asarray(mask), shape))
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    away = points[0, :3] - places[..., None, :]
    nearest = np.take_along_axis(away, (away**2).sum(-1).argmin(-1)[..., None, None], -2)[..., 0, :]
    np.testing.assert_allclose(vector[0], nearest, atol=1e-5)
    assert (np.linalg.norm(vector[1], axis=-1) >= heatmaps.FAR).all()  # no point at all
    heat = np.asarray(heatmaps.gaussian_heatmap(vector, 1.5))[..., 0]
    np.testing.assert_allclose(heat[0], np.exp(-(nearest**2).sum(-1) / 4.5), atol=1e-5)
    assert heat[1].max() == 0.0


def test_the_flow_lies_on_the_sphere_and_comes_back() -> None:
    vector = np.random.default_rng(1).normal(0, 3, (50, 2))
    flow = np.asarray(heatmaps.stereographic_flow(vector, 1.3))
    np.testing.assert_allclose(np.linalg.norm(flow, axis=-1), 1.0, atol=1e-6)
    square = (vector**2).sum(-1)
    expected = np.stack([-(square - 1.69), 2.6 * vector[:, 0], 2.6 * vector[:, 1]], -1) / (square + 1.69)[:, None]
    np.testing.assert_allclose(flow, expected, atol=1e-6)
    np.testing.assert_allclose(heatmaps.invert_flow(flow, 1.3), vector, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coarser_heatmaps_equal_block_maximum_and_scipy_blur(factor) -> None:
    heat = np.random.default_rng(2).uniform(0, 1, (16, 24)) ** 8
    made = np.asarray(heatmaps.coarser_heatmap(jnp.asarray(heat[None, ..., None]), factor, 1.0))[0, ..., 0]
    blocks = heat.reshape(16 // factor, factor, 24 // factor, factor).max((1, 3))
    blurred = 2 * np.pi * ndimage.gaussian_filter(blocks, 1.0)
    np.testing.assert_allclose(made, heat if factor == 1 else np.clip(blurred, 0, 1), atol=1e-5)


def test_boxes_of_labels() -> None:
    labels = np.zeros((2, 8, 9), np.int32)
    labels[0, 2:5, 1:4], labels[0, 7, 8] = 900, 1  # numbers count over a whole image, places only those of the patch
    labels[1, :, 0] = 2
    centre, size, mask = map(np.asarray, jax.jit(heatmaps.label_boxes, static_argnums=1)(labels, 4))
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(centre[0, [0, 1]], [[7, 8], [3, 2]])
    np.testing.assert_array_equal(size[0, [0, 1]], [[1, 1], [3, 3]])
    np.testing.assert_array_equal((centre[1, 0], size[1, 0]), [(3.5, 0), (8, 1)])


def test_more_objects_than_places_are_left_out() -> None:
    labels = np.zeros((1, 6, 6), np.int32)
    labels[0, ::2, ::2] = np.arange(1, 10).reshape(3, 3)
    centre, _, mask = map(np.asarray, heatmaps.label_boxes(labels, 4))
    assert mask.sum() == 4 and (centre[0, 3] == (2, 0)).all()


def test_centre_maps_equal_a_loop_over_objects() -> None:
    random = np.random.default_rng(3)
    centre, size = random.uniform(0, 31, (1, 5, 2)), random.uniform(2, 40, (1, 5, 2))
    mask = np.array([[1, 1, 0, 1, 1]], np.float32)
    made = {k: np.asarray(v) for k, v in heatmaps.centre_maps(centre, size, mask, (16, 16), 2).items()}
    heat, offset, extent = np.zeros((16, 16)), np.zeros((16, 16, 2)), np.zeros((16, 16, 2))
    y, x = np.mgrid[:16, :16]
    for number in (0, 1, 3, 4):
        place = centre[0, number] / 2
        row, column = np.clip(np.round(place), 0, 15).astype(int)
        sigma = max(size[0, number].min() / 12, 1.0)
        heat = np.maximum(heat, np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2)))
        offset[row, column], extent[row, column] = place - (row, column), size[0, number] / 2
    np.testing.assert_allclose(made["heatmap"][0, ..., 0], heat, atol=1e-5)
    np.testing.assert_allclose(made["offset"][0], offset, atol=1e-5)
    np.testing.assert_allclose(made["size"][0], extent, atol=1e-5)
    assert made["positive"].sum() == 4


def peaks_of(score: np.ndarray, radius: int, threshold: float) -> set[tuple[int, ...]]:
    """Every pixel against its neighbourhood; of equal ones the first in the order of the rows."""
    found = set()
    for place in np.ndindex(score.shape):
        near = [slice(max(0, p - radius), p + radius + 1) for p in place]
        window = [
            tuple(q)
            for q in np.argwhere(np.ones(score.shape, bool))
            if all(s.start <= v < s.stop for s, v in zip(near, q))
        ]
        if score[place] > threshold and all(
            score[place] > score[q] or (score[place] == score[q] and place <= q) for q in window
        ):
            found.add(place)
    return found


@pytest.mark.parametrize(("shape", "radius"), [((9, 11), 1), ((9, 11), 2), ((4, 5, 6), 1)])
def test_local_maxima_equal_a_search_pixel_by_pixel(shape, radius) -> None:
    score = np.random.default_rng(4).integers(0, 6, shape).astype(np.float32)  # many are equal
    index, mask, number = map(np.asarray, local_maxima(score[None], radius=radius, threshold=2.5, places=64))
    expected = peaks_of(score, radius, 2.5)
    assert number[0] == len(expected) and {tuple(i) for i in index[0][mask[0]]} == expected


def test_an_even_image_has_one_peak_or_none_and_overflow_is_counted() -> None:
    flat = np.full((1, 6, 6), 0.4, np.float32)
    assert int(local_maxima(flat, radius=1, threshold=0.5, places=4)[2][0]) == 0
    assert int(local_maxima(flat, radius=1, threshold=0.3, places=4)[2][0]) == 1
    comb = np.zeros((1, 1, 40), np.float32)
    comb[..., ::2] = 1
    _, mask, number = local_maxima(comb, radius=1, threshold=0.5, places=4)
    assert int(number[0]) == 20 and int(mask.sum()) == 4
