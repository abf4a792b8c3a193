"""Packed models: what a zip may hold, and that nothing leaves it."""

import struct
import zipfile

import pytest

from bioflax.errors import InputError
from bioflax.hub import archive
from bioflax.hub.archive import REQUIRED, pack_model, read_files

CONTENT = {name: name.encode() for name in REQUIRED}


def pack(path, files, folder=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(folder + name, content)
    return path


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("folder", ["", "beads/", "a/b/"])
def test_a_zip_may_have_the_files_at_its_top_or_in_a_folder(tmp_path, folder):
    path = pack(tmp_path / "m.zip", {**CONTENT, "notes.txt": b"x"}, folder)
    assert read_files(path) == CONTENT


def test_a_folder_packs_to_the_same_bytes_twice(model_folder, tmp_path):
    (model_folder / "stray.bin").write_bytes(b"left out")
    first = pack_model(model_folder, tmp_path / "a" / "m.zip").read_bytes()
    assert pack_model(model_folder, tmp_path / "b" / "m.zip").read_bytes() == first
    assert read_files(tmp_path / "a" / "m.zip") == CONTENT
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["m.zip"]


@pytest.mark.parametrize(
    "name", ["../card.json", "/etc/card.json", "a/../../card.json", "a\\..\\card.json", "C:/card.json"]
)
def test_paths_outside_the_zip_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="no paths outside itself"):
        read_files(pack(tmp_path / "m.zip", {**CONTENT, name: b"{}"}))


@pytest.mark.parametrize("name", ["../weights.safetensors", "../../.bashrc"])
def test_other_names_never_reach_the_disk(tmp_path, name):
    with pytest.raises(InputError, match="no paths outside itself"):
        read_files(pack(tmp_path / "inner.zip", {**CONTENT, name: b"x"}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner.zip"]


def test_missing_empty_and_doubled_files(model_folder, tmp_path):
    for name in REQUIRED[1:]:
        with pytest.raises(InputError, match=f"found no {name}"):
            read_files(pack(tmp_path / "m.zip", {key: value for key, value in CONTENT.items() if key != name}))
        with pytest.raises(InputError, match=rf"{name} is empty \(0 bytes\)"):
            read_files(pack(tmp_path / "m.zip", {**CONTENT, name: b""}))
    (model_folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"weights.safetensors is empty"):
        read_files(model_folder)
    with zipfile.ZipFile(pack(tmp_path / "m.zip", CONTENT), "a") as packed, pytest.warns(UserWarning):
        packed.writestr("weights.safetensors", b"other")
    with pytest.raises(InputError, match="stands there twice"):
        read_files(tmp_path / "m.zip")
    with pytest.raises(InputError, match=r"expected one card.json, found 2"):
        read_files(pack(tmp_path / "m.zip", {f"{top}/{name}": b"x" for top in "ab" for name in CONTENT}))


def test_limits_of_count_and_size(tmp_path, monkeypatch, model_folder):
    with pytest.raises(InputError, match="expected at most 64 files, found 104"):
        read_files(pack(tmp_path / "m.zip", {**CONTENT, **{f"{n}": b"x" for n in range(100)}}))
    monkeypatch.setitem(archive.LIMITS, "weights.safetensors", 1000)
    with pytest.raises(InputError, match=r"weights.safetensors: expected at most"):
        read_files(pack(tmp_path / "m.zip", {**CONTENT, "weights.safetensors": bytes(5000)}))
    (model_folder / "weights.safetensors").write_bytes(bytes(5000))
    with pytest.raises(InputError, match=r"weights.safetensors: expected at most"):
        read_files(model_folder)


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(archive.LIMITS, "weights.safetensors", 1000)
    path = pack(tmp_path / "m.zip", {**CONTENT, "weights.safetensors": bytes(5000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 900)))
    with pytest.raises(InputError):
        read_files(path)


def test_what_is_no_zip(tmp_path):
    (tmp_path / "m.zip").write_bytes(b"text")
    with pytest.raises(InputError, match=r"expected a .zip of a model folder, found a damaged one"):
        read_files(tmp_path / "m.zip")
    path = pack(tmp_path / "cut.zip", {**CONTENT, "weights.safetensors": bytes(range(256)) * 9})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged"):
        read_files(path)
