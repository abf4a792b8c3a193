"""The README is true: its map names what there is, its commands compose, its Python runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from bioflax.cli import USAGE
from bioflax.configuration import COMMANDS, build
from bioflax.errors import InputError
from bioflax.functional import outline

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.S)
SHELL = [
    line.split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.splitlines()
    if line.strip()
]
USED = [line.strip() for line in USAGE.splitlines() if line.strip().startswith("bioflax ") and "=" in line]


def test_the_map_names_every_room() -> None:
    lines = next(text for kind, text in BLOCKS if kind == "" and text.startswith("bioflax/")).splitlines()
    inside = lines[1 : next(n for n, line in enumerate(lines) if line.startswith("experiments/"))]
    named = {name.strip("/") for line in inside for name in re.findall(r"^ {2}((?:[\w.]+/? )+)", line + " ")[0].split()}
    found = {path.name for path in (ROOT / "bioflax").iterdir() if path.name not in ("__init__.py", "__pycache__")}
    rooms = {path for path in found if (ROOT / "bioflax" / path).is_dir()} | {
        path for path in found if path.endswith(".py")
    }
    missing = rooms - named
    assert not missing, f"the map lacks {missing}"
    for name in named:
        inner = any((ROOT / "bioflax" / room / f"{name}.py").exists() for room in rooms if not room.endswith(".py"))
        assert name in rooms or inner, f"the map names {name}, which is not there"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize("line", [line for line in SHELL + USED if line.startswith("bioflax ")])
def test_its_commands_compose(line) -> None:
    _, command, *overrides = shlex.split(line)
    assert command in COMMANDS
    overrides = [part for part in overrides if part != "-m"]
    # A sweep's list is one value after the other for each job; the first job stands for all.
    overrides = [re.sub(r"=([^=\[(,]+),.*", r"=\1", part) for part in overrides]
    with initialize_config_module("bioflax.conf", version_base="1.3"):
        config = compose(command, overrides=overrides)
    if command == "train":
        check_parts(OmegaConf.to_container(config, resolve=True))


def check_parts(config: dict) -> None:
    """What an overlay sets must be an argument of the part that was chosen in the end."""
    assert outline(lambda rngs: build(config["model"], rngs=rngs)).receptive_field > 0
    for name in ("task", "data"):
        try:
            assert build(config[name], name) is not None
        except InputError as failure:  # files that are not there are no fault of the command
            assert "argument" not in str(failure), failure


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_its_python_runs(tmp_path, monkeypatch) -> None:
    code = [text for kind, text in BLOCKS if kind == "python"]
    scope: dict = {}
    exec(code[0], scope)
    assert scope["net"].channels_in == 1
    compile(code[1], "README.md", "exec")


def test_packages_are_the_folders() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "bioflax").rglob("__init__.py")]
    assert set(listed) == {".".join(folder.parts) for folder in folders} | {"bioflax.conf", "bioflax.experiments"}
