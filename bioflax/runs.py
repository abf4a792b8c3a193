"""The folder of a run: `config.yaml`, `result.json`, and the promise that a name in it is either whole or not there."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioflax.errors import InputError

SCHEMA = 1
PACKAGES = ("bioflax", "jax", "flax", "optax", "orbax-checkpoint", "numpy", "tifffile")
# Settings that may change between a run and its continuation: they do not change what is computed.
FREE = ("debug", "run_dir", "hydra", "licence")


class Run:
    """A context manager around one command.

    Entering writes `config.yaml` and a `result.json` that says `failed: did not finish`, so that even a killed process leaves
    the truth; `finish` replaces it. An exception is noted in it and goes on.

    Args:
        folder: the run folder; made if missing.
        command: name of the command.
        config: the composed configuration, plain dicts.
        overrides: what the user gave on the command line.
        keep_config: refuse to go on in a folder whose run had other settings.
        result: name of the result file. Without `config.yaml` (`write_config=False`) nothing else is written.
    """

    def __init__(
        self,
        folder: str | Path,
        command: str,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        *,
        keep_config: bool = False,
        write_config: bool = True,
        result: str = "result.json",
    ) -> None:
        self.folder = Path(folder)
        self._write_config, self._result_name = write_config, result
        self._config, self._keep = {name: value for name, value in config.items() if name not in FREE}, keep_config
        self.result: dict[str, Any] = {
            "schema": SCHEMA,
            "command": command,
            "task": None,
            "experiment": None,
            "status": "failed",
            "error": "did not finish",
            "seed": config.get("seed"),
            "overrides": list(overrides),
            "steps": None,
            "seconds": {},
            "metrics": {},
            "bounds": {},
            "baselines": {},
            "per_item": None,
            "model": None,
            "versions": {},
            "device": None,
            "git": None,
        }
        self._begun = time.monotonic()

    def __enter__(self) -> Run:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_owner()
        path = self.folder / "config.yaml"
        text = to_yaml(self._config)
        if self._keep and path.exists() and (self.folder / "checkpoints").exists():
            _check_same(path, self._config)
        if self._write_config:
            write_text(path, text)
        self.result.update(versions=find_versions(), git=find_commit())
        self._write()
        return self

    def finish(self, **fields: Any) -> None:
        """Marks the run as done, with these fields of `result.json`."""
        seconds = {"total": time.monotonic() - self._begun, **fields.pop("seconds", {})}
        self.result.update(fields, status="ok", error=None, seconds=seconds)
        self.result["device"] = self.result["device"] or find_device()
        self._write()

    def fail(self, error: str, **fields: Any) -> None:
        """Marks the run as failed."""
        self.result.update(fields, status="failed", error=error)
        self._write()

    def __exit__(self, kind: Any, failure: BaseException | None, trace: Any) -> None:
        if failure is not None and not isinstance(failure, SystemExit):  # an exit has said why already
            try:
                self.fail(" ".join(str(failure).split()) or type(failure).__name__)
            except OSError:  # a full disk: the `failed: did not finish` of the beginning stands
                return

    def _check_owner(self) -> None:
        """Another command's folder is not written over."""
        path = self.folder / self._result_name
        try:
            before = json.loads(path.read_text())["command"] if path.exists() else self.result["command"]
        except (ValueError, KeyError, TypeError):
            before = "something else"
        if before != self.result["command"]:
            raise InputError(
                f"run_dir: {path} belongs to {before}, this is {self.result['command']}. Take another folder, or remove that file."
            )

    def _write(self) -> None:
        write_text(self.folder / self._result_name, json.dumps(plain(self.result), indent=1) + "\n")


def is_finished(folder: str | Path, command: str, config: Mapping[str, Any]) -> bool:
    """True where this command has finished in this folder with these settings, and its model is there."""
    folder = Path(folder)
    try:
        result = json.loads((folder / "result.json").read_text())
        _check_same(folder / "config.yaml", {name: value for name, value in config.items() if name not in FREE})
    except (OSError, ValueError):  # InputError too: other settings
        return False
    done = result.get("command") == command and result.get("status") == "ok"
    return done and (folder / "model" / "card.json").exists()


def write_text(path: Path, text: str) -> None:
    """Writes a file aside and renames it, so that it is whole or not there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def plain(value: Any) -> Any:
    """To JSON types; a number that is not finite becomes null, as JSON has none."""
    if isinstance(value, Mapping):
        return {str(name): plain(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child) for child in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def to_yaml(config: Mapping[str, Any]) -> str:
    """Plain dicts as YAML."""
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def find_versions() -> dict[str, str]:
    """Versions of Python and of what results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def find_device() -> str:
    """Name and number of the JAX devices."""
    import jax

    devices = jax.devices()
    kind = devices[0].device_kind
    return f"{kind} ({platform.machine()}, {os.cpu_count()} cores)" if kind == "cpu" else f"{len(devices)} x {kind}"


def find_commit() -> str | None:
    """The commit of the bioflax checkout, None for an installed package."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _check_same(path: Path, config: Mapping[str, Any]) -> None:
    import yaml

    try:
        before = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError:
        before = {}
    old, new = _flatten(before), _flatten(plain(config))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise InputError(
                f"run_dir: {path.parent} holds a run with {name}={old.get(name)}, this one has {new.get(name)}. "
                "Take another run_dir, delete that folder, or give the same settings to go on with it."
            )


def _flatten(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping):
        flat: dict[str, Any] = {}
        for name, child in node.items():
            flat.update(_flatten(child, f"{path}.{name}" if path else str(name)))
        return flat
    return {path: node}
