"""Camera images and their targets on a finer grid: cut at one place, turned together, registered, or refused."""

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from bioflax.data import PairedImages, SimulatedPairs, open_folder
from bioflax.errors import InputError
from bioflax.io import save_image
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import bin_mean
from bioflax.simulate import Magnified, Puncta

OPTIONS = {"patch": 8, "normalization": "none", "register": "none", "validation": 0.0}


def write(folder, fine, *, upscale=2, name="a", frames=None, moved_px=(0.0, 0.0), pixel_nm=None):
    """A target, and the image whose pixels are exactly its means; both moved apart if asked."""
    image = bin_mean(np.asarray(shift(fine, moved_px, order=3, mode="nearest") if any(moved_px) else fine), upscale)
    if frames is not None:
        image = np.stack([(number + 1) * image for number in range(frames)])
    size = None if pixel_nm is None else {"Y": pixel_nm, "X": pixel_nm}
    save_image(folder / "image" / f"{name}.tif", image.astype(np.float32), "YX" if frames is None else "TYX", size)
    save_image(folder / "target" / f"{name}.tif", fine.astype(np.float32), "YX")
    return image


def paired(folder, **options):
    return PairedImages(str(folder / "image"), str(folder / "target"), **{**OPTIONS, **options})


def prepare(folder, *, augment=("flip", "rot90"), mode="target", dims=2, batch=16, **options):
    return paired(folder, **options).prepare(mode, augment, spatial_dims=dims, seed=0, batch=batch)


def draw(source, step=0):
    batch = source.batch(step) if hasattr(source, "batch") else source.sample(jax.random.key(step), 16)
    return {name: np.asarray(part) for name, part in batch.items()}


def means(target, upscale):
    return bin_mean(target[..., 0].astype(np.float64), upscale)


@pytest.fixture(scope="module")
def random():
    """Two fields of unlike size, no symmetry anywhere."""
    generator = np.random.default_rng(0)
    return [generator.random((48, 60)) * 100, generator.random((54, 42)) * 100]


@pytest.mark.parametrize("limit_mb", [100.0, 0.0])
@pytest.mark.parametrize("upscale", [2, 3])
def test_a_target_patch_is_the_place_of_its_image_turned_alike(tmp_path, random, upscale, limit_mb) -> None:
    for number, fine in enumerate(random):
        write(tmp_path, fine, upscale=upscale, name=f"n{number}")
    prepared = prepare(tmp_path, device_limit_mb=limit_mb, validation=0.2)
    batch = draw(prepared.source)
    assert hasattr(prepared.source, "batch") is (limit_mb == 0.0)
    assert batch["image"].shape == (16, 8, 8, 1) and batch["target"].shape == (16, 8 * upscale, 8 * upscale, 1)
    np.testing.assert_allclose(means(batch["target"], upscale), batch["image"][..., 0], rtol=1e-5)
    plain = draw(prepare(tmp_path, augment=(), device_limit_mb=limit_mb, validation=0.2).source)
    assert not np.array_equal(plain["image"], batch["image"]), "nothing was turned"
    held = prepared.validation[0]
    np.testing.assert_allclose(means(held["target"], upscale), held["image"][..., 0], rtol=1e-5)
    assert prepared.physics["upscale"] == upscale and prepared.reference == "target" and prepared.channels == 1


def test_memory_counts_the_fine_targets(tmp_path, random) -> None:
    from bioflax.data import stack_megabytes

    write(tmp_path, random[0], frames=3)
    images = open_folder(tmp_path / "image", tmp_path / "target", frames_axis="T", upscale=None)
    assert stack_megabytes(images, "target") == pytest.approx((3 + 4) * 24 * 30 * 4 / 1e6)


def test_exactly_the_box_is_held_out(tmp_path, random) -> None:
    image = write(tmp_path, random[0])
    prepared = prepare(tmp_path, validation_box=[4, 14, 18, 27], batch=1)
    held = np.unique(np.concatenate([one["image"].ravel() for one in prepared.validation]))
    np.testing.assert_array_equal(held, np.unique(image[4:14, 18:27].astype(np.float32)))
    seen = np.concatenate([draw(prepared.source, step)["image"].ravel() for step in range(20)])
    assert not np.isin(seen, held).any()


def test_raw_frames_are_channels_of_one_scale_that_nothing_turns(tmp_path, random) -> None:
    image = write(tmp_path, random[0], frames=3)
    prepared = prepare(tmp_path, frames_axis="T", normalization="mean_std")
    assert prepared.channels == prepared.physics["frames"] == 3
    assert prepared.normalization.scale == pytest.approx((image.std(),), rel=1e-5)
    batch = draw(prepared.source)
    fine = random[0] * 1.0
    target = batch["target"] * fine.std() + fine.mean()  # its own numbers
    frames = prepared.normalization.invert(batch["image"])
    np.testing.assert_allclose(frames, means(target, 2)[..., None] * [1, 2, 3], rtol=1e-4)
    assert batch["image"].shape == (16, 8, 8, 3) and batch["target"].shape == (16, 16, 16, 1)
    rows = np.stack([frames[0, :, :, 0], image[0, :8, :8]])
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (8, 8))
    assert np.isclose(windows, rows[0], rtol=1e-4).all((-1, -2)).any(), "a patch was turned"


