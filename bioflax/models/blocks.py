"""The layers that backbones and heads are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.ops.conv import convolve_dilated, convolve_joined

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jnp.where(x >= 0, x, 0.1 * x),  # 0.1 as in Noise2Noise; JAX's own default is 0.01
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,  # the approximation by a tanh
    "gelu_exact": lambda x: (
        0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))
    ),  # JAX's own, by erfc, takes three times as long
    "silu": jax.nn.silu,
    "identity": lambda x: x,
}
INITIALIZERS: dict[str, Callable[..., jax.Array]] = {
    "glorot_uniform": jax.nn.initializers.glorot_uniform(),
    "he_normal": jax.nn.initializers.he_normal(),
    "he_normal_tanh": jax.nn.initializers.variance_scaling((5 / 3) ** 2, "fan_in", "truncated_normal"),  # before a tanh
    "lecun_normal": jax.nn.initializers.lecun_normal(),  # He's for a layer with no rectifier behind it
    "small_uniform": jax.nn.initializers.variance_scaling(
        1 / 3, "fan_in", "uniform"
    ),  # PyTorch's, for deep residual nets
    "orthogonal": jax.nn.initializers.orthogonal(),
    "zeros": jax.nn.initializers.zeros,
}
NORMS = (None, "batch")


def choose(field: str, value: object, valid: object) -> None:
    """Raises an InputError that lists the valid names if `value` is not one of them."""
    if value not in valid:
        names = ", ".join(str(name) for name in valid)
        raise InputError(f"{field}: expected one of {names}; found {value!r}")


def check_count(field: str, value: object, least: int = 1) -> None:
    """Raises an InputError if `value` is not a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{field}: expected a whole number of at least {least}; found {value!r}")


def check_kernel(field: str, value: object) -> None:
    """Raises an InputError if `value` is not an odd whole number."""
    check_count(field, value)
    if value % 2 == 0:
        raise InputError(f"{field}: expected an odd size (the window has a centre); found {value}")


def reach(path: Sequence[int | str], stride: int) -> int:
    """How far, in input pixels, the farthest pixel that an output pixel reads can lie.

    Args:
        path: the layers from the output back to the input: a window's radius in pixels of its own grid, "up" for a
            twofold nearest-neighbour upsampling, "down" for a pooling of pairs. The longest path of the network.
        stride: pixels of the coarsest grid; the answer is the worst of an output pixel's places in it.
    """
    farthest = 0
    for pixel in range(stride):
        low = high = pixel
        for step in path:
            if step == "up":
                low, high = low // 2, high // 2
            elif step == "down":
                low, high = 2 * low, 2 * high + 1
            else:
                low, high = low - step, high + step
        farthest = max(farthest, pixel - low, high - pixel)
    return farthest


def check_image(image: jax.Array, channels: int, stride: int, spatial_dims: int = 2) -> None:
    """Raises an InputError unless `image` is (N, [Z,] H, W, channels) with sides that are multiples of `stride`."""
    if image.ndim != spatial_dims + 2 or image.shape[-1] != channels:
        axes = "(N, H, W, C)" if spatial_dims == 2 else "(N, Z, H, W, C)"
        raise InputError(f"image: expected {axes} with C={channels}; found shape {tuple(image.shape)}")
    if any(size % stride for size in image.shape[1:-1]):
        raise InputError(
            f"image: expected spatial sizes that are multiples of {stride}; found {tuple(image.shape[1:-1])}."
            " Pad the image"
        )


