"""Stride-1 "same" convolution of channels-last images in 2-D and 3-D, written so that XLA's CPU backend is fast too.

Two things are slow on XLA's CPU backend, and are written differently there (elsewhere the plain convolution is right):

- The weight gradient is one convolution whose window is the whole image; it runs on one thread and out of the cache. A
  convolution is linear in the kernel, and the gradient over a batch is the sum of the gradients over its blocks: block by
  block it takes a third of the time and all threads.
- A decoder convolves an upsampled map beside a skip connection. Nearest-neighbour upsampling repeats pixels, so that a
  window of 3 meets two coarse pixels only: at the coarse resolution there are 4 products for 9, and no concatenation.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bioflax.ops.resample import upsample_nearest

_LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
_BLOCK_PIXELS = 512  # at least: enough for a matrix product
_BLOCK_VALUES = 2**19  # at most, of an image and its gradient: 2 MiB, a core's cache
_BLOCK_IMAGES = 4  # of a block: the innermost axis of the product
_FEW_BLOCKS, _MANY_BLOCKS = 4, 64  # enough to share among threads, few enough to compile fast
Pads = tuple[tuple[int, int], ...]


def convolve(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with zero padding so that the size is kept.

    Args:
        image: (N, [Z,] H, W, C_in), any float type.
        kernel: ([kz,] ky, kx, C_in, C_out), odd sizes, the same type as `image`.

    Returns:
        (N, [Z,] H, W, C_out).
    """
    window = kernel.shape[:-2]
    if math.prod(window) == 1:
        return image @ kernel.reshape(
            kernel.shape[-2:]
        )  # a matrix product is 4 times faster than a window of one pixel
    return _convolve(image, kernel, tuple((size // 2, size // 2) for size in window))


def convolve_joined(coarse: jax.Array, fine: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves a map, upsampled twofold by repeating pixels, together with a map at full resolution.

    Args:
        coarse: (N, [Z/2,] H/2, W/2, C_coarse).
        fine: (N, [Z,] H, W, C_fine), the same type.
        kernel: ([kz,] ky, kx, C_coarse + C_fine, C_out), odd sizes, the same type.

    Returns:
        (N, [Z,] H, W, C_out): `convolve` of the two maps concatenated, the coarse one first.
    """
    channels = coarse.shape[-1]

    def concatenated(coarse: jax.Array, fine: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(jnp.concatenate([upsample_nearest(coarse), fine], axis=-1), kernel)

    def apart(coarse: jax.Array, fine: jax.Array, kernel: jax.Array) -> jax.Array:
        return _convolve_upsampled(coarse, kernel[..., :channels, :]) + convolve(fine, kernel[..., channels:, :])

    return lax.platform_dependent(coarse, fine, kernel, cpu=apart, default=concatenated)


def convolve_dilated(image: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """Convolves with the window's taps `dilation` pixels apart, zero padding so that the size is kept.

    Args:
        image: (N, [Z,] H, W, C_in), any float type.
        kernel: ([kz,] ky, kx, C_in, C_out), odd sizes, the same type as `image`.
        dilation: distance between taps in pixels.

    Returns:
        (N, [Z,] H, W, C_out).
    """
    window = kernel.shape[:-2]
    if dilation == 1 or math.prod(window) == 1:
        return convolve(image, kernel)
    # The plain form is fast on CPU too: to split the image into `dilation`**2 phases costs 2 to 6 times more in training.
    return lax.conv_general_dilated(
        image,
        kernel,
        (1,) * len(window),
        [(dilation * (size // 2),) * 2 for size in window],
        rhs_dilation=(dilation,) * len(window),
        dimension_numbers=_LAYOUT[len(window)],
    )


def _convolve_upsampled(coarse: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve(upsample_nearest(coarse), kernel)`, computed at the coarse resolution.

    Along an axis, the output at 2j + phase reads the coarse pixel j + (phase + tap) // 2 for every tap of the window: the
    taps that fall on one coarse pixel are summed first, and every phase is a convolution with about half the window.
    """
    dims, space = kernel.ndim - 2, coarse.shape[1:-1]
    outputs = []
    for phases in product((0, 1), repeat=dims):
        folded, pads = kernel, []
        for axis, phase in enumerate(phases):
            taps = np.arange(kernel.shape[axis]) - kernel.shape[axis] // 2
            offsets = (phase + taps) // 2
            first, last = int(offsets[0]), int(offsets[-1])
            sums = jnp.asarray(np.arange(first, last + 1)[:, None] == offsets, kernel.dtype)
            folded = jnp.moveaxis(jnp.tensordot(sums, folded, (1, axis)), 0, axis)
            pads.append((-first, last))
        outputs.append(_convolve(coarse, folded, tuple(pads)))
    # (N, [Z,] H, W, 2 ** dims, C) -> every phase's axis behind its pixel's.
    grid = jnp.stack(outputs, axis=-2).reshape(coarse.shape[0], *space, *(2,) * dims, kernel.shape[-1])
    order = (0, *(axis for d in range(dims) for axis in (1 + d, 1 + dims + d)), 1 + 2 * dims)
    return grid.transpose(order).reshape(coarse.shape[0], *(2 * size for size in space), kernel.shape[-1])


def _convolve(image: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    if kernel.ndim == 4:
        return _convolve_2d(image, kernel, pads)
    return lax.platform_dependent(
        image, kernel, cpu=partial(_convolve_planes, pads=pads), default=partial(_convolve_plainly, pads=pads)
    )


def _convolve_plainly(image: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    layout = _LAYOUT[len(pads)]
    return lax.conv_general_dilated(image, kernel, (1,) * len(pads), pads, dimension_numbers=layout)


def _convolve_planes(image: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """A 3-D convolution as a 2-D one, over planes that hold their neighbours along z as further channels."""
    depth, height, width, channels, outputs = kernel.shape
    padded = jnp.pad(image, [(0, 0), pads[0], (0, 0), (0, 0), (0, 0)])
    planes = padded.shape[1] - depth + 1
    stacked = jnp.concatenate([padded[:, z : z + planes] for z in range(depth)], axis=-1)
    flat = stacked.reshape(-1, *stacked.shape[2:])
    result = _convolve_2d(
        flat, kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, depth * channels, outputs), pads[1:]
    )
    return result.reshape(image.shape[0], planes, *result.shape[1:])


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve_2d(image: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return _convolve_plainly(image, kernel, pads)


@_convolve_2d.defjvp
def _convolve_2d_jvp(
    pads: Pads, primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (image, kernel), (image_dot, kernel_dot) = primals, tangents
    # Reverse mode transposes this line: the sum over blocks appears there, and the concatenation vanishes.
    by_kernel = lax.platform_dependent(
        image, kernel_dot, cpu=partial(_convolve_in_blocks, pads=pads), default=partial(_convolve_plainly, pads=pads)
    )
    return _convolve_2d(image, kernel, pads), _convolve_2d(image_dot, kernel, pads) + by_kernel


def _convolve_in_blocks(image: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """`_convolve_2d`, computed for a few images and rows at a time."""
    size, (before, after), window = image.shape[1], pads[0], kernel.shape[0]
    size_out = size + before + after - window + 1
    images, rows = _block_shape(image.shape, kernel.shape[-1])
    blocks = []
    for number in range(0, image.shape[0], images):
        row_blocks = []
        for top in range(0, size_out, rows):
            start, stop = top - before, min(top + rows, size_out) - before + window - 1  # rows read, zero if outside
            low, high = max(start, 0), min(stop, size)
            block = image[number : number + images, low:high]
            row_blocks.append(_convolve_plainly(block, kernel, ((low - start, stop - high), pads[1])))
        blocks.append(jnp.concatenate(row_blocks, axis=1))
    return jnp.concatenate(blocks, axis=0)


def _block_shape(shape: tuple[int, ...], outputs: int) -> tuple[int, int]:
    """How many images and how many rows make a block."""
    count, size, row, channels = shape
    total = count * size * row
    most = min(_BLOCK_VALUES // (channels + outputs), total // _FEW_BLOCKS)
    pixels = max(_BLOCK_PIXELS, most, math.ceil(total / _MANY_BLOCKS))
    images = min(count, _BLOCK_IMAGES, max(1, pixels // row))
    rows = min(size, max(1, pixels // (images * row)))
    return images, rows
