"""A pupil with maps of Zernike terms: the pupil of each place, windows, and its way through simulator, bound and fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.baselines.localize import localize
from bioflax.baselines.mle import fit_windows
from bioflax.errors import InputError
from bioflax.optics.emitter_bounds import emitter_bounds
from bioflax.optics.likelihood import Sensor
from bioflax.optics.psf import FieldPupil, Gaussian, Pupil, seen_from
from bioflax.simulate import EmitterSimulator

SMALL = Pupil(pupil_px=16, subpixels=1)


def tilted() -> FieldPupil:
    """Vertical astigmatism from -60 nm on the left to 60 nm on the right of a field of 4 micrometres."""
    maps = np.stack([np.zeros((2, 2)), [[-60.0, 60.0], [-60.0, 60.0]]])
    return FieldPupil(maps, 4000.0, SMALL)


@pytest.mark.parametrize(("x_nm", "wanted"), [(0.0, -60.0), (1000.0, -30.0), (3000.0, 30.0), (9000.0, 60.0)])
def test_a_place_has_the_spot_of_its_own_terms(x_nm, wanted) -> None:
    psf = tilted()
    np.testing.assert_allclose(psf.zernikes_nm(jnp.float32(x_nm), jnp.float32(500.0)), [0.0, wanted], atol=1e-3)
    window = seen_from(psf, x_nm - 750.0, 0.0)
    own = dataclasses.replace(SMALL, zernikes_nm=jnp.array([0.0, wanted]))
    at = (jnp.float32(750.0), jnp.float32(500.0), jnp.float32(200.0))
    np.testing.assert_allclose(window.spots((15, 15), *at), own.spots((15, 15), *at), atol=1e-6)


def test_a_spot_without_a_field_is_the_same_everywhere() -> None:
    spot = Gaussian()
    assert seen_from(spot, 5.0, 7.0) is spot


def test_the_simulator_draws_windows_as_the_whole_field() -> None:
    whole = EmitterSimulator(psf=tilted(), size=40, emitters_per_um2=0.3, margin_px=0)
    cut = dataclasses.replace(whole, spot_px=31)
    emitters = {
        n: jnp.array(v) for n, v in {"x_nm": [900.0, 3100.0], "y_nm": [2000.0, 1500.0], "z_nm": [200.0, 200.0]}.items()
    }
    emitters["photons"] = jnp.full((2, 3), 1000.0)
    full, windows = whole.render(emitters)[0], cut.render(emitters)[0]
    np.testing.assert_allclose(windows, full, atol=0.02 * float(full.max()))
    # wide along one axis on the left, along the other on the right
    spread = [np.asarray(full)[:, part] for part in (slice(0, 20), slice(20, 40))]
    ratio = [np.std(p.sum(0)) / np.std(p.sum(1)) for p in spread]
    assert (ratio[0] - 1) * (ratio[1] - 1) < 0


def test_fits_and_bounds_know_where_their_window_lies() -> None:
    psf, rng = tilted(), np.random.default_rng(0)
    corner = np.column_stack([rng.uniform(0, 2500, 64), rng.uniform(0, 2500, 64)]).astype(np.float32)
    truth = np.column_stack([np.full(64, 770.0), np.full(64, 730.0), rng.uniform(-250, 250, 64)]).astype(np.float32)
    draw = jax.vmap(lambda c, v: seen_from(psf, *c).spots((15, 15), *v))
    light = 20_000 * np.asarray(jax.jit(draw)(corner, truth)) + 5
    fits = fit_windows(psf, Sensor(), rng.poisson(light).astype(np.float32), corner_nm=corner, z_range_nm=(-400, 400))
    columns = {"x_nm": truth[:, 0] + corner[:, 0], "y_nm": truth[:, 1] + corner[:, 1], "z_nm": truth[:, 2]}
    columns |= {"photons": np.full(64, 2e4), "background_photons": np.full(64, 5.0)}
    bound = emitter_bounds(psf, Sensor(), columns)
    error = (fits.values[:, :2] - truth[:, :2]) / np.stack([bound["crlb_x_nm"], bound["crlb_y_nm"]], -1)
    assert fits.converged.mean() > 0.9 and np.median(np.abs(error)) < 1.0
    # The middle of the field has no astigmatism: near the focus its depth is told least.
    middle = np.abs(columns["x_nm"] - 2000) < 250
    assert bound["crlb_z_nm"][middle].max() > 2 * bound["crlb_z_nm"][columns["x_nm"] < 1200].max()


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"zernike_maps_nm: expected \(terms, H', W'\), found shape \(2, 3\)"):
        FieldPupil(np.zeros((2, 3)), 1000.0)


@pytest.mark.parametrize("detector", ["gaussian", "matched"])
def test_the_localizer_finds_depth_at_both_ends_of_the_field(detector) -> None:
    maps = np.stack([[[150.0, -150.0]] * 2])
    psf = FieldPupil(maps, 9000.0, Pupil(pupil_px=20, subpixels=1, na=1.3))
    truth = np.array([[1200.0, 4500.0, 250.0], [7800.0, 4400.0, 250.0]], np.float32)
    light = 20_000 * np.asarray(psf.spots((90, 90), *truth.T)).sum(0) + 5
    frames = np.random.default_rng(0).poisson(light, (3, 90, 90)).astype(np.float32)
    found = localize(frames, psf, None, detector=detector, threshold=20.0, window_px=21)
    assert "z_nm" in found
    for x, y, z in truth:
        near = np.hypot(found["x_nm"] - x, found["y_nm"] - y) < 40
        assert near.sum() == 3 and np.abs(found["z_nm"][near] - z).max() < 30
