"""Judge of detectors: objects or spots found in paired test items, beside classical finders and a perfect detector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from bioflax.baselines.finders import find_objects, find_points
from bioflax.data import FolderObjects, SimulatedObjects
from bioflax.data.objects import Annotated, read_annotated
from bioflax.errors import InputError
from bioflax.hub.store import LoadedModel
from bioflax.predict.objects import detect_objects
from bioflax.studies.judges.base import Judged, Rivals
from bioflax.studies.judges.object_tallies import label_tallies, point_tallies
from bioflax.studies.tally import Tally

ITEMS = 0x7E57  # folded into the seed: no test item is a picture that a model was trained or tuned on
OPTIONS = ("size", "room", "crop", "tile", "pair_px")
BELIEVED = "believed"  # the engine's option for judges that need physics; detectors and finders are told none
RIVALS = {"labels": ("otsu_watershed", "otsu"), "points": ("log_oracle", "dog_oracle", "log_auto")}
MAIN = {"labels": "ap50", "points": "f1_3px"}
PAIR_PX = 6.0  # two spots that are nearer are a close pair
BOUNDED = ("ap50", "ap75", "f1_50", "f1_3px", "f1_1px", "pair_recall")  # a perfect detector has 1


@dataclass(frozen=True)
class ObjectTests:
    """Test items of one condition.

    Attributes:
        mode: `labels` or `points`.
        items: images with their labels or points, in the units of the file.
    """

    mode: str
    items: tuple[Annotated, ...]

    @property
    def truth(self) -> list[np.ndarray]:
        """Label image or (P, d) positions of each item."""
        return [getattr(item, self.mode) for item in self.items]


class DetectJudge:
    """Judges detectors by their objects (`labels`) or spots (`points`).

    Options (`test.NAME` in a study): `size` and `room` of simulated test fields, where they are not those of training;
    `crop`, pixels of the crops that files are cut into; `tile` of the prediction; `pair_px`, the distance of a close pair.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "ap50", "ap75", "f1_50", "f1_3px", "f1_1px", "rmse_px", "false_per_mpx", "pair_recall",
    )  # fmt: skip
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"rmse_px", "false_per_mpx"})

    def draw(self, data: Any, task: Any, items: int, seed: int, options: Mapping[str, Any]) -> ObjectTests:
        """Draws test items that depend on the seed and their number alone.

        Args:
            data: the data node under the test condition: `SimulatedObjects` or `FolderObjects`.
            task: `tasks.Detect`.
            items: how many.
            seed: of simulated items; those of files are always the same.
            options: of this judge.

        Raises:
            InputError: other data, an unknown option, files that are missing or too few.
        """
        unknown = sorted(set(options) - {*OPTIONS, BELIEVED})
        if unknown:
            raise InputError(f"test.{unknown[0]}: expected one of {', '.join(OPTIONS)} for task detect. Leave it out.")
        if isinstance(data, SimulatedObjects):
            drawn = _simulated(data.simulator, task.mode, items, seed, options)
        elif isinstance(data, FolderObjects):
            drawn = _from_files(data, task.mode, items, options.get("crop"))
        else:
            raise InputError(
                f"data: expected simulated objects or images with labels or points for task detect, found "
                f"{type(data).__name__}. Take data=simulated_nuclei, simulated_spots, objects or points."
            )
        return ObjectTests(task.mode, tuple(drawn))

    def score(self, models: Sequence[LoadedModel], task: Any, tests: ObjectTests, options: Mapping[str, Any]) -> Judged:
        """Detects with the thresholds of the model's card and counts.

        Args:
            models: one detector.
            task: not used: the card says how its maps are decoded.
            tests: from `draw`.
            options: of this judge.

        Raises:
            InputError: more than one model, or a model that is no detector.
        """
        del task
        if len(models) != 1:
            raise InputError(
                f"fit.members: detections cannot be averaged, expected one model for task detect, found {len(models)}. "
                "Leave fit.members out."
            )
        tile = options.get("tile", "auto")
        found = [detect_objects(models[0], item.image, tile=tile) for item in tests.items]
        made = [one.labels() if tests.mode == "labels" else one.position for one in found]
        tallies = _tallies(tests, made, options)
        return Judged(tallies, _picture(tests, made, tallies[MAIN[tests.mode]]))

    def rivals(self, tests: ObjectTests, task: Any, baselines: Sequence[str], options: Mapping[str, Any]) -> Rivals:
        """Classical finders, and 1 as the bound wherever a perfect detector has it.

        Args:
            tests: from `draw`.
            task: not used.
            baselines: `otsu_watershed`, `otsu` for labels; `log_oracle`, `dog_oracle`, `log_auto` for points.
            options: of this judge.

        Raises:
            InputError: an unknown finder, or one that this install or these images do not allow.
        """
        del task
        known = RIVALS[tests.mode]
        unknown = [name for name in baselines if name not in known]
        if unknown:
            raise InputError(f"baselines: {unknown[0]!r} does not find {tests.mode}. Take one of: {', '.join(known)}.")
        found: dict[str, list[np.ndarray]] = {}
        # On blank images no threshold of a filter is better than another: they have no rival.
        if baselines and any(len(truth) for truth in tests.truth):
            images = [item.image[..., 0] for item in tests.items]
            found, notes = find_objects(images) if tests.mode == "labels" else find_points(images, tests.truth)
            if not found:
                raise InputError(f"baselines: {notes[0]}")
        scored = {name: _tallies(tests, found[name], options) for name in baselines if name in found}
        perfect = _tallies(tests, tests.truth, options)
        return Rivals(scored, {name: tally for name, tally in perfect.items() if name in BOUNDED})


