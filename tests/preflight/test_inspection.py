"""The whole inspection on files with known faults, and on the real frames where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioflax.errors import InputError
from bioflax.io import ImageFile, save_image
from bioflax.preflight import inspect, inspection, write
from bioflax.preflight.advice import correlated_axes, overall, reach_px, structured_mask
from bioflax.preflight.captures import Reader, group_frames, open_input

FIXED_KEYS = (
    "axes dtype pixel_nm gain_adu_per_photon read_noise noise_correlation duplicates blank saturated_fraction "
    "recommended_scheme warnings"
)


def capture(scene: int, seed: int, *, correlated: bool = False, side: int = 96) -> np.ndarray:
    """A photon-limited 16-bit frame of one of several scenes."""
    y, x = np.mgrid[:side, :side]
    spots = np.random.default_rng(scene).uniform(0, side, (6, 2))
    photons = 10 + sum(60 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 150) for a, b in spots)
    generator = np.random.default_rng(1000 + seed)
    noise = np.sqrt(photons) * generator.normal(size=(side, side))
    if correlated:
        noise = (noise + np.roll(noise, 1, 1)) / np.sqrt(2)
    return np.clip(10 * (photons + noise) + 100, 0, 65535).astype(np.uint16)


def save(folder: Path, name: str, image: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.png")


@pytest.fixture
def repeats(tmp_path: Path) -> Path:
    """Two clean scenes and one with correlated noise, three captures each; two of `b` are one file."""
    folder = tmp_path / "raw"
    for scene, name in enumerate("abc"):
        for k in range(3):
            seed = 10 * scene + (0 if name == "b" and k == 1 else k)
            save(folder, f"{name}_{k + 1}", capture(scene, seed, correlated=name == "c"))
    return folder


def test_repeats_with_faults(repeats):
    report = inspect(repeats)
    assert set(FIXED_KEYS.split()) <= set(report)
    assert (report["axes"], report["dtype"], report["frames"], report["pixel_nm"]) == ("YX", "uint16", 9, None)
    assert report["gain_adu_per_photon"] == pytest.approx(10, rel=0.25)
    assert report["recommended_scheme"] == "noise2noise"
    assert report["duplicates"] == [["b_1.png", "b_2.png"]]
    assert [group["name"] for group in report["groups"]] == ["a", "b", "c"]
    assert [group["distinct"] for group in report["groups"]] == [3, 2, 3]
    correlated, duplicated = report["warnings"]
    assert correlated.startswith("c: the noise of neighbouring pixels is correlated (lag 1: X 0.")
    assert "structure_axis=X structure_span=3" in correlated
    assert duplicated.startswith("b_1.png, b_2.png: the same capture, byte for byte.")


def test_single_correlated_image_wants_a_structured_mask(tmp_path):
    save(tmp_path, "alone", capture(0, 0, correlated=True, side=160))
    report = inspect(tmp_path / "alone.png")
    assert report["recommended_scheme"] == "structured_noise2void"
    assert report["recommended_settings"]["structure_axis"] == "X"
    assert report["recommended_settings"]["structure_kind"] == "cross"


def test_single_clean_image_wants_noise2void(tmp_path):
    save(tmp_path, "alone", capture(0, 0, side=160))
    report = inspect(tmp_path)
    assert report["recommended_scheme"] == "noise2void"
    assert report["warnings"] == []
    assert report["groups"][0]["name"] == "alone.png"
    assert report["groups"][0]["method"] == "single image"


def test_numbered_files_of_different_scenes_are_no_repeats(tmp_path):
    for k in range(3):
        save(tmp_path, f"field_{k}", capture(k, k))
    report = inspect(tmp_path)
    assert [group["name"] for group in report["groups"]] == [f"field_{k}.png" for k in range(3)]
    assert report["recommended_scheme"] == "noise2void"


def test_movie_of_a_static_scene(tmp_path):
    movie = np.stack([capture(0, k) for k in range(5)])
    save_image(tmp_path / "movie.tif", movie, "TYX", pixel_nm={"Y": 65.0, "X": 65.0})
    report = inspect(tmp_path / "movie.tif")
    assert report["axes"] == "TYX"
    assert report["pixel_nm"]["X"] == pytest.approx(65)
    assert report["groups"][0]["captures"] == 5
    assert report["recommended_scheme"] == "noise2noise"
    alone = inspect(tmp_path / "movie.tif", repeats=None)
    assert len(alone["groups"]) == 5
    assert alone["recommended_scheme"] == "noise2void"


def test_movie_with_frame_averaging_is_not_paired(tmp_path):
    raw = np.stack([capture(0, k).astype(float) for k in range(7)])
    averaged = ((raw[1:] + raw[:-1]) / 2).astype(np.uint16)
    save_image(tmp_path / "movie.tif", averaged, "TYX")
    report = inspect(tmp_path / "movie.tif")
    assert report["recommended_scheme"] == "noise2void"
    assert any("noise of neighbouring captures is correlated" in warning for warning in report["warnings"])


def test_blank_and_saturated_frames(tmp_path):
    save(tmp_path, "a_1", np.minimum(capture(0, 0), 300).astype(np.uint16))
    save(tmp_path, "b_1", np.zeros((96, 96), np.uint16))
    report = inspect(tmp_path)
    assert report["blank"] == ["b_1.png"]
    assert report["saturation_level"] == 300
    assert report["saturated_fraction"] > 0.01
    assert any(w.startswith("b_1.png: blank") for w in report["warnings"])
    assert any("saturated at 300" in w for w in report["warnings"])


def test_size_limit_holds_from_the_first_frame_on(tmp_path, monkeypatch):
    save(tmp_path, "a", capture(0, 0))
    monkeypatch.setattr(inspection, "READ_LIMIT_BYTES", 100)
    report = inspect(tmp_path)
    assert report["notes"][-1].startswith("1 frames were not searched for duplicates")
    assert not any("grey levels" in note for note in report["notes"])


def test_only_the_window_of_a_lazy_file_is_read(monkeypatch):
    array, cuts = np.arange(3 * 400.0).reshape(3, 20, 20), []
    monkeypatch.setattr(inspection, "WINDOW", 8)
    image = ImageFile(
        Path("z.tif"), "tiff", "TYX", array.shape, array.dtype, None, True, lambda w: cuts.append(w) or array[w]
    )
    (group,) = group_frames((image,), "auto")
    np.testing.assert_array_equal(inspection.load(group, set(), Reader())[:, 0], array[:, 6:14, 6:14])
    assert [cut[1:] for cut in cuts] == [(slice(6, 14), slice(6, 14))] * 3


def test_only_blank_frames(tmp_path):
    save(tmp_path, "b", np.zeros((64, 64), np.uint16))
    report = inspect(tmp_path)
    assert (report["recommended_scheme"], report["groups"]) == (None, [])
    assert report["reasons"] == ["every frame is blank"]
    write(report, tmp_path / "out")


def test_channels_and_volumes_of_an_array():
    generator = np.random.default_rng(0)
    stack = generator.poisson(20, (2, 4, 64, 64)).astype(np.float32)
    report = inspect(stack, axes="CZYX")
    assert [group["name"] for group in report["groups"]] == ["array[C=0]", "array[C=1]"]
    assert set(report["noise_correlation"]) == {"X", "Y", "Z"}
    assert report["gain_adu_per_photon"] is None or report["gain_adu_per_photon"] == pytest.approx(1, rel=0.5)


def test_tiny_image_is_inspected_without_noise():
    report = inspect(np.arange(36, dtype=np.uint8).reshape(6, 6), axes="YX")
    assert report["groups"][0]["method"] is None
    assert "too small or too flat" in " ".join(report["groups"][0]["reasons"])


def test_target_makes_it_supervised(repeats, tmp_path):
    clean = tmp_path / "clean"
    for scene, name in enumerate("abc"):
        save(clean, name, capture(scene, 99))
    assert inspect(repeats, target=clean)["recommended_scheme"] == "supervised"
    (clean / "c.png").unlink()
    with pytest.raises(InputError, match=r"target: no clean image for c_1\.png; found a\.png, b\.png"):
        inspect(repeats, target=clean)
    save(clean, "c", capture(2, 99, side=64))
    with pytest.raises(InputError, match=r"target: c\.png is \(64, 64\) px, c_1\.png is \(96, 96\)"):
        inspect(repeats, target=clean)


def test_groups_to_measure_are_spread(tmp_path):
    for k in range(6):
        save(tmp_path, f"{'abcdef'[k]}x", capture(k, k))
    report = inspect(tmp_path, max_groups=2)
    assert [group["name"] for group in report["groups"]] == ["ax.png", "fx.png"]


def test_written_files_are_plain_json_and_arrays(repeats, tmp_path):
    report = inspect(repeats)
    path = write(report, tmp_path / "run")
    assert path.name == "preflight.json"
    assert json.loads(path.read_text())["warnings"] == report["warnings"]
    with np.load(tmp_path / "run" / "preflight.npz", allow_pickle=False) as arrays:
        assert {"crop_0", "noise_0", "curve_0", "lags_0", "spectrum_0"} <= set(arrays.files)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["preflight.json", "preflight.npz"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: inspect(p / "nowhere"), "no such file or folder"),
        (lambda p: inspect(np.zeros((4, 4))), "axes: an array of shape"),
        (lambda p: inspect(np.zeros((4, 4)), axes="YX", max_groups=0), "max_groups: expected at least 1, found 0"),
        (lambda p: inspect(np.ones((4, 4)), axes="YX", repeats="("), "repeats: expected auto, T, S, none or a regular"),
    ],
)
def test_errors_are_one_line(make, text, tmp_path):
    with pytest.raises(InputError) as caught:
        make(tmp_path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mixed_dtypes_are_refused(tmp_path):
    save(tmp_path, "a", capture(0, 0))
    save(tmp_path, "b", (capture(0, 0) // 256).astype(np.uint8))
    with pytest.raises(InputError, match="expected images of one dtype, found uint16, uint8"):
        inspect(tmp_path)


def test_same_names_in_two_folders_stay_apart(tmp_path):
    for k, folder in enumerate(("day1", "day2")):
        save(tmp_path / folder, "cell_1", capture(k, k))
        save(tmp_path / folder, "cell_2", capture(k, k + 10))
    groups = group_frames(open_input(str(tmp_path / "*" / "*.png"), None), "auto")
    assert [group.name for group in groups] == ["day1/cell", "day2/cell"]
    assert Reader()(groups[1].frames[0]).shape == (1, 96, 96)


def test_axes_of_correlation_and_the_mask_that_fits():
    lags = {"Y": [0.1, 0.0, 0.0], "X": [0.6, 0.3, 0.15]}
    assert correlated_axes(lags, 0.5) == "X"
    assert correlated_axes({"Y": [0.1, 0], "X": [0.2, 0]}, 0.05) == ""
    assert correlated_axes({"Y": [0.1, 0], "X": [0.2, 0]}, 0.3) == "X"
    assert reach_px(lags, "X") == 3
    mask = structured_mask({"correlated_axes": "X", "noise_correlation": lags})
    assert mask == {"structure_axis": "X", "structure_span": 7, "structure_kind": "cross", "radius": 5}


def test_overall_scheme_follows_the_majority():
    single = {"recommended_scheme": "noise2void", "reasons": ["r"], "correlated_axes": ""}
    pair = {**single, "recommended_scheme": "noise2noise"}
    grainy = {**single, "recommended_scheme": "structured_noise2void", "recommended_settings": {"structure_span": 5}}
    assert overall([pair, pair, single])[0] == "noise2noise"
    assert overall([pair, single])[0] == "noise2void"
    assert overall([single, grainy])[:2] == ("structured_noise2void", {"structure_span": 5})


@pytest.mark.acceptance
def test_real_frames(shared):
    """Correlated noise in the three wide-field types, one duplicated capture, and nothing else to warn of."""
    report = inspect(shared / "denoising" / "fmd" / "raw")
    warned = [warning.split(":")[0] for warning in report["warnings"]]
    fields = ["WideField_BPAE_B", "WideField_BPAE_G", "WideField_BPAE_R"]
    assert warned == [*fields, "WideField_BPAE_B_1.png, WideField_BPAE_B_2.png"]
    assert len(report["groups"]) == 12
    for group in report["groups"]:
        lag = max(lags[0] for lags in group["noise_correlation"].values())
        assert (lag > 0.5) == (group["name"] in fields)
