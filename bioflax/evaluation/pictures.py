"""What the pictures of an evaluation need: crops of the worst, the median and the best image, and mean spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioflax.evaluation.methods import EvaluationItem, Judged
from bioflax.metrics import affine_match, frc, radial_power

CROP = 256  # pixels a side
FREQUENCIES = np.linspace(0.0, 0.5, 65)  # cycles per pixel: images of any size meet on this grid


@dataclass
class Spectra:
    """Mean power and mean Fourier ring correlation with the target, for each method."""

    power: dict[str, list[np.ndarray]] = field(default_factory=dict)
    correlation: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, method: str, image: np.ndarray, target: np.ndarray) -> None:
        """Takes in one image (H, W) or the middle plane of (Z, H, W); a constant target has no spectrum and is left out."""
        image, target = middle(image), middle(target)
        if not np.ptp(target) > 0:
            return
        frequency, power = radial_power(image, window="hann")
        self.power.setdefault(method, []).append(np.interp(FREQUENCIES, frequency, power))
        curve = frc(image, target)
        correlation = np.interp(FREQUENCIES, curve.frequency, curve.correlation)
        self.correlation.setdefault(method, []).append(correlation)
        if method == "input":
            frequency, power = radial_power(target, window="hann")
            self.power.setdefault("target", []).append(np.interp(FREQUENCIES, frequency, power))

    def arrays(self) -> dict[str, np.ndarray]:
        """`frequency`, `power_<method>` and `frc_<method>`, each (65,); powers are geometric means."""
        arrays = {"frequency": FREQUENCIES}
        for method, powers in self.power.items():
            arrays[f"power_{method}"] = np.exp(np.log(np.maximum(powers, 1e-30)).mean(0))
        return arrays | {f"frc_{method}": np.mean(curves, 0) for method, curves in self.correlation.items()}


def crops(items: Sequence[EvaluationItem], rows: Sequence[dict[str, Any]], methods: Judged) -> dict[str, np.ndarray]:
    """Arrays `<method>_<k>` and `target_<k>` for the images of smallest, median and largest gain, and their `names`.

    The three images are restored once more: to hold all results until the gains are known would need all their memory.
    """
    psnr = {(row["item"], row["method"]): row["psnr_db"] for row in rows}
    gain = {item.name: psnr[item.name, "model"] - psnr[item.name, "input"] for item in items}
    # A constant target gives no gain: it is shown only where there is nothing else.
    judged = [i for i, item in enumerate(items) if not np.isnan(gain[item.name])] or range(len(items))
    order = sorted(judged, key=lambda i: gain[items[i].name])
    chosen = list(dict.fromkeys([order[0], order[len(order) // 2], order[-1]]))
    best = {}
    for kind, names in (("baseline", methods.baselines), ("bound", methods.bounds)):
        # A method that fails on an image has no picture of it.
        whole = [name for name in names if all((items[i].name, name) in psnr for i in judged)]
        best[kind] = max(whole, key=lambda name: np.mean([psnr[items[i].name, name] for i in judged]), default="")
    arrays: dict[str, np.ndarray] = {
        "names": np.array([items[i].name for i in chosen]),
        "gains": np.array([gain[items[i].name] for i in chosen]),
        "methods": np.array(["input", *filter(None, [best["baseline"]]), "model", *filter(None, [best["bound"]])]),
    }
    for k, i in enumerate(chosen):
        noisy, target = methods.load(items[i])
        window = busiest(middle(target))
        arrays[f"target_{k}"] = middle(target)[window]
        for method, _, image, scale, _ in methods.run(noisy, target, only=arrays["methods"].tolist()):
            if methods.scoring.affine:  # shown as it was judged
                image = affine_match(image, target)
            arrays[f"{method}_{k}"] = middle(np.asarray(image))[window].astype(np.float32)
            if scale is not None:
                arrays[f"scale_{k}"] = middle(scale)[window].astype(np.float32)
    return arrays


def middle(image: np.ndarray) -> np.ndarray:
    """The middle plane of (Z, H, W); (H, W) as it is."""
    return image if image.ndim == 2 else image[image.shape[0] // 2]


def busiest(image: np.ndarray, side: int = CROP) -> tuple[slice, slice]:
    """The window of at most side x side pixels with the largest contrast, on a grid of half windows."""
    height, width = (min(side, n) for n in image.shape)
    corners = [
        (top, left)
        for top in range(0, image.shape[0] - height + 1, max(height // 2, 1))
        for left in range(0, image.shape[1] - width + 1, max(width // 2, 1))
    ]
    top, left = max(corners, key=lambda at: float(image[at[0] : at[0] + height, at[1] : at[1] + width].std()))
    return slice(top, top + height), slice(left, left + width)
