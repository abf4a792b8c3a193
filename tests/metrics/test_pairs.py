"""Profiles lie where they should, pairs are resolved where two maxima show, and noise is not a pair."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bioflax.errors import InputError
from bioflax.metrics.pairs import STEP_PX, is_resolved, profile_across, resolved_fraction, wilson_interval

SHAPE, CENTRE = (48, 44), (23.3, 21.8)


def lines(spacing, sigma, angle, shares=(1.0, 1.0)):
    """Two Gaussian ridges perpendicular to the direction `angle`, either side of the centre."""
    y, x = np.indices(SHAPE)
    t = (x - CENTRE[1]) * np.cos(angle) + (y - CENTRE[0]) * np.sin(angle)
    return sum(n * np.exp(-((t - s * spacing / 2) ** 2) / (2 * sigma**2)) for n, s in zip(shares, (-1, 1)))


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, 2.5])
def test_a_profile_is_the_section_across_the_lines(angle):
    found = profile_across(lines(6.0, 1.5, angle, (1.0, 0.5)), CENTRE, angle, 16.0, 5.0)
    t = (np.arange(found.size) - found.size // 2) * STEP_PX
    assert abs(t).max() == 8.0
    expected = np.exp(-((t + 3) ** 2) / 4.5) + 0.5 * np.exp(-((t - 3) ** 2) / 4.5)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_profile_averages_over_its_width():
    noise = np.random.default_rng(0).normal(size=(200, 200))
    narrow, wide = (np.std(profile_across(noise, (100, 100), 0.0, 150.0, width)) for width in (1.0, 25.0))
    assert narrow / wide == pytest.approx(5.0, rel=0.2)


@pytest.mark.parametrize("angle", [0.0, 1.1])
def test_two_gaussians_are_resolved_from_the_dip_on(angle):
    def told(spacing):
        return is_resolved(profile_across(lines(spacing, 1.5, angle), CENTRE, angle, 4 * spacing, 5.0), spacing)

    t = np.linspace(0.0, 4.0, 4001)
    distances = np.linspace(2.0, 3.0, 101)  # of Gaussians of sigma 1: from 2 on there are two maxima
    sums = np.exp(-((t - distances[:, None] / 2) ** 2) / 2) + np.exp(-((t + distances[:, None] / 2) ** 2) / 2)
    limit = 1.5 * distances[np.argmax(1 - sums[:, 0] / sums.max(1) >= 0.1)]
    assert not told(0.97 * limit) and told(1.03 * limit) and told(9.0)


def test_dip_and_heights_are_asked_for():
    profile = profile_across(lines(4.5, 1.5, 0.0), CENTRE, 0.0, 18.0)
    depth = 1 - profile[profile.size // 2] / profile.max()
    assert is_resolved(profile, 4.5, dip=depth - 0.03) and not is_resolved(profile, 4.5, dip=depth + 0.03)
    assert is_resolved(profile, 4.5, noise=0.05) and not is_resolved(profile, 4.5, noise=0.15)
    assert is_resolved(100 + 7 * profile, 4.5)
    uneven = profile_across(lines(8.0, 1.5, 0.0, (1.0, 0.3)), CENTRE, 0.0, 24.0)
    assert not is_resolved(uneven, 8.0)


def test_a_pair_at_another_distance_one_line_and_a_grating_are_no_pair():
    profile = profile_across(lines(9.0, 1.5, 0.0), CENTRE, 0.0, 24.0)
    assert is_resolved(profile, 8.0) and not is_resolved(profile, 5.0)
    assert not is_resolved(profile_across(lines(0.0, 1.5, 0.0), CENTRE, 0.0, 24.0), 6.0)
    x = np.arange(-48, 49) * STEP_PX
    assert not is_resolved(np.cos(np.pi * x / 3) ** 2 * np.exp(-((x / 20) ** 2)), 3.0)


def test_noise_is_rarely_a_pair_and_a_noisy_pair_is_one():
    rng = np.random.default_rng(1)
    noise = gaussian_filter(rng.normal(size=(300, *SHAPE)), (0, 1, 1))
    found = resolved_fraction(list(noise), CENTRE, 0.3, 5.0)
    assert found.n == 300 and found.fraction < 0.05
    pair = [lines(6.0, 1.5, 0.3) + 0.05 * rng.normal(size=SHAPE) for _ in range(20)]
    assert resolved_fraction(pair, np.tile(CENTRE, (20, 1)), np.full(20, 0.3), 6.0, width_px=5.0).fraction == 1.0


def test_wilson_interval_is_where_the_score_test_turns():
    for successes, n in ((0, 20), (7, 20), (20, 20)):
        for end in wilson_interval(successes, n):
            if 0 < end < 1:
                assert abs(successes / n - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / n))
    assert wilson_interval(0, 20)[0] == 0.0 and wilson_interval(20, 20)[1] == 1.0
    assert wilson_interval(5, 10, 0.5)[0] > wilson_interval(5, 10, 0.99)[0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: profile_across(np.ones(3), CENTRE, 0.0, 9.0), "image"),
        (lambda: profile_across(np.ones(SHAPE), (60, 3), 0.0, 9.0), "centre_yx_px"),
        (lambda: is_resolved(np.ones(9), 3.0), "at least 6 px"),
        (lambda: is_resolved(np.ones(100), 3.0), "K odd"),
        (lambda: is_resolved(np.ones(99), 3.0, dip=1.0), "dip"),
        (lambda: resolved_fraction([], CENTRE, 0.0, 3.0), "images"),
        (lambda: wilson_interval(3, 2), "successes"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(InputError, match=text):
        call()
