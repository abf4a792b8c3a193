"""EDSR: residual blocks of two convolutions without any normalisation."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, check_count, check_image, choose


class EDSR(nnx.Module):
    """Residual blocks at the resolution of the input, which the head enlarges.

    `Model(EDSR, partial(Direct, **Direct.edsr(upscale)))` is the published network.
    Source: Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR workshops 2017.

    Args:
        channels_in: channels of the image.
        width: channels of every layer.
        blocks: residual blocks, of two convolutions each.
        residual_scale: what a block's output is multiplied by before it is added; 0.1 keeps wide networks stable.
        spatial_dims: 2 or 3.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        blocks: int = 16,
        *,
        residual_scale: float = 1.0,
        spatial_dims: int = 2,
        init: str = "small_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        for field, value in {"channels_in": channels_in, "width": width, "blocks": blocks}.items():
            check_count(field, value)
        choose("spatial_dims", spatial_dims, (2, 3))
        if not residual_scale > 0:
            raise InputError(f"residual_scale: expected a positive number, such as 0.1; found {residual_scale!r}")
        self.channels_in, self.width, self.blocks = channels_in, width, blocks
        self.residual_scale, self.spatial_dims, self.init = residual_scale, spatial_dims, init

        def conv(channels: int) -> Conv:
            return Conv(channels, width, 3, spatial_dims, init=init, rngs=rngs)

        self.first = conv(channels_in)
        self.body = nnx.Dict({f"block{i}": nnx.Dict(conv0=conv(width), conv1=conv(width)) for i in range(blocks)})
        self.last = conv(width)
        self.widths, self.strides, self.stride_total = (width,), (1,), 1
        self.receptive_field = 1 + 2 * (2 + 2 * blocks)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, [Z,] H, W, C).

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, 1, self.spatial_dims)
        shallow = out = self.first(image)
        for i in range(self.blocks):
            block = self.body[f"block{i}"]
            out = out + self.residual_scale * block.conv1(jax.nn.relu(block.conv0(out)))
        return (self.last(out) + shallow,)

    @classmethod
    def baseline(cls) -> dict[str, Any]:
        """Arguments of the baseline network: 1,369,859 parameters with three channels and upscale 2."""
        return {"width": 64, "blocks": 16, "residual_scale": 1.0}

    @classmethod
    def full(cls) -> dict[str, Any]:
        """Arguments of the full network: 32 blocks of 256 channels, scaled by 0.1; about 40 million parameters."""
        return {"width": 256, "blocks": 32, "residual_scale": 0.1}
