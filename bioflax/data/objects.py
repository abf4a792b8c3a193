"""Images in files, with labelled objects or marked points, as the data of a detector."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

from bioflax.data.assemble import Prepared
from bioflax.data.atlas import make_atlas
from bioflax.data.deform import Deformation
from bioflax.data.matching import find_targets, group_files
from bioflax.data.normalize import BY_IMAGE, Normalization, fit
from bioflax.data.splits import select_part
from bioflax.errors import InputError
from bioflax.io import image_stem, list_images, open_image, rearrange
from bioflax.io.labels import fill_label_holes, label_defects, read_labels, read_points
from bioflax.ops.rays import object_interiors
from bioflax.typing import Batch

AXES = {2: "YX", 3: "ZYX"}


@dataclass(frozen=True)
class Annotated:
    """An image and what is in it, in the units of the file.

    Attributes:
        name: stem of the file.
        image: ([Z,] H, W, C) float32.
        labels: ([Z,] H, W) int32, or None.
        points: (P, d) px, or None.
        pixel_nm: pixel size by axis, or None.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None = None
    points: np.ndarray | None = None
    pixel_nm: dict[str, float] | None = None


@dataclass(frozen=True)
class FolderObjects:
    """Images in files, with label images (TIFF, PNG) or tables of points (.csv) of the same names.

    Args:
        folder: images: a folder, a file or a glob.
        targets: label images, or tables of points: pixel centres at integers, columns as `io.labels.read_points`.
        axes: of the images, where they do not say them.
        patch: pixels, one number or one per spatial axis.
        normalization: `image_percentile` (each image by its own 1 and 99.8 %), `mean_std`, `percentile` or `none`.
        deformation: augmentation inside the step, or None.
        foreground: share of patches that are placed around an object.
        fill_holes: close holes in labelled objects, as StarDist does.
        validation: held-out share of the images, 0 to 0.9.
        family: regular expression of the part of a name that tells kinds of images apart, such as `^[a-z]+`: of each kind
            that share is held out, rounded.
        pixel_nm: pixel size, for tables of points in nm or micrometres, where the images do not say it.
        split, part: list of hashes (a file, or one that comes with bioflax) and the part of it that is taken.
        images: most images that are taken, evenly from all; null takes all.
    """

    folder: str
    targets: str | None = None
    axes: str | None = None
    patch: int | Sequence[int] = 256
    normalization: str = BY_IMAGE
    deformation: Deformation | None = field(default_factory=Deformation)
    foreground: float = 0.9
    fill_holes: bool = True
    validation: float = 0.1
    family: str | None = None
    pixel_nm: float | None = None
    split: str | None = None
    part: str = "train"
    images: int | None = None

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """Reads, divides and normalises.

        Args:
            mode: `labels` or `points`, as the scheme wants it.
            augment: symmetries that the task allows.
            spatial_dims: 2 or 3, of the model.
            seed: which images are held out.
            batch: patches of a batch.

        Raises:
            InputError: no targets, files that do not fit together, too few images to hold any out.
        """
        if self.targets is None:
            what = "label images" if mode == "labels" else "tables of points (.csv)"
            raise InputError(f"data.targets: expected a folder of {what}, found none. Give data.targets=...")
        if mode not in ("labels", "points"):
            raise InputError("data: labelled objects train a detector. Take task=detect_stardist, or data=folder.")
        if isinstance(self.patch, int) and spatial_dims == 3:
            raise InputError(f"data.patch: expected three sizes [z,y,x] for a 3-D model, found {self.patch}.")
        patch = (self.patch,) * spatial_dims if isinstance(self.patch, int) else tuple(self.patch)
        if len(patch) != spatial_dims or min(patch) < 1:
            raise InputError(f"data.patch: expected {spatial_dims} positive sizes, found {self.patch}.")
        read = read_annotated(
            self.folder,
            self.targets,
            mode=mode,
            axes=self.axes,
            spatial_dims=spatial_dims,
            split=self.split,
            part=self.part,
            fill_holes=self.fill_holes,
            pixel_nm=self.pixel_nm,
        )
        if self.images is not None:
            if not 1 <= self.images <= len(read):
                raise InputError(f"data.images: expected 1 to {len(read)}, found {self.images}")
            read = [read[index] for index in np.linspace(0, len(read) - 1, self.images).round().astype(int)]
        held = held_out([item.name for item in read], self.validation, self.family, seed)
        train = [item for place, item in enumerate(read) if place not in held]
        kept = [item for place, item in enumerate(read) if place in held]
        normalization = fit_normalization(self.normalization, [item.image for item in train])
        deformation = self.deformation
        if deformation is not None and deformation.outside is None and "mirror" not in augment:
            deformation = dataclasses.replace(deformation, outside="edge")
        source = make_atlas(
            [as_training(item, normalization) for item in train],
            patch=patch,
            foreground=self.foreground,
            deformation=deformation,
        )
        number = sum(count_objects(item) for item in train)
        trained_on = {
            "folder": str(self.folder),
            "targets": str(self.targets),
            "images": len(train),
            "objects": number,
            "held_out_images": len(kept),
            **({"split": str(self.split), "part": self.part} if self.split else {}),
        }
        validation = _validation_batches([as_training(item, normalization) for item in kept], patch, batch)
        truth = [vars(item) for item in kept]
        channels, pixel = read[0].image.shape[-1], read[0].pixel_nm
        return Prepared(source, validation, normalization, channels, mode, trained_on, pixel, truth=truth)


