"""Heads: from the finest map of a backbone to a restored image, with or without a scale per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import Conv, check_count

SCALE_FLOOR = 1e-3  # of the normalised intensity; CARE's value


class Direct(nnx.Module):
    """Predicts the image itself.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        kernel: window size of the last convolution in pixels.
        bias: give the last convolution a bias.
    """

    residual = False

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        kernel: int = 1,
        bias: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.widths, self.channels_out = _checked(widths, channels_out), channels_out
        self.spatial_dims, self.kernel, self.bias = spatial_dims, kernel, bias
        self.mean = Conv(self.widths[0], channels_out, kernel, spatial_dims, bias=bias, rngs=rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": (N, [Z,] H, W, channels_out) float32} from the finest of `features`."""
        return {"image": self.mean(features[0]).astype(jnp.float32)}


class Residual(nnx.Module):
    """Predicts what to add to the input image.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image, equal to the input's.
        spatial_dims: 2 or 3.
        kernel: window size of the last convolution in pixels.
        bias: give the last convolution a bias.
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
        rngs: nnx.Rngs,
    ) -> None:
        self.widths, self.channels_out = _checked(widths, channels_out), channels_out
        self.spatial_dims, self.kernel, self.bias = spatial_dims, kernel, bias
        self.mean = Conv(self.widths[0], channels_out, kernel, spatial_dims, bias=bias, rngs=rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": (N, [Z,] H, W, channels_out) float32}: `image` plus the correction."""
        return {"image": image.astype(jnp.float32) + self.mean(features[0]).astype(jnp.float32)}

    @classmethod
    def dncnn(cls) -> dict[str, Any]:
        """Arguments of DnCNN's last layer (which predicts the noise to subtract: the same with the kernel's sign)."""
        return {"kernel": 3, "bias": False}


class Gaussian(nnx.Module):
    """Predicts a mean and a standard deviation for every pixel.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        residual: predict the mean as a correction to the input.
    """

    kernel = 1

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        residual: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.widths, self.channels_out = _checked(widths, channels_out), channels_out
        self.spatial_dims, self.residual = spatial_dims, residual
        self.mean = Conv(self.widths[0], channels_out, 1, spatial_dims, rngs=rngs)
        self.scale = Conv(self.widths[0], channels_out, 1, spatial_dims, rngs=rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": mean, "scale": standard deviation}, each (N, [Z,] H, W, channels_out) float32."""
        return _mean_and_scale(self, features, image)


class Laplace(nnx.Module):
    """Predicts the median and the scale b of a Laplace distribution (density exp(-|y - m|/b) / 2b) for every pixel.

    Source: the probabilistic network of Weigert et al., "Content-aware image restoration", Nature Methods 2018.

    Args:
        widths: channels of the backbone's maps, fine to coarse.
        channels_out: channels of the restored image.
        spatial_dims: 2 or 3.
        residual: predict the median as a correction to the input.
    """

    kernel = 1

    def __init__(
        self,
        widths: Sequence[int],
        channels_out: int = 1,
        *,
        spatial_dims: int = 2,
        residual: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.widths, self.channels_out = _checked(widths, channels_out), channels_out
        self.spatial_dims, self.residual = spatial_dims, residual
        self.mean = Conv(self.widths[0], channels_out, 1, spatial_dims, rngs=rngs)
        self.scale = Conv(self.widths[0], channels_out, 1, spatial_dims, rngs=rngs)

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> dict[str, jax.Array]:
        """Returns {"image": median, "scale": b}, each (N, [Z,] H, W, channels_out) float32."""
        return _mean_and_scale(self, features, image)


def _mean_and_scale(
    head: Gaussian | Laplace, features: tuple[jax.Array, ...], image: jax.Array
) -> dict[str, jax.Array]:
    mean = head.mean(features[0]).astype(jnp.float32)
    scale = jax.nn.softplus(head.scale(features[0]).astype(jnp.float32)) + SCALE_FLOOR
    return {"image": image.astype(jnp.float32) + mean if head.residual else mean, "scale": scale}


def _checked(widths: Sequence[int], channels_out: int) -> tuple[int, ...]:
    check_count("channels_out", channels_out)
    if isinstance(widths, int) or not len(widths):
        raise InputError(
            f"widths: expected the channel counts of a backbone's maps, such as (32, 32, 64); found {widths!r}"
        )
    for width in widths:
        check_count("widths", width)
    return tuple(widths)
