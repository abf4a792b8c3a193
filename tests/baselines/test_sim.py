import dataclasses
import functools

import numpy as np
import pytest

from bioflax.baselines import estimate_illumination, reconstruct, widefield
from bioflax.baselines.sim_orders import separate
from bioflax.errors import InputError
from bioflax.optics import WidefieldOptics
from bioflax.optics.illumination import Illumination
from bioflax.optics.imaging import Imaging

OPTICS = WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=70.0)
IMAGING = Imaging(OPTICS, 2)
SIDE = 96  # fine pixels of 35 nm
TWO_D = Illumination(
    angle_deg=np.array([10.0, 70.0, -50.0]),
    period_nm=np.array([212.0, 210.0, 214.0]),
    phase_deg=np.array([30.0, 200.0, 350.0]),
    modulation=np.full(3, 0.8),
    half_modulation=np.zeros(3),
)
THREE_D = Illumination(
    angle_deg=np.array([10.0, 70.0, -50.0]),
    period_nm=np.array([232.0, 230.0, 234.0]),
    phase_deg=np.array([30.0, 400.0, 650.0]),
    modulation=np.full(3, 0.5),
    half_modulation=np.ones(3),
    phases=5,
)


def filaments():
    rng = np.random.default_rng(0)
    rows, columns = np.indices((SIDE, SIDE)) - 0.5 * (SIDE - 1)
    fine = np.full((SIDE, SIDE), 20.0, np.float32)
    for _ in range(12):
        angle, shift = rng.uniform(0, np.pi), rng.uniform(-35, 35)
        fine[np.abs(rows * np.cos(angle) + columns * np.sin(angle) - shift) < 0.6] += 3000.0
    return fine


@functools.cache
def captured(phases):
    """(illumination, object, frames of 48 px with Poisson noise on an offset of 100)."""
    light = {3: TWO_D, 5: THREE_D}[phases]
    fine = filaments()
    expected = np.asarray(IMAGING.forward(fine * light.patterns(fine.shape, 35.0), mirror_px=16))
    return light, fine, 100.0 + np.random.default_rng(1).poisson(np.maximum(expected, 0))


@functools.cache
def estimated(phases):
    return estimate_illumination(captured(phases)[2], OPTICS, phases=phases, offset=100.0)


@pytest.mark.parametrize("phases", [3, 5])
def test_the_stripes_are_found(phases):
    true, found = captured(phases)[0], estimated(phases)
    waves = [np.exp(1j * np.radians(one.angle_deg)) / np.broadcast_to(one.period_nm, (3,)) for one in (true, found)]
    assert (np.abs(waves[1] - waves[0]) < 0.01 * np.abs(waves[0])).all()
    # Where the picture is, not at its corner: there a hundredth of a stripe more is another phase
    middle_nm = 0.5 * 35.0 * SIDE
    phase = [one.phase_deg + 360.0 * middle_nm * (wave.real + wave.imag) for one, wave in zip((true, found), waves)]
    turns = 1 if phases == 3 else 2
    assert np.abs((phase[1] - phase[0] + 180 * turns) % (360 * turns) - 180 * turns).max() < 5.0
    assert np.abs(found.modulation - true.modulation).max() < 0.1
    assert np.abs(found.half_modulation - true.half_modulation).max() < 0.1
    assert found.phases == phases


def test_a_direction_of_weak_stripes_is_sought_where_the_others_point():
    light = dataclasses.replace(TWO_D, modulation=np.array([0.8, 0.8, 0.02]))
    fine = filaments()
    frames = np.asarray(IMAGING.forward(fine * light.patterns(fine.shape, 35.0), mirror_px=16))
    frames = np.random.default_rng(1).poisson(np.maximum(frames, 0))
    with pytest.raises(InputError, match="expected stripes in direction 1, found none"):
        estimate_illumination(frames[6:], OPTICS, phases=3)
    found = estimate_illumination(frames, OPTICS, phases=3)
    np.testing.assert_allclose(found.angle_deg, light.angle_deg, atol=1.0)
    assert found.modulation[2] < 0.05


@pytest.mark.parametrize("phases", [3, 5])
def test_the_reconstruction_is_closer_to_the_truth_than_the_wide_field(phases):
    _, fine, frames = captured(phases)
    found = reconstruct(frames, estimated(phases), OPTICS, offset=100.0)
    seen = np.repeat(np.repeat(widefield(frames), 2, 0), 2, 1)
    inner = (slice(6, -6), slice(6, -6))  # stripes are not mirrored at the borders as the picture is
    correlation = [np.corrcoef(one[inner].ravel(), fine[inner].ravel())[0, 1] for one in (found, seen)]
    assert correlation[0] > correlation[1] + 0.1
    assert found.shape == fine.shape
    assert found.mean() == pytest.approx(widefield(frames).mean(), rel=1e-3)


