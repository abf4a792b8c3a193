"""Judges denoising: paired pictures of a simulator or crops of real ones, fidelity, gain over the input, false structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines import FILTERS, calibrate
from bioflax.data.normalize import fit
from bioflax.errors import InputError
from bioflax.hub.store import LoadedModel
from bioflax.optics.bounds import oracle_wiener
from bioflax.predict.restore import context
from bioflax.predict.tiled import predict_tiled
from bioflax.simulate.process import GaussianProcess
from bioflax.studies.judges.base import Judged, Rivals
from bioflax.studies.judges.denoise_items import DenoiseTests, cut, simulate
from bioflax.studies.judges.process_bound import posterior_mean
from bioflax.studies.tally import Tally

OPTIONS = ("tile", "halo", "scale", "offset", "normalize", "augment", "part")
IGNORED = ("believed",)  # the engine's option for judges that need physics
ORACLE = "oracle_wiener"
CALIBRATED = 8  # noisy pictures of the condition, put side by side, on which a filter tunes itself
FLAT_SPAN = 0.25  # of the noise: a pixel is in a flat part if the truth varies less than that around it
FLAT_REACH_PX = 4
STRUCTURE_PX = 1.5  # sigma of the blur that leaves what is larger than a pixel
LEAST = 1e-12  # of the squared range: a perfect picture has 120 dB, and no mean is infinite


class DenoiseJudge:
    """Denoising of simulated pictures or of folders with targets; see `bioflax.studies.judges`.

    Metrics, one number for each item:
    - `psnr_db`, `ssim`: the range is max - min of all clean pictures of the test condition, one number for all items and
      methods; a flat truth says nothing. Means are means of dB.
    - `si_psnr_db`: PSNR after the best gain and offset, range max - min of the item's truth (`metrics.si_psnr`).
    - `gain_db`: PSNR minus that of the noisy input; below 0 the result is worse than the input.
    - `false_structure`: in the flat parts of the truth (the whole of a blank field), RMS of result minus truth above the scale of a
      pixel (blurred by 1.5 px, its mean taken out), over the RMS of the input's noise there. White noise itself has 0.19.
    - `flat_bias`: in the same parts, RMS over the items of the mean of result minus truth, over that noise.

    Options of a test: `test.tile` and `test.halo` (pixels) predict in tiles; `test.scale` and `test.offset` multiply and shift the
    input before the model and undo it after; `test.normalize=image` takes mean and deviation (or percentiles, as the model does) of
    each picture in place of the model's own numbers; `test.augment=true` averages eight turns and flips; `test.part=all` takes
    crops of real images also from what training could have seen. Several models are averaged.

    Rivals: `input` always, filters tuned on the noisy pictures without truth, and `oracle_wiener`, the best radial linear filter of
    each picture, which saw the truth: no bound, but what no linear filter of that kind can pass. The bound of a Gaussian process
    is exact: the error of the posterior mean on these very items.
    """

    metrics: tuple[str, ...] = ("psnr_db", "si_psnr_db", "ssim", "gain_db", "false_structure", "flat_bias")
    lower_is_better: frozenset[str] = frozenset({"false_structure", "flat_bias"})

    def draw(self, data: Any, task: Any, items: int, seed: int, options: Mapping[str, Any]) -> DenoiseTests:
        """Item i has the scene and the noise of `fold_in(key(seed), i)` under every condition; or a fixed crop of a folder.

        Args:
            data: `data.SimulatedData` or `data.FolderData` with targets, under the test condition.
            task: not used.
            items: pictures.
            seed: of the test.
            options: `test.*`.

        Raises:
            InputError: other data, data without targets, or an unknown option.
        """
        del task
        _check(options)
        if hasattr(data, "simulator"):
            return simulate(data.simulator, items, seed)
        return cut(data, items, seed, options.get("part", "held_out"))

    def score(
        self, models: Sequence[LoadedModel], task: Any, tests: DenoiseTests, options: Mapping[str, Any]
    ) -> Judged:
        """Tallies of a model, or of the mean of several, and the picture of the item with the largest error."""
        del task
        _check(options)
        restored = np.mean([first_plane(restore(model, tests.noisy, options)) for model in models], axis=0)
        worst = int(np.argmax(np.mean((restored - tests.clean) ** 2, axis=(1, 2))))
        panels = {"input": tests.observed[worst], "output": restored[worst], "truth": tests.clean[worst]}
        return Judged(tally(restored, tests), {name: np.asarray(panel, np.float32) for name, panel in panels.items()})

    def rivals(self, tests: DenoiseTests, task: Any, baselines: Sequence[str], options: Mapping[str, Any]) -> Rivals:
        """The noisy input, filters tuned without truth, the oracle where it was asked for, and the exact bound.

        Args:
            tests: the items.
            task: not used.
            baselines: names of `baselines.FILTERS`, or `oracle_wiener`.
            options: `test.*`; they hold for models only.

        Raises:
            InputError: an unknown name.
        """
        del task
        _check(options)
        found = {"input": tally(tests.observed, tests)}
        for name in baselines:
            if name not in ("input", ORACLE, *FILTERS):
                raise InputError(f"study.baselines: expected some of {', '.join((*FILTERS, ORACLE))}, found {name!r}.")
            if name == ORACLE:
                images = [oracle(noisy, clean) for noisy, clean in zip(tests.observed, tests.clean)]
                found[name] = tally(np.stack(images), tests)
            elif name != "input":
                found[name] = tally(filtered(name, tests.observed), tests)
        if not isinstance(tests.simulator, GaussianProcess) or np.ndim(tests.simulator.noise_std):
            return Rivals(found)
        best = tally(posterior_mean(tests.simulator, tests.observed), tests)
        return Rivals(found, {name: best[name] for name in ("psnr_db", "gain_db")})


def restore(model: LoadedModel, noisy: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """What the model makes of noisy pictures, in their unit.

    Args:
        model: that denoises.
        noisy: (N, [Z,] H, W, C), units of the file.
        options: `test.*`.

    Returns:
        (N, [Z,] H, W, C_out) float32.

    Raises:
        InputError: a model that makes no picture of this size, or an impossible option.
    """
    if model.upscale != 1 or model.channels_in != noisy.shape[-1]:
        raise InputError(
            f"study: the pictures have {noisy.shape[-1]} channels and keep their size, the model takes {model.channels_in} and "
            f"makes them {model.upscale} times finer; take a model that denoises such pictures."
        )
    scale, offset = float(options.get("scale", 1.0)), float(options.get("offset", 0.0))
    if not scale > 0:
        raise InputError(f"test.scale: expected a factor above 0, found {scale!r}.")
    shifted = (scale * np.asarray(noisy, np.float64) + offset).astype(np.float32)
    units = _units(model, shifted, options.get("normalize"))
    tile, halo = context(model, options.get("tile", "auto"))
    maps = predict_tiled(
        model.net.apply,
        model.variables,
        np.stack([unit.apply(image) for unit, image in zip(units, shifted)]),
        halo=options.get("halo", halo),
        stride=model.stride,
        tile=tile,
        augment=bool(options.get("augment", False)),
    )
    if "image" not in maps:
        raise InputError(f"study: a denoiser makes an image, the model makes {', '.join(maps)}; take task=denoise_*.")
    back = [np.asarray(unit.invert(image), np.float64) for unit, image in zip(units, maps["image"])]
    return ((np.stack(back) - offset) / scale).astype(np.float32)


def tally(restored: np.ndarray, tests: DenoiseTests) -> dict[str, Tally]:
    """Per-item sums of all metrics; restored (N, H, W) in the unit of the items."""
    rows = [
        _judge(image, noisy, clean, tests.data_range)
        for image, noisy, clean in zip(*(np.asarray(a, np.float64) for a in (restored, tests.observed, tests.clean)))
    ]
    return {
        name: Tally(
            *np.array([row[name] for row in rows]).T, form="root" if name in DenoiseJudge.lower_is_better else "mean"
        )
        for name in DenoiseJudge.metrics
    }


def filtered(name: str, observed: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W) through a filter that tuned itself once, on the first of them and without truth."""
    tuned = calibrate(name, np.concatenate(list(observed[:CALIBRATED]), axis=0))
    return np.stack([tuned.apply(image) for image in observed])


