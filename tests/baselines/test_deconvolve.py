import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.baselines import SUPER_RESOLVERS, default_parameters, richardson_lucy, through_otf, tune, wiener
from bioflax.baselines.deconvolve import border_px, richardson_lucy_snapshots
from bioflax.errors import InputError
from bioflax.metrics import psnr
from bioflax.optics import WidefieldOptics
from bioflax.optics.imaging import Imaging

# A cut-off of 200 nm; two camera pixels are finer than that, so the whole band is measured
OPTICS = WidefieldOptics(na=1.3, wavelength_nm=520.0, pixel_nm=80.0)
IMAGING = Imaging(OPTICS, 2)


def scene(seed=0, side=48, photons=400.0):
    """A smooth random object with some points, and a noisy picture of it on an offset of 100."""
    rng = np.random.default_rng(seed)
    fine = np.exp(2.0 * gaussian_filter(rng.normal(size=(side, side)), 1.5, mode="wrap") * 4)
    fine[tuple(rng.integers(4, side - 4, (2, 8)))] += 30.0
    fine *= photons / fine.mean()
    expected = np.asarray(IMAGING.forward(fine.astype(np.float32)))
    return fine, expected, 100.0 + rng.poisson(expected)


def dense(imaging, shape):
    """The forward model as a float64 matrix, from the sum over pixels and no FFT of the package."""
    s, (height, width) = imaging.upscale, shape
    otf = np.asarray(imaging.otf((height * s, width * s)), np.float64)
    spot = np.fft.ifft2(otf).real
    matrix = np.zeros((height * width, height * s * width * s))
    for column in range(matrix.shape[1]):
        row, place = divmod(column, width * s)
        seen = np.roll(spot, (row, place), (0, 1))
        matrix[:, column] = seen.reshape(height, s, width, s).mean((1, 3)).ravel()
    return matrix


def test_wiener_is_the_linear_mmse_of_a_dense_matrix():
    shape, balance, slope = (8, 8), 0.3, 2.0
    image = np.random.default_rng(1).normal(10.0, 2.0, shape)
    matrix = dense(IMAGING, shape)
    rows, columns = (np.fft.fftfreq(16) for _ in range(2))
    frequency = np.hypot(rows[:, None], columns[None, :])
    frequency[0, 0] = np.inf
    correlation = np.fft.ifft2((frequency / float(IMAGING.cutoff_per_px)) ** -slope).real
    i, j = np.indices((16, 16)).reshape(2, -1)
    prior = correlation[(i[:, None] - i) % 16, (j[:, None] - j) % 16]
    # The balance is a density: white noise in pixels of 4 fine ones has a quarter of its density as variance
    inverse = np.linalg.inv(matrix @ prior @ matrix.T + balance / 4 * np.eye(64))
    expected = image.mean() + prior @ matrix.T @ inverse @ (image - image.mean()).ravel()
    found = wiener(image, IMAGING, balance=balance, slope=slope, mirror_px=0)
    np.testing.assert_allclose(found, expected.reshape(16, 16), atol=2e-4)


def test_wiener_recovers_what_the_optics_let_through():
    fine = np.zeros((24, 24))
    rows, columns = np.indices(fine.shape) + 0.5
    for row, column in ((1, 0), (2, 2), (0, 3)):  # up to 0.13 cycles per pixel; the cut-off is at 0.2
        fine += np.cos(2 * np.pi * (row * rows + column * columns) / 24 + row)
    fine += 5.0
    image = np.asarray(IMAGING.forward(fine.astype(np.float32)))
    found = wiener(image, IMAGING, balance=1e-5, mirror_px=0)
    np.testing.assert_allclose(found, fine, atol=2e-3)
    assert np.abs(np.repeat(np.repeat(image, 2, 0), 2, 1) - fine).max() > 0.5


def test_wiener_ignores_an_offset_and_mirrors_its_borders():
    image = np.tile(np.linspace(0.0, 100.0, 24), (24, 1))
    fine = wiener(image, IMAGING, balance=1.0)
    np.testing.assert_allclose(wiener(image + 1000.0, IMAGING, offset=1000.0, balance=1.0), fine + 1000.0, atol=0.01)
    wrapped = wiener(image, IMAGING, balance=1.0, mirror_px=0)
    assert abs(fine[:, 0]).max() < 5.0 < abs(wrapped[:, 0]).max()


def test_richardson_lucy_keeps_the_light_and_stays_positive():
    _, _, image = scene()
    fine = richardson_lucy(image, IMAGING, offset=100.0, mirror_px=0)
    assert fine.shape == (48, 48)
    assert (fine > 100.0).all()
    assert fine.mean() - 100.0 == pytest.approx(image.mean() - 100.0, rel=1e-3)
    assert richardson_lucy(image, IMAGING, offset=100.0).mean() == pytest.approx(image.mean(), rel=0.01)


def test_richardson_lucy_climbs_the_likelihood():
    _, _, image = scene(photons=20.0)
    light, background = image - 100.0, 3.0
    likelihood = []
    options = {"offset": 100.0, "background": background, "mirror_px": 0}
    for fine in richardson_lucy_snapshots(image, IMAGING, at=(1, 2, 4, 8, 16, 32), **options):
        expected = np.asarray(IMAGING.forward(fine - 100.0), np.float64)
        likelihood.append(float((light * np.log(expected) - expected).sum()))
    assert (np.diff(likelihood) > 0).all()


