"""Movies to tables: coordinates, frames and neighbours, whatever the chunks and tiles; and files beside one another."""

from dataclasses import asdict
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

import bioflax
from bioflax.data import EmitterScales
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.io import Localizations, image_from_array, open_image, read_localizations
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.psf import Gaussian
from bioflax.predict import localizations as localization_files
from bioflax.predict import movie as movies
from bioflax.predict.localizations import localize_files
from bioflax.predict.movie import card_camera, localize_classically, localize_movie

SCALES = EmitterScales(pixel_nm=100.0, photons=1000.0, z_nm=500.0, background_photons=10.0)


def bright_pixels(variables, image):
    """A net by hand: a pixel brighter than 50 holds an emitter; z says what the frames before and after have there."""
    del variables
    middle = image[..., 1:2]
    zero = jnp.zeros_like(middle)
    shift = zero + 0.25
    depth = (image[..., 2:3] - image[..., 0:1]) / 1000.0
    return {
        "logit": jnp.where(middle > 50.0, 6.0, -8.0),
        "mean": jnp.concatenate([middle / 1000.0, shift, -shift, depth], -1),
        "spread": jnp.concatenate([zero + 0.1] * 4, -1),
        "background": zero + 0.5,
    }


def net_of(camera=None):
    physics = {"scales": asdict(SCALES), "camera": camera or {"kind": "SCMOS", "gain_adu_per_e": 2.0}}
    return SimpleNamespace(
        card=SimpleNamespace(task="localize", physics=physics),
        net=SimpleNamespace(apply=bright_pixels),
        variables={},
        normalization=Normalization("none"),
        receptive_field=3,
        stride=1,
    )


def movie_of(frames=5, size=(20, 24)):
    movie = np.zeros((frames, *size), np.float32)
    for number in range(frames):
        movie[number, 3 + number, 7] = 100 + 10 * number
    return movie


def test_positions_frames_and_units() -> None:
    table = localize_movie(net_of(), image_from_array(movie_of(), "TYX"), None)
    np.testing.assert_array_equal(table["frame"], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(table["x_nm"], 775.0)  # pixel 7, its centre at 750, a quarter of a pixel on
    np.testing.assert_allclose(table["y_nm"], 325.0 + 100 * np.arange(5))
    np.testing.assert_allclose(table["photons"], 100 + 10 * np.arange(5), rtol=1e-5)
    np.testing.assert_allclose(table["background_photons"], 5.0)
    np.testing.assert_allclose(table["sigma_z_nm"], 50.0, rtol=1e-5)
    assert (table.pixel_nm, table.size_px, table.frames) == (100.0, (20, 24), 5)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_and_tiles_change_nothing(chunk, monkeypatch) -> None:
    movie = np.tile(np.arange(1.0, 6)[:, None, None] * 60, (1, 9, 9)).astype(np.float32)
    whole = localize_movie(net_of(), image_from_array(movie, "TYX"), None)
    monkeypatch.setattr(movies, "CHUNK_BYTES", movies.MAPS * 4 * 81 * chunk)
    cut = localize_movie(net_of(), image_from_array(movie, "TYX"), None, tile=8)
    assert len(whole) > 0
    for name in whole.columns:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-5, atol=1e-4)


def test_the_ends_of_a_movie_stand_in_for_what_is_beyond() -> None:
    movie = np.stack([np.full((8, 8), value, np.float32) for value in (60, 160, 360)])
    table = localize_movie(net_of(), image_from_array(movie, "TYX"), None)
    depth = [np.unique(np.round(table["z_nm"][table["frame"] == number], 3)) for number in (1, 2, 3)]
    np.testing.assert_allclose(np.concatenate(depth), 500 * np.array([0.1, 0.3, 0.2]), rtol=1e-4)


def test_one_frame_is_a_movie_too() -> None:
    assert len(localize_movie(net_of(), image_from_array(movie_of(1)[0], "YX"), None)) == 1
    assert len(localize_movie(net_of(), image_from_array(movie_of(2)[None], "ZTYX"), None)) == 2


