"""A trained model on a picture: arrays in, arrays out, or files in, files out, through the same windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bioflax.errors import InputError
from bioflax.functional import Net
from bioflax.io import ImageFile, ImageSink, image_from_array, image_stem, open_image, suggest_axes
from bioflax.ops.tiles import Window
from bioflax.predict.layout import SPATIAL, Layout
from bioflax.predict.tiled import Progress, TileChoice, Write, run_tiles
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


def predict(
    model: Restorer,
    image: Array,
    axes: str | None = None,
    *,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    augment: bool = False,
    compute_dtype: Any = None,
    on_progress: Progress | None = None,
) -> np.ndarray:
    """Restores a picture.

    Args:
        model: a loaded model.
        image: array of any real type, in the units of the training images.
        axes: its axes, letters of TSZCYX; None only where the array has the model's own (YX or ZYX).
        tile: "auto", a size in pixels (halo included), one per spatial axis, or None for the whole at once.
        memory_gb: memory to stay under, in 1e9 bytes; None takes half of what is free.
        augment: average over the eight turns and flips of the YX plane.
        compute_dtype: precision of the weights, such as `jnp.bfloat16`; None leaves float32.
        on_progress: called as `on_progress(tiles_done, tiles_total)`.

    Returns:
        float32 array in the units of `image`, with the same axes (C before the rest of the plane where the model makes
        several channels out of none).

    Raises:
        InputError: axes that do not fit the array or the model, pixels that are not finite, or too little memory.
    """
    maps = predict_maps(
        model,
        image,
        axes,
        tile=tile,
        memory_gb=memory_gb,
        augment=augment,
        compute_dtype=compute_dtype,
        on_progress=on_progress,
    )
    return maps["image"]


def predict_maps(model: Restorer, image: Array, axes: str | None = None, **options: Any) -> dict[str, np.ndarray]:
    """As `predict`; returns every map of the model: {"image", and "scale" where it predicts an uncertainty}.

    `scale` has the units of `image`: a standard deviation for a Gaussian head, the b of a Laplace distribution for a
    Laplace head.
    """
    image = np.asarray(image)
    if axes is None:
        axes = SPATIAL[model.spatial_dims]
        if image.ndim != len(axes):
            raise InputError(
                f"axes: expected the axes of an image of shape {image.shape} for a {model.spatial_dims}-D model, "
                f"found none; {suggest_axes(image.ndim)}"
            )
    source = image_from_array(image, axes)
    layout = layout_for(model, source)
    maps: dict[str, np.ndarray] = {}

    def write(window: Window, prediction: dict[str, np.ndarray]) -> None:
        for name, values in prediction.items():
            if name not in maps:
                maps[name] = np.empty(layout.shape_out, np.float32)
            layout.write(maps[name].__setitem__, window, values)

    _restore(model, source, layout, write, options)
    return maps


def predict_file(
    model: Restorer,
    source: str | Path | ImageFile,
    output: str | Path,
    axes: str | None = None,
    *,
    dtype: np.typing.DTypeLike | None = None,
    **options: Any,
) -> dict[str, Path]:
    """Restores an image file of any size into an OME-TIFF, window by window: memory is that of a few tiles.

    Args:
        model: a loaded model.
        source: an image file.
        output: `.tif` or `.tiff`; written aside and renamed when complete. A scale map goes beside it, as
            `<name>_scale.tif` in float32.
        axes: of the source; None takes its metadata.
        dtype: of the output; None keeps an integer source's own (rounded and clipped), else float32.
        options: as `predict`: tile, memory_gb, augment, compute_dtype, on_progress.

    Returns:
        {"image": path, and "scale": path where the model predicts one}.

    Raises:
        InputError: as `predict`; also a source that cannot be read, an output that cannot be written or is the source.
    """
    opened = source if isinstance(source, ImageFile) else open_image(source, axes)
    output = Path(output)
    if output.exists() and opened.kind != "array" and output.resolve() == opened.path.resolve():
        raise InputError(f"output: expected another file than the input, found {output} for both")
    layout = layout_for(model, opened)
    if dtype is None:
        dtype = opened.dtype if opened.dtype.kind in "iu" and opened.dtype.itemsize <= 4 else np.dtype(np.float32)
    paths = {"image": output, "scale": scale_path(output)}
    sinks: dict[str, ImageSink] = {}

    def write(window: Window, prediction: dict[str, np.ndarray]) -> None:
        for name, values in prediction.items():
            if name not in sinks:
                kind = dtype if name == "image" else np.float32
                sinks[name] = ImageSink(paths[name], layout.shape_out, layout.axes_out, kind, opened.pixel_nm)
            layout.write(sinks[name].write_window, window, values)

    try:
        _restore(model, opened, layout, write, options)
        for sink in sinks.values():
            sink.commit()
    finally:
        for sink in sinks.values():
            sink.abort()
    return {name: paths[name] for name in sinks}


def scale_path(output: Path) -> Path:
    """Where the scale map of an output goes: `a.ome.tif` -> `a_scale.ome.tif`."""
    stem = image_stem(output)
    return output.with_name(f"{stem}_scale{output.name[len(stem) :]}")


def layout_for(model: Restorer, source: ImageFile) -> Layout:
    """How the axes of an image map to those of a model."""
    return Layout(source.axes, source.shape, model.spatial_dims, model.channels_in, model.channels_out)


def _restore(model: Restorer, source: ImageFile, layout: Layout, write: Write, options: dict[str, Any]) -> None:
    units = model.normalization

    def read(window: Window) -> np.ndarray:
        return np.asarray(units.apply(layout.read(source.read_window, window).astype(np.float32)))

    def write_in_units(window: Window, prediction: dict[str, np.ndarray]) -> None:
        back = {"image": units.invert, "scale": units.invert_scale}
        write(window, {name: np.asarray(back[name](values), np.float32) for name, values in prediction.items()})

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
