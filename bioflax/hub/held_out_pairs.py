"""How good a super-resolving model is on held-out pairs: beside tuned classical methods, a bound, and what was measured at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioflax import metrics
from bioflax.baselines.interpolate import bicubic, lanczos
from bioflax.baselines.super_resolve import SUPER_RESOLVERS, Tuned, tune
from bioflax.data.assemble import Prepared
from bioflax.errors import InputError
from bioflax.hub.probes import probe
from bioflax.hub.store import LoadedModel
from bioflax.metrics.resolution import radial_power
from bioflax.optics import passband
from bioflax.optics.psf.widefield import radial_frequency
from bioflax.optics.resolution_bounds import super_resolution_mse
from bioflax.predict.files import mean_numbers
from bioflax.predict.honesty import examine
from bioflax.predict.physics import Physics, physics_of

JUDGED = 24  # held-out pictures that the summary looks at
TUNED = 6  # other pictures that the classical methods are tuned on, with the truth before their eyes
HONEST = ("null_space_energy", "chi_square", "rse_over_noise", "rse_share", "rsp", "detail", "gain")


def judge_pairs(model: LoadedModel, task: Any, prepared: Prepared, preview: Path) -> dict[str, Any]:
    """Metrics, baselines and bounds on held-out pairs, under the same names; `probes.json` beside the preview.

    `psnr_db` has the range of each target, and targets in units of their own are matched by gain and offset first.
    `in_band_psnr_db` looks only at the frequencies that were measured. The baseline `best_linear` is what no linear method that
    knows the power spectrum of the scene can pass; for a Gaussian process it is the bound of every method.

    Returns:
        {"metrics", "baselines", "bounds"}; empty where nothing is held out.
    """
    del task
    if not prepared.validation:
        return {"metrics": {}, "baselines": {}, "bounds": {}}
    raw, target = (
        np.asarray(prepared.normalization.invert(np.concatenate([np.asarray(b[name]) for b in prepared.validation])))
        for name in ("image", "target")
    )
    chosen = np.linspace(0, len(raw) - 1, min(JUDGED, len(raw))).astype(int)
    others = np.setdiff1d(np.arange(len(raw)), chosen)[:TUNED]
    others = others if len(others) else chosen[:TUNED]
    wide, truth = raw.mean(-1), target[..., 0]
    output = model.restore(raw[chosen])
    restored = output["image"][..., 0]
    physics = known_physics(model)
    score = make_score(physics, model.card.physics.get("units", "input") == "input")
    tuned = tuned_methods(wide[others], truth[others], physics) if physics else {}
    methods = {name: method.apply for name, method in tuned.items()} or {
        "bicubic": lambda image: bicubic(image, model.upscale),
        "lanczos": lambda image: lanczos(image, model.upscale),
    }
    baselines = {name: np.stack([method(image) for image in wide[chosen]]) for name, method in methods.items()}
    save_preview(preview, wide[chosen], restored, truth[chosen], output.get("scale"), model.upscale)
    judged = {
        "metrics": score(restored, truth[chosen]),
        "baselines": {name: score(images, truth[chosen]) for name, images in baselines.items()},
        "bounds": {},
    }
    if "scale" in output:
        family = str(model.card.architecture["arguments"]["head"]["name"]).lower()
        covered = metrics.coverage(truth[chosen], restored, output["scale"][..., 0], 0.95, family)
        judged["metrics"]["coverage_95"] = float(covered)
    if physics and physics.frames == 1 and physics.same_unit:
        linear = best_linear(truth[chosen], wide[chosen], physics, prepared.simulator)
        # Of a Gaussian process no method has a smaller error; of other scenes, no linear one.
        exact = hasattr(prepared.simulator, "spectrum")
        judged["bounds" if exact else "baselines"] |= linear if exact else {"best_linear": linear}
    if physics:
        honest = [examine(a, b, physics).numbers for a, b in zip(restored, raw[chosen])]
        judged["metrics"] |= mean_numbers(
            [
                {name: one[name] for name in HONEST if name in one and (name != "detail" or one[name] > 0)}
                for one in honest
            ]
        )
        probes = probe(model, prepared.simulator, physics, tuned, judged["metrics"], preview.with_name("probes.json"))
        judged["metrics"] |= probes
    return judged


def known_physics(model: LoadedModel) -> Physics | None:
    """The physics of a model's card, None where the card does not hold the optics."""
    try:
        return physics_of(model)
    except InputError:
        return None


