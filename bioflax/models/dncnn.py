"""The plain convolutional denoiser DnCNN."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Stage, check_count, check_kernel, choose


class DnCNN(nnx.Module):
    """A stack of convolutions at full resolution; the last one is the head's.

    The published network is `Model(DnCNN, partial(Residual, **Residual.dncnn()))`: a kernel-3, bias-free residual head.
    Source: Zhang et al., "Beyond a Gaussian denoiser", IEEE TIP 2017; batch-norm constants of Zhang et al., "A
    Poisson-Gaussian denoising dataset", CVPR 2019.

    Args:
        channels_in: channels of the image.
        width: channels of every layer.
        layers: convolutions, the head's included.
        kernel: window size in pixels, odd.
        spatial_dims: 2 or 3.
        norm: None or "batch", of the layers between the first and the last.
        activation: a name in `bioflax.models.blocks.ACTIVATIONS`.
        init: a name in `bioflax.models.blocks.INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        layers: int = 17,
        *,
        kernel: int = 3,
        spatial_dims: int = 2,
        norm: str | None = "batch",
        activation: str = "relu",
        init: str = "orthogonal",
        rngs: nnx.Rngs,
    ) -> None:
        check_count("channels_in", channels_in)
        check_count("width", width)
        check_count("layers", layers, least=2)
        check_kernel("kernel", kernel)
        choose("spatial_dims", spatial_dims, (2, 3))
        self.channels_in, self.width, self.layers, self.kernel = channels_in, width, layers, kernel
        self.spatial_dims, self.norm, self.activation, self.init = spatial_dims, norm, activation, init
        stages = {}
        for i in range(layers - 1):
            stages[f"conv{i}"] = Stage(
                width if i else channels_in,
                width,
                kernel,
                spatial_dims,
                bias=i == 0 or norm is None,
                norm=norm if i else None,
                activation=activation,
                init=init,
                momentum=0.95,
                epsilon=1e-4,
                rngs=rngs,
            )
        self.stages = nnx.Dict(stages)
        self.widths = (width,)
        self.strides = (1,)
        self.stride_total = 1
        self.receptive_field = 1 + (layers - 1) * (kernel - 1)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, [Z,] H, W, C).

        Returns:
            One map of `width` channels at full resolution.
        """
        if image.ndim != self.spatial_dims + 2 or image.shape[-1] != self.channels_in:
            axes = "(N, H, W, C)" if self.spatial_dims == 2 else "(N, Z, H, W, C)"
            raise InputError(f"image: expected {axes} with C={self.channels_in}; found shape {tuple(image.shape)}")
        for i in range(self.layers - 1):
            image = self.stages[f"conv{i}"](image)
        return (image,)

    @classmethod
    def published(cls) -> dict[str, Any]:
        """Arguments of the published network: 17 layers of 64 channels with batch norm."""
        return {"width": 64, "layers": 17, "kernel": 3, "norm": "batch"}
