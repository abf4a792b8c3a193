"""The localization task: its loss is the published one, dim emitters leave, predictions decode to where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax import losses
from bioflax.errors import InputError
from bioflax.tasks import Localize


def batch_of(generator, n=3, side=8, room=5):
    uniform = lambda *shape: jnp.asarray(generator.uniform(0, 1, shape), jnp.float32)  # noqa: E731
    prediction = {
        "logit": 4 * uniform(n, side, side, 1) - 4,
        "mean": uniform(n, side, side, 4),
        "spread": 0.1 + uniform(n, side, side, 4),
        "background": uniform(n, side, side, 1),
    }
    batch = {
        "x_px": uniform(n, room) * (side - 1),
        "y_px": uniform(n, room) * (side - 1),
        "z": uniform(n, room) - 0.5,
        "photons": uniform(n, room),
        "mask": jnp.asarray(generator.integers(0, 2, (n, room)), jnp.float32),
        "background": uniform(n, side, side, 1),
    }
    return prediction, batch


@pytest.fixture
def drawn():
    return batch_of(np.random.default_rng(0))


def test_the_loss_is_that_of_its_name(drawn) -> None:
    prediction, batch = drawn
    expected = losses.emitter_nll(prediction, batch, batch["background"], count_on_empty=True)
    loss, parts = Localize().loss(prediction, batch)
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-6)
    assert set(parts) == {"count", "mixture", "background"}
    assert "cross_entropy" in Localize("fd_deeploc").loss(prediction, batch)[1]
    np.testing.assert_allclose(
        Localize("liteloc").loss(prediction, batch)[0], losses.liteloc_nll(prediction, batch)["loss"], rtol=1e-6
    )


def test_memory_options_leave_the_loss_as_it_is(drawn) -> None:
    prediction, batch = drawn
    whole = Localize().loss(prediction, batch)[0]
    np.testing.assert_allclose(Localize(chunk=2).loss(prediction, batch)[0], whole, rtol=1e-5)
    np.testing.assert_allclose(Localize(window=8).loss(prediction, batch)[0], whole, rtol=1e-5)


def test_dim_emitters_are_not_asked_for(drawn) -> None:
    _, batch = drawn
    kept = Localize(least_photons=0.5).prepare(jax.random.key(0), batch)["mask"]
    np.testing.assert_array_equal(kept > 0, (batch["mask"] > 0) & (batch["photons"] > 0.5))


def test_metrics_merge_and_count(drawn) -> None:
    prediction, batch = drawn
    states = Localize().metrics(prediction, batch)
    found = np.asarray(jax.nn.sigmoid(prediction["logit"]).sum((1, 2, 3)) - batch["mask"].sum(1)).mean()
    assert float(states["count_error"].compute()) == pytest.approx(found, rel=1e-5)
    halves = [batch_of(np.random.default_rng(1), n=n) for n in (1, 2)]
    merged = Localize().metrics(*halves[0])["loss"].merge(Localize().metrics(*halves[1])["loss"])
    each = np.concatenate([Localize().loss(*half)[0] for half in halves])
    assert float(merged.compute()) == pytest.approx(each.mean(), rel=1e-5)


def test_a_sharp_prediction_decodes_to_its_emitter() -> None:
    logit = jnp.full((1, 8, 8, 1), -8.0).at[0, 3, 5, 0].set(6.0)
    mean = jnp.zeros((1, 8, 8, 4)).at[0, 3, 5].set(jnp.array([0.7, 0.25, -0.25, 0.1]))
    found = Localize().decode({"logit": logit, "mean": mean, "spread": jnp.full((1, 8, 8, 4), 0.1)}, max_emitters=4)
    assert int(found["mask"].sum()) == 1
    assert float(found["x_px"][0, 0]) == pytest.approx(5.25) and float(found["y_px"][0, 0]) == pytest.approx(2.75)


def test_what_it_needs_and_what_it_refuses() -> None:
    task = Localize()
    assert (task.mode, task.augment, task.name) == ("emitters", (), "simulation_decode")
    for arguments, message in (
        ({"loss_name": "mse"}, "loss_name"),
        ({"window": 0}, "window"),
        ({"threshold": 0.0}, "threshold"),
    ):
        with pytest.raises(InputError, match=message):
            Localize(**arguments)
