"""Runs side by side are the runs one by one, up to rounding; one that breaks or differs harms no other."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import bioflax.train.together
from bioflax.data.assemble import NormalizedSimulator
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError, TrainingError
from bioflax.functional import flatten_paths, purify
from bioflax.models import Model, Residual, UNet
from bioflax.simulate.scenes import Mixed
from bioflax.simulate.simulator import Simulator
from bioflax.tasks import Denoise, Supervised
from bioflax.train import fit, fit_together, make_optimizer, pays
from bioflax.train.devices import Hardware

STEPS, SEEDS = 12, (0, 1, 5)
SETTINGS = {"steps": STEPS, "batch": 2, "validate_every": 4, "checkpoint_every": 6, "log_every": 4, "quiet": True}
TASK, OPTIMIZER = Denoise(Supervised()), make_optimizer(STEPS, ema=0.9)


@partial(jax.tree_util.register_dataclass, data_fields=["clean", "noise"], meta_fields=[])
@dataclass(frozen=True)
class Toy:
    """A smooth picture and noise; both are leaves."""

    clean: jax.Array
    noise: float

    def sample(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
        image = self.clean + self.noise * jax.random.normal(key, (n, 16, 16, 1))
        return {"image": image, "target": jnp.broadcast_to(self.clean, image.shape)}


def net(seed: int, width: int = 4) -> Model:
    return Model(partial(UNet, width=width, depth=1), Residual, rngs=nnx.Rngs(seed))


def source(noise: float) -> Toy:
    return Toy(jnp.sin(jnp.arange(256.0).reshape(16, 16, 1) / 20), noise)


def held_out(noise: float) -> list[dict[str, np.ndarray]]:
    return [jax.device_get(source(noise).sample(jax.random.key(9), 3))]


def together(folder, noises=(0.2, 0.5, 1.0), steps=STEPS, **changed):
    settings = {**SETTINGS, "steps": steps, **changed}
    return fit_together(
        [net(seed) for seed in SEEDS], TASK, [source(noise) for noise in noises], OPTIMIZER,
        run_dirs=[folder / str(n) for n in range(3)], seeds=SEEDS, validations=[held_out(noise) for noise in noises], **settings,
    )  # fmt: skip


def difference(a, b) -> float:
    pairs = zip(flatten_paths(a).values(), flatten_paths(b).values(), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)))) for x, y in pairs)


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    return together(tmp_path_factory.mktemp("together"))


def test_each_run_is_what_fit_makes_of_it(side_by_side, tmp_path) -> None:
    for number, (seed, noise) in enumerate(zip(SEEDS, (0.2, 0.5, 1.0))):
        alone = fit(
            net(seed), TASK, source(noise), OPTIMIZER, run_dir=tmp_path / str(number), seed=seed,
            validation=held_out(noise), **SETTINGS,
        )  # fmt: skip
        one = side_by_side[number]
        assert difference(one.variables, alone.variables) < 2e-4
        assert one.best_step == alone.best_step and one.parameters == alone.parameters
        assert one.validation_loss == pytest.approx(alone.validation_loss, rel=1e-3)
    assert difference(side_by_side[0].variables, side_by_side[1].variables) > 1e-2, "the runs are not all the same"


def test_stopped_it_goes_on_and_fit_can_take_over(side_by_side, tmp_path) -> None:
    together(tmp_path, steps=6)
    again = together(tmp_path)
    assert difference(again[1].state.params, side_by_side[1].state.params) < 1e-6
    # A run folder is that of `fit`: with twice the steps fit goes on from step 12.
    longer = fit(
        net(1),
        TASK,
        source(0.5),
        OPTIMIZER,
        run_dir=tmp_path / "1",
        seed=1,
        validation=held_out(0.5),
        **{**SETTINGS, "steps": 24},
    )
    assert longer.step == 24
    assert (tmp_path / "1" / "metrics.jsonl").read_text().count('"loss"') == 8  # 4, 6, 8, 12 and so on, none twice


def test_a_signal_leaves_checkpoints_to_go_on_from(side_by_side, tmp_path, monkeypatch) -> None:
    means = bioflax.train.together._fetch

    def fetch(pending, done, broken):
        if done == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return means(pending, done, broken)

    monkeypatch.setattr(bioflax.train.together, "_fetch", fetch)
    with pytest.raises(SystemExit) as stopped:
        together(tmp_path)
    assert stopped.value.code == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert (tmp_path / "2" / "metrics.jsonl").read_text().count('"loss"') == 1
    again = together(tmp_path)
    assert (tmp_path / "2" / "metrics.jsonl").read_text().count('"loss"') == 4  # 4, 6, 8, 12: none twice
    assert difference(again[2].state.params, side_by_side[2].state.params) < 1e-6


def test_the_log_is_that_of_fit_and_frozen_weights_stay(tmp_path) -> None:
    settings = {**SETTINGS, "steps": 4, "freeze": ("head/*",)}
    both = {"validations": [held_out(0.2)] * 2, "run_dirs": [tmp_path / "a", tmp_path / "b"], "seeds": (0, 1)}
    found = fit_together([net(0), net(1)], TASK, [source(0.2)] * 2, OPTIMIZER, **both, **settings)
    fit(net(1), TASK, source(0.2), OPTIMIZER, run_dir=tmp_path / "c", seed=1, validation=held_out(0.2), **settings)
    logs = [[json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()] for run in "bc"]
    for together_, alone in zip(*logs, strict=True):
        for name in alone.keys() - {"seconds", "examples_per_s"}:
            assert together_[name] == pytest.approx(alone[name], rel=1e-3), name
    moved = {
        path
        for path, leaf in flatten_paths(purify(net(1)).variables).items()
        if not np.array_equal(leaf, flatten_paths(found[1].variables)[path])
    }
    assert moved and not any(path.startswith("head") for path in moved)


def test_steps_fit_the_calls(tmp_path) -> None:
    with pytest.raises(InputError, match="train.log_every: expected a positive multiple"):
        together(tmp_path, log_every=2, hardware=Hardware(steps_per_call=4), checkpoint_every=4)


def test_a_run_that_diverges_leaves_the_others(side_by_side, tmp_path) -> None:
    found = together(tmp_path, noises=(0.2, float("nan"), 1.0))
    assert isinstance(found[1], TrainingError) and "not finite" in str(found[1])
    assert difference(found[0].variables, side_by_side[0].variables) < 1e-6


def test_numbers_of_a_simulator_and_of_its_normalisation_may_differ(tmp_path) -> None:
    def simulated(photons: float) -> NormalizedSimulator:
        simulator = Simulator(Mixed(), photons=photons, background_photons=1.0, size=16, margin=4)
        return NormalizedSimulator(simulator, Normalization("mean_std", (100.0,), (photons,)), "target")

    settings = {**SETTINGS, "steps": 4, "checkpoint_every": 4}
    found = fit_together(
        [net(0), net(0)], TASK, [simulated(5.0), simulated(50.0)], OPTIMIZER,
        run_dirs=[tmp_path / "a", tmp_path / "b"], seeds=(0, 0), **settings,
    )  # fmt: skip
    alone = fit(net(0), TASK, simulated(50.0), OPTIMIZER, run_dir=tmp_path / "c", seed=0, **settings)
    assert difference(found[1].variables, alone.variables) < 2e-4
    assert difference(found[0].variables, found[1].variables) > 1e-4


def test_what_does_not_fit_together_is_named(tmp_path) -> None:
    simulators = [Simulator(Mixed(), photons=photons, size=16, margin=4) for photons in (5.0, (5.0, 50.0))]
    settings = {"steps": 4, "batch": 2, "quiet": True}
    with pytest.raises(InputError, match=r"data: .*photons.*another shape"):
        fit_together(
            [net(0), net(1)],
            TASK,
            simulators,
            OPTIMIZER,
            run_dirs=[tmp_path / "a", tmp_path / "b"],
            seeds=(0, 1),
            **settings,
        )
    with pytest.raises(InputError, match="model: .*another shape"):
        fit_together(
            [net(0), net(0, 8)],
            TASK,
            [source(1.0)] * 2,
            OPTIMIZER,
            run_dirs=[tmp_path / "c", tmp_path / "d"],
            seeds=(0, 1),
            **settings,
        )


def test_on_a_cpu_it_does_not_pay() -> None:
    assert not pays(Hardware())
