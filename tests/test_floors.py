"""Imports run downwards: a file imports from lower floors or its own folder, never upwards, never in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "errors": 0, "typing": 0,
    "optics": 1, "ops": 1, "losses": 1, "metrics": 1, "io": 1,
    "functional": 2, "models": 2, "simulate": 2, "data": 2, "baselines": 2,
    "tasks": 3,
    "train": 4,
    "predict": 5, "hub": 5, "report": 5, "preflight": 5, "evaluation": 5, "runs": 5, "studies": 5,
    "configuration": 6,
    "cli": 7,
}  # fmt: skip
# Who may know a library: {library: files, as prefixes below bioflax/}.
OWNERS = {
    "hydra": ("configuration.py",),
    "omegaconf": ("configuration.py",),
    "orbax": ("train/checkpoint.py",),
    "tifffile": ("io/",),
    "roifile": ("io/",),
    "PIL": ("io/", "report/"),
    "safetensors": ("hub/store.py",),
}
FILES = sorted((ROOT / "bioflax").rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "bioflax").with_suffix("").parts
    return parts[0]


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "bioflax":
                found += [(node.lineno, f"bioflax.{name.name}") for name in node.names]
            else:
                found.append((node.lineno, node.module))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOORS, f"{path.relative_to(ROOT)}: give {here} a floor in tests/test_floors.py"
    for line, name in imports(path):
        if not name.startswith("bioflax."):
            continue
        there = name.split(".")[1]
        if there in (here, "experiments", "conf"):
            assert there == here or here in ("configuration", "cli"), f"{path.relative_to(ROOT)}:{line} imports {name}"
            continue
        assert there in FLOORS, f"{path.relative_to(ROOT)}:{line} imports {name}, which has no floor"
        lower = FLOORS[there] < FLOORS[here]
        same = FLOORS[there] == FLOORS[here] and FLOORS[here] in (2, 5)
        assert lower or same, (
            f"{path.relative_to(ROOT)}:{line} imports {name}: floor {FLOORS[here]} may not import floor {FLOORS[there]}"
        )


@pytest.mark.parametrize("library", OWNERS)
def test_only_its_owner_knows_a_library(library: str) -> None:
    for path in FILES:
        inside = str(path.relative_to(ROOT / "bioflax"))
        for line, name in imports(path):
            if name.split(".")[0] == library:
                assert inside.startswith(OWNERS[library]), f"bioflax/{inside}:{line} imports {name}"


def test_only_functional_and_models_know_nnx() -> None:
    for path in FILES:
        inside = str(path.relative_to(ROOT / "bioflax"))
        if any(name.startswith("flax") for _, name in imports(path)):
            assert inside.startswith(("functional.py", "models/")), f"bioflax/{inside} imports flax"


def test_no_circle_between_rooms() -> None:
    arrows: dict[str, set[str]] = {name: set() for name in FLOORS}
    for path in FILES:
        here = room(path)
        for _, name in imports(path):
            there = name.split(".")[1] if name.startswith("bioflax.") else here
            if there != here and here in FLOORS and there in FLOORS:
                arrows[here].add(there)

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' -> '.join((*above, name))}"
        for below in arrows[name]:
            visit(below, (*above, name))

    for name in FLOORS:
        visit(name, ())


def test_models_import_alone() -> None:
    code = (
        "import sys, bioflax.models; "
        "print([name for name in ('hydra', 'omegaconf', 'orbax', 'tifffile', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scripts_shadow_no_standard_module() -> None:
    scripts = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__"}
    assert not scripts & set(sys.stdlib_module_names)
