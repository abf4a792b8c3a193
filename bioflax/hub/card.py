"""The model card: everything that is known about a trained model, as plain JSON and never as code."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bioflax.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it was trained on, and how well it does, beside what physics and classical methods reach.

    Args:
        name: short name of the model.
        task: `denoise`, ...
        architecture: `models.describe(model)`.
        normalization: `Normalization.to_json()`, fitted on the training images.
        axes: spatial axes of the training images, `YX` or `ZYX`.
        scheme: how it learned: `supervised`, `noise2noise`, `noise2void`, ...
        receptive_field: diameter in pixels.
        parameters: number of trainable scalars.
        pixel_nm: pixel size of the training images by axis, in nm; None if unknown.
        trained_on: where the training images come from, how many there are.
        physics: optics, camera and scales that a localizer was trained with; empty where there are none.
        decoding: how the maps of a detector become objects: scheme, its arguments, tuned thresholds; empty for others.
        metrics: results by name, such as {"psnr_db": 34.1}; None where a metric is not defined.
        bounds: what physics allows, under the same names.
        baselines: classical methods, each with results under the same names.
        envelope: where the model holds, as measured by a study; empty if none was made.
        licence: SPDX name of the licence of the weights.
        versions: versions of the software that trained it.
        seed: of the training.
        command: the line that trains it again.
        sha256: hexadecimal digest of each file beside the card; filled in when the model is saved.
        schema: version of this list of fields.

    Raises:
        InputError: a field of the wrong type or content, named `card.<field>`.
    """

    name: str
    task: str
    architecture: dict[str, Any]
    normalization: dict[str, Any]
    axes: str
    scheme: str
    receptive_field: int
    parameters: int
    pixel_nm: dict[str, float] | None = None
    trained_on: dict[str, Any] = field(default_factory=dict)
    physics: dict[str, Any] = field(default_factory=dict)
    decoding: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    bounds: dict[str, float | None] = field(default_factory=dict)
    baselines: dict[str, dict[str, float | None]] = field(default_factory=dict)
    envelope: dict[str, Any] = field(default_factory=dict)
    licence: str = "unspecified"
    versions: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    command: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = _plain(getattr(self, entry.name), f"card.{entry.name}")
            object.__setattr__(self, entry.name, value)
            _check(f"card.{entry.name}", value, *_RULES[entry.name])
        if self.schema != SCHEMA:
            raise InputError(f"card.schema: expected {SCHEMA}, found {self.schema}. Update bioflax to read this model")

    def to_json(self) -> str:
        """The card as JSON text, one field a line group, in the order of the class."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """Reads a card.

        Raises:
            InputError: text that is no JSON object, unknown or missing fields, or fields of the wrong content.
        """
        try:
            found = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as cause:
            raise InputError(f"card: expected JSON, found text that does not parse ({cause})") from cause
        if not isinstance(found, dict):
            raise InputError(f"card: expected a JSON object, found {type(found).__name__}")
        entries = dataclasses.fields(cls)
        names = [entry.name for entry in entries]
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise InputError(f"card: unknown field {', '.join(unknown)}. The fields are {', '.join(names)}")
        undefined = dataclasses.MISSING
        needed = [entry.name for entry in entries if entry.default is undefined and entry.default_factory is undefined]
        missing = [name for name in needed if name not in found]
        if missing:
            raise InputError(f"card: the field {', '.join(missing)} is missing. A card needs {', '.join(needed)}")
        return cls(**found)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


def _described(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"name", "arguments"}


def _tables(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_numbers, value.values()))


def _pixels(value: Any) -> bool:
    return value is None or (
        _numbers(value) and set(value) <= set("ZYX") and all(size and size > 0 for size in value.values())
    )


def _digests(value: Any) -> bool:
    digits = set("0123456789abcdef")
    return _texts(value) and all(len(digest) == 64 and set(digest) <= digits for digest in value.values())


_RULES: dict[str, tuple[Any, str]] = {
    "name": (_name, "a name"),
    "task": (_name, "a name"),
    "architecture": (_described, "the keys name and arguments"),
    "normalization": (_table, "an object"),
    "axes": (lambda value: value in ("YX", "ZYX"), "YX or ZYX"),
    "scheme": (_name, "a name"),
    "receptive_field": (lambda value: _count(value) and value > 0, "a whole number above 0"),
    "parameters": (_count, "a whole number"),
    "pixel_nm": (_pixels, "a size in nm above 0 for axes of ZYX, or null"),
    "trained_on": (_table, "an object"),
    "physics": (_table, "an object"),
    "decoding": (_table, "an object"),
    "metrics": (_numbers, "an object of numbers"),
    "bounds": (_numbers, "an object of numbers"),
    "baselines": (_tables, "an object of objects of numbers"),
    "envelope": (_table, "an object"),
    "licence": (_name, "an SPDX name"),
    "versions": (_texts, "an object of texts"),
    "seed": (_count, "a whole number"),
    "command": (_text, "a text"),
    "sha256": (_digests, "an object of 64 hexadecimal digits each"),
    "schema": (_count, "a whole number"),
}


def _check(field_name: str, value: Any, rule: Any, expected: str) -> None:
    if not rule(value):
        text = json.dumps(value, ensure_ascii=False)
        raise InputError(f"{field_name}: expected {expected}, found {text if len(text) <= 80 else text[:77] + '...'}")


def _plain(value: Any, where: str) -> Any:
    """The value as JSON knows it: NumPy scalars become numbers, tuples lists, numbers that are not finite None."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"{where}: expected texts as keys, found {key!r}")
            if key.startswith("_"):
                raise InputError(f"{where}: a card holds no code and no key that starts with _; found {key!r}")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise InputError(f"{where}: expected text, numbers, lists and objects, found {type(value).__name__}")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
