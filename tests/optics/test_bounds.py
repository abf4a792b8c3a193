import os
from pathlib import Path

import jax
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import bounds

RNG = np.random.default_rng(5)
SHAPE = (6, 8)
SPECTRUM = bounds.power_law_spectrum(SHAPE, 1.5, variance=4.0)
BLUE = bounds.power_law_spectrum(SHAPE, 0.8, exponent=2.0, variance=1.5) + 0.1  # correlated noise


def dense(spectrum):
    """The covariance matrix of a periodic stationary process, pixel by pixel."""
    covariance = np.fft.ifftn(spectrum).real
    index = np.stack(np.unravel_index(np.arange(spectrum.size), spectrum.shape))
    lag = (index[:, :, None] - index[:, None, :]) % np.array(spectrum.shape)[:, None, None]
    return covariance[tuple(lag)]


def blind_spot_by_regression(signal, noise):
    """E[y_0 | all others] solved as a regression; its true error and the variance of the noise it predicts."""
    c, n = dense(signal), dense(noise)
    k = c + n
    inverse = np.linalg.inv(k[1:, 1:])
    weights = inverse @ k[1:, 0]
    return c[0, 0] - 2 * weights @ c[1:, 0] + weights @ k[1:, 1:] @ weights, n[1:, 0] @ inverse @ n[1:, 0]


def test_spectrum_has_the_variance_asked_for():
    assert SPECTRUM.mean() == pytest.approx(4.0)
    assert dense(SPECTRUM)[3, 3] == pytest.approx(4.0)
    assert SPECTRUM[0, 0] == SPECTRUM.max()


@pytest.mark.parametrize("noise_variance", [0.3, 2.0])
def test_wiener_error_is_the_trace_of_the_posterior_covariance(noise_variance):
    c = dense(SPECTRUM)
    posterior = c - c @ np.linalg.solve(c + noise_variance * np.eye(len(c)), c)
    expected = np.trace(posterior) / len(c)
    assert bounds.wiener_mse(SPECTRUM, noise_variance) == pytest.approx(expected, rel=1e-9)
    precision = np.linalg.inv(c + noise_variance * np.eye(len(c)))[0, 0]
    assert expected == pytest.approx(noise_variance - noise_variance**2 * precision, rel=1e-9)


def test_wiener_error_with_correlated_noise_and_a_transfer_function():
    c, n = dense(SPECTRUM), dense(BLUE)
    otf = np.exp(-(np.fft.fftfreq(6)[:, None] ** 2 + np.fft.fftfreq(8) ** 2) * 8)
    h = dense(otf)
    posterior = c - c @ h.T @ np.linalg.solve(h @ c @ h.T + n, h @ c)
    assert bounds.wiener_mse(SPECTRUM, BLUE, otf) == pytest.approx(np.trace(posterior) / len(c), rel=1e-9)