def test_frequencies_beyond_the_cut_off_come_through():
    # Stripes of 140 nm: the optics end at 186 nm, SIM at 99 nm
    columns = np.cos(2 * np.pi * (np.arange(SIDE) + 0.5) / 4)
    fine = np.tile(100.0 + 80.0 * columns, (SIDE, 1)).astype(np.float32)
    light = dataclasses.replace(TWO_D, angle_deg=np.array([0.0, 60.0, 120.0]), period_nm=np.full(3, 210.0))
    frames = np.asarray(IMAGING.forward(fine * light.patterns(fine.shape, 35.0), mirror_px=32))
    assert widefield(frames)[12:-12, 12:-12].std() < 1.0
    plain = reconstruct(frames, light, OPTICS, balance=1e-4, apodise=False)[24:-24, 24:-24]
    amplitude = 2 * np.mean(plain * columns[24:-24])
    assert amplitude == pytest.approx(80.0, rel=0.15)
    faded = reconstruct(frames, light, OPTICS, balance=1e-4)[24:-24, 24:-24]
    # The fade of a band that ends at 2 NA / wavelength + 1 / period
    expected = np.cos(0.5 * np.pi / 140.0 / (2 * 1.4 / 520.0 + 1 / 210.0))
    assert 2 * np.mean(faded * columns[24:-24]) / amplitude == pytest.approx(expected, rel=0.05)


def test_frames_already_on_the_fine_grid_are_taken_as_they_are():
    _, fine, _ = captured(3)
    imaging = Imaging(WidefieldOptics(na=1.4, wavelength_nm=520.0, pixel_nm=35.0), 1)
    frames = np.asarray(imaging.forward(fine * TWO_D.patterns(fine.shape, 35.0), mirror_px=16))
    found = reconstruct(frames, TWO_D, imaging.optics, upscale=1, balance=1e-3)
    inner = (slice(6, -6), slice(6, -6))
    correlation = [np.corrcoef(one[inner].ravel(), fine[inner].ravel())[0, 1] for one in (found, widefield(frames))]
    assert found.shape == fine.shape
    assert correlation[0] > correlation[1] + 0.1


def test_sectioning_removes_light_without_stripes():
    light, _, frames = captured(5)  # the wider stripes reach where the optics let much through
    rows = np.arange(48)[:, None]
    haze = 150.0 * (1 + np.cos(np.pi * (rows + 0.5) / 48)) * np.ones((1, 48))
    error = []
    for sectioning in (0.0, 0.99):
        clean, veiled = (
            reconstruct(stack, light, OPTICS, sectioning=sectioning, offset=100.0) for stack in (frames, frames + haze)
        )
        rest = (veiled - veiled.mean()) - (clean - clean.mean())
        error.append(rest.std())
    assert error[1] < 0.5 * error[0]
    assert error[0] > 50.0


def test_a_brighter_direction_changes_nothing():
    light, _, frames = captured(3)
    lamp = np.repeat([0.8, 1.0, 1.2], 3)[:, None, None]
    mean = (frames - 100).reshape(3, -1).mean(1)
    even = np.repeat(mean.mean() / mean, 3)[:, None, None]
    first = reconstruct((frames - 100) * even, light, OPTICS)
    np.testing.assert_allclose(reconstruct((frames - 100) * even * lamp, light, OPTICS), first, rtol=1e-3, atol=0.5)


def test_orders_separate_exactly():
    rng = np.random.default_rng(2)
    orders = rng.normal(size=(3, 4, 4)) + 1j * rng.normal(size=(3, 4, 4))
    orders[0] = orders[0].real
    step = 2j * np.pi * np.arange(5) / 5
    frames = sum(np.exp(n * step)[:, None, None] * orders[n] for n in range(3))
    frames = frames + sum(np.exp(-n * step)[:, None, None] * orders[n].conj() for n in (1, 2))
    np.testing.assert_allclose(separate(frames.real), orders, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda a: estimate_illumination(a[:8], OPTICS, phases=3),
            "frames: expected directions of 3 phases .* found 8",
        ),
        (
            lambda a: estimate_illumination(np.repeat(a[:3], 3, 0), OPTICS, phases=3),
            "frames: expected stripes in direction 1, found none: .* check the order of the frames",
        ),
        (
            lambda a: estimate_illumination(np.random.default_rng(0).poisson(50.0, a.shape), OPTICS, phases=3),
            "frames: expected stripes in direction 1, found none",
        ),
        (
            lambda a: estimate_illumination(a, OPTICS, phases=3, period_range_nm=(20.0, 40.0)),
            "period_range_nm: expected periods of more than two pixels, found none in 20 to 40 nm",
        ),
        (lambda a: reconstruct(a, THREE_D, OPTICS), "frames: expected 15, 3 directions of 5 phases, found 9"),
        (lambda a: reconstruct(a, TWO_D, OPTICS, balance=0.0), "balance: expected a positive number, found 0.0"),
        (lambda a: reconstruct(a, TWO_D, OPTICS, sectioning=1.0), "sectioning: expected from 0 to below 1, found 1.0"),
        (lambda a: widefield(a[0]), r"frames: expected \(frames, H, W\), found shape \(48, 48\)"),
        (lambda a: widefield(a * np.nan), "frames: expected finite values"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call(captured(3)[2])
