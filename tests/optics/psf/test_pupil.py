"""The pupil's spots against the Airy pattern, transfer functions, an independent program and its own symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from bioflax.errors import InputError
from bioflax.optics import psf
from bioflax.optics.psf.pupil import _disc

DRY = {"na": 0.6, "wavelength_nm": 600.0, "pixel_nm": 100.0}


def middle(model, z_nm=0.0, side=25):
    return np.asarray(model.spots((side, side), 50.0 * side, 50.0 * side, z_nm), np.float64)


def test_zernikes_are_orthonormal_in_the_published_order():
    assert [psf.noll_order(j) for j in range(1, 12)] == [
        (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0),
    ]  # fmt: skip
    disc = _disc(24)
    angle = np.arctan2(np.broadcast_to(disc.y[:, None], disc.x.shape), disc.x)
    terms = np.stack([psf.zernike(j, disc.radius, angle) for j in range(1, 37)])
    products = np.einsum("avu,bvu,vu->ab", terms, terms, disc.area) / np.pi
    np.testing.assert_allclose(products, np.eye(36), atol=1e-10)


def test_zernikes_have_the_published_forms():
    r, a = np.array([0.0, 0.3, 0.9]), np.array([0.2, 1.0, 4.0])
    np.testing.assert_allclose(psf.zernike(4, r, a), np.sqrt(3) * (2 * r**2 - 1))
    np.testing.assert_allclose(psf.zernike(5, r, a), np.sqrt(6) * r**2 * np.sin(2 * a))
    np.testing.assert_allclose(psf.zernike(8, r, a), np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(a))
    np.testing.assert_allclose(psf.zernike(11, r, a), np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1), atol=1e-14)
    with pytest.raises(InputError, match="noll: expected an index of at least 1, found 0"):
        psf.noll_order(0)


def test_in_focus_it_is_the_airy_pattern_over_pixels():
    at, weight = np.polynomial.legendre.leggauss(6)
    points = (100.0 * (np.arange(31)[:, None] + 0.5 * (at + 1)) - 1540.0).ravel()
    v = 2 * np.pi * 0.6 / 600.0 * np.hypot(points[:, None], points + 12.0)
    airy = (2 * special.j1(v) / v) ** 2 * np.pi * (0.6 / 600.0 * 100.0) ** 2
    airy = np.einsum("iajb,a,b->ij", airy.reshape(31, 6, 31, 6), weight / 2, weight / 2)
    spot = psf.Pupil(**DRY).spots((31, 31), 1528.0, 1540.0, 0.0)
    np.testing.assert_allclose(spot, airy, atol=5e-6 * airy.max())


@pytest.mark.parametrize("defocus_nm", [0.0, 2000.0])
def test_it_is_the_spot_of_the_transfer_function(defocus_nm):
    f = np.fft.fftfreq(512)
    pixel = np.sinc(f)[:, None] * np.sinc(f)
    otf = psf.defocused_otf((512, 512), **DRY, defocus_nm=defocus_nm) * pixel
    expected = np.asarray(psf.psf_from_otf(otf))[256 - 12 : 256 + 13, 256 - 12 : 256 + 13]
    np.testing.assert_allclose(middle(psf.Pupil(**DRY), defocus_nm), expected, atol=1e-3 * expected.max())


@pytest.mark.parametrize("vectorial", [False, True])
def test_no_light_is_lost_out_of_focus(vectorial):
    model = psf.Pupil(na=0.9, pixel_nm=150.0, vectorial=vectorial, zernikes_nm=[0.0, 40.0], pupil_px=96)
    sums = [float(model.spots((91, 91), 6825.0, 6825.0, z).sum()) for z in (-1500.0, 0.0, 1500.0)]
    # An Airy pattern of NA 0.9 has 1.0 % of its light beyond 6.8 um around it: 2 / (pi v)
    np.testing.assert_allclose(sums, 1.0, atol=0.014)
    assert np.ptp(sums) < 2e-3 and max(sums) < 1.0


@pytest.mark.parametrize("vectorial", [False, True])
def test_without_aberration_both_sides_of_focus_are_alike(vectorial):
    model = psf.Pupil(vectorial=vectorial)
    np.testing.assert_allclose(middle(model, 400.0), middle(model, -400.0), atol=2e-7)
    spot = middle(model, 400.0)
    np.testing.assert_allclose(spot, spot.T, atol=2e-7)
    np.testing.assert_allclose(spot, spot[::-1, ::-1], atol=2e-7)


def test_astigmatism_makes_the_widths_cross():
    model = psf.Pupil(zernikes_nm=[0.0, 60.0])
    at = np.arange(25) - 12.0
    wide_y, wide_x = [], []
    for z_nm in (-300.0, 0.0, 300.0):
        spot = middle(model, z_nm)
        wide_y.append((spot.sum(axis=1) * at**2).sum())
        wide_x.append((spot.sum(axis=0) * at**2).sum())
    assert wide_y[0] < 0.6 * wide_x[0] and wide_y[2] > 1.6 * wide_x[2]
    assert wide_y[1] == pytest.approx(wide_x[1], rel=1e-4)
    oblique = middle(psf.Pupil(zernikes_nm=[60.0]), 300.0)
    np.testing.assert_allclose(oblique, oblique.T, atol=2e-7)
    assert abs(oblique - oblique[:, ::-1]).max() > 0.2 * oblique.max()


def test_a_small_aperture_does_not_see_the_dipole():
    lens = {"na": 0.1, "wavelength_nm": 600.0, "pixel_nm": 800.0, "refractive_index": 1.0}
    spots = [psf.Pupil(**lens, vectorial=flag).spots((15, 15), 6100.0, 5900.0, 9000.0) for flag in (False, True)]
    np.testing.assert_allclose(spots[1], spots[0], atol=5e-3 * float(spots[0].max()))
    wide = [middle(psf.Pupil(na=1.4, vectorial=flag)).max() for flag in (False, True)]
    assert wide[1] < 0.8 * wide[0]


def test_a_mismatch_is_focused_and_spreads_the_depths():
    deep = psf.Pupil(na=1.3, medium_index=1.33, depth_nm=4000.0)
    z_nm = jnp.linspace(-800.0, 800.0, 33)
    peaks = np.asarray(deep.spots((21, 21), 1050.0, 1050.0, z_nm)).max(axis=(1, 2))
    assert abs(float(z_nm[peaks.argmax()])) <= 200.0
    assert peaks.max() < 0.8 * middle(psf.Pupil(na=1.3)).max()
    # Of the same index there is nothing to mismatch: the stage travels with the depth.
    same = psf.Pupil(na=1.3, medium_index=1.515, depth_nm=4000.0, focus_nm=3900.0)
    np.testing.assert_allclose(middle(same, 0.0), middle(psf.Pupil(na=1.3), 100.0), atol=2e-6)


def test_light_above_the_critical_angle_fades_with_the_depth():
    gaps = []
    for depth_nm in (0.0, 3000.0):
        lens = {"medium_index": 1.33, "depth_nm": depth_nm, "pupil_px": 64, "vectorial": True}
        below = middle(psf.Pupil(**lens, na=1.3299))
        gaps.append(abs(middle(psf.Pupil(**lens)) - below).max() / below.max())
    assert gaps[1] < 0.02 and gaps[0] > 0.1


def test_more_nodes_and_points_change_nothing():
    x = jnp.array([640.0, 710.0])
    lens = {"vectorial": True, "na": 1.3, "medium_index": 1.33, "depth_nm": 1000.0}
    coarse = psf.Pupil(**lens).spots((13, 13), x, 650.0, jnp.array([0.0, 600.0]))
    fine = psf.Pupil(**lens, pupil_px=64, subpixels=5).spots((13, 13), x, 650.0, jnp.array([0.0, 600.0]))
    np.testing.assert_allclose(coarse, fine, atol=1e-4 * float(fine.max()))


def test_coefficients_can_be_mapped_over_as_a_field_dependence():
    models = jax.vmap(lambda c: psf.Pupil(zernikes_nm=c))(jnp.array([[0.0, 30.0], [0.0, -30.0]]))
    spots = jax.vmap(lambda m: m.spots((13, 13), 650.0, 650.0, 200.0))(models)
    np.testing.assert_allclose(spots[0], spots[1].T, atol=1e-6)
    assert abs(spots[0] - spots[1]).max() > 0.1 * spots.max()


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("na", 1.6, "Pupil.na: expected below the refractive index 1.515"),
        ("pupil_px", 4, "Pupil.pupil_px: expected a whole number from 8 to 512, found 4"),
        ("subpixels", 2.5, "Pupil.subpixels: expected a whole number"),
        ("zernikes_nm", [[1.0]], "Pupil.zernikes_nm: expected a list of coefficients"),
        ("depth_nm", -5.0, "Pupil.depth_nm: expected at least 0"),
    ],
)
def test_wrong_fields_are_named(field, value, text):
    with pytest.raises(InputError, match=text):
        psf.Pupil(**{field: value})


@pytest.mark.parametrize("model", ["scalar", "vectorial"])
def test_agrees_with_psfmodels(model):
    psfmodels = pytest.importorskip("psfmodels")
    lens = {"dxy": 0.1, "wvl": 0.66, "model": model, "normalize": False, "oversample_factor": 9}
    matched = psfmodels.make_psf([-0.4, 0.0], 21, NA=1.4, ns=1.515, **lens)
    ours = psf.Pupil(na=1.4, vectorial=model == "vectorial").spots((21, 21), 1050.0, 1050.0, jnp.array([-400.0, 0.0]))
    water = psfmodels.make_psf([2.1], 21, NA=1.2, ns=1.33, pz=2.0, **lens)
    travel = 2100.0 + 2000.0 * (1.515 / 1.33 - 1.0)  # its z is the stage less the paraxial shift of the depth
    deep = psf.Pupil(na=1.2, medium_index=1.33, depth_nm=2000.0, focus_nm=travel, vectorial=model == "vectorial")
    for theirs, spots in ((matched, np.asarray(ours)), (water, middle(deep, side=21)[None])):
        for one, other in zip(theirs, spots):
            np.testing.assert_allclose(one / one.sum(), other / other.sum(), atol=1e-3 * other.max())
