"""The task of super-resolution: every loss per example, its named parts, and what does not fit in one line."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax import metrics
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.tasks import SuperResolve

RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=(3, 16, 16, 1)).cumsum(1)
IMAGE = TARGET + RNG.normal(size=TARGET.shape)
SCALE = RNG.uniform(0.5, 2.0, TARGET.shape)
OVER = (1, 2, 3)
PREDICTION = {"image": jnp.float32(IMAGE)}
BATCH = {"image": jnp.zeros((3, 8, 8, 1)), "target": jnp.float32(TARGET)}
ERROR = IMAGE - TARGET


def band_error() -> np.ndarray:
    """Squared error of frequencies up to a quarter, a tenth of that of all others."""
    radius = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16)[None, :])
    weight = np.where(radius <= 0.25, 1.0, 0.1)
    return (weight * abs(np.fft.fft2(ERROR[..., 0])) ** 2 / 256).mean((1, 2))


def similarities(images: np.ndarray, targets: np.ndarray, ranges: list[float]) -> np.ndarray:
    return np.array([metrics.ssim(a[..., 0], b[..., 0], r) for a, b, r in zip(images, targets, ranges)])


LOSSES = {
    "absolute_error": lambda: abs(ERROR).mean(OVER),
    "squared_error": lambda: (ERROR**2).mean(OVER),
    "charbonnier": lambda: np.hypot(ERROR, 1e-3).mean(OVER),
    "fourier_band": band_error,
    "mse_ssim": lambda: (
        (ERROR**2).mean(OVER) + 0.1 * (1 - similarities(IMAGE, TARGET, [float(np.ptp(one)) for one in TARGET]))
    ),
    "gaussian_nll": lambda: (0.5 * (ERROR / SCALE) ** 2 + np.log(SCALE) + 0.5 * np.log(2 * np.pi)).mean(OVER),
    "laplace_nll": lambda: (abs(ERROR) / SCALE + np.log(2 * SCALE)).mean(OVER),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_per_example(name) -> None:
    task = SuperResolve(name)
    prediction = PREDICTION | ({"scale": jnp.float32(SCALE)} if name.endswith("nll") else {})
    found, parts = task.loss(prediction, BATCH)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, LOSSES[name](), rtol=2e-4)
    np.testing.assert_allclose(parts["mse"], (ERROR**2).mean(OVER), rtol=1e-5)
    metrics_found = {key: float(state.compute()) for key, state in task.metrics(prediction, BATCH).items()}
    assert set(metrics_found) == {"loss", *parts}
    assert metrics_found["loss"] == pytest.approx(float(LOSSES[name]().mean()), rel=2e-4)


def test_every_loss_is_tested() -> None:
    from bioflax.tasks.superres import LOSSES as known

    assert set(known) == set(LOSSES)


def test_a_batch_brought_to_one_range_has_no_gain_and_no_offset() -> None:
    task = SuperResolve("mse_ssim", batch_range=True, ssim_weight=0.3)
    found, parts = task.loss(PREDICTION, BATCH)
    image, target = ((array - array.min()) / np.ptp(array) for array in (IMAGE, TARGET))
    similar = similarities(image, target, [1.0] * 3)
    np.testing.assert_allclose(parts["ssim"], similar, atol=1e-4)
    np.testing.assert_allclose(found, ((image - target) ** 2).mean(OVER) + 0.3 * (1 - similar), rtol=1e-3)
    np.testing.assert_allclose(parts["mse"], (ERROR**2).mean(OVER), rtol=1e-5)  # of the pictures as they are
    again, _ = task.loss({"image": 5.0 * PREDICTION["image"] + 7.0}, BATCH)
    np.testing.assert_allclose(again, found, rtol=1e-3)


def test_an_even_target_has_a_finite_loss_and_slope() -> None:
    flat = {"target": jnp.zeros((3, 16, 16, 1)), "image": BATCH["image"]}
    for task in (SuperResolve("mse_ssim"), SuperResolve("mse_ssim", batch_range=True)):
        slope = jax.grad(lambda image, task=task: task.loss({"image": image}, flat)[0].sum())(PREDICTION["image"])
        assert np.isfinite(slope).all()


def test_a_batch_stays_as_it_is_and_results_come_back_in_the_unit_of_the_input() -> None:
    task = SuperResolve()
    assert task.name == "supervised" and task.mode == "target"
    assert task.prepare(jax.random.key(0), BATCH) is BATCH
    normalization = Normalization("mean_std", (100.0,), (20.0,))
    decoded = task.decode(PREDICTION | {"scale": jnp.float32(SCALE)}, normalization)
    assert set(decoded) == {"image", "scale"}
    np.testing.assert_allclose(decoded["image"], 20 * IMAGE + 100, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(decoded["scale"], 20 * SCALE, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"loss_name": "l1"}, "task.loss_name: 'l1' is not known. Take one of: absolute_error"),
        ({"ssim_weight": -0.1}, "task.ssim_weight: expected 0 or more, found -0.1"),
        ({"outside_weight": float("nan")}, "task.outside_weight: expected 0 or more, found nan"),
        ({"batch_range": True}, "task.batch_range: only task.loss_name=mse_ssim has it; found absolute_error"),
        (
            {"band_per_px": (0.3, 0.1)},
            r"task.band_per_px: expected two frequencies, low below high, found \(0.3, 0.1\)",
        ),
        ({"band_per_px": [0.1]}, r"task.band_per_px: .*found \(0.1,\)"),
    ],
)
def test_bad_settings_are_named(arguments, says) -> None:
    with pytest.raises(InputError, match=says) as caught:
        SuperResolve(**arguments)
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_fit_the_loss_are_named() -> None:
    with pytest.raises(InputError, match="gaussian_nll needs a head that predicts scale: gaussian or laplace"):
        SuperResolve("gaussian_nll").loss(PREDICTION, BATCH)
    with pytest.raises(InputError, match="absolute_error would leave the head's scale untrained"):
        SuperResolve().loss(PREDICTION | {"scale": jnp.float32(SCALE)}, BATCH)


def test_a_prediction_of_another_size_names_the_upscale() -> None:
    says = (
        r"head.upscale: the model makes \(8, 8, 1\) of a picture of \(8, 8, 1\), the targets are \(16, 16, 1\). "
        "Set head.upscale and head.channels_out to fit the data."
    )
    with pytest.raises(InputError, match=says):
        SuperResolve().loss({"image": jnp.zeros((3, 8, 8, 1))}, BATCH)
