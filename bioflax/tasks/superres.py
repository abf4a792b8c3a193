"""Super-resolution: from one or several camera pictures to one on a finer grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from bioflax import losses
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.metrics.running import Mean
from bioflax.typing import Batch, Prediction

PLAIN = ("absolute_error", "squared_error", "charbonnier")
LIKELIHOODS = ("gaussian_nll", "laplace_nll")
LOSSES = (*PLAIN, "mse_ssim", "fourier_band", *LIKELIHOODS)


@dataclass(frozen=True)
class SuperResolve:
    """The super-resolution task: pairs of camera pictures and their objects on a grid that is `upscale` times finer.

    Args:
        loss_name: one of `LOSSES`: `mse_ssim` is MSE + `ssim_weight` (1 - SSIM), as DFCAN; `fourier_band` weights squared errors
            by spatial frequency; the `*_nll` losses need a head that predicts `scale`.
        ssim_weight: of `mse_ssim`; DFCAN takes 0.1.
        batch_range: for `mse_ssim`, first bring predictions and targets to the range 0 to 1 over the *whole batch*, as the
            published DFCAN does. It takes gain and offset out of the loss: results then have no intensity calibration.
        band_per_px: for `fourier_band`, lowest and highest frequency of the band, cycles per fine pixel.
        outside_weight: for `fourier_band`, weight of all other frequencies; the band has 1.
    """

    mode: ClassVar[str] = "target"
    augment: ClassVar[tuple[str, ...]] = ("flip", "rot90")
    loss_name: str = "absolute_error"
    ssim_weight: float = 0.1
    batch_range: bool = False
    band_per_px: tuple[float, float] = (0.0, 0.25)
    outside_weight: float = 0.1

    def __post_init__(self) -> None:
        if self.loss_name not in LOSSES:
            raise InputError(f"task.loss_name: {self.loss_name!r} is not known. Take one of: {', '.join(LOSSES)}.")
        for field in ("ssim_weight", "outside_weight"):
            if not getattr(self, field) >= 0:
                raise InputError(f"task.{field}: expected 0 or more, found {getattr(self, field)}.")
        if self.batch_range and self.loss_name != "mse_ssim":
            raise InputError(f"task.batch_range: only task.loss_name=mse_ssim has it; found {self.loss_name}.")
        band = tuple(self.band_per_px)
        if len(band) != 2 or not 0 <= band[0] < band[1]:
            raise InputError(f"task.band_per_px: expected two frequencies, low below high, found {band}.")
        object.__setattr__(self, "band_per_px", band)

    @property
    def name(self) -> str:
        """How it learned, for the card."""
        return "supervised"

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Leaves the batch as it is: `image` (N, H, W, frames), `target` (N, s H, s W, C); the data source made the pair."""
        del key
        return batch

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Per example loss (N,) and its named parts, over the fine grid."""
        image, target = prediction["image"], batch["target"]
        if image.shape != target.shape:
            raise InputError(
                f"head.upscale: the model makes {tuple(image.shape[1:])} of a picture of {tuple(batch['image'].shape[1:])}, "
                f"the targets are {tuple(target.shape[1:])}. Set head.upscale and head.channels_out to fit the data."
            )
        over = tuple(range(1, target.ndim))
        parts = {"mse": jnp.mean(losses.squared_error(image, target), over)}
        if self.loss_name in LIKELIHOODS:
            if "scale" not in prediction:
                raise InputError(
                    f"task.loss_name: {self.loss_name} needs a head that predicts scale: gaussian or laplace."
                )
            return jnp.mean(getattr(losses, self.loss_name)(image, prediction["scale"], target), over), parts
        if "scale" in prediction:
            raise InputError(
                f"task.loss_name: {self.loss_name} would leave the head's scale untrained. Take gaussian_nll or laplace_nll."
            )
        if self.loss_name == "mse_ssim":
            return self._mse_ssim(image, target, parts)
        if self.loss_name == "fourier_band":
            error = losses.fourier_error(image, target, self.band_per_px, 1.0, self.outside_weight)
            return jnp.mean(error, over), parts
        return jnp.mean(getattr(losses, self.loss_name)(image, target), over), parts

    def _mse_ssim(
        self, image: jax.Array, target: jax.Array, parts: dict[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        over = tuple(range(1, target.ndim))
        if self.batch_range:
            image, target = _unit_range(image), _unit_range(target)
            spread = jnp.float32(1.0)
        else:
            spread = jnp.maximum(jnp.max(target, over, keepdims=True) - jnp.min(target, over, keepdims=True), 1e-3)
        error = jnp.mean(losses.squared_error(image, target), over)
        unlike = jnp.mean(losses.structural_dissimilarity(image, target, spread), over)
        return error + self.ssim_weight * unlike, {**parts, "ssim": 1.0 - unlike}

    def metrics(self, prediction: Prediction, batch: Batch) -> Mapping[str, Mean]:
        """Mergeable states: `loss` and its parts, in normalised units."""
        per_example, parts = self.loss(prediction, batch)
        return {"loss": Mean.from_values(per_example), **{k: Mean.from_values(v) for k, v in parts.items()}}

    def decode(self, prediction: Prediction, normalization: Normalization) -> Prediction:
        """From normalised units to those of the camera picture."""
        decoded = {"image": normalization.invert(prediction["image"])}
        if "scale" in prediction:
            decoded["scale"] = normalization.invert_scale(prediction["scale"])
        return decoded


def _unit_range(images: jax.Array) -> jax.Array:
    low, high = jnp.min(images), jnp.max(images)
    return (images - low) / jnp.maximum(high - low, 1e-6)


__all__ = ["LOSSES", "SuperResolve"]
