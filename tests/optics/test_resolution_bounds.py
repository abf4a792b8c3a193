"""Bayes errors of super-resolution against dense matrices, and the Cramer-Rao bound of a distance by brute force."""

import functools

import numpy as np
import pytest
from scipy.special import j1

from bioflax.errors import InputError
from bioflax.optics import resolution_bounds as bounds
from bioflax.optics.imaging import Imaging, bin_mean
from bioflax.optics.psf.widefield import WidefieldOptics

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=100.0)


def scene(shape, upscale):
    """A spectrum that reaches beyond the band and a transfer function that ends within the grid."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    return 3.0 / (1 + (8 * radius) ** 2), np.clip(1 - radius / 0.42, 0.0, None)


def matrices(spectrum, otf, upscale):
    """Covariance of the object and the forward model as dense matrices, column by column."""
    size = spectrum.size
    unit = np.eye(size).reshape(size, *spectrum.shape)

    def dense(transfer):
        return np.fft.ifft2(np.fft.fft2(unit) * transfer).real

    return dense(spectrum).reshape(size, size), bin_mean(dense(otf), upscale).reshape(size, -1).T


@pytest.mark.parametrize(("shape", "upscale"), [((8, 8), 2), ((9, 9), 3), ((8, 12), 4), ((6, 5), 1)])
@pytest.mark.parametrize("noise_variance", [1e-3, 0.4])
def test_least_error_is_that_of_the_dense_posterior(shape, upscale, noise_variance):
    spectrum, otf = scene(shape, upscale)
    covariance, forward = matrices(spectrum, otf, upscale)
    seen = forward @ covariance @ forward.T + noise_variance * np.eye(len(forward))
    posterior = covariance - covariance @ forward.T @ np.linalg.solve(seen, forward @ covariance)
    bound = bounds.super_resolution_mse(spectrum, otf, noise_variance, upscale)
    assert bound.mse == pytest.approx(np.trace(posterior) / len(posterior), rel=1e-10)
    assert bound.in_band_mse + bound.out_of_band_mse == pytest.approx(bound.mse)
    waves = np.exp(
        2j * np.pi * np.add.outer(*(np.outer(np.fft.fftfreq(n), np.arange(n)) for n in shape)).swapaxes(1, 2)
    )
    waves = waves.reshape(len(posterior), -1)
    by_frequency = np.einsum("fi,ij,fj->f", waves, posterior, waves.conj()).real / len(posterior)
    np.testing.assert_allclose(bound.mse_by_frequency.ravel(), by_frequency, atol=1e-10)


@pytest.mark.parametrize("upscale", [2, 3])
def test_the_linear_estimate_is_the_posterior_mean_and_reaches_the_bound(upscale):
    shape, noise_variance, draws = (12, 6), 0.05, 4000
    spectrum, otf = scene(shape, upscale)
    covariance, forward = matrices(spectrum, otf, upscale)
    rng = np.random.default_rng(0)
    white = rng.normal(size=(draws, *shape))
    objects = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(spectrum)).real
    noisy = (objects.reshape(draws, -1) @ forward.T).reshape(draws, shape[0] // upscale, -1)
    noisy = noisy + rng.normal(0.0, np.sqrt(noise_variance), noisy.shape)
    found = bounds.super_resolve_linear(noisy, spectrum, otf, noise_variance, upscale)
    gain = (
        covariance @ forward.T @ np.linalg.inv(forward @ covariance @ forward.T + noise_variance * np.eye(len(forward)))
    )
    np.testing.assert_allclose(found[:3].reshape(3, -1), noisy[:3].reshape(3, -1) @ gain.T, atol=1e-10)
    expected = bounds.super_resolution_mse(spectrum, otf, noise_variance, upscale).mse
    assert np.mean((found - objects) ** 2) == pytest.approx(expected, rel=0.01)


def test_the_forward_model_is_that_of_imaging():
    imaging = Imaging(OPTICS, 2)
    otf = np.asarray(imaging.otf((12, 12)), np.float64)
    fine = np.random.default_rng(1).normal(size=(12, 12))
    transfer = otf * bounds.pixel_otf((12, 12), 2)
    coarse = np.fft.ifft2(np.fft.fft2(fine) * transfer).real[::2, ::2]
    np.testing.assert_allclose(coarse, np.asarray(imaging.forward(fine.astype(np.float32))), atol=2e-6)
    bound = bounds.super_resolution_mse(np.ones((12, 12)), otf, 0.1, 2)
    np.testing.assert_array_equal(bound.band, imaging.measured_band((12, 12)))
    assert bound.band_share == bound.band.mean()


def test_without_light_the_prior_remains_and_without_noise_the_measured_band_is_known():
    spectrum, otf = scene((8, 8), 2)
    assert bounds.super_resolution_mse(spectrum, otf, 1e12, 2).mse == pytest.approx(spectrum.mean())
    band_limited = spectrum * bounds.super_resolution_mse(spectrum, otf, 0.1, 2).band
    assert bounds.super_resolution_mse(band_limited, otf, 0.0, 2).mse == pytest.approx(0.0, abs=1e-12)
    noiseless = bounds.super_resolution_mse(spectrum, otf, 0.0, 2)
    assert noiseless.out_of_band_mse > 0.1 * spectrum.mean()  # more light does not bring back what was not measured


@functools.cache
def line_spread_table():
    """Of the closed-form transfer function, by quadrature over frequency: distance, value."""
    cutoff, at = 2 * 1.4 / 520.0, np.linspace(0.0, 2000.0, 1001)
    v = (np.arange(600) + 0.5) / 600
    otf = 2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v * v))
    return at, 2 * (np.cos(2 * np.pi * np.outer(at, v * cutoff)) @ otf) * cutoff / 600


def line_spread(x_nm):
    return np.interp(np.abs(x_nm), *line_spread_table())


def airy(x_nm, y_nm):
    radius = np.maximum(np.hypot(x_nm, y_nm), 1e-6) * 2 * np.pi * 1.4 / 520.0
    return (2 * j1(radius) / radius) ** 2 * np.pi * (1.4 / 520.0) ** 2


def brute_force_nm(spacing_nm, kind, photons, background, read_noise_e):
    """Fisher information of (centre, separation, N1, N2, b) by finite differences of pictures sampled in real space."""
    edges = (np.arange(-1000, 1000, 10) + 5.0) if kind == "points" else (np.arange(-1500, 1500, 5) + 2.5)
    inside = 10 if kind == "points" else 20

    def picture(centre, separation, n1, n2, b):
        if kind == "lines":
            light = sum(n * line_spread(edges - centre - side * separation / 2) for n, side in ((n1, -1), (n2, 1)))
            return light.reshape(-1, inside).sum(1) * 5.0 + b
        places = ((n1, -1), (n2, 1))
        light = sum(n * airy(edges[None, :] - centre - s * separation / 2, edges[:, None] - 12.5) for n, s in places)
        return light.reshape(20, inside, 20, inside).sum((1, 3)).ravel() * 100.0 + b

    variances = []
    for offset in (12.5, 37.5, 62.5, 87.5):
        values = np.array([offset, spacing_nm, photons, photons, background])
        steps = np.array([2.0, 2.0, 0.05 * photons, 0.05 * photons, 0.1])
        slopes = np.stack([(picture(*(values + e)) - picture(*(values - e))) / (2 * e.max()) for e in np.diag(steps)])
        information = (slopes / (picture(*values) + read_noise_e**2)) @ slopes.T
        variances.append(np.linalg.inv(information)[1, 1])
    return np.sqrt(np.mean(variances))


@pytest.mark.parametrize("spacing_nm", [120.0, 250.0])
@pytest.mark.parametrize("kind", ["lines", "points"])
def test_bound_of_a_distance_is_the_brute_force_one(spacing_nm, kind):
    light = {"photons": 400.0, "background_photons": 6.0, "read_noise_e": 1.5}
    expected = brute_force_nm(spacing_nm, kind, 400.0, 6.0, 1.5)
    found = bounds.separation_crlb_nm(spacing_nm, OPTICS, **light, kind=kind)
    # The brute force for points has them at one height in the pixel, ours averages over heights
    assert found == pytest.approx(expected, rel=0.02 if kind == "lines" else 0.04)


def test_bound_falls_with_light_and_length_and_diverges_as_the_two_meet():
    few, many = (bounds.separation_crlb_nm(200.0, OPTICS, photons=n, background_photons=0.01 * n) for n in (100, 10000))
    assert few / many == pytest.approx(10.0, rel=1e-6)
    long = bounds.separation_crlb_nm(200.0, OPTICS, photons=100, background_photons=1.0, length_px=25)
    assert few / long == pytest.approx(5.0, rel=1e-6)
    for kind in bounds.KINDS:
        near = [bounds.separation_crlb_nm(d, OPTICS, photons=500, kind=kind, positions=2) for d in (80.0, 40.0, 20.0)]
        assert near[2] > 1.8 * near[1] > 1.8 * 1.4 * near[0]
    far = [bounds.separation_crlb_nm(d, OPTICS, photons=500) for d in (1500.0, 2500.0)]
    assert far[0] == pytest.approx(far[1], rel=0.05) and far[0] < 0.8 * near[0]


def test_resolved_fraction_is_the_mass_within_half_the_distance():
    draws = np.random.default_rng(2).normal(100.0, 40.0, 200_000)
    found = bounds.bound_resolved_fraction(100.0, 40.0)
    assert found == pytest.approx(np.mean(abs(draws - 100.0) < 50.0), abs=0.004)
    np.testing.assert_allclose(
        bounds.bound_resolved_fraction(100.0, [50.0, 0.0, np.inf]), [0.6827, 1.0, 0.0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bounds.super_resolution_mse(np.ones((9, 9)), np.ones((9, 9)), 1.0, 2), "multiples of 2"),
        (lambda: bounds.super_resolution_mse(np.ones((8, 8)), np.ones((8, 6)), 1.0, 2), "one shape"),
        (lambda: bounds.super_resolution_mse(-np.ones((8, 8)), np.ones((8, 8)), 1.0, 2), "at least 0"),
        (lambda: bounds.super_resolution_mse(np.ones((8, 8)), np.ones((8, 8)), np.ones((8, 8)), 2), "camera's shape"),
        (lambda: bounds.super_resolve_linear(np.ones((8, 8)), np.ones((8, 8)), np.ones((8, 8)), 1.0, 2), "noisy"),
        (lambda: bounds.separation_crlb_nm(0.0, OPTICS, photons=1), "spacing_nm"),
        (lambda: bounds.separation_crlb_nm(9.0, OPTICS, photons=1, kind="rings"), "lines, points"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
