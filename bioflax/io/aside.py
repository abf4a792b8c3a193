"""Files that get their name only when they are complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bioflax.errors import InputError


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Lends a temporary name beside `path`; what was written there is renamed at the end and removed after an error.

    Args:
        path: final name; its folder is made if missing, a file of that name is replaced.

    Yields:
        The temporary path to write to.

    Raises:
        InputError: the folder cannot be written, the disk is full, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write, found a folder. Give a file name.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: the disk is full; free some space or choose another folder") from cause
        raise InputError(f"{path}: cannot be written ({cause.strerror or cause}); choose another folder") from cause
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
