"""Bad input for localization: exit code 2, one clear line, nothing half-written under a final name; and odd input that works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bioflax.configuration import run
from bioflax.errors import InputError
from bioflax.io import Localizations, read_localizations, save_image, write_localizations

SIDE, FRAMES = 32, 3
PROGRESS = r"\w+ \d+/\d+ "
MLE = ["model=mle", "psf=gaussian", "camera=scmos"]


@pytest.fixture
def movie(tmp_path) -> Path:
    """Three frames, each with one bright spot at (x, y) = (1250, 1650) nm."""
    path = tmp_path / "in" / "movie.tif"
    write(path, spots())
    return path


def spots(frames: int = FRAMES) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    spot = 5000 * np.exp(-((x - 12) ** 2 + (y - 16) ** 2) / (2 * 1.35**2)) / (2 * np.pi * 1.35**2)
    return (100 + 2 * np.random.default_rng(0).poisson(0.82 * (spot + 10), (frames, SIDE, SIDE))).astype(np.uint16)


def write(path: Path, value: np.ndarray, axes: str = "TYX") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, value, axes)


def predict(movie: Path, output: Path, *extra: str) -> int:
    return run("predict", [*MLE, f"input={movie}", f"output={output}", *extra])


def check_refused(code: int, error: str, says: str) -> None:
    lines = [line for line in error.splitlines() if line.strip() and not re.match(PROGRESS, line)]
    assert code == 2, f"exit code {code}: {error}"
    assert len(lines) == 1 and lines[0].startswith("bioflax "), error
    assert any(part.lower() in lines[0].lower() for part in says.split("|")), lines[0]


def check_nothing_written(folder: Path) -> None:
    left = [p for p in folder.rglob("*") if p.suffix in (".csv", ".hdf5", ".h5", ".png", ".yaml", ".part", ".tmp")]
    left += [p for p in folder.rglob("*_render.tif")]
    assert not left, left


# name, overrides, what the line must say
CAMERAS = [
    ("EM gain 0", ["camera=emccd", "camera.em_gain=0"], "em_gain"),
    ("gain 0", ["camera.gain_adu_per_e=0"], "gain_adu_per_e"),
    ("negative read noise", ["camera.read_noise_e=-1"], "read_noise_e"),
    ("efficiency in percent", ["camera.quantum_efficiency=82"], "0.82"),
    ("negative variance", ["camera.variance_adu2=-4"], "variance_adu2"),
    ("negative variance in a map", ["camera.variance_adu2={maps}/negative.npy"], "variance_adu2"),
    ("map of another size", ["camera.offset_adu={maps}/small.npy"], "offset_adu|size"),
    ("maps of two sizes", ["camera.offset_adu={maps}/small.npy", "camera.read_noise_e={maps}/large.npy"], "shape"),
    ("gain map with zeros", ["camera.gain_adu_per_e={maps}/zeros.npy"], "gain_adu_per_e"),
    ("variance over a gain map with zeros", ["camera.variance_adu2=4", "camera.gain_adu_per_e={maps}/zeros.npy"], "gain_adu_per_e"),
    ("map with NaN", ["camera.offset_adu={maps}/nan.npy"], "finite"),
    ("stack without a plane", ["camera.offset_adu={maps}/planes.npy"], ":K"),
    ("plane number too large", ["camera.offset_adu={maps}/planes.npy:3"], "plane|shape|:K"),
    ("TIFF plane number too large", ["camera.offset_adu={maps}/planes.tif:7"], "plane|shape|:K"),
    ("no such map", ["camera.offset_adu={maps}/absent.npy"], "absent.npy"),
    ("no such TIFF map", ["camera.offset_adu={maps}/absent.tif"], "absent.tif"),
    ("text named .npy", ["camera.offset_adu={maps}/text.npy"], "text.npy"),
    ("pickle named .npy", ["camera.offset_adu={maps}/object.npy"], "object.npy"),
    ("a word for a number", ["camera.offset_adu=many"], "offset_adu"),
    ("no number for a number", ["camera.offset_adu=null"], "offset_adu"),
    ("a list for a number", ["camera.offset_adu=[1,2]"], "offset_adu"),
    ("unknown camera", ["camera=ccd"], "ccd"),
    ("misspelt setting", ["camera.offset=100"], "offset"),
    ("bits 0", ["camera.bits=0"], "bits"),
]  # fmt: skip

SETTINGS = [
    ("pixel size 0", ["data.pixel_nm=0"], "pixel_nm"),
    ("negative pixel size", ["data.pixel_nm=-100"], "pixel_nm"),
    ("no pixel size", ["data.pixel_nm=null"], "pixel_nm"),
    ("a word for a pixel size", ["data.pixel_nm=wide"], "pixel_nm"),
    ("unknown spot", ["psf=airy"], "airy"),
    ("null for a spot", ["psf=null"], "null"),
    ("width 0", ["psf.sigma_nm=0"], "sigma_nm"),
    ("spot wider than the frame", ["psf.sigma_nm=9000"], "window|spot|frame"),
    ("spot much smaller than a pixel", ["psf.sigma_nm=1e-3"], "sigma_nm|psf|width"),
    ("threshold 0", ["threshold=0"], "threshold"),
    ("negative threshold", ["threshold=-1"], "threshold"),
    ("a word for a threshold", ["threshold=high"], "threshold"),
    ("one depth", ["psf=astigmatic", "z_nm=[500]"], "z_nm"),
    ("depths the wrong way round", ["psf=astigmatic", "z_nm=[500,-500]"], "z_nm"),
    ("words for depths", ["psf=astigmatic", "z_nm=[low,high]"], "z_nm"),
    ("a number for the range of depths", ["psf=astigmatic", "z_nm=500"], "z_nm"),
    ("rendered pixel 0", ["render_nm=0"], "render_nm"),
    ("a word for a rendered pixel", ["render_nm=fine"], "render_nm"),
    ("unknown detector", ["detector=wavelet"], "gaussian, matched"),
    ("even window", ["window_px=12"], "window_px"),
    ("a word for a window", ["window_px=wide"], "window_px"),
    ("drift from one part", ["drift_segments=1"], "drift_segments"),
    ("a word for parts of a drift", ["drift_segments=some"], "drift_segments"),
    ("maps that are no stack", ["psf=pupil_field", "psf.field_nm=4000", "psf.zernike_maps={maps}/small.npy"], "zernike_maps"),
    ("empty maps", ["psf=pupil_field", "psf.field_nm=4000", "psf.zernike_maps={maps}/empty.npy"], "zernike_maps"),
    ("an archive of maps", ["psf=pupil_field", "psf.field_nm=4000", "psf.zernike_maps={maps}/archive.npy"], "archive"),
    ("no such maps", ["psf=pupil_field", "psf.field_nm=4000", "psf.zernike_maps={maps}/absent.npy"], "absent.npy"),
    ("output .txt", ["output={out}/table.txt"], "table.txt"),
    ("output .tif", ["output={out}/table.tif"], "table.tif"),
    ("a file in place of the output folder", ["output={maps}/text.npy/out.csv"], "text.npy"),
    ("axes of an image with channels", ["axes=CYX"], "axes"),
    ("no input", ["input={out}/nowhere.tif"], "nowhere"),
    ("several movies into one table", ["input={several}", "output={out}/table.csv"], "folder"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "extra", "says"), CAMERAS + SETTINGS, ids=[case[0] for case in CAMERAS + SETTINGS])
def test_predict_refuses(name, extra, says, movie, tmp_path, capfd) -> None:
    maps, several, out = tmp_path / "maps", tmp_path / "several", tmp_path / "out"
    maps.mkdir()
    good = np.full((SIDE, SIDE), 100, np.float32)
    bad = good.copy()
    bad[3, 4] = -1
    for file, value in (
        ("negative", bad),
        ("zeros", 0 * good),
        ("nan", np.where(bad < 0, np.nan, bad)),
        ("small", good[:20, :20]),
        ("large", good),
        ("planes", np.stack([good] * 3)),
    ):
        np.save(maps / f"{file}.npy", value)
    np.save(maps / "object.npy", np.array([{}], object), allow_pickle=True)
    (maps / "text.npy").write_text("hello")
    (maps / "empty.npy").touch()
    with (maps / "archive.npy").open("wb") as stream:
        np.savez(stream, one=good)
    tifffile.imwrite(maps / "planes.tif", np.stack([good] * 3))
    if "{several}" in "".join(extra):
        write(several / "a.tif", spots())
        write(several / "b.tif", spots())
    places = {"{maps}": maps, "{several}": several, "{out}": out}
    for word, place in places.items():
        extra = [part.replace(word, str(place)) for part in extra]
    code = predict(movie, out, *extra)
    check_refused(code, capfd.readouterr().err, says)
    check_nothing_written(out)


def nan_frame() -> np.ndarray:
    value = spots().astype(np.float32)
    value[1, 3, 4] = np.nan
    return value


MOVIES = [
    ("a stack that does not say what it is", lambda p: tifffile.imwrite(p, spots()), "axes=TYX|TYX"),
    ("a stack of planes", lambda p: save_image(p, spots(), "ZYX"), "axes=TYX"),
    ("channels", lambda p: save_image(p, spots(2), "CYX"), "axes"),
    ("NaN in a frame", lambda p: save_image(p, nan_frame(), "TYX"), "NaN|finite"),
    ("frames smaller than a window", lambda p: save_image(p, spots()[:, :6, :6], "TYX"), "window_px|px"),
    ("complex pixels", lambda p: tifffile.imwrite(p, np.ones((SIDE, SIDE), np.complex64)), "complex"),
    ("a cut file", lambda p: cut(p), "movie.tif"),
    ("a text", lambda p: p.write_text("hello"), "movie.tif"),
]


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(("name", "change", "says"), MOVIES, ids=[case[0] for case in MOVIES])
def test_predict_refuses_the_movie(name, change, says, movie, tmp_path, capfd) -> None:
    change(movie)
    code = predict(movie, tmp_path / "out")
    check_refused(code, capfd.readouterr().err, says)
    check_nothing_written(tmp_path / "out")


def test_a_bad_movie_leaves_the_table_of_the_one_before(movie, tmp_path, capfd) -> None:
    write(movie.with_name("zz.tif"), nan_frame())
    code = predict(movie.parent, tmp_path / "out")
    check_refused(code, capfd.readouterr().err, "zz.tif|NaN|finite")
    assert len(read_localizations(tmp_path / "out" / "movie.csv")) == FRAMES
    assert not list((tmp_path / "out").glob("zz*"))


def test_one_frame(tmp_path) -> None:
    write(tmp_path / "one.tif", spots(1)[0], "YX")
    assert predict(tmp_path / "one.tif", tmp_path / "one.csv") == 0
    table = read_localizations(tmp_path / "one.csv")
    assert table["frame"].tolist() == [1]
    assert [table["x_nm"][0], table["y_nm"][0]] == pytest.approx([1250, 1650], abs=15)


DULL = {
    "dark": np.zeros((SIDE, SIDE)),
    "offset": np.full((SIDE, SIDE), 100),
    "below the offset": np.full((SIDE, SIDE), 50),
    "saturated": np.full((SIDE, SIDE), 65535),
}


@pytest.mark.parametrize("suffix", ["csv", "hdf5"])
@pytest.mark.parametrize("name", DULL)
def test_frames_without_emitters(name, suffix, tmp_path) -> None:
    write(tmp_path / "dull.tif", np.stack([DULL[name]] * 2).astype(np.uint16))
    output = tmp_path / f"dull.{suffix}"
    assert predict(tmp_path / "dull.tif", output) == 0
    assert len(read_localizations(output)) == 0
    assert (tmp_path / "dull_render.tif").is_file()
    assert float(tifffile.imread(tmp_path / "dull_render.tif").max()) == 0


def test_a_saturated_part_does_no_harm(tmp_path) -> None:
    value = spots()
    value[:, :8, 20:] = 65535
    write(tmp_path / "part.tif", value)
    assert predict(tmp_path / "part.tif", tmp_path / "part.csv") == 0
    table = read_localizations(tmp_path / "part.csv")
    near = np.hypot(table["x_nm"] - 1250, table["y_nm"] - 1650) < 50
    assert near.sum() == FRAMES


def test_dark_frames_before_bright_ones_in_depth(tmp_path) -> None:
    """A first chunk without emitters does not know the columns of the others."""
    write(tmp_path / "late.tif", np.concatenate([np.full((66, SIDE, SIDE), 100, np.uint16), spots(2)]))
    assert predict(tmp_path / "late.tif", tmp_path / "late.csv", "psf=astigmatic") == 0
    table = read_localizations(tmp_path / "late.csv")
    assert table["frame"].tolist() == [67, 68] and "z_nm" in table.columns


def test_a_stack_is_a_movie_when_the_user_says_so(movie, tmp_path) -> None:
    tifffile.imwrite(movie, spots())
    assert predict(movie, tmp_path / "out", "axes=TYX") == 0
    assert len(read_localizations(tmp_path / "out" / "movie.csv")) == FRAMES


# name, content, what the line must say
TABLES = [
    ("inches", b"frame,x [inch],y [inch]\n1,0.5,0.5\n", "inch"),
    ("no unit", b"frame,x,y\n1,500,500\n", "unit|nm|header"),
    ("pixels of unknown size", b"frame,x [px],y [px]\n1,5,5\n", "pixel_nm|px"),
    ("no frame", b"x [nm],y [nm]\n500,500\n", "frame"),
    ("frames from 0", b"frame,x [nm],y [nm]\n0,500,500\n", "frame"),
    ("half frames", b"frame,x [nm],y [nm]\n1.5,500,500\n", "whole"),
    ("NaN", b"frame,x [nm],y [nm]\n1,nan,500\n", "finite|NaN"),
    ("a word", b"frame,x [nm],y [nm]\n1,here,500\n", "here|number"),
    ("cut within a row", b"frame,x [nm],y [nm]\n1,500,500\n2,50", "row|line|cut|columns|values"),
    ("nothing", b"", "empty"),
    ("binary", bytes(range(256)), "bad.csv"),
]


@pytest.mark.parametrize(("name", "content", "says"), TABLES, ids=[case[0] for case in TABLES])
def test_a_bad_table_is_refused(name, content, says, tmp_path) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_localizations(tmp_path / "bad.csv")
    assert "\n" not in str(caught.value) and "bad.csv" in str(caught.value), str(caught.value)
    assert any(part.lower() in str(caught.value).lower() for part in says.split("|")), str(caught.value)


def test_micrometres_are_converted(tmp_path) -> None:
    (tmp_path / "good.csv").write_text("frame,x [um],y [um]\n1,0.5,0.25\n")
    table = read_localizations(tmp_path / "good.csv")
    assert (table["x_nm"][0], table["y_nm"][0]) == (500, 250)


def test_a_cut_hdf5_table_is_refused(tmp_path) -> None:
    path = tmp_path / "table.hdf5"
    write_localizations(many(1000), path)
    cut(path)
    with pytest.raises(InputError, match="table.hdf5"):
        read_localizations(path)


def many(count: int) -> Localizations:
    rng = np.random.default_rng(0)
    columns = {
        name: rng.uniform(0, 25_600, count) for name in ("x_nm", "y_nm", "z_nm", "photons", "sigma_x_nm", "sigma_y_nm")
    }
    columns["background_photons"] = rng.uniform(1, 100, count)
    columns["frame"] = np.sort(rng.integers(1, 1001, count))
    return Localizations(columns, pixel_nm=100.0, size_px=(256, 256), frames=1000)


def test_no_spot(movie, tmp_path, capfd) -> None:
    code = run("predict", ["model=mle", f"input={movie}", f"output={tmp_path / 'out'}"])
    check_refused(code, capfd.readouterr().err, "psf=gaussian")
    check_nothing_written(tmp_path / "out")


def test_no_camera_means_photons(tmp_path) -> None:
    write(tmp_path / "photons.tif", (spots() - 100) // 2)
    arguments = ["model=mle", "psf=gaussian", f"input={tmp_path / 'photons.tif'}", f"output={tmp_path / 'table.csv'}"]
    assert run("predict", arguments) == 0
    table = read_localizations(tmp_path / "table.csv")
    assert len(table) == FRAMES and table["photons"].mean() == pytest.approx(0.82 * 5000, rel=0.05)


@pytest.mark.parametrize("suffix", ["csv", "hdf5"])
def test_a_million_localizations(suffix, tmp_path) -> None:
    table, path = many(1_000_000), tmp_path / f"many.{suffix}"
    write_localizations(table, path)
    back = read_localizations(path)
    assert len(back) == 1_000_000
    assert np.array_equal(back["frame"], table["frame"])
    assert np.abs(back["x_nm"] - table["x_nm"]).max() < (1e-6 if suffix == "csv" else 0.01)
