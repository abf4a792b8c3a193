"""SRResNet: residual blocks with batch norm and PReLU, between two wide windows."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from bioflax.models.blocks import Conv, PReLU, check_count, check_image, check_kernel, choose, late_norm


class SRResNet(nnx.Module):
    """Residual blocks at the resolution of the input, which the head enlarges.

    `Model(SRResNet, partial(Direct, **Direct.srresnet(upscale)))` is the published network.
    Source: Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial network", CVPR
    2017 (its generator).

    Args:
        channels_in: channels of the image.
        width: channels of every layer.
        blocks: residual blocks, of two convolutions each.
        first_kernel: window size of the first convolution in pixels, odd.
        spatial_dims: 2 or 3.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        blocks: int = 16,
        *,
        first_kernel: int = 9,
        spatial_dims: int = 2,
        init: str = "small_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        for field, value in {"channels_in": channels_in, "width": width, "blocks": blocks}.items():
            check_count(field, value)
        check_kernel("first_kernel", first_kernel)
        choose("spatial_dims", spatial_dims, (2, 3))
        self.channels_in, self.width, self.blocks = channels_in, width, blocks
        self.first_kernel, self.spatial_dims, self.init = first_kernel, spatial_dims, init

        def conv(channels: int, kernel: int = 3) -> Conv:
            return Conv(channels, width, kernel, spatial_dims, init=init, rngs=rngs)

        def block() -> nnx.Dict:
            return nnx.Dict(
                conv0=conv(width), norm0=late_norm(width), slope=PReLU(), conv1=conv(width), norm1=late_norm(width)
            )

        self.first, self.slope = conv(channels_in, first_kernel), PReLU()
        self.body = nnx.Dict({f"block{i}": block() for i in range(blocks)})
        self.last, self.norm = conv(width), late_norm(width)
        self.widths, self.strides, self.stride_total = (width,), (1,), 1
        self.receptive_field = 1 + 2 * (first_kernel // 2 + 2 * blocks + 1)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, [Z,] H, W, C).

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, 1, self.spatial_dims)
        shallow = out = self.slope(self.first(image))
        for i in range(self.blocks):
            block = self.body[f"block{i}"]
            inner = block.slope(block.norm0(block.conv0(out)))
            out = out + block.norm1(block.conv1(inner))
        return (self.norm(self.last(out)) + shallow,)

    @classmethod
    def published(cls) -> dict[str, Any]:
        """Arguments of the published network: 1,549,462 parameters with three channels and upscale 4."""
        return {"width": 64, "blocks": 16, "first_kernel": 9}
