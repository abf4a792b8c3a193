"""SIGINT and SIGTERM while a model is trained: what has been learned is to be saved first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Caught:
    """The name of the signal, once there was one."""

    signal: str | None = None


@contextlib.contextmanager
def catch_signals() -> Iterator[Caught]:
    """SIGINT and SIGTERM ask the loop to save and stop; a second one stops at once."""
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: Any) -> None:
        if caught.signal is not None:
            raise KeyboardInterrupt
        caught.signal = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
