"""The page of a study: its sections and files, and that no hard case keeps it from being written."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from bioflax.errors import InputError
from bioflax.studies.report import render_study
from tests.studies import variants
from tests.studies.synthetic import make_run


def text(page: Path) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.S).split())


def headings(page: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return render_study(make_run(tmp_path_factory.mktemp("study"), second=True))


def test_the_page_has_all_sections(page):
    assert headings(page) == [
        "Answer", "What was run", "Rows and tests", "Factor by factor", "Two factors at once", "What helps", "Quality and price",
        "Seeds", "Operating envelope", "Thresholds", "Claims", "Worst pictures", "Checklist of good practice", "Methods",
        "How to repeat it",
    ]  # fmt: skip


def test_the_page_is_self_contained(page):
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source and not re.search(r"url\(|@import|https?://", source)
    images = re.findall(r'src="data:image/png;base64,([^"]*)"', source)
    assert len(images) == source.count("<img") == 9
    assert all(Image.open(io.BytesIO(base64.b64decode(image))).size[0] > 400 for image in images)


def test_every_figure_has_its_files_and_a_caption(page):
    names = {path.stem for path in (page.parent / "figures").glob("*.png")}
    assert names == {
        "matrix", "curve_light", "curve_camera", "crossed_light_camera", "gains_light", "gains_camera",
        "quality_seconds_per_mpx", "seeds", "worst",
    }  # fmt: skip
    for name in names:
        assert (page.parent / "figures" / f"{name}.svg").stat().st_size > 1000
        assert len((page.parent / "figures" / f"{name}.csv").read_text().splitlines()) > 1
    assert not list(page.parent.rglob("*.part"))


def test_the_page_says_what_was_found(page):
    found = text(page)
    assert "Does a denoiser have to be trained at the light it will see?" in found
    assert "Trained at 30 photons, the model keeps 90 %" in found
    assert (
        "1 point of 135 without a result." in found and "loss: expected a finite number, found nan at step 40." in found
    )
    assert "(×4)" in found  # the mitigation's training time and parameters
    assert "bioflax study study=synthetic_light study.size=small" in found
    assert "Filled in by the program from what was done" in found


def test_envelope_and_claims_lie_beside_the_page(page):
    envelope = json.loads((page.parent / "envelope.json").read_text())
    assert envelope["rows"]["photons per pixel 30"]["factors"]["light"]["levels"] == [3, 10, 30, 100, 300]
    claims = list(csv.DictReader((page.parent / "figures" / "claims.csv").read_text().splitlines()))
    assert {claim["kind"] for claim in claims} == {"effect", "help", "rival"}
    assert {claim["verdict"] for claim in claims} <= {"better", "worse", "unclear"}


@pytest.mark.parametrize("make", variants.ALL, ids=lambda make: make.__name__)
def test_hard_cases_have_a_page(tmp_path, make):
    page = render_study(make(tmp_path))
    found = text(page)
    assert {"Answer", "What was run", "Checklist of good practice", "Methods"} <= set(headings(page))
    assert "None" not in found and "nan" not in found.replace("found nan at step", "") and " inf" not in found
    if make is variants.all_failed:
        assert "45 points of 45 without a result" in found and "Factor by factor" not in headings(page)
    if make is variants.architectures:
        assert "s / Mpx" in found and "memory (MB)" in found and "FLOPs / px" in found
        assert (page.parent / "figures" / "quality_seconds_per_mpx.png").exists()
    if make is variants.images:
        assert "What the training had" in headings(page)
    if make is variants.names_only:
        assert "No threshold could be computed" in found
    if make in (variants.one_seed, variants.one_number):
        assert "One seed only" in found


def test_html_in_names_stays_text(tmp_path):
    folder = variants.edit(variants.one_number(tmp_path), lambda study: study.update(question="<b>Why?</b>"))
    assert "&lt;b&gt;Why?&lt;/b&gt;" in render_study(folder).read_text(encoding="utf-8")


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"study\.json"):
        render_study(tmp_path)
