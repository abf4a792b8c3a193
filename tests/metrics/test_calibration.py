import jax
import numpy as np
import pytest
from scipy import integrate, stats

from bioflax.errors import InputError
from bioflax.metrics import coverage, crps, ence, reliability, within

RNG = np.random.default_rng(3)
N = 40_000
MEAN = RNG.normal(100, 20, N)
SCALE = RNG.uniform(1, 10, N)
TRUTH = {"gaussian": MEAN + SCALE * RNG.normal(size=N), "laplace": MEAN + RNG.laplace(0, SCALE)}


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_coverage_of_a_true_model_is_its_level(family, level):
    found = float(coverage(TRUTH[family], MEAN, SCALE, level, family))
    assert found == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / N))


def test_coverage_tells_the_families_and_overconfidence_apart():
    assert float(coverage(TRUTH["laplace"], MEAN, SCALE, 0.95, "gaussian")) < 0.90
    narrow = 2 * stats.norm.cdf(stats.norm.ppf(0.975) / 2) - 1
    assert float(coverage(TRUTH["gaussian"], MEAN, SCALE / 2)) == pytest.approx(narrow, abs=0.01)


def test_within_has_the_quantiles_of_scipy_at_its_edge():
    for family, law in (("gaussian", stats.norm), ("laplace", stats.laplace)):
        edge = law.ppf(0.95)
        inside = within(np.array([edge * 0.999, edge * 1.001]), np.zeros(2), np.ones(2), 0.9, family)
        assert inside.tolist() == [True, False]


def test_coverage_runs_inside_jit():
    arrays = [a.astype(np.float32) for a in (TRUTH["gaussian"], MEAN, SCALE)]
    inside = jax.jit(coverage, static_argnums=(3, 4))(*arrays, 0.95, "gaussian")
    assert float(inside) == pytest.approx(float(coverage(TRUTH["gaussian"], MEAN, SCALE)), abs=2e-4)


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
@pytest.mark.parametrize("spacing", ["count", "width"])
def test_ence_is_small_for_a_true_model_and_exact_for_a_constant_factor(family, spacing):
    true = ence(TRUTH[family], MEAN, SCALE, family, spacing=spacing)
    assert true < 0.04
    curve = reliability(TRUTH[family], MEAN, SCALE, family, spacing=spacing)
    halved = np.mean(abs(curve.rmv / 2 - curve.rmse) / (curve.rmv / 2))
    assert ence(TRUTH[family], MEAN, SCALE / 2, family, spacing=spacing) == pytest.approx(halved, rel=1e-9)
    assert halved == pytest.approx(1.0, abs=0.06)


def test_reliability_bins():
    curve = reliability(TRUTH["gaussian"], MEAN, SCALE, bins=8)
    assert curve.count.tolist() == [N // 8] * 8
    assert np.all(np.diff(curve.rmv) > 0)
    by_width = reliability(TRUTH["gaussian"], MEAN, SCALE, bins=9, spacing="width")
    edges = np.linspace(SCALE.min(), SCALE.max(), 10)
    assert by_width.count.tolist() == np.histogram(SCALE, edges)[0].tolist()
    chosen = (edges[3] <= SCALE) & (edges[4] > SCALE)
    assert by_width.rmv[3] == pytest.approx(np.sqrt(np.mean(SCALE[chosen] ** 2)))
    error = (TRUTH["gaussian"] - MEAN)[chosen]
    assert by_width.rmse[3] == pytest.approx(np.sqrt(np.mean(error**2)))


def test_one_scale_everywhere_is_one_bin_by_width():
    curve = reliability(np.ones(10), np.zeros(10), np.full(10, 2.0), spacing="width")
    assert (curve.count.tolist(), curve.rmv.tolist(), curve.rmse.tolist()) == ([10], [2.0], [1.0])
    assert ence(np.ones(10), np.zeros(10), np.full(10, 2.0), spacing="width") == 0.5


def test_zero_spread_for_a_real_error_is_infinite_and_for_none_is_zero():
    assert ence(np.ones(30), np.zeros(30), np.zeros(30)) == np.inf
    assert ence(np.ones(30), np.ones(30), np.zeros(30)) == 0.0


@pytest.mark.parametrize(("family", "law"), [("gaussian", stats.norm), ("laplace", stats.laplace)])
def test_crps_is_its_integral(family, law):
    for target, mean, scale in ((1.3, 0.0, 1.0), (-4.0, 1.0, 2.5), (7.0, 7.0, 0.5)):
        below = integrate.quad(lambda x, m=mean, s=scale: law.cdf(x, m, s) ** 2, -60, target)[0]
        above = integrate.quad(lambda x, m=mean, s=scale: law.sf(x, m, s) ** 2, target, 60)[0]
        found = crps(np.array([target]), np.array([mean]), np.array([scale]), family)
        assert float(found[0]) == pytest.approx(below + above, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: coverage([1.0], [1.0], [1.0], 0.9, "cauchy"),
            r"family: expected one of gaussian, laplace, found 'cauchy'",
        ),
        (lambda: coverage([1.0], [1.0], [1.0], 95), r"level: expected a probability in \(0, 1\), found 95"),
        (lambda: ence([1.0], [1.0], [1.0], spacing="log"), r"spacing: expected count or width, found 'log'"),
        (lambda: ence([1.0], [1.0, 2.0], [1.0]), r"target/mean/scale: expected arrays of one non-empty shape"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InputError, match=text):
        call()
