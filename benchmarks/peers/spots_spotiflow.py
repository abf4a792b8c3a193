"""Spots beside Spotiflow 0.6.5: the same simulated pictures, the same minutes of training, the same scores.

Three sets are simulated once as files: 240 pictures to train on, 48 to test on, and 32 of close pairs (sigma 1 px, 2 px apart,
2,000 photons). `bioflax train experiment=detect_spots data=points` and Spotiflow (its own network, losses and augmentation, crops
of 128) learn from the files, one after the other. Each tunes its threshold on pictures of the training set that it held out.

    python benchmarks/peers/spots_spotiflow.py --folder runs/spots_peer --steps 1500 --minutes 10 --spotiflow-python PYTHON
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMON = ["simulator=spots", "simulator.size=128", "simulator.sigma_px=[0.8,1.5]", "simulator.photons=[200,4000]"]
SETS = {
    "train": [*COMMON, "simulator.pair_share=[0.0,0.6]", "simulator.pair_distance_px=[1.5,5.0]", "fields=240", "seed=0"],
    "test": [*COMMON, "simulator.pair_share=[0.0,0.6]", "simulator.pair_distance_px=[1.5,5.0]", "fields=48", "seed=1"],
    "pairs": [
        "simulator=spots", "simulator.size=128", "simulator.sigma_px=1.0", "simulator.photons=2000",
        "simulator.pair_share=1.0", "simulator.pair_distance_px=2.0", "simulator.spots_per_px=0.002",
        "simulator.sigma_spread=0.0", "simulator.photons_spread=0.0", "simulator.clustered=0.0",
        "simulator.haze_share=0.0", "simulator.background_photons=10.0", "simulator.cell_photons=0.0", "fields=32", "seed=2",
    ],
}  # fmt: skip
HELD_OUT = 24  # pictures of the training set, the last ones, that the peer tunes its threshold on
APART_PX = 2.0


def read_points(path: Path) -> np.ndarray:
    """(N, 2) y and x, px."""
    with path.open() as stream:
        rows = [(float(row["y_px"]), float(row["x_px"])) for row in csv.DictReader(stream)]
    return np.array(rows, float).reshape(-1, 2)


def read_set(folder: Path) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    import tifffile

    paths = sorted((folder / "images").glob("*.tif"))
    points = [read_points(folder / "targets" / f"{path.stem}.csv") for path in paths]
    return [path.stem for path in paths], [tifffile.imread(path).astype(np.float32) for path in paths], points


def run_peer(folder: Path, minutes: float) -> None:
    """In the peer's environment: trains Spotiflow and writes what it finds."""
    import lightning.pytorch as pl
    from spotiflow.model import Spotiflow, SpotiflowModelConfig

    _, images, points = read_set(folder / "train")
    train = slice(0, len(images) - HELD_OUT)
    held = slice(len(images) - HELD_OUT, None)
    model = Spotiflow(SpotiflowModelConfig(sigma=1.0))
    settings = {"crop_size": 128, "batch_size": 4, "num_epochs": 10_000, "optimize_threshold": True}
    begun = time.monotonic()
    model.fit(
        images[train],
        points[train],
        images[held],
        points[held],
        save_dir=str(folder / "spotiflow"),
        train_config=settings,
        device="cpu",
        logger=pl.loggers.CSVLogger(str(folder / "spotiflow")),
        callbacks=[pl.callbacks.Timer(duration={"seconds": round(60 * minutes)})],
    )
    seconds = time.monotonic() - begun
    model = Spotiflow.from_folder(str(folder / "spotiflow"), map_location="cpu")
    found = {"seconds": seconds, "parameters": sum(p.numel() for p in model.parameters())}
    for name in ("test", "pairs"):
        stems, images, _ = read_set(folder / name)
        begun = time.monotonic()
        found[name] = {
            stem: model.predict(image, device="cpu", verbose=False)[0].tolist() for stem, image in zip(stems, images)
        }
        found[f"{name}_seconds"] = time.monotonic() - begun
    (folder / "spotiflow.json").write_text(json.dumps(found))


def run_own(folder: Path, steps: int) -> dict:
    """Trains bioflax from the files; what it finds, and the seconds of training."""
    from bioflax import hub
    from bioflax.predict import detect_objects

    run_dir = folder / f"bioflax_{steps}"
    files = ["data=points", f"data.folder={folder / 'train/images'}", f"data.targets={folder / 'train/targets'}"]
    command = ["train", "experiment=detect_spots", *files, f"train.steps={steps}", f"run_dir={run_dir}"]
    subprocess.run([sys.executable, "-m", "bioflax.cli", *command], check=True)
    result = json.loads((run_dir / "result.json").read_text())
    model = hub.load(run_dir)
    found = {"seconds": result["seconds"]["train"] + result["seconds"]["compile"], "parameters": result["parameters"]}
    for name in ("test", "pairs"):
        stems, images, _ = read_set(folder / name)
        begun = time.monotonic()
        found[name] = {stem: detect_objects(model, image[..., None]).position for stem, image in zip(stems, images)}
        found[f"{name}_seconds"] = time.monotonic() - begun
    return found