def test_snapshots_are_the_estimates_of_that_many_iterations():
    _, _, image = scene()
    snapshots = list(richardson_lucy_snapshots(image, IMAGING, at=(3, 8), offset=100.0, tv=0.01))
    for number, snapshot in zip((3, 8), snapshots):
        np.testing.assert_allclose(
            richardson_lucy(image, IMAGING, offset=100.0, iterations=number, tv=0.01), snapshot, rtol=1e-5
        )


def test_total_variation_smooths_and_none_of_it_is_plain_richardson_lucy():
    fine, _, image = scene(photons=20.0)
    light = np.asarray(image - 100.0, np.float64)
    estimate = np.full(fine.shape, light.mean())
    matrix = dense(IMAGING, image.shape)
    for _ in range(4):
        ratio = matrix.T @ (light.ravel() / (matrix @ estimate.ravel())) * 4
        estimate = estimate * ratio.reshape(estimate.shape)
    plain = richardson_lucy(image, IMAGING, offset=100.0, iterations=4, mirror_px=0) - 100.0
    np.testing.assert_allclose(plain, estimate, rtol=2e-3)

    rows, columns = np.indices((48, 48)) - 23.5
    disc = np.where(np.hypot(rows, columns) < 15, 50.0, 5.0).astype(np.float32)
    image = np.random.default_rng(0).poisson(np.asarray(IMAGING.forward(disc)))
    rough, even = (richardson_lucy(image, IMAGING, iterations=60, tv=tv) for tv in (0.0, 0.05))
    assert np.abs(np.diff(even, axis=0)).sum() < 0.5 * np.abs(np.diff(rough, axis=0)).sum()
    assert psnr(even, disc) > psnr(rough, disc) + 3.0


def test_two_lines_just_beyond_the_cut_off_are_told_apart():
    imaging = Imaging(dataclasses.replace(OPTICS, pixel_nm=2 * 1.1 * 200.0 / 6), 2)
    fine = np.zeros((48, 48), np.float32)
    fine[:, 21] = fine[:, 27] = 100.0  # six fine pixels: 1.1 periods of the cut-off
    image = np.asarray(imaging.forward(fine)) + 1.0
    seen, found = (
        np.asarray(imaging.blur(fine))[24],
        richardson_lucy(image, imaging, background=1.0, iterations=200)[24],
    )
    assert seen[24] > 0.8 * seen[21]
    assert found[24] < 0.3 * min(found[21], found[27])


@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_defaults_run_in_one_call_shape(name):
    _, _, image = scene()
    found = SUPER_RESOLVERS[name](image, IMAGING, offset=100.0, **default_parameters(name))
    assert found.shape == (48, 48)
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(image.mean(), rel=0.02)


@pytest.mark.parametrize("name", ["wiener", "richardson_lucy"])
def test_tuned_parameters_are_no_worse_than_others(name):
    scenes = [scene(seed, photons=50.0) for seed in (0, 1)]
    images = [image for _, _, image in scenes]
    targets = [through_otf(fine.astype(np.float32), IMAGING, 2.0) + 100.0 for fine, _, _ in scenes]
    tuned = tune(name, images, targets, IMAGING, offset=100.0, sharpness=2.0)
    applied = np.mean([psnr(tuned.apply(image), target) for image, target in zip(images, targets)])
    assert applied == pytest.approx(tuned.psnr_db, abs=1e-3)
    others = {"wiener": [{"balance": 1e-3}, {"balance": 1e3}], "richardson_lucy": [{"iterations": 1}]}[name]
    for parameters in (default_parameters(name), *others):
        for sharpness in (None, 2.0):
            found = [
                through_otf(SUPER_RESOLVERS[name](image, IMAGING, offset=100.0, **parameters), IMAGING, sharpness)
                for image in images
            ]
            assert applied >= np.mean([psnr(one, target) for one, target in zip(found, targets)]) - 1e-3


def test_the_blur_of_the_target_halves_a_frequency_where_it_should():
    columns = np.cos(2 * np.pi * 0.2 * np.arange(60))  # at the cut-off: half of twice the cut-off
    seen = through_otf(np.tile(columns, (60, 1)).astype(np.float32), IMAGING, 2.0)
    # (2/pi)(arccos 1/2 - 1/2 sqrt(3)/2) = 0.391
    assert np.abs(seen[:, 20:40]).max() == pytest.approx(0.391, abs=0.01)
    assert np.abs(through_otf(np.tile(columns, (60, 1)).astype(np.float32), IMAGING, 1.0)[:, 20:40]).max() < 0.02


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: wiener(a, IMAGING, balance=0.0), "balance: expected a positive number, found 0.0"),
        (lambda a: wiener(a, IMAGING, mirror_px=3), "mirror_px: expected a multiple of upscale 2 from 0, found 3"),
        (lambda a: richardson_lucy(a, IMAGING, iterations=0), r"iterations: expected .* found \[0\]; use 30"),
        (lambda a: richardson_lucy(a, IMAGING, tv=-1.0), "tv: expected 0 or more, found -1.0"),
        (lambda a: tune("dfcan", [a], [a], IMAGING), "super-resolver: expected one of bicubic, .*, found 'dfcan'"),
        (lambda a: tune("wiener", [a], [a], IMAGING), r"targets: expected \(48, 48\), .* found \(24, 24\)"),
        (lambda a: tune("wiener", [a], [], IMAGING), "targets: expected one for each image, found 1 images and 0"),
        (lambda a: default_parameters("dfcan"), "super-resolver: expected one of"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call(np.ones((24, 24)))


def test_the_border_is_four_periods_in_whole_camera_pixels():
    assert border_px(IMAGING) == 2 * 10  # 800 nm in camera pixels of 80 nm