def read_annotated(
    folder: str | Path,
    targets: str | Path,
    *,
    mode: str,
    axes: str | None = None,
    spatial_dims: int = 2,
    split: str | None = None,
    part: str = "all",
    fill_holes: bool = False,
    pixel_nm: float | None = None,
) -> list[Annotated]:
    """Reads images with their label images or points.

    Args:
        folder: images: a folder, a file or a glob.
        targets: a folder, a file or a glob of label images, or of `.csv` tables where `mode` is `points`.
        mode: `labels` or `points`.
        axes: of the images.
        spatial_dims: 2 or 3.
        split, part: as `data.splits.select_part`.
        fill_holes: close holes in labelled objects.
        pixel_nm: pixel size, for tables in nm or micrometres, where the images do not say it.

    Returns:
        In the order of the images; labels are numbered 1..n.

    Raises:
        InputError: an image without a target, sizes that differ, points outside their image.
    """
    files = select_part(list_images(folder), split, part)
    found = find_targets(group_files(files, None), list_images(targets) if mode == "labels" else list_tables(targets))
    read = []
    for path in files:
        opened = open_image(path, axes)
        wanted = AXES[spatial_dims] + "C"
        extra = [axis for axis, size in zip(opened.axes, opened.shape) if axis not in wanted and size > 1]
        if extra or any(axis not in opened.axes for axis in AXES[spatial_dims]):
            raise InputError(f"{path}: expected the axes {AXES[spatial_dims]} for a detector, found {opened.axes}")
        image = np.asarray(rearrange(opened.read(), opened.axes, wanted), np.float32)
        if read and read[0].image.shape[-1] != image.shape[-1]:
            raise InputError(
                f"{path}: all images must have the same number of channels, found {image.shape[-1]} beside "
                f"{read[0].image.shape[-1]} of {read[0].name}"
            )
        target = found[image_stem(path)]
        if mode == "labels":
            labels, _ = read_labels(target, AXES[spatial_dims])
            if labels.shape != image.shape[:-1]:
                raise InputError(
                    f"{target}: expected labels of the size of {path.name} {image.shape[:-1]}, found {labels.shape}"
                )
            if open_image(target, AXES[spatial_dims]).dtype == np.uint8 and label_defects(labels, np.uint8)["overflow"]:
                raise InputError(
                    f"{target}: expected a number of its own for each object, found 8-bit labels that seem to have run out "
                    "at 255. Save them with 16 bits"
                )
            labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32) + (
                labels.min() > 0
            )
            labels = fill_label_holes(labels) if fill_holes else labels
            read.append(Annotated(image_stem(path), image, labels=labels, pixel_nm=opened.pixel_nm))
        else:
            points = read_points(target, AXES[spatial_dims], opened.pixel_nm or pixel_nm)
            _check_inside(points, image.shape[:-1], target)
            read.append(Annotated(image_stem(path), image, points=points, pixel_nm=opened.pixel_nm))
    if mode == "labels":
        _check_labelled([item.labels for item in read], targets)
    return read


