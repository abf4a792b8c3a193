"""Pictures of different sizes on one sheet that stays on the device, and patches of objects or points cut out inside jit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.errors import InputError
from bioflax.typing import Array, Batch

ANCHORS = 1024  # pixels of objects of a picture that patches are placed around


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["sheets", "origins", "sizes", "anchors", "points", "mask"],
    meta_fields=["patch", "foreground", "deformation", "places"],
)
@dataclass(frozen=True)
class Atlas:
    """Training pictures with what is in them, on the device; a `DeviceSource`.

    Attributes:
        sheets: `image` ([Z,] H, W, C) float32, normalised, and perhaps `labels` ([Z,] H, W) int32 and `interior` float32.
        origins: (M, d) first pixel of each picture on the sheets.
        sizes: (M, d) its pixels.
        anchors: (M, A, d) pixels of objects, relative to the picture.
        points: (M, P, d) px, relative to the picture, or None.
        mask: (M, P), 0 where there is no point; None without points.
        patch: pixels per spatial axis.
        foreground: probability that a patch is placed around an object.
        deformation: `data.Deformation`, or None.
        places: points that a patch can hold.
    """

    sheets: dict[str, Array]
    origins: Array
    sizes: Array
    anchors: Array
    points: Array | None
    mask: Array | None
    patch: tuple[int, ...]
    foreground: float = 0.9
    deformation: Any = None
    places: int = 1

    def sample(self, key: jax.Array, n: int) -> Batch:
        """Draws a batch inside jit; every picture is equally likely, whatever its size.

        Returns:
            `image` (n, *patch, C); with labels `labels` (n, *patch) int32 and `interior` (n, *patch); with points `points`
            (n, P, d) px of the patch and `mask` (n, P), P = `places`.
        """
        key_place, key_deform = jax.random.split(key)
        dims = len(self.patch)
        uniform = jax.random.uniform(key_place, (n, 3 + 2 * dims))
        number = jnp.minimum((uniform[:, 0] * len(self.sizes)).astype(jnp.int32), len(self.sizes) - 1)
        room = self.sizes[number] - jnp.asarray(self.patch)
        anywhere = jnp.floor(uniform[:, 3 : 3 + dims] * (room + 1)).astype(jnp.int32)
        chosen = jnp.minimum((uniform[:, 1] * self.anchors.shape[1]).astype(jnp.int32), self.anchors.shape[1] - 1)
        back = jnp.floor(uniform[:, 3 + dims :] * jnp.asarray(self.patch)).astype(jnp.int32)
        around = self.anchors[number, chosen] - back
        start = jnp.where(uniform[:, 2:3] < self.foreground, around, anywhere)
        start = jnp.clip(start, 0, room)

        def cut(sheet: Array) -> Array:
            rest = (0,) * (sheet.ndim - dims)

            def one(at: Array) -> Array:
                return jax.lax.dynamic_slice(sheet, (*at, *rest), (*self.patch, *sheet.shape[dims:]))

            return jax.vmap(one)(self.origins[number] + start)

        batch = {name: cut(sheet) for name, sheet in self.sheets.items()}
        if self.points is not None:
            points = self.points[number] - start[:, None].astype(jnp.float32)
            inside = jnp.all((points >= -0.5) & (points < jnp.asarray(self.patch) - 0.5), axis=-1)
            there = self.mask[number] * inside
            # Those of the patch come first; the others of the picture need no place.
            first = jnp.argsort(-there, axis=1)[:, : self.places]
            batch["points"] = jnp.take_along_axis(points, first[..., None], axis=1)
            batch["mask"] = jnp.take_along_axis(there, first, axis=1)
        return batch if self.deformation is None else self.deformation.apply(key_deform, batch)


def make_atlas(
    pictures: Sequence[dict[str, np.ndarray]],
    *,
    patch: tuple[int, ...],
    foreground: float = 0.9,
    deformation: Any = None,
) -> Atlas:
    """Puts pictures on one sheet.

    Args:
        pictures: each `image` ([Z,] H, W, C) float32, normalised, and either `labels` and `interior`, or `points` (P, d) px.
        patch: pixels per spatial axis; smaller pictures are continued by reflection.
        foreground: probability that a patch is placed around an object.
        deformation: what is done to the patches.

    Returns:
        The source.

    Raises:
        InputError: no pictures, a share outside [0, 1].
    """
    if not pictures:
        raise InputError("data.folder: expected at least one picture to train on, found none")
    if not 0 <= foreground <= 1:
        raise InputError(f"data.foreground: expected 0 to 1, found {foreground}")
    filled = [_at_least(picture, patch) for picture in pictures]
    sizes = np.array([picture["image"].shape[:-1] for picture in filled])
    origins, extent = shelves(sizes)
    sheets = {}
    for name, dtype in {"image": np.float32, "labels": np.int32, "interior": np.float32}.items():
        if name not in filled[0]:
            continue
        rest = filled[0][name].shape[len(patch) :]
        sheet = np.zeros((*extent, *rest), dtype)
        for picture, origin, size in zip(filled, origins, sizes):
            sheet[tuple(slice(a, a + b) for a, b in zip(origin, size))] = picture[name]
        sheets[name] = jnp.asarray(sheet)
    random = np.random.default_rng(0)
    anchors = np.stack([_anchors(picture, random) for picture in filled])
    points, mask, places = None, None, 1
    if "points" in filled[0]:
        most = max(1, *(len(picture["points"]) for picture in filled))
        points = np.zeros((len(filled), most, len(patch)), np.float32)
        mask = np.zeros((len(filled), most), np.float32)
        for row, picture in enumerate(filled):
            points[row, : len(picture["points"])] = picture["points"]
            mask[row, : len(picture["points"])] = 1.0
        places = max(_most_in_a_patch(picture["points"], patch) for picture in filled)
        points, mask = jnp.asarray(points), jnp.asarray(mask)
    place = (jnp.asarray(array, jnp.int32) for array in (origins, sizes, anchors))
    return Atlas(sheets, *place, points, mask, patch, foreground, deformation, places)


def shelves(sizes: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Places pictures side by side on shelves, the tallest first.

    Args:
        sizes: (M, d) pixels; all of a depth begin at the first plane.

    Returns:
        (M, d) origins, and the size of the sheet.
    """
    width = max(int(sizes[:, -1].max()), int(np.sqrt(np.prod(sizes[:, -2:], axis=1, dtype=float).sum())))
    origins = np.zeros_like(sizes)
    row = column = tallest = 0
    for picture in np.lexsort((sizes[:, -1], -sizes[:, -2])):
        height, length = sizes[picture, -2:]
        if column + length > width:
            row, column, tallest = row + tallest, 0, 0
        origins[picture, -2:] = row, column
        column, tallest = column + length, max(tallest, height)
    return origins, (*(int(depth) for depth in sizes[:, :-2].max(axis=0)), int(row + tallest), width)


