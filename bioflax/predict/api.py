"""A trained model on an array: an array with the same axes comes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import Localizations, image_from_array, rearrange, suggest_axes
from bioflax.ops.tiles import Window
from bioflax.predict.layout import SPATIAL
from bioflax.predict.movie import card_camera, is_localizer, localize_movie
from bioflax.predict.objects import Detections, detect_objects, is_detector
from bioflax.predict.restore import Restorer, layout_for, restore
from bioflax.predict.tiled import Progress, TileChoice
from bioflax.typing import Array


def predict(
    model: Restorer,
    image: Array,
    axes: str | None = None,
    *,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    augment: bool = False,
    posterior: bool = False,
    camera: Any = None,
    compute_dtype: Any = None,
    on_progress: Progress | None = None,
) -> np.ndarray | Localizations | Detections:
    """Restores a picture; localizes the emitters of a movie, or finds objects, where the model has learned that.

    Args:
        model: a loaded model.
        image: array of any real type, in the units of the training images.
        axes: its axes, letters of TSZCYX; None only where the array has the model's own (YX or ZYX).
        tile: "auto", a size in pixels (halo included), one per spatial axis, or None for the whole at once.
        memory_gb: memory to stay under, in 1e9 bytes; None takes half of what is free.
        augment: average over the eight turns and flips of the YX plane.
        posterior: put the observed pixel back into the prediction of a blind-spot net, as far as it is signal: the image's
            own noise tells (`predict.posterior`).
        camera: for a localizer, what turned photons into these counts; None takes the camera of its card.
        compute_dtype: precision of the weights, such as `jnp.bfloat16`; None leaves float32.
        on_progress: called as `on_progress(tiles_done, tiles_total)`, or with frames by a localizer.

    Returns:
        float32 array in the units of `image`, with the same axes (C before the rest of the plane where the model makes
        several channels out of none). Of a localizer, the table of `localize_movie`; a movie has the axes TYX. Of a
        detector, the `Detections` of one picture.

    Raises:
        InputError: axes that do not fit the array or the model, pixels that are not finite, or too little memory.
    """
    if is_localizer(model):
        image = np.asarray(image)
        movie = image_from_array(image, axes or {2: "YX", 3: "TYX"}.get(image.ndim, ""))
        camera = card_camera(model) if camera is None else camera
        return localize_movie(model, movie, camera, tile=tile, memory_gb=memory_gb, on_progress=on_progress)
    if is_detector(model):
        if augment or posterior or compute_dtype is not None:
            raise InputError("augment, posterior, compute_dtype: expected none of them for a model that finds objects.")
        picture = _one_picture(model, np.asarray(image), axes)
        return detect_objects(model, picture, tile=tile, memory_gb=memory_gb, on_progress=on_progress)
    maps = predict_maps(
        model,
        image,
        axes,
        tile=tile,
        memory_gb=memory_gb,
        augment=augment,
        posterior=posterior,
        compute_dtype=compute_dtype,
        on_progress=on_progress,
    )
    return maps["image"]


def predict_maps(
    model: Restorer, image: Array, axes: str | None = None, *, posterior: bool = False, **options: Any
) -> dict[str, np.ndarray]:
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

    restore(model, source, layout, write, options, posterior=posterior)
    return maps


def _one_picture(model: Restorer, image: np.ndarray, axes: str | None) -> np.ndarray:
    """([Z,] H, W, C) of an array with the axes of one picture."""
    spatial = SPATIAL[model.spatial_dims]
    source = image_from_array(
        image, axes or {len(spatial): spatial, len(spatial) + 1: spatial + "C"}.get(image.ndim, "")
    )
    if set(source.axes) - {"C"} != set(spatial):
        raise InputError(f"axes: expected one picture with the axes {spatial} and perhaps C, found {source.axes}")
    return rearrange(source.read(), source.axes, spatial + "C")