def test_beyond_the_cut_off_the_prior_remains():
    otf = np.zeros(SHAPE)
    assert bounds.wiener_mse(SPECTRUM, 1.0, otf) == pytest.approx(4.0)
    assert bounds.wiener_mse(SPECTRUM, 0.0, otf) == pytest.approx(4.0)
    assert bounds.wiener_mse(SPECTRUM, 0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("noise_variance", [0.3, 2.0])
def test_blind_spot_error_is_that_of_the_regression(noise_variance):
    white = np.full(SHAPE, noise_variance)
    error, leaked = blind_spot_by_regression(SPECTRUM, white)
    assert bounds.blind_spot_mse(SPECTRUM, noise_variance) == pytest.approx(error, rel=1e-9)
    assert leaked == pytest.approx(0.0, abs=1e-12)
    assert bounds.leaked_noise_variance(SPECTRUM, noise_variance) == pytest.approx(0.0, abs=1e-12)
    assert bounds.blind_spot_mse(SPECTRUM, noise_variance) > bounds.wiener_mse(SPECTRUM, noise_variance)


def test_correlated_noise_leaks_through_the_blind_spot():
    error, leaked = blind_spot_by_regression(SPECTRUM, BLUE)
    assert bounds.blind_spot_mse_correlated(SPECTRUM, BLUE) == pytest.approx(error, rel=1e-9)
    assert bounds.leaked_noise_variance(SPECTRUM, BLUE) == pytest.approx(leaked, rel=1e-9)
    assert leaked > 0.1
    assert error > bounds.blind_spot_mse(SPECTRUM, float(BLUE.mean()))


def test_samples_have_their_spectrum_and_wiener_reaches_its_bound():
    spectrum = bounds.power_law_spectrum((32, 24), 3.0, variance=2.0)
    keys = jax.random.split(jax.random.key(0), 2)
    clean = np.asarray(bounds.sample_gaussian_process(keys[0], spectrum, 400), np.float64)
    assert clean.shape == (400, 32, 24)
    power = np.mean(abs(np.fft.fft2(clean)) ** 2, axis=0) / spectrum.size
    # Each eigenvalue is a mean of 400 squares: relative deviation sqrt(2 / 400) at most
    assert abs(power / spectrum - 1).max() < 5 * np.sqrt(2 / 400)
    noise = np.asarray(jax.random.normal(keys[1], clean.shape), np.float64) * 0.7
    errors = np.mean((bounds.wiener(clean + noise, spectrum, 0.49) - clean) ** 2, axis=(1, 2))
    deviation = errors.std() / np.sqrt(400)
    assert errors.mean() == pytest.approx(bounds.wiener_mse(spectrum, 0.49), abs=4 * deviation)
    assert deviation < 0.01 * errors.mean()


def test_blind_spot_predictor_reaches_its_error_in_simulation():
    spectrum = bounds.power_law_spectrum((16, 16), 2.0, variance=3.0)
    clean = np.asarray(bounds.sample_gaussian_process(jax.random.key(3), spectrum, 3000), np.float64)
    noisy = clean + RNG.normal(0, 1.0, clean.shape)
    # y_i - (Q y)_i / Q_ii is E[y_i | y_-i] of a Gaussian field
    precision = 1 / (spectrum + 1.0)
    filtered = np.fft.ifft2(np.fft.fft2(noisy) * precision).real
    errors = np.mean((noisy - filtered / precision.mean() - clean) ** 2, axis=(1, 2))
    assert errors.mean() == pytest.approx(bounds.blind_spot_mse(spectrum, 1.0), abs=4 * errors.std() / np.sqrt(3000))


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.5), (9.0, 3.0)])
def test_gamma_poisson_error_in_simulation(a, b):
    intensity = RNG.gamma(a, 1 / b, 200_000)
    counts = RNG.poisson(intensity)
    squares = (bounds.gamma_poisson_mean(counts, a, b) - intensity) ** 2
    assert squares.mean() == pytest.approx(bounds.gamma_poisson_mse(a, b), abs=4 * squares.std() / np.sqrt(200_000))
    assert squares.mean() < np.mean((counts - intensity) ** 2) * 0.9


def scene(shape=(48, 40)):
    clean = np.asarray(bounds.sample_gaussian_process(jax.random.key(7), bounds.power_law_spectrum(shape, 4), 1))[0]
    return clean.astype(np.float64) * 40 + 120, clean * 40 + 120 + RNG.normal(0, 20, shape)


def test_oracle_gaussian_takes_the_best_of_its_grid():
    clean, noisy = scene()
    image, sigma_px = bounds.oracle_gaussian(noisy, clean)
    assert 0.4 < sigma_px < 3.0
    error = np.mean((image - clean) ** 2)
    for other in bounds.SIGMAS_PX:
        assert error <= np.mean((bounds.oracle_gaussian(noisy, clean, [other])[0] - clean) ** 2)
    same, zero = bounds.oracle_gaussian(clean, clean)
    assert zero == 0.0
    np.testing.assert_allclose(same, clean)


def test_gaussian_is_that_of_scipy_at_either_boundary():
    clean, noisy = scene()
    filters = pytest.importorskip("scipy.ndimage")
    for boundary, mode in (("circular", "wrap"), ("reflect", "reflect")):
        image, _ = bounds.oracle_gaussian(noisy, clean, [1.5], boundary=boundary)
        np.testing.assert_allclose(image, filters.gaussian_filter(noisy, 1.5, mode=mode, truncate=8), atol=0.02)


def test_oracle_wiener_beats_every_isotropic_filter_and_keeps_the_mean():
    clean, noisy = scene()
    error = np.mean((bounds.oracle_wiener(noisy, clean) - clean) ** 2)
    assert error < np.mean((bounds.oracle_gaussian(noisy, clean)[0] - clean) ** 2)
    drifted = noisy * 0.9
    assert bounds.oracle_wiener(drifted, clean).mean() == pytest.approx(drifted.mean())
    free = bounds.oracle_wiener(drifted, clean, keep_mean=False)
    assert free.mean() == pytest.approx(clean.mean())


