"""Simulated nuclei or spots, made anew inside every training step, as the data of a detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.data.assemble import Prepared, plain_settings
from bioflax.data.deform import Deformation
from bioflax.data.finite import check_fields, limit
from bioflax.data.normalize import BY_IMAGE, Normalization
from bioflax.data.objects import Annotated, fit_normalization
from bioflax.errors import InputError
from bioflax.typing import Batch


@partial(jax.tree_util.register_dataclass, data_fields=["simulator", "normalization"], meta_fields=["deformation"])
@dataclass(frozen=True)
class NormalizedObjects:
    """A simulator of objects or spots in the units of the net; a `DeviceSource`."""

    simulator: Any
    normalization: Normalization
    deformation: Deformation | None = None

    def sample(self, key: jax.Array, n: int) -> Batch:
        """As the simulator's, the image (n, [Z,] H, W, 1) normalised."""
        key_draw, key_deform = jax.random.split(key)
        batch = self.simulator.sample(key_draw, n)
        batch = {**batch, "image": normalize_inside(batch["image"], self.normalization)}
        return batch if self.deformation is None else self.deformation.apply(key_deform, batch)


def normalize_inside(image: jax.Array, normalization: Normalization) -> jax.Array:
    """`Normalization.apply` inside jit, also for `image_percentile`."""
    if normalization.kind != BY_IMAGE:
        return normalization.apply(image)
    ends = jnp.asarray([normalization.offset[0], normalization.scale[0]], jnp.float32)
    low, high = jnp.percentile(image, ends, axis=tuple(range(1, image.ndim - 1)), keepdims=True)
    return (image - low) / jnp.where(high > low, high - low, 1.0)


@dataclass(frozen=True)
class SimulatedObjects:
    """Nuclei or spots from physics, made anew inside every training step; no files.

    Args:
        simulator: `simulate.NucleiSimulator` or `simulate.SpotSimulator`.
        normalization: as `FolderObjects`.
        deformation: augmentation of what was simulated, or None.
        validation: held-out pictures.
        fields: distinct pictures in the training set, noise included; None draws new ones for ever. The deformation is
            new each time.
        mislabel: `simulate.Mislabelled` but for its simulator, or None: errors of the labels, in training and in the
            held-out pictures alike, as with labels made by people. The simulator itself stays without.
    """

    simulator: Any
    normalization: str = BY_IMAGE
    deformation: Deformation | None = None
    validation: int = 16
    fields: int | None = None
    mislabel: Callable[[Any], Any] | None = None

    def prepare(self, mode: str, augment: tuple[str, ...], *, spatial_dims: int, seed: int, batch: int) -> Prepared:
        """As `FolderObjects.prepare`."""
        del augment
        check_fields(self.fields)
        simulator, errors = self._labelled()
        draw = jax.jit(lambda simulator, key: simulator.sample(key, batch))
        root = jax.random.fold_in(jax.random.key(seed), 2)
        probe = jax.device_get(draw(simulator, jax.random.fold_in(jax.random.key(seed), 1)))
        if mode not in probe:
            raise InputError(
                f"data.simulator: {type(self.simulator).__name__} makes no {mode}. Take data=simulated_nuclei for labels, "
                "data=simulated_spots for points."
            )
        if probe["image"].ndim != spatial_dims + 2:
            raise InputError(
                f"data.simulator.size: expected {spatial_dims} sizes for a {spatial_dims}-D model, found pictures of "
                f"{probe['image'].shape[1:-1]}."
            )
        normalization = fit_normalization(self.normalization, list(probe["image"]))
        validation, truth = [], []
        for index in range(-(-self.validation // batch)):
            drawn = jax.device_get(draw(simulator, jax.random.fold_in(root, index)))
            validation.append({**drawn, "image": np.asarray(normalization.apply(drawn["image"]), np.float32)})
            for n, image in enumerate(drawn["image"]):
                labels = drawn["labels"][n] if mode == "labels" else None
                points = drawn["points"][n][drawn["mask"][n] > 0] if mode == "points" else None
                truth.append(vars(Annotated(f"simulated {len(truth)}", image, labels, points)))
        source = NormalizedObjects(limit(simulator, self.fields, seed), normalization, self.deformation)
        trained_on = {"simulator": type(self.simulator).__name__, "settings": plain_settings(self.simulator), **errors}
        trained_on |= {} if self.fields is None else {"fields": self.fields}
        return Prepared(source, validation, normalization, 1, mode, trained_on, None, truth=truth)

    def _labelled(self) -> tuple[Any, dict[str, Any]]:
        """What makes the pictures and their labels; and the errors of the labels for the card, if there are any."""
        spoiled = None if self.mislabel is None else self.mislabel(self.simulator)
        if spoiled is None or not spoiled.spoils:
            return self.simulator, {}
        errors = {name: plain_settings(value) for name, value in vars(spoiled).items() if name != "simulator"}
        return spoiled, {"mislabelled": errors}
