"""What a run says while it trains: `metrics.jsonl`, and a live bar with throughput and time left."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`; going on from a checkpoint drops the lines that come after it."""

    def __init__(self, path: Path | None, resume_step: int) -> None:
        self._file = None
        if path is None:  # another process writes
            return
        kept = [line for line in _read_lines(path) if line["step"] <= resume_step]
        aside = path.with_suffix(".jsonl.part")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(aside, path)
        self._file = path.open("a")

    def write(self, line: dict[str, Any]) -> None:
        """Writes one line and hands it to the operating system."""
        if self._file is None:
            return
        self._file.write(json.dumps({name: _plain(value) for name, value in line.items()}) + "\n")
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    if path.exists():
        for text in path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break  # the last line of a killed run may be cut
    return lines


def _plain(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


class ProgressBar:
    """A rich bar on a terminal; elsewhere (a log file, a batch queue) a line every ten seconds. On standard error."""

    def __init__(self, label: str, total: int, done: int = 0, *, quiet: bool = False) -> None:
        self._label, self._total, self._start, self._first = label, total, time.monotonic(), done
        self._last_line = self._start
        console = Console(stderr=True)
        self._plain = not console.is_terminal and not quiet
        self._bar = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(label, total=total, completed=done, note="")
            self._bar.start()

    def update(self, done: int, note: str = "") -> None:
        """Shows that `done` of the total are finished; `note` stands beside (loss, throughput)."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif self._plain and (time.monotonic() - self._last_line > 10 or done >= self._total):
            self._last_line = time.monotonic()
            rate = (done - self._first) / max(self._last_line - self._start, 1e-9)
            left = (self._total - done) / rate if rate > 0 else 0.0
            print(f"{self._label} {done}/{self._total} {note} {left:.0f} s left", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