def test_more_emitters_than_expected_are_all_found(monkeypatch) -> None:
    monkeypatch.setattr(movies, "DENSEST_PER_UM2", 0.01)
    movie = np.zeros((1, 30, 30), np.float32)
    movie[0, ::3, ::3] = 100
    assert len(localize_movie(net_of(), image_from_array(movie, "TYX"), None)) == 100


def test_the_camera_gives_photons() -> None:
    counts = 100 + 2 * 0.5 * movie_of()
    camera = SCMOS(offset_adu=100.0, gain_adu_per_e=2.0, quantum_efficiency=0.5)
    table = localize_movie(net_of(), image_from_array(counts, "TYX"), camera)
    np.testing.assert_allclose(table["photons"], 100 + 10 * np.arange(5), rtol=1e-4)


def test_the_camera_of_the_card() -> None:
    assert card_camera(net_of()).gain_adu_per_e == 2.0
    assert isinstance(card_camera(net_of({"kind": "EMCCD", "em_gain": 200.0})), EMCCD)
    with pytest.raises(InputError, match="camera: this model was trained with a camera"):
        card_camera(net_of({"kind": "SCMOS", "offset_adu": "map of (8, 8)"}))


def test_the_front_door_gives_a_table() -> None:
    counts = 2 * 0.82 * movie_of() + 100
    table = bioflax.predict(net_of(), counts)
    np.testing.assert_allclose(table["photons"], 100 + 10 * np.arange(5), rtol=1e-4)
    assert len(bioflax.predict(net_of(), counts[0], camera=SCMOS())) == 1


def test_an_empty_movie_is_an_empty_table() -> None:
    dark = image_from_array(np.zeros((3, 12, 12), np.float32), "TYX")
    assert len(localize_movie(net_of(), dark, None)) == 0
    assert len(localize_classically(Gaussian(), dark, SCMOS(offset_adu=0.0))) == 0


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [((3, 8, 8), "ZYX", "axes: expected a movie"), ((2, 3, 8, 8), "TCYX", "axes: expected a movie")],
)
def test_what_is_no_movie_is_told(shape, axes, message) -> None:
    with pytest.raises(InputError, match=message):
        localize_movie(net_of(), image_from_array(np.ones(shape, np.float32), axes), None)


def test_a_denoiser_is_no_localizer() -> None:
    model = net_of()
    model.card.physics.clear()
    with pytest.raises(InputError, match="expected a localizer"):
        localize_movie(model, image_from_array(movie_of(), "TYX"), None)
    with pytest.raises(InputError, match="map of the frames' size"):
        localize_movie(net_of(), image_from_array(movie_of(), "TYX"), SCMOS(offset_adu=np.ones((4, 4))))


@pytest.fixture
def spots(tmp_path):
    light = 3000 * np.asarray(
        Gaussian().spots((32, 32), jnp.array([1030.0, 2210.0]), jnp.array([1570.0, 880.0]), jnp.zeros(2))
    )
    counts = np.asarray(SCMOS().expose(jax.random.key(0), jnp.asarray(light.sum(0) + 10) * jnp.ones((70, 1, 1))))
    for name in ("a", "b"):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", counts.astype(np.uint16), metadata={"axes": "TYX"}, photometric="minisblack"
        )
    return tmp_path


def test_files_give_tables_and_pictures(spots) -> None:
    done = localize_files(
        partial(localize_classically, Gaussian(), camera=SCMOS()), spots, spots / "out", render_nm=20.0
    )
    assert done.localizations == 280
    names = {path.name for path in (spots / "out").iterdir()}
    assert names == {f"{stem}{end}" for stem in "ab" for end in (".csv", "_render.tif", "_render.png")}
    table = read_localizations(spots / "out" / "a.csv")
    assert table["frame"].max() == 70 and abs(np.median(table["x_nm"][table["x_nm"] < 1500]) - 1030) < 2
    picture = open_image(spots / "out" / "a_render.tif")
    assert picture.shape == (160, 160) and picture.read().sum() == pytest.approx(140, rel=1e-3)
    assert picture.pixel_nm["X"] == pytest.approx(20.0)


