"""Detection: from an image to a list of its objects, as polygons, spots or boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax

from bioflax.errors import InputError
from bioflax.metrics.running import Mean
from bioflax.tasks.detection import Centres, DetectionScheme, SpotFlow, StarConvex
from bioflax.typing import Batch, Prediction


@dataclass(frozen=True)
class Detect:
    """The detection task.

    Args:
        scheme: what an object is: `StarConvex`, `SpotFlow` or `Centres`.
        threshold: probability of an object, until it is tuned on held-out images.
        overlap: of two polygons that overlap by more, over the smaller area, the less probable is dropped; until it is tuned.
        distance_px: of two spots or centres that are nearer, the less probable is dropped.
    """

    scheme: DetectionScheme = field(default_factory=StarConvex)
    threshold: float = 0.5
    overlap: float = 0.4
    distance_px: float = 1.0

    def __post_init__(self) -> None:
        for name in ("threshold", "overlap"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"task.{name}: expected a number between 0 and 1, found {getattr(self, name)}.")
        if not self.distance_px > 0:
            raise InputError(f"task.distance_px: expected more than 0, found {self.distance_px}.")

    @property
    def mode(self) -> str:
        """What it needs of its data: `labels` or `points`."""
        return self.scheme.mode

    @property
    def augment(self) -> tuple[str, ...]:
        """Which symmetries of the image its data may use; `mirror` where objects may go on beyond the border as mirrored."""
        return ("flip", "rot90", "mirror") if self.scheme.mirrors else ("flip", "rot90")

    @property
    def name(self) -> str:
        """How it learned, for the card."""
        return self.scheme.name

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Makes the targets of the scheme, inside jit; the data source has turned and bent the images already."""
        del key
        return self.scheme.prepare(batch)

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Per example loss (N,) and its named parts."""
        missing = [name for name in self.scheme.maps if name not in prediction]
        if missing:
            raise InputError(
                f"head: expected one that predicts {', '.join(self.scheme.maps)} for task.scheme {self.scheme.name}, found "
                f"{', '.join(prediction)}. Take head={self.scheme.head}."
            )
        return self.scheme.loss(prediction, batch)

    def metrics(self, prediction: Prediction, batch: Batch) -> Mapping[str, Mean]:
        """Mergeable states: `loss` and its parts."""
        per_example, parts = self.loss(prediction, batch)
        return {"loss": Mean.from_values(per_example), **{name: Mean.from_values(part) for name, part in parts.items()}}

    def decode(
        self, prediction: Prediction, threshold: float | None = None, places: int = 1024
    ) -> dict[str, jax.Array]:
        """Candidates of each picture in pixels, padded, before neighbours suppress one another; as the scheme's `decode`."""
        return self.scheme.decode(prediction, self.threshold if threshold is None else threshold, places)


__all__ = ["Centres", "Detect", "SpotFlow", "StarConvex"]
