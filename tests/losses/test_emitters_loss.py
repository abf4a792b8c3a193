"""The losses for localization against float64 loops, their gradients against finite differences, and their edges."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax import losses
from bioflax.errors import InputError

OPTIONS = ("count_on_empty", "cross_entropy", "doubled", "window", "chunk")
emitter_nll = jax.jit(losses.emitter_nll, static_argnames=OPTIONS)
liteloc_nll = jax.jit(losses.liteloc_nll, static_argnames=OPTIONS[3:])
volume_mse_dice = jax.jit(losses.volume_mse_dice)
NAMES = ("photons", "x_px", "y_px", "z")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def draw(frames=3, height=5, width=7, most=4, numbers=(0, 2, 4), seed=0):
    rng = np.random.default_rng(seed)
    shape = (frames, height, width)
    prediction = {
        "logit": rng.normal(-1, 2, (*shape, 1)),
        "mean": rng.uniform(-0.9, 0.9, (*shape, 4)),
        "spread": rng.uniform(0.3, 2.0, (*shape, 4)),
        "background": rng.uniform(0, 1, (*shape, 1)),
    }
    emitters = {
        "photons": rng.uniform(0, 1, (frames, most)),
        "x_px": rng.uniform(-0.5, width - 0.5, (frames, most)),
        "y_px": rng.uniform(-0.5, height - 0.5, (frames, most)),
        "z": rng.uniform(-1, 1, (frames, most)),
        "mask": (np.arange(most) < np.asarray(numbers)[:, None]).astype(float),
    }
    return prediction, emitters, rng.uniform(0, 1, (*shape, 1))


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def oracle(prediction, emitters, background=None, *, least_weight=0, absolute=False, window=None):
    """(count, mixture, background, cross entropy) of every frame, by loops."""
    rows = []
    frames, height, width, _ = prediction["logit"].shape
    for n in range(frames):
        p = {(i, j): sigmoid(prediction["logit"][n, i, j, 0]) for i in range(height) for j in range(width)}
        present = [e for e in range(emitters["mask"].shape[1]) if emitters["mask"][n, e] > 0]
        total, variance = sum(p.values()), sum(v - v * v for v in p.values())
        number = len(present)
        density = math.exp(-((number - total) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        count = -max(number, least_weight) * math.log(density)
        mixture, occupied = 0.0, set()
        for e in present:
            u = [emitters[name][n, e] for name in NAMES]
            column, row = math.floor(u[1] + 0.5), math.floor(u[2] + 0.5)
            occupied.add((row, column))
            likelihood = 0.0
            for (i, j), v in p.items():
                if window is not None:
                    top = min(max(row - window, 0), max(height - 2 * window - 1, 0))
                    left = min(max(column - window, 0), max(width - 2 * window - 1, 0))
                    if not (top <= i <= top + 2 * window and left <= j <= left + 2 * window):
                        continue
                product = v / total
                for c in range(4):
                    centre = prediction["mean"][n, i, j, c] + (j if c == 1 else i if c == 2 else 0)
                    spread = prediction["spread"][n, i, j, c]
                    error = abs(u[c] - centre) if absolute else (u[c] - centre) ** 2
                    product *= math.exp(-0.5 * error / spread**2) / (math.sqrt(2 * math.pi) * spread)
                likelihood += product
            mixture -= math.log(likelihood)
        square = 0.0 if background is None else float(((background[n] - prediction["background"][n]) ** 2).sum())
        entropy = -sum(math.log(v if pixel in occupied else 1 - v) for pixel, v in p.items())
        rows.append((count, mixture, square, entropy))
    return np.array(rows).T


@pytest.mark.parametrize("doubled", [False, True])
def test_decode_loss_equals_the_loops(doubled):
    prediction, emitters, background = draw()
    parts = emitter_nll(prediction, emitters, background, doubled=doubled)
    count, mixture, square, _ = oracle(prediction, emitters, background)
    factor = 2 if doubled else 1
    np.testing.assert_allclose(parts["count"], factor * count, rtol=1e-9)
    np.testing.assert_allclose(parts["mixture"], factor * mixture, rtol=1e-9)
    np.testing.assert_allclose(parts["background"], factor * square, rtol=1e-9)
    # DECODE: twice (count + mixture, background), then the mean of the two.
    np.testing.assert_allclose(parts["loss"], np.mean([2 * (count + mixture), 2 * square], axis=0), rtol=1e-9)
    assert parts["count"][0] == 0 and parts["mixture"][0] == 0  # nothing to say about an empty frame
    single = {name: jnp.asarray(value, jnp.float32) for name, value in prediction.items()}
    truth = {name: jnp.asarray(value, jnp.float32) for name, value in emitters.items()}
    low = emitter_nll(single, truth, jnp.asarray(background, jnp.float32))["loss"]
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, count + mixture + square, rtol=2e-6)


def test_cross_entropy_marks_the_pixels_that_hold_an_emitter():
    prediction, emitters, background = draw()
    parts = emitter_nll(prediction, emitters, background, cross_entropy=True)
    expected = oracle(prediction, emitters, background)
    np.testing.assert_allclose(parts["cross_entropy"], expected[3], rtol=1e-9)
    np.testing.assert_allclose(parts["loss"], expected.sum(axis=0), rtol=1e-9)


def test_cross_entropy_leaves_out_emitters_beyond_the_frame():
    prediction, emitters, _ = draw(numbers=(0, 0, 0))
    none = emitter_nll(prediction, emitters, cross_entropy=True)["cross_entropy"]
    beyond = {**emitters, "mask": np.ones((3, 4)), "x_px": np.full((3, 4), 7.2), "y_px": np.full((3, 4), 1.0)}
    np.testing.assert_array_equal(emitter_nll(prediction, beyond, cross_entropy=True)["cross_entropy"], none)


def test_liteloc_loss_equals_the_loops():
    prediction, emitters, _ = draw(seed=1)
    parts = liteloc_nll(prediction, emitters)
    count, mixture, _, entropy = oracle(prediction, emitters, absolute=True)
    np.testing.assert_allclose(parts["count"], count, rtol=1e-9)
    np.testing.assert_allclose(parts["mixture"], mixture, rtol=1e-9)
    np.testing.assert_allclose(parts["cross_entropy"], entropy, rtol=1e-9)
    np.testing.assert_allclose(parts["loss"], count + mixture + entropy, rtol=1e-9)


def test_count_on_empty_pushes_probabilities_down_where_decode_is_silent():
    prediction, emitters, _ = draw(numbers=(0, 0, 3))

    @partial(jax.jit, static_argnums=1)
    def count(logit, on_empty):
        def part(logit):
            return losses.emitter_nll({**prediction, "logit": logit}, emitters, count_on_empty=on_empty)["count"]

        value, pullback = jax.vjp(part, logit)
        return value, pullback(jnp.ones_like(value))[0]

    expected = oracle(prediction, emitters, least_weight=1)[0]
    np.testing.assert_allclose(count(prediction["logit"], True)[0], expected, rtol=1e-9)
    gradient = count(prediction["logit"], False)[1]
    assert np.all(gradient[:2] == 0) and np.any(gradient[2] != 0)
    rare = np.full_like(prediction["logit"], -3.0)
    assert np.all(count(rare, True)[1][:2] > 0)


@pytest.mark.parametrize("window", [0, 2, 9])
@pytest.mark.parametrize("loss", [emitter_nll, liteloc_nll])
def test_window_equals_the_loops_at_the_border_too(loss, window):
    prediction, emitters, _ = draw(numbers=(1, 4, 4), seed=2)
    expected = oracle(prediction, emitters, absolute=loss is liteloc_nll, window=window)[1]
    np.testing.assert_allclose(loss(prediction, emitters, window=window)["mixture"], expected, rtol=1e-9)


def test_window_equals_the_whole_where_the_rest_is_negligible():
    prediction, emitters, _ = draw(height=12, width=13, seed=3)
    prediction["spread"] = prediction["spread"] * 0.2
    whole = emitter_nll(prediction, emitters)["mixture"]
    np.testing.assert_allclose(emitter_nll(prediction, emitters, window=4)["mixture"], whole, rtol=1e-6)
    assert not np.allclose(emitter_nll(prediction, emitters, window=0)["mixture"], whole, rtol=1e-6)


@pytest.mark.parametrize("options", [{"chunk": 3}, {"chunk": 100, "window": 2}])
def test_chunks_change_neither_value_nor_gradient(options):
    prediction, emitters, background = draw()
    window = options.get("window")

    def total(prediction, **options):
        return emitter_nll(prediction, emitters, background, **options)["loss"].sum()

    value, gradient = jax.jit(jax.value_and_grad(partial(total, window=window)))(prediction)
    chunked, chunked_gradient = jax.jit(jax.value_and_grad(partial(total, **options)))(prediction)
    np.testing.assert_allclose(chunked, value, rtol=1e-12)
    for name in prediction:
        np.testing.assert_allclose(chunked_gradient[name], gradient[name], rtol=1e-9, atol=1e-12)


LOSSES = {
    "decode": lambda p, e, b: emitter_nll(p, e, b),
    "every option": lambda p, e, b: emitter_nll(p, e, b, count_on_empty=True, cross_entropy=True, window=1, chunk=2),
    "liteloc": lambda p, e, b: liteloc_nll(p, e),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name):
    prediction, emitters, background = draw()
    total = jax.jit(lambda prediction: LOSSES[name](prediction, emitters, background)["loss"].sum())
    gradient = jax.jit(jax.grad(total))(prediction)
    rng = np.random.default_rng(7)
    for part in prediction:
        for _ in range(4):
            direction = rng.normal(size=prediction[part].shape)
            ahead, behind = (total({**prediction, part: prediction[part] + s * 1e-6 * direction}) for s in (1, -1))
            numeric = float(ahead - behind) / 2e-6
            assert float((gradient[part] * direction).sum()) == pytest.approx(numeric, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_no_nan_on_empty_frames_nor_at_certainty(name):
    prediction, emitters, background = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), draw())
    for field in NAMES:  # what padding holds is never read
        emitters[field] = jnp.where(emitters["mask"] > 0, emitters[field], jnp.nan)

    @jax.jit
    @jax.value_and_grad
    def total(prediction):
        return LOSSES[name](prediction, emitters, background)["loss"].sum()

    for logit in (-8.0, 8.0, -1e4, 1e4):
        value, gradient = total({**prediction, "logit": jnp.full_like(prediction["logit"], logit)})
        assert np.isfinite(value) and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_certain_and_right_predictions_lose_least():
    _, emitters, _ = draw(frames=1, numbers=(1,))
    emitters = {**emitters, "x_px": np.full((1, 4), 3.25), "y_px": np.full((1, 4), 2.0)}
    logit = np.full((1, 5, 7, 1), -8.0)
    logit[0, 2, 3] = 8.0
    mean = np.zeros((1, 5, 7, 4))
    mean[0, 2, 3] = [emitters["photons"][0, 0], 0.25, 0.0, emitters["z"][0, 0]]
    prediction = {"logit": logit, "mean": mean, "spread": np.full((1, 5, 7, 4), 0.01)}
    right = emitter_nll(prediction, emitters)["loss"]
    along_y = {**prediction, "mean": mean[..., [0, 2, 1, 3]]}
    elsewhere = {**prediction, "logit": np.roll(logit, 1, axis=2)}
    assert right < emitter_nll(along_y, emitters)["loss"] and right < emitter_nll(elsewhere, emitters)["loss"]


def test_losses_of_emitters_name_what_is_wrong():
    prediction, emitters, background = draw()
    with pytest.raises(InputError, match=r"background: expected a prediction of shape .* found none"):
        emitter_nll({name: prediction[name] for name in ("logit", "mean", "spread")}, emitters, background)
    with pytest.raises(InputError, match="emitters: expected photons, x_px, y_px, z and mask; found mask, photons"):
        emitter_nll(prediction, {"photons": emitters["photons"], "mask": emitters["mask"]})
    with pytest.raises(InputError, match=r"emitters.z: expected \(N, E\), here \(3, 4\); found \(3, 1\)"):
        emitter_nll(prediction, {**emitters, "z": emitters["z"][:, :1]})
    with pytest.raises(InputError, match=r"prediction.mean: expected \(N, H, W, 4\)"):
        liteloc_nll({**prediction, "mean": prediction["logit"]}, emitters)
    with pytest.raises(InputError, match="chunk: expected None or a whole number of at least 1; found 0"):
        emitter_nll(prediction, emitters, chunk=0)


def volumes():
    rng = np.random.default_rng(0)
    volume = rng.uniform(0, 800, (2, 8, 9, 4))
    return volume, (rng.uniform(size=volume.shape) < 0.1).astype(float)


def test_volume_loss_equals_the_loops():
    volume, target = volumes()
    parts = volume_mse_dice(volume, target)
    for n in range(2):
        error = volume[n] - 800 * target[n]
        squares = []
        for i in range(3, 5):
            for j in range(3, 6):
                for k in range(4):
                    blurred = 0.0
                    for a in range(-3, 4):
                        for b in range(-3, 4):
                            for c in range(-3, 4):
                                if 0 <= k + c < 4:
                                    weight = math.exp(-(a * a + b * b + c * c) / 2)
                                    blurred += weight * error[i + a, j + b, k + c]
                    squares.append(blurred**2)
        overlap = (volume[n] / 800 * target[n]).sum()
        dice = 1 - (2 * overlap + 1) / (overlap + (target[n] ** 2).sum() + 1)
        np.testing.assert_allclose(parts["mse"][n], np.mean(squares), rtol=1e-10)
        np.testing.assert_allclose(parts["dice"][n], dice, rtol=1e-10)
        np.testing.assert_allclose(parts["loss"][n], np.mean(squares) + dice, rtol=1e-10)


def test_volume_loss_gradient_and_ends():
    volume, target = volumes()
    direction = np.random.default_rng(1).normal(size=volume.shape)
    total = lambda volume: volume_mse_dice(volume, target)["dice"].sum()  # noqa: E731
    numeric = float(total(volume + 1e-3 * direction) - total(volume - 1e-3 * direction)) / 2e-3
    assert float((jax.grad(total)(volume) * direction).sum()) == pytest.approx(numeric, rel=1e-6)
    np.testing.assert_allclose(volume_mse_dice(800 * target, target)["loss"], 0, atol=1e-12)
    empty = np.zeros_like(target)
    np.testing.assert_allclose(volume_mse_dice(empty, empty)["loss"], 0, atol=1e-12)
    with pytest.raises(InputError, match="sides of at least 7 voxels"):
        volume_mse_dice(volume[:, :6], target[:, :6])
    with pytest.raises(InputError, match=r"expected \(N, H, W, D\) as the target's"):
        volume_mse_dice(volume, target[..., :2])
