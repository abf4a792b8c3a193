"""The one gate from Hydra: a composed config becomes objects here, and nowhere else."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bioflax.errors import InputError

ALLOWED = ("bioflax.", "optax.")
COMMANDS = {
    "train": "train a model on a folder of images or on simulated ones",
    "evaluate": "judge a model against targets, beside classical filters and physical bounds",
    "predict": "restore images, localize emitters, or find objects and spots, as a trained model has learned",
    "study": "find where a model stops working: train x test conditions, with bounds, rivals, envelope and page",
    "preflight": "look into images before anyone trains on them: axes, noise, defects, which scheme fits",
    "simulate": "write simulated images with their truth: clean ones, emitters, nuclei or spots",
    "report": "render the page of a run, an evaluation or a preflight again from its files",
    "models": "list the models of a folder; `models show=NAME` prints a card",
}


# What the jobs of this command raised: a sweep goes on after a failed job, and Hydra adds no line of its own.
FAILURES: list[Exception] = []


def build(config: Any, name: str = "", **arguments: Any) -> Any:
    """Instantiates a config node and everything in it.

    Args:
        config: a node with `_target_`, as composed by Hydra.
        name: what the user calls the node, for errors (`optim`, `data`).
        arguments: further arguments for the outermost constructor.

    Returns:
        The object; lists and dicts in it are plain Python (`_convert_="all"`).

    Raises:
        InputError: a `_target_` outside `bioflax` and `optax`, a constructor's complaint, or an unknown argument.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    _check_targets(plain, "")
    _check_types(plain, name)
    try:
        return instantiate(plain, **arguments, _convert_="all")
    except InstantiationException as failure:
        cause = failure.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        where = str(failure).rpartition("full_key: ")[2].strip() if "full_key: " in str(failure) else "config"
        reason = str(cause or failure).strip().splitlines()[0]
        raise InputError(f"{where}: {reason}") from failure


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any], name: str) -> None:
    """Compares plain values with the annotations of a constructor or function, which are the only schema there is.

    Raises:
        InputError: a text where a number belongs, and the like: `train.steps: expected int, found 'many'`.
    """
    target = function.__init__ if isinstance(function, type) else function
    try:
        hints = typing.get_type_hints(target)
    except (NameError, TypeError):  # annotations that only a type checker resolves
        return
    for key, value in values.items():
        allowed = _plain_types(hints.get(key, Any))
        fits = allowed is None or isinstance(value, tuple(allowed))
        if isinstance(value, bool) and allowed is not None and bool not in allowed:
            fits = False
        if not fits:
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
            raise InputError(
                f"{name}.{key}: expected {expected}, found {value!r}."
                if name
                else f"{key}: expected {expected}, found {value!r}."
            )