def oracle(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The best radial linear filter of a picture (H, W) that saw the truth, its borders mirrored as those of its rivals."""
    # An even extension by its own length turns circular into mirrored; its error is that of the picture.
    even = [np.pad(image, [(0, side) for side in image.shape], mode="symmetric") for image in (noisy, clean)]
    return oracle_wiener(*even)[tuple(slice(side) for side in noisy.shape)]


def flat_parts(clean: np.ndarray, noise_std: float) -> np.ndarray:
    """(H, W) bool: pixels around which the truth varies by less than a quarter of the noise."""
    from scipy.ndimage import maximum_filter, minimum_filter

    side = 2 * FLAT_REACH_PX + 1
    return maximum_filter(clean, side) - minimum_filter(clean, side) <= FLAT_SPAN * noise_std


def first_plane(images: np.ndarray) -> np.ndarray:
    """(N, [Z,] H, W, C) -> (N, H, W): the first channel, the middle plane."""
    images = images[..., 0]
    return images if images.ndim == 3 else images[:, images.shape[1] // 2]


def _judge(
    image: np.ndarray, noisy: np.ndarray, clean: np.ndarray, data_range: float
) -> dict[str, tuple[float, float]]:
    """metric -> (numerator, denominator) of one item."""
    nothing, noise = (0.0, 0.0), float(np.mean((noisy - clean) ** 2))
    error = float(np.mean((image - clean) ** 2))
    found = dict.fromkeys(DenoiseJudge.metrics, nothing)
    if np.ptp(clean) > 1e-6 * np.abs(clean).max():
        span = float(np.ptp(clean))
        matched = float(np.mean((metrics.affine_match(image, clean) - clean) ** 2))
        found["psnr_db"] = _decibel(data_range, error), 1.0
        found["si_psnr_db"] = _decibel(span, matched), 1.0
        found["ssim"] = float(metrics.ssim(image, clean, data_range)), 1.0
    if noise > 0:
        found["gain_db"] = 10 * np.log10(noise / max(error, LEAST * noise)), 1.0
        found |= _judge_flat(image - clean, noisy - clean, flat_parts(clean, float(np.sqrt(noise))))
    return found


def _judge_flat(deviation: np.ndarray, noise: np.ndarray, flat: np.ndarray) -> dict[str, tuple[float, float]]:
    from scipy.ndimage import gaussian_filter

    pixels = float(flat.sum())
    if not pixels or not np.any(noise[flat]):
        return {}
    power, bias = float(np.mean(noise[flat] ** 2)), float(np.mean(deviation[flat]))
    coarse = gaussian_filter(deviation, STRUCTURE_PX)[flat]
    return {
        "false_structure": (float(np.sum((coarse - coarse.mean()) ** 2)), pixels * power),
        "flat_bias": (pixels * bias**2, pixels * power),
    }


def _decibel(span: float, error: float) -> float:
    return float(20 * np.log10(span) - 10 * np.log10(max(error, LEAST * span**2)))


def _units(model: LoadedModel, images: np.ndarray, normalize: str | None) -> list[Any]:
    """The normalisation of each picture: the model's own, or one fitted to the picture in the same way."""
    own = model.normalization
    if normalize in (None, "model"):
        return [own] * len(images)
    if normalize != "image":
        raise InputError(f"test.normalize: expected model or image, found {normalize!r}.")
    kind = own.kind if own.kind in ("mean_std", "percentile") else "mean_std"
    return [fit(kind, [image]) for image in images]


def _check(options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - set(OPTIONS) - set(IGNORED))
    if unknown:
        known = ", ".join(f"test.{name}" for name in OPTIONS)
        raise InputError(f"study: test.{unknown[0]} is not known to denoising. Take one of: {known}.")
