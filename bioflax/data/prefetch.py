"""Fetching batches ahead of the training loop, on one thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from bioflax.errors import InputError
from bioflax.typing import HostSource

_END = object()


class Prefetch:
    """Iterates over `put(source.batch(step))` for the steps from `start` to `stop`, two batches ahead.

    An exception of the source or of `put` is raised where the batch would have come. Use it as a context manager, or
    call `close`, so that its thread ends when the loop is left early.

    Args:
        source: gives the batch of a step.
        start: first step.
        stop: behind the last step.
        put: moves a batch to the device, for instance `lambda batch: jax.device_put(batch, sharding)`.
        depth: batches that wait.

    Raises:
        InputError: `depth` is below 1.
    """

    def __init__(
        self, source: HostSource, start: int, stop: int, put: Callable[[Any], Any] = lambda batch: batch, depth: int = 2
    ) -> None:
        if depth < 1:
            raise InputError(f"depth: expected 1 or more, found {depth}")
        self._queue: queue.Queue = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._fetch, args=(source, start, stop, put), name="bioflax-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._stopped.is_set():
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        if item is _END:
            self.close()
            raise StopIteration
        return item[0]

    def close(self) -> None:
        """Ends the thread; harmless if called again."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()  # the thread may wait for room
            except queue.Empty:
                self._thread.join(0.01)

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, source: HostSource, start: int, stop: int, put: Callable[[Any], Any]) -> None:
        try:
            for step in range(start, stop):
                if self._stopped.is_set():
                    return
                self._queue.put((put(source.batch(step)),))
            self._queue.put(_END)
        except BaseException as error:  # handed to the consumer, which raises it
            self._queue.put(error)
