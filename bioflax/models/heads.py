"""Heads: from the finest map of a backbone to a restored image, on its grid or a finer one, with or without a scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, check_count, choose
from bioflax.models.upsample import TAILS, Upsampler, check_upscale, subpixel_conv, tail_reach
from bioflax.ops.resample import depth_to_space, upsample_in_plane

SCALE_FLOOR = 1e-3  # of the normalised intensity; CARE's value


class _Restoring(nnx.Module):
    """What the heads below share: the way to the finer grid, the last convolutions on it, the input to add."""

    residual = False
    over_frames = False

    def _begin(self, widths: Sequence[int], channels_out: int, spatial_dims: int, kernel: int, bias: bool) -> None:
        self.widths, self.channels_out = _checked(widths, channels_out), channels_out
        self.spatial_dims, self.kernel, self.bias = spatial_dims, kernel, bias

    def _enlarge(self, upscale: int, tail: str, rngs: nnx.Rngs) -> None:
        check_upscale("upscale", upscale)
        choose("tail", tail, TAILS)
        self.upscale, self.tail = upscale, tail
        learned = upscale > 1 and tail != "direct"
        self.upsampler = Upsampler(self.widths[0], upscale, tail, self.spatial_dims, rngs=rngs) if learned else None

    def _last(self, rngs: nnx.Rngs) -> Conv:
        width = self.widths[0] if self.upsampler is None else self.upsampler.channels_out
        shuffled = self.upscale if self.tail == "direct" else 1
        return subpixel_conv(
            width, self.channels_out, shuffled, self.kernel, self.spatial_dims, bias=self.bias, rngs=rngs
        )

    @property
    def window(self) -> int:
        """Diameter, in pixels of the input, of what the head reads to predict a pixel."""
        interpolates = self.residual and self.upscale > 1  # its neighbours
        reach = tail_reach(self.upscale, self.tail, self.kernel, self.spatial_dims)
        return 1 + 2 * max(reach, int(interpolates))

    def _fine(self, features: tuple[jax.Array, ...]) -> jax.Array:
        return features[0] if self.upsampler is None else self.upsampler(features[0])

    def _through(self, last: Conv, fine: jax.Array) -> jax.Array:
        output = last(fine).astype(jnp.float32)
        return depth_to_space(output, self.upscale) if self.tail == "direct" else output

    def _onto(self, image: jax.Array, correction: jax.Array) -> jax.Array:
        image = image.astype(jnp.float32)
        if self.over_frames:
            image = image.mean(-1, keepdims=True)
        return upsample_in_plane(image, self.upscale) + correction


class Direct(_Restoring):
    """Predicts the image itself.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        kernel: window size of the last convolution in pixels of the restored image.
        bias: give the last convolution a bias.
        upscale: pixels of the restored image along a pixel of the input, in H and W: 1 to 8.
        tail: how the maps are enlarged, a name in `bioflax.models.upsample.TAILS`; "direct" is the last convolution alone.
        squash: end in a sigmoid, for targets in [0, 1] (DFCAN).
    """

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        kernel: int = 1,
        bias: bool = True,
        upscale: int = 1,
        tail: str = "edsr",
        squash: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self._begin(widths, channels_out, spatial_dims, kernel, bias)
        self._enlarge(upscale, tail, rngs)
        self.squash = squash
        self.mean = self._last(rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": (N, [Z,] s H, s W, channels_out) float32} from the finest of `features`."""
        restored = self._through(self.mean, self._fine(features))
        return {"image": jax.nn.sigmoid(restored) if self.squash else restored}

    @classmethod
    def edsr(cls, upscale: int = 2) -> dict[str, Any]:
        """Arguments of the tail of EDSR and RCAN; upscale 1 is that of 3D-RCAN, a convolution of 3."""
        return {"kernel": 3, "upscale": upscale, "tail": "edsr"}

    @classmethod
    def srresnet(cls, upscale: int = 4) -> dict[str, Any]:
        """Arguments of the tail of SRResNet: shuffles with a PReLU each, a last convolution of 9."""
        return {"kernel": 9, "upscale": upscale, "tail": "srresnet"}

    @classmethod
    def dfcan(cls, upscale: int = 2) -> dict[str, Any]:
        """Arguments of the tail of DFCAN: one shuffle behind a GELU, a last convolution of 3 and a sigmoid."""
        return {"kernel": 3, "upscale": upscale, "tail": "dfcan", "squash": True}

    @classmethod
    def swinir(cls, upscale: int = 2, *, light: bool = False) -> dict[str, Any]:
        """Arguments of the tail of SwinIR, classical or lightweight."""
        return {"kernel": 3, "upscale": upscale, "tail": "direct" if light else "swinir"}


