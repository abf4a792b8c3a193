"""Pages of super-resolution: what was measured, what is prior, and what the probes of a training run found."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioflax.errors import InputError
from bioflax.optics import passband
from bioflax.optics.imaging import bin_mean
from bioflax.report import render, render_honesty, render_honesty_pages, render_train, super_resolution
from bioflax.report.super_resolution import finest_nm, in_raw_unit, verdict, view
from bioflax.report.super_resolution_curves import BOUND, power, two_lines
from bioflax.report.super_resolution_figures import doubt_scale
from bioflax.report.super_resolution_probes import probe_sections
from bioflax.report.train import heading

UPSCALE, FINE_NM, CUTOFF_NM = 2, 50.0, 250.0


def pictures(page: Path) -> list[Image.Image]:
    """The pictures in a page; nothing in it may be fetched from elsewhere."""
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source and not re.search(r"url\(|@import|https?://", source)
    sources = re.findall(r'src="([^"]*)"', source)
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    found = [Image.open(io.BytesIO(base64.b64decode(value.split(",")[1]))) for value in sources]
    for image in found:
        image.load()
    return found


def text(page: Path) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.S).split())


def examined(folder: Path, stem: str = "cells", **changed) -> Path:
    """The files of an examined picture of 24 x 32 camera pixels."""
    rng = np.random.default_rng(0)
    image = 100 + 20 * rng.normal(size=(24 * UPSCALE, 32 * UPSCALE))
    measured, prior = passband.split(image, FINE_NM / CUTOFF_NM, UPSCALE)
    raw = bin_mean(image, UPSCALE) + rng.normal(size=(24, 32))
    arrays = {
        "image": image, "measured": measured, "prior": prior, "null_space": rng.uniform(size=image.shape), "raw": raw,
        "seen": bin_mean(measured, UPSCALE), "chi_square": rng.uniform(0.5, 9, raw.shape), "error": abs(raw - 100),
    }  # fmt: skip
    numbers = {
        "null_space_energy": 0.123, "chi_square": 1.07, "chi_square_limit": 1.33, "rse": 12.5, "rse_share": 0.034,
        "rsp": 0.951, "detail": 0.0456, "blank_chi_square": 40.0, "gain": 2.0, "offset": 7.0,
    }  # fmt: skip
    facts = {
        "schema": 1, "source": "<b>cells</b>.tif", "output": f"{stem}.tif", "upscale": UPSCALE, "fine_nm": FINE_NM,
        "cutoff_nm": CUTOFF_NM, "frames": 1, "same_unit": True, "noise": "the camera", "numbers": [numbers], "flags": [],
    }  # fmt: skip
    path = folder / f"{stem}_honesty.json"
    path.write_text(json.dumps({**facts, **changed}))
    np.savez(path.with_suffix(".npz"), **arrays)
    return path


def test_page_of_an_examined_picture(tmp_path):
    page = render_honesty(examined(tmp_path))
    assert page == tmp_path / "cells_honesty.html"
    words = text(page)
    for expected in (
        "camera pixel 100.0 nm", "pixel of the result 50.0 nm", "cut-off of the optics 250 nm", "share of the prior 12.3 %",
        "1.07 (at most 1.33)", "over that of coarse structures 4.56 %", "RSP 0.951", "12.5 counts (3.4 % of the range)",
        "Nothing speaks against it", "It sees only what survives the blur", "measured + prior = result",
        "&lt;b&gt;cells&lt;/b&gt;.tif",
    ):  # fmt: skip
        assert expected in words, expected
    shown = pictures(page)
    assert len(shown) == 3 and all(image.width > 1000 and image.height > 400 for image in shown)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"cells_honesty_{name}.png" for name in ("parts", "power", "maps")}
    assert not list(tmp_path.rglob("*.part"))


def test_flags_and_unknown_noise_are_warnings(tmp_path):
    facts = json.loads(examined(tmp_path, flags=["It does not agree."]).read_text())
    assert list(verdict(facts).notices) == [("warning", "It does not agree.")]
    kinds = [kind for kind, _ in verdict({**facts, "flags": [], "noise": "the spread of the picture"}).notices]
    assert kinds == ["warning"]  # nothing may be called good where the noise is not known
    assert [kind for kind, _ in verdict({**facts, "flags": []}).notices] == ["good"]


def test_several_pages_are_found_again_and_show_their_means(tmp_path):
    one = json.loads(examined(tmp_path, "one").read_text())["numbers"][0]
    examined(
        tmp_path,
        "two",
        numbers=[{**one, "rsp": 0.5, "blank_chi_square": None}, {**one, "rsp": 0.7, "false_structures_per_um2": 0.25}],
    )
    assert render(tmp_path) == tmp_path
    words = text(tmp_path / "two_honesty.html")
    for expected in ("RSP 0.600", "2 planes: the numbers are means", "Plane by plane", "0.700", "0.250 / µm²"):
        assert expected in words
    assert "Plane by plane" not in text(tmp_path / "one_honesty.html")
    assert len(list((tmp_path / "figures").iterdir())) == 6


def test_a_result_in_its_own_unit_is_shown_in_that_of_the_raw_picture(tmp_path):
    path = examined(tmp_path, same_unit=False)
    facts = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz")) as stored:
        arrays = dict(stored)
    shown, _ = in_raw_unit(facts, arrays)
    np.testing.assert_allclose(shown["image"], 2.0 * arrays["image"] + 7.0)
    np.testing.assert_allclose(shown["measured"] + shown["prior"], shown["image"])
    np.testing.assert_array_equal(shown["raw"], arrays["raw"])
    facts["numbers"][0]["gain"] = 0.0  # it explains nothing
    np.testing.assert_array_equal(in_raw_unit(facts, arrays)[0]["image"], arrays["image"])


def test_a_large_picture_is_cut_where_it_is_busy():
    image = np.zeros((400, 600))
    image[300:310, 90:95] = 50.0
    window, cut = view(image, 2)
    assert cut and image[window].shape == (160, 160) and image[window].sum() == image.sum()
    window, cut = view(image[:100, :120], 2)
    assert not cut and image[:100, :120][window].shape == (100, 120)


def test_a_plain_install_draws_nothing(tmp_path, monkeypatch):
    path = examined(tmp_path)
    monkeypatch.setattr(super_resolution, "find_spec", lambda name: None if name == "jinja2" else object())
    assert render_honesty_pages([str(path)]) == []
    assert not list(tmp_path.glob("*.html"))


def test_wrong_files(tmp_path):
    path = examined(tmp_path)
    np.savez(path.with_suffix(".npz"), image=np.zeros((4, 4)))
    with pytest.raises(InputError, match=r"cells_honesty\.npz: expected the pictures measured, prior, null_space"):
        render_honesty(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"cells_honesty\.json: expected what predict honesty=true writes"):
        render_honesty(path)
    with pytest.raises(InputError, match=r"\*_honesty\.json, found none"):
        render(tmp_path / "figures")


def test_scale_of_chi_square_holds_its_limit_and_has_an_end():
    even = np.ones((9, 9))
    assert doubt_scale(even, 1.2)[1] == 4.0
    assert doubt_scale(even, 2.1)[1] == 8.0
    assert doubt_scale(20 * even, 1.2)[1] == 32.0
    norm, end = doubt_scale(1e6 * even, 1.2)
    assert end == 64.0 and norm(1.0) == pytest.approx(0.5)


def probes() -> dict:
    matched = {
        "chi_square": 1.0, "rse_share": 0.02, "rsp": 0.99, "null_space_energy": 0.1, "si_psnr_db": 30.0, "flagged": 0.0,
    }  # fmt: skip
    return {
        "two_lines": {
            "spacing_nm": [125.0, 250.0, 375.0], "cutoff_nm": 250.0, "repeats": 16, "photons": 95.0,
            "resolved": {"bicubic": [0.0, 0.0, 0.5], "model": [0.25, 0.75, 1.0], "someone_else": [0.0, 0.5, 1.0]},
            "bound": [0.125, 0.625, 1.0],
        },
        "empty": {"fields": 12, "false_structures_per_um2": 0.043, "recognised": 1.0, "flagged": 1.0},
        "shifts": {
            "matched": matched,
            "spot 20 % wider": {**matched, "chi_square": 1.5, "rsp": 0.97, "si_psnr_db": 27.5, "flagged": 0.25},
            "pixel 1.5 times as large": {**matched, "chi_square": 9.0, "flagged": 1.0},
        },
    }  # fmt: skip


def test_page_of_a_training_run_tells_resolution_from_prior(tmp_path):
    lines = [{"step": s, "seconds": s / 2, "loss": 1 / s} for s in range(1, 5)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "probes.json").write_text(json.dumps(probes()))
    shared = {"psnr_db": 31.25, "in_band_psnr_db": 40.5, "ssim": 0.9, "nrmse": 0.1}
    own = {"null_space_energy": 0.11, "chi_square": 1.02, "rse_share": 0.02, "false_structures_per_um2": None}
    result = {"metrics": {**shared, **own}, "baselines": {"bicubic": shared}, "bounds": {"psnr_db": 33.0}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "model").mkdir()
    physics = {"na": 1.2, "wavelength_nm": 600.0, "pixel_nm": 200.0, "upscale": 2, "frames": 1}
    (tmp_path / "model" / "card.json").write_text(json.dumps({"physics": physics}))
    images = np.random.default_rng(0).normal(10, 1, (1, 32, 32))
    np.savez(tmp_path / "preview.npz", input=images, output=images, target=images)
    page = render_train(tmp_path)
    words = text(page)
    for expected in (
        "What resolution was learned, and what is prior", "nothing finer than 250 nm", "in-band PSNR (dB)", "only at frequencies",
        "of the model alone", "share of the prior (0 to 1) 0.110", "125 0.500 0 % 25 % 0 % 12 % prior",
        "250 1.000 0 % 75 % 50 % 62 % data", "someone else", "0.0430", "The model makes structures out of noise",
        "1.50 (× 1.50)", "0.970 (−0.020)", "27.50 (−2.50)", "9.00 (× 9.00)",
        "Not noticed: spot 20 % wider. Only 25 % of the pictures are flagged; SI-PSNR changes by −2.50 dB.",
    ):  # fmt: skip
        assert expected in words, expected
    assert "Not noticed: pixel" not in words and "False alarms" not in words
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"two_lines", "loss", "preview_0", "spectra", "cutoff"}
    assert len(pictures(page)) == len(names)


def test_probes_say_what_is_good_and_what_is_a_false_alarm():
    found = probes()
    del found["two_lines"], found["empty"]
    del found["shifts"]["spot 20 % wider"]
    assert [kind for kind, _ in probe_sections(found, {})[0].notices] == ["good"]
    found["shifts"]["matched"]["flagged"] = 0.5
    assert "False alarms: 50 %" in probe_sections(found, {})[0].notices[0][1]
    assert probe_sections({}, {}) == []


def test_with_stripes_the_wide_field_bound_is_left_out():
    found = {"two_lines": probes()["two_lines"]}
    for frames, listed in ((1, True), (9, False)):
        section = probe_sections(found, {"frames": frames})[0]
        assert (BOUND in section.tables[0].headings) == listed


def ink(png: bytes, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of a picture that hold a colour, as a share of its width."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    here = (pixels == colour).all(-1)
    return np.flatnonzero(here.sum(0) > 0.3 * len(pixels)) / pixels.shape[1]


def test_what_has_no_data_is_shaded():
    shade = (0xE6, 0xEA, 0xEE)
    image = np.random.default_rng(0).normal(size=(32, 32))
    near = ink(power({"result": ([image], 50.0)}, cutoff_nm=400.0), shade)
    far = ink(power({"result": ([image], 50.0)}, cutoff_nm=200.0), shade)
    assert near.max() == far.max() and near.min() < far.min() - 0.1  # frequencies beyond the cut-off
    assert ink(power({"result": ([image], 50.0)}, cutoff_nm=90.0), shade).size == 0  # the grid ends before
    coarse = ink(power({"result": ([image], 50.0)}, cutoff_nm=200.0, camera_nm=200.0), shade)
    assert near.min() - 0.15 < coarse.min() < far.min()  # the camera measures less than the optics pass
    spacing = [100.0, 200.0, 300.0]
    lines = two_lines(spacing, {"model": [0.0, 0.5, 1.0]}, None, cutoff_nm=200.0, repeats=8)
    assert lines and ink(lines, shade).max() < 0.6  # distances below the cut-off's


def test_coarse_camera_pixels_limit_what_was_measured():
    facts = {"frames": 1, "upscale": 2, "fine_nm": 100.0, "cutoff_nm": 250.0}
    assert finest_nm(facts) == pytest.approx(200 * np.sqrt(2))  # the corner of the square band
    assert finest_nm({**facts, "frames": 9}) == 250.0
    assert finest_nm({**facts, "fine_nm": 50.0}) == 250.0
    found = {"two_lines": probes()["two_lines"]}
    assert probe_sections(found, {"pixel_nm": 125.0})[0].notices == []
    assert "two of its pixels are 400 nm" in probe_sections(found, {"pixel_nm": 200.0})[0].notices[0][1]


def test_names_of_metrics_have_units():
    assert heading("in_band_psnr_db") == "in-band PSNR (dB)"
    assert heading("rmse_lateral_nm") == "rmse lateral (nm)"
    assert heading("spots_per_um2") == "spots (1 / µm²)"
    assert heading("validation_loss") == "validation loss"
