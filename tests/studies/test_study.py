"""A study's YAML becomes rows, tests and overrides; jobs and points are named by what defines them."""

from __future__ import annotations

import pytest

from bioflax.errors import InputError
from bioflax.studies import Study, make_plan
from bioflax.studies.options import split_options
from bioflax.studies.plan import Plan

LIGHT = {
    "label": "light", "unit": "photons", "log": True, "set": ["data.photons={}"], "levels": [3, 10, 30], "reference": 10
}  # fmt: skip
KIND = {"label": "noise", "levels": {"white": [], "rows": ["camera=rows", "test.tile=8"]}, "reference": "white"}


def a_study(**changed) -> Study:
    settings = {
        "name": "s", "question": "?", "task": "denoise", "metric": "psnr_db", "base": ["experiment=x"], "sized": ["train.steps=5"],
        "factors": {"light": LIGHT, "kind": KIND}, "train": ["light"], "test": ["light", "kind"], "seeds": 2,
        "helps": {"range": ["data.photons=[3.0,30.0]", "fit.members=2"]},
    }  # fmt: skip
    return Study(**{**settings, **changed})


def compose(overrides):
    values = dict(part.split("=", 1) for part in overrides)
    if values.get("data.photons") == "30":
        raise InputError("data.photons: too many.")
    return {
        "data": values.get("data.photons"),
        "task": "t",
        "seed": int(values.get("seed", 0)),
        "train": values,
        "run_dir": "x",
    }


def a_plan(**changed) -> Plan:
    return make_plan(a_study(**changed), compose, str)


def test_rows_are_the_levels_and_the_helps() -> None:
    rows = a_study().conditions()
    assert [(row.name, row.kind) for row in rows] == [
        ("light 3 photons", "train"), ("light 10 photons", "train"), ("light 30 photons", "train"), ("range", "help"),
    ]  # fmt: skip
    assert rows[0].overrides == ("experiment=x", "train.steps=5", "data.photons=3")
    # A mitigation starts from the reference and changes it; the last override of a name wins in Hydra.
    assert rows[3].overrides == ("experiment=x", "train.steps=5", "data.photons=10", "data.photons=[3.0,30.0]")
    assert rows[3].options == {"members": 2}


def test_tests_stand_around_one_reference() -> None:
    tests = a_study().tests()
    assert [(test.id, dict(test.levels)) for test in tests] == [
        ("t0", {}), ("t1", {"light": 3}), ("t2", {"light": 30}), ("t3", {"kind": "rows"})
    ]  # fmt: skip
    assert tests[3].overrides == ("experiment=x", "train.steps=5", "data.photons=10", "camera=rows")
    assert tests[3].options == {"tile": 8}


def test_crossed_factors_share_their_edges() -> None:
    tests = a_study(test=["light", ["light", "kind"]]).tests()
    assert len(tests) == 6, "3 x 2 conditions, none twice"
    assert {"light": 3, "kind": "rows"} in [dict(test.levels) for test in tests]


def test_the_users_overrides_win() -> None:
    assert a_study(also=["train.steps=9"]).conditions()[0].overrides[-1] == "train.steps=9"


def test_no_train_factor_is_one_reference_row() -> None:
    assert [row.name for row in a_study(train=[], helps={}).conditions()] == ["reference"]


def test_options_are_taken_out() -> None:
    plain, fit, test = split_options(["a=1", "fit.start=[x=1, y=2]", "test.tile=32", "test.tile=64"])
    assert (plain, fit, test) == (("a=1",), {"start": ["x=1", "y=2"]}, {"tile": 64})
    with pytest.raises(InputError, match=r"fit\.memebrs is not known.*fit\.members"):
        split_options(["fit.memebrs=3"])


def test_a_plan_has_a_job_for_every_row_and_seed_and_the_rivals_of_every_test() -> None:
    plan = a_plan()
    assert len(plan.jobs) == 4 + 4 * 2
    assert len(plan.points) == 4 + 4 * 2 * 4
    assert len({point.hash for point in plan.points}) == len(plan.points)
    assert [len(job.models) for job in plan.jobs if job.models] == [1] * 6 + [2] * 2


def test_hashes_follow_what_defines_a_point_and_nothing_else() -> None:
    before, same = a_plan(), a_plan(question="Other words?", name="other")
    assert [p.hash for p in before.points] == [p.hash for p in same.points]
    for changed in ({"items": 17}, {"test_seed": 1}, {"sized": ["train.steps=6"]}):
        after = a_plan(**changed)
        assert not {p.hash for p in before.points if p.row} & {p.hash for p in after.points if p.row}, changed
    more = {p.hash for p in a_plan(seeds=3).points}
    assert {p.hash for p in before.points} < more, "more seeds keep what is there"


def test_a_condition_that_cannot_be_composed_is_a_hole_and_stops_nothing() -> None:
    plan = a_plan()
    assert [spec.error for job in plan.jobs for spec in job.models if spec.error] == ["data.photons: too many."] * 2
    assert plan.tests["t2"]["error"] == "data.photons: too many."
    assert plan.tests["t1"]["error"] is None


def test_a_plan_comes_back_from_json() -> None:
    import json

    plan = a_plan()
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"task": "colour"}, "study.task: 'colour' is not known"),
        ({"seeds": 0}, "study.seeds: expected a whole number of at least 1"),
        ({"test": ["depth"]}, "there is no factor 'depth'"),
        ({"share": 1.5}, "study.share: expected a number between 0 and 1"),
        ({"factors": {"light": {"label": "l", "levels": [1]}}, "test": []}, "says nothing of what its levels set"),
        ({"thresholds": [{"name": "x"}]}, "study.thresholds: expected name, factor, metric, target and of"),
        ({"helps": {"x": ["fit.members=0"]}}, "fit.members: expected a whole number of at least 1"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(changed, text) -> None:
    with pytest.raises(InputError, match=text):
        make_plan(a_study(**changed), compose, str)
