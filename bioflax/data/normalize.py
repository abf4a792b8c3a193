"""One normalisation, stored with the model: fitted once on the training set and inverted at prediction, or by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import jax.numpy as jnp
import numpy as np

from bioflax.data.leaves import with_leaves
from bioflax.errors import InputError
from bioflax.optics.quantities import is_concrete
from bioflax.typing import Array

KINDS = ("mean_std", "percentile", "photons", "none")
BY_IMAGE = "image_percentile"
_SAMPLE = 1 << 20  # pixels of one image that percentiles are taken from; a regular grid of larger images


@with_leaves("offset", "scale")
@dataclass(frozen=True)
class Normalization:
    """The affine map `(image - offset) / scale`, the same for every image; or, for detection, another for each image.

    Attributes:
        kind: `mean_std`, `percentile`, `photons` or `none`; `image_percentile` brings two percentiles of each image to 0
            and 1 and cannot be inverted, since it does not know the image any more.
        offset: units of the file, one value or one per channel. For `image_percentile` the low percentile.
        scale: units of the file, positive, one value or one per channel. For `image_percentile` the high percentile.
    """

    kind: str
    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, BY_IMAGE):
            raise InputError(f"normalization: expected one of {', '.join(KINDS)}, {BY_IMAGE}; found {self.kind!r}")
        if len(self.offset) != len(self.scale) or not self.scale:
            raise InputError(f"normalization: expected as many offsets as scales, found {self.offset} and {self.scale}")
        if not all(map(isfinite, (*self.offset, *self.scale))) or min(self.scale) <= 0:
            raise InputError(
                f"normalization: expected finite offsets and positive scales, found {self.offset}, {self.scale}"
            )
        if self.kind == BY_IMAGE and not 0 <= self.offset[0] < self.scale[0] <= 100:
            raise InputError(
                f"normalization: expected percentiles 0 <= low < high <= 100, found {self.offset[0]} and {self.scale[0]}"
            )

    def of_image(self, image: np.ndarray) -> Normalization:
        """The affine map for one image ([Z,] H, W, C): its own for `image_percentile`, else the one of all.

        An even image keeps its differences: its scale is 1.
        """
        if self.kind != BY_IMAGE:
            return self
        low, top = np.percentile(_sample([image], True), (self.offset[0], self.scale[0]), axis=0)
        spread = np.where(top > low, top - low, 1.0)
        return Normalization("percentile", tuple(map(float, low)), tuple(map(float, spread)))

    def apply(self, image: Array) -> Array:
        """File units to the network's: (..., C) to (..., C) float32. `image_percentile` takes (N, [Z,] H, W, C)."""
        if self.kind == BY_IMAGE:
            return np.stack([self.of_image(one).apply(one) for one in np.asarray(image)])
        return (image - _row(self.offset)) / _row(self.scale)

    def invert(self, image: Array) -> Array:
        """The network's units to the file's: (..., C) to (..., C); `image_percentile` leaves them as they are."""
        if self.kind == BY_IMAGE:
            return image
        return image * _row(self.scale) + _row(self.offset)

    def invert_scale(self, scale: Array) -> Array:
        """A spread (standard deviation or Laplace scale) in the network's units to the file's."""
        return scale * _row(self.scale)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the model card."""
        return {"kind": self.kind, "offset": list(self.offset), "scale": list(self.scale)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Normalization:
        """Reads what `to_json` wrote.

        Raises:
            InputError: a key is missing or unknown, or a value is no number.
        """
        if not isinstance(content, Mapping) or set(content) != {"kind", "offset", "scale"}:
            raise InputError(f"normalization: expected the keys kind, offset, scale, found {content!r}")
        try:
            offset, scale = (tuple(float(value) for value in content[key]) for key in ("offset", "scale"))
        except (TypeError, ValueError) as cause:
            raise InputError(f"normalization: expected lists of numbers, found {content!r}") from cause
        return Normalization(content["kind"], offset, scale)


def fit(
    kind: str,
    images: Iterable[np.ndarray] = (),
    *,
    per_channel: bool = True,
    percentiles: tuple[float, float] = (2.0, 99.8),
    gain_adu_per_photon: float | None = None,
    offset_adu: float | None = None,
) -> Normalization:
    """Fits a normalisation.

    Args:
        kind: `mean_std` to mean 0 and standard deviation 1; `percentile` to 0 and 1 at two percentiles;
            `photons` to detected photons, from the camera; `none`.
        images: ([Z,] H, W, C) training images, read one by one; not needed for `photons` and `none`.
        per_channel: one pair of numbers per channel, else one for all.
        percentiles: low and high, in percent (2 and 99.8 as in CARE). Of images above a megapixel a regular grid of
            about a million pixels is used.
        gain_adu_per_photon: grey levels per detected photon, for `photons`.
        offset_adu: grey level without light, for `photons`.

    Returns:
        The normalisation.

    Raises:
        InputError: an unknown kind, missing camera values, no images, or images that are constant.
    """
    if kind == "none":
        return Normalization("none")
    if kind == BY_IMAGE:
        raise InputError(
            f"normalization: {BY_IMAGE} cannot be undone, so it is for detection; take one of {', '.join(KINDS)}"
        )
    if kind == "photons":
        if gain_adu_per_photon is None or offset_adu is None or not gain_adu_per_photon > 0:
            raise InputError(
                "normalization: photons needs gain_adu_per_photon > 0 and offset_adu, found "
                f"{gain_adu_per_photon} and {offset_adu}"
            )
        return Normalization("photons", (float(offset_adu),), (float(gain_adu_per_photon),))
    if kind == "mean_std":
        offset, scale = _moments(images, per_channel)
    elif kind == "percentile":
        low, high = percentiles
        if not 0 <= low < high <= 100:
            raise InputError(f"normalization: expected percentiles 0 <= low < high <= 100, found {percentiles}")
        offset, top = np.percentile(_sample(images, per_channel), (low, high), axis=0)
        scale = top - offset
    else:
        raise InputError(f"normalization: expected one of {', '.join(KINDS)}, found {kind!r}")
    flat = np.flatnonzero(~(scale > 0))
    if flat.size:
        raise InputError(
            f"normalization: channel {flat[0]} of the training images is constant; remove blank images or channels"
        )
    return Normalization(kind, tuple(map(float, offset)), tuple(map(float, scale)))


def _row(values: tuple[Any, ...]) -> Array:
    """One number a channel, float32; inside jit they may be traced."""
    if all(map(is_concrete, values)):
        return np.asarray(values, np.float32)
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in values])


def _columns(image: np.ndarray, per_channel: bool) -> np.ndarray:
    """(pixels, C) or (pixels, 1)."""
    return image.reshape(-1, image.shape[-1] if per_channel else 1)


def _moments(images: Iterable[np.ndarray], per_channel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in float64, merged image by image (Chan, Golub, LeVeque 1983)."""
    count, mean, square, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    for image in images:
        columns = _columns(np.asarray(image), per_channel)
        centre = columns.mean(0, dtype=np.float64)
        spread = sum(((part - centre) ** 2).sum(0) for part in np.array_split(columns, 1 + len(columns) // _SAMPLE))
        total = count + len(columns)
        shift = centre - mean
        square = square + spread + shift**2 * (count * len(columns) / total)
        mean, count = mean + shift * (len(columns) / total), total
        low, high = np.minimum(low, columns.min(0)), np.maximum(high, columns.max(0))
    if not count:
        raise InputError("normalization: expected training images, found none")
    # Rounding may leave a constant image with a spread of 1e-9.
    return np.asarray(mean), np.where(high > low, np.sqrt(square / count), 0.0)


def _sample(images: Iterable[np.ndarray], per_channel: bool) -> np.ndarray:
    """Pixels of all images on a regular grid: (pixels, C)."""
    parts = []
    for image in images:
        columns = _columns(np.asarray(image), per_channel)
        parts.append(columns[:: 1 + len(columns) // _SAMPLE])
    if not parts:
        raise InputError("normalization: expected training images, found none")
    return np.concatenate(parts)
