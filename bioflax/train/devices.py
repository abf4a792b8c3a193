"""Hardware: precision, steps a call, and the mesh over which a batch is divided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bioflax.errors import InputError
from bioflax.train.distributed import check_processes, join

PRECISIONS = {"float32": None, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class Hardware:
    """How a step is run; what it computes does not depend on it, up to rounding.

    Args:
        precision: `float32`, or `bfloat16` for weights and activations in the forward and backward pass; the state stays
            float32.
        steps_per_call: steps in one compiled call (`lax.scan`); 1 on CPU, where scanned convolutions are 7-10x slower.
        devices: how many devices share a batch; 0 is all there are, those of all processes where there are several.
        coordinator, processes, process: of one model trained by several processes, as `distributed.join` takes them.
    """

    precision: str = "float32"
    steps_per_call: int = 1
    devices: int = 1
    coordinator: str | None = None
    processes: int = 1
    process: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"hardware.precision: {self.precision!r} is not known. Take one of: {', '.join(PRECISIONS)}."
            )
        if self.steps_per_call < 1:
            raise InputError(f"hardware.steps_per_call: expected at least 1, found {self.steps_per_call}.")
        if self.devices < 0:
            raise InputError(f"hardware.devices: expected 0 (all) or more, found {self.devices}.")
        check_processes(self.coordinator, self.processes, self.process)

    def join(self) -> None:
        """Joins the other processes, if there are to be any; before any other use of JAX."""
        join(self.coordinator, self.processes, self.process)

    @property
    def dtype(self) -> Any:
        """Compute dtype of the weights; None is float32 as they are."""
        return PRECISIONS[self.precision]

    @cached_property
    def mesh(self) -> Mesh:
        """One axis, `data`."""
        found = jax.devices()
        number = self.devices or len(found)
        if number > len(found):
            raise InputError(f"hardware.devices: {number} asked for, {len(found)} found ({found[0].platform}).")
        if jax.process_count() > 1 and number < len(found):
            raise InputError(
                f"hardware.devices: expected 0, all {len(found)} devices of the {jax.process_count()} processes, found {number}."
            )
        return Mesh(np.array(found[:number]), ("data",))

    @property
    def number(self) -> int:
        """Number of devices that share a batch."""
        return self.mesh.devices.size

    def replicated(self) -> NamedSharding:
        """Sharding of the state: a copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def divided(self) -> NamedSharding:
        """Sharding of a fetched batch: its examples divided over the devices, behind the axis of steps if there is one."""
        return NamedSharding(
            self.mesh, PartitionSpec(None, "data") if self.steps_per_call > 1 else PartitionSpec("data")
        )

    def shard_batch(self, batch: Any) -> Any:
        """Inside jit: divides the examples over the devices; XLA then inserts the sum of the gradients."""
        if self.number == 1:
            return batch
        return jax.lax.with_sharding_constraint(batch, NamedSharding(self.mesh, PartitionSpec("data")))

    def check_batch(self, batch_size: int) -> None:
        """Raises InputError where a batch cannot be divided evenly."""
        if batch_size < 1 or batch_size % self.number:
            raise InputError(
                f"train.batch: expected a positive multiple of the {self.number} device(s) that share it, found {batch_size}."
            )
