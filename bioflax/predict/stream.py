"""A trained model on an image file of any size: windows in, windows out, memory of a few tiles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.io import ImageFile, ImageSink, image_from_array, image_stem, open_image
from bioflax.io.dtypes import check_file_dtype
from bioflax.ops.tiles import Window
from bioflax.predict.restore import Restorer, layout_for, restore

# Outputs from this size on are BigTIFF, as the inputs they come from usually are.
BIGTIFF_BYTES = 500_000_000


def predict_file(
    model: Restorer,
    source: str | Path | ImageFile,
    output: str | Path,
    axes: str | None = None,
    *,
    dtype: np.typing.DTypeLike | None = None,
    posterior: bool = False,
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
        posterior: as `predict`.
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
    if not opened.lazy:  # else every window would decode the whole file again
        opened = image_from_array(opened.read(), opened.axes, opened.pixel_nm, str(opened.path))
    layout = layout_for(model, opened)
    if dtype is None:
        dtype = opened.dtype if opened.dtype.kind in "iu" and opened.dtype.itemsize <= 4 else np.float32

    def begin(path: Path, kind: np.dtype) -> ImageSink:
        big = math.prod(layout.shape_out) * kind.itemsize >= BIGTIFF_BYTES
        return ImageSink(path, layout.shape_out, layout.axes_out, kind, finer(opened.pixel_nm, model.upscale), big)

    # A folder that cannot be written or a disk without room shows here, before the work.
    sinks = {"image": begin(output, check_file_dtype(dtype))}

    def write(window: Window, prediction: dict[str, np.ndarray]) -> None:
        for name, values in prediction.items():
            if name not in sinks:
                sinks[name] = begin(scale_path(output), np.dtype(np.float32))
            layout.write(sinks[name].write_window, window, values)

    try:
        restore(model, opened, layout, write, options, posterior=posterior)
        for sink in sinks.values():
            sink.commit()
    finally:
        for sink in sinks.values():
            sink.abort()
    return {name: sink.path for name, sink in sinks.items()}


def finer(pixel_nm: dict[str, float] | None, upscale: int) -> dict[str, float] | None:
    """Pixel sizes of a result: along Y and X they shrink."""
    if pixel_nm is None:
        return None
    return {axis: size / upscale if axis in "YX" else size for axis, size in pixel_nm.items()}


def scale_path(output: Path) -> Path:
    """Where the scale map of an output goes: `a.ome.tif` -> `a_scale.ome.tif`."""
    stem = image_stem(output)
    return output.with_name(f"{stem}_scale{output.name[len(stem) :]}")
