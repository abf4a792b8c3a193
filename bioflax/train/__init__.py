"""How it is learned: state, step, loop, optimiser, checkpoints, devices."""

from bioflax.train.checkpoint import Checkpoints
from bioflax.train.devices import Hardware
from bioflax.train.log import ProgressBar
from bioflax.train.loop import Fitted, fit
from bioflax.train.optim import make_optimizer
from bioflax.train.state import TrainState, create_state, derive_key
from bioflax.train.step import make_step
from bioflax.train.together import fit_together, pays

__all__ = [
    "Checkpoints",
    "Fitted",
    "Hardware",
    "ProgressBar",
    "TrainState",
    "create_state",
    "derive_key",
    "fit",
    "fit_together",
    "make_optimizer",
    "make_step",
    "pays",
]
