"""Objects from maps: tiles equal the whole, the truth comes back, odd objects, and the thresholds of the card."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.metrics import score_labels
from bioflax.models import CentreHead, SpotHead, StarHead, UNet
from bioflax.ops.rays import object_interiors, ray_distances
from bioflax.predict.objects import Detections, describe_decoding, detect_objects, scheme_of
from bioflax.tasks import Centres, Detect, SpotFlow, StarConvex


def detector(task, net=None, variables=None, field=1, stride=1):
    """A detector as prediction sees it; without a net its maps are its variables."""
    apply = (lambda variables, image: variables) if net is None else net.apply
    return SimpleNamespace(
        card=SimpleNamespace(task="detect", decoding=describe_decoding(task)),
        net=SimpleNamespace(apply=apply) if net is None else net,
        variables=variables if net is None else net.variables,
        normalization=Normalization("image_percentile", (1.0,), (99.8,)),
        spatial_dims=2,
        channels_in=1,
        receptive_field=field,
        stride=stride,
    )


def knowing(labels: np.ndarray, task: Detect) -> SimpleNamespace:
    """A detector whose maps are the truth."""
    grid = task.scheme.grid
    interior = object_interiors(labels)[::grid, ::grid]
    logit = np.log(interior + 1e-6) - np.log(1 - interior + 1e-6)
    rays = ray_distances(labels[None], grid=grid)
    return detector(task, variables={"logit": jnp.asarray(logit[None, ..., None], jnp.float32), "rays": rays})


@pytest.mark.parametrize(
    ("backbone", "head", "scheme"),
    [
        ({"grid": 2}, StarHead, StarConvex(grid=2)),
        ({}, SpotHead, SpotFlow()),
        ({"grid": 2}, CentreHead, Centres(grid=2)),
    ],
    ids=["polygons", "spots", "boxes"],
)
def test_tiles_equal_the_whole(make_net, backbone, head, scheme) -> None:
    module, net = make_net(partial(UNet, width=4, depth=1, convs=1, **backbone), head)
    model = detector(Detect(scheme), net, field=module.receptive_field, stride=module.stride_total)
    image = np.random.default_rng(0).normal(100, 20, (75, 91, 1)).astype(np.float32)
    whole = detect_objects(model, image, threshold=0.3, tile=None)
    tiled = detect_objects(model, image, threshold=0.3, tile=48)
    assert len(whole) > 20
    for name in ("position", "score", "rays", "size"):
        one, other = getattr(whole, name), getattr(tiled, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(other, one, atol=1e-3)


@pytest.mark.parametrize("border", ["top", "bottom", "left", "right"])
def test_an_object_at_the_border_is_found_whatever_the_stride(border) -> None:
    """The image is continued by reflection up to the stride; what lies there must not take an object's place."""
    image = np.zeros((45, 51, 1), np.float32)
    y, x = np.mgrid[:45, :51]
    place = {"top": (0, 25), "bottom": (44, 25), "left": (20, 0), "right": (20, 50)}[border]
    image[..., 0] = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 50)

    def apply(variables, block):
        # A little of the pixel before, so that beyond the far border the mirrored peak is the higher one.
        logit = 8 * (block + 0.1 * jnp.roll(block, 1, axis=1) + 0.1 * jnp.roll(block, 1, axis=2)) - 4
        return {"logit": logit, "rays": jnp.full((*block.shape[:3], 32), 4.0)}

    model = detector(Detect(StarConvex()), SimpleNamespace(apply=apply, variables={}), field=3, stride=16)
    model.normalization = Normalization("none")
    for tile in (None, 48):
        found = detect_objects(model, image, threshold=0.5, tile=tile)
        assert len(found) == 1 and np.abs(found.position[0] - place).max() <= 1


def odd_objects() -> np.ndarray:
    """Touching discs, one cut by the border, one in a corner, one of one pixel, one of two."""
    y, x = np.mgrid[:64, :80]
    labels = np.zeros((64, 80), np.int32)
    for number, (cy, cx, radius) in enumerate([(20, 20, 8), (20, 36, 8), (36, 28, 8), (30, 79, 9), (63, 0, 10)], 1):
        labels[((y - cy) ** 2 + (x - cx) ** 2 <= radius**2) & (labels == 0)] = number
    labels[50, 60], labels[55, 40:42] = 6, 7
    return labels


