"""Per-item sums of one metric: a pooled score that can be taken apart item by item, for intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioflax.errors import InputError

FORMS = {"mean": lambda ratio: ratio, "root": np.sqrt}


@dataclass(frozen=True)
class Tally:
    """Sums over what an item holds; the metric is form(sum of numerators / sum of denominators).

    PSNR has its decibels over 1; the Jaccard index hits over hits, misses and false alarms; an RMSE squared errors over
    pairs, form `root`. An item that says nothing (no emitter in it) has a denominator of 0.

    Args:
        numerator: (N,) of one model, or (S, N) of the models of S seeds on the same items.
        denominator: as numerator; None is 1 everywhere.
        form: `mean` or `root`.
    """

    numerator: np.ndarray
    denominator: np.ndarray | None = None
    form: str = "mean"

    def __post_init__(self) -> None:
        above = np.asarray(self.numerator, np.float64)
        below = np.ones_like(above) if self.denominator is None else np.asarray(self.denominator, np.float64)
        if above.shape != below.shape or above.ndim not in (1, 2):
            raise InputError(
                f"Tally: expected numerator and denominator (N,) or (S, N), found {above.shape} and {below.shape}."
            )
        if self.form not in FORMS:
            raise InputError(f"Tally.form: {self.form!r} is not known. Take one of: {', '.join(FORMS)}.")
        object.__setattr__(self, "numerator", above)
        object.__setattr__(self, "denominator", below)

    @property
    def value(self) -> float:
        """The metric over all items and seeds; NaN where no item says anything."""
        return float(ratio(self.numerator.sum(), self.denominator.sum(), self.form))

    @property
    def by_seed(self) -> np.ndarray:
        """(S,) the metric of each seed."""
        above, below = np.atleast_2d(self.numerator), np.atleast_2d(self.denominator)
        return ratio(above.sum(-1), below.sum(-1), self.form)

    @property
    def by_item(self) -> np.ndarray:
        """(N,) or (S, N) the metric of each item alone; NaN where it says nothing."""
        return ratio(self.numerator, self.denominator, self.form)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; numbers that are not finite become null."""
        plain = [
            np.where(np.isfinite(part), part, None).tolist() if not np.isfinite(part).all() else part.tolist()
            for part in (self.numerator, self.denominator)
        ]
        return {"numerator": plain[0], "denominator": plain[1], "form": self.form}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Tally:
        """Back from plain JSON."""
        above, below = (np.asarray(found[name], np.float64) for name in ("numerator", "denominator"))
        return cls(above, below, found["form"])


def stack(tallies: list[Tally]) -> Tally:
    """The tallies (N,) of several seeds on the same items as one (S, N)."""
    sizes = {tally.numerator.shape for tally in tallies}
    if len(sizes) != 1:
        raise InputError(f"Tally: expected seeds judged on the same items, found sizes {sorted(sizes)}.")
    return Tally(np.stack([t.numerator for t in tallies]), np.stack([t.denominator for t in tallies]), tallies[0].form)


def ratio(above: Any, below: Any, form: str) -> Any:
    """form(above / below), NaN where below is 0."""
    below = np.asarray(below, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return FORMS[form](np.where(below != 0, above / np.where(below != 0, below, 1.0), np.nan))
