"""From the grid of a camera to a finer one: the upsampling tails of the published super-resolution networks.

Every convolution before a pixel shuffle starts with the same kernel for all sub-pixels (ICNR): an even map is enlarged
without a checkerboard, which a network would otherwise have to unlearn.
Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
network", CVPR 2016; Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import ACTIVATIONS, Conv, PReLU, choose
from bioflax.ops.resample import depth_to_space

TAILS = ("edsr", "dfcan", "srresnet", "swinir", "direct")
LARGEST_UPSCALE = 8
SWINIR_WIDTH = 64  # channels that the "swinir" tail works on, whatever the body has


class Upsampler(nnx.Module):
    """Enlarges H and W of a map `upscale`-fold by convolutions and pixel shuffles.

    Tails: "edsr" (also RCAN): a convolution of 3 to s s times the channels and a shuffle, for each prime factor s of
    `upscale`; "srresnet": the same, then a PReLU each; "swinir": a convolution to 64 channels, LeakyReLU (0.01), then as
    "edsr"; "dfcan": one convolution, exact GELU and one shuffle for all of `upscale`.

    Args:
        channels_in: channels of the map.
        upscale: fine pixels along an input pixel, 2 to 8.
        tail: one of the above.
        spatial_dims: 2 or 3; z is never enlarged.
    """

    def __init__(
        self, channels_in: int, upscale: int, tail: str = "edsr", spatial_dims: int = 2, *, rngs: nnx.Rngs
    ) -> None:
        check_upscale("upscale", upscale)
        choose("tail", tail, TAILS[:-1])
        self.tail, self.factors = tail, shuffles(upscale, tail)
        self.channels_out = SWINIR_WIDTH if tail == "swinir" else channels_in
        width = self.channels_out
        self.first = Conv(channels_in, width, 3, spatial_dims, rngs=rngs) if tail == "swinir" else None
        self.convs = nnx.Dict(
            {
                f"conv{i}": subpixel_conv(width, width, factor, 3, spatial_dims, rngs=rngs)
                for i, factor in enumerate(self.factors)
            }
        )
        self.slopes = nnx.Dict({f"slope{i}": PReLU() for i in range(len(self.factors) if tail == "srresnet" else 0)})

    def __call__(self, image: jax.Array) -> jax.Array:
        """(N, [Z,] H, W, channels_in) -> (N, [Z,] s H, s W, channels_out)."""
        if self.first is not None:
            image = jax.nn.leaky_relu(self.first(image), 0.01)
        for i, factor in enumerate(self.factors):
            image = self.convs[f"conv{i}"](image)
            if self.tail == "dfcan":
                image = ACTIVATIONS["gelu_exact"](image)
            image = depth_to_space(image, factor)
            if self.tail == "srresnet":
                image = self.slopes[f"slope{i}"](image)
        return image


def subpixel_conv(
    channels_in: int,
    channels_out: int,
    factor: int,
    kernel: int,
    spatial_dims: int = 2,
    *,
    bias: bool = True,
    rngs: nnx.Rngs,
) -> Conv:
    """A convolution to `channels_out` channels for each of factor x factor sub-pixels, at first all equal.

    Behind it belongs `bioflax.ops.depth_to_space`. Arguments as of `Conv`.
    """
    conv = Conv(channels_in, channels_out, kernel, spatial_dims, bias=bias, rngs=rngs)
    if factor > 1:
        conv.kernel = nnx.Param(jnp.tile(conv.kernel[...], factor**2))
        conv.bias = nnx.Param(jnp.tile(conv.bias[...], factor**2)) if bias else None
    return conv


def shuffles(upscale: int, tail: str) -> tuple[int, ...]:
    """Factors of the pixel shuffles that enlarge by `upscale`: its primes in rising order; "dfcan" and "direct" take one."""
    if tail in ("dfcan", "direct"):
        return (upscale,)
    factors, rest = [], upscale
    for prime in (2, 3, 5, 7):
        while rest % prime == 0:
            factors.append(prime)
            rest //= prime
    return tuple(factors)


def tail_reach(upscale: int, tail: str, kernel: int, spatial_dims: int = 2) -> int:
    """How far, in input pixels, a tail and the last convolution behind it read from the pixel that a fine pixel lies on.

    Args:
        upscale: fine pixels along an input pixel.
        tail: one of `TAILS`.
        kernel: window of the last convolution in pixels of its own grid.
        spatial_dims: 2 or 3; along z, which is not enlarged, every window reaches its full radius.
    """
    radius = kernel // 2
    if upscale == 1 or tail == "direct":
        return radius
    factors, before = shuffles(upscale, tail), int(tail == "swinir")
    farthest = radius + len(factors) + before if spatial_dims == 3 else 0
    for pixel in range(upscale):
        low, high = pixel - radius, pixel + radius
        for factor in reversed(factors):
            low, high = low // factor - 1, high // factor + 1
        farthest = max(farthest, before - low, before + high)
    return farthest


def check_upscale(field: str, value: object) -> None:
    """Raises an InputError unless `value` is a whole number from 1 to 8."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_UPSCALE:
        raise InputError(f"{field}: expected a whole number from 1 to {LARGEST_UPSCALE}; found {value!r}")
