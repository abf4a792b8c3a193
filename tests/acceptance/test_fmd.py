"""Real frames: FMD by Noise2Noise and by Noise2Void against the oracles, and 16-bit counts in and out."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bioflax.configuration import run
from bioflax.io import open_image

pytestmark = pytest.mark.acceptance


def judge(model: Path, inputs: str, targets: Path, folder: Path) -> tuple[dict, dict[str, dict[str, float]]]:
    """result.json of an evaluation, and mean PSNR by method and field."""
    overrides = [f"model={model}", f"input='{inputs}'", f"target={targets}", f"run_dir={folder}", "baselines=[]"]
    assert run("evaluate", overrides) == 0
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "table.csv").open() as stream:
        for row in csv.DictReader(stream):
            found[row["method"]][row["group"]].append(float(row["psnr_db"]))
    means = {method: {group: float(np.mean(v)) for group, v in groups.items()} for method, groups in found.items()}
    return json.loads((folder / "result.json").read_text()), means


def test_noise2noise_on_fmd(shared, tmp_path) -> None:
    """A third of the steps of the experiment, so that the suite stays short; docs/results.md has the whole."""
    fmd = shared / "denoising" / "fmd"
    overrides = [
        "experiment=denoise_fmd_n2n",
        f"data.folder={fmd / 'raw'}",
        f"run_dir={tmp_path / 'run'}",
        "train.steps=800",
    ]
    assert run("train", overrides) == 0
    result, means = judge(tmp_path / "run", str(fmd / "raw"), fmd / "gt", tmp_path / "evaluation")
    assert np.mean(list(means["input"].values())) == pytest.approx(27.217, abs=0.002)
    assert np.mean(list(means["oracle_gaussian"].values())) == pytest.approx(34.02, abs=0.02)
    assert np.mean(list(means["oracle_wiener"].values())) == pytest.approx(34.47, abs=0.02)
    assert result["metrics"]["psnr_db"] >= 34.0


def test_noise2void_on_fmd(shared, tmp_path) -> None:
    fmd = shared / "denoising" / "fmd"
    inputs = f"{fmd / 'raw'}/[CT]*"
    assert run("train", ["experiment=denoise_fmd_n2v", f"data.folder='{inputs}'", f"run_dir={tmp_path / 'run'}"]) == 0
    _, means = judge(tmp_path / "run", inputs, fmd / "gt", tmp_path / "evaluation")
    above = [field for field, value in means["model"].items() if value > means["oracle_gaussian"][field]]
    print(
        {field: (round(value, 2), round(means["oracle_gaussian"][field], 2)) for field, value in means["model"].items()}
    )
    assert len(means["model"]) == 9 and len(above) >= 6


@pytest.mark.parametrize("name", ["convallaria16", "nuclei_migration16"])
def test_counts_in_counts_out(shared, tmp_path, name) -> None:
    source = next(p for p in sorted((shared / "denoising" / name).glob("*.tif")) if "high" not in p.name)
    overrides = [
        "experiment=denoise_counts_n2v",
        f"data.folder={source}",
        f"run_dir={tmp_path / 'run'}",
        "train.steps=100",
    ]
    assert run("train", overrides) == 0
    assert run("predict", [f"model={tmp_path / 'run'}", f"input={source}", f"output={tmp_path / 'out'}"]) == 0
    before = open_image(source)
    after = open_image(tmp_path / "out" / source.name)
    assert (after.axes, after.shape, after.dtype) == (before.axes, before.shape, before.dtype)
    assert after.dtype == np.uint16 and after.pixel_nm == before.pixel_nm
    noisy, clean = before.read().astype(float), after.read().astype(float)
    assert abs(clean.mean() - noisy.mean()) < 0.02 * noisy.std()
    assert clean.std() < noisy.std()
