"""Figures of a study: their numbers, what they mark, and files that say the same."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from PIL import Image

from bioflax.studies import figures
from bioflax.studies.collect import collect
from bioflax.studies.curves import Places
from bioflax.studies.gains import best_front
from bioflax.studies.matrices import grid_of, levels_of
from bioflax.studies.scores import Cell, Scores, main_row, score
from tests.studies import variants
from tests.studies.synthetic import LIGHT, make_run

MAIN, HELP = "photons per pixel 30", "trained over all light"


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> Scores:
    results = collect(make_run(tmp_path_factory.mktemp("study"), second=True, spread=0.02, seeds=2))
    return score(results, "psnr_db")


def texts(figure, at: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[at].texts]


def cells(drawing) -> list[dict[str, str]]:
    return [dict(zip(drawing.headings, row)) for row in drawing.rows]


def patches(axes, hatched: bool):
    return [patch for patch in axes.patches if bool(patch.get_hatch()) == hatched and patch.get_fill()]


def test_matrix_has_the_numbers_and_the_differences(scores):
    drawing = figures.matrix(scores)
    found = {(c["row"], c["test"]): c for c in cells(drawing)}
    # 3 dB a decade between training and test
    assert found[MAIN, "light 300"]["difference"] == pytest.approx(-3.0, abs=0.1)
    assert found[MAIN, "reference"]["psnr_db"] == pytest.approx(20 + 8 * math.log10(30), abs=0.05)
    assert found[MAIN, "light 300"]["matched_row"] == "photons per pixel 300"
    assert found[HELP, "camera hot pixels"]["difference"] == pytest.approx(-2.0, abs=0.1)
    shown = texts(drawing.figure)
    assert f"{found[MAIN, 'reference']['psnr_db']:.2f}" in shown
    assert "Held fixed" not in drawing.caption  # both factors are swept here
    assert "8 test items" in drawing.caption and "framed" in drawing.caption


def test_matrix_frames_what_was_trained_as_it_is_tested(scores):
    grid = grid_of(scores)
    framed = {
        (grid.rows[i].name, scores.results.test(grid.columns[j]).levels.get("light", 30))
        for i, j in np.argwhere(grid.framed)
    }
    assert framed == {(f"photons per pixel {light}", light) for light in (3, 30, 300)}
    # no row was trained at 10 and 100: no fair difference there
    assert [scores.results.level(t, "light") for t, mixed in zip(grid.columns, grid.mixed) if mixed] == [10, 100]


def test_matrix_marks_cells_of_fewer_seeds_and_hatches_failed_ones(scores, tmp_path):
    shown = texts(figures.matrix(scores).figure)
    assert sum(text.endswith("*") for text in shown) == 1  # one seed of one point failed
    drawing = figures.matrix(score(collect(variants.all_failed(tmp_path)), "psnr_db"))
    axes = drawing.figure.axes[0]
    assert len(patches(axes, hatched=True)) == 6 * 5 and not axes.texts
    assert all(c["failed"] == "data: no space left." for c in cells(drawing))


def test_curve_has_a_line_for_each_row_with_rivals_dashed_and_a_black_bound(scores):
    drawing = figures.curve(scores, "light", MAIN, [10, 30, 100])
    axes = drawing.figure.axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_allclose(lines[MAIN].get_xdata(), LIGHT)
    assert lines["bound"].get_color() == "black" and lines["nlm"].is_dashed() and not lines[MAIN].is_dashed()
    assert lines[MAIN].get_linewidth() > lines[HELP].get_linewidth()
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    marks = {lines[name].get_marker() for name in (MAIN, HELP, "nlm", "gaussian")}
    colours = {lines[name].get_color() for name in (MAIN, HELP, "nlm", "gaussian")}
    assert len(marks) == len(colours) == 4
    legend = [text.get_text().replace("\n", " ") for text in drawing.figure.legends[0].get_texts()]
    assert {"matched condition", "tested as trained", f"kept by {MAIN}"} <= set(legend)
    assert "camera matched" in drawing.caption and "95 % interval, bootstrap over items and seeds" in drawing.caption
    spans = [
        patch for patch in axes.patches if patch.get_facecolor()[:3] == pytest.approx((0.89, 0.945, 0.918), abs=0.01)
    ]
    assert len(spans) == 1 and 9 < spans[0].get_x() < 10 and 100 < spans[0].get_x() + spans[0].get_width() < 105


def test_curve_over_names_is_dots_with_whiskers(scores):
    drawing = figures.curve(scores, "camera", MAIN, ["matched"])
    axes = drawing.figure.axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == MAIN)
    assert line.get_linestyle() == "None" and len(line.get_ydata()) == 3
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["matched", "hot pixels", "gain off by 2"]
    assert line.get_ydata()[0] - line.get_ydata()[1] == pytest.approx(2.0, abs=0.05)


def test_errors_that_differ_much_get_a_log_scale(tmp_path):
    lower = score(collect(make_run(tmp_path, lower=True, failed=False)), "rmse_nm")
    assert figures.curve(lower, "light", MAIN).figure.axes[0].get_yscale() == "log"


def test_train_curve_lies_over_the_level_that_was_trained(tmp_path):
    results = collect(variants.images(tmp_path))
    drawing = figures.train_curve(score(results, "psnr_db"), "images", main_row(results))
    lines = {line.get_label(): line for line in drawing.figure.axes[0].get_lines()}
    assert main_row(results) == "images 16, width 32"
    np.testing.assert_allclose(lines["width 32"].get_xdata(), [1, 4, 16, 64])
    np.testing.assert_allclose(np.diff(lines["width 32"].get_ydata()), 1.5, atol=0.1)
    assert len(set(lines["pretrained"].get_ydata())) == 1 and lines["pretrained"].get_ydata()[0] == pytest.approx(
        34, abs=0.1
    )
    assert "width 32" in drawing.caption and "pictures 16" not in drawing.caption.replace("(pictures)", "")


def test_crossed_map_outlines_what_is_kept(scores):
    kept = {(30, "matched"): True, (100, "matched"): True}
    drawing = figures.crossed(scores, "light", "camera", MAIN, kept)
    found = {(c["light"], c["camera"]): c for c in cells(drawing)}
    assert len(found) == 15 and [key for key, c in found.items() if c["kept"]] == [
        ("30", "matched"),
        ("100", "matched"),
    ]
    apart = found["100", "matched"]["psnr_db"] - found["100", "hot pixels"]["psnr_db"]
    assert apart == pytest.approx(2.0, abs=0.05)
    green = [line for line in drawing.figure.axes[0].get_lines() if line.get_color() == "#009e73"]
    assert len(green) == 6  # two cells side by side have six outer edges


def test_gains_show_the_price_at_the_reference(scores):
    found = [figures.Gain(HELP, "t0", -0.5, -0.6, -0.4), figures.Gain(HELP, "t1", 2.5, 2.3, 2.6)]
    drawing = figures.gains(scores, "light", MAIN, found)
    assert {"−0.50", "+2.50"} <= set(texts(drawing.figure))
    bold = [tick.get_text() for tick in drawing.figure.axes[0].get_xticklabels() if tick.get_fontweight() == "bold"]
    assert bold == ["30"] and drawing.figure.axes[0].get_ylabel().endswith("(dB)")


def test_seeds_are_dots(scores):
    drawing = figures.seeds(scores)
    assert len(drawing.rows) == 4 * 2 and {row[0] for row in drawing.rows} == {
        row.name for row in scores.results.trained
    }
    values = [row[2] for row in drawing.rows if row[0] == MAIN]
    assert np.mean(values) == pytest.approx(scores.at(MAIN, "t0").value)


def test_the_front_holds_what_no_cheaper_row_equals():
    found = {"a": (1.0, Cell(30, 29, 31, 1)), "b": (2.0, Cell(29, 28, 30, 1)), "c": (3.0, Cell(32, 31, 33, 1))}
    assert best_front(found, lower_is_better=False) == ["a", "c"]
    assert best_front(found, lower_is_better=True) == ["a", "b"]


def test_thirty_rows_are_marked_by_thirty_points(tmp_path):
    scores = score(collect(variants.architectures(tmp_path)), "psnr_db")
    drawing = figures.quality_and_cost(scores, "seconds_per_mpx")
    assert len(drawing.rows) == 30 and 15 <= len(texts(drawing.figure)) <= 30
    assert drawing.figure.axes[0].get_xscale() == "log"


def test_gallery_shows_the_worst_pictures_with_their_titles(scores):
    drawing = figures.gallery(scores, MAIN)
    assert [axes.get_title(loc="left") for axes in drawing.figure.axes[:3]] == ["input", "output", "truth"]
    assert drawing.rows[0][:2] == [MAIN, "reference"] and len(drawing.rows) <= 6


def test_files_of_a_figure_say_the_same(scores, tmp_path):
    figure = figures.write(figures.seeds(scores), tmp_path)
    image = Image.open(io.BytesIO(figure.png))
    assert image.size[0] > 600 and (tmp_path / "seeds.png").read_bytes() == figure.png
    assert (tmp_path / "seeds.svg").read_text().startswith("<?xml") and MAIN in (tmp_path / "seeds.svg").read_text()
    rows = list(csv.DictReader((tmp_path / "seeds.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows][:2] == ["0", "1"] and math.isfinite(float(rows[0]["psnr_db"]))


@pytest.mark.parametrize("levels", [[3, 10], ["a", "b"], [None, 3], [0, 1]])
def test_places_of_levels(levels):
    place = Places(levels, {"log": True})
    assert place.numeric == (None not in levels and "a" not in levels) and place.log == (levels == [3, 10])
    assert [place(level) for level in levels] == ([float(v) for v in levels] if place.numeric else [0.0, 1.0])


def test_a_reference_between_the_levels_takes_its_place(scores):
    assert levels_of(scores.results, "light") == LIGHT
