"""The page of detections: its figures, its numbers, and that it can be made again from its files."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation import evaluate_objects, evaluate_points
from bioflax.report import render, render_detection, render_found
from bioflax.report.detection_curves import size_bins, thinned, whole_edges
from bioflax.report.detection_figures import MARKS, Panel, outlines, overlays, prediction_overlay

SIDE = 48


def pictures(page: Path) -> list[Image.Image]:
    """The pictures in a page; nothing in it may be fetched from elsewhere."""
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source and not re.search(r"url\(|@import|https?://", source)
    sources = re.findall(r'src="([^"]*)"', source)
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    return [Image.open(io.BytesIO(base64.b64decode(value.split(",")[1]))) for value in sources]


def text(page: Path) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.S).split())


def squares(count: int, shift: int = 0) -> np.ndarray:
    labels = np.zeros((SIDE, SIDE), np.int32)
    for label in range(count):
        y, x = 12 * (label // 4), 12 * (label % 4)
        labels[y + 1 : y + 8, x + 1 + shift : x + 8 + shift] = label + 1
    return labels


def run_objects(folder: Path, images: int) -> None:
    truth = [squares(3 + i % 9) for i in range(images)]
    predicted = [squares(2 + i % 9, shift=i % 4) for i in range(images)]
    evaluate_objects(
        {"model": predicted, "otsu_watershed": [np.where(one > 2, one, 0) for one in truth]},
        truth,
        [labels * 10.0 for labels in truth],
        [f"<field> {i}" for i in range(images)],
        run_dir=folder,
        pixel_nm=200.0,
        seconds={"model": 12.0},
        notes=["Said <b>aloud</b>."],
        console=Console(file=io.StringIO()),
    )


def test_page_of_objects(tmp_path):
    run_objects(tmp_path, 13)
    page = render_detection(tmp_path)
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"over_threshold", "worst", "compared", "counts", "sizes", "overlaps"}
    shown = pictures(page)
    assert len(shown) == len(names) and all(image.width > 400 and image.height > 100 for image in shown)
    words = text(page)
    numbers = json.loads((tmp_path / "summary.json").read_text())["methods"]["model"]["numbers"]
    for part in (f"{numbers['ap50']:.3f}", f"{numbers['pq']:.3f}", "otsu_watershed", "bound", "The 10 worst images"):
        assert part in words
    assert "Said &lt;b&gt;aloud" in words and "&lt;field&gt; 3" in words and "12 s" in words
    page.unlink()
    assert render(tmp_path) == page and len(pictures(page)) == len(names)
    assert not list(tmp_path.glob(".*.part"))


def test_few_images_are_shown_side_by_side(tmp_path):
    run_objects(tmp_path, 3)
    words = text(render(tmp_path))
    assert "The 3 worst images" in words and "Side by side" in words and "Other images" not in words


def test_page_of_points(tmp_path):
    rng = np.random.default_rng(0)
    truth = [rng.uniform(0, SIDE - 1, (10 + i, 2)) for i in range(12)]
    predicted = [np.concatenate([own[2:] + 0.4, [[1.0, 2.0]]]) for own in truth]
    evaluate_points(
        {"model": predicted, "log": truth},
        truth,
        [rng.poisson(9, (SIDE, SIDE)) for _ in truth],
        range(12),
        run_dir=tmp_path,
        scores={"model": [rng.uniform(0, 1, len(own)) for own in predicted]},
        console=Console(file=io.StringIO()),
    )
    page = render(tmp_path)
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"over_threshold", "worst", "compared", "counts", "distances", "probabilities"}
    assert len(pictures(page)) == len(names)
    assert "F1 at 3 px" in text(page) and "false alarms / megapixel" in text(page) and "186 spots" in text(page)


@pytest.mark.parametrize("kind", ["objects", "points"])
def test_page_of_nothing(tmp_path, kind):
    image = [np.zeros((SIDE, SIDE))] * 2
    nothing, some = [np.zeros((SIDE, SIDE), int)] * 2, [squares(4), squares(0)]
    evaluate = evaluate_objects
    if kind == "points":
        nothing, some, evaluate = [np.empty((0, 2))] * 2, [np.ones((4, 2)), np.empty((0, 2))], evaluate_points
    for truth, predicted in ((some, nothing), (nothing, some)):
        evaluate({"model": predicted}, truth, image, ["a", "b"], run_dir=tmp_path, console=Console(file=io.StringIO()))
        assert len(pictures(render(tmp_path))) >= 3


def test_pages_of_predictions(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(10, 1, (SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "cells_report.npz", image=image, labels=squares(7), pixel_nm=100.0)
    spots = {"points": rng.uniform(0, SIDE, (5, 3)), "scores": rng.uniform(0, 1, 5)}
    np.savez(tmp_path / "spots_report.npz", image=image, **spots)
    cells, found = render_found(tmp_path)
    assert cells.name == "cells_report.html" and "7 objects" in text(cells) and "µm" in text(cells)
    assert "5 spots" in text(found) and len(pictures(found)) == len(pictures(cells)) == 2
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "cells_found.png",
        "cells_diameters.png",
        "spots_found.png",
        "spots_probabilities.png",
    }
    cells.unlink()
    assert render(tmp_path) == tmp_path and cells.exists()
    np.savez(tmp_path / "none_report.npz", image=image, points=np.empty((0, 2)))
    assert "0 spots" in text(render_found([tmp_path / "none_report.npz"])[0])


def test_a_part_of_an_image_is_counted_as_the_whole(tmp_path):
    np.savez(tmp_path / "a_report.npz", image=np.eye(9), labels=np.eye(9, dtype=int), sizes_px=np.full(300, 50.0))
    page = render_found(tmp_path)[0]
    assert "300 objects" in text(page) and f"{2 * np.sqrt(50 / np.pi):.1f} px" in text(page)


def colours(png: bytes) -> set[tuple[int, int, int]]:
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    seen, counts = np.unique(picture, axis=0, return_counts=True)
    return {tuple(int(v) for v in colour) for colour in seen[counts > 20]}


def test_each_state_has_its_colour_where_it_occurs():
    image, empty = np.zeros((32, 32)), np.zeros((32, 32), int)
    box = empty.copy()
    box[8:20, 8:20] = 1
    rgb = {state: tuple(int(mark.colour[i : i + 2], 16) for i in (1, 3, 5)) for state, mark in MARKS.items()}
    for state in ("found", "false", "missed"):
        drawn = Panel("a", image, {s: box if s == state else empty for s in MARKS})
        marked = Panel("a", image, points={state: np.array([[9.0, 9.0], [20.0, 20.0]])})
        for panel in (drawn, marked):
            seen = colours(overlays([panel], columns=1))
            assert rgb[state] in seen
            assert not {rgb[s] for s in ("found", "false", "missed") if s != state} & seen


def test_outlines_are_the_sides_of_pixels():
    labels = np.zeros((5, 6), int)
    labels[1:3, 1:3], labels[1:3, 3:5] = 1, 2
    lines = outlines(labels)
    assert len(lines) == 2 * (2 + 4) + 2  # around both, and once between them
    assert [2.5, 0.5] in lines[:, 0].tolist() and lines[..., 0].max() == 4.5 and lines[..., 1].max() == 2.5
    assert len(outlines(np.ones((4, 4), int))) == 0


def test_overlay_of_a_prediction():
    png = prediction_overlay(np.ones((20, 30)), squares(2)[:20, :30], np.array([[1.0, 5.0, 5.0]]), pixel_nm=100.0)
    assert Image.open(io.BytesIO(png)).width > 400
    with pytest.raises(InputError, match=r"labels: expected the shape of the image \(20, 30\)"):
        prediction_overlay(np.ones((20, 30)), np.ones((20, 31), int))
    with pytest.raises(InputError, match=r"points: expected \(N, 2\)"):
        prediction_overlay(np.ones((20, 30)), points=np.ones((2, 5)))
    with pytest.raises(InputError, match=r"image: expected \(H, W\)"):
        prediction_overlay(np.ones((2, 20, 30)))


def test_bins_of_the_curves():
    true = np.linspace(10, 30, 80)
    at, low, middle, high = size_bins(true, 1.1 * true)
    assert len(at) == 8 and np.allclose([low, middle, high], 10.0) and np.all(np.diff(at) > 0)
    assert len(size_bins(true[:3], true[:3])[0]) == 1
    edges = whole_edges(np.array([-3.0, 0, 2]))
    assert edges[0] == -3.5 and edges[-1] >= 2.5 and np.allclose(np.diff(edges), 1)
    assert len(whole_edges(np.array([-5000.0, 4000]))) < 60
    assert len(thinned(0)) == 0 and len(thinned(10)) == 10 and len(thinned(10**6)) == 4000


def test_other_files_are_errors(tmp_path):
    with pytest.raises(InputError, match="no summary.json of detections"):
        render_detection(tmp_path)
    np.savez(tmp_path / "a_report.npz", image=np.zeros((4, 4)))
    with pytest.raises(InputError, match="expected image, and labels or points"):
        render_found(tmp_path)
