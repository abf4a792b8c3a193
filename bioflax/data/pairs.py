"""Training data of super-resolution: camera images beside images on a finer grid, from physics or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bioflax.data.assemble import NormalizedSimulator, Prepared, plain_settings
from bioflax.data.finite import check_fields, limit
from bioflax.data.folders import open_folder
from bioflax.data.holdout import Split, hold_out, split
from bioflax.data.image_set import ImageSet
from bioflax.data.normalize import fit
from bioflax.data.patches import make_source
from bioflax.data.registered import register_pairs
from bioflax.data.validation import validation_batches
from bioflax.errors import InputError
from bioflax.optics.psf import WidefieldOptics
from bioflax.typing import Batch

_KINDS = ("mean_std", "percentile", "none")
_PROBE = 32  # least number of simulated pictures that the normalisation is fitted on
_OPTICS = ("na", "wavelength_nm", "refractive_index", "defocus_nm", "haze", "haze_nm")
_SETTINGS = (
    "sharpness",
    "blur_scale",
    "period_scale",
    "illumination",
    "camera",
    "photons",
    "background_photons",
    "noise_std",
)


@dataclass(frozen=True)
class PairedImages:
    """Measured pairs in files: camera images, and images of the same fields on a finer grid.

    Args:
        folder: camera images: a folder, a file or a glob.
        targets: images on the fine grid, of the same names: `upscale` times larger along Y and X, one plane per field.
        upscale: whole number, or `auto`: from the sizes.
        axes: of the camera images, where the files do not say them, such as `TYX`.
        frames_axis: axis of the raw frames of one field (`T`, `C` or `Z`), such as the 9 of structured illumination: they
            become the channels of the net, and patches are neither flipped nor turned, since stripes do not turn along.
        repeats: regular expression of the part of a name that counts captures of a field, such as low and high exposure;
            all have the same target.
        repeat_axis: axis of a stack that counts them.
        patch: camera pixels, one number or (Y, X).
        normalization: `mean_std`, `percentile` or `none`; one pair of numbers for all captures and frames, so exposures that
            differ many times over belong in runs of their own: the dim ones would have no contrast.
        target_normalization: `own` where targets have another unit or exposure: results then come in the unit of the input,
            with its mean and spread, and are no measure of light; `same` where both have one unit.
        register: `apply` moves each target by the shift that is measured between the pair; `check` only looks; `none`.
        least_correlation: of a registered pair; below it the two are taken for different fields.
        max_shift_px: largest shift, camera pixels.
        pixel_nm: of the camera; None takes it from the camera images, else from the targets.
        na, wavelength_nm: of the objective; without them results cannot be split into what was measured and what was not.
        period_nm: of the finest stripes of raw frames, three evenly spread directions; needed with the optics.
        foreground: share of patches that must hold signal.
        validation: held-out share, 0 to 0.9.
        validation_box: [y0, y1, x0, x1] in camera pixels: exactly this part of every field is held out instead.
        device_limit_mb: larger sets are read from disk batch by batch.
    """

    folder: str
    targets: str
    upscale: int | str = "auto"
    axes: str | None = None
    frames_axis: str | None = None
    repeats: str | None = None
    repeat_axis: str | None = None
    patch: int | Sequence[int] = 48
    normalization: str = "mean_std"
    target_normalization: str = "own"
    register: str = "apply"
    least_correlation: float = 0.3
    max_shift_px: float = 1.0
    pixel_nm: float | None = None
    na: float | None = None
    wavelength_nm: float | None = None
    period_nm: float | None = None
    foreground: float = 0.0
    validation: float = 0.1
    validation_box: Sequence[int] | None = None
    device_limit_mb: float = 2000.0

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """Opens, registers, splits and normalises; arguments as of `FolderData.prepare`.

        Raises:
            InputError: settings that do not fit one another, or pairs that do not fit: their sizes, their frames, their place.
        """
        self._check(mode, spatial_dims)
        images = open_folder(
            self.folder,
            self.targets,
            axes=self.axes,
            repeats=self.repeats,
            repeat_axis=self.repeat_axis,
            spatial_dims=spatial_dims,
            frames_axis=self.frames_axis,
            upscale=None if self.upscale == "auto" else self.upscale,
        )
        if self.frames_axis is None and images.channels > 1:
            raise InputError(
                f"data.frames_axis: {images.files[0]} has {images.channels} channels; give frames_axis=C if they are raw "
                "frames of one field, or images of one channel."
            )
        physics = self._physics(images)
        images, registration = register_pairs(
            images, self.register, least_correlation=self.least_correlation, max_shift_px=self.max_shift_px
        )
        patch = (self.patch,) * spatial_dims if isinstance(self.patch, int) else tuple(self.patch)
        parts = self._split(images, patch, seed)
        normalization = fit(self.normalization, parts.train.captures(), per_channel=False)
        clean = normalization
        if self.target_normalization == "own":
            clean = fit(self.normalization, (item.target.read() for item in parts.train.items), per_channel=False)
        source = make_source(
            parts.train,
            normalization,
            patch=patch,
            mode=mode,
            augment=augment if images.channels == 1 else (),
            batch_size=batch,
            foreground=self.foreground,
            seed=seed,
            device_limit_mb=self.device_limit_mb,
            target_normalization=clean,
        )
        held_out: list[Batch] = []
        if parts.validation is not None:
            options = {"reference": "target", "target_normalization": clean}
            held_out = validation_batches(parts.validation, normalization, patch=patch, batch_size=batch, **options)
        trained_on = {
            "folder": str(self.folder),
            "targets": str(self.targets),
            "files": len(images.files),
            "fields": len(images),
            "captures": sum(len(item.repeats) for item in images.items),
            "left_out_duplicates": [list(pair) for pair in images.duplicates],
            "registration": registration,
        }
        pixel = physics["pixel_nm"]
        sides = None if pixel is None else {"Y": pixel, "X": pixel}
        return Prepared(source, held_out, normalization, images.channels, "target", trained_on, sides, physics=physics)

    def _check(self, mode: str, spatial_dims: int) -> None:
        if mode not in ("single", "target"):
            raise InputError(
                f"data: pairs of images train against a target, the task asks for {mode!r}. Take another task."
            )
        if spatial_dims != 2:
            raise InputError(f"data: pairs of images are 2-D, the model is {spatial_dims}-D. Take a 2-D backbone.")
        if not self.targets:
            raise InputError("data.targets: expected a folder of images on the fine grid; give data.targets=...")
        if self.upscale != "auto" and not isinstance(self.upscale, int):
            raise InputError(f"data.upscale: expected auto or a whole number, found {self.upscale!r}.")
        for field, allowed in (("normalization", _KINDS), ("target_normalization", ("own", "same"))):
            if getattr(self, field) not in allowed:
                raise InputError(f"data.{field}: expected one of {', '.join(allowed)}, found {getattr(self, field)!r}.")
        if (self.na is None) != (self.wavelength_nm is None):
            raise InputError("data.na, data.wavelength_nm: give both, or neither.")
        for field in ("pixel_nm", "na", "wavelength_nm", "period_nm", "max_shift_px"):
            if getattr(self, field) is not None and not getattr(self, field) > 0:
                raise InputError(f"data.{field}: expected more than 0, found {getattr(self, field)}.")

    def _split(self, images: ImageSet, patch: tuple[int, ...], seed: int) -> Split:
        if self.validation_box is not None:
            return hold_out(images, self.validation_box)
        return split(images, self.validation, patch=patch, seed=seed)

    def _physics(self, images: ImageSet) -> dict[str, Any]:
        """Plain JSON under the names of `simulator_physics`, as far as it is known."""
        pixel = _camera_pixel_nm(images) if self.pixel_nm is None else self.pixel_nm
        if self.na is not None and pixel is None:
            raise InputError(
                "data.pixel_nm: neither the images nor the targets say their pixel size, which na and wavelength_nm need; "
                "give that of the camera, data.pixel_nm=..."
            )
        if self.na is not None:  # in their ranges, or an error that says so
            WidefieldOptics(na=self.na, wavelength_nm=self.wavelength_nm, pixel_nm=pixel)
        if self.na is not None and images.channels > 1 and self.period_nm is None:
            raise InputError(
                "data.period_nm: missing. Raw frames measure more than the optics alone, by how much the stripes say; give their "
                "period, or leave na and wavelength_nm out."
            )
        return {
            "upscale": images.upscale,
            "frames": images.channels,
            "illumination": None if self.period_nm is None else {"period_nm": self.period_nm},
            "pixel_nm": pixel,
            "na": self.na,
            "wavelength_nm": self.wavelength_nm,
            "camera": None,
            "units": "input" if self.target_normalization == "same" else "own",
        }


def _camera_pixel_nm(images: ImageSet) -> float | None:
    """Side of a camera pixel, from the camera images, else from the targets."""
    sizes = {}
    for name, pixel, times in (
        ("image", images.pixel_nm, 1),
        ("target", images.items[0].target.file.pixel_nm, images.upscale),
    ):
        if pixel is None or "Y" not in pixel or "X" not in pixel:
            continue
        if abs(pixel["Y"] - pixel["X"]) > 0.01 * pixel["X"]:
            raise InputError(
                f"data.pixel_nm: expected square pixels, the {name}s have {pixel['Y']:g} x {pixel['X']:g} nm; give one number."
            )
        sizes[name] = pixel["X"] * times
    if len(sizes) == 2 and abs(sizes["image"] - sizes["target"]) > 0.01 * sizes["image"]:
        raise InputError(
            f"data.pixel_nm: the images say {sizes['image']:g} nm, the targets {sizes['target'] / images.upscale:g} nm, which "
            f"is no {images.upscale} times less; give that of the camera."
        )
    return next(iter(sizes.values()), None)


@dataclass(frozen=True)
class SimulatedPairs:
    """Camera images and what they show on a finer grid, made anew inside every training step; no files.

    Args:
        simulator: a `simulate.Magnified` or `simulate.BlurredProcess`: `sample` gives `image` (n, H, W, frames) and
            `target` (n, s H, s W, 1) in one unit.
        normalization: `mean_std`, `percentile` or `none`; one pair of numbers for all frames and for the target.
        validation: held-out examples.
        fields: distinct examples in the training set, noise included; None draws new ones for ever.
    """

    simulator: Any
    normalization: str = "mean_std"
    validation: int = 16
    fields: int | None = None

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """As `FolderData.prepare`; pictures are not augmented, they can be as many as one likes."""
        del augment
        check_fields(self.fields)
        if mode not in ("single", "target"):
            raise InputError(
                f"data: simulated pairs have one capture and a target, the task asks for {mode!r}. Take "
                "task=super_resolve, or other data."
            )
        if spatial_dims != 2:
            raise InputError(f"data: simulated pairs are 2-D, the model is {spatial_dims}-D. Take a 2-D backbone.")
        if self.validation < 0:
            raise InputError(f"data.validation: expected a number of held-out examples, found {self.validation}.")
        simulator = self.simulator
        if not hasattr(simulator, "upscale"):
            raise InputError(
                f"data.simulator: expected one that makes pairs, such as Magnified, found {type(simulator).__name__}."
            )
        sample = jax.jit(lambda simulator, key: simulator.sample(key, batch))  # compiled once, for both uses

        def draw(stream: int, number: int) -> list[Batch]:
            key = jax.random.fold_in(jax.random.key(seed), stream)
            return [
                jax.device_get(sample(simulator, jax.random.fold_in(key, index)))
                for index in range(-(-number // batch))
            ]

        probe = np.concatenate([drawn["image"] for drawn in draw(1, _PROBE)])
        normalization = fit(self.normalization, list(probe), per_channel=False)
        held_out = [
            {name: np.asarray(normalization.apply(drawn[name])) for name in ("image", "target")}
            for drawn in draw(2, self.validation)
        ]
        physics = simulator_physics(simulator)
        pixel = physics["pixel_nm"]
        trained_on = {"simulator": type(simulator).__name__, "settings": plain_settings(simulator)}
        trained_on |= {} if self.fields is None else {"fields": self.fields}
        return Prepared(
            limit(NormalizedSimulator(simulator, normalization, mode), self.fields, seed),
            held_out,
            normalization,
            physics["frames"],
            "target",
            trained_on,
            None if pixel is None else {"Y": pixel, "X": pixel},
            physics=physics,
            simulator=simulator,
        )


def simulator_physics(simulator: Any) -> dict[str, Any]:
    """Plain JSON of a simulator of pairs, from which its imaging and the variance of its camera are built again.

    Returns:
        `upscale`, `frames`, `pixel_nm` (of the camera), the optics (`na`, `wavelength_nm`, `refractive_index`,
        `defocus_nm`, `haze`, `haze_nm`), `sharpness`, `illumination`, `camera`, `photons`, `background_photons`: None where
        the simulator has none; `units`: `input`, the target is in the unit of the input.
    """
    optics = getattr(getattr(simulator, "imaging", None), "optics", None)
    lens = {name: plain_settings(getattr(optics, name, None)) for name in ("pixel_nm", *_OPTICS)}
    rest = {name: plain_settings(getattr(simulator, name, None)) for name in _SETTINGS}
    stripes = getattr(simulator, "illumination", None)
    if stripes is not None:  # one value per direction is no map: the card holds them
        rest["illumination"] |= {
            name: np.asarray(value).tolist() for name, value in vars(stripes).items() if np.ndim(value) == 1
        }
    whole = {"upscale": int(simulator.upscale), "frames": int(getattr(simulator, "channels", 1))}
    return {**whole, **lens, **rest, "units": "input"}
