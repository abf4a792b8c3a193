"""The head that predicts, in every pixel, whether an emitter sits there, where, how bright, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, Stage, check_count, choose

SPREAD_FLOOR = 1e-3  # DECODE's and LiteLoc's


class EmitterHead(nnx.Module):
    """Predicts a mixture of emitters, one component a pixel, in scaled units.

    x runs along W (the last spatial axis) and y along H, both in pixels from the pixel's centre; photons and z are in
    units that the task sets, such as DECODE's mean + 8 standard deviations and 1.2 times the largest |z|.
    Source: Speiser et al., Nature Methods 2021 (DECODE); `EmitterHead.liteloc()` after github.com/Li-Lab-SUSTech/LiteLoc.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        width: channels of the hidden layer of each branch.
        kernel: window size of the hidden layer in pixels.
        logit_clamp: largest absolute logit, so that no pixel is ever certain.
        presence_bias: the logit at the start: emitters are rare.
        spread_scale: largest standard deviation, in the units of the means.
        background: also predict the background.
        mean_init: initializer of the last layer of the means, a name in `bioflax.models.blocks.INITIALIZERS`.
        spread_init: initializer of the last layer of the spreads.
        spatial_dims: 2.
    """

    residual = False

    def __init__(
        self,
        widths: Sequence[int],
        *,
        width: int = 48,
        kernel: int = 3,
        logit_clamp: float = 8.0,
        presence_bias: float = -6.0,
        spread_scale: float = 3.0,
        background: bool = True,
        mean_init: str = "he_normal",
        spread_init: str = "he_normal",
        spatial_dims: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        choose("head.spatial_dims", spatial_dims, (2,))
        check_count("head.width", width)
        for field, value in {"logit_clamp": logit_clamp, "spread_scale": spread_scale}.items():
            if not value > 0:
                raise InputError(f"head.{field}: expected a positive number; found {value!r}")
        self.widths, self.width, self.kernel, self.spatial_dims = tuple(widths), width, kernel, spatial_dims
        self.logit_clamp, self.presence_bias, self.spread_scale = logit_clamp, presence_bias, spread_scale
        self.background, self.mean_init, self.spread_init = background, mean_init, spread_init

        def branch(channels: int, init: str) -> nnx.Dict:
            return nnx.Dict(
                hidden=Stage(self.widths[0], width, kernel, 2, activation="elu", init="he_normal", rngs=rngs),
                out=Conv(width, channels, 1, init=init, rngs=rngs),
            )

        branches = {"logit": branch(1, "lecun_normal"), "mean": branch(4, mean_init), "spread": branch(4, spread_init)}
        branches["logit"].out.bias[...] = jnp.full((1,), presence_bias, jnp.float32)
        if background:
            branches["background"] = branch(1, "he_normal")
        self.branches = nnx.Dict(branches)
        self.channels_out = 10 if background else 9

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Predicts from the finest of `features`.

        Returns:
            "logit": (N, H, W, 1), of the probability that an emitter sits in the pixel, within +-`logit_clamp`;
            "mean": (N, H, W, 4): photons in (0, 1), x, y and z in (-1, 1);
            "spread": (N, H, W, 4): their standard deviations;
            "background": (N, H, W, 1) in (0, 1), where it is predicted. All float32.
        """
        raw = {}
        for name, branch in self.branches.items():
            raw[name] = branch.out(branch.hidden(features[0])).astype(jnp.float32)
        mean = raw["mean"]
        prediction = {
            "logit": jnp.clip(raw["logit"], -self.logit_clamp, self.logit_clamp),
            "mean": jnp.concatenate([jax.nn.sigmoid(mean[..., :1]), jnp.tanh(mean[..., 1:])], axis=-1),
            "spread": self.spread_scale * jax.nn.sigmoid(raw["spread"]) + SPREAD_FLOOR,
        }
        if self.background:
            prediction["background"] = jax.nn.sigmoid(raw["background"])
        return prediction

    @classmethod
    def liteloc(cls) -> dict[str, Any]:
        """Arguments of LiteLoc's head: 64 channels, a wider clamp, smaller spreads, no background."""
        return {
            "width": 64,
            "logit_clamp": 16.0,
            "spread_scale": 1.0,
            "background": False,
            "mean_init": "he_normal_tanh",
            "spread_init": "lecun_normal",
        }
