"""The U-Net of CARE and Noise2Void in 2-D and 3-D, with the variations of N2V2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Stage, check_count, check_kernel, choose
from bioflax.ops.resample import max_blur_pool, max_pool, upsample_linear, upsample_nearest

POOLS: dict[str, Callable[[jax.Array], jax.Array]] = {"max": max_pool, "max_blur": max_blur_pool}
UPSAMPLINGS: dict[str, Callable[[jax.Array], jax.Array]] = {"nearest": upsample_nearest, "linear": upsample_linear}
Span = tuple[int, int]


class UNet(nnx.Module):
    """An encoder and decoder with skip connections; two convolutions a level, channels doubled at each halving.

    As published, the last convolution of the middle and of every decoder level already halves the channels.
    Source: Weigert et al., "Content-aware image restoration", Nature Methods 2018; Krull et al., "Noise2Void", CVPR
    2019; Hoeck et al., "N2V2", ECCV workshops 2022; Schmidt et al., "StarDist", MICCAI 2018 (`grid`).

    Args:
        channels_in: channels of the image.
        width: channels at full resolution.
        depth: number of halvings; the image must be a multiple of 2**depth.
        kernel: window size in pixels, odd.
        spatial_dims: 2 or 3.
        norm: None or "batch".
        activation: a name in `bioflax.models.blocks.ACTIVATIONS`.
        pool: "max" or "max_blur".
        upsampling: "nearest" or "linear".
        top_skip: keep the skip connection at full resolution (N2V2 removes it).
        convs: convolutions a level.
        bias: give the convolutions a bias.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
        grid: pixels of the image, along each axis, that a pixel of the finest map stands for: 1, or a power of two; the
            image is pooled that often before the U-Net, after two convolutions each (StarDist). Only detection heads
            stand on a grid above 1.
        momentum: of the batch norm.
        epsilon: of the batch norm.
    """

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 32,
        depth: int = 2,
        *,
        kernel: int = 3,
        spatial_dims: int = 2,
        norm: str | None = None,
        activation: str = "relu",
        pool: str = "max",
        upsampling: str = "nearest",
        top_skip: bool = True,
        convs: int = 2,
        bias: bool = True,
        init: str = "glorot_uniform",
        grid: int = 1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ) -> None:
        for field, value in {
            "channels_in": channels_in,
            "width": width,
            "depth": depth,
            "convs": convs,
            "grid": grid,
        }.items():
            check_count(field, value)
        check_kernel("kernel", kernel)
        choose("spatial_dims", spatial_dims, (2, 3))
        choose("pool", pool, POOLS)
        choose("upsampling", upsampling, UPSAMPLINGS)
        if grid & (grid - 1):
            raise InputError(f"grid: expected a power of two, such as 1, 2 or 4; found {grid}")
        self.channels_in, self.width, self.depth, self.kernel = channels_in, width, depth, kernel
        self.spatial_dims, self.norm, self.activation, self.pool = spatial_dims, norm, activation, pool
        self.upsampling, self.top_skip, self.convs, self.bias, self.init = upsampling, top_skip, convs, bias, init
        self.grid, self.momentum, self.epsilon = grid, momentum, epsilon

        def level(channels: int, inner: int, last: int) -> nnx.Dict:
            stages = {}
            for i in range(convs):
                out = last if i == convs - 1 else inner
                stages[f"conv{i}"] = Stage(
                    channels,
                    out,
                    kernel,
                    spatial_dims,
                    bias=bias,
                    norm=norm,
                    activation=activation,
                    init=init,
                    momentum=momentum,
                    epsilon=epsilon,
                    rngs=rngs,
                )
                channels = out
            return nnx.Dict(stages)

        def lower(n: int) -> int:
            return width * 2 ** max(0, n - 1)

        pools = grid.bit_length() - 1
        self.stem = nnx.Dict({f"pool{n}": level(width if n else channels_in, width, width) for n in range(pools)})
        inner = [width * 2**n for n in range(depth + 1)]
        before = [width if pools else channels_in, *inner[:depth]]
        self.encoder = nnx.Dict({f"level{n}": level(before[n], inner[n], inner[n]) for n in range(depth)})
        self.middle = level(before[depth], inner[depth], lower(depth))
        # The map that comes up into level n already has that level's channels; the skip brings as many again.
        self.decoder = nnx.Dict(
            {f"level{n}": level(inner[n] * (2 if self._skips(n) else 1), inner[n], lower(n)) for n in range(depth)}
        )
        self.widths = tuple(lower(n) for n in range(depth + 1))
        self.strides = tuple(grid * 2**n for n in range(depth + 1))
        self.stride_total = grid * 2**depth
        self.receptive_field = self._receptive_field()

    def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Runs the network.

        Args:
            image: (N, [Z,] H, W, C), every spatial size a multiple of `stride_total`.

        Returns:
            Maps from fine to coarse, with `widths` channels at `strides`.
        """
        self._check(image)
        for level in self.stem.values():
            image = POOLS[self.pool](_run(level, image))
        skips = []
        for n in range(self.depth):
            image = _run(self.encoder[f"level{n}"], image)
            skips.append(image)
            image = POOLS[self.pool](image)
        image = _run(self.middle, image)
        features = [image]
        for n in reversed(range(self.depth)):
            level = self.decoder[f"level{n}"]
            if self._skips(n) and self.upsampling == "nearest":
                image = _run(level, skips[n], coarse=image)  # the concatenation of the two is never formed on CPU
            else:
                image = UPSAMPLINGS[self.upsampling](image)
                image = _run(level, jnp.concatenate([image, skips[n]], axis=-1) if self._skips(n) else image)
            features.append(image)
        return tuple(reversed(features))

    @classmethod
    def care(cls, spatial_dims: int = 2) -> dict[str, Any]:
        """Arguments of the CARE network: kernel 5 in 2-D and 3 in 3-D, no norm."""
        return {"width": 32, "depth": 2, "kernel": 5 if spatial_dims == 2 else 3, "spatial_dims": spatial_dims}

    @classmethod
    def noise2void(cls, spatial_dims: int = 2) -> dict[str, Any]:
        """Arguments of the Noise2Void network: CARE's with batch norm."""
        return {**cls.care(spatial_dims), "norm": "batch"}

    @classmethod
    def noise2void_bsd68(cls) -> dict[str, Any]:
        """Arguments of the Noise2Void network of the BSD68 experiment: 96 channels, kernel 3."""
        return {"width": 96, "depth": 2, "kernel": 3, "norm": "batch"}

    @classmethod
    def n2v2(cls) -> dict[str, Any]:
        """Arguments of the N2V2 network: the BSD68 network with max-blur-pooling and no skip at full resolution."""
        return {**cls.noise2void_bsd68(), "pool": "max_blur", "top_skip": False}

    @classmethod
    def stardist(cls, grid: int = 1) -> dict[str, Any]:
        """Arguments of the network of StarDist2D (Schmidt et al., MICCAI 2018), with its `grid` of 1, 2 or 4 pixels."""
        return {"width": 32, "depth": 3, "grid": grid}

    @classmethod
    def spotiflow(cls) -> dict[str, Any]:
        """Arguments of Spotiflow's network (Dominguez Mantes et al., Nature Methods 2025), batch norm as in PyTorch."""
        norm = {"norm": "batch", "momentum": 0.9, "epsilon": 1e-5}
        return {"width": 32, "depth": 4, "convs": 3, "bias": False, "init": "he_normal", **norm}

    def _skips(self, n: int) -> bool:
        return n > 0 or self.top_skip

    def _check(self, image: jax.Array) -> None:
        shape, dims, stride = image.shape, self.spatial_dims, self.stride_total
        if len(shape) != dims + 2 or shape[-1] != self.channels_in:
            axes = "(N, H, W, C)" if dims == 2 else "(N, Z, H, W, C)"
            raise InputError(f"image: expected {axes} with C={self.channels_in}; found shape {tuple(shape)}")
        if any(size % stride for size in shape[1:-1]):
            raise InputError(
                f"image: expected spatial sizes that are multiples of {stride} (grid * 2**depth); found {tuple(shape[1:-1])}."
                " Pad the image or lower depth"
            )

    def _receptive_field(self) -> int:
        # Follows one output pixel back to the span of input pixels it reads, for each of its places in the coarse grid.
        grow = self.convs * (self.kernel // 2)

        def encoder(n: int, span: Span) -> Span:
            span = (span[0] - grow, span[1] + grow)
            return span if n == 0 else encoder(n - 1, pooled(span))

        def decoder(n: int, span: Span) -> Span:
            if n == self.depth:
                return encoder(n, span)
            span = (span[0] - grow, span[1] + grow)
            reach = 1 if self.upsampling == "linear" else 0
            below = decoder(n + 1, ((span[0] - reach) // 2, (span[1] + reach) // 2))
            skip = encoder(n, span) if self._skips(n) else below
            return min(below[0], skip[0]), max(below[1], skip[1])

        def pooled(span: Span) -> Span:
            blur = 1 if self.pool == "max_blur" else 0
            return 2 * span[0] - blur, 2 * span[1] + 1 + blur

        def stem(span: Span) -> Span:
            for _ in self.stem:
                low, high = pooled(span)
                span = (low - grow, high + grow)
            return span

        grid = self.grid
        spans = [(pixel, *stem(decoder(0, (pixel // grid,) * 2))) for pixel in range(self.stride_total)]
        return 1 + 2 * max(max(pixel - low, high - pixel) for pixel, low, high in spans)


def _run(stages: nnx.Dict, image: jax.Array, coarse: jax.Array | None = None) -> jax.Array:
    for i in range(len(stages)):
        image = stages[f"conv{i}"](image, coarse if i == 0 else None)
    return image
