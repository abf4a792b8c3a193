"""Heads that detect: star-convex polygons, spots as heatmaps with a flow, centres with a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, Stage, check_count, choose

RARE = -2.19  # logit of 0.1: so far most pixels hold no object (CenterNet)


class StarHead(nnx.Module):
    """Predicts, in every cell of the grid, whether it lies in an object and how far its outline is along each ray.

    Ray k points along (row, column) = (sin, cos)(2 pi k / rays). Distances are in pixels of the image and linear, so
    they can be negative: a decoder clips them.
    Source: Schmidt et al., "Cell detection with star-convex polygons", MICCAI 2018; stardist 0.9.2 (`StarDist2D`).

    Args:
        widths: channels of the backbone's maps, fine to coarse; the finest is used.
        rays: directions.
        width: channels of the hidden layer.
        kernel: window size of the hidden layer.
        spatial_dims: 2.
    """

    residual, any_stride = False, True

    def __init__(
        self,
        widths: Sequence[int],
        *,
        rays: int = 32,
        width: int = 128,
        kernel: int = 3,
        spatial_dims: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        choose("head.spatial_dims", spatial_dims, (2,))
        check_count("head.rays", rays, least=3)
        check_count("head.width", width)
        self.widths, self.rays, self.width = tuple(widths), rays, width
        self.kernel, self.spatial_dims, self.channels_out = kernel, spatial_dims, 1 + rays
        self.hidden = Stage(self.widths[0], width, kernel, 2, rngs=rngs)
        self.probability = Conv(width, 1, 1, rngs=rngs)
        self.distance = Conv(width, rays, 1, rngs=rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Predicts from the finest of `features`.

        Returns:
            "logit": (N, h, w, 1) of the probability; "rays": (N, h, w, rays), px. Float32.
        """
        hidden = self.hidden(features[0])
        return {
            "logit": self.probability(hidden).astype(jnp.float32),
            "rays": self.distance(hidden).astype(jnp.float32),
        }


class SpotHead(nnx.Module):
    """Predicts heatmaps of spots at several scales, and the flow to the nearest spot, on the 2- or 3-sphere.

    Source: Dominguez Mantes et al., "Spotiflow", Nature Methods 2025 (0.6.5; its "slim" heads and flow head).

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        levels: finest maps that get a heatmap; None takes all.
        convs: hidden convolutions of a heatmap.
        flow: also predict the flow, for positions below the pixel.
        norm: of the hidden layers of the flow, None or "batch".
        spatial_dims: 2 or 3.
    """

    residual, any_stride = False, True

    def __init__(
        self,
        widths: Sequence[int],
        *,
        levels: int | None = None,
        convs: int = 3,
        flow: bool = True,
        norm: str | None = None,
        spatial_dims: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        choose("head.spatial_dims", spatial_dims, (2, 3))
        check_count("head.convs", convs)
        if levels is not None:
            check_count("head.levels", levels)
            if levels > len(widths):
                raise InputError(
                    f"head.levels: expected at most the {len(widths)} maps of the backbone; found {levels}"
                )
        self.widths, self.levels, self.convs, self.flow, self.norm = tuple(widths), levels, convs, flow, norm
        self.spatial_dims = spatial_dims
        self.kernel, self.channels_out = 1 + 2 * max(convs, 3 if flow else 0), 1 + (spatial_dims + 1 if flow else 0)

        def heatmap(channels: int) -> nnx.Dict:
            hidden = {
                f"conv{n}": Conv(channels, channels, 3, spatial_dims, init="he_normal", rngs=rngs) for n in range(convs)
            }
            return nnx.Dict(hidden, out=Conv(channels, 1, 1, spatial_dims, bias=False, init="lecun_normal", rngs=rngs))

        used = self.widths[: levels or len(self.widths)]
        self.heatmaps = nnx.Dict({f"level{n}": heatmap(channels) for n, channels in enumerate(used)})
        if flow:
            width, plain = self.widths[0], norm is None
            options = {"bias": plain, "norm": norm, "init": "he_normal", "momentum": 0.9, "epsilon": 1e-5, "rngs": rngs}
            stages = {f"conv{n}": Stage(width, width, 3, spatial_dims, **options) for n in range(2)}
            self.vectors = nnx.Dict(stages, out=Conv(width, spatial_dims + 1, 3, spatial_dims, rngs=rngs))

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Predicts from each of `features`.

        Returns:
            "logit": (N, [Z,] h, w, 1) of the finest heatmap; "logit_1", "logit_2", ... of the coarser ones;
            "flow": (N, [Z,] h, w, 1 + dims), unit vectors: -cos, then the direction (y, x) or (z, y, x). Float32.
        """
        prediction = {}
        for n, branch in enumerate(self.heatmaps.values()):
            hidden = features[n]
            for m in range(self.convs):
                hidden = jax.nn.leaky_relu(branch[f"conv{m}"](hidden))  # slope 0.01, PyTorch's
            prediction[f"logit_{n}" if n else "logit"] = branch.out(hidden).astype(jnp.float32)
        if self.flow:
            hidden = self.vectors.conv1(self.vectors.conv0(features[0]))
            vector = self.vectors.out(hidden).astype(jnp.float32)
            length = jnp.sqrt(jnp.sum(vector * vector, -1, keepdims=True) + 1e-12)
            prediction["flow"] = vector / length
        return prediction

    @classmethod
    def spotiflow(cls) -> dict[str, Any]:
        """Arguments of the published heads: five heatmaps, a flow with batch norm."""
        return {"norm": "batch"}


class CentreHead(nnx.Module):
    """Predicts the centres of objects as a heatmap, their offset from the cell, and their size: points or boxes.

    Source: Zhou et al., "Objects as points" (CenterNet), 2019.

    Args:
        widths: channels of the backbone's maps, fine to coarse; the finest is used.
        width: channels of the hidden layer of each branch.
        kernel: window size of the hidden layer.
        size: also predict the size of the box.
        spatial_dims: 2 or 3.
    """

    residual, any_stride = False, True

    def __init__(
        self,
        widths: Sequence[int],
        *,
        width: int = 64,
        kernel: int = 3,
        size: bool = True,
        spatial_dims: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        choose("head.spatial_dims", spatial_dims, (2, 3))
        check_count("head.width", width)
        self.widths, self.width, self.kernel, self.size = tuple(widths), width, kernel, size
        self.spatial_dims = spatial_dims
        self.channels_out = 1 + spatial_dims * (2 if size else 1)

        def branch(channels: int) -> nnx.Dict:
            hidden = Stage(self.widths[0], width, kernel, spatial_dims, init="he_normal", rngs=rngs)
            return nnx.Dict(hidden=hidden, out=Conv(width, channels, 1, spatial_dims, init="lecun_normal", rngs=rngs))

        names = {"logit": 1, "offset": spatial_dims, **({"size": spatial_dims} if size else {})}
        self.branches = nnx.Dict({name: branch(channels) for name, channels in names.items()})
        self.branches["logit"].out.bias[...] = jnp.full((1,), RARE, jnp.float32)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Predicts from the finest of `features`.

        Returns:
            "logit": (N, [Z,] h, w, 1) of a centre; "offset": (N, [Z,] h, w, dims), cells, from the cell's own pixel;
            "size": (N, [Z,] h, w, dims), cells, where it is predicted. Float32.
        """
        return {
            name: branch.out(branch.hidden(features[0])).astype(jnp.float32) for name, branch in self.branches.items()
        }
