"""Checkpoints by Orbax, written in the background: the latest state and the best weights. The only file that knows Orbax."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from bioflax.errors import InputError
from bioflax.train.distributed import bring_home, is_first, is_one_of_several, place, sent, told
from bioflax.train.state import TrainState
from bioflax.typing import Params

logging.getLogger("absl").setLevel(logging.CRITICAL)


class Checkpoints:
    """`folder/latest` holds the whole state, `folder/best` the variables with the lowest validation loss.

    Orbax writes into a temporary folder and renames it, so a process killed in the middle leaves the one before.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self._managers = {
            name: ocp.CheckpointManager(
                self.folder / name,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=keep,
                    enable_async_checkpointing=True,
                    cleanup_tmp_directories=True,
                    **_alone(self.folder / name),
                ),
            )
            for name, keep in (("latest", 2), ("best", 2))
        }

    def save(self, step: int, state: TrainState, meta: dict[str, Any]) -> None:
        """Saves the whole state of `step`; returns at once, the writing goes on behind."""
        self._write("latest", step, state._asdict(), meta)

    def save_best(self, step: int, variables: Params, meta: dict[str, Any]) -> None:
        """Saves the best variables so far."""
        self._write("best", step, variables, meta)

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._managers["latest"].latest_step()

    def restore(self, template: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Reads the newest state.

        Args:
            template: a state of the same structure, shapes and dtypes (and shardings, which the result gets).

        Raises:
            InputError: the checkpoint belongs to another model or optimiser, or is damaged.
        """
        tree, meta = self._read("latest", template._asdict(), self.latest_step())
        return TrainState(**tree), meta

    def restore_best(self, template: Params, step: int) -> Params:
        """Reads the best variables, found at `step`."""
        return self._read("best", template, step)[0]

    def discard_after(self, step: int) -> None:
        """Drops best weights newer than the state a run goes on from; it will find them again."""
        manager = self._managers["best"]
        for newer in [saved for saved in manager.all_steps() if saved > step]:
            manager.delete(newer)

    def wait(self) -> None:
        """Waits for the writing behind, and raises what went wrong in it."""
        for manager in self._managers.values():
            manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees the threads."""
        for manager in self._managers.values():
            manager.wait_until_finished()
            manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, name: str, step: int, tree: Any, meta: dict[str, Any]) -> None:
        manager = self._managers[name]
        manager.wait_until_finished()
        if step in manager.all_steps():
            manager.delete(step)
        items = ocp.args.Composite(state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
        manager.save(step, args=items, force=True)

    def _read(self, name: str, template: Any, step: int | None) -> tuple[Any, dict[str, Any]]:
        manager = self._managers[name]
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            read = manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
            )
        except Exception as cause:
            reason = str(cause).strip().splitlines()[0][:200] if str(cause).strip() else type(cause).__name__
            raise InputError(
                f"run_dir: the checkpoint of step {step} in {self.folder / name} does not fit this model and optimiser, or is "
                f"damaged ({reason}). Take the overrides it was made with, or another run_dir."
            ) from cause
        # Orbax casts silently; a state of another dtype would not go on bit for bit.
        for expected, found in zip(jax.tree.leaves(template), jax.tree.leaves(read["state"])):
            if np.dtype(expected.dtype) != np.dtype(found.dtype):
                raise InputError(f"run_dir: checkpoint dtype {found.dtype}, expected {expected.dtype}.")
        return read["state"], read["meta"]


class SharedCheckpoints:
    """As `Checkpoints`, for a run of several processes: the first reads and writes, what it read is sent to the others.

    All processes make the same calls in the same order.
    """

    def __init__(self, folder: str | Path) -> None:
        self._own = Checkpoints(folder) if is_first() else None

    def save(self, step: int, state: TrainState, meta: dict[str, Any]) -> None:
        if self._own:
            self._own.save(step, bring_home(state), meta)

    def save_best(self, step: int, variables: Params, meta: dict[str, Any]) -> None:
        if self._own:
            self._own.save_best(step, bring_home(variables), meta)

    def latest_step(self) -> int | None:
        return told(self._own.latest_step() if self._own else None)

    def restore(self, template: TrainState) -> tuple[TrainState, dict[str, Any]]:
        return self._read(template, lambda own, at_home: own.restore(at_home))

    def restore_best(self, template: Params, step: int) -> Params:
        return self._read(template, lambda own, at_home: (own.restore_best(at_home, step), {}))[0]

    def discard_after(self, step: int) -> None:
        if self._own:
            self._own.discard_after(step)

    def wait(self) -> None:
        if self._own:
            self._own.wait()

    def close(self) -> None:
        if self._own:
            self._own.close()

    def __enter__(self) -> SharedCheckpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self, template: Any, read: Callable[[Checkpoints, Any], tuple[Any, dict[str, Any]]]) -> tuple[Any, Any]:
        tree, meta, problem = bring_home(template), {}, None
        try:
            if self._own:
                tree, meta = read(self._own, tree)
        except InputError as failure:  # the others must not wait for what will not come
            problem = str(failure)
        meta, problem = told([meta, problem])
        if problem is not None:
            raise InputError(problem)
        sharding = jax.tree.leaves(template)[0].sharding
        return place(sent(tree), sharding), meta


def open_checkpoints(folder: str | Path) -> Checkpoints | SharedCheckpoints:
    """The checkpoints of a run, whether one process trains it or several."""
    return SharedCheckpoints(folder) if is_one_of_several() else Checkpoints(folder)


def _alone(folder: Path) -> dict[str, Any]:
    """Options for the first of several processes, so that Orbax does not wait for the others."""
    if not is_one_of_several():
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    only = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    return {"create": False, "multiprocessing_options": only}
