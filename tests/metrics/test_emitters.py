"""Scores of localization tables: counts by hand, pairing against brute force, formulas against an independent oracle."""

import itertools

import numpy as np
import pytest
import scipy.stats

from bioflax.errors import InputError
from bioflax.metrics import (
    MATCHING_RULES,
    binned_score,
    compare_localizations,
    errors_over_crlb,
    false_positives_per_um2,
    grid_bias,
    match_emitters,
    score_localizations,
    sigma_calibration,
    tolerance_curve,
)

RNG = np.random.default_rng(0)
WIDE = {"border_nm": 0.0}


def columns(rows, names=("frame", "x_nm", "y_nm", "z_nm", "photons")):
    values = np.asarray(rows, float).reshape(-1, len(names)).T
    return dict(zip(names, values))


def crowded(count, frames, span=900.0, depth=900.0):
    return RNG.uniform(0, [span, span, depth], (count, 3)), RNG.integers(1, frames + 1, count)


def allowed(a, b, frame_a, frame_b, lateral, axial):
    """(N, M) distances, infinite where no pair may be."""
    step = a[:, None] - b[None]
    far = (frame_a[:, None] != frame_b) | (np.hypot(step[..., 0], step[..., 1]) > lateral) | (abs(step[..., 2]) > axial)
    return np.where(far, np.inf, np.sqrt((step**2).sum(-1)))


def greedy_oracle(cost):
    cost, pairs = cost.copy(), []
    while np.isfinite(cost).any():
        i, j = np.unravel_index(np.argmin(cost), cost.shape)
        pairs.append((i, j))
        cost[i], cost[:, j] = np.inf, np.inf
    return sorted(pairs, key=lambda pair: pair[1])


def best_oracle(cost):
    """(most pairs, least total distance) by trying all, for one frame."""
    best = (0, 0.0)
    n, m = cost.shape
    for size in range(min(n, m), 0, -1):
        totals = [
            sum(cost[i, j] for i, j in zip(rows, order))
            for rows in itertools.combinations(range(n), size)
            for order in itertools.permutations(range(m), size)
        ]
        if np.isfinite(min(totals)):
            return size, min(totals)
    return best


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_the_brute_force_one(seed):
    (a, frame_a), (b, frame_b) = crowded(60 + seed, 6), crowded(50, 6)
    found = match_emitters(a, frame_a, b, frame_b)
    cost = allowed(a, b, frame_a, frame_b, 250, 500)
    assert list(zip(found.predicted, found.truth)) == greedy_oracle(cost)
    np.testing.assert_allclose(found.distance_nm, cost[found.predicted, found.truth])


@pytest.mark.parametrize("seed", range(8))
def test_hungarian_makes_most_pairs_of_least_distance(seed):
    (a, frame_a), (b, frame_b) = crowded(10 + seed % 3, 3, 600), crowded(10, 3, 600)
    found = match_emitters(a, frame_a, b, frame_b, rule="hungarian")
    cost = allowed(a, b, frame_a, frame_b, 250, 500)
    best = [best_oracle(cost[frame_a == f][:, frame_b == f]) for f in (1, 2, 3)]
    assert len(found) == sum(size for size, _ in best)
    assert found.distance_nm.sum() == pytest.approx(sum(total for _, total in best))
    assert len(set(found.predicted)) == len(set(found.truth)) == len(found)


def test_the_rules_differ_where_they_should():
    truth, guess = [[0.0, 0], [200, 0]], [[120.0, 0], [-130, 0]]
    frame = [1, 1]
    # Closest pair first: 120 with 200 (80), then -130 with 0 (130)
    assert match_emitters(guess, frame, truth, frame).predicted.tolist() == [1, 0]
    # Emitter 0 comes first and takes 120; -130 is then too far from 200
    assert match_emitters(guess, frame, truth, frame, rule="nearest").predicted.tolist() == [0]
    truth, guess = [[0.0, 0], [200, 0]], [[90.0, 0], [380, 0], [-249, 0]]
    # Greedy: 90-0 (90) and 380-200 (180); the sum is least as well
    for rule in ("greedy", "hungarian"):
        assert match_emitters(guess, [1, 1, 1], truth, frame, rule=rule).predicted.tolist() == [0, 1]
    truth, guess = [[0.0, 0], [240, 0]], [[100.0, 0], [-200, 0]]
    # Greedy takes 100-0 and is left with one pair; two are possible
    assert match_emitters(guess, frame, truth, frame).predicted.tolist() == [0]
    assert match_emitters(guess, frame, truth, frame, rule="hungarian").predicted.tolist() == [1, 0]


