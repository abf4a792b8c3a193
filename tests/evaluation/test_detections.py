"""Evaluation of detections: numbers beside an independent count, files, worst images, empty cases, errors."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy.optimize import linear_sum_assignment

from bioflax.errors import InputError
from bioflax.evaluation import evaluate_objects, evaluate_points
from bioflax.evaluation.detection_pictures import CROP, centres, chosen_images, picture_of, window_of

SIDE, IMAGES = 64, 14
IOUS = np.linspace(0.5, 0.9, 9)


def quiet() -> Console:
    return Console(file=io.StringIO())


def discs(rng: np.random.Generator, count: int) -> np.ndarray:
    labels = np.zeros((SIDE, SIDE), np.int32)
    y, x = np.mgrid[:SIDE, :SIDE]
    for label in range(1, count + 1):
        at, radius = rng.uniform(4, SIDE - 4, 2), rng.uniform(2, 7)
        labels[((y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2) & (labels == 0)] = 3 * label
    return labels


def objects() -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Truth, and predictions that shift, shrink, miss and invent; images 0 and 1 are empty, one with a false alarm."""
    rng = np.random.default_rng(0)
    truth = [discs(rng, 0 if i < 2 else 4 + i) for i in range(IMAGES)]
    predicted = []
    for i, labels in enumerate(truth):
        found = np.roll(labels, i % 3, axis=1)
        found[np.isin(found, np.unique(found)[1 :: 4 + i % 3])] = 0
        if i != 1:
            found[:4, :5] = 99
        predicted.append(found)
    images = [rng.normal(10, 1, labels.shape) + 20 * (labels > 0) for labels in truth]
    return truth, predicted, images


def counted(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, int, int]:
    """IoU of every pair of objects, and how many there are, mask by mask."""
    known, found = ([image == n for n in np.unique(image) if n] for image in (truth, predicted))
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in found] for a in known]).reshape(len(known), len(found))
    return iou, len(known), len(found)


