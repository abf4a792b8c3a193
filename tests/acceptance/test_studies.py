"""Studies under stress: killed at any moment, under every launcher, and all small ones in their time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.studies.tiny import STUDY

pytestmark = pytest.mark.acceptance
KILLS = 5


@pytest.fixture(scope="module")
def conf(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "study").mkdir()
    (folder / "study" / "tiny.yaml").write_text(STUDY.replace("train.steps=4", "train.steps=40"))
    return folder


def command(conf: Path, folder: Path, *overrides: str) -> list[str]:
    program = "import sys; from bioflax.cli import main; sys.exit(main())"
    return [
        sys.executable,
        "-c",
        program,
        "study",
        "--config-dir",
        str(conf),
        "study=tiny",
        f"run_dir={folder}",
        *overrides,
    ]


@pytest.fixture(scope="module")
def unbroken(conf, tmp_path_factory) -> tuple[Path, float]:
    folder, begun = tmp_path_factory.mktemp("unbroken") / "tiny", time.monotonic()
    subprocess.run(command(conf, folder), check=True)
    return folder, time.monotonic() - begun


def finished_models(store: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns for path in store.glob("*/result.json") if '"status": "ok"' in path.read_text()
    }


def test_killed_five_times_it_ends_with_the_same_table(conf, unbroken, tmp_path) -> None:
    folder, takes = unbroken
    broken, draw = tmp_path / "tiny", random.Random(6)
    for _ in range(KILLS):
        process = subprocess.Popen(command(conf, broken), start_new_session=True)
        # The start itself takes seconds; what follows is shorter each time, since it goes on.
        time.sleep(draw.uniform(0.1, 0.5) * takes)
        before = finished_models(broken.parent / "models")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after = finished_models(broken.parent / "models")
        assert all(after[path] == time_ns for path, time_ns in before.items())
    kept = finished_models(broken.parent / "models")
    subprocess.run(command(conf, broken), check=True)
    last = finished_models(broken.parent / "models")
    assert all(last[path] == time_ns for path, time_ns in kept.items()), "a finished model was trained again"
    assert (broken / "table.csv").read_bytes() == (folder / "table.csv").read_bytes()
    assert (broken / "envelope.json").read_bytes() == (folder / "envelope.json").read_bytes()


@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["study.workers=2", "hydra/launcher=local"],
    ],
    ids=["joblib", "submitit"],
)
def test_every_launcher_gives_the_same_table(conf, unbroken, tmp_path, launcher) -> None:
    subprocess.run(command(conf, tmp_path / "tiny", *launcher), check=True)
    assert (tmp_path / "tiny" / "table.csv").read_bytes() == (unbroken[0] / "table.csv").read_bytes()
