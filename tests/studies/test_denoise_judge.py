"""The denoising judge: paired items, tallies equal to metrics by hand, options of a test, rivals, the exact bound."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from bioflax import metrics
from bioflax.data import FolderData
from bioflax.data.normalize import Normalization
from bioflax.errors import InputError
from bioflax.optics.camera import SCMOS
from bioflax.simulate import Blank, Filaments, GaussianProcess, RowNoise, Simulator
from bioflax.simulate.uneven import AnyCamera, UnevenProcess
from bioflax.studies.judges import make_judge
from bioflax.studies.judges.denoise import DenoiseJudge, flat_parts, restore, tally
from bioflax.studies.judges.denoise_items import DenoiseTests
from bioflax.studies.judges.process_bound import posterior_mean

JUDGE = DenoiseJudge()
SIZE = 32


def scene(**changed) -> SimpleNamespace:
    settings = {
        "scene": Filaments(),
        "camera": SCMOS(),
        "photons": 30.0,
        "background_photons": 3.0,
        "size": SIZE,
        "margin": 8,
    }
    return SimpleNamespace(simulator=Simulator(**{**settings, **changed}))


def model(gain: float = 1.0, scale: float = 7.0) -> SimpleNamespace:
    """A 3 x 3 mean, times a gain, in units of its own."""

    def apply(variables, image, dtype=None):
        total = jax.lax.reduce_window(image, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
        return {"image": variables["gain"] * total / 9.0}

    return SimpleNamespace(
        net=SimpleNamespace(apply=apply), variables={"gain": jnp.asarray(gain)}, upscale=1, channels_in=1, stride=1,
        normalization=Normalization("mean_std", (100.0,), (scale,)), receptive_field=3, patch=None,
    )  # fmt: skip


def box(images: np.ndarray) -> np.ndarray:
    framed = np.pad(images, [(0, 0), (1, 1), (1, 1)])
    return sum(framed[:, y : y + images.shape[1], x : x + images.shape[2]] for y in range(3) for x in range(3)) / 9


@pytest.fixture(scope="module")
def tests() -> DenoiseTests:
    return JUDGE.draw(scene(), None, 4, 1000, {})


def test_items_are_paired_across_conditions(tests: DenoiseTests) -> None:
    few, brighter = JUDGE.draw(scene(), None, 2, 1000, {}), JUDGE.draw(scene(photons=60.0), None, 4, 1000, {})
    np.testing.assert_array_equal(few.noisy, tests.noisy[:2])
    # Twice the light: the same density, so the expected counts above the background double.
    flat = float(SCMOS().expected(jnp.asarray(3.0)))
    np.testing.assert_allclose(brighter.clean - flat, 2 * (tests.clean - flat), rtol=1e-3, atol=1e-2)
    # And the same noise key: where there is little but background, the noise is alike.
    noise = [(one.observed - one.clean).ravel() for one in (tests, brighter)]
    assert np.corrcoef(*noise)[0, 1] > 0.9
    assert not np.array_equal(JUDGE.draw(scene(), None, 2, 1001, {}).noisy, few.noisy)
    two = JUDGE.draw(scene(exposures=2), None, 2, 1000, {})
    np.testing.assert_array_equal(two.noisy, few.noisy)


def test_tallies_are_the_metrics_of_the_arrays(tests: DenoiseTests) -> None:
    judged = JUDGE.score([model()], None, tests, {})
    expected = 100 + 7 * box((tests.observed - 100) / 7)
    span = tests.clean.max() - tests.clean.min()
    psnr = [10 * np.log10(span**2 / np.mean((a - b) ** 2)) for a, b in zip(expected, tests.clean)]
    noisy = [10 * np.log10(span**2 / np.mean((a - b) ** 2)) for a, b in zip(tests.observed, tests.clean)]
    np.testing.assert_allclose(judged.tallies["psnr_db"].by_item, psnr, atol=1e-3)
    np.testing.assert_allclose(judged.tallies["gain_db"].by_item, np.subtract(psnr, noisy), atol=1e-3)
    np.testing.assert_allclose(
        judged.tallies["ssim"].by_item, [metrics.ssim(a, b, span) for a, b in zip(expected, tests.clean)], atol=1e-4
    )
    np.testing.assert_allclose(
        judged.tallies["si_psnr_db"].by_item, [metrics.si_psnr(a, b) for a, b in zip(expected, tests.clean)], atol=1e-3
    )
    worst = int(np.argmin(psnr))
    np.testing.assert_allclose(judged.picture["output"], expected[worst], rtol=1e-4)
    np.testing.assert_allclose(judged.picture["truth"], tests.clean[worst], rtol=1e-6)


def test_an_ensemble_is_the_mean_of_its_outputs(tests: DenoiseTests) -> None:
    both = JUDGE.score([model(0.5), model(1.1)], None, tests, {})
    middle = JUDGE.score([model(0.8)], None, tests, {})
    np.testing.assert_allclose(both.tallies["psnr_db"].by_item, middle.tallies["psnr_db"].by_item, atol=1e-3)


def test_tiles_equal_the_whole_if_they_have_context(tests: DenoiseTests) -> None:
    whole = restore(model(), tests.noisy, {})
    np.testing.assert_allclose(restore(model(), tests.noisy, {"tile": 16}), whole, rtol=1e-5)
    cut = restore(model(), tests.noisy, {"tile": 16, "halo": 0})
    seams = np.abs(cut - whole)[0, :, :, 0]
    assert seams[15:17].max() > 1.0 and seams[2:14, 2:14].max() < 1e-3, "only the seams change"


def test_input_in_other_units_comes_back_in_its_own(tests: DenoiseTests) -> None:
    linear = model()  # with zeros beyond the border, which is at the offset of its own units
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(
        restore(linear, tests.noisy, {"scale": 3.0, "offset": 50.0})[inner],
        restore(linear, tests.noisy, {})[inner],
        rtol=1e-4,
    )
    # A net that is not linear in the counts suffers, unless each picture is brought to its own units.
    bent = model()
    bent.net = SimpleNamespace(apply=lambda variables, image, dtype=None: {"image": jnp.tanh(image)})
    plain, doubled, own, own_doubled = (
        restore(bent, tests.noisy, options)
        for options in (
            {},
            {"scale": 2.0},
            {"normalize": "image"},
            {"normalize": "image", "scale": 2.0, "offset": -30.0},
        )
    )
    assert np.abs(doubled - plain).max() > 1.0
    np.testing.assert_allclose(own_doubled, own, rtol=1e-3)
    alone = restore(bent, tests.noisy[1:2], {"normalize": "image"})
    np.testing.assert_allclose(alone[0], own[1], rtol=1e-5)


def test_the_identity_gains_nothing_and_perfection_is_finite(tests: DenoiseTests) -> None:
    found = tally(tests.observed, tests)
    np.testing.assert_allclose(found["gain_db"].by_item, 0.0, atol=1e-12)
    perfect = tally(tests.clean, tests)
    assert perfect["psnr_db"].value == pytest.approx(120.0) and np.isfinite(perfect["gain_db"].value)


def test_false_structure_of_a_blank_field_is_known() -> None:
    blank = JUDGE.draw(scene(scene=Blank(), size=96), None, 4, 5, {})
    found = tally(blank.observed, blank)
    # White noise blurred by a Gaussian of sigma s has the variance 1 / (4 pi s^2) of before (more at the mirrored border).
    assert found["false_structure"].value == pytest.approx(np.sqrt(1 / (4 * np.pi * 1.5**2)), rel=0.06)
    assert np.isnan(found["psnr_db"].value) and np.isnan(found["ssim"].value), "a flat truth has no range"
    shifted = blank.clean + 0.5 * np.std(blank.observed - blank.clean)
    found = tally(shifted, blank)
    assert found["flat_bias"].value == pytest.approx(0.5, rel=0.02) and found["false_structure"].value < 1e-6
    x = np.arange(96)
    wave = np.std(blank.observed - blank.clean) * np.sqrt(2) * np.sin(2 * np.pi * x / 32)
    assert tally(blank.clean + wave, blank)["false_structure"].value == pytest.approx(
        np.exp(-2 * (np.pi * 1.5 / 32) ** 2), rel=0.03
    )


def test_flat_parts_lie_beside_structure() -> None:
    clean = np.zeros((20, 20))
    clean[10, 10] = 1.0
    flat = flat_parts(clean, 2.0)
    assert (~flat).sum() == 81 and not flat[6:15, 6:15].any()
    assert flat_parts(clean, 4.0).all()


def test_rivals_and_the_oracle(tests: DenoiseTests) -> None:
    found = JUDGE.rivals(tests, None, ["gaussian", "oracle_wiener"], {})
    value = {name: one["psnr_db"].value for name, one in found.baselines.items()}
    assert value["input"] < value["gaussian"] < value["oracle_wiener"] and not found.bounds
    with pytest.raises(InputError, match="found 'bm4d'"):
        JUDGE.rivals(tests, None, ["bm4d"], {})


def test_the_bound_of_a_process_is_its_posterior_mean() -> None:
    process = GaussianProcess(size=16, correlation_px=3.0, noise_std=0.4)
    tests = JUDGE.draw(SimpleNamespace(simulator=process), None, 6, 1, {})
    covariance, place = np.fft.ifft2(process.spectrum).real, np.stack(np.mgrid[:16, :16]).reshape(2, -1)
    apart = (place[:, :, None] - place[:, None]) % len(covariance)
    matrix = covariance[apart[0], apart[1]]
    exact = (matrix @ np.linalg.solve(matrix + 0.16 * np.eye(256), tests.observed.reshape(6, -1).T)).T.reshape(
        6, 16, 16
    )
    np.testing.assert_allclose(posterior_mean(process, tests.observed), exact, atol=1e-6)
    found = JUDGE.rivals(tests, None, ["gaussian"], {})
    assert found.bounds["gain_db"].value > found.baselines["gaussian"]["gain_db"].value > 0
    np.testing.assert_allclose(found.bounds["psnr_db"].by_item, tally(exact, tests)["psnr_db"].by_item, atol=1e-4)


def test_crops_of_a_folder_are_fixed_and_held_out(tmp_path) -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)
    for name, noise in (("noisy", 1000.0), ("clean", 0.0)):
        (tmp_path / name).mkdir()
        for number in range(2):
            image = 64 * y + x + noise + 5000 * number
            tifffile.imwrite(tmp_path / name / f"cell{number}.tif", image.astype(np.float32))
    data = FolderData(str(tmp_path / "noisy"), str(tmp_path / "clean"), axes="YX", patch=16, validation=0.1)
    found, fewer = (JUDGE.draw(data, None, n, 3, {}) for n in (8, 2))
    np.testing.assert_array_equal(found.noisy[:2], fewer.noisy)
    np.testing.assert_allclose(found.observed - found.clean, 1000.0)
    assert found.noisy.shape == (8, 16, 16, 1)
    first = found.clean.max(axis=(1, 2)) < 5000
    rows, columns = found.clean % 5000 // 64, found.clean % 64
    # Held out are 21 px: of the first file the corner at the end, of the second the one above it.
    assert rows[first].min() >= 43 and rows[~first].max() < 24 and columns[first].min() >= 43
    assert 0 < first.sum() < 8 and len(np.unique(found.clean[:, 0, 0])) > 4
    every = JUDGE.draw(data, None, 64, 3, {"part": "all"})
    assert np.ptp(every.clean) > np.ptp(found.clean)
    with pytest.raises(InputError, match="data.targets"):
        JUDGE.draw(FolderData(str(tmp_path / "noisy"), patch=16), None, 2, 3, {})
    with pytest.raises(InputError, match="each seed holds out other files"):
        JUDGE.draw(FolderData(data.folder, data.targets, axes="YX", patch=16, validation=0.0), None, 2, 3, {})


def test_what_cannot_be_is_said(tests: DenoiseTests) -> None:
    assert isinstance(make_judge("denoise"), DenoiseJudge)
    with pytest.raises(InputError, match="test.tiles is not known"):
        JUDGE.score([model()], None, tests, {"tiles": 3})
    with pytest.raises(InputError, match="test.normalize"):
        JUDGE.score([model()], None, tests, {"normalize": "self"})
    with pytest.raises(InputError, match="test.scale"):
        JUDGE.score([model()], None, tests, {"scale": 0})
    finer = model()
    finer.upscale = 2
    with pytest.raises(InputError, match="2 times finer"):
        JUDGE.score([finer], None, tests, {})


def test_uneven_noise_is_the_plain_noise_scaled() -> None:
    key, plain = jax.random.key(3), GaussianProcess(size=16, noise_std=1.0)
    uneven = UnevenProcess(size=16, noise_std=[0.1, 10.0])
    a, b = plain.sample(key, 64), uneven.sample(key, 64)
    np.testing.assert_array_equal(a["target"], b["target"])
    ratio = np.asarray((b["image"] - b["target"]) / (a["image"] - a["target"]))
    strength = np.median(ratio, axis=(1, 2, 3))
    np.testing.assert_allclose(ratio, np.broadcast_to(strength[:, None, None, None], ratio.shape), rtol=0.05, atol=1e-3)
    assert 0.1 <= strength.min() < 0.3 and 4.0 < strength.max() <= 10.0
    assert np.mean(np.log10(strength)) == pytest.approx(0.0, abs=0.25)
    with pytest.raises(InputError, match="UnevenProcess.noise_std"):
        UnevenProcess(noise_std=1.0)


def test_any_camera_takes_each_picture_with_one_of_them() -> None:
    cameras = (SCMOS(read_noise_e=0.0, bits=None), RowNoise(read_noise_e=0.0, row_noise_e=1000.0, bits=None))
    camera, photons = AnyCamera(cameras), jnp.full((40, 8, 8), 50.0)
    counts = np.asarray(camera.expose(jax.random.key(0), photons))
    rows = counts.mean(-1).std(-1) > 200.0
    assert 8 < rows.sum() < 32
    assert counts[~rows].std() < 30.0
    np.testing.assert_allclose(camera.expected(photons), cameras[0].expected(photons), rtol=1e-6)
