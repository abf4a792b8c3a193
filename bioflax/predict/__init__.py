"""Prediction on images of any size and axes. The package can be called: `bioflax.predict(model, image)`."""

import sys
from types import ModuleType
from typing import Any

from bioflax.predict.api import predict as predict
from bioflax.predict.api import predict_maps as predict_maps
from bioflax.predict.honesty import Honesty as Honesty
from bioflax.predict.honesty import examine as examine
from bioflax.predict.layout import Layout as Layout
from bioflax.predict.movie import localize_classically as localize_classically
from bioflax.predict.movie import localize_movie as localize_movie
from bioflax.predict.objects import Detections as Detections
from bioflax.predict.objects import detect_objects as detect_objects
from bioflax.predict.physics import Physics as Physics
from bioflax.predict.physics import physics_of as physics_of
from bioflax.predict.stream import predict_file as predict_file
from bioflax.predict.stream import scale_path as scale_path
from bioflax.predict.tiled import predict_tiled as predict_tiled
from bioflax.predict.tiled import run_tiles as run_tiles


class _Callable(ModuleType):
    """The folder and the front-door function have one name; importing the folder must not hide the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return predict(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
