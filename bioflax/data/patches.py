"""Training patches out of a stack that lives on the device: cut, paired and turned inside the jitted step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.data.augment import check_augment, draw_turns, turn
from bioflax.data.image_set import Capture, ImageSet, magnify
from bioflax.data.normalize import Normalization
from bioflax.data.stream import FolderSource
from bioflax.data.table import PatchTable, build_table, check_mode, check_patch
from bioflax.errors import InputError
from bioflax.typing import Array, Batch


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StackSource:
    """A `DeviceSource`: normalised pictures as leaves, so that it goes into jit as an argument.

    Attributes:
        images: (captures, [Z,] H, W, C) float32, normalised; smaller fields are padded with zeros.
        targets: (fields, [Z,] s H, s W, C) float32, normalised, or None.
        table: where patches may lie and which captures go together.
        patch: pixels per spatial axis.
        mode: `single`, `pairs` or `target`.
        augment: some of `flip`, `rot90`.
        upscale: s, pixels of the targets along a pixel of the images, in Y and X.
    """

    images: Array
    targets: Array | None
    table: PatchTable
    patch: tuple[int, ...] = field(metadata={"static": True})
    mode: str = field(metadata={"static": True})
    augment: tuple[str, ...] = field(metadata={"static": True})
    upscale: int = field(default=1, metadata={"static": True})

    def sample(self, key: jax.Array, n: int) -> Batch:
        """Draws a batch; runs inside jit.

        Args:
            key: random key.
            n: number of patches.

        Returns:
            `image` (n, *patch, C), and except in mode `single` `target` of the same shape, or s times as large in Y and X.
        """
        uniform = jax.random.uniform(key, (n, len(self.patch) + 3), jnp.float32)
        rows, origins = self.table.draw(uniform[:, :-1], jnp)
        turns = draw_turns(uniform[:, -1], self.augment, jnp)

        def cut(stack: Array, numbers: Array, upscale: int = 1) -> Array:
            size = (1, *magnify(self.patch, upscale), stack.shape[-1])

            def one(number: Array, origin: Array) -> Array:
                return jax.lax.dynamic_slice(stack, (number, *magnify(origin, upscale), 0), size)[0]

            return turn(jax.vmap(one)(numbers, origins), turns, self.augment, jnp)

        batch = {"image": cut(self.images, rows[:, 1])}
        if self.mode == "pairs":
            batch["target"] = cut(self.images, rows[:, 2])
        elif self.mode == "target":
            batch["target"] = cut(self.targets, rows[:, 0], self.upscale)
        return batch


def load_stack(
    image_set: ImageSet,
    normalization: Normalization,
    *,
    patch: Sequence[int],
    mode: str,
    augment: Sequence[str] = ("flip", "rot90"),
    foreground: float = 0.0,
    target_normalization: Normalization | None = None,
) -> StackSource:
    """Reads and normalises a training set once and puts it on the device.

    Args:
        image_set: the fields.
        normalization: applied to the captures, and to targets unless they have their own.
        patch: pixels per spatial axis.
        mode: `single` (noisy patches alone), `pairs` (two captures of a field, in both orders) or `target` (noisy and
            clean).
        augment: some of `flip`, `rot90`; none where a scheme depends on directions.
        foreground: probability that a patch is centred on a bright block (`build_table`); 0 is off.
        target_normalization: for targets in other units than their inputs.

    Returns:
        The source.

    Raises:
        InputError: as `build_table`, or an augmentation that does not fit.
    """
    patch = check_patch(image_set, patch)
    check_mode(image_set, mode)
    augment = check_augment(tuple(augment), patch)
    captures = [capture for field in image_set.items for capture in field.repeats]
    images = _stack(captures, normalization)
    first = np.cumsum([0, *(len(field.repeats) for field in image_set.items)])

    def brightness(number: int) -> np.ndarray:
        inside = tuple(slice(0, length) for length in image_set.items[number].size)
        return images[first[number] : first[number + 1]].mean((0, -1))[inside]

    table = build_table(image_set, patch, mode, foreground, brightness)
    targets = None
    if mode == "target":
        affine = normalization if target_normalization is None else target_normalization
        targets = jnp.asarray(_stack([field.target for field in image_set.items], affine))
    table = jax.tree.map(jnp.asarray, table)
    return StackSource(jnp.asarray(images), targets, table, patch, mode, augment, image_set.upscale)


def stack_megabytes(image_set: ImageSet, mode: str = "single") -> float:
    """Device memory that `load_stack` needs, in MB of 10^6 bytes."""
    size = np.max([field.size for field in image_set.items], axis=0).prod(dtype=np.float64) * 4
    planes = sum(len(field.repeats) for field in image_set.items) * image_set.channels
    if mode == "target" and image_set.has_targets:
        planes += len(image_set) * image_set.items[0].target.channels * image_set.upscale**2
    return float(size * planes / 1e6)


def make_source(
    image_set: ImageSet,
    normalization: Normalization,
    *,
    patch: Sequence[int],
    mode: str,
    batch_size: int,
    augment: Sequence[str] = ("flip", "rot90"),
    foreground: float = 0.0,
    seed: int = 0,
    device_limit_mb: float = 1024.0,
    target_normalization: Normalization | None = None,
) -> StackSource | FolderSource:
    """The set on the device if it fits, else read patch by patch from disk.

    Args:
        device_limit_mb: largest stack to keep on the device, in MB.
        batch_size: patches of a batch, for reading from disk.
        seed: of the patches, for reading from disk.
        image_set, normalization, patch, mode, augment, foreground, target_normalization: as `load_stack`.

    Returns:
        A `StackSource` (a `DeviceSource`) or a `FolderSource` (a `HostSource`).

    Raises:
        InputError: as `load_stack`, or a limit that is not positive.
    """
    if not device_limit_mb >= 0:
        raise InputError(f"device_limit_mb: expected megabytes of 0 or more, found {device_limit_mb}")
    options = {"patch": patch, "mode": mode, "augment": augment, "foreground": foreground}
    options["target_normalization"] = target_normalization
    if stack_megabytes(image_set, mode) <= device_limit_mb:
        return load_stack(image_set, normalization, **options)
    return FolderSource(image_set, normalization, batch_size=batch_size, seed=seed, **options)


def _stack(captures: Sequence[Capture], normalization: Normalization) -> np.ndarray:
    """Reads captures of different size into one array, padded with zeros at the ends; patches never reach them."""
    size = np.max([capture.size for capture in captures], axis=0)
    stack = np.zeros((len(captures), *size, captures[0].channels), np.float32)
    for place, capture in zip(stack, captures, strict=True):
        place[tuple(slice(0, length) for length in capture.size)] = normalization.apply(capture.read())
    return stack
