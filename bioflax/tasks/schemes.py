"""How a denoiser gets its target: from clean images, from a second noisy capture, or from the noisy image itself.

A scheme is a frozen dataclass with `mode` (what it needs of a data source: `target`, `pairs` or `single`), `augment` (which
symmetries of the image it may use) and `prepare(key, batch)`, a pure function that runs inside the jitted step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import jax

from bioflax.errors import InputError
from bioflax.ops import blindspot
from bioflax.typing import Batch


class Scheme(Protocol):
    """The contract of every scheme below."""

    mode: ClassVar[str]

    @property
    def augment(self) -> tuple[str, ...]: ...

    def prepare(self, key: jax.Array, batch: Batch) -> Batch: ...


@dataclass(frozen=True)
class Supervised:
    """Noisy image in, clean image out (CARE, Weigert 2018)."""

    mode: ClassVar[str] = "target"
    augment: tuple[str, ...] = ("flip", "rot90")

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Leaves the batch as it is; `image` and `target` are (N, [Z,] H, W, C)."""
        del key
        return batch


@dataclass(frozen=True)
class Noise2Noise:
    """One noisy capture in, another of the same field out, all ordered pairs of repeats (Lehtinen 2018)."""

    mode: ClassVar[str] = "pairs"
    augment: tuple[str, ...] = ("flip", "rot90")

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Leaves the batch as it is: the source has drawn the pair as `image` and `target`."""
        del key
        return batch


@dataclass(frozen=True)
class Noise2Void:
    """The image is its own target at hidden pixels (Krull 2019; N2V2 with `median`, Hoeck 2022; structN2V, Broaddus 2020).

    Args:
        percent: share of blind-spot pixels, in percent (n2v 0.198, CAREamics 0.2).
        replacement: `uniform`, `mean` or `median` of the neighbourhood.
        radius: half width of the neighbourhood, pixels.
        structure_axis: axes along which the noise is correlated: "" (none), "X", "Y", "Z", a cross such as "XY".
        structure_span: length of the hidden line along these axes, pixels, odd.
        structure_kind: `cross` (a line along each axis) or `block` (the full rectangle).
        spatial_axes: the spatial axes of the images, "YX" or "ZYX".
    """

    mode: ClassVar[str] = "single"
    percent: float = 0.2
    replacement: str = "uniform"
    radius: int = 5
    structure_axis: str = ""
    structure_span: int = 5
    structure_kind: str = "cross"
    spatial_axes: str = "YX"
    structure: tuple[tuple[int, ...], ...] = field(init=False, default=(), repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 10:
            raise InputError(f"task.scheme.percent: expected more than 0 and at most 10 %, found {self.percent}.")
        if self.replacement not in blindspot.REPLACEMENTS:
            raise InputError(
                f"task.scheme.replacement: {self.replacement!r} is not known. Take one of: "
                f"{', '.join(blindspot.REPLACEMENTS)}."
            )
        if self.radius < 2:
            raise InputError(f"task.scheme.radius: expected at least 2 pixels, found {self.radius}.")
        if self.structure_kind not in ("cross", "block"):
            raise InputError(f"task.scheme.structure_kind: expected cross or block, found {self.structure_kind!r}.")
        unknown = set(self.structure_axis) - set(self.spatial_axes)
        if unknown:
            raise InputError(
                f"task.scheme.structure_axis: {''.join(sorted(unknown))} is no spatial axis here. "
                f"Take letters of {self.spatial_axes}."
            )
        object.__setattr__(self, "structure", self._blocks())

    def _blocks(self) -> tuple[tuple[int, ...], ...]:
        if not self.structure_axis:
            return ()
        if self.structure_span < 3 or self.structure_span % 2 == 0:
            raise InputError(
                f"task.scheme.structure_span: expected an odd number of at least 3, found {self.structure_span}."
            )
        half = self.structure_span // 2
        if self.structure_kind == "block":
            if len(self.structure_axis) == len(self.spatial_axes) and half >= self.radius:
                raise InputError(
                    f"task.scheme.radius: {self.radius} leaves no pixel outside the hidden block; "
                    f"take more than {half}."
                )
            return (tuple(half if axis in self.structure_axis else 0 for axis in self.spatial_axes),)
        return tuple(tuple(half if axis == line else 0 for axis in self.spatial_axes) for line in self.structure_axis)

    @property
    def augment(self) -> tuple[str, ...]:
        """A quarter turn would lay correlated noise along the other axis, so it is allowed only where all axes are alike."""
        alike = not self.structure_axis or ({"X", "Y"} <= set(self.structure_axis))
        return ("flip", "rot90") if alike else ("flip",)

    def prepare(self, key: jax.Array, batch: Batch) -> Batch:
        """Hides the blind spots of `image` (N, *space, C); adds `target` and `mask` (N, *space, 1)."""
        image = batch["image"]
        space = image.shape[1:-1]
        if len(space) != len(self.spatial_axes):
            raise InputError(
                f"task.scheme.spatial_axes: {self.spatial_axes} does not fit images of {len(space)} spatial axes."
            )
        key_where, key_what = jax.random.split(key)
        coordinates = blindspot.draw_coordinates(key_where, image.shape[0], space, self.percent)
        hidden = blindspot.replace(
            key_what,
            image,
            coordinates,
            replacement=self.replacement,
            radius=self.radius,
            structure=self.structure,
        )
        return {**batch, "image": hidden, "target": image, "mask": blindspot.mark(coordinates, space)}
