"""The backbone of DECODE: one U-Net on every frame, a second one on the frames' maps together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, Stage, check_count, check_image, check_kernel, reach
from bioflax.ops.resample import space_to_depth


class DECODE(nnx.Module):
    """Predicts from a frame and its neighbours in time.

    `Model(DECODE, EmitterHead)` is the published network, 2,199,418 parameters. Kernels are drawn by Kaiming's rule and
    biases start at zero.
    Source: Speiser et al., "Deep learning enables fast and dense single-molecule localization with high accuracy",
    Nature Methods 2021.

    Args:
        channels_in: consecutive frames of an image, odd: those before, the frame itself (the middle one), those after.
        width: channels at full resolution, doubled at each halving.
        depth: halvings; the image must be a multiple of 2**depth.
        kernel: window size in pixels, odd.
        convs: convolutions a level.
        activation: a name in `bioflax.models.blocks.ACTIVATIONS`.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 3,
        width: int = 48,
        depth: int = 2,
        *,
        kernel: int = 3,
        convs: int = 2,
        activation: str = "elu",
        init: str = "he_normal",
        rngs: nnx.Rngs,
    ) -> None:
        check_frames(channels_in)
        for field, value in {"width": width, "depth": depth, "convs": convs}.items():
            check_count(field, value)
        check_kernel("kernel", kernel)
        self.channels_in, self.width, self.depth, self.kernel = channels_in, width, depth, kernel
        self.convs, self.activation, self.init = convs, activation, init
        options = {"kernel": kernel, "convs": convs, "activation": activation, "init": init}
        self.frame = StridedUNet(1, width, depth, **options, rngs=rngs)
        self.context = StridedUNet(channels_in * width, width, depth, **options, rngs=rngs)
        self.spatial_dims = 2
        self.widths = (width,)
        self.strides = (1,)
        self.stride_total = 2**depth
        level = convs * (kernel // 2)
        path = [level, *["up", level] * depth, *["down", level] * depth]
        self.receptive_field = 1 + 2 * reach(path + path, self.stride_total)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, H, W, C), C consecutive frames; H and W multiples of `stride_total`.

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, self.stride_total)
        return (self.context(beside(self.frame(apart(image)), self.channels_in)),)

    def sequence(self, frames: jax.Array) -> tuple[jax.Array]:
        """Runs the network along a movie; the first U-Net sees every frame once, where `__call__` sees it C times.

        Args:
            frames: (T, H, W, 1) consecutive frames.

        Returns:
            One map for each of the T - C + 1 frames that have all their neighbours.
        """
        check_image(frames, 1, self.stride_total)
        return (self.context(neighbours(self.frame(frames), self.channels_in)),)

    @classmethod
    def small(cls) -> dict[str, Any]:
        """Arguments of a network for a CPU: a third of the channels and a single halving."""
        return {"width": 16, "depth": 1}


class StridedUNet(nnx.Module):
    """A U-Net that halves by strided convolutions of 2x2 pixels; its last layer is linear.

    Args:
        channels_in: channels of the input.
        width: channels at full resolution and of the output.
        depth: halvings.
        kernel: window size in pixels.
        convs: convolutions a level.
        activation: a name in `bioflax.models.blocks.ACTIVATIONS`.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        depth: int,
        *,
        kernel: int,
        convs: int,
        activation: str,
        init: str,
        rngs: nnx.Rngs,
    ) -> None:
        self.depth = depth

        def level(channels: int, out: int) -> nnx.Dict:
            stages = {}
            for i in range(convs):
                stages[f"conv{i}"] = Stage(channels, out, kernel, 2, activation=activation, init=init, rngs=rngs)
                channels = out
            return nnx.Dict(stages)

        def pointwise(channels: int, out: int) -> Conv:
            return Conv(channels, out, 1, init=init, rngs=rngs)

        inner = [width * 2**n for n in range(depth + 1)]
        self.encoder = nnx.Dict({f"level{n}": level([channels_in, *inner][n], inner[n]) for n in range(depth)})
        self.down = nnx.Dict({f"level{n}": pointwise(4 * inner[n], inner[n]) for n in range(depth)})
        self.middle = level(inner[depth - 1], inner[depth])
        self.up = nnx.Dict({f"level{n}": pointwise(inner[n + 1], inner[n]) for n in range(depth)})
        self.decoder = nnx.Dict({f"level{n}": level(2 * inner[n], inner[n]) for n in range(depth)})
        self.out = pointwise(width, width)

    def __call__(self, image: jax.Array) -> jax.Array:
        """Returns (N, H, W, width) from (N, H, W, channels_in)."""
        skips = []
        for n in range(self.depth):
            image = _run(self.encoder[f"level{n}"], image)
            skips.append(image)
            image = self.down[f"level{n}"](space_to_depth(image))
        image = _run(self.middle, image)
        for n in reversed(range(self.depth)):
            # The published order, repeat pixels and then mix channels, gives the same at four times the cost.
            image = _run(self.decoder[f"level{n}"], skips[n], coarse=self.up[f"level{n}"](image))
        return self.out(image)


def check_frames(channels_in: object) -> None:
    """Raises an InputError unless `channels_in` is an odd number of frames."""
    check_count("channels_in", channels_in)
    if channels_in % 2 == 0:
        raise InputError(f"channels_in: expected an odd number of frames (one is in the middle); found {channels_in}")


def apart(image: jax.Array) -> jax.Array:
    """(N, H, W, C) frames -> (N C, H, W, 1)."""
    return jnp.moveaxis(image, -1, 1).reshape(-1, *image.shape[1:3], 1)


def beside(maps: jax.Array, frames: int) -> jax.Array:
    """(N C, H, W, width) maps of single frames -> (N, H, W, C width), the frames in their order."""
    maps = maps.reshape(-1, frames, *maps.shape[1:])
    return jnp.concatenate([maps[:, i] for i in range(frames)], axis=-1)


def neighbours(maps: jax.Array, frames: int) -> jax.Array:
    """(T, H, W, width) maps of a movie -> (T - C + 1, H, W, C width): each frame's beside its neighbours'."""
    count = maps.shape[0] - frames + 1
    if count < 1:
        raise InputError(f"frames: expected at least {frames} consecutive frames; found {maps.shape[0]}")
    return jnp.concatenate([maps[i : i + count] for i in range(frames)], axis=-1)


def _run(stages: nnx.Dict, image: jax.Array, coarse: jax.Array | None = None) -> jax.Array:
    for i in range(len(stages)):
        image = stages[f"conv{i}"](image, coarse if i == 0 else None)
    return image
