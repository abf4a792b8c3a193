"""What is learned: a task prepares batches, defines the loss and decodes predictions into physical units."""

from bioflax.tasks.denoise import Denoise
from bioflax.tasks.detect import Detect
from bioflax.tasks.detection import Centres, DetectionScheme, SpotFlow, StarConvex
from bioflax.tasks.localize import Localize
from bioflax.tasks.schemes import Noise2Noise, Noise2Void, Scheme, Supervised
from bioflax.tasks.superres import SuperResolve

__all__ = [
    "Centres",
    "Denoise",
    "Detect",
    "DetectionScheme",
    "Localize",
    "Noise2Noise",
    "Noise2Void",
    "Scheme",
    "SpotFlow",
    "StarConvex",
    "SuperResolve",
    "Supervised",
]
