"""Drift that was put in comes out again, with an honest error, and too little to go by is refused."""

import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.ops import Drift, correct, estimate_drift

FRAMES = 2000
SIZE = 8000.0


def course(frame):
    """Known drift, nm: more than a hundred along x, bent along y."""
    part = (np.asarray(frame) - 1) / (FRAMES - 1)
    return 150 * part + 20 * np.sin(5 * part), -60 * part**2 + 30 * part


def movie(count, seed=0, precision=12.0):
    """Blinking binding sites under drift: the same sites are seen again and again."""
    generator = np.random.default_rng(seed)
    sites = generator.uniform(0, SIZE, (2, 400))
    site = generator.integers(0, 400, count)
    frame = generator.integers(1, FRAMES + 1, count)
    frame[:2] = 1, FRAMES
    moved = np.stack(course(frame))
    x, y = sites[:, site] + moved + generator.normal(0, precision, (2, count))
    return x, y, frame


@pytest.fixture(scope="module")
def table():
    return movie(12_000)


@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
def test_known_drift_is_found_to_a_few_nm(table, interpolation):
    drift = estimate_drift(*table, segments=8, max_drift_nm=400, interpolation=interpolation)
    assert drift.frames.tolist() == list(range(1, FRAMES + 1))
    assert drift.x_nm[0] == drift.y_nm[0] == 0
    for found, true in zip((drift.x_nm, drift.y_nm), course(drift.frames)):
        error = found - true
        error -= error.mean()
        assert np.sqrt(np.mean(error**2)) < 2.5
        assert abs(error).max() < 8
    assert drift.error_nm.shape == (FRAMES,)
    assert drift.pairs_used > 0.9


def test_the_error_told_is_that_made():
    """Without motion inside a segment: the spread of repeats about the truth, against what each repeat says."""
    made, told = [], []
    for seed in range(6):
        x, y, frame = movie(8000, seed, precision=15.0)
        moved = course(frame)
        drift = estimate_drift(x - moved[0], y - moved[1], frame, segments=6, max_drift_nm=300, interpolation="linear")
        nodes = np.linspace(FRAMES / 12, FRAMES - FRAMES / 12, 6).astype(int)
        for found in (drift.x_nm[nodes], drift.y_nm[nodes]):
            made.append(np.mean((found - found.mean()) ** 2))
        told.append(np.mean(drift.error_nm[nodes] ** 2))
    assert np.sqrt(np.mean(told)) == pytest.approx(np.sqrt(np.mean(made)), rel=0.35)


def test_corrected_positions_gather_at_their_sites(table):
    x, y, frame = table
    generator = np.random.default_rng(0)
    sites, site = generator.uniform(0, SIZE, (2, 400)), generator.integers(0, 400, len(x))
    right = correct(x, y, frame, estimate_drift(x, y, frame, segments=8, max_drift_nm=400))
    before = np.std([x - sites[0, site], y - sites[1, site]], axis=1)
    after = np.std(np.stack(right) - sites[:, site], axis=1)
    assert before[0] > 30
    assert after.max() < 13  # the precision is 12 nm


def test_a_still_sample_stays_still(table):
    x, y, frame = table
    moved = course(frame)
    drift = estimate_drift(x - moved[0], y - moved[1], frame, segments=5, max_drift_nm=300)
    assert max(np.ptp(drift.x_nm), np.ptp(drift.y_nm)) < 6


def test_shifting_a_part_by_whole_pixels_is_found_exactly(table):
    """A segment's picture and its copy moved by 3 and -2 pixels: the peak lies there without any fit error."""
    x, y, _ = movie(3000, precision=12.0)
    x, y = np.concatenate([x, x + 60]), np.concatenate([y, y - 40])
    frame = np.repeat([1, 2], 3000)
    drift = estimate_drift(x, y, frame, segments=2, pixel_nm=20.0, interpolation="linear")
    assert drift.x_nm[1] == pytest.approx(60, abs=0.3)
    assert drift.y_nm[1] == pytest.approx(-40, abs=0.3)
    assert np.isnan(drift.error_nm).all()  # one pair has nothing to disagree with


def test_one_bad_segment_pair_is_left_out(monkeypatch, table):
    from bioflax.ops import drift as module

    right = module._displacements

    def spoiled(*arguments):
        pairs, steps, spread = right(*arguments)
        steps[3] += 180
        return pairs, steps, spread

    whole = estimate_drift(*table, segments=6, max_drift_nm=400)
    monkeypatch.setattr(module, "_displacements", spoiled)
    found = estimate_drift(*table, segments=6, max_drift_nm=400)
    assert found.pairs_used < 1
    assert abs(found.x_nm - whole.x_nm).max() < 2


def test_too_little_to_go_by_is_refused(table):
    x, y, frame = table
    few = slice(0, 300)
    generator = np.random.default_rng(1)
    late = np.where(frame <= FRAMES // 2, 1, frame)
    for call, message in [
        (lambda: estimate_drift(x[few], y[few], frame[few]), "at least 50 localizations .* found 300 in all"),
        (lambda: estimate_drift([], [], []), "found 0 in all"),
        (lambda: estimate_drift(x, y, late), "found 0 in segment 2 of 10"),
        (lambda: estimate_drift(x, y, np.ones(len(x))), "a frame for each of 10 segments"),
        (lambda: estimate_drift(x, y, frame, segments=1), "at least 2 segments"),
        (lambda: estimate_drift(x, y, frame, interpolation="spline"), "expected cubic or linear"),
        (lambda: estimate_drift(x, y[:5], frame), r"expected finite \(N,\) each"),
        (
            lambda: estimate_drift(*generator.uniform(0, 1e4, (2, 2000)), generator.integers(1, 100, 2000)),
            "a common structure",
        ),
        (lambda: correct(x, y, frame + 1, Drift(np.arange(1, 2001), *np.zeros((3, 2000)), 1.0)), "found 2 to 2001"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
