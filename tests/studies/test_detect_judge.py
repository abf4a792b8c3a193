"""Judge of detectors: paired items, sums per image that add up to the pooled scores, and what a perfect detector gets."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax import metrics
from bioflax.data import FolderObjects, SimulatedObjects
from bioflax.data.objects import Annotated
from bioflax.errors import InputError
from bioflax.predict.objects import Detections
from bioflax.simulate import NucleiSimulator, SpotSimulator
from bioflax.studies.judges import detect
from bioflax.studies.judges.detect import DetectJudge, ObjectTests
from bioflax.studies.judges.object_tallies import close_pairs, label_tallies, point_tallies, touching_pairs
from bioflax.tasks import Detect, SpotFlow

JUDGE = DetectJudge()
SPOTS = SpotSimulator(
    size=16, spots_per_px=0.02, photons=2000.0, least_contrast=0.0, room=12, stray_room=4, margin_px=2
)
NUCLEI = NucleiSimulator(
    size=24, nuclei_per_um2=0.01, radius_nm=1500.0, photons=60.0, background_photons=10.0, room=6, margin_px=4
)
POINTS = SimpleNamespace(mode="points")
LABELS = SimpleNamespace(mode="labels")


def squares(*places: tuple[int, int], side: int = 6, size: int = 32) -> np.ndarray:
    labels = np.zeros((size, size), np.int32)
    for number, (y, x) in enumerate(places, 1):
        labels[y : y + side, x : x + side] = number
    return labels


TRUTH = [squares((2, 2), (2, 9), (20, 20)), squares((5, 5)), squares()]
# Exactly; one moved by two pixels (IoU 0.5); one a ghost; one missed; one ghost in a blank image
MADE = [squares((2, 2), (4, 9), (12, 22)), squares(), squares((8, 8))]


def test_items_keep_their_scene_and_noise_whatever_their_number_and_light() -> None:
    few, more = (JUDGE.draw(SimulatedObjects(SPOTS), POINTS, items, 5, {"believed": None}) for items in (2, 3))
    for one, other in zip(few.items, more.items):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.points, other.points)
    bright = dataclasses.replace(SPOTS, photons=4000.0)
    lit = JUDGE.draw(SimulatedObjects(bright), POINTS, 2, 5, {})
    for one, other in zip(few.items, lit.items):
        np.testing.assert_allclose(one.points, other.points, atol=1e-5)
        assert other.image.sum() > one.image.sum()
    assert not np.array_equal(few.items[0].image, few.items[1].image)
    assert not np.array_equal(JUDGE.draw(SimulatedObjects(SPOTS), POINTS, 1, 6, {}).items[0].image, few.items[0].image)


def test_items_have_clean_labels_and_a_size_of_their_own() -> None:
    def spoil(simulator: object) -> object:
        raise AssertionError("the test has no errors in its labels")

    data = SimulatedObjects(NUCLEI, mislabel=spoil, fields=1)
    tests = JUDGE.draw(data, LABELS, 2, 0, {"size": 32, "room": 8})
    assert [item.image.shape for item in tests.items] == [(32, 32, 1)] * 2
    assert tests.truth[0].shape == (32, 32) and tests.truth[0].max() > 0


def test_sums_of_labels_are_those_of_the_pooled_scores() -> None:
    tallies = label_tallies(TRUTH, MADE)
    pooled = metrics.score_labels(zip(TRUTH, MADE), (0.5, 0.75)).pooled
    assert tallies["ap50"].value == pytest.approx(pooled.ap[0]) == 2 / 6
    assert tallies["ap75"].value == pytest.approx(pooled.ap[1]) == 1 / 7
    assert tallies["f1_50"].value == pytest.approx(pooled.f1[0])
    # One ghost in the first image and one in the blank one, on 3 x 1024 pixels
    assert tallies["false_per_mpx"].value == pytest.approx(2 / 3 / 1024 * 1e6)
    assert tallies["false_per_mpx"].by_item[2] == pytest.approx(1e6 / 1024)
    assert tallies["pair_recall"].value == 1.0 and tallies["pair_recall"].denominator.tolist() == [1, 0, 0]
    assert label_tallies(TRUTH[:1], [squares((2, 2))])["pair_recall"].value == 0.0


def test_an_image_without_anything_says_nothing() -> None:
    tallies = label_tallies([squares()], [squares()])
    assert np.isnan(tallies["ap50"].value) and tallies["false_per_mpx"].value == 0.0


def test_touching_pairs_are_those_with_at_most_a_pixel_between() -> None:
    assert touching_pairs(squares((2, 2), (2, 9), (20, 20))).tolist() == [[1, 2]]
    assert touching_pairs(squares((2, 2), (2, 10))).tolist() == []
    assert touching_pairs(squares((2, 2), (8, 2), (14, 2))).tolist() == [[1, 2], [2, 3]]


def test_sums_of_points_are_those_of_the_pooled_scores() -> None:
    random = np.random.default_rng(0)
    truth = [random.uniform(0, 40, (n, 2)) for n in (12, 0, 7)]
    made = [points[2:] + random.normal(0, 0.9, (len(points[2:]), 2)) for points in truth]
    made[1] = np.array([[3.0, 3.0]])
    tallies = point_tallies(truth, made, [1600] * 3, 6.0)
    for name, distance in (("f1_3px", 3.0), ("f1_1px", 1.0)):
        assert tallies[name].value == pytest.approx(
            metrics.score_points(zip(truth, made), distance).pooled.f1, abs=1e-6
        )
    assert tallies["rmse_px"].value == pytest.approx(metrics.score_points(zip(truth, made), 3.0).pooled.rmse_px)
    assert tallies["false_per_mpx"].by_item[1] == pytest.approx(1e6 / 1600)


def test_a_close_pair_is_found_only_by_two() -> None:
    truth = np.array([[10.0, 10.0], [10.0, 14.0], [30.0, 30.0]])
    assert close_pairs(truth, 6.0).tolist() == [[0, 1]] and len(close_pairs(truth, 3.0)) == 0

    def recall(*made: list[float]) -> float:
        return point_tallies([truth], [np.array(made)], [1600], 6.0)["pair_recall"].value

    assert recall([10.0, 10.5], [10.0, 13.5]) == 1.0
    assert recall([10.0, 12.0]) == 0.0
    assert recall([10.0, 10.0], [10.0, 16.5]) == 0.0  # nearer than 3 px, but beyond half the distance of the two


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Detections]:
    """What the next images are said to hold, instead of a net's answer."""
    answers: list[Detections] = []
    monkeypatch.setattr(detect, "detect_objects", lambda model, image, tile: answers.pop(0))
    return answers


