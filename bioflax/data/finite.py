"""A training set of so many simulated examples and no more, without a place in memory for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.typing import Batch, DeviceSource

_STREAM = 3  # of the seed: 1 and 2 are the probe and the held-out examples of `data`


@partial(jax.tree_util.register_dataclass, data_fields=["source", "seed"], meta_fields=["fields"])
@dataclass(frozen=True)
class Finite:
    """The first `fields` examples of an endless source; a `DeviceSource` and a pytree.

    Example i is `source.sample(key i, 1)`, noise included, whatever `fields` is: a larger set holds the smaller one. It is
    made anew each time it is drawn. What else the source knows (its scales, its settings) can be asked of this one.

    Args:
        source: a simulator or another `DeviceSource` that makes each example from a key.
        fields: distinct examples.
        seed: which ones.
    """

    source: Any
    fields: int
    seed: Any = 0

    def sample(self, key: jax.Array, n: int) -> Batch:
        """A batch drawn evenly with replacement, inside jit; each array has n along its first axis."""
        return self.examples(jax.random.randint(key, (n,), 0, self.fields))

    def examples(self, numbers: jax.Array) -> Batch:
        """The examples of these numbers.

        Args:
            numbers: (n,) whole numbers, 0 to `fields` - 1.

        Returns:
            As `sample` of the source.
        """
        root = jax.random.fold_in(jax.random.key(self.seed), _STREAM)
        make = jax.vmap(lambda number: self.source.sample(jax.random.fold_in(root, number), 1))
        return jax.tree.map(lambda array: array[:, 0], make(numbers))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("source", "fields", "seed"):  # not yet there while jax rebuilds the pytree
            raise AttributeError(name)
        return getattr(self.source, name)


def limit(source: DeviceSource, fields: int | None, seed: int) -> Any:
    """The source, or its first `fields` examples; None is endless.

    Raises:
        InputError: not a whole number above 0.
    """
    if fields is None:
        return source
    check_fields(fields)
    return Finite(source, fields, np.uint32(seed % 2**32))


def check_fields(fields: int | None) -> None:
    """InputError if `fields` is neither None nor a whole number of at least 1."""
    if fields is not None and (isinstance(fields, bool) or not isinstance(fields, int) or fields < 1):
        raise InputError(
            f"data.fields: expected null (endless) or a whole number of at least 1, found {fields!r}; try 100."
        )
