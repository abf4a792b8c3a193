"""Files of an examined result: their names, axes, pixel types and sizes, and nothing where anything fails."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.io import open_image, save_image
from bioflax.models import Gaussian, Residual, UNet
from bioflax.optics import SCMOS, WidefieldOptics
from bioflax.optics.imaging import Imaging
from bioflax.predict import honest_files, predict_maps
from bioflax.predict.files import predict_files
from bioflax.predict.honest_files import predict_honest_file
from bioflax.predict.physics import Physics

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=93.0)
PHYSICS = Physics(Imaging(OPTICS, 2), float(OPTICS.cutoff_per_nm), camera=SCMOS())
PIXEL = {"Y": 93.0, "X": 93.0}
MAPS = ("measured", "prior", "null_space", "chi_square", "error")


def build(make_net, head, channels: int = 1) -> SimpleNamespace:
    backbone = partial(UNet, channels_in=channels, width=4, depth=1)
    module, net = make_net(backbone, partial(head, upscale=2, over_frames=channels > 1))
    return SimpleNamespace(
        net=net,
        variables=net.variables,
        normalization=Normalization("mean_std", (200.0,), (40.0,)),
        spatial_dims=2,
        channels_in=channels,
        channels_out=1,
        receptive_field=module.receptive_field,
        stride=module.stride_total,
        upscale=2,
        patch=None,
        blind_spot=False,
        card=SimpleNamespace(metrics={"detail": 0.1, "null_space_energy": None}),
    )


@pytest.fixture(scope="module")
def model(make_net):
    return build(make_net, Residual)


def counts(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(200, shape).astype(np.uint16)


def plain_json(path) -> dict:
    """The object of a file; NaN and infinity are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def examined(model, tmp_path_factory):
    """A movie of three frames with odd sides."""
    folder = tmp_path_factory.mktemp("honest")
    save_image(folder / "in.tif", counts(3, 21, 26), "TYX", PIXEL)
    return folder, predict_honest_file(model, folder / "in.tif", folder / "out.tif", PHYSICS)


def test_every_map_is_a_file_of_its_own(examined) -> None:
    folder, found = examined
    names = ["out.tif", *(f"out_{name}.tif" for name in MAPS), "out_honesty.json"]
    assert [path.name for path in found.files] == names and found.page == folder / "out_honesty.json"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "in.tif", "out_honesty.npz"])
    for name in ("", *(f"_{name}" for name in MAPS)):
        file = open_image(folder / f"out{name}.tif")
        coarse = name in ("_chi_square", "_error")
        assert file.axes == "TYX" and file.shape == ((3, 21, 26) if coarse else (3, 42, 52))
        assert file.dtype == (np.uint16 if name == "" else np.float32)
        assert file.pixel_nm["X"] == pytest.approx(93.0 if coarse else 46.5)
        assert np.isfinite(file.read()).all()


def test_parts_add_up_to_the_result_of_each_plane(examined, model) -> None:
    folder, _ = examined
    image = predict_maps(model, counts(3, 21, 26), "TYX")["image"]
    measured, prior = (open_image(folder / f"out_{name}.tif").read() for name in ("measured", "prior"))
    np.testing.assert_allclose(measured + prior, image, atol=0.01)
    assert np.abs(open_image(folder / "out.tif").read() - np.clip(image, 0, 65535)).max() <= 0.5 + 1e-3
    assert (measured[0] != measured[1]).any()


def test_the_page_has_the_numbers_of_all_planes_and_the_pictures_of_one(examined) -> None:
    folder, found = examined
    facts = plain_json(folder / "out_honesty.json")
    assert facts["numbers"] == found.numbers and len(found.numbers) == 3
    assert all(np.isfinite(list(row.values())).all() for row in found.numbers)
    assert facts["flags"] == found.flags == list(dict.fromkeys(found.flags))
    assert (facts["source"], facts["output"], facts["upscale"], facts["frames"]) == ("in.tif", "out.tif", 2, 1)
    assert facts["fine_nm"] == 46.5 and facts["cutoff_nm"] == pytest.approx(520 / 2.8)
    assert facts["noise"] == "the camera" and facts["same_unit"] is True
    with np.load(folder / "out_honesty.npz") as pictures:
        assert set(pictures) == {"image", "raw", "seen", *MAPS}
        np.testing.assert_array_equal(pictures["raw"], counts(3, 21, 26)[1])
        np.testing.assert_array_equal(pictures["prior"], open_image(folder / "out_prior.tif").read()[1])


def test_frames_of_a_field_become_one_plane(make_net, tmp_path) -> None:
    frames = counts(2, 3, 16, 18)
    save_image(tmp_path / "in.tif", frames, "TCYX", PIXEL)
    model = build(make_net, Residual, 3)
    predict_honest_file(model, tmp_path / "in.tif", tmp_path / "out.tif", PHYSICS, dtype="float32")
    error, result = (open_image(tmp_path / f"out{name}.tif") for name in ("_error", ""))
    assert (error.axes, error.shape, result.axes, result.shape) == ("TYX", (2, 16, 18), "TYX", (2, 32, 36))
    np.testing.assert_array_equal(result.read(), predict_maps(model, frames, "TCYX")["image"])
    with np.load(tmp_path / "out_honesty.npz") as pictures:
        np.testing.assert_allclose(pictures["raw"], frames[1].mean(0), rtol=1e-6)


