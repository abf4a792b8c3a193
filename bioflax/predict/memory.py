"""How much memory a tile needs, how much there is, and what running out of it looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.ops.tiles import round_up, smallest_tile
from bioflax.typing import Params, Prediction

Apply = Callable[[Params, jax.Array], Prediction]

# A model of memory is an estimate: allocators fragment, convolutions ask for scratch space, others run beside us.
SHARE_OF_MEMORY = 0.5
# Beyond this size tiles gain no speed on an accelerator and only cost memory.
LARGEST_TILE_PIXELS = 4096 * 4096
# On a CPU a convolution is faster on smaller tiles, whose arrays stay in its caches, as long as halos are a small part
# of them (benchmarks/tiles.py compares sizes).
CPU_WORKING_SET_BYTES = 40e6
CPU_LEAST_HALOS = 10
CONTROL_GROUP = Path("/sys/fs/cgroup")


def budget_pixels(
    apply: Apply,
    variables: Params,
    channels: int,
    halo: Sequence[int],
    stride: Sequence[int],
    memory_gb: float | None = None,
) -> int:
    """Number of pixels that one call of the net may have.

    Args:
        apply: `(variables, image (N, [Z,] H, W, C)) -> prediction`.
        variables: of the net.
        channels: C of the image.
        halo: context on each side in pixels, one a spatial axis.
        stride: total stride of the net, one a spatial axis.
        memory_gb: memory to stay under in 1e9 bytes; None takes half of what is free.

    Raises:
        InputError: `memory_gb` is not positive, or too small for the weights.
    """
    if memory_gb is not None and not (math.isfinite(memory_gb) and memory_gb > 0):
        raise InputError(f"memory_gb: expected a number above 0, found {memory_gb}. Leave it out to use what is free")
    allowed = SHARE_OF_MEMORY * available_bytes() if memory_gb is None else memory_gb * 1e9
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    if allowed <= weights:
        raise InputError(
            f"memory_gb: expected more than the weights take ({weights / 1e9:.2g}), found {allowed / 1e9:.2g}"
        )
    per_pixel = bytes_per_pixel(apply, variables, channels, halo, stride)
    fastest = LARGEST_TILE_PIXELS
    if jax.default_backend() == "cpu":
        fastest = max(CPU_WORKING_SET_BYTES / per_pixel, math.prod(max(1, CPU_LEAST_HALOS * size) for size in halo))
    return int(min((allowed - weights) / per_pixel, fastest))


def bytes_per_pixel(
    apply: Apply, variables: Params, channels: int, halo: Sequence[int], stride: Sequence[int]
) -> float:
    """Peak memory of a prediction per pixel of the image, from the life of every intermediate array, without compiling.

    The compiler fuses some of them away, so this is an upper estimate.
    """
    # Sizes at which weights and constants no longer count beside the image.
    shape = [round_up(max(64, size), step) for size, step in zip(smallest_tile(halo, stride), stride, strict=True)]
    image = jax.ShapeDtypeStruct((1, *shape, channels), np.float32)
    program = jax.make_jaxpr(apply)(variables, image).jaxpr
    peak = _peak_bytes(program) + math.prod(image.shape) * 4
    return peak / math.prod(shape)


def available_bytes() -> float:
    """Memory that is free on the device that predicts: the accelerator's own, or the machine's within its container."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        statistics = device.memory_stats() or {}
        if "bytes_limit" in statistics:
            return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
        return 8e9
    return min(_machine_bytes(), _container_bytes())


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors by which Python, NumPy and XLA say that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, jax.errors.JaxRuntimeError) and ("RESOURCE_EXHAUSTED" in text or "ut of memory" in text)


def _machine_bytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4e9  # no such table on this system: a size that every machine of today has


def _container_bytes() -> float:
    """Room left under the memory limit of this process's control group, or infinity."""
    for limit, used, table, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            most, taken = (float((CONTROL_GROUP / name).read_text()) for name in (limit, used))
            rows = dict(line.split() for line in (CONTROL_GROUP / table).read_text().splitlines())
            # Pages of files that nobody uses count as taken, but give way.
            return max(0.0, most - taken + float(rows.get(cache, 0)))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return math.inf


def _peak_bytes(program: Any) -> int:
    """Largest sum of arrays alive at once inside a jaxpr, its own inputs not counted."""
    last = {}
    for index, equation in enumerate(program.eqns):
        last.update({id(value): index for value in equation.invars})
    last.update({id(value): len(program.eqns) for value in program.outvars})
    alive: dict[int, int] = {}
    peak = 0
    for index, equation in enumerate(program.eqns):
        inner = max((_peak_bytes(part) for part in _inner_programs(equation)), default=0)
        made = {id(value): _bytes(value) for value in equation.outvars}
        peak = max(peak, sum(alive.values()) + max(inner, sum(made.values())))
        alive.update({value: size for value, size in made.items() if last.get(value, -1) > index})
        for value in equation.invars:
            if last[id(value)] == index:
                alive.pop(id(value), None)
    return peak


def _inner_programs(equation: Any) -> Iterator[Any]:
    """The jaxprs that an equation calls: jit, custom derivatives, the branches of a choice."""
    for parameter in equation.params.values():
        for part in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                yield part


def _bytes(value: Any) -> int:
    shape = getattr(value.aval, "shape", ())
    size = getattr(getattr(value.aval, "dtype", None), "itemsize", 0)
    return math.prod(shape) * size