def test_oracle_wiener_gain_of_each_ring_is_least_squares():
    clean, noisy = scene((16, 16))
    filtered = np.fft.fft2(bounds.oracle_wiener(noisy, clean))
    observed, truth = np.fft.fft2(noisy), np.fft.fft2(clean)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(16, 1 / 16), np.fft.fftfreq(16, 1 / 16), indexing="ij"))
    ring = (radius >= 3) & (radius < 4)
    columns = np.concatenate([observed[ring].real, observed[ring].imag])[:, None]
    gain = np.linalg.lstsq(columns, np.concatenate([truth[ring].real, truth[ring].imag]), rcond=None)[0][0]
    np.testing.assert_allclose(filtered[ring], gain * observed[ring], rtol=1e-8)


def test_oracles_clip_and_take_volumes():
    clean, noisy = RNG.normal(100, 80, (9, 16, 12)), RNG.normal(100, 80, (9, 16, 12))
    for image in (
        bounds.oracle_wiener(noisy, clean, clip=(0, 255)),
        bounds.oracle_gaussian(noisy, clean, [0.2], clip=(0, 255))[0],
    ):
        assert image.shape == clean.shape
        assert image.min() >= 0


def test_reference_ceiling_in_simulation():
    clean = 100.0
    frames = clean + RNG.normal(0, 10, (50, 20_000))
    reference = frames[:10].mean(0)
    decibel = lambda image: 20 * np.log10(255) - 10 * np.log10(np.mean((image - reference) ** 2))  # noqa: E731
    perfect = decibel(np.full(20_000, clean))
    assert bounds.reference_ceiling_db(decibel(frames[0]), 10) == pytest.approx(perfect, abs=0.15)
    assert bounds.reference_ceiling_db(decibel(frames[40]), 10, included=False) == pytest.approx(perfect, abs=0.15)
    assert bounds.noisy_reference_ceiling_db(255, 100 / 10) == pytest.approx(perfect, abs=0.15)
    assert bounds.reference_ceiling_db(27.2168, 50) == pytest.approx(44.12, abs=0.005)
    assert bounds.noisy_reference_ceiling_db(255, 0) == np.inf


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: bounds.oracle_wiener(np.ones((4, 4)), np.ones((4, 5))),
            r"noisy/clean: expected one shape, found \(4, 4\)",
        ),
        (
            lambda: bounds.oracle_gaussian(np.ones((4, 4)), np.ones((4, 4)), [-1]),
            r"sigmas_px: expected widths of at least 0",
        ),
        (
            lambda: bounds.oracle_gaussian(np.ones((4, 4)), np.ones((4, 4)), boundary="wrap"),
            r"boundary: expected circular",
        ),
        (lambda: bounds.reference_ceiling_db(30, 1), r"frames: expected at least 2, found 1"),
        (lambda: bounds.noisy_reference_ceiling_db(255, -1), r"noise_variance/data_range: expected >= 0 and > 0"),
        (lambda: bounds.wiener_mse(np.ones((4, 4)), np.ones(4)), r"noise: expected a number or the shape of spectrum"),
        (lambda: bounds.wiener_mse(-np.ones((4, 4)), 1.0), r"spectrum/noise: expected eigenvalues of at least 0"),
        (lambda: bounds.blind_spot_mse(np.zeros((4, 4)), 0.0), r"noise: expected signal plus noise above 0"),
        (lambda: bounds.gamma_poisson_mse(0, 1), r"shape: expected a number above 0, found 0"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call()


@pytest.mark.acceptance
def test_oracles_on_the_fmd_frames():
    shared = Path(os.environ.get("BIOFLAX_SHARED", Path(__file__).parents[3] / "shared"))
    folder = shared / "data" / "denoising" / "fmd"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not found; set BIOFLAX_SHARED to the folder that holds data/denoising")
    pillow = pytest.importorskip("PIL.Image")
    read = lambda path: np.asarray(pillow.open(path), np.float64)  # noqa: E731
    decibel = lambda image, clean: 20 * np.log10(255) - 10 * np.log10(np.mean((image - clean) ** 2))  # noqa: E731
    scores = {"noisy": [], "gaussian": [], "wiener": []}
    for target in sorted((folder / "gt").glob("*.png")):
        clean = read(target)
        for capture in range(1, 5):
            noisy = read(folder / "raw" / f"{target.stem}_{capture}.png")
            scores["noisy"].append(decibel(noisy, clean))
            scores["gaussian"].append(decibel(bounds.oracle_gaussian(noisy, clean, clip=(0, 255))[0], clean))
            scores["wiener"].append(decibel(bounds.oracle_wiener(noisy, clean, clip=(0, 255)), clean))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    print(f"mean of {len(scores['noisy'])} frames, dB: {means}")
    assert len(scores["noisy"]) == 48
    assert means == pytest.approx({"noisy": 27.2168, "gaussian": 34.02, "wiener": 34.47}, abs=0.005)
