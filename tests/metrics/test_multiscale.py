"""MS-SSIM against a brute force over single windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioflax.errors import InputError
from bioflax.metrics.image import ssim
from bioflax.metrics.multiscale import WEIGHTS, ms_ssim, ms_ssim_scales

RNG = np.random.default_rng(8)


def brute_force(image, target, data_range, scales):
    """Window by window, in the words of the paper."""
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    total = sum(WEIGHTS[:scales])
    value = 1.0
    for scale in range(scales):
        luminance, structure = [], []
        for row in range(image.shape[0] - 10):
            for column in range(image.shape[1] - 10):
                x, y = (a[row : row + 11, column : column + 11] for a in (image, target))
                mx, my = np.sum(gauss * x), np.sum(gauss * y)
                vx, vy = np.sum(gauss * (x - mx) ** 2), np.sum(gauss * (y - my) ** 2)
                covariance = np.sum(gauss * (x - mx) * (y - my))
                luminance.append((2 * mx * my + c1) / (mx**2 + my**2 + c1))
                structure.append((2 * covariance + c2) / (vx + vy + c2))
        last = scale == scales - 1
        term = np.mean(np.multiply(luminance, structure)) if last else np.mean(structure)
        value *= max(term, 0.0) ** (WEIGHTS[scale] / total)
        rows, columns = (side // 2 for side in image.shape)
        image, target = (
            np.array([[a[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(columns)] for i in range(rows)])
            for a in (image, target)
        )
    return value


@pytest.mark.parametrize(("shape", "scales"), [((47, 50), 3), ((21, 30), 1)])
def test_value_is_that_of_single_windows(shape, scales):
    target = 100 + 20 * RNG.normal(size=shape).cumsum(1)
    image = target + 15 * RNG.normal(size=shape)
    assert ms_ssim_scales(shape) == scales
    found = ms_ssim(image, target, 255.0)
    assert found == pytest.approx(brute_force(image, target, 255.0, scales), rel=1e-9)
    assert 0.2 < found < 0.999


def test_five_scales_from_176_px_on():
    assert [ms_ssim_scales((side, 400)) for side in (175, 176, 1000)] == [4, 5, 5]
    assert sum(WEIGHTS) == pytest.approx(1.0, abs=2e-4)
    target = RNG.normal(size=(176, 180)).cumsum(0)
    assert ms_ssim(target, target) == pytest.approx(1.0, abs=1e-12)
    assert 0 < ms_ssim(target + 3 * RNG.normal(size=target.shape), target) < 1


def test_one_scale_is_ssim_and_opposite_structure_is_zero():
    target = RNG.normal(size=(20, 20))
    image = target + RNG.normal(size=(20, 20))
    assert ms_ssim(image, target, 2.0) == pytest.approx(float(ssim(image, target, 2.0)))
    large = RNG.normal(size=(48, 48))
    assert ms_ssim(-large, large) == 0.0


def test_it_runs_inside_jit():
    target = RNG.normal(size=(24, 24))
    image = target + 0.5 * RNG.normal(size=(24, 24))
    found = jax.jit(ms_ssim)(jnp.asarray(image, jnp.float32), jnp.asarray(target, jnp.float32))
    assert float(found) == pytest.approx(float(ms_ssim(image, target)), abs=1e-4)


def test_small_images_are_refused():
    with pytest.raises(InputError, match="at least 11 px"):
        ms_ssim(np.ones((10, 40)), np.ones((10, 40)))
