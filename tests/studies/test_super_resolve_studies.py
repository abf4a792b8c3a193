"""Studies of super-resolution: their conditions compose, and one reference model serves all of them."""

from __future__ import annotations

import dataclasses

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from bioflax.configuration import as_text, build
from bioflax.studies.plan import make_plan

NAMES = ("psf_shift", "snr", "complexity", "line_spacing", "null_space", "wrong_scale")
RUN = ("store", "model", "only", "workers", "vectorize", "dry_run")


def plain(name: str, *overrides: str) -> dict:
    with initialize_config_module("bioflax.conf", version_base="1.3"):
        return OmegaConf.to_container(compose(name, overrides=[as_text(part) for part in overrides]), resolve=True)


def study_of(name: str, size: str = "small"):
    settings = plain("study", f"study=super_resolve_{name}", f"study.size={size}", "run_dir=x")["study"]
    return build({key: value for key, value in settings.items() if key not in RUN}, "study")


def planned(study):
    return make_plan(dataclasses.replace(study, seeds=1), lambda overrides: plain("train", *overrides), str)


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_reference_model_is_trained_once_for_all_studies(size) -> None:
    found = set()
    for name in NAMES:
        study = dataclasses.replace(study_of(name, size), test=(), helps={})
        if name == "line_spacing":  # its reference is trained on lines
            rows = [job for job in planned(study).jobs if job.name.startswith("trained on filaments,")]
        else:
            levels = [study.factors[factor].reference for factor in study.train]
            wanted = study.describe(dict(zip(study.train, levels)))
            rows = [job for job in planned(study).jobs if job.name == f"{wanted}, seed 0"]
        assert len(rows) == 1 and rows[0].models[0].error is None
        found.add(rows[0].models[0].hash)
    assert len(found) == 1


@pytest.mark.parametrize("name", ["complexity", "line_spacing", "null_space"])
def test_every_scene_composes(name) -> None:
    """Of the studies that take parts of the settings away."""
    study = study_of(name)
    plan = planned(dataclasses.replace(study, test=[part if isinstance(part, str) else part[0] for part in study.test]))
    assert [test["error"] for test in plan.tests.values()] == [None] * len(plan.tests)
    assert [spec.error for job in plan.jobs for spec in job.models if spec.error] == []
    for test in plan.tests.values():
        assert build(test["data"]["simulator"], "data.simulator").shape == (24, 24)
