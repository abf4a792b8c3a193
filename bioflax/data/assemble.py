"""What a training run needs of its data, in one object: a source, fixed validation batches, and the normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from bioflax.data.finite import check_fields, limit
from bioflax.data.folders import open_folder
from bioflax.data.holdout import split
from bioflax.data.normalize import Normalization, fit
from bioflax.data.patches import make_source
from bioflax.data.validation import choose_reference, validation_batches
from bioflax.errors import InputError
from bioflax.typing import Batch, DeviceSource, HostSource

FEW = 16  # values of a short list, such as the directions of stripes, that a card holds one by one


@dataclass(frozen=True)
class Prepared:
    """Data of one run.

    Attributes:
        source: what training draws from.
        validation: fixed batches, normalised; the same for every run on these data.
        normalization: from the units of the files to those of the net.
        channels: C of the images.
        reference: what the validation batches hold as `target`: `target` (clean), `pairs` (a second noisy capture),
            `split` (the other half of the photons), `emitters` (their list, in `truth`), `none`.
        trained_on: plain JSON for the card: where from, how many, pixel size.
        pixel_nm: pixel size by axis, or None.
        physics: plain JSON for the card: the optics, the camera and the scales of a localizer.
        truth: the held-out examples in physical units, for a task that is judged by more than a picture.
        simulator: what made the examples, for a judge that needs its physics or its prior; None for files.
    """

    source: DeviceSource | HostSource
    validation: list[Batch]
    normalization: Normalization
    channels: int
    reference: str
    trained_on: dict[str, Any] = field(default_factory=dict)
    pixel_nm: dict[str, float] | None = None
    physics: dict[str, Any] = field(default_factory=dict)
    truth: list[Batch] = field(default_factory=list)
    simulator: Any = None


@dataclass(frozen=True)
class FolderData:
    """Images in files.

    Args:
        folder: noisy images: a folder, a file or a glob.
        targets: clean images of the same names, for the supervised scheme.
        axes: of the files, where they do not say them.
        repeats: regular expression of the part of a name that counts repeats, such as `_(\\d+)$`.
        repeat_axis: axis of a stack that counts repeats, such as `T`.
        patch: pixels, one number or one per spatial axis.
        normalization: `mean_std`, `percentile`, `photons` or `none`.
        gain_adu_per_photon, offset_adu: of the camera, for `photons`.
        target_normalization: `same`, or `own` where targets have another exposure; results then are in the units of the input.
        foreground: share of patches that must hold signal.
        validation: held-out share, 0 to 0.9.
        device_limit_mb: larger sets are read from disk batch by batch.
    """

    folder: str
    targets: str | None = None
    axes: str | None = None
    repeats: str | None = None
    repeat_axis: str | None = None
    patch: int | Sequence[int] = 64
    normalization: str = "mean_std"
    gain_adu_per_photon: float | None = None
    offset_adu: float | None = None
    target_normalization: str = "same"
    foreground: float = 0.0
    validation: float = 0.1
    device_limit_mb: float = 2000.0

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """Opens, splits and normalises.

        Args:
            mode: `single`, `pairs` or `target`, as the scheme wants it.
            augment: some of `flip`, `rot90`, as the scheme allows.
            spatial_dims: 2 or 3, of the model.
            seed: which part is held out, and the order of patches read from disk.
            batch: patches of a batch.
        """
        if self.target_normalization not in ("same", "own"):
            raise InputError(f"data.target_normalization: expected same or own, found {self.target_normalization!r}.")
        if mode == "target" and self.targets is None:
            raise InputError(
                "data.targets: the supervised scheme needs a folder of clean images. Give data.targets=..., or train without "
                "them: task=denoise_n2v."
            )
        images = open_folder(
            self.folder,
            self.targets,
            axes=self.axes,
            repeats=self.repeats,
            repeat_axis=self.repeat_axis,
            spatial_dims=spatial_dims,
        )
        patch = (self.patch,) * spatial_dims if isinstance(self.patch, int) else tuple(self.patch)
        fit_camera = partial(fit, gain_adu_per_photon=self.gain_adu_per_photon, offset_adu=self.offset_adu)
        parts = split(images, self.validation, patch=patch, seed=seed)
        normalization = fit_camera(self.normalization, parts.train.captures())
        clean = None
        if self.target_normalization == "own" and images.has_targets:
            clean = fit_camera(self.normalization, (item.target.read() for item in parts.train.items))
        source = make_source(
            parts.train,
            normalization,
            patch=patch,
            mode=mode,
            augment=augment,
            batch_size=batch,
            foreground=self.foreground,
            seed=seed,
            device_limit_mb=self.device_limit_mb,
            target_normalization=clean,
        )
        held_out: list[Batch] = []
        if parts.validation is not None:
            held_out = validation_batches(
                parts.validation, normalization, patch=patch, batch_size=batch, target_normalization=clean
            )
        return Prepared(
            source,
            held_out,
            normalization,
            images.channels,
            choose_reference(images, normalization, "auto"),
            {
                "folder": str(self.folder),
                "targets": None if self.targets is None else str(self.targets),
                "files": len(images.files),
                "fields": len(images),
                "captures": sum(len(item.repeats) for item in images.items),
                "left_out_duplicates": [list(pair) for pair in images.duplicates],
            },
            images.pixel_nm,
        )


@partial(jax.tree_util.register_dataclass, data_fields=["simulator", "normalization"], meta_fields=["mode"])
@dataclass(frozen=True)
class NormalizedSimulator:
    """A simulator whose pictures come in the units of the net; a `DeviceSource`."""

    simulator: Any
    normalization: Normalization
    mode: str

    def sample(self, key: jax.Array, n: int) -> Batch:
        """`image`, and `target` except in mode `single`: (n, H, W, 1)."""
        batch = self.simulator.sample(key, n)
        names = ("image",) if self.mode == "single" else ("image", "target")
        return {name: self.normalization.apply(batch[name]) for name in names}


@dataclass(frozen=True)
class SimulatedData:
    """Pictures from physics, made anew inside every training step; no files.

    Args:
        simulator: a `DeviceSource` such as `bioflax.simulate.Simulator`; with `exposures=2` for the Noise2Noise scheme.
        normalization: `mean_std`, `percentile` or `none`.
        validation: held-out pictures, judged against the clean truth.
        fields: distinct pictures in the training set, noise included; None draws new ones for ever.
    """

    simulator: Any
    normalization: str = "mean_std"
    validation: int = 16
    fields: int | None = None

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """As `FolderData.prepare`; pictures are not augmented, they can be as many as one likes."""
        del augment
        check_fields(self.fields)
        if spatial_dims != 2:
            raise InputError(
                f"data: simulated pictures are 2-D, the model is {spatial_dims}-D. Take backbone.spatial_dims=2."
            )
        exposures = getattr(self.simulator, "exposures", 1)
        if exposures != (2 if mode == "pairs" else 1):
            raise InputError(
                f"data.simulator.exposures: expected {2 if mode == 'pairs' else 1} for this scheme, found {exposures}."
            )
        sample = jax.jit(lambda simulator, key: simulator.sample(key, 32))
        probe = jax.device_get(sample(self.simulator, jax.random.fold_in(jax.random.key(seed), 1)))
        normalization = fit(self.normalization, list(probe["image"]))
        number = -(-self.validation // batch)
        root = jax.random.fold_in(jax.random.key(seed), 2)
        held_out = []
        draw = jax.jit(lambda simulator, key: simulator.sample(key, batch))
        for index in range(number):
            drawn = jax.device_get(draw(self.simulator, jax.random.fold_in(root, index)))
            truth = drawn.get("clean", drawn["target"])
            held_out.append(
                {
                    "image": np.asarray(normalization.apply(drawn["image"])),
                    "target": np.asarray(normalization.apply(truth)),
                }
            )
        source = NormalizedSimulator(self.simulator, normalization, mode)
        source = limit(source, self.fields, seed)
        trained_on = {"simulator": type(self.simulator).__name__, "settings": plain_settings(self.simulator)}
        trained_on |= {} if self.fields is None else {"fields": self.fields}
        return Prepared(source, held_out, normalization, 1, "target", trained_on, _pixel_nm(self.simulator))


def plain_settings(node: Any) -> Any:
    """Settings of a simulator for the card: numbers, texts and short lists; a map is named by its shape."""
    if hasattr(node, "__dataclass_fields__"):
        return {
            "kind": type(node).__name__,
            **{name: plain_settings(getattr(node, name)) for name in node.__dataclass_fields__},
        }
    if getattr(node, "ndim", 0) == 1 and node.size <= FEW:
        return [float(value) for value in node]
    if getattr(node, "ndim", 0):
        return f"map of {tuple(node.shape)}"
    if hasattr(node, "item"):
        return node.item()
    return [plain_settings(child) for child in node] if isinstance(node, (tuple, list)) else node


def _pixel_nm(simulator: Any) -> dict[str, float] | None:
    size = getattr(getattr(simulator, "optics", None), "pixel_nm", None)
    return None if size is None else {"Y": float(size), "X": float(size)}
