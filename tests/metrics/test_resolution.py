import os
from pathlib import Path

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics import frc, frc_resolution_px, psnr, radial_power, spectral_psnr

RNG = np.random.default_rng(2)


def radius(shape):
    return np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(s) ** 2 for s in shape], indexing="ij")))


def band_limited(shape, cut):
    """White noise below a cut-off frequency, none above."""
    transform = np.fft.fftn(RNG.normal(size=shape)) * (radius(shape) < cut)
    return np.fft.ifftn(transform).real


def test_frc_of_an_image_with_itself_is_one_and_with_its_negative_minus_one():
    image = RNG.normal(size=(32, 40))
    np.testing.assert_allclose(frc(image, 2 * image + 7).correlation, 1.0)
    np.testing.assert_allclose(frc(image, -image).correlation[1:], -1.0)


def test_frc_of_signal_and_noise_follows_the_signal_to_noise_ratio():
    signal = RNG.normal(size=(256, 256))
    curve = frc(signal + RNG.normal(size=signal.shape), signal + RNG.normal(size=signal.shape), window="none")
    # SNR 1 in every ring: expectation S / (S + N) = 1/2
    assert np.average(curve.correlation[10:], weights=curve.count[10:]) == pytest.approx(0.5, abs=0.01)
    assert curve.frequency[-1] == 0.5
    assert curve.count[1] == 8


@pytest.mark.parametrize("cut", [0.1, 0.25])
@pytest.mark.parametrize("window", ["hann", "tukey"])
def test_resolution_finds_the_cut_off(cut, window):
    scene = band_limited((320, 256), cut) * 4
    a, b = (scene + RNG.normal(size=scene.shape) for _ in range(2))
    for threshold in (1 / 7, "half_bit"):
        # The window and the moving average may each move the edge by rings, of which the short side has 256
        assert 256 / frc_resolution_px(a, b, threshold, window=window) == pytest.approx(256 * cut, abs=3.5)


def test_resolution_ends():
    image = RNG.normal(size=(64, 64))
    assert frc_resolution_px(image, image) == 2.0
    assert frc_resolution_px(image, np.zeros((64, 64))) == np.inf
    assert frc_resolution_px(image, image + 1e-3 * RNG.normal(size=(64, 64)), 0.9) == 2.0


def test_shells_in_three_dimensions():
    volume = band_limited((32, 40, 40), 0.2) * 3
    a, b = (volume + RNG.normal(size=volume.shape) for _ in range(2))
    assert frc_resolution_px(a, b, smoothing=1) == pytest.approx(5.0, rel=0.2)
    assert len(frc(a, b).correlation) == 17


def test_radial_power_of_white_noise_is_its_variance_with_any_window():
    noise = RNG.normal(0, 3.0, (256, 200))
    for window in ("none", "hann"):
        frequency, power = radial_power(noise, window=window)
        assert power[5:].mean() == pytest.approx(9.0, rel=0.05)
        assert frequency[5] == pytest.approx(5 / 200)


def test_radial_power_finds_a_wave():
    y, _ = np.mgrid[:64, :64]
    frequency, power = radial_power(np.cos(2 * np.pi * 8 * y / 64))
    assert frequency[np.argmax(power)] == 8 / 64


def test_spectral_psnr_of_white_noise_is_flat_and_bands_add_up():
    target = RNG.normal(size=(128, 96)) * 50
    image = target + RNG.normal(0, 2.0, target.shape)
    frequency, bands = spectral_psnr(image, target, 255, bands=6)
    plain = float(psnr(image, target, 255))
    np.testing.assert_allclose(bands, plain, atol=0.4)
    assert frequency[0] == pytest.approx(1 / 24)
    count = np.bincount(np.minimum((radius(target.shape) * 12).astype(int), 5).ravel())
    pooled = np.sum(255.0**2 * 10 ** (-bands / 10) * count) / target.size
    assert pooled == pytest.approx(np.mean((image - target) ** 2), rel=1e-9)


def test_spectral_psnr_shows_over_smoothing():
    target = RNG.normal(size=(64, 64))
    smooth = np.fft.ifft2(np.fft.fft2(target) * (radius((64, 64)) < 0.25)).real
    _, bands = spectral_psnr(smooth, target, bands=4)
    assert bands[0] > 100 > 30 > bands[3]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: frc(a, a[:, :20]), r"a/b: expected arrays of one non-empty shape"),
        (lambda a: frc(a[:4], a[:4]), r"image: expected at least 8 px a side for a spectrum, found \(4, 32\)"),
        (lambda a: frc(a, a, window="box"), r"window: expected one of none, tukey, hann, found 'box'"),
        (lambda a: frc_resolution_px(a, a, 2.0), r"threshold: expected a number in \(0, 1\) or one of 1/7, half_bit"),
        (lambda a: frc_resolution_px(a, a, "bit"), r"threshold: .* found 'bit'"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call(RNG.normal(size=(32, 32)))


@pytest.mark.acceptance
def test_resolution_of_the_fmd_captures():
    shared = Path(os.environ.get("BIOFLAX_SHARED", Path(__file__).parents[3] / "shared"))
    folder = shared / "data" / "denoising" / "fmd" / "raw"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not found; set BIOFLAX_SHARED to the folder that holds data/denoising")
    image = pytest.importorskip("PIL.Image")
    expected = {
        "Confocal_BPAE_B": 3.41,
        "Confocal_BPAE_G": 2.56,
        "Confocal_BPAE_R": 2.20,
        "Confocal_FISH": 4.16,
        "Confocal_MICE": 3.85,
        "TwoPhoton_BPAE_B": 5.33,
        "TwoPhoton_BPAE_G": 3.76,
        "TwoPhoton_BPAE_R": 3.39,
        "TwoPhoton_MICE": 3.41,
        "WideField_BPAE_G": 8.68,
        "WideField_BPAE_R": 14.22,
    }
    found = {}
    for name in expected:
        first, second = (np.asarray(image.open(folder / f"{name}_{i}.png"), np.float64) for i in (1, 2))
        found[name] = frc_resolution_px(first, second)
        print(f"{name}: FRC resolution {found[name]:.2f} px (reference {expected[name]:.2f})")
    assert found == pytest.approx(expected, rel=0.02)
