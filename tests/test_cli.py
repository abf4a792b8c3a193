"""The command: help at once, exit codes, sweeps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bioflax.cli import main
from bioflax.configuration import COMMANDS, as_text, explain, run
from bioflax.errors import InputError, TrainingError, require

BIOFLAX = [sys.executable, "-m", "bioflax.cli"]


def test_help_comes_at_once() -> None:
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        done = subprocess.run([*BIOFLAX, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.5
    assert all(command in done.stdout for command in COMMANDS)


def test_a_reader_that_leaves_is_no_error() -> None:
    shell = f"{sys.executable} -m bioflax.cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_imports_no_jax() -> None:
    code = "import sys; from bioflax.cli import main; main(['--help']); sys.exit('jax' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_every_command_has_a_script_and_a_config() -> None:
    root = Path(__file__).resolve().parents[1]
    for command in COMMANDS:
        assert (root / "experiments" / f"{command}.py").exists() and (root / "conf" / f"{command}.yaml").exists()


def test_unknown_command(capsys) -> None:
    assert main(["tarin"]) == 2
    assert "unknown command 'tarin'. There are: train, evaluate" in capsys.readouterr().err


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (InputError("field: wrong"), 2, "field: wrong"),
        (OSError(28, "No space left on device", "x.tif"), 2, "No space left on the disk"),
        (PermissionError(13, "Permission denied", "x.tif"), 2, "x.tif"),
        (TrainingError("not finite at step 3"), 1, "not finite at step 3"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero (debug=true shows where)"),
    ],
)
def test_failures_have_a_code_and_a_line(failure, code, text) -> None:
    found, line = explain(failure)
    assert found == code and text in line and "\n" not in line


@pytest.mark.parametrize(
    "typed, read",
    [
        ("input=raw/[CT]*", "raw/[CT]*"),
        ("input=a b (1).tif", "a b (1).tif"),
        ("input=it's.tif", "it's.tif"),
        ("input='quoted [1]'", "quoted [1]"),
        ("seed=3", 3),
        ("data.axes=null", None),
    ],
)
def test_values_that_hydra_cannot_read_are_texts(typed, read) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(as_text(typed)).value()
    assert parsed == read
    assert as_text("-m") == "-m"


def test_debug_shows_the_traceback(tmp_path) -> None:
    with pytest.raises(InputError):
        run("preflight", [f"input={tmp_path / 'nothing'}", "debug=true"])


def test_a_missing_extra_names_what_to_install() -> None:
    with pytest.raises(InputError, match=r'pip install "bioflax\[report\]"'):
        require("a_library_that_is_not_there", "report")


def test_a_sweep_gives_every_job_a_folder(tmp_path) -> None:
    overrides = [
        "-m", "experiment=denoise_simulated", "seed=1,2", f"run_dir={tmp_path}", "backbone.width=4", "backbone.depth=1",
        "data.simulator.size=32", "data.validation=2", "train.steps=2", "train.batch=2", "train.validate_every=2",
        "train.checkpoint_every=2", "train.log_every=2",
    ]  # fmt: skip
    assert run("train", overrides) == 0
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert sorted(result["seed"] for result in results) == [1, 2]
    assert all(result["status"] == "ok" and result["metrics"]["psnr_db"] for result in results)
