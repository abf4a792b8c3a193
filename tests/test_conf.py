"""Every YAML composes and builds; experiments stay small; the gate lets nothing else through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from bioflax.configuration import build, check_arguments
from bioflax.errors import InputError
from bioflax.functional import outline
from bioflax.io import save_image
from bioflax.optics.psf import Gaussian
from bioflax.train import fit

CONF = Path(__file__).resolve().parents[1] / "conf"
GROUPS = ("task", "backbone", "head", "optim", "hardware", "data", "experiment", "scene", "camera", "psf")
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
# What a choice needs beside itself; by default some folder.
NEEDS = {
    ("data", "simulated"): [],
    ("data", "gaussian_process"): [],
    ("data", "emitters"): [],
    ("data", "simulated_pairs"): [],
    ("data", "blurred_process"): [],
    ("experiment", "super_resolve"): [],
    ("experiment", "super_resolve_dfcan"): [],
    ("experiment", "super_resolve_frames"): [],
    ("experiment", "super_resolve_gaussian_process"): [],
    ("experiment", "super_resolve_sim"): ["data.folder=images", "data.targets=fine"],
    ("data", "pairs"): ["data.folder=images", "data.targets=fine"],
    ("scene", ""): ["data=simulated"],
    ("camera", ""): ["data=simulated"],
    ("psf", ""): ["data=emitters"],
    ("experiment", "denoise_gaussian_process"): [],
    ("experiment", "denoise_simulated"): [],
    ("experiment", "localize_astigmatic"): [],
    ("backbone", "decode"): ["data=emitters", "head=emitters"],
    ("backbone", "decode_small"): ["data=emitters", "head=emitters"],
    ("backbone", "liteloc"): ["data=emitters", "head=emitters"],
    ("backbone", "unet_stardist"): ["data.folder=images", "head=star"],
    ("data", "simulated_spots"): [],
    ("data", "simulated_nuclei"): [],
    ("experiment", "detect_spots"): [],
    ("task", "detect_stardist"): ["data.folder=images", "head=star"],
    ("head", "centres"): ["data.folder=images", "task=detect_centernet"],
}
COMMANDS = [path.stem for path in sorted(CONF.glob("*.yaml")) if not path.stem.startswith("_")]


def composed(command: str, *overrides: str) -> dict:
    with initialize_config_module("bioflax.conf", version_base="1.3"):
        config = compose(command, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=[f"{group}={name}" for group, name in CHOICES])
def test_every_choice_composes_and_builds(group, name, tmp_path) -> None:
    overrides = [f"{group}={name}", *NEEDS.get((group, name), NEEDS.get((group, ""), ["data.folder=images"]))]
    if name == "measured":
        stack = 1000 * np.asarray(Gaussian().spots((41, 41), 2050.0, 2050.0, 0.0)) * np.ones((9, 1, 1))
        counts = 100 + np.random.default_rng(0).poisson(20 * stack + 5)
        save_image(tmp_path / "beads.tif", counts.astype(np.float32), "ZYX")
        overrides += [f"psf.beads={tmp_path / 'beads.tif'}", "psf.z_step_nm=100"]
    if name == "pupil_field":
        np.save(tmp_path / "maps.npy", np.zeros((2, 3, 3), np.float32))
        overrides += [f"psf.zernike_maps={tmp_path / 'maps.npy'}", "psf.field_nm=4000"]
    config = composed("train", *overrides)
    for part in ("hardware", "task", "data", "optim"):
        assert build(config[part], part) is not None
    model = outline(lambda rngs: build(config["model"], rngs=rngs))  # published nets have millions of weights
    assert model.channels_in == config["backbone"]["channels_in"] and model.receptive_field > 0
    check_arguments(fit, config["train"], "train")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command) -> None:
    overrides = {
        "simulate": ["output=x"],
        "evaluate": ["model=x", "input=x", "target=x"],
        "predict": ["model=x", "input=x", "output=x"],
        "preflight": ["input=x"],
        "report": ["dir=x"],
        "train": ["data.folder=x"],
    }
    config = composed(command, *overrides.get(command, []))
    assert config["debug"] is False
    if command == "simulate":
        assert build(config["simulator"], "simulator").shape == (256, 256)


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "simulator").glob("*.yaml"))])
def test_every_simulator_builds(name) -> None:
    simulator = build(composed("simulate", f"simulator={name}", "output=x")["simulator"], "simulator")
    assert callable(simulator.sample)


def test_an_experiment_wins_over_train_yaml() -> None:
    assert composed("train", "experiment=quickstart", "data.folder=x")["train"]["steps"] == 400
    assert composed("train", "experiment=quickstart", "data.folder=x", "train.steps=7")["train"]["steps"] == 7


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_is_a_small_overlay(path) -> None:
    assert len(path.read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"_target_": "os.system", "command": "true"}, "only bioflax"),
        (
            {"_target_": "bioflax.models.UNet", "_partial_": True, "norm": {"_target_": "subprocess.run"}},
            r"norm\._target_",
        ),
        (
            {"_target_": "bioflax.train.Hardware", "steps_per_call": "many"},
            "steps_per_call: expected int, found 'many'",
        ),
        ({"_target_": "bioflax.train.Hardware", "devices": True}, "expected int, found True"),
        ({"_target_": "bioflax.train.make_optimizer", "steps": 5, "ema": "no"}, "ema: expected float or null or int"),
        ({"_target_": "bioflax.train.Hardware", "colour": "red"}, "colour"),
        ({"_target_": "bioflax.train.Software"}, "there is no 'bioflax.train.Software'"),
    ],
)
def test_the_gate_refuses(node, text) -> None:
    with pytest.raises(InputError, match=text):
        build(node)


def test_lists_arrive_plain() -> None:
    data = build({"_target_": "bioflax.data.FolderData", "folder": "x", "patch": [16, 32]})
    assert type(data.patch) is list
