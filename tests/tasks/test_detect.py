"""The detection task: published losses against oracles, targets, decoding, and clear errors."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError
from bioflax.models import CentreHead, DnCNN, Model, SpotHead, StarHead, UNet
from bioflax.ops import heatmaps
from bioflax.ops.rays import object_interiors, ray_distances
from bioflax.tasks import Centres, Detect, SpotFlow, StarConvex
from bioflax.tasks.detection import object_weights


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def entropy(logit, target):
    p = sigmoid(logit)
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def discs(size: int = 32) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    labels[(y - 9) ** 2 + (x - 10) ** 2 <= 36] = 1
    labels[(y - 22) ** 2 + (x - 21) ** 2 <= 16] = 2
    return labels


@pytest.fixture
def labelled() -> dict[str, np.ndarray]:
    labels = np.stack([discs(), np.zeros((32, 32), np.int32)])
    interior = np.stack([object_interiors(one) for one in labels])
    return {"image": np.zeros((2, 32, 32, 1), np.float32), "labels": labels, "interior": interior}


def test_the_loss_of_stardist(labelled) -> None:
    task = Detect(StarConvex(grid=2))
    batch = jax.jit(task.prepare)(jax.random.key(0), labelled)
    random = np.random.default_rng(0)
    prediction = {"logit": random.normal(size=(2, 16, 16, 1)), "rays": random.normal(4, 2, (2, 16, 16, 32))}
    prediction = {name: value.astype(np.float32) for name, value in prediction.items()}
    per_example, parts = task.loss(prediction, batch)
    prob = labelled["interior"][:, ::2, ::2, None].astype(np.float64)
    dist = np.asarray(ray_distances(labelled["labels"], grid=2), np.float64)
    probability = entropy(prediction["logit"], prob).mean()
    distance = (prob * np.abs(prediction["rays"] - dist)).mean() / prob.mean()
    distance += 1e-4 * ((1 - prob) * np.abs(prediction["rays"])).mean()
    np.testing.assert_allclose(np.mean(parts["probability"]), probability, rtol=1e-4)
    np.testing.assert_allclose(np.mean(parts["distance"]), distance, rtol=1e-4)
    np.testing.assert_allclose(np.mean(per_example), probability + 0.2 * distance, rtol=1e-4)


def test_weights_of_objects(labelled) -> None:
    labels = labelled["labels"]
    area = [np.sum(labels[0] == n) for n in (1, 2)]
    weight = np.asarray(jax.jit(partial(object_weights, balance=1.0, weight=None))(labels))[..., 0]
    for number in (1, 2):  # both discs weigh the same in all
        np.testing.assert_allclose(weight[labels == number].sum(), np.mean(area), rtol=1e-5)
    assert (weight[labels == 0] == 1).all()
    given = np.array([[3.0, 0.0], [1.0, 1.0]], np.float32)
    weight = np.asarray(object_weights(labels, 0.0, jnp.asarray(given)))[..., 0]
    assert (weight[labels == 1] == 3).all() and (weight[labels == 2] == 0).all() and (weight[1] == 1).all()


def test_an_object_of_no_weight_does_not_count(labelled) -> None:
    task = Detect(StarConvex())
    batch = task.prepare(None, {**labelled, "object_weight": jnp.asarray([[1.0, 0.0], [1.0, 1.0]])})
    prediction = {"logit": np.zeros((2, 32, 32, 1), np.float32), "rays": np.ones((2, 32, 32, 32), np.float32)}
    wrong = prediction["logit"] - 5.0 * (labelled["labels"] == 2)[..., None]
    assert float(task.loss(prediction, batch)[0][0]) == float(task.loss({**prediction, "logit": wrong}, batch)[0][0])


def test_the_loss_of_spotiflow() -> None:
    random = np.random.default_rng(1)
    points, mask = random.uniform(0, 15, (2, 4, 2)).astype(np.float32), np.ones((2, 4), np.float32)
    mask[1] = 0
    task = Detect(SpotFlow())
    batch = task.prepare(None, {"image": np.zeros((2, 16, 16, 1)), "points": points, "mask": mask})
    prediction = {"logit": random.normal(size=(2, 16, 16, 1)), "flow": random.normal(size=(2, 16, 16, 3))}
    for level in (1, 2, 3, 4):
        prediction[f"logit_{level}"] = random.normal(size=(2, 16 // 2**level, 16 // 2**level, 1))
    prediction = {name: value.astype(np.float32) for name, value in prediction.items()}
    value = np.mean(task.loss(prediction, batch)[0])
    heat, flow = np.asarray(batch["heatmap"], np.float64), np.asarray(batch["flow"], np.float64)
    weight = 1 + 10.0 * ((heat >= 0.01) | (prediction["logit"] >= 0.01))
    expected = (weight * entropy(prediction["logit"], heat)).mean()
    for level in (1, 2, 3):  # the fifth map does not count
        aim = np.asarray(heatmaps.coarser_heatmap(batch["heatmap"], 2**level, 1.0), np.float64)
        expected += entropy(prediction[f"logit_{level}"], aim).mean() / 4**level
    expected += (weight * np.abs(prediction["flow"] - flow)).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_the_loss_of_centernet(labelled) -> None:
    task = Detect(Centres(grid=2, capacity=4))
    batch = task.prepare(None, labelled)
    random = np.random.default_rng(2)
    prediction = {"logit": random.normal(size=(2, 16, 16, 1)), "offset": random.normal(size=(2, 16, 16, 2))}
    prediction["size"] = random.normal(3, 1, (2, 16, 16, 2))
    prediction = {name: value.astype(np.float32) for name, value in prediction.items()}
    value = np.asarray(task.loss(prediction, batch)[0])
    heat, p = np.asarray(batch["heatmap"], np.float64), sigmoid(prediction["logit"])
    focal = np.where(heat >= 1, -((1 - p) ** 2) * np.log(p), -((1 - heat) ** 4) * p**2 * np.log(1 - p)).sum((1, 2, 3))
    at = np.asarray(batch["positive"])
    parts = {n: (at * np.abs(prediction[n] - np.asarray(batch[n]))).sum((1, 2, 3)) for n in ("offset", "size")}
    expected = (focal + parts["offset"] + 0.1 * parts["size"]) / [2, 1]  # two objects; an empty picture counts as one
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def truth_as_prediction(batch) -> dict[str, np.ndarray]:
    interior = np.asarray(batch["target_interior"])
    return {"logit": np.log(interior + 1e-6) - np.log(1 - interior + 1e-6), "rays": np.asarray(batch["target_rays"])}


def test_the_truth_decodes_to_itself(labelled) -> None:
    task = Detect(StarConvex(grid=2))
    batch = task.prepare(None, labelled)
    found = task.decode(truth_as_prediction(batch), threshold=0.6, places=64)
    number = np.asarray(found["number"])
    assert number[1] == 0 and 2 <= number[0] <= 8  # an even top is one peak, a ridge perhaps several
    middle = np.asarray(found["position"])[0][np.asarray(found["mask"])[0]]
    for centre in ((9, 10), (22, 21)):
        assert np.linalg.norm(middle - centre, axis=1).min() <= 2.0


@pytest.mark.parametrize("dims", [2, 3])
def test_spots_decode_below_the_pixel(dims) -> None:
    shape = (12,) * dims
    points = np.random.default_rng(3).uniform(1, 10, (1, 1, dims)).astype(np.float32)
    task = Detect(SpotFlow())
    batch = task.prepare(None, {"image": np.zeros((1, *shape, 1)), "points": points, "mask": np.ones((1, 1))})
    heat = np.asarray(batch["heatmap"])
    prediction = {"logit": np.log(heat + 1e-6) - np.log(1 - heat + 1e-6), "flow": batch["flow"]}
    found = task.decode(prediction, threshold=0.3, places=8)
    assert int(found["number"][0]) == 1
    np.testing.assert_allclose(np.asarray(found["position"])[0, 0], points[0, 0], atol=1e-3)


def test_boxes_decode_to_centre_and_size(labelled) -> None:
    task = Detect(Centres(grid=2))
    batch = task.prepare(None, labelled)
    heat = np.asarray(batch["heatmap"])
    prediction = {
        "logit": np.log(heat + 1e-6) - np.log(1 - heat + 1e-6),
        "offset": batch["offset"],
        "size": batch["size"],
    }
    found = {name: np.asarray(value)[0] for name, value in task.decode(prediction, threshold=0.9, places=8).items()}
    assert found["number"] == 2
    np.testing.assert_allclose(found["position"][:2], [[9, 10], [22, 21]])
    np.testing.assert_allclose(found["size"][:2], [[13, 13], [9, 9]])


BACKBONES = {"unet": partial(UNet, width=4, depth=2), "dncnn": partial(DnCNN, width=4, layers=3)}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", [StarHead, SpotHead, CentreHead])
def test_any_head_stands_on_any_backbone(backbone, head) -> None:
    scheme = {StarHead: StarConvex(), SpotHead: SpotFlow(), CentreHead: Centres(capacity=4)}[head]
    model = nnx.eval_shape(lambda: Model(BACKBONES[backbone], head, rngs=nnx.Rngs(0)))
    labels = np.zeros((1, 16, 16), np.int32)
    batch = {"image": jnp.ones((1, 16, 16, 1)), "labels": labels, "interior": labels.astype(np.float32)}
    batch |= {"points": jnp.ones((1, 2, 2)), "mask": jnp.ones((1, 2))}

    def run(model):
        prediction = model(batch["image"])
        return scheme.loss(prediction, scheme.prepare(batch))[0], scheme.decode(prediction, 0.5, 8)

    loss, found = nnx.eval_shape(run, model)
    assert loss.shape == (1,) and found["position"].shape == (1, 8, 2)


def test_spots_and_centres_in_volumes() -> None:
    for head, scheme in ((SpotHead, SpotFlow(levels=2)), (CentreHead, Centres(mode="points"))):
        model = nnx.eval_shape(
            lambda head=head: Model(partial(UNet, width=2, depth=1, spatial_dims=3), head, rngs=nnx.Rngs(0))
        )
        batch = {"image": jnp.ones((1, 4, 8, 8, 1)), "points": jnp.ones((1, 2, 3)), "mask": jnp.ones((1, 2))}

        def run(model, scheme=scheme, batch=batch):
            prediction = model(batch["image"])
            return scheme.loss(prediction, scheme.prepare(batch))[0], scheme.decode(prediction, 0.5, 8)["position"]

        loss, position = nnx.eval_shape(run, model)
        assert loss.shape == (1,) and position.shape == (1, 8, 3)


def test_errors_are_one_clear_line(labelled) -> None:
    batch = StarConvex(grid=1).prepare(labelled)
    small = {"logit": np.zeros((2, 16, 16, 1)), "rays": np.zeros((2, 16, 16, 32))}
    with pytest.raises(InputError, match="Give rays as the head and grid as the backbone have them"):
        StarConvex(grid=1).loss(small, batch)
    with pytest.raises(InputError, match="task.threshold: expected a number between 0 and 1, found 2"):
        Detect(threshold=2)
    with pytest.raises(InputError, match="task.scheme.balance: expected 0 to 1, found 3"):
        StarConvex(balance=3)
    with pytest.raises(InputError, match="task.scheme.grid: expected 1, spots are found in every pixel"):
        SpotFlow(grid=2)
    with pytest.raises(InputError, match="task.scheme.mode: expected labels or points, found 'boxes'"):
        Centres(mode="boxes")
    with pytest.raises(InputError, match="head.spatial_dims: expected one of 2"):
        Model(partial(UNet, width=2, depth=1, spatial_dims=3), StarHead, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="grid: expected a power of two"):
        UNet(width=2, grid=3, rngs=nnx.Rngs(0))
