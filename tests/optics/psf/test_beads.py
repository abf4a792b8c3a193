"""Bead stacks: what was put in comes out, what cannot be used is named, and the challenge's own beads."""

import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import psf

Z_NM = np.arange(-500.0, 501.0, 20.0)
PLACES = np.array([[1530.0, 1480.0, 0.0], [4620.0, 1390.0, 30.0], [1440.0, 4570.0, -40.0], [4480.0, 4650.0, 10.0]])
SCALE = {"pixel_nm": 100.0, "z_step_nm": 20.0}
TRUTH = psf.Astigmatic(sigma_nm=150.0)


def render(places=PLACES, *, photons=40000.0, background=5.0, side=60, model=TRUTH, seed=0):
    image = np.full((len(Z_NM), side, side), background)
    for x, y, z in places:
        image += photons * np.asarray(model.spots((side, side), x, y, jnp.asarray(Z_NM + z)))
    return np.random.default_rng(seed).poisson(image).astype(np.float64)


def by_place(fit, places=PLACES):
    """(B, 3) positions in the order of the places."""
    found = np.array([[bead.x_nm, bead.y_nm, bead.z_nm] for bead in fit.beads])
    return found[[np.hypot(*(found[:, :2] - place[:2]).T).argmin() for place in places]]


def error_of_peak(model, z_shift=0.0):
    rng = np.random.default_rng(3)
    x, y, z = rng.uniform(1200, 1300, 25), rng.uniform(1200, 1300, 25), np.linspace(-450, 450, 25)
    expected = np.asarray(TRUTH.spots((25, 25), x, y, z + z_shift))
    return abs(np.asarray(model.spots((25, 25), x, y, z)) - expected).max() / expected.max()


@pytest.fixture(scope="module")
def stack():
    return render()


def test_the_spot_and_the_beads_come_back(stack):
    fit = psf.from_beads(stack, **SCALE)
    assert len(fit.used) == 4
    assert error_of_peak(fit.psf) < 0.025
    assert (abs(by_place(fit) - PLACES) < [1.0, 1.0, 2.0]).all()
    np.testing.assert_allclose([bead.photons for bead in fit.beads], 40000.0, rtol=0.01)
    np.testing.assert_allclose(fit.background_photons, 5.0, atol=0.5)
    assert all(bead.correlation > 0.99 and bead.residual < 0.01 for bead in fit.beads) and fit.residual < 0.01
    assert fit.psf.z_range_nm == pytest.approx((-500.0, 500.0))


def test_with_little_noise_only_the_spline_errs():
    fit = psf.from_beads(render(photons=4e6), **SCALE)
    assert error_of_peak(fit.psf) < 0.006
    assert (abs(by_place(fit) - PLACES) < [0.3, 0.3, 0.4]).all()


