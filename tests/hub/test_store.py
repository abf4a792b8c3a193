"""Saving and loading models: whole or not at all, and only what was saved."""

import dataclasses
import hashlib
import json
import os
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from bioflax.errors import InputError
from bioflax.functional import flatten_paths, map_paths
from bioflax.hub import load, pack_model, save_model
from bioflax.predict import predict


@pytest.fixture(scope="session")
def saved(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "model"
    save_model(folder, trained.card, trained.variables, trained.test_input)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def reseal(folder, **contents):
    """Writes files and their digests, as someone would who knows the format."""
    card = json.loads((folder / "card.json").read_text())
    for name, content in contents.items():
        name = {"weights": "weights.safetensors", "test_input": "test_input.npy", "test_output": "test_output.npy"}[
            name
        ]
        (folder / name).write_bytes(content)
        card["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def weights_of(folder):
    return safetensors.numpy.load((folder / "weights.safetensors").read_bytes())


def test_a_saved_model_has_its_files_and_comes_back(trained, saved):
    names = {"card.json", "README.md", "weights.safetensors", "test_input.npy", "test_output.npy"}
    assert {entry.name for entry in saved.iterdir()} == names
    model = load(saved)
    assert trained.card.name in repr(model) and len(repr(model)) < 200  # no arrays in a notebook
    for path, leaf in flatten_paths(trained.variables).items():
        np.testing.assert_array_equal(flatten_paths(model.variables)[path], leaf)
    assert "backbone/encoder/level0/conv0/conv/kernel" in weights_of(saved)
    assert set(model.card.sha256) == names - {"card.json"}
    assert dataclasses.replace(model.card, sha256={}) == trained.card
    assert model.verify() < 1e-6
    assert (model.spatial_dims, model.channels_in, model.stride) == (2, 1, 2)
    assert model.normalization.scale == (20.0,)


def test_test_output_is_the_prediction_in_image_units(trained, saved):
    model = load(saved)
    expected = trained.net.apply(trained.variables, (trained.test_input - 100) / 20)["image"] * 20 + 100
    np.testing.assert_allclose(model.test_output, expected, rtol=1e-5)
    np.testing.assert_allclose(predict(model, trained.test_input[0, ..., 0]), model.test_output[0, ..., 0], rtol=1e-5)


def test_a_run_folder_a_zip_and_a_string_load_the_same(saved, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(saved, run / "model")
    packed = pack_model(saved, tmp_path / "beads.zip")
    for where in (run, str(run), packed, str(saved)):
        assert load(where, verify=True).card == load(saved).card


def test_any_changed_byte_is_found(copied):
    for name in ("weights.safetensors", "test_input.npy", "test_output.npy", "README.md"):
        content = (copied / name).read_bytes()
        (copied / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=f"{name} is not the file that was saved") as caught:
            load(copied)
        assert "\n" not in str(caught.value)
        (copied / name).write_bytes(content)
    load(copied)


def test_empty_and_lost_files(copied):
    (copied / "README.md").unlink()
    with pytest.raises(InputError, match=r"expected the file README.md, which the card lists"):
        load(copied)
    (copied / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"weights.safetensors is empty"):
        load(copied)


def test_a_card_must_vouch_for_its_files(copied):
    card = json.loads((copied / "card.json").read_text())
    del card["sha256"]["weights.safetensors"]
    (copied / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"card.sha256: expected a digest of weights.safetensors"):
        load(copied)


def test_foreign_weights(copied):
    weights = weights_of(copied)
    name = "backbone/middle/conv0/conv/kernel"
    changed = {
        "missing backbone/middle/conv0/conv/kernel": {key: leaf for key, leaf in weights.items() if key != name},
        "foreign extra/a": {**weights, "extra/a": np.zeros(2, np.float32)},
        r"conv0/conv/kernel: expected float32 \(3, 3, 2, 4\), found float32 \(3, 3\)": {
            **weights, name: np.zeros((3, 3), np.float32),
        },
        "found float16": {**weights, name: weights[name].astype(np.float16)},
        "found 144 NaN or infinite|found 72 NaN or infinite": {**weights, name: weights[name] * np.nan},
    }  # fmt: skip
    for message, tree in changed.items():
        reseal(copied, weights=safetensors.numpy.save(tree))
        with pytest.raises(InputError, match=message):
            load(copied)
    reseal(copied, weights=b"no safetensors at all")
    with pytest.raises(InputError, match="expected a safetensors file"):
        load(copied)


def test_pickles_are_refused(copied, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object), allow_pickle=True)
    reseal(copied, test_input=(tmp_path / "evil.npy").read_bytes())
    with pytest.raises(InputError, match=r"test_input.npy: expected a NumPy array without pickled objects"):
        load(copied)


def test_verify_finds_what_digests_cannot(copied):
    weights = {name: leaf * 1.5 for name, leaf in weights_of(copied).items()}
    reseal(copied, weights=safetensors.numpy.save(weights))
    assert load(copied).card.name == "beads"
    with pytest.raises(InputError, match="do not belong together"):
        load(copied, verify=True)


def test_saving_checks_before_it_writes(trained, tmp_path):
    folder = tmp_path / "model"
    broken = map_paths(lambda path, leaf: leaf * np.nan if path.endswith("mean/bias") else leaf, trained.variables)
    small = jax.tree.map(lambda leaf: np.asarray(leaf)[..., :1], trained.variables)
    for variables, test_input, test_output, message in [
        (broken, trained.test_input, None, "expected finite numbers"),
        (small, trained.test_input, None, "expected float32"),
        ({}, trained.test_input, None, "weights: expected the .* missing"),
        (trained.variables, trained.test_input[:, :7], None, "multiples of 2"),
        (trained.variables, trained.test_input[0], None, "expected 4 axes"),
        (trained.variables, trained.test_input, trained.test_input, "do not belong together"),
        (trained.variables, trained.test_input, trained.test_input[:, :4], "test_output.npy: expected shape"),
    ]:
        with pytest.raises(InputError, match=message):
            save_model(folder, trained.card, variables, test_input, test_output)
    assert not list(tmp_path.iterdir())


def test_cards_of_other_architectures(trained, tmp_path):
    for change, message in [
        ({"architecture": {"name": "Popen", "arguments": {}}}, "expected a Model"),
        ({"architecture": trained.card.architecture["arguments"]["head"]}, "expected a Model"),
        ({"normalization": {"kind": "mean_std", "offset": [0, 0], "scale": [1, 1]}}, "expected 1 or 1 scales, found 2"),
    ]:
        with pytest.raises(InputError, match=message):
            save_model(
                tmp_path / "m", dataclasses.replace(trained.card, **change), trained.variables, trained.test_input
            )


def test_a_model_is_replaced_but_nothing_else_is(trained, copied, tmp_path):
    (copied / "cover.png").write_bytes(b"old")
    card = dataclasses.replace(trained.card, name="second")
    save_model(copied, card, trained.variables, trained.test_input, cover=b"new")
    assert load(copied).card.name == "second"
    assert (copied / "cover.png").read_bytes() == b"new" and "cover.png" in load(copied).card.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.txt"):
        with pytest.raises(InputError, match="expected a free name or a model folder to replace"):
            save_model(place, card, trained.variables, trained.test_input)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_save_that_fails_keeps_the_old_model(trained, copied, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save_model(copied, trained.card, trained.variables, trained.test_input)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    load(copied, verify=True)


def test_a_save_killed_between_its_renames_leaves_a_model(trained, copied, tmp_path):
    os.rename(copied, tmp_path / ".model.previous")
    assert load(copied).card.name == "beads"
    assert load(tmp_path).card.name == "beads"
    save_model(copied, trained.card, trained.variables, trained.test_input)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
