"""The evaluation against closed forms on tiny images."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bioflax.errors import InputError
from bioflax.evaluation import EvaluationItem, Scoring, evaluate
from bioflax.evaluation.methods import Methods, item_of, load
from bioflax.evaluation.pictures import FREQUENCIES, busiest, middle
from bioflax.evaluation.scoring import choose_scoring
from bioflax.report import render_evaluation

SIDE = 48


def clean(seed: int) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    spots = np.random.default_rng(seed).uniform(0, SIDE, (5, 2))
    return 40 + sum(120 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 60) for a, b in spots)


def item(seed: int, *, sigma: float = 20.0, dtype: type = np.float32, group: str | None = None) -> EvaluationItem:
    target = clean(seed)
    noisy = target + np.random.default_rng(100 + seed).normal(0, sigma, target.shape)
    limit = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
    images = [np.clip(image, *limit).astype(dtype) for image in (noisy, target)]
    return EvaluationItem(f"item{seed}", lambda: images[0], lambda: images[1], group)


def run(items, predict, folder: Path, **options):
    return evaluate(items, predict, run_dir=folder, console=Console(file=io.StringIO()), **{"baselines": (), **options})


def halfway(items):
    """A model with a known answer: half of the error is left, a gain of exactly 6.02 dB."""
    truth = {np.asarray(i.noisy()).astype(np.float32).tobytes(): np.asarray(i.target(), np.float32) for i in items}
    return lambda noisy: {"image": (noisy + truth[noisy.tobytes()]) / 2}


def test_gain_of_a_model_that_halves_the_error(tmp_path):
    items = [item(seed) for seed in range(4)]
    result = run(items, halfway(items), tmp_path, bounds=("oracle_gaussian", "oracle_wiener"))
    gain = result.versus["input"]
    assert gain["mean"] == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert gain["low"] == pytest.approx(gain["mean"], abs=1e-3)
    assert gain["n"] == 4
    assert result.harmed == ()
    assert list(result.summary) == ["input", "model", "oracle_gaussian", "oracle_wiener"]
    wiener, gaussian = (
        result.summary[name]["metrics"]["psnr_db"]["mean"] for name in ("oracle_wiener", "oracle_gaussian")
    )
    assert wiener > gaussian > result.summary["input"]["metrics"]["psnr_db"]["mean"] + 3


def test_entries_for_the_result_file(tmp_path):
    items = [item(seed) for seed in range(3)]
    result = run(items, halfway(items), tmp_path, baselines=("gaussian",), reference_frames=50)
    entries = json.loads(json.dumps(result.entries(), allow_nan=False))
    names = {"psnr_db", "si_psnr_db", "ssim", "nrmse", "frc_resolution_px"}
    assert set(entries["metrics"]) == set(entries["bounds"]) == set(entries["baselines"]["gaussian"]) == names
    assert set(entries["baselines"]) == {"input", "gaussian"}
    assert entries["bounds"] == entries["bounds_by_method"]["oracle_wiener"]
    ceiling = entries["bounds_by_method"]["reference_ceiling"]["psnr_db"]
    assert ceiling == pytest.approx(entries["baselines"]["input"]["psnr_db"] + 10 * np.log10(49))
    low, high = entries["intervals"]["psnr_db"]
    assert low <= entries["metrics"]["psnr_db"] <= high
    assert entries["items"] == 3
    assert "max - min of the target" in entries["protocol"]


def test_harm_is_named(tmp_path):
    items = [item(seed) for seed in range(3)]
    result = run(items, lambda noisy: noisy[::-1], tmp_path, bounds=())
    assert result.harmed == ("item0", "item1", "item2")
    assert result.versus["input"]["mean"] < 0


def test_files_of_an_evaluation(tmp_path):
    items = [item(seed) for seed in range(3)]
    run(items, halfway(items), tmp_path, baselines=("gaussian", "median"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["crops.npz", "summary.json", "table.csv"]
    with (tmp_path / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 6
    assert [row["method"] for row in rows[:6]] == [
        "input",
        "gaussian",
        "median",
        "model",
        "oracle_gaussian",
        "oracle_wiener",
    ]
    assert rows[0]["seconds_per_megapixel"] == rows[0]["ence"] == ""
    assert float(rows[3]["seconds_per_megapixel"]) > 0
    with np.load(tmp_path / "crops.npz", allow_pickle=False) as arrays:
        assert arrays["input_2"].shape == arrays["target_2"].shape == (SIDE, SIDE)
        assert arrays["methods"].tolist()[::2] == ["input", "model"]
        assert np.all(np.diff(arrays["gains"]) >= 0)
        assert arrays["frc_model"].shape == arrays["power_target"].shape == FREQUENCIES.shape


def test_printed_table(tmp_path):
    items = [item(seed, dtype=np.uint8) for seed in range(3)]
    page = io.StringIO()
    model = lambda noisy: noisy  # noqa: E731
    evaluate(
        items,
        model,
        run_dir=tmp_path,
        baselines=("gaussian",),
        reference_frames=50,
        console=Console(file=page, width=80),
    )
    text = page.getvalue()
    places = [text.index(name) for name in ("input", "gaussian", "model", "oracle_gaussian", "oracle_wiener")]
    assert places == sorted(places)
    assert "95 % interval" in text
    assert "…" not in text  # nothing is cut off in a terminal of 80 columns
    assert "range: 255; images clipped to [0, 255]" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_eight_bit_protocol_is_the_published_one(tmp_path):
    items = [item(0, dtype=np.uint8, sigma=30)]
    result = run(items, lambda noisy: noisy + 0.0, tmp_path, bounds=())
    noisy, target = (np.asarray(image(), float) for image in (items[0].noisy, items[0].target))
    expected = 20 * np.log10(255) - 10 * np.log10(np.mean((np.clip(noisy, 0, 255) - target) ** 2))
    assert result.summary["input"]["metrics"]["psnr_db"]["mean"] == pytest.approx(expected, abs=1e-4)
    assert result.summary["input"]["metrics"]["psnr_db"]["low"] is None  # one image has no interval


def test_clipping_helps_only_out_of_range_values():
    target = clean(0)
    image = target.copy()
    image[:5] = 900
    clipped = Scoring(255.0, (0.0, 255.0), affine=False).score(image, target, None, "gaussian")
    plain = Scoring(255.0, None, affine=False).score(image, target, None, "gaussian")
    assert clipped["psnr_db"] > plain["psnr_db"] + 5


def test_affine_scoring_ignores_gain_and_offset(tmp_path):
    target = clean(3)
    scoring = Scoring(None, None, affine=True)
    noisy = target + np.random.default_rng(0).normal(0, 5, target.shape)
    first = scoring.score(noisy, target, None, "gaussian")
    second = scoring.score(0.01 * noisy - 7, target, None, "gaussian")
    assert first["psnr_db"] == pytest.approx(second["psnr_db"], abs=1e-9)
    low, high = np.percentile(target, (0.1, 99.9))
    assert first["psnr_db"] == pytest.approx(20 * np.log10((high - low) / 5), abs=0.2)
    scaled = EvaluationItem("pair", lambda: 0.1 * noisy + 3, lambda: target)
    result = run([scaled], lambda image: image, tmp_path, affine=True)
    means = {method: entry["metrics"]["psnr_db"]["mean"] for method, entry in result.summary.items()}
    assert means["oracle_wiener"] > means["input"] + 3  # the oracle saw the truth in the unit of the noisy image
    assert "least-squares match" in result.scoring.caption


@pytest.mark.parametrize(
    ("dtype", "data_range", "clip", "affine", "expected"),
    [
        (np.uint8, None, None, False, Scoring(255.0, (0.0, 255.0), False)),
        (np.uint16, None, None, False, Scoring(None, None, False)),
        (np.float32, 255, None, False, Scoring(255, (0.0, 255.0), False)),
        (np.uint8, None, None, True, Scoring(None, None, True)),
        (np.float32, 1.0, (0, 1), False, Scoring(1.0, (0.0, 1.0), False)),
    ],
)
def test_default_protocols(dtype, data_range, clip, affine, expected):
    assert choose_scoring(np.dtype(dtype), data_range, clip, affine) == expected


def test_calibrated_spread_has_its_coverage(tmp_path):
    sigma = 4.0
    target = clean(0)
    image = target + np.random.default_rng(1).normal(0, sigma, target.shape)
    pair = EvaluationItem("a", lambda: target + 10, lambda: target)
    result = run([pair], lambda _: {"image": image, "scale": np.full_like(target, sigma)}, tmp_path, bounds=())
    found = result.summary["model"]["metrics"]
    assert found["coverage_95"]["mean"] == pytest.approx(0.95, abs=0.015)
    assert found["ence"]["mean"] < 0.2
    assert "coverage_95" not in result.summary["input"]["metrics"]
    with np.load(tmp_path / "crops.npz") as arrays:
        assert arrays["scale_0"].shape == target.shape


def test_intervals_resample_whole_fields(tmp_path):
    """Copies of one image are no new evidence."""
    copies = [EvaluationItem(f"a{k}", item(0).noisy, item(0).target, "a") for k in range(5)]
    copies += [EvaluationItem(f"b{k}", item(1, sigma=60).noisy, item(1).target, "b") for k in range(5)]
    grouped = run(copies, lambda noisy: noisy, tmp_path / "x", bounds=())
    alone = [EvaluationItem(i.name, i.noisy, i.target) for i in copies]
    single = run(alone, lambda noisy: noisy, tmp_path / "y", bounds=())
    wide, narrow = (r.summary["input"]["metrics"]["psnr_db"] for r in (grouped, single))
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_stacks_are_judged_whole(tmp_path):
    target = np.stack([clean(0), clean(1), clean(2)])
    noisy = target + np.random.default_rng(2).normal(0, 20, target.shape)
    pair = {"name": "stack", "noisy": lambda: noisy, "target": lambda: target}
    result = run([pair], lambda image: image, tmp_path, baselines=("gaussian",))
    assert (
        result.summary["gaussian"]["metrics"]["psnr_db"]["mean"] > result.summary["input"]["metrics"]["psnr_db"]["mean"]
    )
    with np.load(tmp_path / "crops.npz") as arrays:
        assert arrays["input_0"].shape == (SIDE, SIDE)


def test_progress_is_told(tmp_path):
    seen = []
    run(
        [item(0), item(1)], lambda n: n, tmp_path, bounds=(), on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_constant_targets_are_left_out(tmp_path):
    flat = EvaluationItem("001", item(9).noisy, lambda: np.full((SIDE, SIDE), 50.0))
    result = run([flat, item(0), item(1)], lambda noisy: noisy * 0.5 + 20, tmp_path, bounds=())
    assert np.isnan([result.rows[0][name] for name in ("psnr_db", "si_psnr_db", "ssim", "nrmse")]).all()
    assert result.summary["model"]["metrics"]["psnr_db"]["n"] == 2
    with np.load(tmp_path / "crops.npz", allow_pickle=False) as arrays:
        assert "001" not in arrays["names"]
        assert np.isfinite(arrays["gains"]).all()
        assert arrays["power_target"].min() > 1e-20
    given = Scoring(255.0, None, affine=False).score(np.full((20, 20), 60.0), np.full((20, 20), 50.0), None, "gaussian")
    assert given["psnr_db"] == pytest.approx(20 * np.log10(25.5))
    page = render_evaluation(tmp_path).read_text(encoding="utf-8")
    assert "Left out of the means, as their target is constant: 1." in page
    assert "<td>001</td>" in page or ">001<" in page


def test_equal_images_leave_finite_files(tmp_path):
    result = run([item(0)], lambda _: item(0).target(), tmp_path, bounds=())
    assert result.rows[-1]["psnr_db"] == np.inf
    assert "psnr_db" not in result.summary["model"]["metrics"]
    json.loads((tmp_path / "summary.json").read_text())
    result.table()


@pytest.mark.parametrize(
    ("items", "options", "text"),
    [
        ([], {}, "input: expected at least one image with a target, found none"),
        ([item(0)], {"baselines": ("bm3d",)}, "baselines: expected names of gaussian, median, nlm, tv, wavelet"),
        ([item(0)], {"bounds": ("best",)}, "bounds: expected names of oracle_gaussian, oracle_wiener"),
        ([item(0)], {"data_range": 0}, "data_range: expected a positive number or null, found 0"),
        ([item(0)], {"clip": (1, 0)}, r"clip: expected two numbers, low below high, or null, found \(1, 0\)"),
    ],
)
def test_wrong_arguments(items, options, text, tmp_path):
    with pytest.raises(InputError, match=text):
        run(items, lambda noisy: noisy, tmp_path, **options)


def test_wrong_images(tmp_path):
    pair = EvaluationItem("a", lambda: np.zeros((32, 32)), lambda: np.zeros((32, 31)))
    with pytest.raises(InputError, match=r"target: a is \(32, 31\), its input is \(32, 32\); they must be equal"):
        load(pair)
    with pytest.raises(InputError, match="at least 16 px a side"):
        load(EvaluationItem("a", lambda: np.zeros((8, 32)), lambda: np.zeros((8, 32))))
    with pytest.raises(InputError, match=r"predict: expected an image of shape \(48, 48\), found \(24, 48\)"):
        run([item(0)], lambda noisy: noisy[:24], tmp_path)


def test_items_of_any_form():
    class Own:
        name, group = "own", "field"

        def noisy(self) -> np.ndarray:
            return np.ones((16, 16))

        target = noisy

    assert item_of(Own()).group == "field"
    assert item_of({"name": "d", "noisy": Own().noisy, "target": Own().target}).name == "d"


def test_only_named_methods_run():
    calls = []
    methods = Methods(
        lambda n: calls.append(1) or n, ("gaussian", "nlm"), ("oracle_wiener",), Scoring(None, None, False)
    )
    found = [m for m, *_ in methods.run(clean(0), clean(0), only=("input", "oracle_wiener"))]
    assert (found, calls) == (["input", "oracle_wiener"], [])


def test_busiest_window_and_middle_plane():
    image = np.zeros((100, 80))
    image[70:90, 50:70] = np.random.default_rng(0).normal(size=(20, 20))
    rows, columns = busiest(image, 40)
    assert rows.start <= 70 < 90 <= rows.stop
    assert columns == slice(40, 80)
    assert middle(np.arange(24).reshape(3, 2, 4))[0, 0] == 8
