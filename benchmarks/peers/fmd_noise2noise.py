"""PSNR against wall time on the 48 real frames of FMD: `bioflax train experiment=denoise_fmd_n2n`, stopped and continued.

The command is sent SIGTERM at each time budget; the weights it saved are judged; the same command then goes on, bit for bit. So
one training gives the whole curve. The peer is CAREamics 0.3.5 Noise2Noise (its defaults, patches 96, batch 8) on the same frames
and two cores; its points in PEER were measured beforehand, 696 and about 4,180 steps, and are not measured again by this script.

    python benchmarks/peers/fmd_noise2noise.py --data .../fmd --run-dir runs/fmd_n2n [--minutes 3 8 16]
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import nnx

from bioflax.configuration import build
from bioflax.data import Normalization, fit, pair_files
from bioflax.functional import merge, purify
from bioflax.io import open_image
from bioflax.metrics import psnr
from bioflax.train import Checkpoints, create_state
from bioflax.train.optim import averaged

# (minutes, PSNR dB): mean of the same 48 frames after 696 and about 4,180 steps on two cores.
PEER = {"CAREamics 0.3.5 Noise2Noise": [(177 / 60, 32.26), (987 / 60, 32.98)]}


def train_until(command: list[str], run_dir: Path, minutes: float | None) -> bool:
    """Starts or continues the training; stops it when `metrics.jsonl` shows that many minutes. True when it finished."""
    process = subprocess.Popen(command)
    while process.poll() is None:
        time.sleep(1)
        if minutes is not None and elapsed(run_dir) >= 60 * minutes:
            process.send_signal(signal.SIGTERM)
            process.wait()
            return False
    if process.returncode:
        raise SystemExit(f"training failed with exit code {process.returncode}")
    return True


def elapsed(run_dir: Path) -> float:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])["seconds"] if lines else 0.0


def judge(run_dir: Path, data: Path, normalization: Normalization) -> tuple[int, float, float]:
    """(step, minutes of training, mean PSNR of the 48 frames) of the newest checkpoint."""
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    net = purify(build(config["model"], rngs=nnx.Rngs(0)))
    with Checkpoints(run_dir / "checkpoints") as checkpoints:
        state, meta = checkpoints.restore(create_state(net, build(config["optim"])))
    variables = merge(state.frozen, averaged(state.opt_state, state.params))
    apply = jax.jit(lambda image: net.apply(variables, image)["image"])
    values = []
    for noisy, clean in pair_files(data / "raw", data / "gt"):
        image = normalization.apply(open_image(noisy).read().astype(np.float32)[None, ..., None])
        restored = np.asarray(normalization.invert(apply(jnp.asarray(image))))[0, ..., 0]
        values.append(float(psnr(restored, open_image(clean).read().astype(np.float32), 255, clip=(0, 255))))
    return int(state.step), meta["elapsed"] / 60, float(np.mean(values))


def draw(result: dict, path: Path) -> None:
    """PSNR against wall time, ours and the peer's, with the lines that a linear filter cannot pass."""
    from matplotlib.figure import Figure

    figure = Figure((6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*[(row["minutes"], row["psnr_db"]) for row in result["bioflax"]]), "o-", label="bioflax Noise2Noise")
    for name, points in result["peer"].items():
        axes.plot(*zip(*points), "s--", label=name)
    for level, name in ((34.02, "oracle Gaussian"), (34.47, "oracle Wiener"), (27.22, "noisy")):
        axes.axhline(level, color="0.7", lw=0.8)
        axes.annotate(name, (0.5, level), xytext=(0, 2), textcoords="offset points", color="0.4", fontsize=8)
    axes.set(xlabel="training, minutes on two CPU cores", ylabel="PSNR, dB (48 frames)", xlim=(0, None))
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and gt/")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/fmd_n2n"))
    parser.add_argument("--minutes", type=float, nargs="*", default=[3, 8, 16])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fmd_noise2noise.json"))
    parser.add_argument("overrides", nargs="*", help="further overrides, such as train.steps=2400")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "bioflax.cli", "train", "experiment=denoise_fmd_n2n"]
    command += [f"data.folder={arguments.data / 'raw'}", f"run_dir={arguments.run_dir}", *arguments.overrides]
    frames = [
        open_image(path).read()[..., None] for path, _ in pair_files(arguments.data / "raw", arguments.data / "gt")
    ]
    rows = []
    for minutes in [*arguments.minutes, None]:
        finished = train_until(command, arguments.run_dir, minutes)
        if finished:
            card = json.loads((arguments.run_dir / "model" / "card.json").read_text())
            normalization = Normalization.from_json(card["normalization"])
        else:
            normalization = fit("mean_std", [frame for frame in frames if frame is not None])
        step, spent, value = judge(arguments.run_dir, arguments.data, normalization)
        rows.append({"step": step, "minutes": spent, "psnr_db": value})
        print(rows[-1], flush=True)
        result = {
            "bioflax": rows,
            "peer": PEER,
            "device": jax.devices()[0].device_kind,
            "command": " ".join(command[2:]),
        }
        result["command"] = result["command"].replace(str(arguments.data), "FMD")
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
        if finished:
            break
    draw(result, arguments.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