def test_a_perfect_detector_gets_the_bound_and_the_worst_item_is_shown(found: list[Detections]) -> None:
    tests = JUDGE.draw(SimulatedObjects(SPOTS), POINTS, 4, 1, {})
    found += [Detections((16, 16), points, np.ones(len(points))) for points in tests.truth]
    judged = JUDGE.score([SimpleNamespace()], POINTS, tests, {})
    rivals = JUDGE.rivals(tests, POINTS, ["log_oracle"], {})
    for name in ("f1_3px", "f1_1px"):
        assert judged.tallies[name].value == 1.0 == rivals.bounds[name].value
    assert judged.tallies["rmse_px"].value == 0.0 and "rmse_px" not in rivals.bounds
    assert set(rivals.baselines) == {"log_oracle"} and 0.0 < rivals.baselines["log_oracle"]["f1_3px"].value <= 1.0
    found += [Detections((16, 16), points[: len(points) * (n != 2)], np.ones(len(points) * (n != 2)))
              for n, points in enumerate(tests.truth)]  # fmt: skip
    panels = JUDGE.score([SimpleNamespace()], POINTS, tests, {}).picture
    np.testing.assert_array_equal(panels["input"], tests.items[2].image[..., 0])
    assert panels["output"].max() == 0.0 and panels["truth"].max() == 1.0