class Residual(_Restoring):
    """Predicts what to add to the input image, which is enlarged linearly where `upscale` is above 1.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image, equal to the input's unless `over_frames`.
        spatial_dims: 2 or 3.
        kernel: window size of the last convolution in pixels of the restored image.
        bias: give the last convolution a bias.
        upscale: pixels of the restored image along a pixel of the input, in H and W: 1 to 8.
        tail: how the maps are enlarged, a name in `bioflax.models.upsample.TAILS`.
        over_frames: the input's channels are frames of one field: add their mean to every channel.
    """

    residual = True

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        kernel: int = 1,
        bias: bool = True,
        upscale: int = 1,
        tail: str = "edsr",
        over_frames: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self._begin(widths, channels_out, spatial_dims, kernel, bias)
        self._enlarge(upscale, tail, rngs)
        self.over_frames = over_frames
        self.mean = self._last(rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": (N, [Z,] s H, s W, channels_out) float32}: `image` plus the correction."""
        return {"image": self._onto(image, self._through(self.mean, self._fine(features)))}

    @classmethod
    def dncnn(cls) -> dict[str, Any]:
        """Arguments of DnCNN's last layer (which predicts the noise to subtract: the same with the kernel's sign)."""
        return {"kernel": 3, "bias": False}


class _Scaled(_Restoring):
    """A head that predicts a location and a scale for every pixel."""

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        residual: bool = True,
        kernel: int = 1,
        upscale: int = 1,
        tail: str = "edsr",
        over_frames: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self._begin(widths, channels_out, spatial_dims, kernel, bias=True)
        self._enlarge(upscale, tail, rngs)
        self.residual, self.over_frames = residual, over_frames
        self.mean = self._last(rngs)
        self.scale = self._last(rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": location, "scale": scale}, each (N, [Z,] s H, s W, channels_out) float32."""
        fine = self._fine(features)
        mean = self._through(self.mean, fine)
        scale = jax.nn.softplus(self._through(self.scale, fine)) + SCALE_FLOOR
        return {"image": self._onto(image, mean) if self.residual else mean, "scale": scale}


class Gaussian(_Scaled):
    """Predicts a mean and a standard deviation for every pixel: "image" and "scale".

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        residual: predict the mean as a correction to the input, enlarged linearly where `upscale` is above 1.
        kernel: window size of the last convolutions in pixels of the restored image.
        upscale: pixels of the restored image along a pixel of the input, in H and W: 1 to 8.
        tail: how the maps are enlarged, a name in `bioflax.models.upsample.TAILS`.
        over_frames: the input's channels are frames of one field: a correction is to their mean.
    """


class Laplace(_Scaled):
    """Predicts median and scale b of a Laplace distribution (density exp(-|y - m|/b) / 2b): "image" and "scale".

    Source: the probabilistic network of Weigert et al., "Content-aware image restoration", Nature Methods 2018.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        residual: predict the median as a correction to the input, enlarged linearly where `upscale` is above 1.
        kernel: window size of the last convolutions in pixels of the restored image.
        upscale: pixels of the restored image along a pixel of the input, in H and W: 1 to 8.
        tail: how the maps are enlarged, a name in `bioflax.models.upsample.TAILS`.
        over_frames: the input's channels are frames of one field: a correction is to their mean.
    """


def _checked(widths: Sequence[int], channels_out: int) -> tuple[int, ...]:
    check_count("channels_out", channels_out)
    if isinstance(widths, int) or not len(widths):
        raise InputError(
            f"widths: expected the channel counts of a backbone's maps, such as (32, 32, 64); found {widths!r}"
        )
    for width in widths:
        check_count("widths", width)
    return tuple(widths)
