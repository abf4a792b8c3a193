"""Tiled prediction: one compiled function over tiles of one shape, equal to the prediction of the whole image."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from bioflax.errors import InputError
from bioflax.ops.tiles import Tile, Window, fit_tile, plan_tiles, read_window, smallest_tile
from bioflax.predict.memory import Apply, budget_pixels, is_out_of_memory
from bioflax.typing import Array, Params

Read = Callable[[Window], np.ndarray]
Write = Callable[[Window, dict[str, np.ndarray]], None]
Progress = Callable[[int, int], None]
TileChoice = str | int | Sequence[int] | None

VIEWS = tuple((turns, flip) for turns in range(4) for flip in (False, True))


def predict_tiled(
    apply: Apply,
    variables: Params,
    image: Array,
    *,
    halo: int | Sequence[int],
    stride: int | Sequence[int],
    upscale: int = 1,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    augment: bool = False,
    compute_dtype: Any = None,
    on_progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Predicts a batch of images tile by tile; equal to the whole to float32 rounding, whatever the tile.

    Args:
        apply: `(variables, image) -> dict` of maps that have the sizes of the image, Y and X times `upscale`, such as `Net.apply`.
        variables: of the net.
        image: (N, [Z,] H, W, C), in the net's normalised units; any size from one pixel on.
        halo: context on each side in pixels: `receptive_field // 2`; a number, or one per spatial axis.
        stride: total stride of the net; a number, or one per spatial axis.
        upscale: pixels of the maps along Y and X to a pixel of the image.
        tile: sizes in pixels, halo included; "auto" chooses by memory; None predicts each image in one piece.
        memory_gb: memory to stay under, in 1e9 bytes; None takes half of what is free.
        augment: average over the eight turns and flips of the YX plane.
        compute_dtype: precision of the weights, such as `jnp.bfloat16`; None leaves float32.
        on_progress: called as `on_progress(tiles_done, tiles_total)`.

    Returns:
        {"image": (N, [Z,] s H, s W, C_out) float32, and "scale" of the same shape where the net predicts one}.

    Raises:
        InputError: an image without N and C axes, an impossible tile, or not enough memory for the smallest tile.
    """
    image = np.asarray(image)
    if image.ndim not in (4, 5):
        raise InputError(f"image: expected (N, H, W, C) or (N, Z, H, W, C), found shape {image.shape}")
    maps: dict[str, np.ndarray] = {}

    def write(window: Window, prediction: dict[str, np.ndarray]) -> None:
        for name, values in prediction.items():
            if name not in maps:
                maps[name] = np.empty((*magnified(image.shape[:-1], upscale), values.shape[-1]), np.float32)
            maps[name][window] = values

    run_tiles(
        apply,
        variables,
        image.__getitem__,
        write,
        image.shape,
        halo=halo,
        stride=stride,
        upscale=upscale,
        tile=tile,
        memory_gb=memory_gb,
        augment=augment,
        compute_dtype=compute_dtype,
        on_progress=on_progress,
    )
    return maps


def run_tiles(
    apply: Apply,
    variables: Params,
    read: Read,
    write: Write,
    shape: Sequence[int],
    *,
    halo: int | Sequence[int],
    stride: int | Sequence[int],
    upscale: int = 1,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    augment: bool = False,
    compute_dtype: Any = None,
    on_progress: Progress | None = None,
) -> None:
    """As `predict_tiled`, from any source to any sink: only a tile at a time is in memory.

    When memory runs out the tile is halved along its longest axis and the image is begun again, so `write` can see a
    window twice.

    Args:
        read: gives (n, [z,] h, w, C) at a window over (N, [Z,] H, W).
        write: takes a window over (N, [Z,] s H, s W) and the maps that belong there.
        shape: (N, [Z,] H, W, C) of the source.
    """
    sizes = shape[:-1]
    # A batch axis has no halo and stride 1: it is cut like any other.
    halos = (0, *per_axis("halo", halo, len(sizes) - 1))
    strides = (1, *per_axis("stride", stride, len(sizes) - 1))
    call = compiled(apply, compute_dtype)
    chosen = choose_tile(call, variables, shape, halo=halo, stride=stride, tile=tile, memory_gb=memory_gb)
    while True:
        tiles = plan_tiles(sizes, chosen, halos, strides)
        try:
            return _run(call, variables, read, write, sizes, tiles, upscale, augment, on_progress)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # The error holds the frames of the failed call; its arrays must go before the next try.
            error.__traceback__ = None
        taken = tuple(span.stop - span.start for span in tiles[0].read)
        chosen = _halve(taken, halos, strides)


