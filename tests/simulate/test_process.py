"""The blurred process: picture and field fit the forward model, and the exact bound is the error of the best filter."""

import jax
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import WidefieldOptics
from bioflax.optics.resolution_bounds import super_resolution_mse, super_resolve_linear
from bioflax.simulate import BlurredProcess
from bioflax.typing import DeviceSource

sample = jax.jit(lambda source, key, n: source.sample(key, n), static_argnums=2)


def test_the_best_linear_filter_reaches_the_bound_on_its_samples() -> None:
    source = BlurredProcess(size=16, margin=0, noise_std=0.2, correlation_px=3.0)
    batch = sample(source, jax.random.key(0), 64)
    assert isinstance(source, DeviceSource)
    assert batch["image"].shape == (64, 16, 16, 1) and batch["target"].shape == (64, 32, 32, 1)
    field, image = np.asarray(batch["target"][..., 0]), np.asarray(batch["image"][..., 0])
    otf = np.asarray(source.imaging.otf((32, 32)))
    bound = super_resolution_mse(source.spectrum, otf, 0.04, 2)
    error = np.mean((super_resolve_linear(image, source.spectrum, otf, 0.04, 2) - field) ** 2)
    assert error == pytest.approx(bound.mse, rel=0.04)
    assert bound.in_band_mse < bound.mse < 0.5 * source.spectrum.mean()
    residual = image - np.asarray(source.imaging.forward(field))
    assert residual.var() == pytest.approx(0.04, rel=0.04)


def test_margins_are_cut_and_the_picture_still_lies_on_its_field() -> None:
    source = BlurredProcess(size=12, margin=6, noise_std=1e-3, correlation_px=4.0, upscale=3)
    batch = sample(source, jax.random.key(1), 4)
    assert batch["image"].shape == (4, 12, 12, 1) and batch["target"].shape == (4, 36, 36, 1)
    assert source.spectrum.shape == (72, 72) and source.spectrum.mean() == pytest.approx(1.0)
    field, image = np.asarray(batch["target"][..., 0]), np.asarray(batch["image"][..., 0])
    # Away from the borders the light from outside the field, which was cut away, is missed by little.
    inner = (slice(None), slice(4, -4), slice(4, -4))
    seen = np.asarray(source.imaging.forward(field))
    assert np.abs(image - seen)[inner].max() < 0.05 * field.std()
    shifted = np.asarray(source.imaging.forward(np.roll(field, 1, axis=2)))
    assert np.abs(image - shifted)[inner].max() > 0.2 * field.std()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"upscale": 9}, "BlurredProcess.upscale: expected a whole number from 1 to 8, found 9"),
        ({"size": 4}, "size of at least 8 and a margin of at least 0 camera pixels, found 4"),
        ({"noise_std": 0.0}, "noise_std and correlation_px above 0, found 0.0"),
        ({"optics": WidefieldOptics(), "margin": -1}, "found 32 and -1"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        BlurredProcess(**fields)
