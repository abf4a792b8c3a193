"""Fixed batches that a model is judged on, with clean targets, second captures or split photons as reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import jax
import numpy as np

from bioflax.data.image_set import ImageSet
from bioflax.data.normalize import Normalization
from bioflax.data.photons import photon_split
from bioflax.data.table import check_patch
from bioflax.errors import InputError

REFERENCES = ("auto", "target", "pairs", "split", "none")


def validation_batches(
    image_set: ImageSet,
    normalization: Normalization,
    *,
    patch: Sequence[int],
    batch_size: int,
    reference: str = "auto",
    limit: int = 256,
    target_normalization: Normalization | None = None,
) -> list[dict[str, np.ndarray]]:
    """Fixed batches that a model is judged on.

    Args:
        image_set: held-out fields or regions.
        normalization: applied to the captures, and to targets unless they have their own.
        patch: pixels per spatial axis. Patches cover each field without gaps (the last ones overlap at the end).
        batch_size: patches of a batch; all batches have this size, or that of the only one if there are fewer.
        reference: what `target` is. `target`: the clean image. `pairs`: the next capture of the field, an honest
            judge without clean data. `split`: photon counts are split at random in two independent halves, brought
            back to full brightness (needs a `photons` normalisation). `none`: no target. `auto`: the first of these
            that the data allow.
        limit: most patches; more are thinned out evenly.
        target_normalization: for targets in other units than their inputs.

    Returns:
        Dicts of `image` and, unless `none`, `target`: (batch, *patch, C) float32, normalised; a clean target is `upscale`
        times as large in Y and X.

    Raises:
        InputError: an unknown reference or one that the data do not allow, or a patch that does not fit.
    """
    patch = check_patch(image_set, patch)
    reference = choose_reference(image_set, normalization, reference)
    if batch_size < 1 or limit < 1:
        raise InputError(f"batch_size, limit: expected 1 or more, found {batch_size} and {limit}")
    places = [
        (field, number, origin)
        for field in image_set.items
        for origin in _cover(field.size, patch)
        for number in range(len(field.repeats))
    ]
    keep = min(len(places), limit)
    keep = keep - keep % batch_size if keep >= batch_size else keep
    places = [places[index] for index in np.linspace(0, len(places) - 1, keep).round().astype(int)]
    images, targets = [], []
    for field, number, origin in places:
        images.append(normalization.apply(field.repeats[number].read_window(origin, patch)))
        if reference == "pairs":
            partner = field.repeats[(number + 1) % len(field.repeats)]
            targets.append(normalization.apply(partner.read_window(origin, patch)))
        elif reference == "target":
            affine = normalization if target_normalization is None else target_normalization
            targets.append(affine.apply(field.read_target(origin, patch)))
    batch = {"image": np.stack(images)}
    if reference == "split":
        halves = photon_split(jax.random.key(0), batch["image"])
        batch["image"], targets = (np.asarray(2 * half, np.float32) for half in halves)
    if reference != "none":
        batch["target"] = np.asarray(targets)
    size = min(batch_size, keep)
    return [{name: part[at : at + size] for name, part in batch.items()} for at in range(0, keep, size)]


def choose_reference(image_set: ImageSet, normalization: Normalization, reference: str) -> str:
    """The reference that is meant, if the data allow it."""
    allowed = {
        "target": image_set.has_targets,
        "pairs": image_set.has_repeats,
        "split": normalization.kind == "photons",
        "none": True,
    }
    if reference not in REFERENCES:
        raise InputError(f"reference: expected one of {', '.join(REFERENCES)}, found {reference!r}")
    if reference == "auto":
        return next(name for name, possible in allowed.items() if possible)
    if not allowed[reference]:
        possible = [name for name, yes in allowed.items() if yes]
        raise InputError(f"reference: these images have nothing for {reference!r}; possible: {', '.join(possible)}")
    return reference


def _cover(size: Sequence[int], patch: Sequence[int]) -> list[tuple[int, ...]]:
    """Origins of patches that cover a field; the last along an axis is moved inward."""
    axes = [[min(at, length - part) for at in range(0, length, part)] for length, part in zip(size, patch, strict=True)]
    return list(product(*axes))
