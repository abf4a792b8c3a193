"""Where models are found, and what is said when there is none."""

import os

import pytest

from bioflax.errors import InputError
from bioflax.hub import find_model, list_models, zoo_models


def model_at(folder):
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    return folder


def test_models_and_runs_of_a_folder_are_listed(tmp_path):
    model_at(tmp_path / "b")
    model_at(tmp_path / "a" / "model")
    model_at(tmp_path / ".b.previous")
    (tmp_path / "c.zip").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    assert list_models(tmp_path) == {"a": tmp_path / "a" / "model", "b": tmp_path / "b", "c": tmp_path / "c.zip"}
    assert list_models(tmp_path / "none") == {}


def test_names_come_from_the_zoo_but_paths_go_first(tmp_path, monkeypatch):
    model_at(tmp_path / "zoo" / "fmd")
    model_at(tmp_path / "more" / "beads")
    monkeypatch.setenv("BIOFLAX_ZOO", os.pathsep.join([str(tmp_path / "zoo"), str(tmp_path / "more")]))
    monkeypatch.chdir(tmp_path)
    assert find_model("fmd") == tmp_path / "zoo" / "fmd"
    assert {"fmd", "beads"} <= set(zoo_models())
    model_at(tmp_path / "fmd")
    assert find_model("fmd").resolve() == tmp_path / "fmd"


def test_what_is_no_model_is_told(tmp_path, monkeypatch):
    model_at(tmp_path / "zoo" / "fmd")
    monkeypatch.setenv("BIOFLAX_ZOO", str(tmp_path / "zoo"))
    with pytest.raises(InputError, match=r"a zoo name \(.*fmd.*\), found 'fdm'"):
        find_model("fdm")
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="found the file"):
        find_model(tmp_path / "weights.pt")
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"expected card.json or model/card.json in .*found neither\.$"):
        find_model(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(InputError, match="The run has not finished"):
        find_model(tmp_path / "run")
