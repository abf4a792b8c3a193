"""Evaluation of a super-resolving model on files: camera images beside images of the same fields on a finer grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bioflax.baselines.sim import reconstruct
from bioflax.baselines.sim_parameters import estimate_illumination
from bioflax.data import pair_files
from bioflax.errors import InputError
from bioflax.evaluation.evaluate import judge
from bioflax.evaluation.finer import SIM, FinerMethods, camera_offset, fitting_baselines, plain_shifts
from bioflax.evaluation.methods import EvaluationItem
from bioflax.evaluation.scoring import choose_scoring
from bioflax.evaluation.summary import EvaluationResult
from bioflax.io import ImageFile, image_stem, open_image, rearrange
from bioflax.ops.tiles import Window
from bioflax.predict import predict_maps
from bioflax.predict.physics import Physics
from bioflax.train.log import ProgressBar

NOISY = {"balance": 0.1, "sectioning": 0.99}  # for noisy frames of thick cells


@dataclasses.dataclass(frozen=True)
class FinerResult:
    """What an evaluation of super-resolution found; `shifts`: file -> [dy, dx, correlation], fine pixels."""

    result: EvaluationResult
    shifts: dict[str, Any]

    def entries(self) -> dict[str, Any]:
        """For result.json."""
        return {**self.result.entries(), "registered": self.shifts}


def evaluate_finer_files(
    model: Any,
    inputs: str | Path,
    targets: str | Path,
    *,
    run_dir: str | Path,
    physics: Physics | None = None,
    axes: str | None = None,
    tile: Any = "auto",
    augment: bool = False,
    register: bool = True,
    box: Sequence[int] | None = None,
    baselines: Sequence[str] = (),
    data_range: float | None = None,
    affine: bool = True,
) -> FinerResult:
    """Judges a super-resolving model on files.

    Args:
        model: a loaded model.
        inputs: camera images: a file, a folder or a glob; raw frames of one field as axis C.
        targets: images on the fine grid; names match, or match without a trailing number.
        run_dir: folder for table.csv, summary.json and crops.npz.
        physics: of the images; without it only interpolations stand beside the model.
        axes: of the inputs, where they do not say them.
        tile, augment: as `predict`.
        register: move each target onto its input first.
        box: (y0, y1, x0, x1) in camera pixels: only this part is judged; the whole image is restored.
        baselines: names of `baselines.SUPER_RESOLVERS`; none named: all that can be run.
        data_range: of PSNR; None takes 0.1 to 99.9 percentile of the target with `affine`, else max - min.
        affine: match gain and offset of every method to the target first.

    Raises:
        InputError: files without a target, sizes that do not fit the model's upscale, pairs that do not register.
    """
    items = []
    for image, target in pair_files(inputs, targets):
        items += items_of(open_image(image, axes), open_image(target), image_stem(image), model)
    scoring = choose_scoring(np.asarray(items[0].target()).dtype, data_range, None, affine)

    def predict(image: np.ndarray) -> dict[str, np.ndarray]:
        image, letters = (image, "YXC") if model.channels_in > 1 else (image[..., 0], "YX")
        return predict_maps(model, image, letters, tile=tile, augment=augment)

    sim = None if physics is None else sim_of(physics, model)
    beside = (*fitting_baselines(physics, baselines), *((SIM,) if sim else ()))
    methods = FinerMethods(predict, model.upscale, beside, scoring, physics, register, sim)
    if box is not None:
        methods = Boxed(methods, box)
    methods.run_once(items[0]) if isinstance(methods, Boxed) else predict(methods.load(items[0])[0])  # compiles
    family = str(model.card.architecture["arguments"]["head"]["name"]).lower()
    with ProgressBar("evaluate", len(items)) as bar:
        result = judge(
            items,
            methods,
            run_dir,
            family=family if family in ("gaussian", "laplace") else "gaussian",
            on_progress=lambda done, total: bar.update(done),
        )
    return FinerResult(result, plain_shifts(methods.shifts))


class Boxed:
    """Methods that restore whole images and are judged on a part of them, such as the part that training did not see."""

    def __init__(self, inner: FinerMethods, box: Sequence[int]) -> None:
        if (
            not isinstance(box, (list, tuple))
            or len(box) != 4
            or not all(isinstance(side, int) and side >= 0 for side in box)
            or box[0] >= box[1]
            or box[2] >= box[3]
        ):
            raise InputError(f"box: expected [y0, y1, x0, x1] in camera pixels, found {box!r}.")
        self.inner, self.box = inner, tuple(box)
        self.baselines, self.bounds, self.scoring, self.shifts = inner.baselines, (), inner.scoring, inner.shifts
        self._whole: np.ndarray | None = None

    def load(self, item: EvaluationItem) -> tuple[np.ndarray, np.ndarray]:
        """The part of the pair; the whole input is kept for `run`."""
        self._whole, target = self.inner.load(item)
        if self.box[1] > self._whole.shape[0] or self.box[3] > self._whole.shape[1]:
            raise InputError(f"box: expected a part of {self._whole.shape[:2]} camera pixels, found {list(self.box)}.")
        return self._whole[self._cut(1)], target[self._cut(self.inner.upscale)]

    def run_once(self, item: EvaluationItem) -> None:
        """Compiles the model for the size of the images."""
        self.load(item)
        self.inner.predict(self._whole)

    def run(self, noisy: np.ndarray, target: np.ndarray, only: Sequence[str] | None = None) -> Any:
        """As `FinerMethods.run`, on the whole and then cut."""
        del noisy
        cut = self._cut(self.inner.upscale)
        for method, kind, image, scale, seconds in self.inner.run(self._whole, target, only):
            yield method, kind, image[cut], None if scale is None else scale[cut], seconds

    def extra(self, noisy: np.ndarray, image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """As `FinerMethods.extra`."""
        return self.inner.extra(noisy, image, target)

    def _cut(self, upscale: int) -> Window:
        y0, y1, x0, x1 = (side * upscale for side in self.box)
        return slice(y0, y1), slice(x0, x1)


def sim_of(physics: Physics, model: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """The classical reconstruction of raw frames, its stripes estimated from each image; of a model with 9 or 15 frames."""
    phases = {9: 3, 15: 5}.get(model.channels_in)
    if phases is None:
        return None
    optics = physics.imaging.optics

    def sim(image: np.ndarray) -> np.ndarray:
        frames = np.moveaxis(image, -1, 0)
        offset = camera_offset(physics, image)
        stripes = estimate_illumination(frames, optics, phases=phases, offset=offset)
        return reconstruct(frames, stripes, optics, upscale=model.upscale, offset=offset, **NOISY)

    return sim


def items_of(image: ImageFile, target: ImageFile, name: str, model: Any) -> list[EvaluationItem]:
    """One item for each plane that is neither space nor a frame."""
    missing = [axis for axis in "YX" if axis not in image.axes or axis not in target.axes]
    if missing:
        raise InputError(f"input: {image.path} has axes {image.axes}, its target {target.axes}; both need YX.")
    lengths = dict(zip(image.axes, image.shape))
    if model.channels_in > 1 and lengths.get("C") != model.channels_in:
        raise InputError(
            f"input: {image.path} has axes {image.axes} {image.shape}; this model takes {model.channels_in} raw frames of a "
            "field as axis C. If the file has them under another letter, say axes=CYX."
        )
    others = [axis for axis in image.axes if axis not in ("YXC" if model.channels_in > 1 else "YX")]
    beyond = {axis: length for axis, length in zip(target.axes, target.shape) if axis not in "YX" and length > 1}
    if beyond != {axis: lengths[axis] for axis in others if lengths[axis] > 1}:
        raise InputError(
            f"target: {target.path} has axes {target.axes} {target.shape}, its input {image.axes} {image.shape}; beyond YX and raw "
            "frames they must be alike."
        )
    items = []
    for place in product(*(range(lengths[axis]) for axis in others)):
        fixed = dict(zip(others, place))
        shown = ",".join(f"{axis.lower()}={at}" for axis, at in fixed.items() if lengths[axis] > 1)
        label = f"{name}[{shown}]" if shown else name
        items.append(EvaluationItem(label, _plane(image, fixed, "YXC"), _plane(target, fixed, "YX"), name))
    return items


def _plane(file: ImageFile, fixed: dict[str, int], letters: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        # A net of one channel sees the channels one by one: C is fixed then, and no frame.
        at = [slice(None) if axis in letters and axis not in fixed else fixed.get(axis, 0) for axis in file.axes]
        left = "".join(axis for axis, place in zip(file.axes, at) if not isinstance(place, int))
        whole = [slice(place, place + 1) if isinstance(place, int) else place for place in at]
        pixels = file.read_window(whole)
        kept = tuple(n for n, place in enumerate(at) if isinstance(place, int))
        return rearrange(np.squeeze(pixels, kept), left, letters)

    return read