def make_score(physics: Physics | None, same_unit: bool) -> Callable[[np.ndarray, np.ndarray], dict[str, float | None]]:
    """The protocol: mean over pictures of their metrics, images (N, sH, sW) against targets; empty fields do not count."""

    def one(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
        image = image if same_unit else np.asarray(metrics.affine_match(image, target))
        low, high = np.percentile(target, (0.1, 99.9)) if not same_unit else (target.min(), target.max())
        found = {
            "psnr_db": float(metrics.psnr(image, target, high - low)),
            "ssim": float(metrics.ssim(image, target, high - low)),
            "nrmse": float(metrics.nrmse(image, target)),
        }
        if physics is not None:
            band = (physics.reach_per_px, physics.band_upscale)
            found["in_band_psnr_db"] = passband.in_band_psnr_db(image, target, *band, high - low)
        return found

    def score(images: np.ndarray, targets: np.ndarray) -> dict[str, float | None]:
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(images, targets)]
        rows = [one(a, b) for a, b in pairs if np.ptp(b) > 0]
        names = ("psnr_db", "ssim", "nrmse", *(("in_band_psnr_db",) if physics is not None else ()))
        return {name: finite_mean([row[name] for row in rows]) for name in names}

    return score


def finite_mean(values: Sequence[float]) -> float | None:
    """Mean of those that are finite; None where none is, as the card has it."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def tuned_methods(images: np.ndarray, targets: np.ndarray, physics: Physics) -> dict[str, Tuned]:
    """Every classical method with the parameters that come closest to the truth on some pictures: strong rivals."""
    offset = float(physics.camera.offset_adu) if physics.camera is not None else float(images.min())
    full = [n for n, target in enumerate(targets) if np.ptp(target) > 0] or range(len(targets))
    pairs = {"images": [images[n] for n in full], "targets": [targets[n] for n in full]}
    camera = {"imaging": physics.imaging, "offset": offset, "sharpness": physics.sharpness}
    camera["score"] = metrics.psnr if physics.same_unit else metrics.si_psnr  # as they are judged
    dark = max(float(np.percentile(images, 1)) - offset, 0.0)

    def best(name: str) -> Tuned:
        levels = (0.0, dark) if name.startswith("richardson_lucy") else (0.0,)
        return max((tune(name, **pairs, **camera, background=level) for level in levels), key=lambda one: one.psnr_db)

    return {name: best(name) for name in SUPER_RESOLVERS}


def best_linear(targets: np.ndarray, raw: np.ndarray, physics: Physics, simulator: Any = None) -> dict[str, float]:
    """Least error of a linear method that knows the mean spectrum of the scene and the noise of each picture, as PSNR.

    Args:
        targets: (N, sH, sW).
        raw: (N, H, W), even light.
        physics: of the pictures.
        simulator: whose `spectrum` is taken where it has one (a Gaussian process), for the exact bound.
    """
    exact = getattr(simulator, "spectrum", None)
    if exact is not None:
        process = super_resolution_mse(exact, physics.from_target(exact.shape), simulator.noise_std**2, physics.upscale)
    else:
        form, otf = mean_spectrum(targets), physics.from_target(targets.shape[1:])
    rows = []
    for target, picture in zip(np.asarray(targets, np.float64), raw):
        if not np.ptp(target) > 0:
            continue
        if exact is not None:
            bound = process
        else:
            noise = float(np.mean(physics.variance(picture, picture)[0]))
            bound = super_resolution_mse(form * target.var(), otf, noise, physics.upscale)
        peak_db = 20 * np.log10(float(np.ptp(target)))
        rows.append([peak_db - 10 * np.log10(max(mse, 1e-30)) for mse in (bound.mse, bound.in_band_mse)])
    return dict(zip(("psnr_db", "in_band_psnr_db"), np.mean(rows, 0).tolist())) if rows else {}


def mean_spectrum(targets: np.ndarray) -> np.ndarray:
    """Mean radial power spectrum of pictures of unit variance, on their FFT grid; its mean is 1."""
    curves = []
    for target in np.asarray(targets, np.float64):
        frequency, power = radial_power(target / max(target.std(), 1e-12), window="hann")
        curves.append(power)
    radius = np.asarray(radial_frequency(targets.shape[1:]))
    # The lowest ring is what the window leaks of the mean: the next one stands for it.
    spectrum = np.interp(radius, frequency[1:], np.mean(curves, 0)[1:])
    spectrum[0, 0] = 0.0
    return spectrum / spectrum.mean()


def save_preview(
    path: Path, wide: np.ndarray, restored: np.ndarray, truth: np.ndarray, scale: np.ndarray | None, upscale: int
) -> None:
    """Input (enlarged), output and target for the page, as .npz; written aside and renamed."""
    arrays = {"input": np.stack([bicubic(image, upscale) for image in wide]), "output": restored, "target": truth}
    if scale is not None:
        arrays["scale"] = scale[..., 0]
    aside = path.with_suffix(".part")
    with aside.open("wb") as stream:
        np.savez_compressed(stream, names=np.array([f"held out {n}" for n in range(len(wide))]), **arrays)
    aside.replace(path)
