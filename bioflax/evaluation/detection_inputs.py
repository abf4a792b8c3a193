"""What detectors are judged on: images with names and groups, and checks that lists of results fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioflax.errors import InputError
from bioflax.evaluation.detection_summary import Row


@dataclass(frozen=True)
class Images:
    """What is judged on."""

    images: Sequence[np.ndarray]
    names: Sequence[str]
    groups: Sequence[str | None]
    pixel_nm: float | None

    @property
    def megapixels(self) -> list[float]:
        return [float(np.prod(np.shape(image)[-2:])) / 1e6 for image in self.images]

    def rows(self, method: str, columns: Sequence[Row]) -> list[Row]:
        """Rows with the names of image, group and method in front."""
        return [
            {"item": str(name), "group": group, "method": method, **row}
            for name, group, row in zip(self.names, self.groups, columns)
        ]

    def facts(self, rows: Sequence[Row], thresholds: Sequence[float], caption: str) -> dict[str, Any]:
        """Of the rows of all methods, image by image."""
        return {
            "caption": caption,
            "images": len(self.names),
            "groups": len({group for group in self.groups if group is not None}) or None,
            "n_true": sum(row["n_true"] for row in rows[: len(self.names)]),
            "thresholds": [float(value) for value in thresholds],
            "pixel_nm": self.pixel_nm,
            "megapixels": sum(self.megapixels),
        }


def checked_images(
    methods: Mapping[str, Sequence[Any]],
    truth: Sequence[Any],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    groups: Sequence[str | None] | None,
    pixel_nm: float | None,
) -> Images:
    """Checks that all lists fit together."""
    if not methods:
        raise InputError("methods: expected at least one detector, found none. Give the model first.")
    dotted = next((name for name in methods if "." in name), None)
    if dotted is not None:
        raise InputError(f"methods: expected names without a dot, found {dotted!r}. Rename it.")
    if not len(images):
        raise InputError("images: expected at least one image, found none. Add one.")
    lists = {"truth": truth, "names": names, **methods} | ({} if groups is None else {"groups": groups})
    for name, values in lists.items():
        if len(values) != len(images):
            raise InputError(
                f"{name}: expected one entry for each of {len(images)} images, found {len(values)}. Add all."
            )
    if len({str(name) for name in names}) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"names: expected no two alike, found {twice!r} twice. Name every image.")
    wrong = next((at for at, image in enumerate(images) if np.ndim(image) not in (2, 3) or 0 in np.shape(image)), None)
    if wrong is not None:
        raise InputError(
            f"images: expected (H, W) or (Z, H, W), found {np.shape(images[wrong])} for {names[wrong]}. Take one channel."
        )
    return Images(images, names, [None] * len(images) if groups is None else groups, pixel_nm)


def same_shapes(lists: Mapping[str, Sequence[np.ndarray]], given: Images) -> None:
    """A label image has the shape of its image."""
    for name, labels in lists.items():
        for image, one, of in zip(given.images, labels, given.names):
            if np.shape(one) != np.shape(image):
                raise InputError(
                    f"{name}: expected labels of shape {np.shape(image)} for {of}, found {np.shape(one)}. Crop both."
                )


def points_of(name: str, points: Any, image: np.ndarray) -> np.ndarray:
    """(N, d) positions, also of none."""
    points, axes = np.asarray(points, float), np.ndim(image)
    if points.size == 0:
        return np.empty((0, axes))
    if points.ndim != 2 or points.shape[1] != axes:
        raise InputError(f"{name}: expected points (N, {axes}) for an image {np.shape(image)}, found {points.shape}.")
    return points
