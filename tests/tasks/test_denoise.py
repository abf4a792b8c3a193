"""Schemes prepare what they promise; the loss is the published one; a hidden pixel cannot reach its own prediction."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.data.normalize import fit
from bioflax.errors import InputError
from bioflax.functional import purify
from bioflax.models import Model, Residual, UNet
from bioflax.tasks import Denoise, Noise2Noise, Noise2Void, Supervised

KEY = jax.random.key(3)


def test_supervised_and_noise2noise_pass_the_batch() -> None:
    batch = {"image": jnp.zeros((1, 4, 4, 1)), "target": jnp.ones((1, 4, 4, 1))}
    for scheme in (Supervised(), Noise2Noise()):
        assert scheme.prepare(KEY, batch) is batch


def test_loss_is_the_mean_over_blind_spots() -> None:
    rng = np.random.default_rng(0)
    batch = Noise2Void(percent=1.5).prepare(KEY, {"image": jnp.asarray(rng.normal(size=(2, 32, 32, 1)), jnp.float32)})
    prediction = {"image": jnp.asarray(rng.normal(size=(2, 32, 32, 1)), jnp.float32)}
    values, parts = Denoise(Noise2Void()).loss(prediction, batch)
    mask = np.asarray(batch["mask"], np.float64)
    error = (np.asarray(prediction["image"], np.float64) - np.asarray(batch["target"])) ** 2
    np.testing.assert_allclose(values, (error * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(parts["mse"], values, rtol=1e-6)


@pytest.mark.parametrize("replacement", ["uniform", "mean", "median"])
def test_a_hidden_pixel_does_not_reach_its_prediction(replacement) -> None:
    """Through a real net with a residual head: d prediction[i] / d input[i] = 0 at every blind spot i."""
    model = Model(partial(UNet, width=4, depth=1), Residual, rngs=nnx.Rngs(0))
    net = purify(model)
    scheme = Noise2Void(percent=2.0, replacement=replacement, radius=3)
    image = jax.random.normal(KEY, (1, 16, 16, 1))

    def at_blind_spots(x: jax.Array, number: int) -> jax.Array:
        batch = scheme.prepare(KEY, {"image": x})
        prediction = net.apply(net.variables, batch["image"])["image"]
        return (prediction * batch["mask"]).reshape(-1)[number]

    spots = np.flatnonzero(np.asarray(scheme.prepare(KEY, {"image": image})["mask"]).reshape(-1))
    for number in spots:
        gradient = np.asarray(jax.grad(at_blind_spots)(image, number)).reshape(-1)
        assert gradient[number] == 0
        assert np.abs(gradient).max() > 0


def test_structure_forbids_the_quarter_turn() -> None:
    assert Noise2Void().augment == ("flip", "rot90")
    assert Noise2Void(structure_axis="X").augment == ("flip",)
    assert Noise2Void(structure_axis="XY").augment == ("flip", "rot90")
    assert Noise2Void(structure_axis="XY", structure_kind="block", structure_span=5).structure == ((2, 2),)


def test_decode_inverts_the_normalization() -> None:
    normalization = fit("mean_std", [np.random.default_rng(0).normal(7, 3, (16, 16, 1))])
    decoded = Denoise().decode({"image": np.zeros((1, 2, 2, 1)), "scale": np.ones((1, 2, 2, 1))}, normalization)
    np.testing.assert_allclose(decoded["image"], 7, atol=0.5)
    np.testing.assert_allclose(decoded["scale"], 3, atol=0.5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Noise2Void(percent=0), "scheme.percent: expected more than 0"),
        (lambda: Noise2Void(replacement="zero"), "Take one of: uniform, mean, median"),
        (lambda: Noise2Void(radius=1), "scheme.radius"),
        (lambda: Noise2Void(structure_axis="Z"), "Take letters of YX"),
        (lambda: Noise2Void(structure_axis="X", structure_span=4), "odd number"),
        (lambda: Noise2Void(structure_axis="XY", structure_kind="block", structure_span=11), "leaves no pixel"),
        (lambda: Noise2Void(structure_kind="star"), "cross or block"),
        (lambda: Denoise(loss_name="huber"), "Take one of: squared_error"),
    ],
)
def test_errors_name_the_field(make, text) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_a_likelihood_needs_a_scale() -> None:
    batch = {"image": jnp.zeros((1, 4, 4, 1)), "target": jnp.zeros((1, 4, 4, 1))}
    with pytest.raises(InputError, match="needs a head that predicts scale: gaussian or laplace"):
        Denoise(loss_name="laplace_nll").loss({"image": batch["image"]}, batch)
