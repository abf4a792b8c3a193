"""Pages are made from files alone, hold what was measured, and nothing that must be fetched."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation import EvaluationItem, evaluate
from bioflax.preflight import inspect, write
from bioflax.report import render, render_evaluation, render_preflight, render_train

VOID = {"meta", "img", "br", "link"}


class Balance(HTMLParser):
    """Fails on tags that do not nest; counts pictures and collects all sources."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path: Path) -> Balance:
    page = Balance()
    source = path.read_text(encoding="utf-8")
    page.feed(source)
    assert page.open == []
    assert "<script" not in source
    assert all(value.startswith("data:image/png;base64,") for value in page.sources)
    assert not re.search(r"url\(|@import|https?://", source)
    return page


def words(page: Balance) -> str:
    return " ".join(" ".join(page.text).split())


def scene(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return 20 + 100 * np.exp(-((y - 30) ** 2 + (x - 25) ** 2) / 200)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    run_dir = tmp_path / "first_run"
    run_dir.mkdir()
    lines = [{"step": s, "seconds": s / 2, "loss": 1 / s, "examples_per_s": 40.0, "mse": 2 / s} for s in range(1, 60)]
    lines += [{"step": s, "seconds": s / 2, "validation_loss": 1.2 / s, "psnr_db": 30.0} for s in (20, 40, 59)]
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 60, "sec'
    (run_dir / "metrics.jsonl").write_text(text)
    (run_dir / "config.yaml").write_text("train:\n  steps: 59  # <b>not bold</b>\n")
    clean = np.stack([scene(), scene()[::-1]])
    noisy = clean + np.random.default_rng(0).normal(0, 10, clean.shape)
    arrays = {"input": noisy, "output": (noisy + clean) / 2, "target": clean, "scale": np.ones_like(clean)}
    np.savez(run_dir / "preview.npz", names=np.array(["one", "two"]), **arrays)
    return run_dir


def test_page_of_a_training_run(training):
    result = {
        "status": "ok", "error": None, "experiment": "denoise_quick", "task": "denoise", "seed": 7, "steps": 59,
        "seconds": {"compile": 3.0, "train": 95.0}, "metrics": {"psnr_db": 31.25, "ssim": 0.9},
        "bounds": {"psnr_db": 33.5}, "baselines": {"gaussian": {"psnr_db": 30.5}}, "device": "cpu",
        "versions": {"jax": "0.10.2"}, "overrides": ["train.steps=59"],
    }  # fmt: skip
    (training / "result.json").write_text(json.dumps(result))
    page = read(render_train(training))
    text = words(page)
    assert "Training: denoise_quick" in text
    for expected in ("31.25 dB", "1 min 35 s", "40.0 examples / s", "33.500", "30.500", "0.10.2", "train.steps=59"):
        assert expected in text
    assert "0.02034 (step 59)" in text
    assert "<b>not bold</b>" in text  # escaped: shown as text
    assert len(page.sources) == 1 + 2 + 2 + 1
    names = {p.name for p in (training / "figures").iterdir()}
    assert names == {
        "loss.png", "training_numbers.png", "validation_numbers.png", "preview_0.png", "preview_1.png", "spectra.png",
    }  # fmt: skip


def test_page_of_a_run_that_goes_on_or_failed(training):
    (training / "preview.npz").unlink()
    assert "running" in words(read(render_train(training)))
    (training / "result.json").write_text(json.dumps({"status": "failed", "error": "loss is NaN at step 31"}))
    text = words(read(render_train(training)))
    assert "The run failed: loss is NaN at step 31" in text
    assert "failed" in text


def test_page_without_a_target(training):
    with np.load(training / "preview.npz") as stored:
        kept = {name: stored[name] for name in ("input", "output")}
    np.savez(training / "preview.npz", **kept)
    text = words(read(render_train(training)))
    assert "the gap between input and output" in text
    assert "Errors" not in text


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    items = []
    for k in range(3):
        noisy = scene() + np.random.default_rng(k).normal(0, 10, (64, 64))
        items.append(EvaluationItem(f"image_{k}", lambda noisy=noisy: noisy, scene))
    predict = lambda noisy: {"image": (noisy + scene()) / 2, "scale": np.full(noisy.shape, 5.0)}  # noqa: E731
    folder = tmp_path / "evaluation"
    evaluate(items, predict, run_dir=folder, baselines=("gaussian",), console=Console(file=io.StringIO()))
    return folder


def test_page_of_an_evaluation(evaluation):
    page = read(render_evaluation(evaluation))
    text = words(page)
    for expected in (
        "oracle wiener",
        "gain over the input +6.02 dB",
        "Least gain",
        "Largest gain",
        "image_2",
        "3 images",
    ):
        assert expected in text
    assert "max - min of the target" in text
    assert len(page.sources) == 1 + 3 + 1 + 1
    assert "made worse 0" in text


def test_page_of_an_evaluation_names_the_harmed(evaluation):
    summary = json.loads((evaluation / "summary.json").read_text())
    (evaluation / "summary.json").write_text(json.dumps({**summary, "harmed": ["image_1"]}))
    assert "Made worse than the input: image_1" in words(read(render_evaluation(evaluation)))


@pytest.fixture
def preflight(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    raw.mkdir()
    generator = np.random.default_rng(0)
    for k in range(3):
        image = scene(96) * 10 + 30 * generator.normal(size=(96, 96))
        smooth = (image + np.roll(image, 1, 0)) / 2
        Image.fromarray(image.astype(np.uint16)).save(raw / f"sharp_{k}.png")
        Image.fromarray(smooth.astype(np.uint16)).save(raw / f"grainy_{k}.png")
    write(inspect(raw), tmp_path / "preflight")
    return tmp_path / "preflight"


def test_page_of_a_preflight(preflight):
    page = read(render_preflight(preflight))
    text = words(page)
    assert "Train with noise2noise: 2 of 2 groups" in text
    assert "grainy: the noise of neighbouring pixels is correlated (lag 1: Y 0." in text
    assert "sharp: the noise" not in text
    assert len(page.sources) == 2 + 2 + 2
    assert "Pre-flight: raw" in text


def test_page_without_arrays_still_has_its_words(preflight):
    (preflight / "preflight.npz").unlink()
    page = read(render_preflight(preflight))
    assert page.sources == []
    assert "grainy" in words(page)


def test_page_of_single_frames_and_of_blanks(tmp_path):
    write(inspect(np.random.default_rng(1).poisson(40, (64, 64)).astype(np.uint16), axes="YX"), tmp_path / "one")
    text = words(read(render_preflight(tmp_path / "one")))
    assert "estimated in their smoothest blocks" in text
    assert "one scene cannot tell" in text
    write(inspect(np.zeros((64, 64), np.uint16), axes="YX"), tmp_path / "none")
    assert "every frame is blank" in words(read(render_preflight(tmp_path / "none")))


def test_render_finds_out_what_a_folder_holds(training, evaluation, preflight, tmp_path):
    for folder, title in ((training, "Training"), (evaluation, "Evaluation"), (preflight, "Pre-flight")):
        assert f"<h1>{title}" in render(folder).read_text()
        assert not list(folder.rglob("*.part"))
    with pytest.raises(InputError, match=r"dir: expected a folder with one of preflight\.json, summary\.json"):
        render(tmp_path / "raw")


@pytest.mark.parametrize(
    ("renderer", "text"),
    [
        (render_train, "dir: no metrics.jsonl"),
        (render_evaluation, "dir: no summary.json and table.csv"),
        (render_preflight, "dir: no preflight.json"),
    ],
)
def test_missing_files(renderer, text, tmp_path):
    with pytest.raises(InputError, match=text):
        renderer(tmp_path)


def test_damaged_files(training, preflight):
    (training / "preview.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"preview\.npz: expected arrays, found a damaged file"):
        render_train(training)
    (preflight / "preflight.json").write_text("{")
    with pytest.raises(InputError, match=r"preflight\.json: expected JSON, found a damaged file"):
        render_preflight(preflight)
    (training / "metrics.jsonl").write_text('{"step": 1\n{"step": 2, "loss": 1}\n')
    with pytest.raises(InputError, match="line 1 is no JSON"):
        render_train(training)
