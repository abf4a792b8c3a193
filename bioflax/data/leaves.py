"""Small classes whose numbers are leaves of a pytree, so that a program compiled for one data set serves the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax


def with_leaves(*names: str) -> Callable[[type], type]:
    """Registers a dataclass: these fields are leaves, the others static. Inside jit no check of the constructor runs.

    Args:
        names: of fields that hold numbers, or tuples of numbers.
    """

    def register(cls: type) -> type:
        fixed: Sequence[str] = [name for name in cls.__dataclass_fields__ if name not in names]

        def flatten(one):
            return tuple(getattr(one, name) for name in names), tuple(getattr(one, name) for name in fixed)

        def unflatten(static, leaves):
            one = object.__new__(cls)
            for name, value in (*zip(names, leaves), *zip(fixed, static)):
                object.__setattr__(one, name, value)
            return one

        jax.tree_util.register_pytree_node(cls, flatten, unflatten)
        return cls

    return register
