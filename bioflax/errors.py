"""The errors a user meets: one line that names the field, what was expected, what was found and what to do."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """Something the user can mend: data, a path, an option. The command line turns it into exit code 2 and one line."""


class TrainingError(RuntimeError):
    """Training cannot go on (a non-finite loss); the last good checkpoint is kept. Exit code 1."""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional dependency.

    Args:
        module: dotted name, such as `skimage.restoration`.
        extra: the extra of bioflax that installs it.

    Returns:
        The imported module.

    Raises:
        InputError: the module is missing; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        root = module.partition(".")[0]
        raise InputError(f'{root}: not installed. Install it with: pip install "bioflax[{extra}]"') from cause
