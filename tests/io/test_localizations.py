"""Localization tables: every format comes back to 1e-6 nm, conventions are converted, and doubtful files are refused."""

import errno
import json
import time

import h5py
import numpy as np
import pytest
import yaml

from bioflax.errors import InputError
from bioflax.io import LOCALIZATION_FORMATS, Localizations, aside, read_localizations, write_localizations

RNG = np.random.default_rng(0)
SUFFIX = {"picasso": ".hdf5"}


def table(n: int = 50) -> Localizations:
    return Localizations(
        {
            "frame": np.sort(RNG.integers(1, 30, n)),
            "x_nm": RNG.uniform(-20, 1e6, n),
            "y_nm": RNG.uniform(0, 6400, n),
            "z_nm": RNG.normal(0, 300, n),
            "photons": RNG.gamma(2, 1000, n),
            "background_photons": RNG.uniform(0, 10, n),
            "sigma_x_nm": RNG.uniform(1, 30, n),
            "sigma_y_nm": RNG.uniform(1, 30, n),
            "sigma_z_nm": RNG.uniform(1, 30, n),
            "probability": RNG.uniform(1e-9, 1, n),
            "crlb_x_nm": RNG.uniform(1, 30, n),
            "gap_frames": RNG.integers(0, 4, n),
        },
        pixel_nm=107.3,
        size_px=(64, 96),
        frames=40,
    )


@pytest.mark.parametrize("format", LOCALIZATION_FORMATS)
def test_round_trip(tmp_path, format):
    before = table()
    path = tmp_path / "deep" / f"locs{SUFFIX.get(format, '.csv')}"
    write_localizations(before, path, format)
    for after in (read_localizations(path), read_localizations(path, format, 107.3)):
        kept = {"frame", "x_nm", "y_nm", "z_nm", "photons"} if format == "challenge" else set(before.columns)
        assert set(after.columns) == kept
        for name in kept:
            np.testing.assert_allclose(after[name], before[name], rtol=0, atol=1e-6)
            assert after[name].dtype == before[name].dtype or name == "gap_frames"
    assert after.pixel_nm == 107.3
    if format == "picasso":
        assert (after.size_px, after.frames) == ((64, 96), 40)


@pytest.mark.parametrize("format", LOCALIZATION_FORMATS)
def test_an_empty_table_comes_back(tmp_path, format):
    nothing = Localizations.empty(("photons", "sigma_x_nm", "sigma_y_nm"), pixel_nm=100.0, size_px=(8, 8), frames=5)
    path = tmp_path / f"none{SUFFIX.get(format, '.csv')}"
    write_localizations(nothing, path, format)
    after = read_localizations(path)
    assert len(after) == 0
    assert {"frame", "x_nm", "y_nm", "photons"} <= set(after.columns)


def test_csv_is_thunderstorm_by_default_with_its_names_first(tmp_path):
    small = table(3).with_columns(psf_sigma_nm=np.full(3, 130.0))
    write_localizations(small, tmp_path / "locs.csv")
    header = (tmp_path / "locs.csv").read_text().splitlines()[0]
    assert header == (
        '"id","frame","x [nm]","y [nm]","z [nm]","sigma [nm]","intensity [photon]","offset [photon]","uncertainty [nm]",'
        '"uncertainty_x [nm]","uncertainty_y [nm]","uncertainty_z [nm]","probability","crlb_x [nm]","gap_frames"'
    )
    np.testing.assert_array_equal(read_localizations(tmp_path / "locs.csv")["psf_sigma_nm"], 130.0)


def test_thunderstorm_of_another_program(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","uncertainty_xy [nm]","chi2"\n'
        "7.0,1.0,150.5,50,130,1000,12.5,3\n9.0,4.0,1E3,2,131,900,13,4\n"
    )
    found = read_localizations(path)
    assert found["frame"].tolist() == [1, 4]
    assert found["id"].tolist() == [7, 9]
    assert found["x_nm"].tolist() == [150.5, 1000.0]
    assert found["sigma_x_nm"].tolist() == found["sigma_y_nm"].tolist() == [12.5, 13.0]
    assert found["psf_sigma_nm"].tolist() == [130, 131]
    assert found["chi2"].tolist() == [3, 4]
    write_localizations(found, path)
    assert '"uncertainty_x' not in path.read_text()


