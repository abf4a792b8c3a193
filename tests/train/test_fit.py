"""Training: resume is exact, devices and steps a call do not change the result, failures say where."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioflax.errors import InputError, TrainingError
from bioflax.functional import flatten_paths, purify
from bioflax.models import Direct, Laplace, Model, Residual, UNet
from bioflax.tasks import Denoise, Noise2Void, Supervised
from bioflax.train import Hardware, create_state, derive_key, fit, make_optimizer, make_step


@partial(jax.tree_util.register_dataclass, data_fields=["clean"], meta_fields=[])
@dataclass(frozen=True)
class Toy:
    """A device source: a smooth picture and noise."""

    clean: jax.Array

    def sample(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
        image = self.clean + 0.5 * jax.random.normal(key, (n, 16, 16, 1))
        return {"image": image, "target": jnp.broadcast_to(self.clean, image.shape)}


@dataclass
class Files:
    """A host source: batches are a function of the step; can be told to break, to bring NaN, or to be told to stop."""

    fail_at: int | None = None
    nan_at: int | None = None
    signal_at: int | None = None

    def batch(self, step: int) -> dict[str, np.ndarray]:
        if step == self.fail_at:
            raise OSError("the disk went away")
        if step == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        rng = np.random.default_rng(step)
        image = rng.normal(size=(4, 16, 16, 1)).astype(np.float32)
        if step == self.nan_at:
            image[0, 0, 0, 0] = np.nan
        return {"image": image, "target": 0.5 * image}


TOY = Toy(jnp.sin(jnp.arange(256.0).reshape(16, 16, 1) / 20))


def model(head=Residual, **arguments) -> Model:
    return Model(partial(UNet, width=4, depth=1, **arguments), head, rngs=nnx.Rngs(0))


def run(folder: Path, source=TOY, *, steps=8, task=None, net=None, **arguments):
    return fit(
        net or model(),
        task or Denoise(Supervised()),
        source,
        make_optimizer(steps, learning_rate=1e-2, ema=0.9),
        steps=steps,
        run_dir=folder,
        batch=4,
        quiet=True,
        **{"checkpoint_every": 2, "validate_every": 4, "log_every": 1, **arguments},
    )


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_logs(tmp_path) -> None:
    fitted = run(tmp_path, steps=60, checkpoint_every=30, validate_every=30)
    losses = [line["loss"] for line in lines(tmp_path)]
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 61))
    assert fitted.step == 60 and fitted.seconds["compile"] > 0
    assert fitted.parameters == 1221


@pytest.mark.parametrize("norm", [None, "batch"])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, norm) -> None:
    net = model(Direct, norm=norm)
    validation = [TOY.sample(derive_key(0, "held out"), 4)]
    whole = run(tmp_path / "whole", Files(), net=net, validation=validation)
    with pytest.raises(OSError, match="went away"):
        run(tmp_path / "broken", Files(fail_at=5), net=net, validation=validation)
    resumed = run(tmp_path / "broken", Files(), net=net, validation=validation)
    assert same(whole.state, resumed.state) and same(whole.variables, resumed.variables)
    assert whole.best_step == resumed.best_step

    def told(folder: str) -> list[dict]:
        return [
            {k: v for k, v in line.items() if k not in ("seconds", "examples_per_s")}
            for line in lines(tmp_path / folder)
        ]

    assert told("whole") == told("broken")


def test_a_signal_saves_and_the_same_call_goes_on(tmp_path) -> None:
    whole = run(tmp_path / "whole", Files(), steps=40, checkpoint_every=40, validate_every=40)
    first = run(tmp_path / "broken", Files(signal_at=20), steps=40, checkpoint_every=40, validate_every=40)
    assert first.interrupted == "SIGTERM" and 0 < first.step < 40
    second = run(tmp_path / "broken", Files(), steps=40, checkpoint_every=40, validate_every=40)
    assert second.interrupted is None and same(whole.state, second.state)


def test_the_best_weights_are_kept(tmp_path) -> None:
    validation = [TOY.sample(derive_key(0, "held out"), 4)]
    fitted = run(tmp_path, steps=12, validation=validation)
    judged = {line["step"]: line["validation_loss"] for line in lines(tmp_path) if "validation_loss" in line}
    assert set(judged) == {4, 8, 12}
    assert fitted.best_step == min(judged, key=judged.get)
    assert fitted.validation_loss == pytest.approx(min(judged.values()), rel=1e-5)


def test_a_non_finite_loss_stops_with_its_step(tmp_path) -> None:
    with pytest.raises(TrainingError, match="not finite at step 6. The checkpoint of step 4"):
        run(tmp_path, Files(nan_at=5), log_every=4)
    again = run(tmp_path, Files(), log_every=4)
    assert again.step == 8


def test_a_checkpoint_of_another_model_is_refused(tmp_path) -> None:
    run(tmp_path, steps=2)
    with pytest.raises(InputError, match="does not fit this model"):
        run(tmp_path, steps=4, net=Model(partial(UNet, width=6, depth=1), Residual, rngs=nnx.Rngs(0)))


def test_a_damaged_checkpoint_is_refused(tmp_path) -> None:
    run(tmp_path, steps=2)
    for path in (tmp_path / "checkpoints" / "latest").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        run(tmp_path, steps=4)


def test_four_devices_give_the_loss_of_one(tmp_path) -> None:
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    run(tmp_path / "one", steps=4)
    run(tmp_path / "four", steps=4, hardware=Hardware(devices=4))
    one, four = lines(tmp_path / "one"), lines(tmp_path / "four")
    np.testing.assert_allclose([line["loss"] for line in four], [line["loss"] for line in one], rtol=1e-5)
    run(tmp_path / "files", Files(), steps=4, hardware=Hardware(devices=4))


@pytest.mark.parametrize("source", [TOY, Files()], ids=["device", "host"])
def test_several_steps_a_call_equal_single_steps(tmp_path, source) -> None:
    one = run(tmp_path / "one", source, steps=8, checkpoint_every=4, log_every=4)
    four = run(tmp_path / "four", source, steps=8, checkpoint_every=4, log_every=4, hardware=Hardware(steps_per_call=4))
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(four.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_a_float32_state(tmp_path) -> None:
    fitted = run(tmp_path, hardware=Hardware(precision="bfloat16"))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(fitted.state)} == {"float32", "int32"}


def test_frozen_parameters_stay(tmp_path) -> None:
    net = model()
    fitted = run(tmp_path, net=net, freeze=("backbone/encoder/*",))
    before, after = flatten_paths(purify(net).variables), flatten_paths(fitted.variables)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved and not any(path.startswith("backbone/encoder") for path in moved)


def test_one_compile(tmp_path) -> None:
    hardware, task = Hardware(), Denoise(Supervised())
    net, optimizer = purify(model()), make_optimizer(8)
    step = jax.jit(make_step(net, task, optimizer, batch_size=4, seed=0, hardware=hardware), donate_argnums=0)
    state = create_state(net, optimizer)
    for _ in range(3):
        state, _ = step(state, TOY)
    assert step._cache_size() == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_step_lowers_for_accelerators(platform, precision) -> None:
    hardware = Hardware(precision=precision, steps_per_call=2)
    optimizer = make_optimizer(8, ema=0.9)
    cases = [
        (Denoise(Supervised()), Residual),
        (Denoise(Noise2Void(percent=2.0, structure_axis="X")), Direct),
        (Denoise(Supervised(), "laplace_nll"), Laplace),
    ]
    for task, head in cases:
        net = purify(model(head))
        step = make_step(net, task, optimizer, batch_size=4, seed=0, hardware=hardware)
        exported = jax.export.export(jax.jit(step), platforms=[platform])(create_state(net, optimizer), TOY)
        assert exported.platforms == (platform,) and "convolution" in exported.mlir_module()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "train.steps: expected at least 1"),
        ({"log_every": 3, "hardware": Hardware(steps_per_call=2)}, "train.log_every: expected a positive multiple"),
        ({"hardware": Hardware(devices=3)}, "train.batch: expected a positive multiple of the 3 device"),
        ({"hardware": Hardware(devices=99)}, "hardware.devices: 99 asked for"),
    ],
)
def test_errors_name_the_field(tmp_path, arguments, text) -> None:
    with pytest.raises(InputError, match=text):
        run(tmp_path, **arguments)


def test_a_signal_at_a_checkpoint_is_saved_once(tmp_path) -> None:
    """Every step is a checkpoint, so the signal always falls on one: what is being written must not be touched again."""
    whole = run(tmp_path / "whole", Files(), steps=12, checkpoint_every=1, validate_every=12)
    first = run(tmp_path / "broken", Files(signal_at=6), steps=12, checkpoint_every=1, validate_every=12)
    assert first.interrupted == "SIGTERM" and 0 < first.step < 12
    second = run(tmp_path / "broken", Files(), steps=12, checkpoint_every=1, validate_every=12)
    assert same(whole.state, second.state)
