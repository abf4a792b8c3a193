import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax import metrics
from bioflax.errors import InputError
from bioflax.metrics import Mean

VALUES = np.random.default_rng(0).normal(3.0, 2.0, 11).astype(np.float32)


def test_mean_is_exact_for_partial_batches_whatever_the_padding_holds():
    state = Mean.empty()
    for start in (0, 4, 8):
        batch = np.full(4, np.nan, np.float32)
        real = VALUES[start : start + 4]
        batch[: len(real)] = real
        state = state.merge(Mean.from_values(batch, np.arange(4) < len(real)))
    assert float(state.count) == 11
    np.testing.assert_allclose(float(state.compute()), VALUES.mean(dtype=np.float64), rtol=1e-6)


def test_mask_of_examples_spans_the_pixels_behind_it():
    values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    state = Mean.from_values(values, np.array([True, False, True]))
    assert float(state.compute()) == values[[0, 2]].mean()
    assert float(state.count) == 8


def test_weights_give_a_weighted_mean():
    weights = np.array([0.5, 0.0, 2.0], np.float32)
    state = Mean.from_values(VALUES[:3], weights)
    np.testing.assert_allclose(float(state.compute()), np.average(VALUES[:3], weights=weights), rtol=1e-6)


def test_empty_is_neutral_and_computes_nan():
    state = Mean.from_values(VALUES)
    assert float(Mean.empty().merge(state).compute()) == float(state.compute())
    assert np.isnan(float(Mean.empty().compute()))
    assert np.isnan(float(Mean.from_values(VALUES, np.zeros(11)).compute()))


def test_merge_is_associative_and_commutative():
    a, b, c = (Mean.from_values(part) for part in np.split(VALUES[:9], 3))
    left, right = a.merge(b).merge(c), c.merge(b.merge(a))
    np.testing.assert_allclose(float(left.compute()), float(right.compute()), rtol=1e-6)


def test_inside_jit_and_scan_as_a_carry():
    @jax.jit
    def run(batches, masks):
        def step(state, batch):
            return state.merge(Mean.from_values(*batch)), None

        return jax.lax.scan(step, Mean.empty(), (batches, masks))[0]

    padded = np.concatenate([VALUES, [99.0]]).reshape(3, 4)
    mask = (np.arange(12) < 11).reshape(3, 4)
    np.testing.assert_allclose(float(run(padded, mask).compute()), VALUES.mean(), rtol=1e-6)


def test_collapse_joins_a_stack_of_states():
    states = jax.vmap(Mean.from_values)(VALUES[:10].reshape(5, 2), np.arange(10).reshape(5, 2) != 3)
    assert states.total.shape == (5,)
    np.testing.assert_allclose(float(states.collapse().compute()), np.delete(VALUES[:10], 3).mean(), rtol=1e-6)


def test_across_gives_every_lane_the_whole():
    mask = np.array([[1, 1], [1, 0], [0, 0]], bool)
    values = VALUES[:6].reshape(3, 2)
    states = jax.vmap(lambda v, m: Mean.from_values(v, m).across("devices"), axis_name="devices")(values, mask)
    np.testing.assert_allclose(np.asarray(states.compute()), np.full(3, values[mask].mean()), rtol=1e-6)


def test_tables_of_states_merge_by_name():
    first = {"psnr_db": Mean.from_values(jnp.array([30.0])), "ssim": Mean.from_values(jnp.array([0.5]))}
    second = {"ssim": Mean.from_values(jnp.array([0.9])), "psnr_db": Mean.from_values(jnp.array([34.0]))}
    table = metrics.compute(metrics.merge(first, second))
    assert table == pytest.approx({"psnr_db": 32.0, "ssim": 0.7})
    assert all(type(value) is float for value in table.values())
    with pytest.raises(InputError, match=r"metrics: expected the same names.*\['psnr_db', 'ssim'\] and \['ssim'\]"):
        metrics.merge(first, {"ssim": second["ssim"]})


def test_mask_of_another_length_is_refused():
    with pytest.raises(InputError, match=r"mask: expected the leading axes of values \(11,\), found \(4,\)"):
        Mean.from_values(VALUES, np.ones(4))
