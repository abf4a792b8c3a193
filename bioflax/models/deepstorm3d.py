"""DeepSTORM3D: from one image of dense, engineered spots to a volume of finer voxels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, LateNormStage, check_count, check_image, choose, late_norm
from bioflax.ops.resample import upsample_nearest


class DeepSTORM3D(nnx.Module):
    """The layers of DeepSTORM3D at the camera's resolution: residual, ever more dilated, each fed the image again.

    `Model(DeepSTORM3D, VolumeHead)` is the published network, 612,703 parameters at 121 planes.
    Source: Nehme et al., "DeepSTORM3D", Nature Methods 2020.

    Args:
        channels_in: channels of the image.
        width: channels of every layer.
        dilations: of the layers after the first, in pixels.
        slope: of the rectifiers below zero.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        *,
        slope: float = 0.2,
        init: str = "he_normal",
        rngs: nnx.Rngs,
    ) -> None:
        check_count("channels_in", channels_in)
        check_count("width", width)
        self.channels_in, self.width, self.dilations = channels_in, width, tuple(dilations)
        self.slope, self.init = slope, init
        self.norm = late_norm(channels_in)
        options = {"slope": slope, "init": init, "rngs": rngs}
        self.first = LateNormStage(channels_in, width, **options)
        self.layers = nnx.Dict(
            {
                f"conv{i}": LateNormStage(width + channels_in, width, dilation=dilation, **options)
                for i, dilation in enumerate(self.dilations)
            }
        )
        self.spatial_dims = 2
        self.widths = (width + channels_in,)
        self.strides = (1,)
        self.stride_total = 1
        self.receptive_field = 3 + 2 * sum(self.dilations)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Returns one map, (N, H, W, width + C): the features and the normalised image."""
        check_image(image, self.channels_in, 1)
        image = self.norm(image)
        out = self.first(image)
        for i in range(len(self.dilations)):
            out = self.layers[f"conv{i}"](out, image) + out
        return (jnp.concatenate([out, image], axis=-1),)


class VolumeHead(nnx.Module):
    """Predicts a volume with voxels a quarter of a pixel wide.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        planes: voxels along z.
        width: channels of the upsampling layers.
        peak: what a voxel that surely holds an emitter is worth; predictions lie in [0, peak].
        slope: of the rectifiers below zero.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
        spatial_dims: 2, of the image.
    """

    residual = False
    # Diameter in pixels of the image: four windows of voxels and one of half pixels reach 2 pixels at most.
    kernel = 5

    def __init__(
        self,
        widths: Sequence[int],
        *,
        planes: int = 121,
        width: int = 64,
        peak: float = 800.0,
        slope: float = 0.2,
        init: str = "he_normal",
        spatial_dims: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        choose("head.spatial_dims", spatial_dims, (2,))
        for field, value in {"head.planes": planes, "head.width": width}.items():
            check_count(field, value)
        if not peak > 0:
            raise InputError(f"head.peak: expected a positive number; found {peak!r}")
        self.widths, self.planes, self.width, self.peak = tuple(widths), planes, width, peak
        self.slope, self.init, self.spatial_dims = slope, init, spatial_dims
        options = {"slope": slope, "init": init, "rngs": rngs}
        self.half = LateNormStage(self.widths[0], width, **options)
        self.quarter = LateNormStage(width, width, **options)
        self.layers = nnx.Dict(
            conv0=LateNormStage(width, planes, **options),
            conv1=LateNormStage(planes, planes, **options),
            conv2=LateNormStage(planes, planes, **options),
        )
        self.out = Conv(planes, planes, 1, init=init, rngs=rngs)
        self.channels_out = planes

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"volume": (N, 4H, 4W, planes) float32} in [0, peak]; plane k is voxel k along z."""
        out = self.half(upsample_nearest(features[0]))
        out = self.quarter(upsample_nearest(out))
        out = self.layers.conv0(out)
        for name in ("conv1", "conv2"):
            out = self.layers[name](out) + out
        return {"volume": jnp.clip(self.out(out).astype(jnp.float32), 0.0, self.peak)}
