"""The plain types and protocols that flow between the parts of bioflax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

Array = jax.Array | np.ndarray
Batch = dict[str, Array]
Params = dict[str, Any]
Prediction = dict[str, Array]


class Backbone(Protocol):
    """An NNX module `(image: (N, [Z,] H, W, C)) -> features`, a tuple from fine to coarse."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    receptive_field: int

    def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]: ...


class Head(Protocol):
    """An NNX module `(features, image) -> prediction`, built from the backbone's `widths`."""

    def __call__(self, features: tuple[jax.Array, ...], image: jax.Array) -> Prediction: ...


@runtime_checkable
class DeviceSource(Protocol):
    """A pytree that makes batches inside jit: a simulator, or a stack resident on the device."""

    def sample(self, key: jax.Array, n: int) -> Batch: ...


@runtime_checkable
class HostSource(Protocol):
    """Batches from files: a pure function of (seed, step); the loop fetches ahead."""

    def batch(self, step: int) -> dict[str, np.ndarray]: ...


class Task(Protocol):
    """What is learned: how a batch is prepared, what the loss is, how a result is judged."""

    def prepare(self, key: jax.Array, batch: Batch) -> Batch: ...

    def loss(self, prediction: Prediction, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]: ...

    def metrics(self, prediction: Prediction, batch: Batch) -> Mapping[str, Any]: ...
