"""DFCAN: residual blocks whose channel attention reads the Fourier spectrum of the features."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bioflax.errors import InputError
from bioflax.models.blocks import ACTIVATIONS, Conv, check_count, check_image

gelu = ACTIVATIONS["gelu_exact"]
SPECTRUM_FLOOR = 1e-8  # added to the magnitude before the power, as published


class DFCAN(nnx.Module):
    """The Fourier channel attention network at the size of the camera image; a head with tail "dfcan" enlarges its map.

    `Model(DFCAN, partial(Direct, **Direct.dfcan(upscale=2)))` is the published network, 1,930,753 parameters. Its
    attention pools the spectrum of the whole image: every feature depends on every pixel, and, where the spectrum is
    resized, an image of another size than in training is filtered otherwise. Train and predict at one size.
    Source: Qiao et al., "Evaluation and development of deep neural networks for image super-resolution in optical
    microscopy", Nature Methods 2021.

    Args:
        channels_in: channels of the image: 1, or the raw frames of structured illumination (9).
        width: channels of the features.
        groups: groups of blocks, each with a skip over the group.
        blocks: attention blocks of a group.
        gamma: power of the spectrum's magnitude, 0.8 in DFCAN and 0.1 in the generator of DFGAN.
        reduction: width over the channels of the attention's bottleneck.
        spectrum: side in pixels that the spectrum is resized to (published: 128, the side of the training patches); None
            leaves it at the image's size, which is cheaper for smaller patches and the same at the published size.
    """

    whole_image = True  # the features depend on the whole tile: a tiled prediction is not that of the whole image

    def __init__(
        self,
        channels_in: int = 1,
        width: int = 64,
        groups: int = 4,
        blocks: int = 4,
        *,
        gamma: float = 0.8,
        reduction: int = 16,
        spectrum: int | None = 128,
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
        if spectrum is not None:
            check_count("spectrum", spectrum)
        if width % reduction:
            raise InputError(f"reduction: expected a divisor of width={width}; found {reduction}")
        if not (isinstance(gamma, int | float) and 0 < gamma < math.inf):
            raise InputError(f"gamma: expected a power above 0, such as 0.8; found {gamma!r}")
        self.channels_in, self.width, self.groups, self.blocks = channels_in, width, groups, blocks
        self.gamma, self.reduction, self.spectrum = gamma, reduction, spectrum

        def group() -> nnx.Dict:
            return nnx.Dict(
                {f"block{i}": _Block(width, width // reduction, gamma, spectrum, rngs=rngs) for i in range(blocks)}
            )

        self.first = Conv(channels_in, width, 3, rngs=rngs)
        self.body = nnx.Dict({f"group{i}": group() for i in range(groups)})
        self.spatial_dims = 2
        self.widths = (width,)
        self.strides = (1,)
        self.stride_total = 1
        self.receptive_field = 3 + 4 * groups * blocks  # of the convolutions; the attention reads the whole image

    def __call__(self, image: jax.Array) -> tuple[jax.Array]:
        """Runs the network.

        Args:
            image: (N, H, W, C).

        Returns:
            One map of `width` channels at full resolution.
        """
        check_image(image, self.channels_in, 1)
        image = gelu(self.first(image))
        for group in self.body.values():
            before = image
            for block in group.values():
                image = block(image)
            image = image + before
        return (image,)

    @classmethod
    def published(cls) -> dict[str, Any]:
        """Arguments of the published DFCAN: 4 groups of 4 blocks, gamma 0.8."""
        return {"width": 64, "groups": 4, "blocks": 4, "gamma": 0.8, "reduction": 16, "spectrum": 128}

    @classmethod
    def dfgan(cls) -> dict[str, Any]:
        """Arguments of the generator of DFGAN, of the same paper: 5 groups of 10 blocks, gamma 0.1."""
        return {**cls.published(), "groups": 5, "blocks": 10, "gamma": 0.1}


class _Block(nnx.Module):
    """Two convolutions and the Fourier channel attention, added to the input."""

    def __init__(self, width: int, bottleneck: int, gamma: float, spectrum: int | None, *, rngs: nnx.Rngs) -> None:
        self.conv0 = Conv(width, width, 3, rngs=rngs)
        self.conv1 = Conv(width, width, 3, rngs=rngs)
        self.attention = FourierAttention(width, bottleneck, gamma=gamma, spectrum=spectrum, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        return image + self.attention(gelu(self.conv1(gelu(self.conv0(image)))))


class FourierAttention(nnx.Module):
    """Scales the channels by factors in (0, 1) that are read from the magnitude of their Fourier transforms.

    Args:
        width: channels.
        bottleneck: channels between the two dense layers.
        gamma: power of the magnitude.
        spectrum: side in pixels that the spectrum is resized to; None leaves it as it is.
    """

    def __init__(
        self, width: int, bottleneck: int, *, gamma: float = 0.8, spectrum: int | None = None, rngs: nnx.Rngs
    ) -> None:
        self.gamma, self.spectrum = gamma, spectrum
        self.conv = Conv(width, width, 3, rngs=rngs)
        self.squeeze = Conv(width, bottleneck, 1, rngs=rngs)
        self.excite = Conv(bottleneck, width, 1, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        spectrum = centred_spectrum(image, self.gamma)
        if self.spectrum is not None:
            spectrum = resize(spectrum, self.spectrum)
        pooled = jnp.mean(jax.nn.relu(self.conv(spectrum)).astype(jnp.float32), axis=(1, 2), keepdims=True)
        factor = jax.nn.sigmoid(self.excite(jax.nn.relu(self.squeeze(pooled))))
        return image * factor.astype(image.dtype)


def centred_spectrum(image: jax.Array, gamma: float) -> jax.Array:
    """(|FFT| + 1e-8) ** gamma over H and W, the zero frequency moved to the centre.

    Args:
        image: (N, H, W, C).
        gamma: power of the magnitude.

    Returns:
        (N, H, W, C) float32.
    """
    width = image.shape[2]
    # An image is real: half of its spectrum is computed, the other half is its reflection through the zero frequency.
    half = jnp.fft.rfft2(image.astype(jnp.float32), axes=(1, 2))  # bfloat16 has no Fourier transform
    half = (jnp.abs(half) + SPECTRUM_FLOOR) ** gamma
    mirrored = jnp.roll(half[:, ::-1, 1 : (width + 1) // 2], 1, axis=1)[:, :, ::-1]
    # The published exchange of quadrants starts at n // 2: `ifftshift`, which for even sizes is `fftshift`.
    return jnp.fft.ifftshift(jnp.concatenate([half, mirrored], axis=2), axes=(1, 2))


def resize(image: jax.Array, side: int) -> jax.Array:
    """Resizes (N, H, W, C) to (N, side, side, C) by linear interpolation, in the convention of TensorFlow 1."""
    for axis in (1, 2):
        if image.shape[axis] != side:
            image = jnp.moveaxis(jnp.tensordot(_interpolation(image.shape[axis], side), image, (1, axis)), 0, axis)
    return image


def _interpolation(size: int, side: int) -> np.ndarray:
    """Rows of linear weights, as TensorFlow 1 resizes: output i reads at i * size / side, with no antialiasing.

    That convention has no half-pixel centres; in a centred spectrum it is the right one, as it leaves the zero frequency
    of an even size in the centre.
    """
    place = np.arange(side) * (size / side)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, size - 1)
    weights = np.zeros((side, size), np.float32)
    np.add.at(weights, (np.arange(side), lower), 1 - (place - lower))
    np.add.at(weights, (np.arange(side), upper), place - lower)
    return weights
