"""A movie of blinking emitters through a localizer: frames in, a table of localizations out, a few frames in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bioflax.baselines.localize import check_maps, localize
from bioflax.data.emitters import EmitterScales
from bioflax.errors import InputError
from bioflax.io import ImageFile, Localizations
from bioflax.ops.peaks import find_emitters
from bioflax.optics.camera import EMCCD, SCMOS
from bioflax.optics.psf import EmitterPSF
from bioflax.predict.restore import context
from bioflax.predict.tiled import Progress, TileChoice, predict_tiled

MAPS = 40  # float32 maps of a frame that are alive at once, those of the net's ten outputs and their copies
CHUNK_BYTES = 400_000_000
DENSEST_PER_UM2 = 6.0  # emitters a frame has room for; more are asked for where they do not fit
CLASSICAL_FRAMES = 64

Camera = SCMOS | EMCCD | None


def localize_movie(
    model: Any,
    movie: ImageFile,
    camera: Camera,
    *,
    threshold: float = 0.5,
    raw_threshold: float = 0.1,
    tile: TileChoice = "auto",
    memory_gb: float | None = None,
    on_progress: Progress | None = None,
) -> Localizations:
    """Localizes by a trained net; whole frames are searched, so tiles make no duplicates.

    Args:
        model: a loaded localizer; its card holds the scales.
        movie: axes TYX or YX.
        camera: turns counts into photons; maps must have the frames' size; None where the movie holds photons.
        threshold: score that an emitter must reach, 0 to 1.
        raw_threshold: probability of its brightest pixel; DECODE's 0.3 loses emitters that four pixels share.
        tile, memory_gb: as `predict_tiled`.
        on_progress: called as `on_progress(frames_done, frames_total)`.

    Returns:
        The table: coordinates in nm from the outer corner of the first pixel, frames from 1.

    Raises:
        InputError: a model that is no localizer, other axes, a camera that does not fit, or pixels that are not finite.
    """
    scales = scales_of(model)
    frames, (height, width) = movie_shape(movie)
    check_maps(camera, (height, width))
    chunk = max(1, min(32, frames, CHUNK_BYTES // (MAPS * 4 * height * width)))
    room = int(np.ceil(DENSEST_PER_UM2 * height * width * (scales.pixel_nm / 1000.0) ** 2)) + 16
    tile, halo = context(model, tile)
    parts = []
    for first, stack in windows_of_frames(movie, camera, frames, chunk, scales.frames // 2):
        image = np.stack([stack[k : k + scales.frames] for k in range(len(stack) - scales.frames + 1)])
        maps = predict_tiled(
            model.net.apply,
            model.variables,
            np.asarray(model.normalization.apply(np.moveaxis(image, 1, -1)), np.float32),
            halo=halo,
            stride=model.stride,
            tile=tile,
            memory_gb=memory_gb,
        )
        while True:
            found = find_emitters(maps, raw_threshold=raw_threshold, threshold=threshold, max_emitters=room)
            if not np.any(np.asarray(found["dropped"])):
                break
            room *= 2
        parts.append(scales.to_columns(found, first + 1))
        if on_progress is not None:
            on_progress(min(first + chunk, frames), frames)
    return table_of(parts, scales.pixel_nm, (height, width), frames)


def localize_classically(
    psf: EmitterPSF,
    movie: ImageFile,
    camera: Camera,
    *,
    threshold: float = 5.0,
    z_range_nm: tuple[float, float] = (-600.0, 600.0),
    window_px: int | None = None,
    detector: str = "gaussian",
    on_progress: Progress | None = None,
) -> Localizations:
    """Localizes by spot detection and maximum likelihood; arguments as `baselines.localize.localize`."""
    frames, size = movie_shape(movie)
    parts = []
    for first in range(0, frames, CLASSICAL_FRAMES):
        last = min(frames, first + CLASSICAL_FRAMES)
        parts.append(
            localize(
                read_frames(movie, first, last),
                psf,
                camera,
                threshold=threshold,
                z_range_nm=z_range_nm,
                window_px=window_px,
                detector=detector,
                first_frame=first + 1,
            )
        )
        if on_progress is not None:
            on_progress(last, frames)
    return table_of(parts, float(psf.pixel_nm), size, frames)


def is_localizer(model: Any) -> bool:
    """Whether a model finds emitters; one without a card restores."""
    return getattr(getattr(model, "card", None), "task", "") == "localize"


def scales_of(model: Any) -> EmitterScales:
    """The units of a localizer, from its card."""
    found = getattr(getattr(model, "card", None), "physics", {}).get("scales")
    if not found:
        task = getattr(getattr(model, "card", None), "task", "unknown")
        raise InputError(f"model: expected a localizer, found a model for the task {task}.")
    try:
        return EmitterScales(**found)
    except TypeError as cause:
        raise InputError(
            f"card.physics.scales: expected the fields of EmitterScales, found {sorted(found)}."
        ) from cause


def card_camera(model: Any) -> Camera:
    """The camera that a localizer was trained with, from its card.

    Raises:
        InputError: it had maps, which a card does not hold.
    """
    found = dict(getattr(model.card, "physics", {}).get("camera") or {})
    kind = {"SCMOS": SCMOS, "EMCCD": EMCCD}.get(str(found.pop("kind", "")))
    maps = [name for name, value in found.items() if isinstance(value, str)]
    if kind is None or maps:
        raise InputError(
            "camera: this model was trained with a camera that its card does not hold"
            f"{' (' + ', '.join(maps) + ')' if maps else ''}. Give yours: camera=scmos camera.offset_adu=..."
        )
    return kind(**found)


def movie_shape(movie: ImageFile) -> tuple[int, tuple[int, int]]:
    """(frames, (H, W)) of a movie of axes TYX or YX; axes of one element do not count."""
    lengths = dict(zip(movie.axes, movie.shape))
    wrong = [axis for axis, length in lengths.items() if axis not in "TYX" and length > 1]
    if wrong or not {"Y", "X"} <= set(lengths) or movie.axes.index("Y") > movie.axes.index("X"):
        raise InputError(
            f"axes: expected a movie, TYX or YX, found {movie.axes} {movie.shape} in {movie.path.name}. "
            "Where these are frames in time, say so: axes=TYX."
        )
    return lengths.get("T", 1), (lengths["Y"], lengths["X"])


def read_frames(movie: ImageFile, first: int, last: int) -> np.ndarray:
    """Frames first .. last - 1 as (T, H, W) float32."""
    index = tuple(
        slice(first, last) if axis == "T" else slice(0, length) for axis, length in zip(movie.axes, movie.shape)
    )
    block = np.asarray(movie.read_window(index), np.float32)
    _, size = movie_shape(movie)
    return block.reshape(-1, *size)


def windows_of_frames(
    movie: ImageFile, camera: Camera, frames: int, chunk: int, beside: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first frame from 0, photons of `chunk` frames with `beside` neighbours on each side).

    The first and the last frame stand in for neighbours that the movie does not have.
    """
    for first in range(0, frames, chunk):
        last = min(frames, first + chunk)
        stack = read_frames(movie, max(0, first - beside), min(frames, last + beside))
        before, after = beside - min(first, beside), beside - min(frames - last, beside)
        stack = np.concatenate([stack[:1]] * before + [stack] + [stack[-1:]] * after)
        yield first, stack if camera is None else np.asarray(camera.to_photons(stack))


def table_of(parts: list[dict[str, np.ndarray]], pixel_nm: float, size: tuple[int, int], frames: int) -> Localizations:
    """One table of the columns that all chunks have."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    full = max(parts, key=lambda part: len(part["frame"]))
    # A chunk without emitters may lack columns (z of a spot whose depth is unknown there): it adds no rows.
    names = list(full) if len(full["frame"]) else names
    filled = [part for part in parts if len(part["frame"])] or parts[:1]
    columns = {name: np.concatenate([part[name] for part in filled]) for name in names}
    return Localizations(columns, pixel_nm=pixel_nm, size_px=size, frames=frames)
