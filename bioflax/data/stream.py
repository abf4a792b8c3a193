"""Training patches read from disk: for sets that are too large for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bioflax.data.augment import check_augment, draw_turns, turn
from bioflax.data.image_set import ImageSet
from bioflax.data.normalize import Normalization
from bioflax.data.table import build_table
from bioflax.errors import InputError


class FolderSource:
    """A `HostSource`: each batch is a pure function of (seed, step), cut out of the files as it is asked for.

    Args:
        image_set: the fields.
        normalization: applied to the captures, and to targets unless they have their own.
        patch: pixels per spatial axis.
        mode: `single`, `pairs` or `target`.
        batch_size: patches of a batch.
        augment: some of `flip`, `rot90`.
        foreground: probability that a patch is centred on a bright block; above 0 every file is read once to find them.
        seed: of the patches.
        target_normalization: for targets in other units than their inputs.

    Raises:
        InputError: as `build_table`, or a batch size below 1.
    """

    def __init__(
        self,
        image_set: ImageSet,
        normalization: Normalization,
        *,
        patch: Sequence[int],
        mode: str,
        batch_size: int,
        augment: Sequence[str] = ("flip", "rot90"),
        foreground: float = 0.0,
        seed: int = 0,
        target_normalization: Normalization | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
        self.image_set, self.normalization, self.mode = image_set, normalization, mode
        self.target_normalization = normalization if target_normalization is None else target_normalization
        self.batch_size, self.seed, self.patch = int(batch_size), int(seed), tuple(patch)
        self.table = build_table(image_set, self.patch, mode, foreground, self._brightness)
        self.augment = check_augment(tuple(augment), self.patch)
        self._captures = [capture for field in image_set.items for capture in field.repeats]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step.

        Args:
            step: from 0.

        Returns:
            `image` (batch_size, *patch, C) float32, and except in mode `single` `target` of that shape, or `upscale` times as
            large in Y and X.

        Raises:
            InputError: a file is damaged or was removed.
        """
        rng = np.random.default_rng((self.seed, int(step)))
        uniform = rng.random((self.batch_size, len(self.patch) + 3), np.float32)
        rows, origins = self.table.draw(uniform[:, :-1], np)
        turns = draw_turns(uniform[:, -1], self.augment, np)
        batch = {
            "image": self._cut([self._captures[a].read_window for a in rows[:, 1]], origins, turns, self.normalization)
        }
        if self.mode == "pairs":
            others = [self._captures[b].read_window for b in rows[:, 2]]
            batch["target"] = self._cut(others, origins, turns, self.normalization)
        elif self.mode == "target":
            clean = [self.image_set.items[number].read_target for number in rows[:, 0]]
            batch["target"] = self._cut(clean, origins, turns, self.target_normalization)
        return batch

    def _cut(
        self, readers: Sequence[Callable], origins: np.ndarray, turns: tuple, normalization: Normalization
    ) -> np.ndarray:
        windows = [read(tuple(map(int, origin)), self.patch) for read, origin in zip(readers, origins, strict=True)]
        return turn(normalization.apply(np.stack(windows)), turns, self.augment, np)

    def _brightness(self, number: int) -> np.ndarray:
        return self.image_set.items[number].repeats[0].read().mean(-1)
