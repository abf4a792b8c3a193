"""A model on an image of any axes: windows are read, brought to the model's units, predicted, and brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from bioflax.errors import InputError
from bioflax.functional import Net
from bioflax.io import ImageFile
from bioflax.ops.tiles import Window
from bioflax.predict.layout import Layout
from bioflax.predict.posterior import Posterior, fit_posterior, sample_windows
from bioflax.predict.tiled import TileChoice, Write, per_axis, predict_tiled, run_tiles
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
    upscale: int
    patch: tuple[int, ...] | None

    @property
    def blind_spot(self) -> bool: ...


def layout_for(model: Restorer, source: ImageFile) -> Layout:
    """How the axes of an image map to those of a model."""
    return Layout(source.axes, source.shape, model.spatial_dims, model.channels_in, model.channels_out, model.upscale)


def context(model: Restorer, tile: TileChoice) -> tuple[TileChoice, int | tuple[int, ...]]:
    """The tile and the halo of a prediction, in pixels.

    A net that looks at the whole of what it is given (`patch`: its training patches) sees tiles of that size whatever the
    image, so that its statistics are those it learned with; a quarter of a tile on each side is left out. All others take
    `tile` as it is, with the radius of their receptive field.
    """
    radius = model.receptive_field // 2
    patch = getattr(model, "patch", None)
    if patch is None:
        return tile, radius
    chosen = patch if tile in ("auto", None) else per_axis("tile", tile, model.spatial_dims)
    return chosen, tuple(min(radius, size // 4) for size in chosen)


def restore(
    model: Restorer,
    source: ImageFile,
    layout: Layout,
    write: Write,
    options: dict[str, Any],
    *,
    posterior: bool = False,
) -> None:
    """Restores an image from its windows to a sink of windows.

    Args:
        model: a loaded model.
        source: the image; only windows of it are read.
        layout: `layout_for(model, source)`.
        write: takes a window over (N, [Z,] s H, s W) and the maps there, in the units of the image.
        options: of `run_tiles`: tile, memory_gb, augment, compute_dtype, on_progress.
        posterior: put the observed pixel back into the prediction of a blind-spot net (`predict.posterior`).

    Raises:
        InputError: `posterior` for a model that sees the pixel it predicts, or that predicts a scale; `augment` for one that
            takes raw frames.
    """
    units = model.normalization
    if options.get("augment") and model.channels_in > 1 and model.channels_out == 1:
        raise InputError(
            "augment: expected false for a model of raw frames: their stripes do not turn with the picture."
        )
    tile, halo = context(model, options.get("tile", "auto"))
    options = {**options, "tile": tile}

    def observe(window: Window) -> np.ndarray:
        return layout.read(source.read_window, window).astype(np.float32)

    def read(window: Window) -> np.ndarray:
        return np.asarray(units.apply(observe(window)))

    def in_units(prediction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        back = {"image": units.invert, "scale": units.invert_scale}
        return {name: np.asarray(back[name](prediction[name]), np.float32) for name in back if name in prediction}

    def write_in_units(window: Window, prediction: dict[str, np.ndarray]) -> None:
        maps = in_units(prediction)
        if shares:
            maps["image"] = mix(shares, layout, window, observe(window), maps["image"])
        write(window, maps)

    shares = fit_shares(model, layout, observe, read, in_units, options) if posterior else []
    run_tiles(
        model.net.apply,
        model.variables,
        read,
        write_in_units,
        layout.net_shape,
        halo=halo,
        stride=model.stride,
        upscale=model.upscale,
        **options,
    )


def fit_shares(
    model: Restorer,
    layout: Layout,
    observe: Callable[[Window], np.ndarray],
    read: Callable[[Window], np.ndarray],
    in_units: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    options: dict[str, Any],
) -> list[Posterior]:
    """Fits the posterior of each channel of an image on a few windows of it."""
    if not model.blind_spot:
        raise InputError(
            "posterior: expected a model trained with blind spots (noise2void); this one sees the pixel it predicts. "
            "Leave posterior=false."
        )
    options = {name: value for name, value in options.items() if name != "on_progress"}
    samples: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    taken: list[Window] = []  # two items of the batch can be two channels of one place
    for whole, crop in sample_windows(layout.net_shape[:-1], model.receptive_field // 2):
        for window in layout.channel_windows(whole):
            if window in taken:
                continue
            taken.append(window)
            maps = predict_tiled(
                model.net.apply,
                model.variables,
                read(window),
                halo=context(model, options.get("tile", "auto"))[1],
                stride=model.stride,
                **options,
            )
            predicted, observed = in_units(maps)["image"][crop], observe(window)[crop]
            if "scale" in maps or predicted.shape != observed.shape:
                raise InputError(
                    "posterior: expected a model that predicts the image alone, channel by channel, as the direct and "
                    "residual heads do. Leave posterior=false."
                )
            for last in range(predicted.shape[-1]):
                channel = layout.channel_of(window[0].start) + last
                samples.setdefault(channel, []).append((observed[..., last], predicted[..., last]))
    return [fit_posterior(*map(np.concatenate, zip(*samples[channel]))) for channel in sorted(samples)]


def mix(
    shares: list[Posterior], layout: Layout, window: Window, observed: np.ndarray, predicted: np.ndarray
) -> np.ndarray:
    """The posterior mean of a window (n, [z,] h, w, C), each channel with its own shares."""
    mixed = np.empty_like(predicted)
    for row, item in enumerate(range(window[0].start, window[0].stop)):
        for last in range(predicted.shape[-1]):
            share = shares[layout.channel_of(item) + last]
            mixed[row, ..., last] = share.mix(observed[row, ..., last], predicted[row, ..., last])
    return mixed
