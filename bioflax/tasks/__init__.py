"""What is learned: a task prepares batches, defines the loss and decodes predictions into physical units."""

from bioflax.tasks.denoise import Denoise
from bioflax.tasks.localize import Localize
from bioflax.tasks.schemes import Noise2Noise, Noise2Void, Scheme, Supervised

__all__ = ["Denoise", "Localize", "Noise2Noise", "Noise2Void", "Scheme", "Supervised"]
