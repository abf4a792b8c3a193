"""Model folders: saved whole or not at all, loaded only if every byte is the one that was saved."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.functional import Net, flatten_paths, outline, purify, unflatten_paths
from bioflax.hub.archive import digest, read_files
from bioflax.hub.card import ModelCard
from bioflax.hub.page import model_page
from bioflax.hub.zoo import find_model, previous
from bioflax.models import build_from
from bioflax.typing import Array, Params

# Largest difference of a reproduced test output, as a part of its range: what float32 on another device may differ by.
REPRODUCED = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel:
    """A trained model: its card, its net as pure functions, its variables, and the units it works in.

    `upscale`: pixels of the result along Y and X to a pixel of the image. `patch`: of a net that looks at the whole of what it
    is given, the size that it was trained on; None for all others.
    """

    card: ModelCard
    net: Net
    variables: Params
    normalization: Normalization
    spatial_dims: int
    channels_in: int
    channels_out: int
    receptive_field: int
    stride: int
    test_input: np.ndarray
    test_output: np.ndarray | None = None
    upscale: int = 1
    patch: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        finer = f", x{self.upscale}" if self.upscale > 1 else ""
        return f"<{self.card.name}: {self.card.task}, {self.card.axes}{finer}, {self.card.parameters:,} parameters>"

    @property
    def blind_spot(self) -> bool:
        """Whether the net was trained on hidden pixels, so that it does not use the pixel it predicts."""
        return self.card.scheme == "noise2void"

    def restore(self, image: Array) -> dict[str, np.ndarray]:
        """Predicts a batch in one piece, in the units of the training images.

        Args:
            image: (N, [Z,] H, W, C), spatial sizes multiples of `stride`.

        Returns:
            {"image", and "scale" where the model predicts one}, float32, Y and X times `upscale`; maps of a localizer stay in
            their own scaled units.
        """
        normalised = np.asarray(self.normalization.apply(np.asarray(image, np.float32)), np.float32)
        prediction = self._apply(self.variables, normalised)
        back = {"image": self.normalization.invert, "scale": self.normalization.invert_scale}
        return {
            name: np.asarray(back.get(name, np.asarray)(np.asarray(values)), np.float32)
            for name, values in prediction.items()
        }

    def verify(self) -> float:
        """Reproduces the test output that was saved with the model.

        Returns:
            Largest difference as a part of the range of the test output.

        Raises:
            InputError: the difference is more than what devices differ by.
        """
        found = main_map(self.restore(self.test_input))
        if self.test_output is None or found.shape != self.test_output.shape:
            expected = None if self.test_output is None else self.test_output.shape
            raise InputError(f"test_output.npy: expected shape {found.shape} from this model, found {expected}")
        spread = float(np.ptp(self.test_output)) or 1.0
        difference = float(np.max(np.abs(found - self.test_output))) / spread
        if not difference <= REPRODUCED:
            raise InputError(
                f"test_output.npy: expected the output of this model to {REPRODUCED:g} of the range, found a "
                f"difference of {difference:.2g}. The card, the weights and the test do not belong together"
            )
        return difference

    @cached_property
    def _apply(self) -> Any:
        return jax.jit(lambda variables, image: self.net.apply(variables, image))


def main_map(prediction: Mapping[str, np.ndarray]) -> np.ndarray:
    """The map that a model is tested by: the image, else the first by name (of a localizer the background or the logit)."""
    return prediction["image"] if "image" in prediction else prediction[sorted(prediction)[0]]


def save_model(
    folder: str | Path,
    card: ModelCard,
    variables: Params,
    test_input: Array,
    test_output: Array | None = None,
    cover: bytes | None = None,
) -> ModelCard:
    """Saves a model: `card.json README.md weights.safetensors test_input.npy test_output.npy` (and `cover.png`).

    The model is built from the card and must reproduce its test before anything is written. It is written aside and
    renamed; a model that was there stays until the new one is complete.

    Args:
        folder: of the model; made if missing. An existing one is replaced only if it holds a model or nothing.
        card: of the model; its `sha256` is filled in.
        variables: nested dict of float32 arrays, parameters and running statistics.
        test_input: (N, [Z,] H, W, C) in the units of the training images, spatial sizes multiples of the stride.
        test_output: what the model makes of it, in the same units; None computes it.
        cover: PNG picture for the page.

    Returns:
        The card as written.

    Raises:
        InputError: variables that do not fit the card or are not finite, a test that is not reproduced, a folder that
            holds something else, or a disk that refuses.
    """
    folder = Path(folder)
    flat = {path: np.asarray(leaf) for path, leaf in flatten_paths(variables).items()}
    test_input = np.asarray(test_input, np.float32)
    model = _assemble(card, flat, test_input, None)
    output = main_map(model.restore(test_input)) if test_output is None else np.asarray(test_output, np.float32)
    dataclasses.replace(model, test_output=output).verify()
    files = {
        "weights.safetensors": safetensors.numpy.save(flat),
        "test_input.npy": _to_npy(test_input),
        "test_output.npy": _to_npy(output),
        "README.md": model_page(card).encode(),
        **({} if cover is None else {"cover.png": cover}),
    }
    card = dataclasses.replace(card, sha256={name: digest(content) for name, content in sorted(files.items())})
    _write_folder(folder, {**files, "card.json": card.to_json().encode()})
    return card


def read_card(model: str | Path) -> ModelCard:
    """The card of a model folder, a run folder, a packed .zip or a zoo name; the weights are not read."""
    return ModelCard.from_json(read_files(find_model(model))["card.json"])


def load(model: str | Path, *, verify: bool = False) -> LoadedModel:
    """Loads a model.

    Args:
        model: a model folder, a packed .zip of one, a run folder (its `model/` is taken), or the name of a zoo model.
        verify: also reproduce the test output.

    Returns:
        The model, its variables on the device.

    Raises:
        InputError: nothing there, a damaged or edited file, weights that do not fit the card or are not finite.
    """
    path = find_model(model)
    files = read_files(path)
    card = ModelCard.from_json(files["card.json"])
    for name, expected in card.sha256.items():
        if name not in files:
            raise InputError(f"model: {path}: expected the file {name}, which the card lists; found none")
        if digest(files[name]) != expected:
            raise InputError(
                f"model: {path}: {name} is not the file that was saved (its sha256 differs from the card's). "
                "Copy the model again from its source"
            )
    unlisted = {"weights.safetensors", "test_input.npy", "test_output.npy"} - set(card.sha256)
    if unlisted:
        raise InputError(f"card.sha256: expected a digest of {', '.join(sorted(unlisted))}, found none")
    loaded = _assemble(
        card,
        _read_weights(files["weights.safetensors"]),
        _read_npy("test_input.npy", files["test_input.npy"]),
        _read_npy("test_output.npy", files["test_output.npy"]),
    )
    if verify:
        loaded.verify()
    return loaded


def _assemble(
    card: ModelCard, flat: Mapping[str, np.ndarray], test_input: np.ndarray, test_output: np.ndarray | None
) -> LoadedModel:
    """Builds the net that the card describes and checks that the weights are its own."""
    if card.architecture["name"] != "Model":
        raise InputError(
            f"card.architecture: expected a Model (a backbone and a head), found {card.architecture['name']!r}"
        )
    module = outline(partial(build_from, card.architecture))
    net = purify(module)
    expected = flatten_paths(net.variables)
    lost, foreign = sorted(set(expected) - set(flat)), sorted(set(flat) - set(expected))
    if lost or foreign:
        raise InputError(
            f"weights: expected the {len(expected)} arrays of the card's architecture, found {len(flat)}"
            f"{_some('; missing', lost)}{_some('; foreign', foreign)}. The weights belong to another model"
        )
    for path, leaf in flat.items():
        if leaf.shape != expected[path].shape or leaf.dtype != np.float32:
            raise InputError(
                f"weights: {path}: expected float32 {expected[path].shape}, found {leaf.dtype} {leaf.shape}"
            )
        if not np.isfinite(leaf).all():
            raise InputError(
                f"weights: {path}: expected finite numbers, found {np.sum(~np.isfinite(leaf))} NaN or infinite"
            )
    dims, stride = module.spatial_dims, module.stride_total
    if test_input.ndim != dims + 2 or test_input.shape[-1] != module.channels_in or 0 in test_input.shape:
        raise InputError(
            f"test_input: expected {dims + 2} axes with {module.channels_in} channels last, found {test_input.shape}"
        )
    if any(size % stride for size in test_input.shape[1:-1]):
        raise InputError(f"test_input: expected sizes that are multiples of {stride}, found shape {test_input.shape}")
    normalization = Normalization.from_json(card.normalization)
    if len(normalization.scale) not in (1, module.channels_in):
        raise InputError(
            f"card.normalization: expected 1 or {module.channels_in} scales, found {len(normalization.scale)}"
        )
    return LoadedModel(
        card=card,
        net=net,
        variables=jax.device_put(unflatten_paths(flat)),
        normalization=normalization,
        spatial_dims=dims,
        channels_in=module.channels_in,
        channels_out=module.channels_out,
        receptive_field=module.receptive_field,
        stride=stride,
        test_input=test_input,
        test_output=test_output,
        upscale=module.upscale,
        patch=_patch(card, dims) if module.whole_image else None,
    )


def _patch(card: ModelCard, dims: int) -> tuple[int, ...]:
    """The training patch of a net that looks at the whole of it, as its card has it."""
    found = card.trained_on.get("patch")
    if not isinstance(found, list) or len(found) != dims or not all(isinstance(n, int) and n > 0 for n in found):
        raise InputError(
            f"card.trained_on.patch: expected {dims} sizes in pixels, for a net that looks at the whole; found {found}"
        )
    return tuple(found)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.exists() and not (folder.is_dir() and ((folder / "card.json").exists() or not any(folder.iterdir()))):
        raise InputError(f"model: expected a free name or a model folder to replace, found something else at {folder}")
    beside, old = folder.parent / f".{folder.name}.{os.getpid()}.new", previous(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name, content in files.items():
            with open(beside / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            # Between the two renames only the old model has a name, and `find_model` knows it.
            shutil.rmtree(old, ignore_errors=True)
            os.rename(folder, old)
        os.rename(beside, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as cause:
        raise InputError(f"model: {folder} cannot be written: {cause.strerror or cause}") from cause
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _read_weights(content: bytes) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as cause:
        raise InputError(f"weights.safetensors: expected a safetensors file of float32 arrays ({cause})") from cause


def _to_npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _read_npy(name: str, content: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as cause:
        raise InputError(f"{name}: expected a NumPy array without pickled objects ({cause})") from cause
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or not np.isfinite(array).all():
        raise InputError(f"{name}: expected one finite float32 array, found something else")
    return array


def _some(title: str, names: list[str]) -> str:
    return f"{title} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" if names else ""