def test_captures_of_one_field_share_its_target(tmp_path, random) -> None:
    image = write(tmp_path, random[0], name="cell")
    (tmp_path / "image" / "cell.tif").unlink()
    for name, photons in (("low", 1.0), ("high", 10.0)):
        save_image(tmp_path / "image" / f"cell_{name}.tif", (photons * image).astype(np.float32), "YX")
    prepared = prepare(tmp_path, repeats="_(low|high)$")
    batch = draw(prepared.source)
    ratio = batch["image"][..., 0] / means(batch["target"], 2)
    assert set(ratio.ravel().round(3)) == {1.0, 10.0}
    assert prepared.trained_on["captures"] == 2 and prepared.trained_on["fields"] == 1


def lines(seed=3):
    """A smooth picture that a shift by parts of a pixel does not spoil, on the fine grid."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(160, 160)), 4.0)
    return np.exp(8.0 * field / field.std() / 4)


def test_a_target_is_moved_onto_its_image(tmp_path) -> None:
    fine = lines()
    write(tmp_path, fine, moved_px=(1.2, -0.6))  # fine pixels: 0.6 and -0.3 of the camera's
    prepared = prepare(tmp_path, register="apply", patch=16)
    found = prepared.trained_on["registration"]
    assert found["shifts_px"]["a"][:2] == pytest.approx([0.6, -0.3], abs=0.03) and found["shifts_px"]["a"][2] > 0.9
    disk = prepare(tmp_path, register="apply", patch=16, device_limit_mb=0.0)
    crooked = draw(prepare(tmp_path, patch=16).source)
    wrong = np.abs(means(crooked["target"], 2) - crooked["image"][..., 0]).mean()
    for source in (prepared.source, disk.source):
        batch = draw(source)
        assert np.abs(means(batch["target"], 2) - batch["image"][..., 0]).mean() < 0.1 * wrong
    low = np.asarray(prepared.source.table.low) + np.asarray(prepared.source.table.extent) - 1 + 16
    np.testing.assert_array_equal(low, [[78, 78]])  # a border as wide as the shift is left out
    with pytest.warns(UserWarning, match="register=apply moves it"):
        checked = prepare(tmp_path, register="check", patch=16)
    assert checked.trained_on["registration"]["shifts_px"] == found["shifts_px"]


def test_the_pixel_size_comes_from_whoever_says_it(tmp_path, random) -> None:
    write(tmp_path, random[0], pixel_nm=90.0)
    lens = {"na": 1.4, "wavelength_nm": 520.0}
    prepared = prepare(tmp_path, **lens)
    assert prepared.pixel_nm == {"Y": pytest.approx(90.0), "X": pytest.approx(90.0)}
    assert prepared.physics | lens == prepared.physics and prepared.physics["units"] == "own"
    assert prepare(tmp_path, pixel_nm=80.0, target_normalization="same").physics["pixel_nm"] == 80.0
    save_image(tmp_path / "target" / "a.tif", random[0].astype(np.float32), "YX", {"Y": 30.0, "X": 30.0})
    with pytest.raises(InputError, match="the images say 90 nm, the targets 30 nm, which is no 2 times less"):
        prepare(tmp_path)


def other_place(folder):
    write(folder, lines())
    save_image(folder / "target" / "a.tif", lines(seed=4).astype(np.float32), "YX")


def ratio(height, width):
    return lambda folder: save_image(folder / "target" / "a.tif", np.ones((height, width), np.float32), "YX")


def no_target(folder):
    (folder / "target" / "a.tif").rename(folder / "target" / "other.tif")
    write(folder, np.random.default_rng(1).random((48, 60)), name="b")


def fewer_frames(folder):
    for name, frames in (("a", 3), ("b", 2)):
        write(folder, np.random.default_rng(1).random((48, 60)), name=name, frames=frames)


def far_away(folder):
    write(folder, lines(), moved_px=(5.0, 0.0))


def no_change(folder):
    pass


@pytest.mark.parametrize(
    ("damage", "options", "says"),
    [
        (ratio(50, 60), {}, r"must be a whole number of times larger.*2\.083 and 2 times"),
        (ratio(48, 90), {}, "the same along Y and X; found .48, 90., 2 and 3 times"),
        (ratio(12, 15), {}, r"0\.5 and 0\.5 times"),
        (ratio(24 * 9, 30 * 9), {}, "upscale: expected a whole number from 1 to 8, found 9"),
        (no_change, {"upscale": 3}, "must be 3 times larger, as upscale says; found .48, 60., 2 times"),
        (no_change, {"upscale": "many"}, "data.upscale: expected auto or a whole number"),
        (no_target, {}, "targets: no file for a"),
        (other_place, {"register": "check"}, "does not show what a shows: correlation"),
        (far_away, {"register": "check"}, r"move by 2\.\d+ px \(Y\) and -?0\.0\d px"),
        (no_change, {"register": "maybe"}, "data.register: expected one of apply, check, none"),
        (no_change, {"na": 1.4, "wavelength_nm": 520.0}, "data.pixel_nm: neither the images nor the targets"),
        (no_change, {"na": 1.4}, "data.na, data.wavelength_nm: give both"),
        (no_change, {"na": 1.4, "wavelength_nm": 520e3, "pixel_nm": 93.0}, "wavelength_nm: expected at least 200"),
        (no_change, {"period_nm": 0.0}, "data.period_nm: expected more than 0"),
        (no_change, {"frames_axis": "T"}, "frames_axis: expected one of the other axes of .*YX"),
        (fewer_frames, {"frames_axis": "T"}, "must have the same number of frames, found 2 beside 3"),
        (no_change, {"normalization": "photons"}, "data.normalization: expected one of mean_std"),
        (no_change, {"validation_box": [4, 4, 0, 9]}, "validation_box: expected pixels"),
        (no_change, {"validation_box": [40, 50, 0, 9]}, "lies outside a"),
        (no_change, {"patch": 40}, "patch: .40, 40. does not fit into a"),
        (no_change, {"mode": "pairs"}, "the task asks for 'pairs'"),
        (no_change, {"dims": 3}, "2-D"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(tmp_path, random, damage, options, says) -> None:
    write(tmp_path, random[0])
    damage(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        prepare(tmp_path, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def simulated():
    simulator = Magnified(Puncta(), size=12, illumination=Illumination(angle_deg=(0.0, 90.0), period_nm=300.0))
    return SimulatedPairs(simulator, validation=5).prepare("target", (), spatial_dims=2, seed=1, batch=4)


def test_simulated_pairs_have_one_unit(simulated) -> None:
    assert simulated.channels == 6 and len(simulated.normalization.scale) == 1 and simulated.reference == "target"
    both = jax.jit(lambda key, *sources: [source.sample(key, 4) for source in sources])
    batch, raw = both(jax.random.key(3), simulated.source, simulated.simulator)
    assert batch["image"].shape == (4, 12, 12, 6) and batch["target"].shape == (4, 24, 24, 1)
    for name in ("image", "target"):
        np.testing.assert_allclose(simulated.normalization.invert(batch[name]), raw[name], rtol=1e-3, atol=0.05)
    held = simulated.validation
    assert len(held) == 2 and held[0]["target"].shape == (4, 24, 24, 1)
    assert not np.array_equal(held[0]["image"], held[1]["image"])


def test_a_card_tells_the_physics_of_simulated_pairs(simulated) -> None:
    import json

    from bioflax.optics import SCMOS
    from bioflax.optics.psf import WidefieldOptics

    physics = json.loads(json.dumps(simulated.physics))
    names = ("na", "wavelength_nm", "pixel_nm", "refractive_index", "defocus_nm", "haze", "haze_nm")
    optics = WidefieldOptics(**{name: physics[name] for name in names})
    np.testing.assert_array_equal(optics.otf((8, 8)), simulated.simulator.optics.otf((8, 8)))
    camera = SCMOS(**{name: value for name, value in physics["camera"].items() if name != "kind"})
    assert float(camera.variance(10.0)) == pytest.approx(float(simulated.simulator.camera.variance(10.0)))
    assert (physics["upscale"], physics["frames"], physics["units"]) == (2, 6, "input")
    assert physics["illumination"]["angle_deg"] == [0.0, 90.0] and physics["photons"] == [30.0, 300.0]
    assert simulated.pixel_nm == {"Y": 100.0, "X": 100.0}


def test_simulated_pairs_refuse_what_they_are_not_for() -> None:
    with pytest.raises(InputError, match="the task asks for 'pairs'"):
        SimulatedPairs(Magnified(size=12)).prepare("pairs", (), spatial_dims=2, seed=0, batch=4)
    with pytest.raises(InputError, match="2-D"):
        SimulatedPairs(Magnified(size=12)).prepare("target", (), spatial_dims=3, seed=0, batch=4)
    with pytest.raises(InputError, match="expected one that makes pairs"):
        SimulatedPairs(object()).prepare("target", (), spatial_dims=2, seed=0, batch=4)
