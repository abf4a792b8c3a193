"""What the Hydra mains share: the plain config, the overrides, and the run folder of a sweep."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bioflax.configuration import FAILURES, run
from bioflax.errors import InputError


def settings(config: Any) -> tuple[dict[str, Any], list[str], Path]:
    """Returns the resolved config as plain dicts, the user's overrides and the run folder.

    In a sweep (`-m`) every job gets a folder of its own below `run_dir`, named by a hash of its overrides.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    folder = Path(str(plain.get("run_dir", ".")))
    if hydra.mode == RunMode.MULTIRUN and "run_dir" in plain:
        kept = sorted(part for part in overrides if not part.startswith("run_dir="))
        folder = folder / hashlib.sha256("\n".join(kept).encode()).hexdigest()[:10]
    return plain, overrides, folder


def collected(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wraps a Hydra main: what a job raises is kept for the exit code, and the other jobs of a sweep go on."""

    @functools.wraps(function)
    def guarded(config: Any) -> None:
        try:
            function(config)
        except Exception as failure:
            FAILURES.append(failure)

    return guarded


def flag(name: str, value: Any) -> bool:
    """true or false, and nothing that Python would take for one of them."""
    if not isinstance(value, bool):
        raise InputError(f"{name}: expected true or false, found {value!r}.")
    return value


def names(name: str, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{name}: expected a list such as [gaussian,median], found {value!r}.")
    return tuple(value)


def prepare_compute() -> None:
    """Settings of the process that make computing faster; before the first computation."""
    from bioflax.ops.memory import keep_freed_memory

    keep_freed_memory()


def experiment_name() -> str | None:
    """The `experiment=` that was chosen."""
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get().runtime.choices.get("experiment")


def optional(value: Any) -> Any:
    """`auto` in YAML is None in Python."""
    return None if value == "auto" else value


def positive(name: str, value: Any) -> float:
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InputError(f"{name}: expected a number above 0, found {value!r}.")
    return float(value)


def number(name: str, value: Any, least: float = 0.0) -> float:
    """A number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise InputError(f"{name}: expected a number of at least {least:g}, found {value!r}.")
    return float(value)


def whole(name: str, value: Any, *, least: int) -> int | None:
    """A whole number of at least `least`, or null."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InputError(f"{name}: expected null or a whole number of at least {least}, found {value!r}.")
    return value


def tile_size(value: Any) -> Any:
    """`auto`, or a positive number of pixels."""
    if value in ("auto", None):
        return "auto"
    if not isinstance(value, int) or value < 1:
        raise InputError(f"tile: expected a positive number of pixels or auto, found {value!r}.")
    return value


def start(command: str, main: Callable[[], Any]) -> None:
    """`python experiments/COMMAND.py [overrides]` does what `bioflax COMMAND [overrides]` does."""
    raise SystemExit(run(command, sys.argv[1:], main))
