"""NNX module <-> nested dict of arrays: the only place that converts.

Training, checkpoints and model files see plain nested dicts; a module object never crosses a jit boundary.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bioflax.errors import InputError
from bioflax.typing import Params, Prediction


@dataclass(frozen=True)
class Net:
    """A module as pure functions of its variables.

    `variables` is one nested dict of arrays: trainable parameters and, for nets with batch normalisation, their running
    statistics. `statistics` names the paths of the latter: they are never differentiated.
    """

    variables: Params
    statistics: frozenset[str]
    _learning: Any
    _predicting: Any
    _abstract: Any

    def apply(self, variables: Params, image: jax.Array, dtype: Any = None) -> Prediction:
        """Predicts.

        Args:
            variables: nested dict as `self.variables`.
            image: (N, [Z,] H, W, C) float32, normalised.
            dtype: compute precision of the weights (`bfloat16` on GPU and TPU); None leaves float32.

        Returns:
            Dict of float32 arrays, at least `image`.
        """
        return _call(self._module(self._predicting, variables, dtype), image)

    def train(self, variables: Params, image: jax.Array, dtype: Any = None) -> tuple[Prediction, Params]:
        """As `apply`, in training mode; also returns the updated running statistics ({} for nets that have none)."""
        module = self._module(self._learning, variables, dtype)
        prediction = _call(module, image)
        statistics = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return prediction, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), statistics)

    def _module(self, graph: Any, variables: Params, dtype: Any) -> Any:
        if dtype is not None:
            variables = map_paths(
                lambda path, leaf: leaf if path in self.statistics else leaf.astype(dtype),
                variables,
            )
        state = jax.tree.map(lambda leaf: leaf, self._abstract)
        nnx.replace_by_pure_dict(state, variables)
        return nnx.merge(graph, state)


def purify(model: nnx.Module) -> Net:
    """Splits an NNX module into pure functions and a nested dict of arrays. The module itself stays as it was."""
    graphs = {}
    for training in (True, False):
        model.set_attributes(training=training, raise_if_not_found=False)
        graphs[training], state = nnx.split(model)
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    statistics = flatten_paths(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))
    return Net(nnx.to_pure_dict(state), frozenset(statistics), graphs[True], graphs[False], abstract)


def outline(build: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    """The module that `build(rngs)` makes, with shapes in place of arrays: nothing is computed or allocated.

    Its attributes are real; `purify` of it gives a `Net` whose `variables` are shapes, to be replaced by loaded arrays.
    """
    return nnx.eval_shape(lambda: build(_SameKey()))


class _SameKey:
    """In place of `nnx.Rngs` where only shapes matter: under tracing, counting the keys of 800 layers takes many seconds."""

    def params(self) -> jax.Array:
        return jax.random.key(0)


def flatten_paths(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}, in sorted order."""
    flat: dict[str, Any] = {}
    for name in sorted(tree):
        value = tree[name]
        if isinstance(value, Mapping):
            flat.update({f"{name}/{rest}": leaf for rest, leaf in flatten_paths(value).items()})
        else:
            flat[name] = value
    return flat


def unflatten_paths(flat: Mapping[str, Any]) -> Params:
    """{"a/b": x} -> {"a": {"b": x}}."""
    tree: Params = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def map_paths(function: Callable[[str, Any], Any], tree: Params) -> Params:
    """Maps `function(path, leaf)` over a nested dict."""
    return unflatten_paths({path: function(path, leaf) for path, leaf in flatten_paths(tree).items()})


def partition(tree: Params, frozen: Callable[[str], bool]) -> tuple[Params, Params]:
    """Splits a tree by path into (trainable, frozen); `merge` puts it together again."""
    flat = flatten_paths(tree)
    return (
        unflatten_paths({path: leaf for path, leaf in flat.items() if not frozen(path)}),
        unflatten_paths({path: leaf for path, leaf in flat.items() if frozen(path)}),
    )


def merge(*trees: Params) -> Params:
    """Union of nested dicts; where a path stands in several, the last one wins."""
    flat: dict[str, Any] = {}
    for tree in trees:
        flat.update(flatten_paths(tree))
    return unflatten_paths(flat)


def transplant(model: nnx.Module, variables: Params) -> Params:
    """The variables of a module, with those of another model in every place that has the same path and shape.

    Args:
        model: gives the places, and the values where the other model has none (a new head).
        variables: nested dict of arrays of a trained model.

    Raises:
        InputError: nothing fits.
    """
    own, given = flatten_paths(purify(model).variables), flatten_paths(variables)
    fitting = {path for path, leaf in own.items() if path in given and np.shape(given[path]) == np.shape(leaf)}
    if not fitting:
        raise InputError(
            "start: no parameter of that model has the path and shape of one of this one. Take the same backbone."
        )
    return unflatten_paths({path: given[path] if path in fitting else leaf for path, leaf in own.items()})


def match_patterns(tree: Params, patterns: Sequence[str]) -> frozenset[str]:
    """Paths that match any of the shell-style patterns (`backbone/down*`).

    Raises:
        InputError: a pattern matches nothing; the message lists the paths there are.
    """
    paths = list(flatten_paths(tree))
    chosen: set[str] = set()
    for pattern in patterns:
        hits = [path for path in paths if fnmatch.fnmatch(path, pattern)]
        if not hits:
            raise InputError(f"freeze: the pattern {pattern!r} matches no parameter. There are: {', '.join(paths)}")
        chosen.update(hits)
    return frozenset(chosen)


def count(tree: Params) -> int:
    """Number of scalars in a nested dict of arrays."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(tree))


def _call(module: Any, image: jax.Array) -> Prediction:
    return {name: value.astype(jnp.float32) for name, value in module(image).items()}
