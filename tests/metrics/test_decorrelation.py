"""The cut-off of band-limited images is found, and blur makes it worse."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.errors import InputError
from bioflax.metrics.decorrelation import _peak, decorrelation_resolution_px


def texture(cutoff, shape=(128, 112), noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij"))
    sharp = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * (radius < cutoff)).real
    return sharp / sharp.std() + noise * rng.normal(size=shape)


@pytest.mark.parametrize("cutoff", [0.12, 0.2, 0.31, 0.42])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_cut_off_of_band_limited_noise_is_found(cutoff, noise):
    found = decorrelation_resolution_px(1000 + 40 * texture(cutoff, noise=noise))
    # Rings are 1 / 112 cycles per px wide; the taper adds about one, and the best of twenty filters with noise another
    assert abs(1 / found - cutoff) < 3 / 112


def test_a_microscope_image_lies_somewhat_above_its_cut_off():
    rng = np.random.default_rng(2)
    v = np.minimum(np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)) / 0.25, 1)
    otf = 2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v * v))
    points = (rng.random((128, 128)) < 0.01) * 2000.0
    image = rng.poisson(np.fft.ifft2(np.fft.fft2(points) * otf).real.clip(0) + 20)
    assert 4.0 < decorrelation_resolution_px(image) < 5.2


def test_more_blur_is_a_larger_number_and_noise_alone_has_no_resolution():
    rng = np.random.default_rng(3)
    sharp = rng.normal(size=(96, 96))
    found = [
        decorrelation_resolution_px(gaussian_filter(sharp, sigma, mode="wrap") + 0.002 * rng.normal(size=sharp.shape))
        for sigma in (0.8, 1.5, 2.5)
    ]
    assert 2 <= found[0] < 0.8 * found[1] < 0.64 * found[2]
    assert decorrelation_resolution_px(sharp) == float("inf")


def test_the_curve_is_the_one_of_the_paper():
    spectrum = np.fft.fft2(texture(0.2, (40, 40)))
    radius = 2 * np.hypot(np.fft.fftfreq(40)[:, None], np.fft.fftfreq(40))
    inside = (radius > 0) & (radius <= 1)
    phase = spectrum / abs(spectrum)
    rings = np.linspace(0, 1, 21)[1:]
    curve = []
    for r in rings:
        disc = inside & (radius <= r + 1e-9)
        part = np.sum(spectrum[disc] * phase[disc].conj()).real
        curve.append(part / np.sqrt(np.sum(abs(spectrum[inside]) ** 2) * np.sum(abs(phase[disc]) ** 2)))
    order = np.argsort(radius[inside])
    ends = np.searchsorted(radius[inside][order], rings + 1e-9)
    assert curve[-1] < max(curve) - 1e-3  # so that its highest value is a maximum that counts
    assert _peak(abs(spectrum[inside][order]), ends, rings) == rings[np.argmax(curve)]


@pytest.mark.parametrize("image", [np.ones(9), np.ones((20, 50)), np.full((40, 40), np.nan), np.ones((40, 40))])
def test_refusals(image):
    with pytest.raises(InputError, match="image: expected"):
        decorrelation_resolution_px(image)
