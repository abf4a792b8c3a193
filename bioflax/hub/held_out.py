"""How good a restoring model is on what was held out: metrics beside filters and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines import calibrate
from bioflax.data.assemble import Prepared
from bioflax.errors import InputError
from bioflax.hub.store import LoadedModel
from bioflax.optics import bounds

JUDGED = 24  # held-out patches that the summary looks at
FILTERS = ("gaussian", "median", "nlm")


def judge_held_out(model: LoadedModel, task: Any, prepared: Prepared, preview: Path) -> dict[str, Any]:
    """Metrics, baselines and bounds on held-out patches, under the same names.

    Against clean targets these are `psnr_db`, `si_psnr_db` and `ssim` beside oracle filters. Where the only reference is a
    second noisy capture it is `psnr_to_noisy_db`, whose ceiling the noise of the reference sets:
    E|f(a) - b|^2 = MSE(f) + noise variance (Lehtinen 2018).

    Returns:
        {"metrics", "baselines", "bounds"}; empty where nothing is held out.
    """
    del task
    empty: dict[str, Any] = {"metrics": {}, "baselines": {}, "bounds": {}}
    if not prepared.validation:
        return empty
    image = np.concatenate([np.asarray(batch["image"]) for batch in prepared.validation])
    chosen = np.linspace(0, len(image) - 1, min(JUDGED, len(image))).astype(int)
    noisy = np.asarray(prepared.normalization.invert(image[chosen]))
    output = model.restore(noisy)
    arrays = {"input": noisy, "output": output["image"], **({"scale": output["scale"]} if "scale" in output else {})}
    if prepared.reference != "none":
        target = np.concatenate([np.asarray(batch["target"]) for batch in prepared.validation])[chosen]
        arrays["target"] = np.asarray(prepared.normalization.invert(target))
    pictures = {name: _planes(value) for name, value in arrays.items()}
    aside = preview.with_suffix(".part")
    with aside.open("wb") as stream:
        np.savez_compressed(stream, names=np.array([f"held out {n}" for n in range(len(chosen))]), **pictures)
    aside.replace(preview)
    if prepared.reference == "none":
        return empty
    spread = float(np.ptp(pictures["target"]))
    if prepared.reference == "target":
        return _against_truth(pictures, spread)
    # Per patch, as the metric is: the mean of decibels is not the decibels of the mean.
    noise = np.mean((pictures["input"] - pictures["target"]) ** 2, axis=(1, 2)) / 2
    ceiling = float(np.mean([bounds.noisy_reference_ceiling_db(spread, float(variance)) for variance in noise]))

    def score(images: np.ndarray) -> dict[str, float]:
        return {"psnr_to_noisy_db": _psnr(images, pictures["target"], spread)}

    return {
        "metrics": score(pictures["output"]),
        "baselines": {
            "input": score(pictures["input"]),
            **{n: score(v) for n, v in _filtered(pictures["input"]).items()},
        },
        "bounds": {"psnr_to_noisy_db": ceiling},
    }


def _against_truth(pictures: dict[str, np.ndarray], spread: float) -> dict[str, Any]:
    target = pictures["target"]

    def score(images: np.ndarray) -> dict[str, float]:
        return {
            "psnr_db": _psnr(images, target, spread),
            "si_psnr_db": float(np.mean([metrics.si_psnr(a, b) for a, b in zip(images, target)])),
            "ssim": float(np.mean([metrics.ssim(a, b, spread) for a, b in zip(images, target)])),
        }

    noisy = pictures["input"]
    return {
        "metrics": score(pictures["output"]),
        "baselines": {"input": score(noisy), **{name: score(images) for name, images in _filtered(noisy).items()}},
        "bounds": score(np.stack([bounds.oracle_wiener(a, b) for a, b in zip(noisy, target)])),
    }


def _psnr(images: np.ndarray, target: np.ndarray, spread: float) -> float:
    """Mean over patches; the range is that of all targets together."""
    return float(np.mean([metrics.psnr(a, b, spread) for a, b in zip(images, target)]))


def _filtered(images: np.ndarray) -> dict[str, np.ndarray]:
    """Classical filters, each tuned once on patches side by side and without truth; {} in an install without them."""
    try:
        tuned = {name: calibrate(name, np.concatenate(list(images[:8]), axis=0)) for name in FILTERS}
    except InputError as missing:
        print(f"no classical filters beside the model: {missing}")
        return {}
    return {name: np.stack([filter_.apply(image) for image in images]) for name, filter_ in tuned.items()}


def _planes(images: np.ndarray) -> np.ndarray:
    """(N, [Z,] H, W, C) -> (N, H, W): the first channel, the middle plane."""
    images = images[..., 0]
    return images if images.ndim == 3 else images[:, images.shape[1] // 2]
