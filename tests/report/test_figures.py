"""Figures are PNG pictures of the size asked for; the numbers behind them are right."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from bioflax.report import curves, figures
from bioflax.report.page import Figure, Page, Section, Table, duration, number, render_page
from bioflax.report.style import COLOURS, DPI, WIDTH, look

RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_one_grey_scale_for_all_panels():
    """The same value is the same grey, whatever else its own picture holds."""
    target = np.full((32, 32), 50.0)
    target[:, 16:] = 100
    other = np.full((32, 32), 50.0)
    drawn = picture(figures.side_by_side({"input": other, "target": target}, "target"))
    assert drawn.shape[1] == WIDTH * DPI
    half = drawn[: drawn.shape[0] // 2, : int(0.9 * drawn.shape[1])]
    black = (half.sum(-1) == 0).sum(0)  # columns of the darkest grey: all of the input, half of the target
    assert (black > 100).sum() > 2.5 * drawn.shape[1] / 4


def test_grey_range_ignores_a_few_bright_pixels():
    image = np.ones((100, 100))
    image[:, :50] = 0
    image[0, 0] = 1e6
    assert figures.grey_range(image) == (0.0, 1.0)
    assert figures.grey_range(np.full((4, 4), 7.0)) == (6.5, 7.5)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("signed", [False, True])
def test_gallery_grows_by_rows(count, signed):
    drawn = picture(figures.gallery([(f"scene {k}", RAMP - 0.5 * signed) for k in range(count)], signed=signed))
    per_row = min(max(count, 3), 6)
    assert drawn.shape[1] == pytest.approx(WIDTH * DPI * min(count, per_row) / per_row, abs=1)
    assert drawn.shape[0] > (1 + (count > 6)) * WIDTH * DPI / per_row


def test_constant_images_and_zero_errors_can_be_drawn():
    flat = np.zeros((16, 16))
    assert picture(figures.side_by_side({"input": flat, "target": flat}, "target", scale=flat)).size
    assert picture(figures.gallery([("a", flat)], signed=True)).size


def test_long_names_are_cut_in_the_middle():
    assert figures.shorten("short") == "short"
    cut = figures.shorten("a" * 30 + "_end_0001.tif")
    assert len(cut) == 26
    assert cut.endswith("0001.tif")


def test_running_mean_of_a_line_is_the_line():
    line = np.arange(20.0)
    np.testing.assert_allclose(curves.running_mean(line, 5)[2:-2], line[2:-2])
    assert curves.running_mean(line, 5)[0] == pytest.approx(1.0)
    np.testing.assert_allclose(curves.running_mean(np.ones(7), 3), 1)


def test_one_name_has_one_colour():
    names = ["input", "gaussian", "model", "target"]
    assert curves.stroke("model", names)["color"] == curves.stroke("model", ["input", "gaussian", "model"])["color"]
    assert curves.stroke("gaussian", names)["color"] == COLOURS[0]
    assert curves.stroke("target", names)["linestyle"] == "--"


def test_curves_can_be_drawn_from_little():
    x = np.linspace(0, 0.5, 9)
    train = [{"step": 1, "seconds": 0.5, "loss": 0.3}]
    for png in (
        curves.losses(train, []),
        curves.losses([], [{"step": 1, "seconds": 0.5, "validation_loss": -0.3}]),
        curves.series(train, ["loss"]),
        curves.spectra({"input": (x, np.zeros(9))}, {}),
        curves.bars({"input": (20.0, None, None, "input"), "model": (21.0, 20.5, 21.5, "model")}, "PSNR (dB)"),
        curves.gains(np.array([20.0, 21.0]), np.array([25.0, 20.0])),
        curves.photon_transfer([("a", (np.array([1.0, 2.0]), np.array([3.0, 3.0])), None, 3.0)]),
        curves.noise_correlation([("a", {"X": [0.5] * 8}, True)], 0.25),
    ):
        assert png.startswith(b"\x89PNG")


def test_settings_of_the_user_are_left_alone():
    before = dict(matplotlib.rcParams)
    with look():
        assert matplotlib.rcParams["axes.spines.top"] is False
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 2, "–"), (3, 2, "3"), (1234567, 0, "1 234 567"), (2.345, 2, "2.35"), (0.00012, 2, "0.00012"),
        (0.0, 2, "0.00"), (4e9, 1, "4e+09"), ("abc", 2, "abc"), (-5.678, 1, "-5.7"),
    ],
)  # fmt: skip
def test_numbers(value, digits, text):
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (4.24, "4.2 s"), (42.3, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_page_escapes_and_marks_rows():
    table = Table(["a"], [["<i>"], ["two"]], strong=[1], breaks=[1])
    section = Section("Part & parcel", notices=[("warning", "<script>")], tables=[table], folded=True)
    figure = Section("Picture", figures=[Figure("f", b"png", "caption")])
    html = render_page(Page("T", "S", {"k": "v"}, [section, figure]))
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "&lt;i&gt;" in html
    assert '<tr class="strong break"><td>two</td></tr>' in html
    assert "<details><summary>Part &amp; parcel</summary>" in html
    assert "data:image/png;base64,cG5n" in html
