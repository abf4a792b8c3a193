"""One model over several processes, on one machine or many: joining, agreeing, and arrays that all of them hold.

Every process runs the same program on its own devices; `jax.jit` over the mesh of all devices adds up the gradients. The
first process alone writes, and what it reads is sent to the others, so that no folder has to be shared.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from bioflax.errors import InputError

LEAVING_S = 60  # how long a process that ends waits for the others
_ADDRESS = re.compile(r".+:\d+")
_PAGE = 1024  # bytes


def join(coordinator: str | None, processes: int = 1, process: int = 0) -> None:
    """Makes this process one of several; before any other use of JAX. It waits until all of them have come.

    Args:
        coordinator: `host:port` of the first process, `auto` on a cluster that JAX knows (SLURM, Open MPI, Kubernetes,
            Cloud TPU: address, number and index are found there), None for one process.
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        InputError: the three do not fit together, JAX has computed already, or the others cannot be reached.
    """
    check_processes(coordinator, processes, process)
    if coordinator is None:
        return
    if jax.distributed.is_initialized():
        raise InputError("hardware.coordinator: this process has joined already; start a command a process, no sweep.")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    before = signal.getsignal(signal.SIGTERM)
    given = {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
    try:
        jax.distributed.initialize(**({} if coordinator == "auto" else given), shutdown_timeout_seconds=LEAVING_S)
    except (RuntimeError, ValueError) as cause:
        reason = " ".join(str(cause).split())[:200]
        raise InputError(
            f"hardware.coordinator: {coordinator!r} cannot be joined ({reason}). Give host:port of process 0, on which it "
            "listens, and start every process; auto is for clusters."
        ) from cause
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # JAX now listens to it, and the process would not end any more
    _meet()


def leave() -> None:
    """Ends working together; all processes must come here. What a process computes after it, it computes alone."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def check_processes(coordinator: str | None, processes: int, process: int) -> None:
    """Checks the settings of `join`.

    Raises:
        InputError: one of them is not what it should be.
    """
    if coordinator not in (None, "auto") and not _ADDRESS.fullmatch(str(coordinator)):
        raise InputError(f"hardware.coordinator: expected host:port, auto or null, found {coordinator!r}.")
    if processes < 1:
        raise InputError(f"hardware.processes: expected at least 1, found {processes}.")
    if not 0 <= process < processes:
        raise InputError(f"hardware.process: expected 0 to {processes - 1}, found {process}.")
    if coordinator is None and processes > 1:
        raise InputError(
            f"hardware.coordinator: {processes} processes need the host:port of the first one, found null. "
            "Give hardware.coordinator=127.0.0.1:29500, say."
        )


def is_first() -> bool:
    """Whether this process writes; true where there is only one."""
    return jax.process_index() == 0


def is_one_of_several() -> bool:
    """Whether other processes work on the same model."""
    return jax.process_count() > 1


def place(tree: Any, sharding: Sharding) -> Any:
    """`jax.device_put`, also onto devices of other processes; each process holds the whole tree and keeps its part.

    Args:
        tree: arrays and numbers, equal in all processes.
        sharding: one for all leaves.
    """
    if not is_one_of_several():
        return jax.device_put(tree, sharding)

    def one(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)
        whole = whole.astype(jax.dtypes.canonicalize_dtype(whole.dtype))
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree.map(one, tree)


def bring_home(tree: Any) -> Any:
    """Replicated arrays as NumPy arrays of this process: copies, which outlive a donated state."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def told(value: Any) -> Any:
    """The plain JSON value of the first process, in all of them; all must call it."""
    if not is_one_of_several():
        return value
    text = json.dumps(value).encode() if is_first() else b""
    length = int(_broadcast(np.array(len(text), np.int32)))
    content = np.zeros(-(-length // _PAGE) * _PAGE, np.uint8)  # few lengths, since each is a program of its own
    content[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(_broadcast(content)[:length].tobytes())


def sent(tree: Any) -> Any:
    """The arrays of the first process, as NumPy arrays in all of them; the others give a tree of the same shapes."""
    return _broadcast(tree) if is_one_of_several() else tree


def enter_first(stack: contextlib.ExitStack, context: Any) -> None:
    """Enters a context in the first process only; all must call it, and what was wrong with the input all are told.

    Raises:
        InputError: as the context.
    """
    problem = None
    try:
        if is_first():
            stack.enter_context(context)
    except InputError as failure:
        problem = str(failure)
    problem = told(problem)
    if problem is not None:
        raise InputError(problem)


def any_of_us(flag: bool) -> bool:
    """Whether the flag is up in any process; all must call it."""
    if not is_one_of_several():
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def _meet() -> None:
    """Sends a first message over all devices while all processes are there: on CPUs gloo waits for it 30 s and no longer."""
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    jax.jit(jnp.sum)(place(np.zeros(jax.device_count(), np.float32), everywhere)).block_until_ready()
    any_of_us(False)


def _broadcast(tree: Any) -> Any:
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)
