"""PNG images through Pillow: 8 and 16 bit grey, and grey pictures that were saved as RGB(A)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bioflax.errors import InputError, require
from bioflax.io.axes import check_axes
from bioflax.io.image_file import ImageFile, Window, check_pixels

_GREY = ("L", "I", "I;16", "I;16B", "I;16L", "F")


@dataclass(frozen=True)
class PngReader:
    """Decodes the whole picture and cuts the window out of it: PNG rows depend on one another."""

    path: Path
    axes: str

    def __call__(self, window: Window) -> np.ndarray:
        pixels = _decode(self.path)
        if pixels.ndim == 3 and "C" not in self.axes:
            pixels = pixels[..., 0]
        return pixels[window]


def open_png(path: Path, axes: str | None = None) -> ImageFile:
    """Opens a PNG.

    Args:
        path: the file.
        axes: `YX` for grey, `YXC` to keep the colours of an RGB(A) picture; None takes YX and accepts RGB(A) only
            if its channels are equal.

    Returns:
        The image. PNG keeps no pixel size that can be trusted: `pixel_nm` is None.

    Raises:
        InputError: no PNG, a truncated one, colours where grey is expected, or axes that do not fit.
    """
    mode, (width, height) = _header(path)
    if mode in _GREY or mode == "1":
        pixels = np.empty(
            (height, width), {"L": np.uint8, "1": np.uint8, "I": np.int32, "F": np.float32}.get(mode, np.uint16)
        )
    else:
        pixels = _decode(path)
        if axes is None or "C" not in axes.upper():
            _check_grey(pixels, path)
            pixels = pixels[..., 0]
    axes = check_axes("YX" if axes is None else axes, pixels.shape, str(path))
    if axes not in ("YX", "YXC"):
        raise InputError(f"{path}: a PNG has the axes YX or YXC, found axes={axes}")
    return ImageFile(
        path,
        "png",
        axes,
        pixels.shape,
        check_pixels(pixels.shape, pixels.dtype, path),
        None,
        False,
        PngReader(path, axes),
    )


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    image = require("PIL.Image", "report")
    try:
        with image.open(path, formats=("PNG",)) as picture:
            return picture.mode, picture.size
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as cause:
        raise InputError(f"{path}: expected a PNG picture, found something else or a damaged file ({cause})") from cause


def _decode(path: Path) -> np.ndarray:
    """Pixels (H, W) or (H, W, C): palettes are looked up, one-bit pictures become 0 and 255."""
    image = require("PIL.Image", "report")
    try:
        with image.open(path, formats=("PNG",)) as picture:
            if picture.mode == "P":
                picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            elif picture.mode == "1":
                picture = picture.convert("L")
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as cause:
        raise InputError(f"{path}: the PNG is truncated or damaged ({cause}); copy it again from its source") from cause
    return pixels.astype(np.uint16) if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2 else pixels


def _check_grey(pixels: np.ndarray, path: Path) -> None:
    """Raises unless all colours are equal and the alpha channel, if there is one, is constant."""
    alpha = pixels.shape[-1] in (2, 4)
    colours = pixels[..., :-1] if alpha else pixels
    if alpha and np.ptp(pixels[..., -1]) > 0:
        raise InputError(f"{path}: expected a grey picture, found a transparency that varies; save it as grey")
    if not (colours == colours[..., :1]).all():
        raise InputError(
            f"{path}: expected a grey picture, found {colours.shape[-1]} colours that differ; "
            "save it as grey, or keep the colours as channels with axes=YXC"
        )


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Writes a picture, aside first and renamed when complete.

    Args:
        path: `.png`.
        picture: (H, W) or (H, W, 3) uint8.

    Raises:
        InputError: another shape or type, Pillow missing, or a file that cannot be written.
    """
    image = require("PIL.Image", "report")
    path, picture = Path(path), np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise InputError(f"picture: expected (H, W) or (H, W, 3) uint8, found {picture.dtype} {picture.shape}.")
    aside = path.with_name(f".{path.name}.part")
    try:
        image.fromarray(picture).save(aside, format="PNG")
        aside.replace(path)
    except OSError as cause:
        raise InputError(f"{path} cannot be written: {cause.strerror or cause}") from cause
    finally:
        aside.unlink(missing_ok=True)
