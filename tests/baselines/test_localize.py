"""The classical localizer on simulated movies: what it finds, how exactly, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from bioflax.baselines.localize import check_maps, keep_one, localize
from bioflax.baselines.spots import difference_of_gaussians, find_spots, match_spots, spot_width_px
from bioflax.errors import InputError
from bioflax.optics import EMCCD, SCMOS
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf import Astigmatic, Gaussian, Pupil

SIDE = 64


def grid(camera, psf=Gaussian(), photons=1500.0, background=10.0, frames=2, seed=0):  # noqa: B008
    """A movie of 16 emitters, far apart, at random sub-pixel places; counts and truth (frame from 1, x, y, z in nm)."""
    rng = np.random.default_rng(seed)
    centre = 800 + 1600 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2)
    images, truth = [], []
    for number in range(frames):
        xy, z = centre + rng.uniform(-150, 150, centre.shape), rng.uniform(-300, 300, len(centre))
        spots = psf.spots((SIDE, SIDE), jnp.asarray(xy[:, 0]), jnp.asarray(xy[:, 1]), jnp.asarray(z))
        light = photons * spots.sum(0) + background
        images.append(np.asarray(camera.expose(jax.random.key(seed + number), light)))
        truth.append(np.column_stack([np.full(len(xy), number + 1), xy, z]))
    return np.stack(images), np.concatenate(truth)


def match(table, truth):
    at = np.column_stack([table["frame"] * 1e5, table["x_nm"], table["y_nm"]])
    distance, index = cKDTree(at).query(truth[:, :3] * np.array([1e5, 1, 1]))
    return distance, index


@pytest.mark.parametrize("camera", [SCMOS(), EMCCD()], ids=["scmos", "emccd"])
def test_every_emitter_is_found_where_it_is(camera) -> None:
    movie, truth = grid(camera)
    table = localize(movie, Gaussian(), camera)
    distance, index = match(table, truth)
    assert len(table["frame"]) == len(truth) == 32 and distance.max() < 60
    assert np.mean((distance / np.hypot(table["sigma_x_nm"], table["sigma_y_nm"])[index]) ** 2) < 2.0
    assert table["photons"].mean() == pytest.approx(1500, rel=0.05)
    assert table["background_photons"].mean() == pytest.approx(10, rel=0.1)
    assert "z_nm" not in table and set(np.unique(table["frame"])) == {1, 2}
    assert {len(column) for column in table.values()} == {32}


def test_astigmatism_gives_the_depth() -> None:
    movie, truth = grid(SCMOS(), psf=Astigmatic(), photons=5000.0)
    table = localize(movie, Astigmatic(), SCMOS(), first_frame=1)
    distance, index = match(table, truth)
    assert distance.max() < 60
    error = (table["z_nm"][index] - truth[:, 3]) / table["sigma_z_nm"][index]
    assert np.sqrt(np.mean(error**2)) < 1.5


def test_noise_alone_holds_nearly_no_spot() -> None:
    movie = np.asarray(SCMOS().expose(jax.random.key(7), jnp.full((20, SIDE, SIDE), 20.0)))
    assert len(localize(movie, Gaussian(), SCMOS())["frame"]) <= 2


def test_signal_to_noise_is_in_units_of_the_noise() -> None:
    frames = np.random.default_rng(0).poisson(30, (4, 128, 128)).astype(np.float32)
    low = find_spots(frames, Sensor(), 1.3, threshold=2.5)
    # The filtered noise is normal: one pixel in 161 lies above 2.5 deviations, fewer are local maxima.
    assert 50 < len(low.frame) < 128 * 128 * 4 / 161
    assert len(find_spots(frames, Sensor(), 1.3, threshold=5.5).frame) == 0
    assert np.all(np.diff(low.snr[low.frame == 0]) <= 0)


def test_a_noisy_pixel_is_no_spot() -> None:
    noise = np.full((SIDE, SIDE), 1.0, np.float32)
    noise[30, 30] = 300.0
    frames = np.full((1, SIDE, SIDE), 20, np.float32)
    frames[0, 30, 30] = 500
    assert len(find_spots(frames, Sensor(noise), 1.3).frame) == 0
    assert len(find_spots(frames, Sensor(1.0), 1.3).frame) == 1


def test_spots_are_found_between_pixels() -> None:
    spot = 5000 * np.asarray(Gaussian().spots((21, 21), 1030.0, 1070.0, 0.0)) + 5
    found = find_spots(spot[None], Sensor(), 1.3)
    assert (found.row[0], found.column[0]) == (10, 10)
    assert found.x_px[0] == pytest.approx(10.3, abs=0.06) and found.y_px[0] == pytest.approx(10.7, abs=0.06)


def test_width_and_kernel() -> None:
    assert spot_width_px(Gaussian(sigma_nm=200.0)) == pytest.approx(2.0, rel=0.05)
    assert difference_of_gaussians(1.3).sum() == pytest.approx(0, abs=1e-5)


def test_of_two_fits_at_one_place_the_better_stays() -> None:
    position = np.array([[0.0, 0], [30, 0], [0, 0], [500, 0]])
    frame, good = np.array([0, 0, 1, 0]), np.ones(4, bool)
    keep = keep_one(frame, position, np.array([2.0, 1.0, 9.0, 1.0]), good, 100.0)
    np.testing.assert_array_equal(keep, [False, True, True, True])


@pytest.mark.parametrize("movie", [np.zeros((1, 32, 32)), np.full((1, 32, 32), 65535.0)], ids=["dark", "saturated"])
def test_frames_without_structure_are_empty_tables(movie) -> None:
    table = localize(movie, Gaussian(), SCMOS())
    assert all(len(column) == 0 for column in table.values()) and {"frame", "x_nm", "photons"} <= set(table)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InputError, match=r"camera.offset_adu: .* map of the frames' size"):
        localize(np.ones((1, 32, 32)), Gaussian(), SCMOS(offset_adu=np.ones((16, 16))))
    with pytest.raises(InputError, match="window_px"):
        localize(np.ones((1, 32, 32)), Gaussian(), SCMOS(), window_px=8)
    with pytest.raises(InputError, match=r"expected \(T, H, W\)"):
        localize(np.ones((32, 32)), Gaussian(), SCMOS())
    with pytest.raises(InputError, match="threshold"):
        find_spots(np.ones((1, 32, 32)), Sensor(), 1.3, threshold=0)
    check_maps(SCMOS(offset_adu=np.ones((4, 4))), (4, 4))


def test_real_frames_of_an_scmos_camera(shared) -> None:
    import tifffile

    folder = shared / "localization" / "storm_scmos"
    movie = tifffile.imread(folder / "movie.tif")[:3]
    offset, variance, gain = np.load(folder / "camera_offset_var_gain.npy")
    camera = SCMOS(offset_adu=offset, gain_adu_per_e=gain, read_noise_e=np.sqrt(variance) / gain)
    table = localize(movie, Gaussian(sigma_nm=150.0, pixel_nm=160.0), camera)
    assert 180 < len(table["frame"]) < 360  # 852 in ten frames by another program
    assert 0.5 < np.median(table["chi_square"]) < 1.5


def test_spots_of_several_lobes_are_matched_by_their_own_shape() -> None:
    optics = {"na": 1.33, "wavelength_nm": 670.0, "refractive_index": 1.518, "pupil_px": 24, "subpixels": 1}
    psf = Pupil(pixel_nm=110.0, zernikes_nm=[0.0, 200.0], **optics)
    truth = np.array([[3000.0, 3050.0, 1400.0], [6500.0, 7020.0, -1300.0]], np.float32)
    light = np.asarray(psf.spots((90, 90), *truth.T)).sum(0) * 20_000 + 10
    frames = np.random.default_rng(0).poisson(light, (2, 90, 90)).astype(np.float32)
    frames[1] = np.random.default_rng(1).poisson(10.0, (90, 90))  # nothing in it
    settings = {"z_range_nm": (-1900.0, 1900.0), "window_px": 41}
    found = localize(frames, psf, None, detector="matched", threshold=8.0, **settings)
    assert found["frame"].tolist() == [1, 1]
    order = np.argsort(found["x_nm"])
    for i, axis in enumerate(("x_nm", "y_nm", "z_nm")):
        assert (np.abs(found[axis][order] - truth[:, i]) < 5 * found[f"crlb_{axis}"][order]).all()
    with pytest.raises(InputError, match="detector: 'wavelet' is not known. Take one of: gaussian, matched"):
        localize(frames, psf, None, detector="wavelet", **settings)


def test_the_matched_search_is_blind_to_an_even_background_and_sees_round_spots_too() -> None:
    psf, rng = Gaussian(130.0, 100.0), np.random.default_rng(2)
    dark = rng.poisson(200.0, (20, 48, 48)).astype(np.float32)
    assert len(match_spots(dark, Sensor(), psf, 11, (0.0, 0.0), threshold=6.0, depths=1).frame) == 0
    lit = dark + rng.poisson(3000 * np.asarray(psf.spots((48, 48), 2230.0, 1870.0, 0.0)), dark.shape)
    spots = match_spots(lit, Sensor(), psf, 11, (0.0, 0.0), threshold=6.0, depths=1)
    assert spots.frame.tolist() == list(range(20))
    assert np.abs(spots.x_px - 22.3).max() < 0.3 and np.abs(spots.y_px - 18.7).max() < 0.3


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"threshold": 0.0}, "threshold: expected more than 0"), ({"side": 8}, "side: expected an odd")],
)
def test_the_matched_search_refuses(settings, says) -> None:
    settings = {"side": 11, "threshold": 5.0, **settings}
    with pytest.raises(InputError, match=says):
        match_spots(np.zeros((1, 32, 32)), Sensor(), Gaussian(), settings.pop("side"), (0.0, 0.0), **settings)
