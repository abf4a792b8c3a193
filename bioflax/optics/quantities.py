"""Physical quantities as pytree leaves: checked where a person writes them, never inside jit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from bioflax.errors import InputError

Record = TypeVar("Record", bound=type)
_RULE = "bioflax_rule"


@dataclasses.dataclass(frozen=True)
class _Rule:
    """Unit and legal range of a field; `kind` says whether a map or a (low, high) pair may stand for a number."""

    unit: str
    at_least: float
    above: float
    at_most: float
    kind: str
    optional: bool
    hint: str

    def describe(self) -> str:
        low = f"above {self.above:g}" if self.above > -math.inf else f"at least {self.at_least:g}"
        bounds = [low] if max(self.above, self.at_least) > -math.inf else []
        bounds += [f"at most {self.at_most:g}"] if self.at_most < math.inf else []
        return f"{' and '.join(bounds) or 'a finite value'} ({self.unit})"

    def allows(self, low: float, high: float) -> bool:
        return self.at_least <= low and self.above < low and high <= self.at_most and math.isfinite(low + high)


def quantity(
    unit: str,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    kind: str = "number",
    optional: bool = False,
    hint: str = "give a number in that range",
    default: Any = dataclasses.MISSING,
) -> Any:
    """Declares a physical field of a `@physical` class: a pytree leaf with a unit and a legal range.

    Args:
        unit: what one means, as it stands in the error text ("nm", "electrons rms").
        at_least, above, at_most: legal range; `above` excludes its own value.
        kind: "number"; "map" also takes an array, one value a pixel; "span" also takes a (low, high) pair.
        optional: None is allowed and leaves no leaf behind.
        hint: what to do when the value is wrong.
        default: the value where none is given.
    """
    rule = _Rule(unit, at_least, above, at_most, kind, optional, hint)
    return dataclasses.field(default=default, metadata={_RULE: rule})


@dataclass_transform(field_specifiers=(quantity,), frozen_default=True, eq_default=False)
def physical(cls: Record) -> Record:
    """Makes a class a frozen dataclass and a pytree.

    Fields declared with `quantity` and fields that hold other pytrees (see `part`) are leaves or subtrees: sweep them,
    map over them, differentiate in them. All other fields are static and must hash. Ranges are checked when the class
    is called by name; unflattening (jit, vmap, grad) builds the object without checks, since a leaf may then be
    a tracer, a mapped axis or a placeholder. A method `_check_together` is called after the single fields.
    """
    if "__post_init__" in cls.__dict__:
        raise TypeError(f"{cls.__name__}: put checks into _check_together, __post_init__ is taken")

    def check_fields(self: Any) -> None:
        for field in dataclasses.fields(self):
            rule = field.metadata.get(_RULE)
            if isinstance(rule, _Rule):
                value = _checked(f"{cls.__name__}.{field.name}", getattr(self, field.name), rule)
                object.__setattr__(self, field.name, value)
        if hasattr(self, "_check_together"):
            self._check_together()

    cls.__post_init__ = check_fields
    record = dataclasses.dataclass(frozen=True, eq=False)(cls)
    leaves = tuple(f.name for f in dataclasses.fields(record) if _RULE in f.metadata)
    static = tuple(f.name for f in dataclasses.fields(record) if _RULE not in f.metadata)

    def flatten_with_keys(self: Any) -> tuple[Iterable[tuple[Any, Any]], tuple[Any, ...]]:
        children = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in leaves]
        return children, tuple(getattr(self, name) for name in static)

    def flatten(self: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(self, name) for name in leaves), tuple(getattr(self, name) for name in static)

    def unflatten(meta: tuple[Any, ...], children: Iterable[Any]) -> Any:
        self = object.__new__(record)
        for name, value in (*zip(leaves, children), *zip(static, meta)):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(record, flatten_with_keys, unflatten, flatten)
    return record


def part(default: Any = dataclasses.MISSING) -> Any:
    """Declares a field of a `@physical` class that holds another pytree, such as the camera of a simulator."""
    return dataclasses.field(default=default, metadata={_RULE: None})


def is_concrete(*values: Any) -> bool:
    """True if all values can be looked at now: no tracer among them or their leaves."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _checked(name: str, value: Any, rule: _Rule) -> Any:
    """The value as float, float32 map or pair of floats; raises InputError outside the rule."""
    if (value is None and rule.optional) or not is_concrete(value):
        return value
    if rule.kind == "span" and isinstance(value, Sequence) and not isinstance(value, str):
        return _checked_span(name, value, rule)
    array = _as_numbers(name, value, rule)
    if array.ndim and rule.kind != "map":
        raise InputError(f"{name}: expected one number, {rule.describe()}, found shape {array.shape}; {rule.hint}")
    if array.size == 0 or not rule.allows(float(array.min()), float(array.max())):
        found = value if not array.ndim else _describe_map(array)
        raise InputError(f"{name}: expected {rule.describe()}, found {found}; {rule.hint}")
    if array.ndim == 0:
        return value if isinstance(value, jax.Array) else float(array)
    return value if isinstance(value, jax.Array) else array.astype(np.float32)


def _checked_span(name: str, value: Sequence[Any], rule: _Rule) -> Any:
    if len(value) != 2:
        raise InputError(f"{name}: expected one number or a pair (low, high), found {len(value)} values; {rule.hint}")
    low, high = (_checked(name, item, dataclasses.replace(rule, kind="number")) for item in value)
    if is_concrete(low, high) and float(low) > float(high):
        raise InputError(f"{name}: expected (low, high) with low <= high, found ({low}, {high}); swap the two")
    return low, high


def _as_numbers(name: str, value: Any, rule: _Rule) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: expected a number, {rule.describe()}, found {value!r}; {rule.hint}")
    return array


def _describe_map(array: np.ndarray) -> str:
    finite = np.isfinite(array)
    if array.size == 0 or not finite.all():
        return f"a map of shape {array.shape} with {int((~finite).sum())} values that are not finite"
    return f"a map of shape {array.shape} with values {array.min():g} to {array.max():g}"