def test_the_truth_comes_back_with_its_odd_objects() -> None:
    labels = odd_objects()
    found = detect_objects(knowing(labels, Detect(StarConvex(), threshold=0.5, overlap=0.3)), labels[..., None])
    scores = score_labels([(labels, found.labels())], (0.5,))
    assert len(found) == 7 and scores.pooled.ap[0] == 1.0
    assert scores.pooled.mean_matched_score[0] > 0.9


def test_objects_on_a_grid_of_two_are_in_pixels_of_the_image() -> None:
    labels = odd_objects()
    labels[labels > 5] = 0
    found = detect_objects(knowing(labels, Detect(StarConvex(grid=2), overlap=0.3)), labels[..., None])
    assert score_labels([(labels, found.labels())], (0.6,)).pooled.ap[0] == 1.0


def test_ten_thousand_objects() -> None:
    labels = np.kron(np.arange(1, 10_001).reshape(100, 100), np.pad(np.ones((6, 6), int), ((1, 1), (1, 1)))).astype(
        np.int32
    )
    found = detect_objects(knowing(labels, Detect(StarConvex())), labels[..., None], tile=None)
    assert len(found) == 10_000
    drawn = found.labels()
    assert len(np.unique(drawn)) == 10_001 and score_labels([(labels, drawn)], (0.7,)).pooled.ap[0] == 1.0


def test_empty_and_even_images_hold_nothing() -> None:
    task = Detect(StarConvex())
    for labels in (np.zeros((40, 30), np.int32), np.zeros((1, 1), np.int32)):
        found = detect_objects(knowing(labels, task), labels[..., None].astype(np.float32))
        assert len(found) == 0 and found.labels().shape == labels.shape and not found.labels().any()
        assert found.rays.shape == (0, 32) and found.position.shape == (0, 2)


def test_boxes_have_labels_and_points_have_none() -> None:
    boxes = Detections(
        (8, 9), np.array([[2.0, 3.0], [7.5, 8.0]]), np.array([0.9, 0.8]), size=np.array([[3.0, 5.0], [4, 4]])
    )
    expected = np.zeros((8, 9), int)
    expected[6:, 7:] = 2  # cut by the border
    expected[1:4, 1:6] = 1
    np.testing.assert_array_equal(boxes.labels(), expected)
    with pytest.raises(InputError, match="points have no area to label"):
        Detections((8, 9), np.zeros((1, 2)), np.ones(1)).labels()


def test_the_card_names_the_scheme_and_nothing_else() -> None:
    model = knowing(odd_objects(), Detect(StarConvex(rays=32, window=2)))
    assert scheme_of(model) == StarConvex(rays=32, window=2)
    model.card.decoding["scheme"] = "os.system"
    with pytest.raises(InputError, match="card.decoding.scheme: expected one of stardist, spotiflow, centernet; found"):
        scheme_of(model)
    model.card.decoding.update(scheme="stardist", arguments={"shell": "rm"})
    with pytest.raises(InputError, match="card.decoding.arguments: stardist takes"):
        scheme_of(model)
    model.card.task = "denoise"
    with pytest.raises(InputError, match="model: expected a detector .* found the task 'denoise'"):
        detect_objects(model, np.zeros((4, 4, 1)))


def test_a_wild_ray_does_not_stall_the_drawing() -> None:
    rays = np.full((1, 32), 5.0)
    rays[0, 3] = 1e5
    drawn = Detections((60, 50), np.array([[30.0, 25.0]]), np.ones(1), rays=rays).labels()
    assert drawn[30, 25] == 1 and 50 < drawn.sum() < 600


def test_bad_thresholds_and_images_are_named() -> None:
    model = knowing(odd_objects(), Detect(StarConvex()))
    with pytest.raises(InputError, match="threshold: expected a number between 0 and 1, found 1.5"):
        detect_objects(model, np.zeros((64, 80, 1)), threshold=1.5)
    with pytest.raises(InputError, match="distance_px: expected more than 0, found -1"):
        detect_objects(model, np.zeros((64, 80, 1)), distance_px=-1)
    with pytest.raises(InputError, match="image: expected finite pixels, found 1 NaN"):
        detect_objects(model, np.where(np.arange(64 * 80).reshape(64, 80, 1) == 9, np.nan, 0.0))
    with pytest.raises(InputError, match=r"image: expected \(H, W, C\) with C=1; found shape \(64, 80\)"):
        detect_objects(model, np.zeros((64, 80)))