def choose_tile(
    apply: Apply,
    variables: Params,
    shape: Sequence[int],
    *,
    halo: int | Sequence[int],
    stride: int | Sequence[int],
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
) -> tuple[int, ...]:
    """Sizes of the tiles of a prediction, batch first.

    Args:
        shape: (N, [Z,] H, W, C) of the image; the other arguments as `predict_tiled`.

    Returns:
        (n, [z,] h, w): several images in one call only where a tile holds a whole image.
    """
    count, *spatial = shape[:-1]
    if tile is None:
        return (1, *spatial)
    if tile != "auto":
        if isinstance(tile, str):
            raise InputError(f"tile: expected auto, a size in pixels, or one size a spatial axis; found {tile!r}")
        return (1, *per_axis("tile", tile, len(spatial)))
    halos, strides = per_axis("halo", halo, len(spatial)), per_axis("stride", stride, len(spatial))
    pixels = budget_pixels(apply, variables, shape[-1], halos, strides, memory_gb)
    fitted = fit_tile(spatial, halos, strides, pixels)
    return (max(1, min(count, pixels // math.prod(fitted))), *fitted)


def magnified(sizes: Sequence[int], upscale: int) -> tuple[int, ...]:
    """Sizes (N, [Z,] H, W) of the maps that a net with that upscale makes of an image: Y and X grow."""
    return (*sizes[:-2], *(size * upscale for size in sizes[-2:]))


def magnified_window(window: Window, upscale: int) -> Window:
    """A window over (N, [Z,] H, W) of the image on the grid of the maps."""
    return (*window[:-2], *(slice(span.start * upscale, span.stop * upscale) for span in window[-2:]))


def compiled(apply: Apply, compute_dtype: Any = None) -> Apply:
    """The net as one jitted function; the same net gets the same function, so each shape compiles once."""
    try:
        precision = None if compute_dtype is None else np.dtype(compute_dtype)
    except TypeError as cause:
        raise InputError(f"compute_dtype: expected float32, bfloat16 or float16, found {compute_dtype!r}") from cause
    return _compiled(apply, precision)


def per_axis(field: str, value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """One whole number a spatial axis, from a number or a sequence."""
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * count
    whole = all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in values)
    if len(values) != count or not whole or any(size < (field != "halo") for size in values):
        raise InputError(f"{field}: expected a whole number, or {count} of them, one a spatial axis; found {value!r}")
    return tuple(int(size) for size in values)


@functools.lru_cache(maxsize=4)
def _compiled(apply: Apply, compute_dtype: np.dtype | None) -> Apply:
    if compute_dtype is None:
        return jax.jit(lambda variables, image: apply(variables, image))
    return jax.jit(lambda variables, image: apply(variables, image, dtype=compute_dtype))


def _halve(tile: Sequence[int], halos: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    if tile[0] > 1:
        return (-(-tile[0] // 2), *tile[1:])
    spatial = fit_tile(tile[1:], halos[1:], strides[1:], math.prod(tile[1:]) // 2)
    if math.prod(spatial) >= math.prod(tile[1:]):
        least = smallest_tile(halos[1:], strides[1:])
        raise InputError(
            f"memory: expected room for a tile of {tuple(tile[1:])} pixels, found none; the net cannot go below "
            f"{least}. Free memory, or take a net with a smaller receptive field"
        )
    return (1, *spatial)


def _run(
    call: Apply,
    variables: Params,
    read: Read,
    write: Write,
    sizes: Sequence[int],
    tiles: Sequence[Tile],
    upscale: int,
    augment: bool,
    on_progress: Progress | None,
) -> None:
    waiting: tuple[Tile, Any] | None = None
    for done, tile in enumerate([*tiles, None]):
        # Reading this tile and writing the last but one go on while the device computes the tile between them.
        block = None if tile is None else np.asarray(read_window(read, tile.read, sizes), np.float32)
        if waiting is not None:
            jax.block_until_ready(waiting[1])
        started = None if tile is None else (tile, _predict(call, variables, block, augment))
        if waiting is not None:
            finished, prediction = waiting
            crop, place = (magnified_window(span, upscale) for span in (finished.crop, finished.write))
            write(place, {name: np.asarray(value)[crop] for name, value in prediction.items()})
            if on_progress is not None:
                on_progress(done, len(tiles))
        waiting = started


def _predict(call: Apply, variables: Params, block: np.ndarray, augment: bool) -> dict[str, Any]:
    if not augment:
        return call(variables, block)
    total: dict[str, np.ndarray] = {}
    for turns, flip in VIEWS:
        view = np.rot90(block, turns, axes=(-3, -2))
        view = np.ascontiguousarray(np.flip(view, -2) if flip else view)
        for name, value in call(variables, view).items():
            restored = np.flip(np.asarray(value), -2) if flip else np.asarray(value)
            restored = np.rot90(restored, -turns, axes=(-3, -2))
            total[name] = total[name] + restored if name in total else restored
    return {name: value / np.float32(len(VIEWS)) for name, value in total.items()}