def _at_least(picture: dict[str, np.ndarray], patch: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The picture, continued by reflection where it is smaller than a patch."""
    short = [max(0, part - size) for part, size in zip(patch, picture["image"].shape[: len(patch)])]
    if not any(short):
        return picture

    def grown(array: np.ndarray) -> np.ndarray:
        pads = [(0, extra) for extra in short] + [(0, 0)] * (array.ndim - len(patch))
        return np.pad(array, pads, mode="symmetric")

    made = {name: grown(array) for name, array in picture.items() if name != "points"}
    if "labels" in made:
        made["labels"] = split_pieces(made["labels"])  # a mirrored copy is an object of its own
    if "points" in picture:
        made["points"] = _reflected(picture["points"], picture["image"].shape[: len(patch)], patch)
    return made


def split_pieces(labels: np.ndarray) -> np.ndarray:
    """Labels whose connected pieces have numbers of their own, 1..n."""
    from scipy import ndimage

    made, last = np.zeros_like(labels), 0
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        pieces, number = ndimage.label(labels[box] == label, np.ones((3,) * labels.ndim))
        made[box][pieces > 0] = pieces[pieces > 0] + last
        last += number
    return made


def _reflected(points: np.ndarray, size: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """The points, and their mirror images in the continuation."""
    for axis, (length, part) in enumerate(zip(size, patch)):
        turned, number = [points], 1
        while number * length < part:
            mirrored = points.copy()
            odd = 2 * number * length - 1 - (points[:, axis] + (number - 1) * length)
            even = points[:, axis] + number * length
            mirrored[:, axis] = odd if number % 2 else even
            turned.append(mirrored[mirrored[:, axis] <= part - 0.5])
            number += 1
        points = np.concatenate(turned)
    return points


def _most_in_a_patch(points: np.ndarray, patch: Sequence[int]) -> int:
    """No patch holds more points: those within a patch's size of any of its points, on every side."""
    from scipy.spatial import cKDTree  # slow to import, and needed by no prediction

    if not len(points):
        return 1
    tree = cKDTree(points / np.array(patch))
    return int(tree.query_ball_point(points / np.array(patch), 1.0, p=np.inf, return_length=True).max())


def _anchors(picture: dict[str, np.ndarray], random: np.random.Generator) -> np.ndarray:
    """(A, d) pixels of objects, drawn; of a picture without any, pixels anywhere."""
    size = picture["image"].shape[:-1]
    if "labels" in picture:
        found = np.stack(np.nonzero(picture["labels"]), axis=-1)
    else:
        found = np.clip(np.rint(picture["points"]), 0, np.array(size) - 1)
    if not len(found):
        return np.stack([random.integers(0, length, ANCHORS) for length in size], axis=-1)
    return found[random.integers(0, len(found), ANCHORS)]
