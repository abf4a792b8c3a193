"""bioflax: deep learning for microscopy in JAX, beside its physical bounds and classical baselines.

Parts are imported on first use, so that `import bioflax` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "baselines",
    "data",
    "evaluation",
    "functional",
    "hub",
    "io",
    "losses",
    "metrics",
    "models",
    "ops",
    "optics",
    "preflight",
    "report",
    "simulate",
    "tasks",
    "train",
}
_CALLS = {"load": "bioflax.hub", "predict": "bioflax.predict"}

__all__ = sorted(_MODULES | set(_CALLS))


def __getattr__(name: str) -> Any:
    if name in _CALLS:
        return getattr(importlib.import_module(_CALLS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"bioflax.{name}")
    raise AttributeError(f"module 'bioflax' has no attribute {name!r}. There are: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
