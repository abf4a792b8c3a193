"""Overrides of a condition that are not of `bioflax train`: how a row is trained (`fit.*`), how a test is judged (`test.*`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from bioflax.errors import InputError

FIT = ("members", "start", "freeze")


def split_options(overrides: Iterable[str]) -> tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]:
    """Divides overrides.

    Args:
        overrides: such as `data.fields=8`, `fit.members=3`, `test.tile=32`.

    Returns:
        Overrides of `bioflax train`, options `fit.*`, options `test.*` (values read as YAML); the last of a name wins.

    Raises:
        InputError: an override without `=`, or an unknown `fit.*`.
    """
    plain: list[str] = []
    options: dict[str, dict[str, Any]] = {"fit": {}, "test": {}}
    for override in overrides:
        name, equals, value = str(override).partition("=")
        group, dot, key = name.partition(".")
        if not dot or group not in options:
            plain.append(str(override))
            continue
        if not equals:
            raise InputError(f"study: expected {name}=value, found {override!r}.")
        if group == "fit" and key not in FIT:
            raise InputError(f"study: {name} is not known. Take one of: {', '.join(f'fit.{known}' for known in FIT)}.")
        try:
            options[group][key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"study: the value of {override!r} cannot be read as YAML.") from None
    return tuple(plain), options["fit"], options["test"]


def parse_list(name: str, text: str) -> tuple[str, ...]:
    """A list of texts that was given as one text, such as `[a=1, "b=[2,3]"]`.

    Raises:
        InputError: it is none.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list):
        raise InputError(f"{name}: expected a list of overrides such as [train.steps=500], found {text!r}.")
    return tuple(map(str, found))
