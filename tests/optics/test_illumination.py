"""Striped light: the cosines of a formula, direction by direction, with the mean 1 over the phases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.optics import WidefieldOptics
from bioflax.optics.illumination import Illumination

SHAPE, PIXEL_NM = (10, 14), 40.0
ODD = Illumination(
    angle_deg=(20.0, 75.0, 140.0),
    period_nm=(180.0, 190.0, 200.0),
    phase_deg=(10.0, 400.0, 90.0),
    modulation=(0.5, 0.6, 0.4),
    half_modulation=(0.9, 0.8, 1.0),
    phases=5,
)


def brute(light: Illumination, before_px: float = 0.0) -> np.ndarray:
    """The formula, point by point, in float64."""
    frames = []
    for a in range(light.angles):
        angle, period, phase, deep, half = (
            float(np.broadcast_to(value, (light.angles,))[a])
            for value in (light.angle_deg, light.period_nm, light.phase_deg, light.modulation, light.half_modulation)
        )
        for p in range(light.phases):
            picture = np.empty(SHAPE)
            for i, j in np.ndindex(*SHAPE):
                y, x = (i + 0.5 - before_px) * PIXEL_NM, (j + 0.5 - before_px) * PIXEL_NM
                r = (np.cos(np.radians(angle)) * x + np.sin(np.radians(angle)) * y) / period
                turn = 2 * np.pi * p / light.phases * (2 if light.phases == 5 else 1)
                fine = np.cos(2 * np.pi * r + np.radians(phase) + turn)
                wide = np.cos(np.pi * r + np.radians(phase) / 2 + turn / 2)
                picture[i, j] = 1 + deep * fine + half * wide
            frames.append(picture)
    return np.stack(frames)


@pytest.mark.parametrize("light", [Illumination(phase_deg=35.0), ODD], ids=["9", "15"])
def test_patterns_are_the_formula_and_their_phases_add_up_to_even_light(light: Illumination) -> None:
    assert light.frames == {3: 9, 5: 15}[light.phases]
    frames = jax.jit(lambda one: one.patterns(SHAPE, PIXEL_NM, before_px=3.0))(light)
    assert frames.shape == (light.frames, *SHAPE) and frames.dtype == jnp.float32
    np.testing.assert_allclose(frames, brute(light, 3.0), atol=2e-5)
    mean = np.asarray(frames).reshape(light.angles, light.phases, *SHAPE).mean(1)
    np.testing.assert_allclose(mean, 1.0, atol=2e-6)
    assert np.abs(np.asarray(frames) - 1.0).max() > 0.3


def test_one_direction_along_x_has_stripes_down_the_columns() -> None:
    """At 4 px a period and phase 0 the pixel centres see cos(45), cos(135), cos(225), cos(315) degrees."""
    frames = Illumination(angle_deg=0.0, period_nm=400.0, modulation=1.0).patterns((4, 4), 100.0)
    assert frames.shape == (3, 4, 4)
    row = 1 + np.cos(np.radians([45, 135, 225, 315]))
    np.testing.assert_allclose(frames[0], np.tile(row, (4, 1)), atol=1e-6)


def test_leaves_can_be_mapped_over() -> None:
    phases = jnp.asarray([[0.0, 30.0, 60.0], [10.0, 20.0, 50.0]])
    light = jax.jit(jax.vmap(lambda phase: Illumination(phase_deg=phase).patterns(SHAPE, PIXEL_NM)))(phases)
    for i in range(2):
        np.testing.assert_allclose(light[i], brute(Illumination(phase_deg=np.asarray(phases[i]))), atol=2e-5)


def test_the_band_is_the_cut_off_and_the_finest_stripes() -> None:
    optics = WidefieldOptics(na=1.4, wavelength_nm=520.0)
    assert float(ODD.band_per_nm(optics)) == pytest.approx(2.8 / 520 + 1 / 180)


def test_three_equal_beams_are_allowed_and_reach_the_dark() -> None:
    light = Illumination(modulation=2 / 3, half_modulation=4 / 3, phases=5, period_nm=801.3)
    frames = light.patterns((64, 64), 20.0)
    assert float(frames.min()) == pytest.approx(0.0, abs=1e-3) and float(frames.max()) == pytest.approx(3.0, abs=1e-2)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"phases": 4}, r"Illumination.phases: expected 3 \(2-D SIM\) or 5"),
        ({"half_modulation": 0.2}, "Illumination.half_modulation: expected 0 with 3 phases, found 0.2"),
        ({"half_modulation": 1.0, "modulation": 1.0, "phases": 5}, "nowhere below 0, found -0.125"),
        ({"period_nm": (200.0, 210.0)}, r"Illumination.period_nm: expected one number or one for each of the 3"),
        ({"modulation": 1.2}, "Illumination.modulation: expected at least 0 and at most 1"),
        ({"period_nm": 0.0}, "Illumination.period_nm: expected above 0"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Illumination(**fields)