class Conv(nnx.Module):
    """A stride-1 convolution that keeps the size, with an optional bias.

    The input is cast to the kernel's type: casting the parameters to bfloat16 makes the computation bfloat16.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: window size in pixels, odd, the same along every axis.
        spatial_dims: 2 or 3.
        bias: add a constant per output channel.
        dilation: distance between the window's taps in pixels.
        init: initializer of the kernel, a name in `INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        spatial_dims: int = 2,
        *,
        bias: bool = True,
        dilation: int = 1,
        init: str = "glorot_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        check_count("channels_in", channels_in)
        check_count("channels_out", channels_out)
        check_count("dilation", dilation)
        check_kernel("kernel", kernel)
        choose("spatial_dims", spatial_dims, (2, 3))
        choose("init", init, INITIALIZERS)
        self.dilation = dilation
        shape = (kernel,) * spatial_dims + (channels_in, channels_out)
        self.kernel = nnx.Param(INITIALIZERS[init](rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels_out,), jnp.float32)) if bias else None

    def __call__(self, image: jax.Array, coarse: jax.Array | None = None) -> jax.Array:
        """Convolves `image`; a map `coarse` of half its size is first upsampled by repeating pixels and put before it.

        Only a window without dilation takes a coarse map.
        """
        kernel = self.kernel[...]
        image = image.astype(kernel.dtype)
        joined = coarse is not None
        output = convolve_joined(coarse, image, kernel) if joined else convolve_dilated(image, kernel, self.dilation)
        return output if self.bias is None else output + self.bias[...]


class BatchNorm(nnx.Module):
    """Normalises each channel by the batch (`training`) or by running statistics (otherwise, so tiles equal the whole).

    Args:
        channels: channels of the input.
        momentum: share of the old running statistic kept at each training call.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, *, momentum: float = 0.99, epsilon: float = 1e-3) -> None:
        self.momentum = momentum
        self.epsilon = epsilon
        self.training = False
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((channels,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((channels,), jnp.float32))

    def __call__(self, image: jax.Array) -> jax.Array:
        mean, var = self.mean[...], self.var[...]
        if self.training:
            axes = tuple(range(image.ndim - 1))
            wide = image.astype(jnp.float32)  # sums over a batch overflow the precision of bfloat16
            batch_mean = jnp.mean(wide, axes)
            batch_var = jnp.mean(jnp.square(wide - batch_mean), axes)
            self.mean[...] = self.momentum * mean + (1 - self.momentum) * batch_mean.astype(mean.dtype)
            self.var[...] = self.momentum * var + (1 - self.momentum) * batch_var.astype(var.dtype)
            mean, var = batch_mean, batch_var
        gain = self.scale[...] * jax.lax.rsqrt(var + self.epsilon)
        shift = self.bias[...] - mean * gain
        return image * gain.astype(image.dtype) + shift.astype(image.dtype)


class PReLU(nnx.Module):
    """A rectifier that learns its slope below zero: one number for all channels, at first 0.25.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """

    def __init__(self) -> None:
        self.slope = nnx.Param(jnp.full((1,), 0.25, jnp.float32))

    def __call__(self, image: jax.Array) -> jax.Array:
        return jnp.where(image >= 0, image, self.slope[...].astype(image.dtype) * image)


class Stage(nnx.Module):
    """A convolution, an optional batch norm and an activation.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: window size in pixels.
        spatial_dims: 2 or 3.
        bias: give the convolution a bias.
        norm: None or "batch".
        activation: a name in `ACTIVATIONS`.
        init: a name in `INITIALIZERS`.
        momentum: of the batch norm.
        epsilon: of the batch norm.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        spatial_dims: int,
        *,
        bias: bool = True,
        norm: str | None = None,
        activation: str = "relu",
        init: str = "glorot_uniform",
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ) -> None:
        choose("norm", norm, NORMS)
        choose("activation", activation, ACTIVATIONS)
        self.activation = activation
        self.conv = Conv(channels_in, channels_out, kernel, spatial_dims, bias=bias, init=init, rngs=rngs)
        self.norm = BatchNorm(channels_out, momentum=momentum, epsilon=epsilon) if norm == "batch" else None

    def __call__(self, image: jax.Array, coarse: jax.Array | None = None) -> jax.Array:
        image = self.conv(image, coarse)
        if self.norm is not None:
            image = self.norm(image)
        return ACTIVATIONS[self.activation](image)


class LateNormStage(nnx.Module):
    """A convolution, a (leaky) rectifier and then a batch norm: the order of DeepSTORM3D and LiteLoc.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        dilation: distance between the taps of the 3x3 window in pixels.
        slope: of the rectifier below zero.
        init: a name in `INITIALIZERS`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        dilation: int = 1,
        slope: float = 0.0,
        init: str = "he_normal",
        rngs: nnx.Rngs,
    ) -> None:
        self.slope = slope
        self.conv = Conv(channels_in, channels_out, 3, 2, dilation=dilation, init=init, rngs=rngs)
        self.norm = late_norm(channels_out)

    def __call__(self, *maps: jax.Array) -> jax.Array:
        """Runs the stage on the maps, (N, H, W, C) each, concatenated along the channels."""
        image = self.conv(maps[0] if len(maps) == 1 else jnp.concatenate(maps, axis=-1))
        return self.norm(jnp.maximum(image, self.slope * image) if self.slope else jax.nn.relu(image))


def late_norm(channels: int) -> BatchNorm:
    """The batch norm of DeepSTORM3D and LiteLoc (PyTorch's defaults)."""
    return BatchNorm(channels, momentum=0.9, epsilon=1e-5)