def test_labels_have_otsu_as_rival_and_one_as_bound() -> None:
    images = [np.where(labels > 0, 200.0, 10.0)[..., None].astype(np.float32) for labels in TRUTH[:2]]
    items = tuple(Annotated(f"{n}", image, labels=labels) for n, (image, labels) in enumerate(zip(images, TRUTH)))
    rivals = JUDGE.rivals(ObjectTests("labels", items), LABELS, ["otsu_watershed"], {})
    assert rivals.bounds["ap50"].value == 1.0 == rivals.bounds["pair_recall"].value
    assert set(rivals.bounds) == {"ap50", "ap75", "f1_50", "pair_recall"}
    # Two that lie a pixel apart are one to Otsu: 2 found, 2 missed, and 1 that is neither
    assert rivals.baselines["otsu_watershed"]["ap50"].value == 2 / 5
    with pytest.raises(InputError, match="baselines: 'log_oracle' does not find labels. Take one of: otsu_watershed"):
        JUDGE.rivals(ObjectTests("labels", items), LABELS, ["log_oracle"], {})


def test_blank_fields_have_no_tuned_rival() -> None:
    item = Annotated("blank", np.zeros((8, 8, 1), np.float32), points=np.zeros((0, 2)))
    assert JUDGE.rivals(ObjectTests("points", (item,)), POINTS, ["log_oracle"], {}).baselines == {}


def test_detections_are_not_averaged() -> None:
    with pytest.raises(InputError, match="detections cannot be averaged, expected one model for task detect, found 3"):
        JUDGE.score([SimpleNamespace()] * 3, POINTS, ObjectTests("points", ()), {})


def test_files_are_cut_into_crops(tmp_path: object) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    whole = squares((2, 2), (2, 12), (20, 14), size=32)
    for number in range(2):
        Image.fromarray(random.integers(0, 255, (34, 33), np.uint8)).save(tmp_path / "images" / f"{number}.png")
        padded = np.pad(whole, ((1, 1), (0, 1))).astype(np.uint8)
        Image.fromarray(padded).save(tmp_path / "labels" / f"{number}.png")
    data = FolderObjects(str(tmp_path / "images"), str(tmp_path / "labels"), part="all")
    tests = JUDGE.draw(data, LABELS, 8, 0, {"crop": 16})
    assert [item.image.shape for item in tests.items] == [(16, 16, 1)] * 8
    np.testing.assert_array_equal(tests.truth[0] > 0, whole[:16, :16] > 0)
    np.testing.assert_array_equal(tests.truth[3] > 0, whole[16:, 16:] > 0)
    with pytest.raises(InputError, match="data.folder: expected at least 9 test items, found 8 in .*smaller test.crop"):
        JUDGE.draw(data, LABELS, 9, 0, {"crop": 16})
    with pytest.raises(InputError, match="data.targets: expected label images or tables of points to test on"):
        JUDGE.draw(dataclasses.replace(data, targets=None), LABELS, 1, 0, {})


def test_points_move_with_their_crop() -> None:
    points = np.array([[3.0, 4.0], [9.2, 20.0], [19.6, 5.0]])
    parts = detect._crops(Annotated("one", np.zeros((24, 24, 1)), points=points), "points", 8)
    assert len(parts) == 9
    np.testing.assert_allclose(parts[0].points, [[3.0, 4.0]])
    np.testing.assert_allclose(parts[5].points, [[1.2, 4.0]])
    np.testing.assert_allclose(parts[6].points, [[3.6, 5.0]])


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match="data.simulator: SpotSimulator makes no labels"):
        JUDGE.draw(SimulatedObjects(SPOTS), LABELS, 1, 0, {})
    with pytest.raises(InputError, match="test.sise: expected one of size, room, crop"):
        JUDGE.draw(SimulatedObjects(SPOTS), POINTS, 1, 0, {"sise": 3})
    with pytest.raises(InputError, match="data: expected simulated objects or images .* found dict"):
        JUDGE.draw({}, Detect(SpotFlow()), 1, 0, {})
