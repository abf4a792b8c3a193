"""Denoising: from a noisy image to its expected value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from bioflax import losses
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.metrics.running import Mean
from bioflax.tasks.schemes import Noise2Noise, Noise2Void, Scheme, Supervised
from bioflax.typing import Batch, Prediction

LOSSES = ("squared_error", "absolute_error", "gaussian_nll", "laplace_nll")


@dataclass(frozen=True)
class Denoise:
    """The denoising task.

    Args:
        scheme: where the target comes from: `Supervised`, `Noise2Noise` or `Noise2Void`.
        loss_name: one of `LOSSES`; the `*_nll` losses need a head that predicts `scale`.
    """

    scheme: Scheme = field(default_factory=Supervised)
    loss_name: str = "squared_error"

    def __post_init__(self) -> None:
        if self.loss_name not in LOSSES:
            raise InputError(f"task.loss_name: {self.loss_name!r} is not known. Take one of: {', '.join(LOSSES)}.")

    @property
    def mode(self) -> str:
        """What it needs of its data: `target`, `pairs` or `single`."""
        return self.scheme.mode

    @property
    def augment(self) -> tuple[str, ...]:
        """Which symmetries of the image the scheme may use."""
        return self.scheme.augment

    @property
    def name(self) -> str:
        """How it learned, for the card."""
        return type(self.scheme).__name__.lower()

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Makes `image`, `target` and, for blind spots, `mask` (N, [Z,] H, W, C|1), inside jit."""
        return self.scheme.prepare(key, batch)

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Per example loss (N,), the mean over the unmasked pixels, and its named parts."""
        image, target, mask = prediction["image"], batch["target"], batch.get("mask")
        if mask is not None:
            mask = jnp.broadcast_to(mask, target.shape)
        if self.loss_name.endswith("_nll"):
            if "scale" not in prediction:
                raise InputError(
                    f"task.loss_name: {self.loss_name} needs a head that predicts scale: gaussian or laplace."
                )
            values = getattr(losses, self.loss_name)(image, prediction["scale"], target, mask)
        else:
            if "scale" in prediction:
                raise InputError(
                    f"task.loss_name: {self.loss_name} would leave the head's scale untrained. "
                    "Take gaussian_nll or laplace_nll."
                )
            values = getattr(losses, self.loss_name)(image, target, mask)
        error = losses.squared_error(image, target, mask)
        weight = jnp.float32(1.0) if mask is None else jnp.mean(mask, axis=tuple(range(1, mask.ndim)))
        over = tuple(range(1, values.ndim))
        return jnp.mean(values, over) / weight, {"mse": jnp.mean(error, over) / weight}

    def metrics(self, prediction: Prediction, batch: Batch) -> Mapping[str, Mean]:
        """Mergeable states: `loss` and `mse` in normalised units."""
        per_example, parts = self.loss(prediction, batch)
        return {"loss": Mean.from_values(per_example), **{k: Mean.from_values(v) for k, v in parts.items()}}

    def decode(self, prediction: Prediction, normalization: Normalization) -> Prediction:
        """From normalised units to the units of the file (camera counts, photons)."""
        decoded = {"image": normalization.invert(prediction["image"])}
        if "scale" in prediction:
            decoded["scale"] = normalization.invert_scale(prediction["scale"])
        return decoded


__all__ = ["LOSSES", "Denoise", "Noise2Noise", "Noise2Void", "Supervised"]
