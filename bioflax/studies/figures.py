"""The figures of a study, each with its caption and its numbers; `write` gives PNG, SVG and CSV."""

from __future__ import annotations

from bioflax.studies.curves import curve
from bioflax.studies.drawing import Drawing, write
from bioflax.studies.gains import COSTS, Gain, gains, quality_and_cost, seeds
from bioflax.studies.gallery import gallery
from bioflax.studies.matrices import crossed, matrix
from bioflax.studies.training_curves import train_curve

__all__ = [
    "COSTS", "Drawing", "Gain", "crossed", "curve", "gains", "gallery", "matrix", "quality_and_cost", "seeds",
    "train_curve", "write",
]  # fmt: skip