@pytest.mark.parametrize("rule", MATCHING_RULES)
def test_gates_hold_at_exactly_the_tolerance(rule):
    truth = [[0.0, 0, 0], [1000, 0, 0], [2000, 0, 0], [3000, 0, 0]]
    guess = [[150.0, 200, 0], [1000, 250.001, 0], [2000, 0, 500], [3000, 0, -500.001]]
    frame = np.ones(4)
    assert match_emitters(guess, frame, truth, frame, rule=rule).truth.tolist() == [0, 2]
    assert match_emitters(guess, frame, truth, frame, rule=rule, axial_nm=None).truth.tolist() == [0, 2, 3]
    assert len(match_emitters(guess, frame + 1, truth, frame, rule=rule)) == 0
    for nothing in (match_emitters([], [], truth, frame, rule=rule), match_emitters(guess, frame, [], [], rule=rule)):
        assert len(nothing) == 0


def test_counts_by_hand():
    truth = columns([[1, 1000, 1000, 0, 100], [1, 3000, 3000, 0, 900], [2, 1000, 1000, 0, 500], [2, 100, 3000, 0, 500]])
    guess = columns(
        [[1, 1030, 1040, 100, 110], [2, 1000, 1000, -100, 480], [2, 2000, 2000, 0, 50], [2, 110, 3000, 0, 1]]
    )
    score = score_localizations(guess, truth, size_nm=(4000, 4000))
    # The last of both lies in the border; 3000, 3000 is missed and 2000, 2000 is false
    assert (score["true_positives"], score["false_positives"], score["false_negatives"]) == (2, 1, 1)
    assert score["jaccard"] == 0.5 and score["precision"] == score["recall"] == score["f1"] == pytest.approx(2 / 3)
    assert score["rmse_lateral_nm"] == pytest.approx(50 / np.sqrt(2))
    assert score["rmse_axial_nm"] == pytest.approx(100)
    assert score["rmse_volume_nm"] == pytest.approx(np.sqrt(1250 + 10000))
    assert score["mad_lateral_nm"] == pytest.approx(35)
    assert [score[f"bias_{axis}_nm"] for axis in "xyz"] == pytest.approx([15, 20, 0])
    lateral, axial = 100 - np.sqrt(2500 + 1250), 100 - np.sqrt(2500 + 2500)
    assert score["efficiency_lateral"] == pytest.approx(lateral)
    assert score["efficiency_axial"] == pytest.approx(axial)
    assert score["efficiency_3d"] == pytest.approx((lateral + axial) / 2)
    assert score["photon_correlation"] == pytest.approx(1)
    flat = {name: values for name, values in truth.items() if name != "z_nm"}
    assert not {"rmse_axial_nm", "efficiency_3d", "bias_z_nm"} & set(score_localizations(guess, flat, **WIDE))
    assert score_localizations(guess, flat, **WIDE)["true_positives"] == 3


def test_predictions_of_dim_emitters_are_neither_found_nor_false():
    truth = columns([[1, 1000 * k, 1000, 0, 100 * k] for k in range(1, 6)])
    guess = columns([[1, 1000 * k + 5, 1000, 0, 1] for k in (1, 2, 4, 5)] + [[1, 500, 3000, 0, 1]])
    score = score_localizations(guess, truth, photon_quantile=0.25, **WIDE)
    # The quantile is 200 photons: the first emitter and its prediction leave
    assert (score["true_positives"], score["false_positives"], score["false_negatives"]) == (3, 1, 1)
    assert score["bias_x_nm"] == pytest.approx(5)
    everything = score_localizations(guess, truth, **WIDE)
    assert (everything["true_positives"], everything["false_positives"]) == (4, 1)


def test_nothing_found_and_nothing_there():
    truth, nothing = columns([[1, 1000, 1000, 0, 100]]), columns([])
    missed = score_localizations(nothing, truth, **WIDE)
    assert (missed["jaccard"], missed["recall"], missed["false_negatives"]) == (0, 0, 1)
    assert np.isnan([missed["precision"], missed["rmse_lateral_nm"], missed["efficiency_3d"]]).all()
    invented = score_localizations(truth, nothing, photon_quantile=0.25, **WIDE)
    assert (invented["jaccard"], invented["precision"], invented["false_positives"]) == (0, 0, 1)
    assert np.isnan(score_localizations(nothing, nothing, **WIDE)["jaccard"])