def test_given_places_set_the_origin_and_given_heights_stay(stack):
    shifted = PLACES + np.array([30.0, -20.0, 100.0])
    fit = psf.from_beads(stack, **SCALE, positions_nm=shifted)
    found = by_place(fit)
    np.testing.assert_allclose((found - shifted)[:, :2].mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_array_equal(found[:, 2], shifted[:, 2])
    # Called higher by 100 nm than it is: at z the spot shows what a bead at z - 100 shows, off by the same places.
    spot = np.asarray(fit.psf.spots((25, 25), 1250.0, 1250.0, 150.0))
    expected = np.asarray(TRUTH.spots((25, 25), 1220.0, 1270.0, 50.0))
    np.testing.assert_allclose(spot, expected, atol=0.03 * expected.max())


def test_rough_places_are_mended(stack):
    rough = PLACES[:, :2] + np.array([[60.0, 0.0], [-60.0, 0.0], [0.0, 70.0], [0.0, -70.0]])
    fit = psf.from_beads(stack, **SCALE, positions_nm=rough)
    np.testing.assert_allclose(by_place(fit)[:, :2], PLACES[:, :2], atol=1.5)
    assert error_of_peak(fit.psf) < 0.03


def test_a_stack_taken_downwards_is_turned(stack):
    up = psf.from_beads(stack, **SCALE, z_first_nm=-500.0)
    down = psf.from_beads(stack[::-1], pixel_nm=100.0, z_step_nm=-20.0, z_first_nm=500.0)
    np.testing.assert_allclose(down.psf.coefficients, up.psf.coefficients)
    assert down.psf.z_first_nm == up.psf.z_first_nm


def test_bleaching_is_taken_out_by_plane_and_kept_by_stack(stack):
    fading = np.linspace(1.2, 0.8, len(Z_NM))
    faded = (stack - 5.0) * fading[:, None, None] + 5.0
    ends = jnp.array([-500.0, 500.0])
    each = psf.from_beads(faded, **SCALE, register_z=False).psf.spots((25, 25), 1250.0, 1250.0, ends)
    whole = psf.from_beads(faded, **SCALE, register_z=False, normalise="stack").psf.spots(
        (25, 25), 1250.0, 1250.0, ends
    )
    np.testing.assert_allclose(each.sum(axis=(1, 2)), 1.0, atol=0.01)
    np.testing.assert_allclose(whole.sum(axis=(1, 2)), fading[[0, -1]], atol=0.02)


def test_beads_that_cannot_be_used_are_named():
    places = np.array([[1530.0, 1480.0, 0.0], [6480.0, 4590.0, 0.0], [1440.0, 4570.0, 0.0], [2640.0, 4570.0, 0.0]])
    stack = render(places, side=72)
    reasons = {bead.left_out.split(",")[0] for bead in psf.from_beads(stack, **SCALE).beads}
    assert reasons == {"", "at the border", "beside another"}
    with pytest.raises(
        InputError, match="expected at least one usable bead, found 2 beside another; give positions_nm"
    ):
        psf.from_beads(stack, **SCALE, positions_nm=places[2:])


def test_a_bead_unlike_the_others_is_left_out(stack):
    clump = render([[4480.0, 4650.0, 0.0], [4480.0, 3950.0, 0.0]], background=0.0)
    fit = psf.from_beads(stack + clump, **SCALE, positions_nm=PLACES[:, :2], min_correlation=0.97)
    assert [bool(bead.left_out) for bead in fit.beads] == [False, False, False, True]
    assert fit.beads[3].left_out.startswith("unlike the others, correlation 0.")
    assert error_of_peak(fit.psf) < 0.04


def test_full_pixels_are_seen(stack):
    level = 0.5 * stack.max()
    with pytest.raises(InputError, match="found 4 saturated"):
        psf.from_beads(np.minimum(stack, level), **SCALE)
    dim = stack.copy()
    dim[:, :30, :30] = np.minimum(dim[:, :30, :30], level)
    fit = psf.from_beads(dim, **SCALE, saturation_photons=stack[:, 30:, 30:].max() * 1.2)
    assert len(fit.used) == 4


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        (lambda s: s[0], {}, r"stack: expected photons \(Z, Y, X\), found shape \(60, 60\)"),
        (lambda s: s[:4], {}, "stack: expected at least 5 planes, found 4"),
        (lambda s: np.where(s == s.max(), np.nan, s), {}, "stack: expected finite photons, found 1 values"),
        (lambda s: s - 100.0, {}, "stack: expected photons, found a mean of -"),
        (lambda s: 0.0 * s, {}, "expected at least one usable bead, found none in sight"),
        (lambda s: s, {"window_px": 61}, "window_px: expected at most the image's side 60, found 61"),
        (lambda s: s, {"window_px": 24}, "window_px: expected an odd number of at least 5, found 24"),
        (lambda s: s, {"z_step_nm": 0.0}, "z_step_nm: expected the distance of the planes, not 0"),
        (lambda s: s, {"pixel_nm": 0.0}, "pixel_nm: expected a length above 0 nm"),
        (lambda s: s, {"normalise": "sum"}, "normalise: expected plane or stack, found 'sum'"),
        (lambda s: s, {"positions_nm": [1.0, 2.0]}, r"positions_nm: expected finite \(B, 2\)"),
    ],
)
def test_wrong_input_is_named_in_one_line(stack, change, options, text):
    with pytest.raises(InputError, match=text) as error:
        psf.from_beads(change(stack), **{**SCALE, **options})
    assert "\n" not in str(error.value)


def test_the_beads_of_the_challenge(shared):
    tifffile = pytest.importorskip("tifffile")
    folder = shared / "localization" / "challenge2016_beads_as"
    if not folder.is_dir():
        pytest.skip(f"no bead stack at {folder}")
    counts = tifffile.imread(folder / "stack.tif").astype(np.float64)
    photons = ((counts - 100) * 45 / 300 - 0.002) / 0.9
    rows = np.genfromtxt(folder / "beads.csv", delimiter=",", names=True)[:6]
    truth = np.stack([rows["x_nm"], rows["y_nm"]], axis=1)
    fit = psf.from_beads(photons[::2], pixel_nm=100.0, z_step_nm=20.0)
    assert len(fit.used) == 6 and fit.residual < 0.01
    off = by_place(fit, truth)[:, :2] - truth
    # Its origin is not the centroid of its light; all beads have the same distance from theirs.
    assert abs(off.mean(axis=0)).max() < 80.0 and off.std(axis=0).max() < 0.6
    sums = np.array([bead.photons for bead in fit.beads])
    assert np.ptp(sums) < 0.01 * sums.mean()
    known = psf.from_beads(photons[::2], pixel_nm=100.0, z_step_nm=20.0, positions_nm=truth)
    np.testing.assert_allclose(by_place(known, truth)[:, :2], truth, atol=0.8)
    spots = np.asarray(known.psf.spots((25, 25), 1250.0, 1250.0, jnp.array([-400.0, 400.0])))
    at = np.arange(25) - 12.0
    tall, flat = ((spot.sum(axis=1) * at**2).sum() / (spot.sum(axis=0) * at**2).sum() for spot in spots)
    assert tall > 1.5 and flat < 0.67