def test_objects_equal_an_independent_count(tmp_path):
    truth, predicted, images = objects()
    names = [f"image {i}" for i in range(IMAGES)]
    blank = [np.zeros_like(labels) for labels in truth]
    result = evaluate_objects(
        {"model": predicted, "blank": blank}, truth, images, names, run_dir=tmp_path, pixel_nm=200.0, console=quiet()
    )
    numbers = json.loads((tmp_path / "summary.json").read_text())["methods"]["model"]["numbers"]
    pairs = [counted(a, b) for a, b in zip(truth, predicted)]
    # Above an IoU of 0.5 no object has two partners
    assert all(iou.size == 0 or not np.any(np.isclose(iou, 0.5)) for iou, _, _ in pairs)
    tp = np.array([[(iou > t - 1e-9).sum() for t in IOUS] for iou, _, _ in pairs])
    n, m = (np.array([pair[k] for pair in pairs]) for k in (1, 2))
    ap = tp.sum(0) / (n.sum() + m.sum() - tp.sum(0))
    assert [numbers["ap50"], numbers["ap75"]] == pytest.approx([ap[0], ap[5]]) and 0.1 < ap[5] < ap[0] < 0.9
    assert numbers["mean_ap"] == pytest.approx(ap.mean())
    assert numbers["precision_50"] == pytest.approx(tp[:, 0].sum() / m.sum())
    assert numbers["recall_50"] == pytest.approx(tp[:, 0].sum() / n.sum())
    assert numbers["f1_50"] == pytest.approx(2 * tp[:, 0].sum() / (n.sum() + m.sum()))
    total = sum(iou[iou > 0.5].sum() for iou, _, _ in pairs)
    assert numbers["pq"] == numbers["pq_50"] == pytest.approx(2 * total / (n.sum() + m.sum()))
    assert numbers["mean_matched_iou"] == pytest.approx(total / tp[:, 0].sum())
    union = n + m - tp[:, 0]
    each = np.where(union == 0, 1.0, tp[:, 0] / np.maximum(union, 1))
    assert numbers["ap50_image_mean"] == pytest.approx(each.mean())
    assert numbers["count_error"] == pytest.approx(np.abs(m - n).mean())
    assert numbers["count_bias"] == pytest.approx(m.sum() / n.sum() - 1)
    assert (numbers["true_positives"], numbers["false_negatives"]) == (tp[:, 0].sum(), n.sum() - tp[:, 0].sum())
    with (tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * IMAGES and [row["item"] for row in rows[:IMAGES]] == names
    assert [float(row["ap50"]) for row in rows[:IMAGES]] == pytest.approx(each, rel=1e-5)
    low, high = result.entries()["intervals"]["ap50_image_mean"]
    assert low < each.mean() < high


def test_entries_are_those_of_result_json(tmp_path):
    truth, predicted, images = objects()
    printed = io.StringIO()
    result = evaluate_objects(
        {"model": predicted, "otsu_watershed": truth},
        truth,
        images,
        range(IMAGES),
        run_dir=tmp_path,
        seconds={"model": 2.0},
        notes=["mind the gap"],
        console=Console(file=printed, width=80),
    )
    entries = result.entries()
    json.dumps(entries, allow_nan=False)
    assert {"ap50", "ap75", "mean_ap", "f1_50", "precision_50", "recall_50", "pq"} <= set(entries["metrics"])
    assert entries["bounds"]["ap50"] == 1.0 and set(entries["bounds"]) <= set(entries["metrics"])
    perfect = entries["baselines"]["otsu_watershed"]
    assert all(perfect[name] == 1.0 for name in entries["bounds"]) and perfect["size_error"] == 0.0
    assert entries["per_item"] == "table.csv" and entries["items"] == IMAGES and entries["notes"][0] == "mind the gap"
    assert json.loads((tmp_path / "summary.json").read_text())["methods"]["model"]["seconds"] == 2.0
    assert "otsu_watershed" in printed.getvalue() and "…" not in printed.getvalue()
    assert not list(tmp_path.glob(".*.part"))


def test_sizes_of_pairs(tmp_path):
    truth, predicted = np.zeros((2, 20, 20), np.int32)
    truth[2:8, 2:8], truth[12:18, 2:8] = 1, 2  # 36 px each
    predicted[2:8, 2:7], predicted[12:19, 2:8] = 5, 7  # 30 and 42 px
    numbers = evaluate_objects(
        {"model": [predicted]}, [truth], [truth], ["a"], run_dir=tmp_path, pixel_nm=100.0, console=quiet()
    ).entries()["metrics"]
    errors = 2 * np.sqrt(np.array([30, 42]) / np.pi) - 2 * np.sqrt(36 / np.pi)
    assert numbers["size_error"] == pytest.approx(1 / 6) and numbers["size_bias"] == pytest.approx(0, abs=1e-12)
    assert numbers["diameter_bias_px"] == pytest.approx(errors.mean())
    assert numbers["diameter_rmse_nm"] == pytest.approx(100 * np.sqrt(np.mean(errors**2)))


def test_intervals_resample_whole_groups(tmp_path):
    truth, predicted, images = objects()
    run = {"images": images, "names": range(IMAGES), "run_dir": tmp_path, "console": quiet()}
    alone, one, halves = (
        evaluate_objects({"model": predicted}, truth, groups=groups, **run).entries()["intervals"]
        for groups in (None, ["a"] * IMAGES, ["a"] * 4 + ["b"] * (IMAGES - 4))
    )
    assert one == {}
    assert halves["ap50_image_mean"] != alone["ap50_image_mean"]


def points() -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(1)
    truth = [rng.uniform(0, SIDE - 1, (0 if i == 3 else 8 + i, 2)) for i in range(IMAGES)]
    predicted = [
        np.concatenate([own[i % 3 :] + rng.normal(0, 0.9, own[i % 3 :].shape), rng.uniform(0, SIDE - 1, (i % 4, 2))])
        for i, own in enumerate(truth)
    ]
    return truth, predicted, [rng.poisson(20, (SIDE, SIDE)) for _ in truth]


def paired(truth: np.ndarray, predicted: np.ndarray, reach: float) -> np.ndarray:
    """Distances of the pairs of a dense assignment."""
    square = ((truth[:, None] - predicted[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(np.where(square > reach**2, 1e6, square))
    distance = np.sqrt(square[rows, columns])
    return distance[distance <= reach]


def test_points_equal_an_independent_count(tmp_path):
    truth, predicted, images = points()
    evaluate_points(
        {"model": predicted}, truth, images, range(IMAGES), run_dir=tmp_path, pixel_nm=110.0, console=quiet()
    )
    numbers = json.loads((tmp_path / "summary.json").read_text())["methods"]["model"]["numbers"]
    n, m = sum(map(len, truth)), sum(map(len, predicted))
    for reach in (1, 2, 3):
        pairs = [paired(a, b, reach) for a, b in zip(truth, predicted)]
        tp = sum(map(len, pairs))
        assert numbers[f"f1_{reach}px"] == pytest.approx(2 * tp / (n + m), rel=1e-6)
        assert numbers[f"precision_{reach}px"] == pytest.approx(tp / m, rel=1e-6)
        assert numbers[f"recall_{reach}px"] == pytest.approx(tp / n, rel=1e-6)
        assert numbers[f"jaccard_{reach}px"] == pytest.approx(tp / (n + m - tp), rel=1e-6)
        each = [2 * len(p) / max(len(a) + len(b), 1) for p, a, b in zip(pairs, truth, predicted)]
        assert numbers[f"f1_{reach}px_image_mean"] == pytest.approx(np.mean(each), abs=1e-6)
    assert numbers["rmse_px"] == pytest.approx(np.sqrt(np.mean(np.concatenate(pairs) ** 2)))
    assert numbers["rmse_nm"] == pytest.approx(110 * numbers["rmse_px"])
    area = IMAGES * SIDE**2
    assert numbers["false_positives_per_megapixel"] == pytest.approx((m - tp) / area * 1e6)
    assert numbers["false_positives_per_um2"] == pytest.approx((m - tp) / (area * 0.11**2))
    assert numbers["empty_false_positives_per_megapixel"] == pytest.approx(3 / SIDE**2 * 1e6)
    assert 0 < numbers["f1_integral"] < numbers["f1_3px"]


def test_scores_are_stored_with_their_hits(tmp_path):
    truth, predicted = [np.array([[5.0, 5.0], [20.0, 20.0]])], [np.array([[5.5, 5.0], [40.0, 40.0]])]
    run = {"truth": truth, "images": [np.zeros((SIDE, SIDE))], "names": ["a"], "run_dir": tmp_path, "console": quiet()}
    evaluate_points({"model": predicted}, scores={"model": [np.array([0.9, 0.2])]}, **run)
    with np.load(tmp_path / "pictures.npz") as stored:
        np.testing.assert_allclose(stored["model.score"], [0.9, 0.2], rtol=1e-6)
        assert stored["model.hit"].tolist() == [1, 0] and stored["model.distance_px"].tolist() == [0.5]
        np.testing.assert_allclose(stored["model.missed_0"], [[20, 20]])
        np.testing.assert_allclose(stored["model.false_0"], [[40, 40]])
    with pytest.raises(InputError, match="scores: expected 2 probabilities"):
        evaluate_points({"model": predicted}, scores={"model": [np.array([0.9])]}, **run)
    with pytest.raises(InputError, match="scores: expected those of 1 images for model, found 0"):
        evaluate_points({"model": predicted}, scores={"model": []}, **run)


def test_points_in_volumes(tmp_path):
    truth = [np.array([[2.0, 5.0, 5.0], [6.0, 20.0, 30.0]])]
    volume = np.zeros((8, SIDE, SIDE))
    volume[6, 20, 30] = 9.0
    numbers = evaluate_points(
        {"model": [truth[0][1:]]}, truth, [volume], ["a"], run_dir=tmp_path, pixel_nm=100.0, console=quiet()
    ).entries()["metrics"]
    assert numbers["recall_3px"] == pytest.approx(0.5) and "rmse_nm" not in numbers
    with np.load(tmp_path / "pictures.npz") as stored:
        assert stored["image_0"][20, 30] == 9.0 and stored["model.missed_0"].tolist() == [[5.0, 5.0]]


def test_empty_images_and_no_predictions(tmp_path):
    blank = [np.zeros((SIDE, SIDE), np.int32)] * 2
    run = {"images": blank, "names": ["a", "b"], "run_dir": tmp_path, "console": quiet()}
    numbers = evaluate_objects({"model": blank}, blank, **run).entries()["metrics"]
    assert numbers["ap50"] == 1.0 and numbers["mean_matched_iou"] is None and numbers["count_bias"] is None
    nothing = [np.empty((0, 2))] * 2
    numbers = evaluate_points({"model": nothing}, [np.ones((3, 2)), nothing[0]], **run).entries()["metrics"]
    assert numbers["f1_3px"] == 0.0 and numbers["f1_3px_image_mean"] == pytest.approx(0.5)
    assert numbers["rmse_px"] is None and numbers["false_positives_per_megapixel"] == 0.0
    assert evaluate_points({"model": nothing}, nothing, **run).entries()["metrics"]["f1_3px"] == 1.0


def test_the_worst_are_the_worst(tmp_path):
    truth, predicted, images = objects()
    evaluate_objects({"model": predicted}, truth, images, range(IMAGES), run_dir=tmp_path, console=quiet())
    with (tmp_path / "table.csv").open() as stream:
        ap = {row["item"]: float(row["ap50"]) for row in csv.DictReader(stream)}
    with np.load(tmp_path / "pictures.npz") as stored:
        names, worst, scores = stored["names"].tolist(), stored["worst"], stored["scores"]
        assert worst.sum() == 10 and len(names) == 14
        assert sorted(scores[:10]) == scores[:10].tolist() == pytest.approx(sorted(ap.values())[:10], rel=1e-5)
        assert [ap[name] for name in names] == pytest.approx(scores, rel=1e-5)
        i = int(names[0])
        states = [stored[f"model.{state}_0"] for state in ("found", "false", "missed")]
        assert set(np.unique(np.where(states[0] > 0, states[0], states[1]))) == set(np.unique(predicted[i]))
        assert set(np.unique(states[2])) <= set(np.unique(truth[i]))


def test_choice_of_images():
    worst, others = chosen_images([0.5] * 3 + list(np.linspace(0.6, 1, 20)), [1, 5, 3] + [0] * 20)
    assert worst == [1, 2, 0, *range(3, 10)] and others == [10, 14, 18, 22]
    assert chosen_images([0.2, 0.1], [0, 0]) == ([1, 0], [])


def test_crops_show_the_errors():
    labels = np.zeros((700, 900), np.int32)
    labels[650:660, 850:870] = 4
    labels[10:20, 10:20] = 2
    np.testing.assert_allclose(centres(labels), [[14.5, 14.5], [654.5, 859.5]])
    window = window_of(np.array([[654.5, 859.5]]), labels.shape)
    assert all(part.stop - part.start == CROP for part in window) and window[0].stop <= 700 and window[1].stop <= 900
    states = {"found": np.where(labels == 2, 2, 0), "false": np.where(labels == 4, 4, 0), "missed": 0 * labels}
    arrays = picture_of(0, np.ones(labels.shape), {"model": states})
    assert arrays["image_0"].shape == (CROP, CROP) and (arrays["model.false_0"] == 4).sum() == 200
    assert not arrays["model.found_0"].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": {}}, "methods: expected at least one detector"),
        ({"methods": {"a.b": [np.zeros((8, 8), int)]}}, "methods: expected names without a dot"),
        ({"names": ["a", "b"]}, "names: expected one entry for each of 1 images, found 2"),
        ({"truth": [np.zeros((8, 9), int)]}, r"truth: expected labels of shape \(8, 8\) for a, found \(8, 9\)"),
        ({"images": [np.zeros(8)]}, r"images: expected \(H, W\)"),
        ({"images": []}, "images: expected at least one image"),
        ({"groups": []}, "groups: expected one entry"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, change, words):
    labels = [np.zeros((8, 8), int)]
    given = {"methods": {"model": labels}, "truth": labels, "images": labels, "names": ["a"], **change}
    with pytest.raises(InputError, match=words):
        evaluate_objects(**given, run_dir=tmp_path, console=quiet())


def test_equal_names_and_flat_points_are_errors(tmp_path):
    image, flat = np.zeros((8, 8)), np.zeros((1, 3))
    with pytest.raises(InputError, match="names: expected no two alike, found 'a' twice"):
        evaluate_points({"m": [flat] * 2}, [flat] * 2, [image] * 2, ["a", "a"], run_dir=tmp_path, console=quiet())
    with pytest.raises(InputError, match=r"truth: expected points \(N, 2\)"):
        evaluate_points({"m": [flat]}, [flat], [image], ["a"], run_dir=tmp_path, console=quiet())
    with pytest.raises(InputError, match="distances_px"):
        evaluate_points({"m": [[]]}, [[]], [image], ["a"], run_dir=tmp_path, distances_px=(), console=quiet())
