"""kill -9 at 20 random moments of a training: each time the same command goes on and ends where it would have, bit for bit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from bioflax.io import save_image

pytestmark = pytest.mark.acceptance
KILLS = int(os.environ.get("BIOFLAX_KILLS", "20"))


def command(images: Path, run_dir: Path) -> list[str]:
    overrides = ["experiment=denoise_n2v", f"data.folder={images}", f"run_dir={run_dir}", "backbone.width=8", "backbone.depth=2",
                 "backbone.norm=batch", "optim=adamw_ema", "data.patch=32", "train.steps=240", "train.batch=4",
                 "train.validate_every=20", "train.checkpoint_every=10", "train.log_every=5"]  # fmt: skip
    return [sys.executable, "-m", "bioflax.cli", "train", *overrides]


def outcome(run_dir: Path) -> tuple[dict, list[dict], dict]:
    weights = safetensors.numpy.load_file(run_dir / "model" / "weights.safetensors")
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    told = [{k: v for k, v in line.items() if k not in ("seconds", "examples_per_s")} for line in lines]
    result = json.loads((run_dir / "result.json").read_text())
    return weights, told, {name: result[name] for name in ("status", "best_step", "metrics", "steps")}


def test_twenty_kills(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        save_image(tmp_path / "images" / f"{name}.tif", rng.poisson(50, (96, 96)).astype(np.uint16), "YX")
    begun = time.monotonic()
    subprocess.run(command(tmp_path / "images", tmp_path / "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - begun
    weights, told, result = outcome(tmp_path / "whole")
    assert result["status"] == "ok"
    moments, equal = random.Random(0), 0
    for number in range(KILLS):
        run_dir = tmp_path / f"killed{number}"
        process = subprocess.Popen(
            command(tmp_path / "images", run_dir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.wait()
        subprocess.run(command(tmp_path / "images", run_dir), check=True, capture_output=True)
        again, told_again, result_again = outcome(run_dir)
        same = all(np.array_equal(weights[path], again[path]) for path in weights) and weights.keys() == again.keys()
        equal += same and told == told_again and result == result_again
        print(f"kill {number + 1}: {'equal' if same else 'DIFFERS'}", flush=True)
    assert equal == KILLS
