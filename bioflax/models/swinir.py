"""SwinIR: attention inside windows that shift from layer to layer, in residual groups at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import ACTIVATIONS, Conv, check_count, check_image

gelu = ACTIVATIONS["gelu_exact"]
_STD = 0.02  # of the dense layers and of the position tables at the start, cut at two of them, as published
_INIT = "small_uniform"  # of the convolutions, as published
_HIDDEN = -1e9  # added to the logits of pixels that the cyclic shift brought together: exactly no weight


class SwinIR(nnx.Module):
    """The Swin transformer for image restoration, up to and including its long skip; the head does the rest.

    A tile equals the whole image where its corner lies on a multiple of the window and it is wider, by half the receptive
    field, than what is kept of it. There is no drop path (published: 0.1 in training, 0 in prediction).
    Source: Liang et al., "SwinIR: image restoration using Swin transformer", ICCV workshops 2021; Liu et al., "Swin
    transformer", ICCV 2021.

    Args:
        channels_in: channels of the image.
        embed: channels of the features.
        depths: layers of every group; every second layer shifts its windows by half their side.
        heads: attention heads of the layers of every group.
        window: side of the attention windows in pixels; sides of images are multiples of it.
        mlp_ratio: channels inside the perceptrons over `embed`.
    """

    def __init__(
        self,
        channels_in: int = 1,
        embed: int = 180,
        depths: Sequence[int] = (6,) * 6,
        heads: Sequence[int] = (6,) * 6,
        *,
        window: int = 8,
        mlp_ratio: float = 2,
        rngs: nnx.Rngs,
    ) -> None:
        depths, heads = tuple(depths), tuple(heads)
        _check(channels_in, embed, depths, heads, window, mlp_ratio)
        self.channels_in, self.embed, self.depths, self.heads = channels_in, embed, depths, heads
        self.window, self.mlp_ratio = window, mlp_ratio
        hidden = round(embed * mlp_ratio)

        def group(depth: int, number: int) -> nnx.Dict:
            shifts = [window // 2 * (i % 2) for i in range(depth)]
            layers = {
                f"layer{i}": SwinLayer(embed, number, window, shift, hidden, rngs=rngs)
                for i, shift in enumerate(shifts)
            }
            return nnx.Dict(**layers, conv=Conv(embed, embed, 3, init=_INIT, rngs=rngs))

        self.first = Conv(channels_in, embed, 3, init=_INIT, rngs=rngs)
        self.norm_in = _LayerNorm(embed)
        self.body = nnx.Dict({f"group{i}": group(*pair) for i, pair in enumerate(zip(depths, heads, strict=True))})
        self.norm_out = _LayerNorm(embed)
        self.last = Conv(embed, embed, 3, init=_INIT, rngs=rngs)
        self.spatial_dims = 2
        self.widths = (embed,)
        self.strides = (1,)
        self.stride_total = window
        self.receptive_field = _receptive_field(depths, window)

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, H, W, C), H and W multiples of `window`.

        Returns:
            One map of `embed` channels at full resolution.
        """
        check_image(image, self.channels_in, self.window)
        shallow = self.first(image)
        image = self.norm_in(shallow)
        for depth, group in zip(self.depths, self.body.values(), strict=True):
            before = image
            for i in range(depth):
                image = group[f"layer{i}"](image)
            image = group.conv(image) + before
        return (self.last(self.norm_out(image)) + shallow,)

    @classmethod
    def published(cls) -> dict[str, Any]:
        """Arguments of the network of classical super-resolution (11.9 M parameters)."""
        return {"embed": 180, "depths": (6,) * 6, "heads": (6,) * 6, "window": 8, "mlp_ratio": 2}

    @classmethod
    def light(cls) -> dict[str, Any]:
        """Arguments of the network of lightweight super-resolution (0.9 M parameters)."""
        return {"embed": 60, "depths": (6,) * 4, "heads": (6,) * 4, "window": 8, "mlp_ratio": 2}

    @classmethod
    def denoising(cls) -> dict[str, Any]:
        """Arguments of the network of denoising, the body of classical super-resolution."""
        return cls.published()