def test_a_scale_stands_beside_the_rest(make_net, tmp_path) -> None:
    save_image(tmp_path / "in.tif", counts(16, 18), "YX")
    model = build(make_net, Gaussian)
    found = predict_honest_file(model, tmp_path / "in.tif", tmp_path / "out.ome.tif", PHYSICS)
    assert [path.name for path in found.files][:2] == ["out.ome.tif", "out_scale.ome.tif"]
    scale = open_image(tmp_path / "out_scale.ome.tif")
    np.testing.assert_array_equal(scale.read(), predict_maps(model, counts(16, 18), "YX")["scale"])
    assert (tmp_path / "out_honesty.json").exists() and scale.pixel_nm is None


def test_planes_are_named_and_pixels_square(model, tmp_path) -> None:
    save_image(tmp_path / "stack.tif", np.stack([counts(16, 18)] * 2), "TYX", {"Y": 140.0, "X": 140.0})
    found = predict_honest_file(model, tmp_path / "stack.tif", tmp_path / "out.tif", PHYSICS)
    assert {flag[:9] for flag in found.flags if "wrong scale" in flag} == {"plane 1: ", "plane 2: "}
    save_image(tmp_path / "flat.tif", counts(16, 18), "YX", {"Y": 200.0, "X": 100.0})
    with pytest.raises(InputError, match="square pixels"):
        predict_honest_file(model, tmp_path / "flat.tif", tmp_path / "none.tif", PHYSICS)
    assert not (tmp_path / "none.tif").exists()


def test_a_folder_has_means_and_flags_with_the_name_of_the_file(model, tmp_path) -> None:
    for name, pixel in (("a", 93.0), ("b", 140.0)):
        save_image(tmp_path / "in" / f"{name}.tif", counts(16, 18), "YX", {"Y": pixel, "X": pixel})
    done = predict_files(model, tmp_path / "in", tmp_path / "out", physics=PHYSICS)
    assert [path.rsplit("/", 1)[1] for path in done.pages] == ["a_honesty.json", "b_honesty.json"]
    rows = [plain_json(tmp_path / "out" / f"{name}_honesty.json")["numbers"][0] for name in "ab"]
    assert done.numbers["chi_square"] == pytest.approx(np.mean([row["chi_square"] for row in rows]))
    wrong = [flag for flag in done.flags if "wrong scale for this model" in flag]
    assert len(wrong) == 1 and wrong[0].startswith("b.tif: The camera pixel is 140 nm")


def test_two_results_of_one_name_are_refused_before_the_work(model, tmp_path) -> None:
    """The measured part of a would lie where the result of a_measured does."""
    for name in ("a", "a_measured"):
        save_image(tmp_path / "in" / f"{name}.tif", counts(16, 18), "YX")
    with pytest.raises(InputError, match="output: .*a_measured.tif would be written twice; rename an input"):
        predict_files(model, tmp_path / "in", tmp_path / "out", physics=PHYSICS)
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_refused(model, make_net, tmp_path) -> None:
    save_image(tmp_path / "in.tif", counts(16, 18), "YX")
    for change, says in (
        ({"channels_out": 2}, "expected a 2-D model that makes one channel, found a 2-D one of 2"),
        ({"spatial_dims": 3}, "expected a 2-D model that makes one channel, found a 3-D one of 1"),
    ):
        other = SimpleNamespace(**(vars(model) | change))
        with pytest.raises(InputError, match=says):
            predict_honest_file(other, tmp_path / "in.tif", tmp_path / "out.tif", PHYSICS)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_nothing_is_left_of_a_failure(model, tmp_path, monkeypatch) -> None:
    save_image(tmp_path / "in.tif", counts(2, 16, 18), "TYX")
    seen = []

    def fails(*arguments, **options):
        seen.append(1)
        if len(seen) == 2:
            raise RuntimeError("power cut")
        return examine(*arguments, **options)

    examine = honest_files.examine
    monkeypatch.setattr(honest_files, "examine", fails)
    with pytest.raises(RuntimeError, match="power cut"):
        predict_honest_file(model, tmp_path / "in.tif", tmp_path / "out.tif", PHYSICS)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]

    monkeypatch.setattr(honest_files, "examine", examine)
    monkeypatch.setattr(np, "savez_compressed", lambda stream, **arrays: stream.write(b"half") and fails_now())

    def fails_now():
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError, match="disk gone"):
        predict_honest_file(model, tmp_path / "in.tif", tmp_path / "out.tif", PHYSICS)
    left = [path.name for path in tmp_path.iterdir()]
    assert not any(name.endswith(".part") or "_honesty" in name for name in left)  # whole maps, and no page
