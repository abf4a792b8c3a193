"""What is judged: the images to restore, and everything that restores them, in the order of the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bioflax import metrics
from bioflax.baselines import calibrate
from bioflax.errors import InputError
from bioflax.evaluation.scoring import SMALLEST, Scoring
from bioflax.optics.bounds import oracle_gaussian, oracle_wiener

BOUNDS: dict[str, Callable[..., np.ndarray]] = {
    "oracle_gaussian": lambda noisy, clean, clip: oracle_gaussian(noisy, clean, clip=clip)[0],
    "oracle_wiener": lambda noisy, clean, clip: oracle_wiener(noisy, clean, clip=clip),
}

Predict = Callable[[np.ndarray], Mapping[str, np.ndarray] | np.ndarray]


class Item(Protocol):
    """One image to judge; `group` (optional) names the field, where several captures of it are judged."""

    name: str

    def noisy(self) -> np.ndarray: ...

    def target(self) -> np.ndarray: ...


@dataclass(frozen=True)
class EvaluationItem:
    """A named pair of loaders: `noisy()` and `target()` give (H, W) or (Z, H, W)."""

    name: str
    noisy: Callable[[], np.ndarray]
    target: Callable[[], np.ndarray]
    group: str | None = None


def item_of(item: Item | Mapping[str, Any]) -> EvaluationItem:
    """One form for objects and dicts."""
    if isinstance(item, EvaluationItem):
        return item
    if isinstance(item, Mapping):
        return EvaluationItem(item["name"], item["noisy"], item["target"], item.get("group"))
    return EvaluationItem(item.name, item.noisy, item.target, getattr(item, "group", None))


def load(item: EvaluationItem) -> tuple[np.ndarray, np.ndarray]:
    """Reads a pair as float32.

    Raises:
        InputError: shapes that differ, more than three axes, or an image that is too small to be judged.
    """
    noisy, target = (np.asarray(image()) for image in (item.noisy, item.target))
    if noisy.shape != target.shape:
        raise InputError(
            f"target: {item.name} is {target.shape}, its input is {noisy.shape}; they must be equal. "
            "Crop or register them."
        )
    if noisy.ndim not in (2, 3) or min(noisy.shape[-2:]) < SMALLEST:
        raise InputError(
            f"input: {item.name} is {noisy.shape}; expected (H, W) or (Z, H, W) with at least {SMALLEST} px a side."
        )
    return noisy.astype(np.float32), target.astype(np.float32)


class Judged(Protocol):
    """What an evaluation needs of the methods that it judges."""

    baselines: tuple[str, ...]
    bounds: tuple[str, ...]
    scoring: Scoring

    def load(self, item: EvaluationItem) -> tuple[np.ndarray, np.ndarray]: ...

    def run(
        self, noisy: np.ndarray, target: np.ndarray, only: Sequence[str] | None = None
    ) -> Iterator[tuple[str, str, np.ndarray, np.ndarray | None, float]]: ...

    def extra(self, noisy: np.ndarray, image: np.ndarray, target: np.ndarray) -> dict[str, float]: ...


@dataclass(frozen=True)
class Methods:
    """Everything that turns a noisy image into a better one, in the order of the table."""

    predict: Predict
    baselines: tuple[str, ...]
    bounds: tuple[str, ...]
    scoring: Scoring

    def load(self, item: EvaluationItem) -> tuple[np.ndarray, np.ndarray]:
        """The pair of an item, checked."""
        return load(item)

    def extra(self, noisy: np.ndarray, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Nothing beyond what `scoring` has."""
        del noisy, image, target
        return {}

    def run(
        self, noisy: np.ndarray, target: np.ndarray, only: Sequence[str] | None = None
    ) -> Iterator[tuple[str, str, np.ndarray, np.ndarray | None, float]]:
        """Yields (method, kind, image, scale or None, seconds) for each method, or for those named."""
        chosen = (lambda name: True) if only is None else (lambda name: name in only)
        if chosen("input"):
            yield "input", "input", noisy, None, 0.0
        for name in filter(chosen, self.baselines):
            start = time.perf_counter()
            image = filtered(name, noisy)
            yield name, "baseline", image, None, time.perf_counter() - start
        if chosen("model"):
            start = time.perf_counter()
            output = self.predict(noisy)
            output = output if isinstance(output, Mapping) else {"image": output}
            # Conversion waits for the device, so it belongs to the time.
            image, scale = np.asarray(output["image"]), output.get("scale")
            scale = None if scale is None else np.asarray(scale)
            seconds = time.perf_counter() - start
            if image.shape != noisy.shape:
                raise InputError(f"predict: expected an image of shape {noisy.shape}, found {image.shape}.")
            yield "model", "model", image, scale, seconds
        for name in filter(chosen, self.bounds):
            # An oracle must see the truth in the unit of the noisy image.
            truth = metrics.affine_match(target, noisy) if self.scoring.affine else target
            clip = None if self.scoring.affine else self.scoring.clip
            yield name, "bound", BOUNDS[name](noisy, truth, clip), None, 0.0


def filtered(name: str, noisy: np.ndarray) -> np.ndarray:
    """The noisy image through a filter tuned on itself; thin stacks plane by plane."""
    if noisy.ndim == 3 and noisy.shape[0] < SMALLEST:
        return np.stack([filtered(name, plane) for plane in noisy])
    return calibrate(name, noisy).apply(noisy)
