"""The items that denoising is tested on: pictures of a simulator, key by key, or fixed crops of files with targets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioflax.data.folders import open_folder
from bioflax.data.holdout import split
from bioflax.errors import InputError

AT_ONCE = 16  # pictures that are simulated in one piece
PARTS = ("held_out", "all")


@dataclass(frozen=True)
class DenoiseTests:
    """Pictures of one test condition, in units of the file.

    Attributes:
        noisy: (N, [Z,] H, W, C) what the model is given.
        observed: (N, H, W) float64, its first channel and middle plane, which are judged.
        clean: (N, H, W) float64, the truth of it.
        simulator: that made them; None for files.
    """

    noisy: np.ndarray
    observed: np.ndarray
    clean: np.ndarray
    simulator: Any = None

    @property
    def data_range(self) -> float:
        """max - min of all clean pictures, the range of PSNR and SSIM."""
        return float(np.ptp(self.clean))


def simulate(simulator: Any, items: int, seed: int) -> DenoiseTests:
    """Item i is `simulator.sample(fold_in(key(seed), i), 1)` with one exposure, whatever the number of items.

    A scene whose number of objects follows from its density draws others when the density changes, unless `scene.capacity` is set.

    Args:
        simulator: a `simulate.Simulator` or another source of `image` and `target`.
        items: pictures.
        seed: of the test.
    """
    if getattr(simulator, "exposures", 1) != 1:
        simulator = dataclasses.replace(simulator, exposures=1)
    keys = jax.vmap(lambda item: jax.random.fold_in(jax.random.key(seed), item))(jnp.arange(items))
    batch = jax.device_get(_sample(simulator, keys))
    noisy, clean = np.asarray(batch["image"], np.float32), np.asarray(batch["target"], np.float64)
    if noisy.shape[:-1] != clean.shape[:-1]:
        raise InputError(
            f"study: denoising is tested on pictures and truth of one size, found {noisy.shape[1:]} and {clean.shape[1:]}; take "
            "data=simulated or data=gaussian_process."
        )
    return DenoiseTests(noisy, noisy[..., 0].astype(np.float64), clean[..., 0], simulator)


def cut(data: Any, items: int, seed: int, part: str) -> DenoiseTests:
    """Item i is a crop, of the size of a training patch, whose field, place and capture follow from (seed, i).

    Args:
        data: a `data.FolderData` with targets.
        items: crops.
        seed: of the test.
        part: `held_out` takes the corner of each field that training leaves out; `all` the whole fields.

    Raises:
        InputError: no targets, targets of another exposure, a part that cannot be told from the training set, or fields smaller
            than a patch.
    """
    if part not in PARTS:
        raise InputError(f"test.part: expected one of {', '.join(PARTS)}, found {part!r}.")
    if getattr(data, "targets", None) is None or data.target_normalization != "same":
        raise InputError(
            "study: denoising is tested on simulated data, or on a folder with data.targets in the unit of the noisy images; "
            f"found {type(data).__name__} without such targets."
        )
    images = open_folder(
        data.folder, data.targets, axes=data.axes, repeats=data.repeats, repeat_axis=data.repeat_axis, spatial_dims=2
    )
    patch = (data.patch,) * 2 if isinstance(data.patch, int) else tuple(data.patch)
    fields = images.items if part == "all" else _held_out(images, data.validation, patch)
    noisy, clean = [], []
    for item in range(items):
        generator = np.random.default_rng([seed, item])
        field = fields[int(generator.integers(len(fields)))]
        if any(side < length for side, length in zip(field.size, patch)):
            raise InputError(
                f"study: {field.name} {field.size} is smaller than a crop {patch}; take a smaller data.patch."
            )
        capture = field.repeats[int(generator.integers(len(field.repeats)))]
        origin = tuple(int(generator.integers(side - length + 1)) for side, length in zip(field.size, patch))
        noisy.append(capture.read_window(origin, patch))
        clean.append(field.target.read_window(origin, patch)[..., 0])
    stack = np.stack(noisy)
    return DenoiseTests(stack, stack[..., 0].astype(np.float64), np.stack(clean).astype(np.float64))


def _held_out(images: Any, fraction: float, patch: tuple[int, ...]) -> Any:
    """The fields that no training sees, whatever its seed."""
    parts = [split(images, fraction, patch=patch, seed=seed).validation for seed in (0, 1)]
    names = [None if found is None else [field.name for field in found.items] for found in parts]
    if names[0] is None or names[0] != names[1] or len(names[0]) < len(images.items):
        raise InputError(
            "study: with these data each seed holds out other files, or none. Test on a folder of its own, with data.folder and "
            "data.targets in the test conditions and test.part=all."
        )
    return parts[0].items


# One compilation for all levels of physical quantities: simulators are pytrees.
@jax.jit
def _sample(simulator: Any, keys: jax.Array) -> dict[str, jax.Array]:
    batch = jax.lax.map(lambda key: simulator.sample(key, 1), keys, batch_size=AT_ONCE)
    return {name: batch[name][:, 0] for name in ("image", "target")}
