"""The layers that backbones and heads are made of."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from bioflax.errors import InputError
from bioflax.ops.conv import convolve, convolve_joined

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jnp.where(x >= 0, x, 0.1 * x),  # 0.1 as in Noise2Noise; JAX's own default is 0.01
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "identity": lambda x: x,
}
INITIALIZERS: dict[str, Callable[..., jax.Array]] = {
    "glorot_uniform": jax.nn.initializers.glorot_uniform(),
    "he_normal": jax.nn.initializers.he_normal(),
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


class Conv(nnx.Module):
    """A stride-1 convolution that keeps the size, with an optional bias.

    The input is cast to the kernel's type: casting the parameters to bfloat16 makes the computation bfloat16.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: window size in pixels, odd, the same along every axis.
        spatial_dims: 2 or 3.
        bias: add a constant per output channel.
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
        init: str = "glorot_uniform",
        rngs: nnx.Rngs,
    ) -> None:
        check_count("channels_in", channels_in)
        check_count("channels_out", channels_out)
        check_kernel("kernel", kernel)
        choose("spatial_dims", spatial_dims, (2, 3))
        choose("init", init, INITIALIZERS)
        shape = (kernel,) * spatial_dims + (channels_in, channels_out)
        self.kernel = nnx.Param(INITIALIZERS[init](rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels_out,), jnp.float32)) if bias else None

    def __call__(self, image: jax.Array, coarse: jax.Array | None = None) -> jax.Array:
        """Convolves `image`; a map `coarse` of half its size is first upsampled by repeating pixels and put before it."""
        kernel = self.kernel[...]
        image = image.astype(kernel.dtype)
        output = convolve(image, kernel) if coarse is None else convolve_joined(coarse, image, kernel)
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
