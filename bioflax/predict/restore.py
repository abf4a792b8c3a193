"""A model on an image of any axes: windows are read, brought to the model's units, predicted, and brought back."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from bioflax.functional import Net
from bioflax.io import ImageFile
from bioflax.ops.tiles import Window
from bioflax.predict.layout import Layout
from bioflax.predict.tiled import Write, run_tiles
from bioflax.typing import Array, Params


class Scaling(Protocol):
    """The normalised units of a model: `bioflax.data.Normalization`."""

    def apply(self, image: Array) -> Array: ...

    def invert(self, image: Array) -> Array: ...

    def invert_scale(self, scale: Array) -> Array: ...


class Restorer(Protocol):
    """What prediction needs of a model; `hub.LoadedModel` is one."""

    net: Net
    variables: Params
    normalization: Scaling
    spatial_dims: int
    channels_in: int
    channels_out: int
    receptive_field: int
    stride: int


def layout_for(model: Restorer, source: ImageFile) -> Layout:
    """How the axes of an image map to those of a model."""
    return Layout(source.axes, source.shape, model.spatial_dims, model.channels_in, model.channels_out)


def restore(model: Restorer, source: ImageFile, layout: Layout, write: Write, options: dict[str, Any]) -> None:
    """Restores an image from its windows to a sink of windows.

    Args:
        model: a loaded model.
        source: the image; only windows of it are read.
        layout: `layout_for(model, source)`.
        write: takes a window over (N, [Z,] H, W) and the maps there, in the units of the image.
        options: of `run_tiles`: tile, memory_gb, augment, compute_dtype, on_progress.
    """
    units = model.normalization

    def read(window: Window) -> np.ndarray:
        return np.asarray(units.apply(layout.read(source.read_window, window).astype(np.float32)))

    def write_in_units(window: Window, prediction: dict[str, np.ndarray]) -> None:
        back = {"image": units.invert, "scale": units.invert_scale}
        write(
            window, {name: np.asarray(back[name](prediction[name]), np.float32) for name in back if name in prediction}
        )

    run_tiles(
        model.net.apply,
        model.variables,
        read,
        write_in_units,
        layout.net_shape,
        halo=model.receptive_field // 2,
        stride=model.stride,
        **options,
    )