class SwinLayer(nnx.Module):
    """Attention between the pixels of a window, then a perceptron at every pixel, each after a norm and added.

    Args:
        embed: channels, a multiple of `heads`.
        heads: attention heads.
        window: side of the windows in pixels.
        shift: pixels that the windows are shifted by, down and to the right; those that leave the image enter opposite.
        hidden: channels inside the perceptron.
    """

    def __init__(self, embed: int, heads: int, window: int, shift: int, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.heads, self.window, self.shift = heads, window, shift
        self.norm0, self.norm1 = _LayerNorm(embed), _LayerNorm(embed)
        keys = jax.random.split(rngs.params(), 5)
        self.qkv = _Dense(embed, 3 * embed, keys[0])
        # A bias for every offset between two pixels of a window.
        self.position = nnx.Param(_normal(keys[1], (2 * window - 1) ** 2, heads))
        self.project = _Dense(embed, embed, keys[2])
        self.expand = _Dense(embed, hidden, keys[3])
        self.contract = _Dense(hidden, embed, keys[4])

    def __call__(self, image: jax.Array) -> jax.Array:
        """Runs the layer on (N, H, W, embed), H and W multiples of `window`."""
        image = image + self._attend(self.norm0(image))
        return image + self.contract(gelu(self.expand(self.norm1(image))))

    def _attend(self, image: jax.Array) -> jax.Array:
        count, height, width, channels = image.shape
        side = self.window
        rows, columns = height // side, width // side
        if self.shift:
            image = jnp.roll(image, (-self.shift, -self.shift), (1, 2))
        image = image.reshape(count, rows, side, columns, side, channels).swapaxes(2, 3)
        image = image.reshape(-1, side * side, channels)
        # Heads first: every product is then over contiguous matrices, and the position's gradient a sum over whole rows.
        qkv = self.qkv(image).reshape(*image.shape[:2], 3, self.heads, -1)
        query, key, value = qkv.transpose(2, 3, 0, 1, 4)  # (heads, windows, pixel, channel)
        logits = ((query * query.shape[-1] ** -0.5) @ key.swapaxes(2, 3)).astype(jnp.float32)
        weights = softmax(logits + self._bias(count, rows, columns)).astype(value.dtype)
        image = (weights @ value).transpose(1, 2, 0, 3).reshape(image.shape)
        image = self.project(image).reshape(count, rows, columns, side, side, channels)
        image = image.swapaxes(2, 3).reshape(count, height, width, channels)
        return jnp.roll(image, (self.shift, self.shift), (1, 2)) if self.shift else image

    def _bias(self, count: int, rows: int, columns: int) -> jax.Array:
        pixels = self.window**2
        bias = self.position[...][_offsets(self.window)].astype(jnp.float32).transpose(2, 0, 1)[:, None]
        if not self.shift:
            return bias
        along = [jnp.asarray(_neighbours(n, self.window, self.shift)) for n in (rows, columns)]
        # From one small table an axis: a mask for every window, as a constant, would be larger than the image.
        together = along[0][:, None, :, None, :, None] & along[1][None, :, None, :, None, :]
        together = jnp.broadcast_to(together, (count, *together.shape[:2], *(self.window,) * 4))
        return bias + jnp.where(together.reshape(-1, pixels, pixels), 0.0, _HIDDEN)


@jax.custom_jvp
def softmax(logits: jax.Array) -> jax.Array:
    """exp(logits) over its sum along the last axis, with a derivative that needs no more than the result."""
    shifted = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return shifted / jnp.sum(shifted, axis=-1, keepdims=True)


@softmax.defjvp
def _softmax_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    weights = softmax(*primals)
    change = weights * tangents[0]
    return weights, change - weights * jnp.sum(change, axis=-1, keepdims=True)


class _LayerNorm(nnx.Module):
    """Normalises every pixel over its channels, in float32: no pixel reads another, so that tiles equal the whole."""

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))

    def __call__(self, image: jax.Array) -> jax.Array:
        wide = image.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + 1e-5)
        scale = self.scale[...]
        return normal.astype(scale.dtype) * scale + self.bias[...]


class _Dense(nnx.Module):
    """A matrix product over the channels, and a bias."""

    def __init__(self, channels_in: int, channels_out: int, key: jax.Array) -> None:
        self.kernel = nnx.Param(_normal(key, channels_in, channels_out))
        self.bias = nnx.Param(jnp.zeros((channels_out,), jnp.float32))

    def __call__(self, image: jax.Array) -> jax.Array:
        return image @ self.kernel[...] + self.bias[...]


def _normal(key: jax.Array, *shape: int) -> jax.Array:
    return _STD * jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)


def _offsets(window: int) -> np.ndarray:
    """(w*w, w*w) int: the row of the position table for a pixel and the pixel it looks at."""
    place = np.stack(np.unravel_index(np.arange(window**2), (window, window)), -1)
    offset = place[:, None] - place[None, :] + window - 1
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]


def _neighbours(count: int, window: int, shift: int) -> np.ndarray:
    """(count, w, w) bool along one axis: whether two pixels of a shifted window are neighbours in the image too.

    They all are but in the last window, where the pixels that the shift brought over from the other side follow.
    """
    far = np.zeros((count, window), bool)
    far[-1, window - shift :] = True
    return far[:, :, None] == far[:, None, :]


def _receptive_field(depths: Sequence[int], window: int) -> int:
    # Follows the output pixels of one window back to the span of input pixels they read.
    farthest = 0
    for pixel in range(window):
        low = high = pixel
        for depth in (0, *reversed(depths)):
            low, high = low - 1, high + 1  # the convolution behind the group; first of all the one behind the body
            for i in reversed(range(depth)):
                shift = window // 2 * (i % 2)
                low = (low - shift) // window * window + shift
                high = (high - shift) // window * window + shift + window - 1
        farthest = max(farthest, pixel - low + 1, high + 1 - pixel)
    return 1 + 2 * farthest


def _check(
    channels_in: int, embed: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int, mlp_ratio: float
) -> None:
    for field, value in {"channels_in": channels_in, "embed": embed}.items():
        check_count(field, value)
    check_count("window", window, least=2)
    for field, values in {"depths": depths, "heads": heads}.items():
        for value in values:
            check_count(field, value)
    if len(depths) != len(heads) or not depths:
        raise InputError(f"heads: expected as many numbers as depths={depths} has, at least one; found {heads}")
    if any(embed % number for number in heads):
        raise InputError(f"heads: expected divisors of embed={embed}; found {heads}")
    if isinstance(mlp_ratio, bool) or not isinstance(mlp_ratio, int | float) or round(embed * mlp_ratio) < 1:
        raise InputError(f"mlp_ratio: expected a number above 0, such as 2; found {mlp_ratio!r}")
