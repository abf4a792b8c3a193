"""The bound is real: a net on a stationary Gaussian process comes within 0.2 dB of the Wiener filter, and not below it."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from bioflax import hub
from bioflax.configuration import run
from bioflax.optics import bounds
from bioflax.simulate import GaussianProcess

pytestmark = pytest.mark.acceptance
INNER = slice(64, 128)  # of 192 pixels: the receptive field of the net sees no border


def test_a_net_comes_close_to_the_wiener_filter(tmp_path) -> None:
    assert run("train", ["experiment=denoise_gaussian_process", f"run_dir={tmp_path / 'run'}"]) == 0
    model = hub.load(tmp_path / "run")
    process = GaussianProcess(size=192)
    errors, wiener_errors = [], []
    for number in range(16):
        batch = jax.device_get(process.sample(jax.random.key(1000 + number), 4))
        restored = model.restore(batch["image"])["image"]
        errors.append(np.mean((restored - batch["target"])[:, INNER, INNER] ** 2))
        # The same filter on the same pictures; its borders are periodic, so only the middle counts.
        spectrum = bounds.power_law_spectrum((192, 192), process.correlation_px, exponent=process.exponent)
        filtered = bounds.wiener(batch["image"][..., 0], spectrum, process.noise_std**2)[..., None]
        wiener_errors.append(np.mean((filtered - batch["target"])[:, INNER, INNER] ** 2))
    loss_db = 10 * math.log10(np.mean(errors) / np.mean(wiener_errors))
    bound_db = 10 * math.log10(np.mean(wiener_errors) / process.wiener_mse)
    print(
        f"net {np.mean(errors):.5f}, Wiener {np.mean(wiener_errors):.5f}, bound {process.wiener_mse:.5f}, loss {loss_db:.3f} dB"
    )
    assert abs(bound_db) < 0.1  # the bound is what the filter reaches
    assert -0.02 < loss_db <= 0.2