def close_pairs(points: np.ndarray, apart_px: float = APART_PX) -> np.ndarray:
    """(P, 2) rows of the spots that stand as far apart as the pairs do."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(apart_px + 0.01, output_type="ndarray")
    distance = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    return pairs[distance > apart_px - 0.01]


def share_of_pairs(folder: Path, steps: int, distances_px: list[float]) -> dict[str, dict[str, float]]:
    """Distance -> share of pairs of which bioflax finds both within 1 px, as published and with every pixel voting."""
    from bioflax import hub
    from bioflax.metrics import both_found
    from bioflax.predict.objects import candidates, suppress

    model, shares = hub.load(folder / f"bioflax_{steps}"), {}
    for apart in distances_px:
        place = folder / f"pairs_{apart:g}"
        if not (place / "images").exists():
            other = [part for part in SETS["pairs"] if not part.startswith(("simulator.pair_distance_px", "fields"))]
            other += [f"simulator.pair_distance_px={apart}", "fields=8", f"output={place}"]
            subprocess.run([sys.executable, "-m", "bioflax.cli", "simulate", *other], check=True)
        _, images, truth = read_set(place)
        shares[f"{apart:g}"] = {}
        for window, distance_px in ((1, 1.0), (0, 1.2)):
            decoding = dict(model.card.decoding)
            decoding["arguments"] = {**decoding["arguments"], "window": window}
            other_model = dataclasses.replace(model, card=dataclasses.replace(model.card, decoding=decoding))
            both = number = 0.0
            for image, points in zip(images, truth):
                found = candidates(other_model, image[..., None], decoding["threshold"])
                kept, pairs = suppress(found, overlap=0.4, distance_px=distance_px), close_pairs(points, apart)
                if len(pairs):
                    both += len(pairs) * both_found(points, kept.position, pairs, distance_px=1.0)
                    number += len(pairs)
            shares[f"{apart:g}"][f"window={window}"] = both / number
    return shares


def score(folder: Path, found: dict) -> dict[str, float]:
    from bioflax.metrics import both_found, f1_integral, score_points

    stems, _, truth = read_set(folder / "test")
    made = [np.asarray(found["test"][stem], float).reshape(-1, 2) for stem in stems]
    at = {distance: score_points(list(zip(truth, made)), float(distance)) for distance in (1, 3)}
    values = {f"f1_{distance}px_image_mean": float(np.mean(scores.per_image.f1)) for distance, scores in at.items()}
    values |= {f"f1_{distance}px": float(scores.pooled.f1) for distance, scores in at.items()}
    values["f1_integral"] = float(np.mean([f1_integral(a, b) for a, b in zip(truth, made)]))
    values["rmse_px"] = float(at[3].pooled.rmse_px)
    stems, _, truth = read_set(folder / "pairs")
    both, number = 0.0, 0
    for stem, points in zip(stems, truth):
        pairs = close_pairs(points)
        if len(pairs):
            share = both_found(points, np.asarray(found["pairs"][stem], float).reshape(-1, 2), pairs, distance_px=1.0)
            both, number = both + share * len(pairs), number + len(pairs)
    return {**values, "both_of_a_pair": both / number, "pairs": number}


def oracle(folder: Path) -> dict:
    """The Laplacian of Gaussian with the threshold that is best on the test pictures."""
    from bioflax.baselines.blobs import best_threshold, find_blobs

    found: dict = {"seconds": 0.0}
    sigma_px, threshold, _ = best_threshold(*read_set(folder / "test")[1:])
    for name in ("test", "pairs"):
        stems, images, _ = read_set(folder / name)
        found[name] = {stem: find_blobs(image, sigma_px, threshold)[0] for stem, image in zip(stems, images)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/spots_peer"))
    parser.add_argument("--steps", type=int, default=1500, help="of bioflax")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the peer")
    parser.add_argument("--spotiflow-python", help="python of an environment with spotiflow==0.6.5")
    parser.add_argument("--apart", type=float, nargs="*", default=[], help="distances of further pairs, px")
    parser.add_argument("--peer", action="store_true", help="used by the script itself")
    options = parser.parse_args()
    if options.peer:
        return run_peer(options.folder, options.minutes)
    for name, settings in SETS.items():
        if not (options.folder / name / "images").exists():
            made = [sys.executable, "-m", "bioflax.cli", "simulate", *settings, f"output={options.folder / name}"]
            subprocess.run(made, check=True)
    methods = {"log_oracle": oracle(options.folder), "bioflax": run_own(options.folder, options.steps)}
    if options.spotiflow_python:
        again = [
            options.spotiflow_python,
            __file__,
            "--peer",
            f"--folder={options.folder}",
            f"--minutes={options.minutes}",
        ]
        if not (options.folder / "spotiflow.json").exists():
            subprocess.run(again, check=True)
        methods["spotiflow 0.6.5"] = json.loads((options.folder / "spotiflow.json").read_text())
    from bioflax.runs import find_device, find_versions

    rows = {name: {"minutes": found["seconds"] / 60, **score(options.folder, found)} for name, found in methods.items()}
    for name, found in methods.items():
        rows[name] |= {key: found[key] for key in ("parameters", "test_seconds") if key in found}
    for name, row in rows.items():
        print(name, {key: round(value, 4) for key, value in row.items()})
    result = {"device": find_device(), "versions": find_versions(), "settings": SETS, "methods": rows}
    result["bioflax_finds_both_of_pairs"] = share_of_pairs(options.folder, options.steps, options.apart)
    print(result["bioflax_finds_both_of_pairs"])
    path = Path(__file__).resolve().parents[1] / "results" / "spots_spotiflow.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
