"""The page of localizations: its figures, its numbers, and that it can be made again from its files."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation import evaluate_localizations
from bioflax.io import Localizations, open_image
from bioflax.optics.psf import Astigmatic
from bioflax.predict.inspection import choose_frames, cut_frames, histogram, inspect_table, over_time, points_in
from bioflax.predict.localizations import localize_files
from bioflax.report import render, render_localization, render_predictions

SIDE, FRAMES, PIXEL = 32, 12, 100.0


def truth(count: int = 90) -> Localizations:
    rng = np.random.default_rng(0)
    columns = {
        "frame": rng.integers(1, FRAMES, count),
        "x_nm": rng.uniform(0, SIDE * PIXEL, count),
        "y_nm": rng.uniform(0, SIDE * PIXEL, count),
        "z_nm": rng.uniform(-400, 400, count),
        "photons": rng.uniform(300, 5000, count),
        "background_photons": np.full(count, 8.0),
    }
    return Localizations(columns, PIXEL, (SIDE, SIDE), FRAMES)


def found(table: Localizations) -> Localizations:
    rng = np.random.default_rng(1)
    moved = {f"{axis}_nm": table[f"{axis}_nm"] + rng.normal(0, 15, len(table)) for axis in "xyz"}
    spread = {f"sigma_{axis}_nm": np.full(len(table), 15.0) for axis in "xyz"}
    return table.with_columns(**moved, **spread).select(slice(0, 80))


@pytest.fixture
def movie(tmp_path) -> Path:
    frames = np.random.default_rng(2).poisson(100, (FRAMES, SIDE, SIDE)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "cells.tif", frames, metadata={"axes": "TYX"})
    return tmp_path / "cells.tif"


def pictures(page: Path) -> list[Image.Image]:
    """The pictures in a page; nothing in it may be fetched from elsewhere."""
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source and not re.search(r"url\(|@import|https?://", source)
    sources = re.findall(r'src="([^"]*)"', source)
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    return [Image.open(io.BytesIO(base64.b64decode(value.split(",")[1]))) for value in sources]


def text(page: Path) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.S).split())


def test_page_of_an_evaluation(tmp_path, movie):
    folder, table = tmp_path / "run", truth()
    evaluate_localizations(
        {"model": found(table), "mle": table.select(slice(0, 60))},
        table,
        run_dir=folder,
        psf=Astigmatic(pixel_nm=PIXEL),
        movie=open_image(movie),
        notes=["Said <b>aloud</b>."],
        console=Console(file=io.StringIO()),
    )
    page = render_localization(folder)
    names = {path.stem for path in (folder / "figures").iterdir()}
    expected = {
        "frames",
        "against_tolerance",
        "against_photons",
        "against_z_nm",
        "against_neighbours_per_um2",
        "errors",
    }
    assert names == expected | {"rendering", "density", "offsets", "over_time", "columns"}
    shown = pictures(page)
    assert len(shown) == len(names) and all(image.width > 400 and image.height > 100 for image in shown)
    words = text(page)
    numbers = json.loads((folder / "summary.json").read_text())["methods"]["model"]["numbers"]["greedy"]
    for part in ("bound (√CRLB)", "hungarian", "mle", f"{numbers['jaccard']:.3f}", "Said &lt;b&gt;aloud", "RMSE axial"):
        assert part in words
    page.unlink()
    assert render(folder) == page and len(pictures(page)) == len(names)
    assert not list(folder.glob(".*.part"))


def test_page_of_flat_tables_without_a_movie(tmp_path):
    flat = Localizations({name: truth()[name] for name in ("frame", "x_nm", "y_nm")}, PIXEL, (SIDE, SIDE), FRAMES)
    evaluate_localizations({"table": flat}, flat, run_dir=tmp_path, console=Console(file=io.StringIO()))
    page = render(tmp_path)
    assert "No bound" in text(page) and "axial" not in text(page).split("Where")[0].split("RMSE lateral")[1][:200]
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert "frames" not in names and {"rendering", "against_tolerance"} <= names


def test_page_when_nothing_was_found(tmp_path, movie):
    nothing = Localizations.empty(("z_nm", "photons"), pixel_nm=PIXEL, size_px=(SIDE, SIDE), frames=FRAMES)
    result = evaluate_localizations(
        {"model": nothing}, truth(), run_dir=tmp_path, movie=open_image(movie), console=Console(file=io.StringIO())
    )
    assert result.entries()["metrics"]["jaccard"] == 0.0 and result.entries()["metrics"]["rmse_lateral_nm"] is None
    assert pictures(render_localization(tmp_path))


def test_page_of_a_prediction(tmp_path, movie):
    done = localize_files(lambda _, on_progress: found(truth()), movie, tmp_path / "out", page=True)
    assert done.pages == [str(tmp_path / "out" / "cells_report.npz")]
    page = render(tmp_path / "out")
    assert page.name == "cells_report.html" and len(pictures(page)) == 6
    assert "80 localizations in 12 frames" in text(page) and "RMSE" not in text(page)
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} >= {"cells_frames.png", "cells_columns.png"}
    shutil.copy(done.pages[0], tmp_path / "out" / "second_report.npz")
    assert render(tmp_path / "out") == tmp_path / "out"  # two pages: the folder
    assert (tmp_path / "out" / "second_report.html").exists()


def test_page_of_a_prediction_without_localizations(tmp_path, movie):
    nothing = Localizations.empty(pixel_nm=PIXEL, size_px=(SIDE, SIDE), frames=FRAMES)
    done = localize_files(lambda _, on_progress: nothing, movie, tmp_path, render_nm=None, page=True)
    assert "0 localizations" in text(render_predictions(done.pages)[0])


def test_nothing_to_render_is_an_error(tmp_path):
    with pytest.raises(InputError, match="_report.npz"):
        render(tmp_path)
    with pytest.raises(InputError, match="no summary.json of localizations"):
        render_localization(tmp_path)
    np.savez(tmp_path / "a_report.npz", other=np.zeros(2))
    with pytest.raises(InputError, match="expected the arrays of a localization table"):
        render(tmp_path)


def test_arrays_count_every_localization():
    table = found(truth())
    arrays = inspect_table(table, size_nm=(SIDE * PIXEL, SIDE * PIXEL), frames=FRAMES, pixel_nm=PIXEL)
    assert arrays["per_frame"].sum() == arrays["offset_x"].sum() == arrays["count_photons"].sum() == len(table)
    inside = np.all([(table[a] >= 0) & (table[a] < SIDE * PIXEL) for a in ("x_nm", "y_nm")], axis=0).sum()
    cell = (arrays["density_nm"] / 1000) ** 2
    assert arrays["density"].sum() * cell * FRAMES == pytest.approx(inside, rel=1e-5)
    assert arrays["render"].shape == (640, 640, 3) and arrays["render"].max() > 200


def test_long_movies_are_averaged_and_histograms_keep_far_values():
    counts = over_time(np.repeat(np.arange(1, 6001), 3), 6000)
    assert len(counts["per_frame"]) == 600 and np.all(counts["per_frame"] == 3)
    assert counts["frame_number"][0] == pytest.approx(5.5)
    values = np.concatenate([np.full(999, 10.0), [1e9]])
    for logarithmic in (False, True):
        assert histogram(values, logarithmic=logarithmic)[0].sum() == 1000


def test_frames_and_points_of_an_overlay(movie):
    np.testing.assert_array_equal(choose_frames(np.array([3.0, np.nan, 1.0, 2.0, 9.0, 0.0])), [5, 3, 4])
    points = {"frame": np.array([4, 4]), "x_nm": np.array([1050.0, 2050.0]), "y_nm": np.array([250.0, 150.0])}
    cut = cut_frames(open_image(movie), np.array([3]), points, PIXEL)
    assert cut["numbers_shown"].tolist() == [4] and cut["frames_shown"].shape == (1, SIDE, SIDE)
    np.testing.assert_array_equal(cut["frames_shown"][0], tifffile.imread(movie)[3])
    (marked,) = points_in(cut, {2: points, 1: {**points, "frame": np.array([5, 5])}}, PIXEL)
    np.testing.assert_allclose(marked, [[10.5, 2.5, 2], [20.5, 1.5, 2]])