def _check_labelled(labels: Sequence[np.ndarray], targets: str | Path) -> None:
    """Refuses masks: pictures that all have one label at most, some of them in several pieces."""
    if any(np.unique(one).size > 2 for one in labels):
        return
    defects = [label_defects(one) for one in labels]
    if any(found["pieces"] for found in defects):
        raise InputError(
            f"{targets}: expected label images, where each object has a number of its own, found masks of one value. Label "
            "their objects first, such as with scipy.ndimage.label"
        )


def list_tables(source: str | Path) -> list[Path]:
    """The `.csv` files of a folder, a file or a glob, by name."""
    path = Path(source)
    single = [path] if path.is_file() else sorted(path.parent.glob(path.name))
    found = sorted(path.glob("*.csv")) if path.is_dir() else single
    if not found:
        raise InputError(f"data.targets: expected .csv tables of points, found none in {source}")
    return found


def held_out(names: Sequence[str], share: float, family: str | None, seed: int) -> set[int]:
    """Places of the held-out images: a share of every family, rounded; at least one in all, and one is left to train on."""
    if not 0 <= share <= 0.9:
        raise InputError(f"data.validation: expected 0 to 0.9, found {share}")
    if share == 0:
        return set()
    if len(names) < 2:
        raise InputError("data.validation: one image cannot be divided. Give more, or data.validation=0.")
    try:
        pattern = re.compile(family or "$^")
    except re.error as cause:
        raise InputError(f"data.family: expected a regular expression, found {family!r} ({cause})") from cause
    groups: dict[str, list[int]] = {}
    random = np.random.default_rng(seed)
    for place in random.permutation(len(names)):
        match = pattern.search(names[place])
        groups.setdefault(match.group() if match else "", []).append(int(place))
    out = {place for members in groups.values() for place in members[: round(share * len(members))]}
    out = out or {max(groups.values(), key=len)[0]}
    return out if len(out) < len(names) else out - {min(out)}


def fit_normalization(kind: str, images: Sequence[np.ndarray]) -> Normalization:
    """`image_percentile` (1 and 99.8 %, StarDist's and Spotiflow's), or one that `data.normalize.fit` finds."""
    return Normalization(BY_IMAGE, (1.0,), (99.8,)) if kind == BY_IMAGE else fit(kind, images)


def as_training(item: Annotated, normalization: Normalization) -> dict[str, np.ndarray]:
    """The picture in the units of the net, with the targets that are made once."""
    image = np.asarray(normalization.of_image(item.image).apply(item.image), np.float32)
    if item.labels is None:
        return {"image": image, "points": item.points}
    return {"image": image, "labels": item.labels, "interior": object_interiors(item.labels)}


def count_objects(item: Annotated) -> int:
    """Objects or points of an image."""
    return len(item.points) if item.labels is None else len(np.unique(item.labels[item.labels > 0]))


def _validation_batches(pictures: Sequence[dict[str, np.ndarray]], patch: tuple[int, ...], batch: int) -> list[Batch]:
    """Fixed patches of the held-out pictures, drawn as training draws them but not deformed; two a picture or so."""
    if not pictures:
        return []
    atlas = make_atlas(pictures, patch=patch, foreground=0.9)
    draw = jax.jit(lambda source, key: source.sample(key, batch))
    number = max(1, -(-2 * len(pictures) // batch))
    return [jax.device_get(draw(atlas, jax.random.fold_in(jax.random.key(0), index))) for index in range(number)]


def _check_inside(points: np.ndarray, shape: Sequence[int], path: Path) -> None:
    if len(points) and points.shape[1] != len(shape):
        raise InputError(f"{path}: expected points with {len(shape)} coordinates, found {points.shape[1]}")
    outside = np.any((points < -0.5) | (points > np.array(shape) - 0.5), axis=1) if len(points) else np.zeros(0, bool)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{path}: {int(outside.sum())} of {len(points)} points lie outside the image {tuple(shape)}, such as row "
            f"{row + 1} at {tuple(points[row].round(2).tolist())} (y, x). Check the order of the columns and the unit"
        )