@pytest.mark.parametrize(("header", "factor"), [("frame,x [um],y [µm]", 1000), ("Frame\tX (nm)\tY (nm)", 1)])
def test_units_and_tabs_of_others(tmp_path, header, factor):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,0.5,0.25\n".replace(",", "\t" if "\t" in header else ","), encoding="utf-8")
    found = read_localizations(path)
    np.testing.assert_allclose([found["x_nm"][0], found["y_nm"][0]], [0.5 * factor, 0.25 * factor])


def test_pixels_of_thunderstorm_need_their_size(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('"frame","x [px]","y [px]"\n1,0.5,2\n')
    with pytest.raises(InputError, match=r"found 'x \[px\]'.*pixel_nm="):
        read_localizations(path)
    assert read_localizations(path, pixel_nm=100)["x_nm"].tolist() == [50.0]


def test_smap_and_liteloc_names(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("xnm,ynm,znm,phot,frame,bg,xnmerr,ynmerr\n1,2,3,4,5,6,7,8\n")
    found = read_localizations(path)
    assert {name: values[0] for name, values in found.columns.items()} == {
        "x_nm": 1, "y_nm": 2, "z_nm": 3, "photons": 4, "frame": 5, "background_photons": 6, "sigma_x_nm": 7, "sigma_y_nm": 8
    }  # fmt: skip
    path.write_text("frame,xnm,ynm,znm,photon,prob,x_sig,y_sig\n1,2,3,4,5,0.5,7,8\n")
    assert read_localizations(path)["probability"][0] == 0.5


def test_picasso_has_centres_at_whole_pixels_and_frames_from_0(tmp_path):
    centre = Localizations(
        {"frame": [1], "x_nm": [50.0], "y_nm": [250.0], "z_nm": [30.0], "sigma_x_nm": [10.0], "sigma_y_nm": [20.0]},
        pixel_nm=100.0,
    )
    write_localizations(centre, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        row = file["locs"][0]
        assert json.loads(file["metadata"][()])[0]["Pixelsize"] == 100.0
    found = {name: float(row[name]) for name in row.dtype.names}
    assert found == pytest.approx({"frame": 0, "x": 0, "y": 2, "z": 30, "lpx": 0.1, "lpy": 0.2})
    about = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert about == {"Width": 1, "Height": 3, "Frames": 1, "Pixelsize": 100.0, "Generated by": "bioflax"}


def test_picasso_metadata_yaml_first_then_embedded(tmp_path):
    write_localizations(table(5), tmp_path / "a.hdf5")
    (tmp_path / "a.yaml").write_text("Width: 32\nHeight: 16\nFrames: 90\n---\nPixelsize: 130\n")
    assert read_localizations(tmp_path / "a.hdf5").pixel_nm == 130
    assert read_localizations(tmp_path / "a.hdf5").size_px == (16, 32)
    (tmp_path / "a.yaml").unlink()
    assert read_localizations(tmp_path / "a.hdf5").pixel_nm == 107.3
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["metadata"]
    with pytest.raises(InputError, match=r"expected Pixelsize in a\.yaml, found None\. Give pixel_nm="):
        read_localizations(tmp_path / "a.hdf5")
    np.testing.assert_allclose(len(read_localizations(tmp_path / "a.hdf5", pixel_nm=107.3)), 5)
    (tmp_path / "a.yaml").write_text("Width: [32\n")
    with pytest.raises(InputError, match="expected Picasso's metadata"):
        read_localizations(tmp_path / "a.hdf5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("frame,x,y\n1,2,3\n", "expected units, found a header with x and y alone"),
        ("frame,x [nm],y\n1,2,3\n", "expected a unit, found the column 'y'"),
        ("frame,x [nm],y [nm],intensity\n1,2,3,4\n", "found the column 'intensity'"),
        ("frame,x [mm],y [mm]\n1,2,3\n", r"expected nm, found 'x \[mm\]'"),
        ("x_nm,y_nm\n2,3\n", "Add frame"),
        ("a,b\n2,3\n", "expected a header of thunderstorm, challenge, smap, bioflax"),
        ("frame,x_nm,y_nm\n0,2,3\n", "expected numbers from 1, found 0. Add 1"),
        ("frame,x_nm,y_nm\n1.5,2,3\n", "expected whole numbers, found 1.5"),
        ("frame,x_nm,y_nm\n1,2,3\n2,nan,3\n", "x_nm: expected finite numbers, found 1 NaN or infinite, the first in row 2"),
        ("frame,x_nm,y_nm\n1,2,3\n2,3\n", "expected numbers in each row, found: the number of columns changed"),
        ("frame,x_nm,y_nm\n1,2,a\n", "could not convert string 'a'"),
        ("frame,x_nm,y_nm\n1,2,3,4\n", "expected 3 values a row as in the header, found 4"),
        ("frame,x_nm,x_nm,y_nm\n1,2,3,4\n", "Rename one"),
    ],
)  # fmt: skip
def test_doubtful_csv_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_localizations(path)
    assert "\n" not in str(caught.value) and "a.csv" in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    for name, bytes_, message in [
        ("a.csv", b"\x89PNG\xff\xfe", "found bytes that are no text"),
        ("a.hdf5", b"no hdf5 at all", "expected an HDF5 file"),
        ("a.tif", b"II", "expected a name ending in .csv or .hdf5"),
    ]:
        (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(InputError, match=message):
            read_localizations(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_localizations(tmp_path / "b.csv")
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(InputError, match="expected Picasso's table /locs, found other"):
        read_localizations(tmp_path / "c.hdf5")
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file["locs"] = np.zeros(3, [("frame", "u4"), ("x", "f4")])
    with pytest.raises(InputError, match="Add y"):
        read_localizations(tmp_path / "c.hdf5", pixel_nm=100)


def test_writers_refuse_what_they_cannot_say(tmp_path):
    full = table(3)
    bare = Localizations({name: full[name] for name in ("frame", "x_nm", "y_nm")}, pixel_nm=100.0)
    for wrong, name, format, message in [
        (full, "a.hdf5", "thunderstorm", "ending in .csv for thunderstorm"),
        (full, "a.csv", "picasso", "ending in .hdf5 for picasso"),
        (full, "a.csv", "decode", "expected one of thunderstorm"),
        (full, "a.h5", None, "which Picasso opens"),
        (bare, "a.hdf5", None, "sigma_x_nm: Picasso needs"),
        (Localizations(full.columns), "a.hdf5", None, "pixel_nm: expected"),
        (full.with_columns(lpx=[1, 2, 3]), "a.hdf5", None, "lpx: this name is taken"),
        (bare, "a.csv", "challenge", "photons: expected in a challenge CSV"),
        (bare.with_columns(sigma_nm=[1, 2, 3]), "a.csv", None, "reads as another column"),
    ]:
        with pytest.raises(InputError, match=message):
            write_localizations(wrong, tmp_path / name, format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.hdf5"])
def test_nothing_is_left_on_a_full_disk(tmp_path, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / name).write_text("the one before")
    monkeypatch.setattr(aside.os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full"):
        write_localizations(table(3), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the one before"


def test_the_table_itself():
    full = table(6)
    assert len(full) == 6
    late = full.select(full["frame"] > 10)
    assert len(late) == int((full["frame"] > 10).sum()) and late.pixel_nm == full.pixel_nm
    assert len(full.select([])) == 0 and len(full.select(slice(2))) == 2
    assert full.with_columns(x_nm=np.zeros(6))["x_nm"].sum() == 0 and full["x_nm"].sum() != 0
    good = {"frame": [1, 2], "x_nm": [0.0, 1.0], "y_nm": [0.0, 1.0]}
    for change, about, message in [
        ({"y_nm": [0.0]}, {}, "expected one length for all"),
        ({"z": [0.0, 1.0]}, {}, "expected a unit in each name, found 'z'"),
        ({"z_nm": [[0.0, 1.0]]}, {}, r"expected \(N,\) real numbers"),
        ({"z_nm": ["a", "b"]}, {}, "real numbers"),
        ({"z_nm": [0.0, np.inf]}, {}, "row 2"),
        ({}, {"pixel_nm": 0.0}, "pixel_nm: expected a positive"),
        ({}, {"frames": 1}, "expected at least the last frame 2, found 1"),
    ]:
        with pytest.raises(InputError, match=message):
            Localizations({**good, **change}, **about)
    with pytest.raises(InputError, match="Add y_nm"):
        Localizations({"frame": [1], "x_nm": [0.0]})
    with pytest.raises(InputError, match="expected 6 values, one a row"):
        full.select(np.ones(5, bool))
    with pytest.raises(InputError, match="expected one of frame"):
        full["nothing"]


def test_a_hundred_thousand_rows_take_no_time(tmp_path):
    large = table(100_000)
    start = time.perf_counter()
    write_localizations(large, tmp_path / "a.csv")
    read_localizations(tmp_path / "a.csv")
    assert time.perf_counter() - start < 10  # under one second on a quiet core
