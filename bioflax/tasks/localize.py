"""Localization: from frames of blinking emitters to a list of positions with their uncertainties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from bioflax import losses
from bioflax.errors import InputError
from bioflax.metrics.running import Mean
from bioflax.ops.peaks import find_emitters
from bioflax.typing import Batch, Prediction

LOSSES = ("decode", "fd_deeploc", "liteloc")


@dataclass(frozen=True)
class Localize:
    """The localization task, in the units of `data.EmitterScales`.

    Args:
        loss_name: `decode` (Speiser 2021), `fd_deeploc` (its mixture with the cross-entropy of each pixel, Fu 2023) or
            `liteloc`.
        count_on_empty: let the count term act on frames without emitters, where DECODE's is silent.
        window: pixels around an emitter that its mixture looks at; None takes all, as published.
        chunk: emitters whose mixture is held in memory at once; None takes all.
        least_photons: dimmer emitters are left out of the truth, in the scaled unit.
        threshold: score that an emitter must reach when a prediction is decoded.
        raw_threshold: probability of the brightest pixel of an emitter. DECODE's 0.3 loses emitters at the corner of four
            pixels, which share their probability.
    """

    loss_name: str = "decode"
    count_on_empty: bool = True
    window: int | None = None
    chunk: int | None = None
    least_photons: float = 0.0
    threshold: float = 0.5
    raw_threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.loss_name not in LOSSES:
            raise InputError(f"task.loss_name: {self.loss_name!r} is not known. Take one of: {', '.join(LOSSES)}.")
        for name, least in (("window", 1), ("chunk", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"task.{name}: expected null or a whole number of at least {least}, found {value}.")
        if not 0 < self.threshold <= 1:
            raise InputError(f"task.threshold: expected a score above 0 and up to 1, found {self.threshold}.")

    @property
    def mode(self) -> str:
        """What it needs of its data: frames with the emitters in them."""
        return "emitters"

    @property
    def augment(self) -> tuple[str, ...]:
        """None: every example is new, and a turn would turn the aberrations."""
        return ()

    @property
    def name(self) -> str:
        """How it learned, for the card."""
        return f"simulation_{self.loss_name}"

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Leaves out emitters that are too dim to be asked for; inside jit."""
        del key
        return {**batch, "mask": batch["mask"] * (batch["photons"] > self.least_photons)}

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Per example loss (N,) and its named parts."""
        memory = {"window": self.window, "chunk": self.chunk}
        if self.loss_name == "liteloc":
            parts = losses.liteloc_nll(prediction, batch, **memory)
        else:
            parts = losses.emitter_nll(
                prediction,
                batch,
                batch["background"] if "background" in prediction else None,
                count_on_empty=self.count_on_empty,
                cross_entropy=self.loss_name == "fd_deeploc",
                **memory,
            )
        return parts["loss"], {name: part for name, part in parts.items() if name != "loss"}

    def metrics(self, prediction: Prediction, batch: Batch) -> Mapping[str, Mean]:
        """Mergeable states: `loss`, its parts, and `count_error`: predicted minus true emitters a frame."""
        per_example, parts = self.loss(prediction, batch)
        number = jnp.sum(jax.nn.sigmoid(prediction["logit"]), (1, 2, 3)) - jnp.sum(batch["mask"], 1)
        states = {"loss": per_example, **parts, "count_error": number}
        return {name: Mean.from_values(values) for name, values in states.items()}

    def decode(self, prediction: Prediction, max_emitters: int = 256) -> dict[str, jax.Array]:
        """The emitters of each frame, padded, as `ops.peaks.find_emitters`, in scaled units."""
        return find_emitters(
            prediction, raw_threshold=self.raw_threshold, threshold=self.threshold, max_emitters=max_emitters
        )
