"""What a limitation study is: a question, rows to train, conditions to test, and the seeds over which both are repeated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bioflax.errors import InputError
from bioflax.studies.options import parse_list, split_options

TASKS = ("denoise", "superresolve", "localize", "detect")
SIZES = ("small", "full")
Level = float | int | str


@dataclass(frozen=True)
class Factor:
    """One axis of conditions.

    Args:
        label: of the axis.
        set: overrides of `bioflax train` in which {} stands for the level.
        levels: numbers, or a mapping from names to lists of overrides (categories).
        unit: of the levels.
        log: whether distances between levels are ratios.
        reference: the level at which the factor stands while another is swept; None leaves it as the base has it.
    """

    label: str
    levels: Any
    set: Sequence[str] = ()
    unit: str = ""
    log: bool = False
    reference: Any = None

    def __post_init__(self) -> None:
        if not self.levels or not isinstance(self.levels, (Mapping, list, tuple)):
            raise InputError(f"study.factors: {self.label!r} has no levels. Give numbers, or names with overrides.")
        if not isinstance(self.levels, Mapping) and not self.set:
            raise InputError(
                f"study.factors: {self.label!r} says nothing of what its levels set. Give set: [name={{}}]."
            )
        if isinstance(self.levels, Mapping) and self.reference is not None and self.reference not in self.levels:
            raise InputError(
                f"study.factors: reference {self.reference!r} of {self.label!r} is none of: {', '.join(self.levels)}."
            )

    @property
    def names(self) -> tuple[Level, ...]:
        """The levels, in order: numbers or names."""
        return tuple(self.levels)

    def overrides(self, level: Any) -> tuple[str, ...]:
        """The overrides that set a level; none for None."""
        if level is None:
            return ()
        if isinstance(self.levels, Mapping):
            return tuple(self.levels[level] or ())
        return tuple(text.replace("{}", str(level)) for text in self.set)


@dataclass(frozen=True)
class Condition:
    """A row that is trained, or a condition that is tested.

    Attributes:
        id: short name in the files: `r0`, `t0`.
        name: for people.
        kind: `train`, `help` (a mitigation) or `test`.
        levels: factor -> level, of the factors that were set away from the reference on purpose.
        overrides: of `bioflax train`, all of them.
        options: of the training of the row (`fit.*`), or of the judge (`test.*`).
    """

    id: str
    name: str
    kind: str
    levels: Mapping[str, Level]
    overrides: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A limitation study; its YAML is its only code.

    Args:
        name: names the run folder.
        question: that the page answers.
        task: `denoise`, `superresolve`, `localize` or `detect`.
        base: overrides of `bioflax train` that hold everywhere.
        sized: further ones that the size brings.
        also: further ones from the command line; they win.
        factors: name -> `Factor` settings.
        train: factors whose levels are trained, a row for each combination; none trains one row, `reference`.
        rows: further training conditions, name -> overrides.
        helps: mitigations, name -> overrides.
        test: factors that are swept one at a time around their references, and lists of two that are crossed.
        metric: the metric of the question.
        more: further metrics.
        baselines: classical rivals.
        thresholds: levels to be found: {name, factor, metric, target, of: reference or absolute}.
        seeds: trainings of every row.
        items: test items of every condition, the same for all rows.
        test_seed: of the test items; no training uses it.
        share: of the matched condition that counts as kept.
        level: of the intervals.
        given: a trained model that is tested in place of all rows.
        costs: also measure operations, speed and memory of every row.
        size: `small` (minutes on two CPU cores) or `full`.
        small, full: what the sizes bring; read by the YAML itself.
    """

    name: str
    question: str
    task: str
    metric: str
    factors: Mapping[str, Any]
    test: Sequence[Any]
    base: Sequence[str] = ()
    sized: Sequence[str] = ()
    also: Sequence[str] | str = ()
    train: Sequence[str] = ()
    rows: Mapping[str, Any] = field(default_factory=dict)
    helps: Mapping[str, Any] = field(default_factory=dict)
    more: Sequence[str] = ()
    baselines: Sequence[str] = ()
    thresholds: Sequence[Mapping[str, Any]] = ()
    seeds: int = 2
    items: int = 16
    test_seed: int = 1000
    share: float = 0.9
    level: float = 0.95
    costs: bool = False
    given: str | None = None
    size: str = "small"
    small: Mapping[str, Any] = field(default_factory=dict)
    full: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (("task", self.task, TASKS), ("size", self.size, SIZES)):
            if value not in known:
                raise InputError(f"study.{name}: {value!r} is not known. Take one of: {', '.join(known)}.")
        if isinstance(self.also, str):  # study.also=[a=1] on a command line: Hydra takes a list with = in it for a text
            object.__setattr__(self, "also", parse_list("study.also", self.also))
        for name, least in (("seeds", 1), ("items", 1), ("test_seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"study.{name}: expected a whole number of at least {least}, found {value!r}.")
        for name in ("share", "level"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"study.{name}: expected a number between 0 and 1, found {getattr(self, name)!r}.")
        object.__setattr__(
            self, "factors", {n: f if isinstance(f, Factor) else _factor(n, f) for n, f in self.factors.items()}
        )
        for name in {*self.train, *itertools.chain.from_iterable(self.sweeps)}:
            if name not in self.factors:
                raise InputError(f"study: there is no factor {name!r}. Take one of: {', '.join(self.factors)}.")
        for threshold in self.thresholds:
            missing = {"name", "factor", "metric", "target", "of"} - set(threshold)
            if missing or threshold["factor"] not in self.factors:
                raise InputError(
                    f"study.thresholds: expected name, factor, metric, target and of, with a factor of "
                    f"{', '.join(self.factors)}, found {dict(threshold)}."
                )

    @property
    def sweeps(self) -> tuple[tuple[str, ...], ...]:
        """What is swept together: one factor, or two that are crossed."""
        return tuple((part,) if isinstance(part, str) else tuple(part) for part in self.test)

    @property
    def common(self) -> tuple[str, ...]:
        """Overrides that hold everywhere."""
        return (*self.base, *self.sized)

    def conditions(self) -> tuple[Condition, ...]:
        """The rows: every combination of the trained factors' levels, further rows, then what may help."""
        if self.given is not None:
            return (self._condition("r0", self.given, "train", {}, ()),)
        grid = itertools.product(*(self.factors[name].names for name in self.train))
        found = []
        for combination in grid:
            levels = dict(zip(self.train, combination))
            found.append(self._condition(f"r{len(found)}", self.describe(levels), "train", levels, ()))
        for kind, more in (("train", self.rows), ("help", self.helps)):
            for name, overrides in more.items():
                found.append(self._condition(f"r{len(found)}", name, kind, {}, tuple(overrides or ())))
        return tuple(found)

    def tests(self) -> tuple[Condition, ...]:
        """The reference condition, then every level of every sweep that is not the reference itself."""
        found = {(): self._condition("t0", "reference", "test", {}, ())}
        for names in self.sweeps:
            for combination in itertools.product(*(self.factors[name].names for name in names)):
                levels = {
                    name: level for name, level in zip(names, combination) if level != self.factors[name].reference
                }
                key = tuple(sorted((name, str(level)) for name, level in levels.items()))
                if key not in found:
                    found[key] = self._condition(f"t{len(found)}", self.describe(levels), "test", levels, ())
        return tuple(found.values())

    def describe(self, levels: Mapping[str, Level]) -> str:
        """Levels in words."""
        return ", ".join(self._describe(self.factors[name], level) for name, level in levels.items()) or "reference"

    @staticmethod
    def _describe(factor: Factor, level: Level) -> str:
        if isinstance(factor.levels, Mapping):
            return str(level)
        unit = "" if factor.unit in factor.label else factor.unit
        return f"{factor.label} {level} {unit}".strip()

    def to_json(self) -> dict[str, Any]:
        """The definition as plain JSON."""
        plain = asdict(self)
        plain["factors"] = {
            name: {**plain["factors"][name], "levels": list(factor.names), "set": list(factor.set)}
            for name, factor in self.factors.items()
        }
        return {name: plain[name] for name in plain if name not in ("small", "full", "rows", "helps")}

    def _condition(
        self, id: str, name: str, kind: str, levels: Mapping[str, Level], further: tuple[str, ...]
    ) -> Condition:
        at = {factor: levels.get(factor, self.factors[factor].reference) for factor in self.factors}
        parts = itertools.chain.from_iterable(self.factors[factor].overrides(level) for factor, level in at.items())
        overrides, fit, test = split_options((*self.common, *parts, *further, *self.also))
        if isinstance(fit.get("start"), list):  # the command line's overrides hold for the model it starts from, too
            fit["start"] = [*fit["start"], *self.also]
        return Condition(id, name, kind, dict(levels), overrides, test if kind == "test" else fit)


def _factor(name: str, settings: Any) -> Factor:
    if not isinstance(settings, Mapping):
        raise InputError(f"study.factors.{name}: expected label, levels and set, found {settings!r}.")
    try:
        return Factor(**settings)
    except TypeError as failure:
        raise InputError(
            f"study.factors.{name}: {failure}. It takes label, levels, set, unit, log, reference."
        ) from None