@jax.jit
def _draw_one(simulator: Any, key: jax.Array) -> dict[str, jax.Array]:
    # The simulator is an argument: other values of its physical fields are no other program.
    return simulator.sample(key, 1)


def _simulated(simulator: Any, mode: str, items: int, seed: int, options: Mapping[str, Any]) -> list[Annotated]:
    """Fields drawn one by one, each with its own key."""
    if "size" in options or "room" in options:
        size = options.get("size", simulator.size)
        # Room for objects follows from size and density, unless it is given
        extra = {"stray_room": None} if hasattr(simulator, "stray_room") else {}
        simulator = dataclasses.replace(simulator, size=size, room=options.get("room"), **extra)
    root = jax.random.fold_in(jax.random.key(seed), ITEMS)
    drawn = []
    for number in range(items):
        one = {
            name: part[0]
            for name, part in jax.device_get(_draw_one(simulator, jax.random.fold_in(root, number))).items()
        }
        if mode not in one:
            raise InputError(
                f"data.simulator: {type(simulator).__name__} makes no {mode}, which task.scheme asks for. Take "
                "data=simulated_nuclei for labels, data=simulated_spots for points."
            )
        truth = one["labels"] if mode == "labels" else one["points"][one["mask"] > 0]
        drawn.append(Annotated(f"item {number}", np.asarray(one["image"]), **{mode: np.asarray(truth)}))
    return drawn


def _from_files(data: FolderObjects, mode: str, items: int, crop: int | None) -> list[Annotated]:
    """Images, or the crops that they are cut into, evenly from all that there are."""
    if data.targets is None:
        raise InputError("data.targets: expected label images or tables of points to test on, found none. Give them.")
    read = read_annotated(
        data.folder,
        data.targets,
        mode=mode,
        axes=data.axes,
        spatial_dims=2 if isinstance(data.patch, int) else len(data.patch),
        split=data.split,
        part=data.part,
        fill_holes=data.fill_holes,
        pixel_nm=data.pixel_nm,
    )
    if crop is not None:
        read = [part for item in read for part in _crops(item, mode, crop)]
    if len(read) < items:
        raise InputError(
            f"data.folder: expected at least {items} test items, found {len(read)} in {data.folder}. Take fewer items"
            f"{', or cut the images by test.crop' if crop is None else ' or a smaller test.crop'}."
        )
    return [read[place] for place in np.linspace(0, len(read) - 1, items).round().astype(int)]


def _crops(item: Annotated, mode: str, crop: int) -> list[Annotated]:
    """As many crops side by side as fit, around the middle of the image; planes of a volume stay together."""
    sides = item.image.shape[-3:-1]
    first = [(side % crop) // 2 for side in sides]
    corners = [
        (y, x) for y in range(first[0], sides[0] - crop + 1, crop) for x in range(first[1], sides[1] - crop + 1, crop)
    ]
    made = []
    for y, x in corners:
        window = (..., slice(y, y + crop), slice(x, x + crop))
        if mode == "labels":
            truth = item.labels[window]
        else:
            moved = item.points - np.array([0.0] * (item.points.shape[1] - 2) + [y, x])
            truth = moved[np.all((moved[:, -2:] >= -0.5) & (moved[:, -2:] < crop - 0.5), axis=1)]
        made.append(Annotated(f"{item.name} {y},{x}", item.image[(*window, slice(None))], **{mode: truth}))
    return made


def _tallies(tests: ObjectTests, made: Sequence[np.ndarray], options: Mapping[str, Any]) -> dict[str, Tally]:
    if tests.mode == "labels":
        return label_tallies(tests.truth, made)
    sizes = [item.image[..., 0].size for item in tests.items]
    return point_tallies(tests.truth, made, sizes, float(options.get("pair_px", PAIR_PX)))


def _picture(tests: ObjectTests, made: Sequence[np.ndarray], tally: Tally) -> dict[str, np.ndarray]:
    """Panels of the item with the worst score; the first where none says anything."""
    values = np.where(np.isfinite(tally.by_item), tally.by_item, np.inf)
    worst = int(np.argmin(values))
    image = tests.items[worst].image[..., 0]
    panels = {"input": image, "output": made[worst], "truth": tests.truth[worst]}
    drawn = {name: part if name == "input" else _drawn(part, image.shape, tests.mode) for name, part in panels.items()}
    # Of a volume the middle plane
    return {
        name: np.asarray(part if part.ndim == 2 else part[len(part) // 2], np.float32) for name, part in drawn.items()
    }


def _drawn(found: np.ndarray, shape: tuple[int, ...], mode: str) -> np.ndarray:
    """Objects in shades of grey that tell neighbours apart, or spots as small crosses."""
    if mode == "labels":
        return np.where(found > 0, 0.35 + 0.65 * ((found * 0.618034) % 1.0), 0.0)
    panel = np.zeros(shape, np.float32)
    for point in np.rint(found).astype(int):
        for step in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            place = (*point[:-2], *(point[-2:] + step))
            if all(0 <= index < side for index, side in zip(place, shape)):
                panel[place] = 1.0
    return panel
