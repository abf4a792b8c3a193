"""Cards: plain JSON, strict, without code; and their page."""

import dataclasses
import json

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.hub import ModelCard, model_page


def edited(card, **changes):
    return json.dumps({**json.loads(card.to_json()), **changes})


def test_there_and_back(trained):
    text = trained.card.to_json()
    assert ModelCard.from_json(text) == trained.card
    assert json.loads(text)["schema"] == 1
    assert list(json.loads(text))[:2] == ["name", "task"]


def test_numpy_numbers_and_missing_results_become_plain(trained):
    metrics = {"psnr_db": np.float32(30.5), "ssim": float("nan"), "ap50": np.array(2), "nrmse": None}
    card = dataclasses.replace(trained.card, metrics=metrics, envelope={"photons": (10, 1000)})
    assert card.metrics == {"psnr_db": 30.5, "ssim": None, "ap50": 2, "nrmse": None}
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "card: unknown field colour. The fields are name, task"),
        ({"_target_": "os.system"}, "card: unknown field _target_"),
        ({"architecture": {"name": "Model", "arguments": {"_target_": "os.system"}}}, "holds no code .* '_target_'"),
        ({"trained_on": {"x": [{"_partial_": True}]}}, "holds no code"),
        ({"architecture": {"name": "Model"}}, "card.architecture: expected the keys name and arguments"),
        ({"name": " "}, "card.name: expected a name"),
        ({"axes": "TYX"}, 'card.axes: expected YX or ZYX, found "TYX"'),
        ({"receptive_field": -3}, "card.receptive_field: expected a whole number above 0, found -3"),
        ({"receptive_field": True}, "card.receptive_field"),
        ({"parameters": 1.5}, "card.parameters"),
        ({"metrics": {"psnr_db": "good"}}, "card.metrics: expected an object of numbers"),
        ({"baselines": {"median": 3}}, "card.baselines"),
        ({"pixel_nm": {"Y": 0}}, "card.pixel_nm"),
        ({"pixel_nm": {"T": 3.0}}, "card.pixel_nm"),
        ({"sha256": {"weights.safetensors": "abc"}}, "card.sha256"),
        ({"schema": 2}, "card.schema: expected 1, found 2. Update bioflax"),
    ],
)
def test_wrong_fields_are_named_in_one_line(trained, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        ModelCard.from_json(edited(trained.card, **changes))
    assert "\n" not in str(caught.value)


def test_what_is_no_card(trained):
    without = json.loads(trained.card.to_json())
    del without["task"], without["axes"]
    for text, message in [
        ("", "expected JSON"),
        ("[1]", "expected a JSON object, found list"),
        ("[" * 100_000, "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        (json.dumps(without), "the field task, axes is missing"),
        (trained.card.to_json().replace("34.1", "NaN"), "NaN is no JSON"),
    ]:
        with pytest.raises(InputError, match=message):
            ModelCard.from_json(text)
    with pytest.raises(InputError, match="expected texts as keys"):
        dataclasses.replace(trained.card, envelope={1: 2})
    with pytest.raises(InputError, match="expected text, numbers, lists and objects, found set"):
        dataclasses.replace(trained.card, envelope={"a": {1}})


def test_page_has_a_table_of_model_baselines_and_bound(trained):
    page = model_page(trained.card)
    assert page.startswith("# beads\n")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows[0] == "| method | psnr_db | ssim |"
    assert rows[2:6] == [
        "| this model | 34.1 | 0.91 |",
        "| gaussian | 31.2 | 0.84 |",
        "| median | 30.05 | – |",
        "| bound | 36 | – |",
    ]
    for text in (
        "Y 65 nm, X 65 nm",
        "UNet(channels_in=1, width=2",
        "CC-BY-4.0",
        "bioflax train experiment=beads",
        "no study was made",
    ):
        assert text in page


def test_page_of_a_card_without_results(trained):
    card = dataclasses.replace(
        trained.card, metrics={}, bounds={}, baselines={}, pixel_nm=None, envelope={"photons": [10, 99]}
    )
    page = model_page(card)
    assert "No results are recorded." in page and "| Pixel size | unknown |" in page and "| photons | 10, 99 |" in page


def test_the_page_says_where_a_study_found_it_to_hold(trained) -> None:
    photons = {"label": "photons", "unit": "ph", "levels": [3, 30, 300], "kept": [False, True, True], "range": [30, 300],
               "range_interpolated": [12.345, 300]}  # fmt: skip
    kinds = {"label": "noise", "levels": ["white", "rows"], "kept": [True, False]}
    nowhere = {"label": "blur", "unit": "px", "levels": [1, 2], "kept": [False, False]}
    study = {"metric": "psnr_db", "rule": "kept where it is good", "factors": {"a": photons, "b": kinds, "c": nowhere}}
    page = model_page(dataclasses.replace(trained.card, envelope={"light": study, "by hand": "up to 3 um"}))
    assert "| light | psnr_db | photons | 12.3 to 300 ph | 3 to 300 ph |" in page
    assert "| light | psnr_db | noise | white | white, rows |" in page
    assert "| light | psnr_db | blur | nowhere | 1 to 2 px |" in page
    assert "The rule: kept where it is good." in page and "| by hand | up to 3 um |" in page
