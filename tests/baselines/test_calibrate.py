import sys
import time

import numpy as np
import pytest

from bioflax.baselines import FILTERS, Anscombe, calibrate
from bioflax.errors import InputError

pytest.importorskip("skimage")
from scipy.ndimage import gaussian_filter

module = sys.modules[calibrate.__module__]  # the package's function of that name hides it


def scene(shape, blur=4.0, seed=8):
    rng = np.random.default_rng(seed)
    clean = gaussian_filter(rng.normal(size=shape), blur)
    return (clean / clean.std() * 30 + 150).astype(np.float32), rng


def mse(image, clean):
    return float(np.mean((image - clean) ** 2))


@pytest.mark.parametrize("name", FILTERS)
def test_tuned_without_truth_comes_close_to_tuned_with_it(name):
    clean, rng = scene((128, 128))
    noisy = clean + rng.normal(0, 20, clean.shape).astype(np.float32)
    tuned = calibrate(name, noisy)
    (key, value), *_ = tuned.parameters.items()
    others = (3, 5, 7) if name == "median" else [value * factor for factor in (0.25, 0.5, 0.71, 1.41, 2, 4)]
    best = min(mse(FILTERS[name](noisy, **{**tuned.parameters, key: other}), clean) for other in others)
    found = mse(tuned.apply(noisy), clean)
    assert found < 1.15 * best  # 0.6 dB
    assert found < 0.35 * mse(noisy, clean)
    assert tuned.error == pytest.approx(found + 400, rel=0.1)  # the self-supervised error is this plus the noise


def test_stronger_noise_asks_for_a_wider_blur():
    clean, rng = scene((128, 128))
    noise = rng.normal(size=clean.shape)
    widths = [calibrate("gaussian", clean + s * noise).parameters["sigma_px"] for s in (3, 20, 80)]
    assert widths[0] < widths[1] < widths[2]


def test_hidden_pixels_never_enter_what_stands_in_for_them():
    for shape in ((29, 34), (17, 16, 18)):
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        for offset, (hidden, stand_in) in enumerate(module._hide(image)):
            changed = image.copy()
            for i in range(0, hidden[0].size, 5):
                one = tuple(axis[i] for axis in hidden)
                changed[one] += 1000
                again = list(module._hide(changed))[offset][1]
                assert again[i] == stand_in[i]
                changed[one] = image[one]
            assert hidden[0].size >= 18


def test_stand_ins_are_as_noisy_as_the_pixels():
    for shape in ((256, 256), (40, 40, 40)):
        image = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
        for _, stand_in in module._hide(image):
            assert stand_in.var() == pytest.approx(9.0, rel=0.12)


def test_correlated_noise_defeats_the_hidden_pixel_and_not_the_second_capture():
    clean, rng = scene((128, 128), blur=6)
    captures = [clean + 60 * gaussian_filter(rng.normal(size=clean.shape), 1.0) for _ in range(2)]
    alone = calibrate("gaussian", captures[0])
    paired = calibrate("gaussian", *captures)
    assert paired.parameters["sigma_px"] > 1.5 * alone.parameters["sigma_px"]
    assert mse(paired.apply(captures[0]), clean) < 0.7 * mse(alone.apply(captures[0]), clean)


def test_stabilised_photon_counts_do_better_than_plain_ones():
    clean, rng = scene((128, 128), blur=5)
    photons = np.exp((clean - 150) / 18).clip(0.2, 200)
    counts = 2.0 * rng.poisson(photons) + 100 + rng.normal(0, 1.5, clean.shape)
    transform = Anscombe(2.0, 100.0, 2.25)
    plain, stabilised = calibrate("tv", counts), calibrate("tv", counts, transform=transform)
    # judged relative to photon noise, where the dim parts count as well
    weighted = [np.mean((c.apply(counts) - 100 - 2 * photons) ** 2 / (4 * photons)) for c in (plain, stabilised)]
    assert weighted[1] < 0.8 * weighted[0]
    assert stabilised.transform is transform


@pytest.mark.parametrize("name", FILTERS)
def test_constant_images_pass_through(name):
    tuned = calibrate(name, np.full((32, 32), 500.0))
    np.testing.assert_allclose(tuned.apply(np.full((32, 32), 500.0)), 500.0, rtol=1e-5)


def test_volumes_and_thin_images_are_calibrated():
    clean, rng = scene((20, 32, 40), blur=3)
    noisy = clean + rng.normal(0, 20, clean.shape)
    for name in ("gaussian", "tv"):
        assert mse(calibrate(name, noisy).apply(noisy), clean) < 0.3 * mse(noisy, clean)
    assert calibrate("median", noisy[0, :16]).parameters["size_px"] in (3, 5, 7)


def test_same_image_same_parameters():
    clean, rng = scene((64, 64))
    noisy = clean + rng.normal(0, 20, clean.shape)
    assert calibrate("nlm", noisy) == calibrate("nlm", noisy)


def test_five_filters_on_a_camera_frame_are_quick():
    clean, rng = scene((512, 512))
    noisy = clean + rng.normal(0, 20, clean.shape)
    start = time.process_time()
    for name in FILTERS:
        calibrate(name, noisy).apply(noisy)
    assert time.process_time() - start < 15


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: calibrate("bm3d", a), r"filter: expected one of gaussian, median, nlm, tv, wavelet, found 'bm3d'"),
        (lambda a: calibrate("tv", a[:8]), r"image: expected 2 or 3 axes of at least 16 px, found \(8, 32\)"),
        (lambda a: calibrate("tv", a, a[:, :16]), r"target: expected the shape of image \(32, 32\), found \(32, 16\)"),
        (lambda a: calibrate("tv", a, a.copy()), r"target: expected another capture of the scene, found a copy"),
        (
            lambda a: calibrate("tv", np.where(a > 2, np.nan, a)),
            r"image: expected finite values, found \d+ NaN or infinite",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call(np.random.default_rng(0).normal(size=(32, 32)))
