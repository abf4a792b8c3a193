"""RCAN: very deep residual groups with channel attention, as published for photographs and for microscopy in 3-D."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, check_count, check_image, choose


class RCAN(nnx.Module):
    """Groups of residual blocks, each block's channels weighted by their mean over the whole image.

    `Model(RCAN, partial(Direct, **Direct.edsr(upscale)))` is the published network. Its attention averages over the tile
    it is given, so tiles equal the whole only nearly: train and predict with tiles of one size. `receptive_field` is that
    of the convolutions.
    Source: Zhang et al., "Image super-resolution using very deep residual channel attention networks", ECCV 2018; Chen et
    al., "Three-dimensional residual channel attention networks denoise and sharpen fluorescence microscopy image
    volumes", Nature Methods 2021.

    Args:
        channels_in: channels of the image.
        width: channels of every layer.
        groups: residual groups.
        blocks: blocks of a group, of two convolutions each.
        reduction: the attention's hidden layer has width / reduction channels.
        spatial_dims: 2 or 3.
        init: a name in `bioflax.models.blocks.INITIALIZERS`; larger ones than the default let hundreds of blocks explode.
    """

    whole_image = True

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        groups: int = 10,
        blocks: int = 20,
        *,
        reduction: int = 16,
        spatial_dims: int = 2,
        init: str = "small_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        counts = {
            "channels_in": channels_in,
            "width": width,
            "groups": groups,
            "blocks": blocks,
            "reduction": reduction,
        }
        for field, value in counts.items():
            check_count(field, value)
        choose("spatial_dims", spatial_dims, (2, 3))
        if width % reduction:
            raise InputError(f"reduction: expected a divisor of width={width}, such as 1; found {reduction}")
        self.channels_in, self.width, self.groups, self.blocks = channels_in, width, groups, blocks
        self.reduction, self.spatial_dims, self.init = reduction, spatial_dims, init
        options = {"spatial_dims": spatial_dims, "init": init, "rngs": rngs}
        self.first = Conv(channels_in, width, 3, **options)
        self.body = nnx.Dict({f"group{i}": Group(width, blocks, reduction, **options) for i in range(groups)})
        self.last = Conv(width, width, 3, **options)
        self.widths, self.strides, self.stride_total = (width,), (1,), 1
        self.receptive_field = 1 + 2 * (2 + groups * (2 * blocks + 1))

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, [Z,] H, W, C).

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, 1, self.spatial_dims)
        shallow = out = self.first(image)
        for i in range(self.groups):
            out = self.body[f"group{i}"](out)
        return (self.last(out) + shallow,)

    @classmethod
    def published(cls) -> dict[str, Any]:
        """Arguments of the network for photographs: 15,592,355 parameters with three channels and upscale 4."""
        return {"width": 64, "groups": 10, "blocks": 20, "reduction": 16}

    @classmethod
    def microscopy(cls, spatial_dims: int = 3) -> dict[str, Any]:
        """Arguments of the network for microscopy (3D-RCAN): 1,002,621 parameters with `Direct(kernel=3)` in 3-D."""
        return {"width": 32, "groups": 5, "blocks": 3, "reduction": 8, "spatial_dims": spatial_dims}


class Group(nnx.Module):
    """`blocks` attention blocks and a convolution, added to the input."""

    def __init__(
        self, width: int, blocks: int, reduction: int, *, spatial_dims: int, init: str, rngs: nnx.Rngs
    ) -> None:
        options = {"spatial_dims": spatial_dims, "init": init, "rngs": rngs}
        self.blocks = nnx.Dict({f"block{i}": AttentionBlock(width, reduction, **options) for i in range(blocks)})
        self.last = Conv(width, width, 3, **options)

    def __call__(self, image: jax.Array) -> jax.Array:
        out = image
        for i in range(len(self.blocks)):
            out = self.blocks[f"block{i}"](out)
        return self.last(out) + image


class AttentionBlock(nnx.Module):
    """Two convolutions and a weight per channel, added to the input (RCAB)."""

    def __init__(self, width: int, reduction: int, *, spatial_dims: int, init: str, rngs: nnx.Rngs) -> None:
        options = {"spatial_dims": spatial_dims, "init": init, "rngs": rngs}
        self.conv0 = Conv(width, width, 3, **options)
        self.conv1 = Conv(width, width, 3, **options)
        self.squeeze = Conv(width, width // reduction, 1, **options)
        self.excite = Conv(width // reduction, width, 1, **options)

    def __call__(self, image: jax.Array) -> jax.Array:
        out = self.conv1(jax.nn.relu(self.conv0(image)))
        # Sums over an image overflow the precision of bfloat16.
        mean = jnp.mean(out, tuple(range(1, out.ndim - 1)), jnp.float32, keepdims=True)
        weights = jax.nn.sigmoid(self.excite(jax.nn.relu(self.squeeze(mean))))
        return image.astype(out.dtype) + out * weights