def _plain_types(hint: Any) -> list[type] | None:
    """The types that a plain value may have, or None where the annotation says more than that."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    # A scalar is no list, so only the other alternatives of `int | Sequence[int]` count.
    parts = [part for part in (typing.get_args(hint) if union else (hint,)) if typing.get_origin(part) is not Sequence]
    if not parts or any(part not in (int, float, bool, str, type(None)) for part in parts):
        return None
    return [*parts, int] if float in parts and int not in parts else list(parts)


def _check_types(node: Any, path: str) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node:
            function = _locate(str(node["_target_"]), path)
            values = {
                key: value
                for key, value in node.items()
                if not (key.startswith("_") or isinstance(value, (Mapping, list)))
            }
            check_arguments(function, values, path)
        for key, child in node.items():
            _check_types(child, f"{path}.{key}" if path else str(key))


def _locate(target: str, path: str) -> Callable[..., Any]:
    module, _, attribute = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise InputError(f"{path or 'config'}._target_: there is no {target!r}.") from None


def _check_targets(node: Any, path: str) -> None:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None and not str(target).startswith(ALLOWED):
            raise InputError(
                f"{path or 'config'}._target_: only {' and '.join(name + '*' for name in ALLOWED)} may be built, found {target!r}."
            )
        for name, child in node.items():
            _check_targets(child, f"{path}.{name}" if path else str(name))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for number, child in enumerate(node):
            _check_targets(child, f"{path}[{number}]")


def run(command: str, overrides: Sequence[str], main: Callable[[], Any] | None = None) -> int:
    """Runs one command under Hydra and turns every failure into an exit code and one line.

    Args:
        command: a name in `COMMANDS`.
        overrides: Hydra overrides, such as `experiment=denoise_fmd_n2n data.folder=./images`.
        main: the decorated Hydra main; default is that of `bioflax.experiments.<command>`.

    Returns:
        0 when it worked, 1 for a failure of the program, 2 for bad input, 128 + n when signal n ended it.
    """
    FAILURES.clear()
    debug = any(part.replace(" ", "").lower() == "debug=true" for part in overrides)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints and exits itself
    try:
        sys.argv = [f"bioflax {command}", *map(as_text, overrides)]
        if main is None:
            main = importlib.import_module(f"bioflax.experiments.{command}").main
        main()
        if FAILURES:
            raise FAILURES[0]
        return 0
    except KeyboardInterrupt:
        print("bioflax: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    except Exception as failure:
        if debug:
            raise
        code, line = explain(failure)
        print(f"bioflax {command}: {line}", file=sys.stderr)
        return code


def as_text(override: str) -> str:
    """An override whose value Hydra cannot read, such as the glob `input=raw/[CT]*`, with the value in quotes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    name, equals, value = override.partition("=")
    if not equals or override.startswith("-"):
        return override
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name}='{escaped}'"
    return override


def explain(failure: BaseException) -> tuple[int, str]:
    """Exit code and the one line that stands for an exception."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    text = " ".join(str(failure).split())
    if isinstance(failure, InputError):
        return 2, text
    if isinstance(failure, (HydraException, OmegaConfBaseException)):
        return 2, _explain_hydra(failure, text)
    if isinstance(failure, ValueError) and "Config group override" in text:
        return 2, "a group such as psf or camera was given as null. Leave it out, or name a choice: psf=gaussian."
    if isinstance(failure, OSError) and failure.errno != errno.ENOSPC:
        where = f" ({failure.filename})" if failure.filename else ""
        return 2, f"{failure.strerror or text}{where}. Choose another file or folder."
    if isinstance(failure, OSError) or "No space left" in text:
        return 2, "No space left on the disk. Free some or choose another folder, then start the same command again."
    if isinstance(failure, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return 1, "out of memory. Take a smaller train.batch, data.patch or tile."
    advice = "" if type(failure).__name__ == "TrainingError" else " (debug=true shows where)"
    return 1, f"{type(failure).__name__}: {text}{advice}"


def _explain_hydra(failure: BaseException, text: str) -> str:
    key = getattr(failure, "full_key", None) or getattr(failure, "key", None)
    if "Could not override" in text or "not in struct" in text or "is not in struct" in text:
        return f"{text.split(' To append')[0].rstrip('.')}. See the names there are with: --cfg job{_nearest(text)}"
    if "Missing mandatory value" in text and key:
        return f"{key}: missing. Give it on the command line: {key}=..."
    return text


def _nearest(text: str) -> str:
    import difflib
    import re

    found = re.search(r"'([\w./@]+)'", text)
    if not found:
        return ""
    asked, known = found.group(1), _leaf_names()
    if asked in known:
        return f". Another choice of {asked.partition('.')[0]} has it"
    close = difflib.get_close_matches(asked, known, n=3, cutoff=0.7)
    return f". Did you mean: {', '.join(close)}?" if close else ""


def _leaf_names() -> set[str]:
    from importlib import resources

    from omegaconf import OmegaConf

    names: set[str] = set()
    root = resources.files("bioflax.conf")
    for group in root.iterdir():
        if group.is_dir():
            for file in group.iterdir():
                if file.name.endswith(".yaml"):
                    names.update(f"{group.name}.{name}" for name in OmegaConf.create(file.read_text()))
        elif group.name.endswith(".yaml"):
            names.update(str(name) for name in OmegaConf.create(group.read_text()))
    return names