def test_outputs_that_cannot_be_are_told_before_the_work(spots) -> None:
    localizer = partial(localize_classically, Gaussian(), camera=SCMOS())
    for output, message in (("t.csv", "is one table"), ("t.txt", "expected a folder or a table")):
        with pytest.raises(InputError, match=message):
            localize_files(localizer, spots, spots / output)
    with pytest.raises(InputError, match="render_nm"):
        localize_files(localizer, spots / "a.tif", spots / "t.csv", render_nm=-1)
    assert not list(spots.glob("t*"))


def test_the_drift_is_taken_off_on_request_and_written_with_its_error(tmp_path):
    rng = np.random.default_rng(0)
    sites, frames = rng.uniform(500, 7500, (40, 2)), 400
    frame = np.repeat(np.arange(1, frames + 1), 10)
    site = rng.integers(0, len(sites), frame.size)
    moved = np.column_stack([0.4 * (frame - 1), -0.2 * (frame - 1)])  # nm: 160 along x, -80 along y
    xy = sites[site] + moved + rng.normal(0, 10, (frame.size, 2))
    table = Localizations({"frame": frame, "x_nm": xy[:, 0], "y_nm": xy[:, 1]}, 100.0, (80, 80), frames)
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((2, 80, 80), np.uint16), metadata={"axes": "TYX"})
    localizer = lambda movie, on_progress: table  # noqa: E731
    plain = localize_files(localizer, tmp_path / "m.tif", tmp_path / "plain.csv", render_nm=None)
    assert plain.drifts == {} and not (tmp_path / "plain_drift.csv").exists()
    done = localize_files(localizer, tmp_path / "m.tif", tmp_path / "t.csv", render_nm=None, drift_segments=8)
    drift = done.drifts["m.tif"]
    assert drift["drift_x_nm"] == pytest.approx(160, abs=8) and drift["drift_y_nm"] == pytest.approx(80, abs=8)
    assert 0 < drift["error_nm"] < 5 and str(tmp_path / "t_drift.csv") in done.files
    course = np.genfromtxt(tmp_path / "t_drift.csv", delimiter=",", names=True)
    assert len(course) == frames and np.abs(course["x_nm"] - 0.4 * np.arange(frames)).max() < 10
    corrected = read_localizations(tmp_path / "t.csv")
    spread = [np.std(t["x_nm"][site == 3]) for t in (read_localizations(tmp_path / "plain.csv"), corrected)]
    assert spread[0] > 35 and spread[1] < 14
    with pytest.raises(InputError, match="segments"):
        localize_files(localizer, tmp_path / "m.tif", tmp_path / "many.csv", render_nm=None, drift_segments=300)
    assert len(read_localizations(tmp_path / "many.csv")) == len(table)  # what was found is not lost
    tifffile.imwrite(tmp_path / "n.tif", np.zeros((2, 80, 80), np.uint16), metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="no drift found in m.tif, n.tif; tables are written"):
        localize_files(localizer, str(tmp_path / "?.tif"), tmp_path / "both", render_nm=None, drift_segments=300)
    assert len(read_localizations(tmp_path / "both" / "n.csv")) == len(table)  # the movies behind it are localized


def test_the_page_shows_what_was_found_on_the_frames_as_they_were_taken(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(localization_files, "inspect_prediction", lambda table, movie: shown.append(table) or {})
    moved = Localizations(
        {"frame": np.array([1, 2]), "x_nm": np.array([500.0, 600.0]), "y_nm": np.array([500.0] * 2)}, 100.0
    )
    monkeypatch.setattr(localization_files, "without_drift", lambda t, n: (t.with_columns(x_nm=t["x_nm"] - 7), None))
    monkeypatch.setattr(localization_files, "write_drift", lambda path, course: path)
    monkeypatch.setattr(localization_files, "drift_of", lambda course: {})
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((2, 20, 20), np.uint16), metadata={"axes": "TYX"})
    localize_files(
        lambda movie, on_progress: moved,
        tmp_path / "m.tif",
        tmp_path / "t.csv",
        render_nm=None,
        page=True,
        drift_segments=2,
    )
    assert shown[0]["x_nm"].tolist() == [500.0, 600.0]
    assert read_localizations(tmp_path / "t.csv")["x_nm"].tolist() == [493.0, 593.0]