def test_random_tables_against_an_oracle():
    (position, frame), count = crowded(400, 40, 6400), 400
    position[:, 2] -= 450
    truth = {"frame": frame, **dict(zip(("x_nm", "y_nm", "z_nm"), position.T)), "photons": RNG.gamma(2, 1000, count)}
    truth |= {"crlb_x_nm": RNG.uniform(5, 20, count), "crlb_z_nm": RNG.uniform(20, 50, count)}
    guess = {name: values.copy() for name, values in truth.items() if "crlb" not in name}
    for name, spread in (("x_nm", 15), ("y_nm", 20), ("z_nm", 60), ("photons", 300)):
        guess[name] += RNG.normal(0, spread, count)
    guess |= {"sigma_x_nm": np.full(count, 15.0), "sigma_y_nm": np.full(count, 20.0)}
    guess = {name: values[60:] for name, values in guess.items()}
    score = score_localizations(guess, truth, **WIDE)

    a, b = (np.column_stack([table[f"{axis}_nm"] for axis in "xyz"]) for table in (guess, truth))
    pairs = greedy_oracle(allowed(a, b, guess["frame"], truth["frame"], 250, 500))
    i, j = np.array(pairs).T
    d = a[i] - b[j]
    jaccard = len(i) / (len(a) + len(b) - len(i))
    lateral = np.sqrt((d[:, :2] ** 2).sum() / len(i))
    expected = {
        "true_positives": len(i),
        "jaccard": jaccard,
        "rmse_lateral_nm": lateral,
        "rmse_volume_nm": np.sqrt((d**2).sum() / len(i)),
        "mad_lateral_nm": abs(d[:, :2]).sum(1).mean(),
        "bias_z_nm": d[:, 2].mean(),
        "efficiency_lateral": 100 - np.sqrt((100 - 100 * jaccard) ** 2 + lateral**2),
        "photon_correlation": scipy.stats.pearsonr(guess["photons"][i], truth["photons"][j]).statistic,
        "rmse_over_crlb_x": np.sqrt(np.mean((d[:, 0] / truth["crlb_x_nm"][j]) ** 2)),
        "rmse_over_crlb_z": np.sqrt(np.mean((d[:, 2] / truth["crlb_z_nm"][j]) ** 2)),
        "robust_over_crlb_z": scipy.stats.median_abs_deviation(d[:, 2] / truth["crlb_z_nm"][j], scale="normal"),
        "error_over_sigma_y": np.std(d[:, 1] / 20),
        "coverage_95": np.mean(abs(d[:, :2] / [15, 20]) <= scipy.stats.norm.ppf(0.975)),
    }
    assert {name: score[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert "rmse_over_crlb_y" not in score


def test_errors_in_units_of_the_bound_and_of_sigma():
    scale = RNG.uniform(2, 30, 40_000)
    error = scale * RNG.normal(0, 1, scale.size)
    found = errors_over_crlb(error, scale)
    assert found == pytest.approx({"rmse_over_crlb": 1, "robust_over_crlb": 1, "bias_over_crlb": 0}, abs=0.02)
    error[:20] = 1e4
    assert errors_over_crlb(error, scale)["rmse_over_crlb"] > 3
    assert errors_over_crlb(error, scale)["robust_over_crlb"] == pytest.approx(1, abs=0.02)
    wide = sigma_calibration(scale * RNG.normal(0, 2, scale.size), scale)
    expected = {f"coverage_{level}": scipy.stats.norm.cdf(scipy.stats.norm.ppf(0.5 + level / 200) / 2) * 2 - 1
                for level in (50, 68, 95)}  # fmt: skip
    assert wide == pytest.approx({**expected, "error_over_sigma": 2}, abs=0.02)
    with pytest.raises(InputError, match="crlb: expected positive values, found 1"):
        errors_over_crlb([1.0, 2.0], [1.0, 0.0])
    with pytest.raises(InputError, match="error/sigma: expected one shape"):
        sigma_calibration([1.0, 2.0], [1.0])
    assert np.isnan(list(errors_over_crlb([], []).values()) + list(sigma_calibration([], []).values())).all()


def test_grid_bias_is_the_ks_test():
    x, y = RNG.uniform(0, 6400, 500), 100 * RNG.integers(0, 64, 500) + RNG.normal(50, 25, 500)
    found = grid_bias(x, y, 100.0)
    for axis, values in (("x", x), ("y", y)):
        oracle = scipy.stats.kstest(values / 100 % 1, "uniform")
        assert found[f"grid_ks_{axis}"] == pytest.approx(oracle.statistic)
        assert found[f"grid_p_{axis}"] == pytest.approx(oracle.pvalue, rel=0.05)
    assert found["grid_p_x"] > 0.01 and found["grid_p_y"] < 1e-6
    assert np.isnan(grid_bias([], [], 100.0)["grid_ks_x"])
    with pytest.raises(InputError, match="pixel_nm"):
        grid_bias(x, y, 0)


def test_false_positives_per_area():
    assert false_positives_per_um2(8, 100, 40.96) == pytest.approx(8 / 4096)
    with pytest.raises(InputError, match="expected positive numbers, found 0"):
        false_positives_per_um2(8, 0, 40.96)


def test_curves_by_hand():
    truth = columns(
        [[1, 1000, 1000, 0, 100], [1, 3000, 1000, 0, 150], [2, 1000, 1000, 300, 400], [2, 3000, 1000, 300, 800]]
    )
    guess = columns(
        [[1, 1010, 1000, 20, 90], [2, 1000, 1030, 340, 999], [2, 3000, 3000, 0, 120], [3, 900, 900, 0, 500]]
    )
    comparison = compare_localizations(guess, truth, **WIDE)
    curve = binned_score(comparison, "photons", [100, 200, 800])
    assert curve.count.tolist() == [2, 2]
    assert curve.recall.tolist() == [0.5, 0.5]
    assert curve.precision.tolist() == [0.5, 0.5]
    assert curve.jaccard.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert curve.rmse_lateral_nm.tolist() == pytest.approx([10, 30])
    assert curve.bias_z_nm.tolist() == pytest.approx([20, 40])
    depth = binned_score(comparison, "z_nm", [-50, 50, 250, 350])
    assert depth.count.tolist() == [2, 0, 2] and np.isnan(depth.recall[1])
    density = binned_score(comparison, "density_per_um2", [0, 0.1, 0.3], area_um2=16)
    # Frame 3 holds no emitter: its false positive falls into the lowest bin
    assert density.count.tolist() == [0, 4] and density.precision.tolist() == pytest.approx([0, 2 / 3])
    tolerance = tolerance_curve(guess, truth, [5, 20, 50], **WIDE)
    assert tolerance["recall"].tolist() == [0, 0.25, 0.5]
    assert np.isnan(tolerance["rmse_lateral_nm"][0]) and tolerance["rmse_lateral_nm"][1] == pytest.approx(10)


def test_bad_input_is_told():
    truth = columns([[1, 1000, 1000, 0, 100]])
    flat = {name: truth[name] for name in ("frame", "x_nm", "y_nm")}
    for call, message in [
        (lambda: score_localizations(truth, truth), "size_nm: expected"),
        (lambda: score_localizations({"frame": [1]}, truth, **WIDE), "predicted: expected columns frame"),
        (lambda: score_localizations({**flat, "x_nm": [1, 2]}, truth, **WIDE), "columns of one length"),
        (lambda: score_localizations(truth, flat, photon_quantile=0.25, **WIDE), "expected photons"),
        (lambda: score_localizations(truth, truth, photon_quantile=25, **WIDE), r"expected a share in \[0, 1\)"),
        (lambda: score_localizations(truth, truth, rule="best", **WIDE), "expected one of greedy, hungarian, nearest"),
        (lambda: match_emitters([[0, 0]], [1], [[0, 0, 0]], [1]), "both in 2-D or both in 3-D"),
        (lambda: match_emitters([0, 0], [1], [[0, 0]], [1]), r"expected \(N, 2\)"),
        (lambda: match_emitters([[0, np.nan]], [1], [[0, 0]], [1]), "finite positions"),
        (lambda: match_emitters([[0, 0]], [1], [[0, 0]], [1], lateral_nm=0), "lateral_nm: expected a positive"),
        (lambda: binned_score(compare_localizations(truth, truth, **WIDE), "photons", [2, 1]), "edges: expected"),
        (lambda: binned_score(compare_localizations(flat, truth, **WIDE), "photons", [1, 2]), "not in predicted"),
        (lambda: binned_score(compare_localizations(flat, truth, **WIDE), "density_per_um2", [1, 2]), "area_um2"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
