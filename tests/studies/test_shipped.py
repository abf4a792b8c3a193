"""Every study that ships is one short YAML, asks a question, has rivals and something that may help, and composes at both sizes."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from bioflax.experiments import _studies
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from bioflax.configuration import build
from bioflax.studies import Study
from bioflax.studies.judges import make_judge

CONF = Path(__file__).resolve().parents[2] / "conf" / "study"
NAMES = sorted(_studies.known())
TOPICS = {
    "denoise_": ("noise_level", "noise_type", "training_size", "structure_shift", "blank_field",
        "normalisation_tiling", "do_no_harm",),
    "super_resolve_": ("psf_shift", "snr", "complexity", "line_spacing", "null_space", "wrong_scale",),
    "localize_": ("density", "photons", "background", "psf_mismatch", "camera_mismatch", "temporal_context",
        "training_size", "empty_frames", "sigma_calibration", "grid_bias",),
    "detect_": ("labelled_images", "object_size", "contrast_blur", "density_touching", "label_noise",
        "modality_shift",),
    "": ("architectures_denoise", "architectures_super_resolve", "architectures_localize", "architectures_detect",
         "transfer_layers", "seeds"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def hydra():
    with initialize_config_module("bioflax.conf", version_base="1.3"):
        yield


@functools.cache
def composed(overrides: tuple[str, ...]) -> dict:
    return _studies.compose(overrides)


def read(name: str, size: str) -> Study:
    config = compose("study", overrides=[f"study={name}", f"study.size={size}", "run_dir=x"])
    settings = OmegaConf.to_container(config.study, resolve=True, throw_on_missing=True)
    return build({key: value for key, value in settings.items() if key not in _studies.RUN}, "study")


def test_the_list_is_whole() -> None:
    assert not {begin + name for begin, names in TOPICS.items() for name in names} - set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_one_short_file_and_complete(name) -> None:
    assert len((CONF / f"{name}.yaml").read_text().splitlines()) <= 40
    small, full = read(name, "small"), read(name, "full")
    assert small.name == full.name == name
    assert small.question.endswith("?") and small.helps and small.baselines
    assert small.seeds >= 2 and full.seeds > small.seeds and full.items > small.items
    judge = make_judge(small.task)
    assert {small.metric, *small.more} <= set(judge.metrics)


@pytest.mark.parametrize("name", NAMES)
def test_its_conditions_compose(name) -> None:
    study = read(name, "small")
    for condition in (*study.conditions(), *study.tests()):
        assert composed(condition.overrides)["data"]["_target_"].startswith("bioflax.data."), condition.name
    full = read(name, "full")
    for condition in (full.conditions()[0], full.tests()[-1]):
        assert composed(condition.overrides)["hardware"]["steps_per_call"] == 20, "full is for a GPU"
