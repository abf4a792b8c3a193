"""What a judge gives back: per-item sums of a model, or of its classical rivals and the bound."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bioflax.studies.tally import Tally


@dataclass(frozen=True)
class Judged:
    """A model on the items of one test condition.

    Attributes:
        tallies: metric -> per-item sums.
        picture: panels (H, W) of the item with the worst main metric, such as `input`, `output`, `truth`.
    """

    tallies: dict[str, Tally]
    picture: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Rivals:
    """What does not depend on any model: classical methods and the physical bound on the items of one test condition.

    Attributes:
        baselines: method -> metric -> per-item sums.
        bounds: metric -> per-item sums.
    """

    baselines: dict[str, dict[str, Tally]] = field(default_factory=dict)
    bounds: dict[str, Tally] = field(default_factory=dict)
