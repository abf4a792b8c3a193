"""One model over two processes: the numbers of one process, written by the first alone; it stops together and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.train import Hardware, fit, make_optimizer
from bioflax.train.distributed import bring_home, told

STEPS, LIMIT_S = 8, 180


@partial(jax.tree_util.register_dataclass, data_fields=["clean", "noise"], meta_fields=[])
@dataclass(frozen=True)
class Toy:
    """A device source with an array and a number as leaves."""

    clean: np.ndarray
    noise: float

    def sample(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
        image = self.clean + self.noise * jax.random.normal(key, (n, 16, 16, 1))
        return {"image": image, "target": jnp.broadcast_to(self.clean, image.shape)}


@dataclass(frozen=True)
class Files:
    """A host source; all its examples differ. Asked for a step, it may tell its own process to stop."""

    signal_at: int | None = None

    def batch(self, step: int) -> dict[str, np.ndarray]:
        if step == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        image = np.random.default_rng(step).normal(size=(4, 16, 16, 1)).astype(np.float32)
        return {"image": image, "target": 0.5 * image}


def train(folder: Path, source, hardware: Hardware):
    from flax import nnx

    from bioflax.models import Direct, Model, UNet
    from bioflax.tasks import Denoise, Supervised

    norm = "batch" if isinstance(source, Files) else None  # its statistics are those of the whole batch
    held_out = [jax.tree.map(lambda leaf: leaf[:3], Files().batch(99))]
    return fit(
        Model(partial(UNet, width=4, depth=1, norm=norm), Direct, rngs=nnx.Rngs(0)),
        Denoise(Supervised()),
        source,
        make_optimizer(STEPS, learning_rate=1e-2, ema=0.9),
        steps=STEPS,
        run_dir=folder,
        batch=4,
        validation=held_out,
        validate_every=4,
        checkpoint_every=4,
        log_every=2,
        hardware=hardware,
        quiet=True,
    )


def toy() -> Toy:
    return Toy(np.sin(np.arange(256.0, dtype=np.float32).reshape(16, 16, 1) / 20), 0.5)


def work(folder: Path, port: str, process: int) -> None:
    """What each of the two processes does."""
    hardware = Hardware(devices=0, coordinator=f"127.0.0.1:{port}", processes=2, process=process)
    hardware.join()
    own = folder if process == 0 else folder / "second"  # the folder need not be shared: the second is not to write
    found = {"devices": hardware.number}
    device = train(own / "device", toy(), hardware)
    halted = train(own / "host", Files(signal_at=4 if process == 1 else None), hardware)
    host = train(own / "host", Files(), hardware)
    found |= {"halted": [halted.step, halted.interrupted], "done": [host.step, host.interrupted]}
    found["told"] = told(["ä", process])
    (folder / f"found{process}.json").write_text(json.dumps(found))
    leaves = jax.tree.leaves(bring_home((device.variables, host.variables, host.state)))
    np.savez(folder / f"leaves{process}.npz", *leaves)
    with pytest.raises(InputError, match=r"hardware.devices: expected 0, all 2 devices"):
        Hardware(devices=1).check_batch(4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    environment = {**os.environ, "XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    with contextlib.ExitStack() as stack:
        both = []
        for process in (0, 1):
            said = stack.enter_context((folder / f"said{process}.txt").open("w"))
            command = [sys.executable, __file__, str(folder), str(port), str(process)]
            both.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
            stack.callback(both[-1].kill)
        deadline = time.monotonic() + LIMIT_S
        while any(one.poll() is None for one in both) and time.monotonic() < deadline:
            if any(one.poll() for one in both):  # the other one would wait for it
                break
            time.sleep(0.1)
        codes = [one.poll() for one in both]
    assert codes == [0, 0], "\n".join((folder / f"said{process}.txt").read_text() for process in (0, 1))
    return folder


def lines(folder: Path, name: str) -> dict[int, float]:
    """{step: value} of `metrics.jsonl`."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in read if name in line}


@pytest.mark.parametrize(("kind", "source"), [("device", toy()), ("host", Files())])
def test_two_processes_have_the_loss_of_one(pair, tmp_path, kind, source) -> None:
    alone = train(tmp_path, source, Hardware())
    # Biases before batch normalisation have no gradient but rounding, which Adam makes large: the loss does not see them.
    for name in ("loss",) if kind == "host" else ("loss", "validation_loss"):
        one, two = lines(tmp_path, name), lines(pair / kind, name)
        assert list(one) == list(two) and len(one) == (4 if name == "loss" else 2), "all steps, none twice"
        np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=1e-5)
    if kind == "device":  # what the two wrote, one process can go on from; here it is finished
        again = train(pair / kind, source, Hardware())
        assert again.step == STEPS and again.best_step == alone.best_step
        for a, b in zip(jax.tree.leaves(again.state), jax.tree.leaves(alone.state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_signal_to_one_stops_both_at_one_step_and_they_go_on(pair) -> None:
    first, second = (json.loads((pair / f"found{process}.json").read_text()) for process in (0, 1))
    assert first["halted"] == second["halted"] and first["halted"][1] == "SIGTERM"
    assert 0 < first["halted"][0] < STEPS
    assert first["done"] == second["done"] == [STEPS, None]


def test_all_get_the_result_and_only_the_first_writes(pair) -> None:
    with np.load(pair / "leaves0.npz") as first, np.load(pair / "leaves1.npz") as second:
        assert len(first.files) == len(second.files) > 20
        assert all(np.array_equal(first[name], second[name]) for name in first.files)
    assert not (pair / "second").exists()
    found = json.loads((pair / "found1.json").read_text())
    assert found["devices"] == 2 and found["told"] == ["ä", 0]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"coordinator": "node7"}, "hardware.coordinator: expected host:port"),
        ({"processes": 2}, "hardware.coordinator: 2 processes need the host:port"),
        ({"processes": 0}, "hardware.processes: expected at least 1"),
        ({"coordinator": "node7:5000", "processes": 2, "process": 2}, "hardware.process: expected 0 to 1, found 2"),
        ({"coordinator": "auto"}, "hardware.coordinator: 'auto' cannot be joined"),
    ],
)
def test_errors_name_the_field(settings, text) -> None:
    jax.devices()  # JAX has begun: it is too late to join
    with pytest.raises(InputError, match=text):
        Hardware(**settings).join()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
