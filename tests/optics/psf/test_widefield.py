"""Transfer functions and spots against closed forms and direct integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special

from bioflax.errors import InputError
from bioflax.optics import WidefieldOptics, psf

LENS = {"na": 1.4, "wavelength_nm": 520.0, "pixel_nm": 60.0}


def test_otf_is_one_at_zero_and_ends_at_the_cutoff():
    otf = np.asarray(psf.widefield_otf((128, 96), **LENS))
    per_nm = psf.radial_frequency((128, 96)) / 60.0
    cutoff = 2 * 1.4 / 520.0
    assert otf[0, 0] == 1.0
    assert (otf[per_nm >= cutoff] == 0).all() and (otf[per_nm < 0.99 * cutoff] > 0).all()
    assert WidefieldOptics(**LENS).cutoff_per_nm == pytest.approx(cutoff)


def test_otf_has_the_published_values_on_the_way():
    # 0.685, 0.391 and 0.144 at a quarter, a half and three quarters of the cut-off
    pixel_nm = 520.0 / (4 * 1.4)
    otf = psf.widefield_otf((64, 64), na=1.4, wavelength_nm=520.0, pixel_nm=pixel_nm)
    np.testing.assert_allclose(otf[0, [8, 16, 24]], [0.6850, 0.3910, 0.1443], atol=1e-4)


def test_spot_is_an_airy_pattern():
    pixel_nm = 13.0
    spot = np.asarray(psf.psf_from_otf(psf.widefield_otf((1024, 1024), na=1.4, wavelength_nm=520.0, pixel_nm=pixel_nm)))
    assert spot.sum() == pytest.approx(1.0, abs=1e-5) and spot.min() > -1e-8
    row = spot[512, 512:]
    dark = 1 + np.argmax(np.diff(row[1:]) > 0)
    assert dark * pixel_nm == pytest.approx(0.61 * 520.0 / 1.4, abs=pixel_nm)
    v = 2 * np.pi * 1.4 / 520.0 * pixel_nm * np.arange(1, 30)
    np.testing.assert_allclose(row[1:30] / row[0], (2 * special.j1(v) / v) ** 2, atol=2e-3)


def test_defocus_of_zero_is_the_closed_form():
    sharp = psf.widefield_otf((96, 96), **LENS)
    np.testing.assert_allclose(psf.defocused_otf((96, 96), **LENS, defocus_nm=0.0), sharp, atol=1e-4)


@pytest.mark.parametrize("defocus_nm", [300.0, 1200.0])
def test_defocus_is_the_autocorrelation_of_the_pupil(defocus_nm):
    otf = psf.defocused_otf((64, 64), **LENS, defocus_nm=defocus_nm, refractive_index=1.515)
    for column in (3, 9, 15):
        shift = column / 64 / 60.0 * 520.0 / (2 * 1.4)

        def pupil_product(y, x, shift=shift):
            near, far = (x - shift) ** 2 + y * y, (x + shift) ** 2 + y * y
            path = [np.sqrt(1 - (1.4 / 1.515) ** 2 * min(r, 1.0)) for r in (near, far)]
            return np.cos(2 * np.pi * 1.515 * defocus_nm / 520.0 * (path[0] - path[1]))

        quarter, _ = integrate.dblquad(
            pupil_product, 0, 1 - shift, 0, lambda x, shift=shift: np.sqrt(max(1 - (x + shift) ** 2, 0)), epsabs=1e-5
        )
        assert otf[0, column] == pytest.approx(4 / np.pi * quarter, abs=1e-3)


def test_defocused_spot_keeps_its_light_and_loses_its_peak():
    spots = [np.asarray(WidefieldOptics(**LENS, defocus_nm=z).psf((128, 128))) for z in (0.0, 400.0, -400.0)]
    for spot in spots:
        assert spot.sum() == pytest.approx(1.0, abs=1e-5) and spot.min() > -1e-6
    assert spots[1].max() < 0.6 * spots[0].max()
    np.testing.assert_allclose(spots[1], spots[2], atol=1e-7)


def test_gaussian_spot_sums_to_one_with_the_variance_of_a_pixelated_gaussian():
    spot = np.asarray(psf.gaussian_spot((40, 50), x_nm=2430.0, y_nm=1985.0, sigma_nm=150.0, pixel_nm=100.0), np.float64)
    centres_nm = (np.arange(50) + 0.5) * 100.0
    assert spot.sum() == pytest.approx(1.0, abs=1e-6) and (spot >= 0).all()
    across, down = spot.sum(0), spot.sum(1)
    assert across @ centres_nm == pytest.approx(2430.0, abs=0.05)
    assert down @ centres_nm[:40] == pytest.approx(1985.0, abs=0.05)
    assert across @ (centres_nm - 2430.0) ** 2 == pytest.approx(150.0**2 + 100.0**2 / 12, rel=1e-3)


def test_gaussian_spot_broadcasts_over_emitters_and_has_gradients():
    x_nm = jnp.array([500.0, 700.0, 1300.0])
    spots = psf.gaussian_spot((16, 16), x_nm=x_nm, y_nm=800.0 + 0 * x_nm, sigma_nm=130.0, pixel_nm=100.0)
    assert spots.shape == (3, 16, 16)

    def weighted(x):
        return (
            psf.gaussian_spot((16, 16), x_nm=x, y_nm=800.0, sigma_nm=130.0, pixel_nm=100.0) * jnp.arange(16.0)
        ).sum()

    # The mean position in pixels moves by one pixel for each 100 nm.
    assert jax.grad(weighted)(800.0) == pytest.approx(0.01, rel=1e-3)


def test_gaussian_sigma_is_the_least_squares_fit_of_the_airy_spot():
    r = np.linspace(1e-3, 3.0, 4000)
    airy = (2 * special.j1(2 * np.pi * r) / (2 * np.pi * r)) ** 2

    # Radius in units of wavelength / NA, each ring weighted by its area.
    def misfit(sigma):
        return np.sum(r * (airy - np.exp(-(r**2) / (2 * sigma**2))) ** 2)

    sigma = optimize.minimize_scalar(misfit, bounds=(0.1, 0.4), method="bounded").x
    assert psf.gaussian_sigma_nm(1.0, 1.0) == pytest.approx(sigma, rel=1e-3)


def test_gaussian_otf_belongs_to_the_gaussian_spot():
    spot = psf.psf_from_otf(psf.gaussian_otf((64, 64), sigma_nm=300.0, pixel_nm=100.0))
    r2 = (np.arange(64) - 32)[:, None] ** 2 + (np.arange(64) - 32)[None, :] ** 2
    np.testing.assert_allclose(spot, np.exp(-r2 / 18.0) / (18.0 * np.pi), atol=1e-7)


def test_blur_of_a_point_is_the_spot_and_keeps_light():
    otf = psf.widefield_otf((65, 48), **LENS)
    point = jnp.zeros((2, 65, 48)).at[:, 32, 24].set(5.0)
    np.testing.assert_allclose(psf.blur(point, otf)[1], 5.0 * psf.psf_from_otf(otf), atol=1e-6)


def test_blur_with_a_larger_otf_mirrors_the_border():
    step = jnp.concatenate([jnp.zeros((32, 16)), jnp.ones((32, 16))], axis=1)
    otf = psf.gaussian_otf((64, 64), sigma_nm=200.0, pixel_nm=100.0)
    mirrored, periodic = psf.blur(step, otf), psf.blur(step, otf[::2, ::2])
    assert mirrored.shape == (32, 32)
    np.testing.assert_allclose(mirrored[:, -1], 1.0, atol=1e-5)
    np.testing.assert_allclose(mirrored[:, 0], 0.0, atol=1e-5)
    assert periodic[0, 0] > 0.3
    with pytest.raises(InputError, match=r"otf: expected at least the image's size \(32, 32\), found \(16, 16\)"):
        psf.blur(step, otf[::4, ::4])


def test_haze_mixes_a_veil_into_the_spot():
    clear, veiled = WidefieldOptics(**LENS), WidefieldOptics(**LENS, haze=0.3)
    assert veiled.otf((64, 64))[0, 0] == pytest.approx(1.0)
    veil = psf.gaussian_otf((64, 64), sigma_nm=1500.0, pixel_nm=60.0)
    np.testing.assert_allclose(veiled.otf((64, 64)), 0.7 * clear.otf((64, 64)) + 0.3 * veil, atol=1e-6)


@pytest.mark.parametrize("defocus_nm", [None, 350.0])
def test_gradients_reach_every_physical_leaf_and_are_right(defocus_nm):
    optics = WidefieldOptics(**LENS, haze=0.1, defocus_nm=defocus_nm)

    def sharpness(optics):
        return jnp.mean(optics.otf((32, 32)) ** 2)

    slope = jax.grad(sharpness)(optics)
    for name in ("na", "wavelength_nm", "pixel_nm", "haze", *(["defocus_nm"] if defocus_nm else [])):
        value = getattr(optics, name)
        up, down = (WidefieldOptics(**{**vars(optics), name: value * f}) for f in (1.01, 0.99))
        numeric = (sharpness(up) - sharpness(down)) / (0.02 * value)
        assert getattr(slope, name) == pytest.approx(float(numeric), rel=0.03), name


def test_vmap_and_jit_over_leaves_equal_single_calls():
    na = jnp.array([0.8, 1.2, 1.4])
    swept = jax.jit(jax.vmap(lambda na: WidefieldOptics(na=na).otf((24, 24))))(na)
    single = [WidefieldOptics(na=float(value)).otf((24, 24)) for value in na]
    np.testing.assert_allclose(swept, np.stack(single), atol=1e-5)


def test_unflattening_is_never_checked():
    optics = WidefieldOptics()
    assert jax.tree.map(lambda _: None, optics).na is None
    assert jax.tree.map(lambda leaf: -leaf, optics).na == -1.4
    assert jax.tree.structure(optics) == jax.tree.structure(WidefieldOptics(na=0.9))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"na": 1.6},
            r"WidefieldOptics.na: expected below the refractive index 1.515 .*found 1.6; set refractive_index",
        ),
        ({"na": 0}, r"WidefieldOptics.na: expected above 0 and at most 1.7 \(numerical aperture\), found 0"),
        ({"pixel_nm": -100}, r"WidefieldOptics.pixel_nm: expected above 0 \(nm in the sample\), found -100"),
        ({"wavelength_nm": 0.52}, r"wavelength_nm: expected at least 200 and at most 2000 \(nm\), found 0.52"),
        ({"haze": float("nan")}, r"haze: expected at least 0 and at most 1 \(share of the light\), found nan"),
        ({"na": "high"}, r"na: expected a number, .*found 'high'"),
        ({"na": [1.0, 1.2]}, r"na: expected one number, .*found shape \(2,\)"),
    ],
)
def test_wrong_optics_say_what_is_wrong(fields, text):
    with pytest.raises(InputError, match=text):
        WidefieldOptics(**fields)
