import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.optimize import minimize_scalar
from skimage.metrics import structural_similarity

from bioflax.errors import InputError
from bioflax.metrics import affine_match, microssim, nrmse, psnr, si_psnr, ssim

RNG = np.random.default_rng(1)
CLEAN = gaussian_filter(RNG.normal(size=(40, 33)), 2.0) * 300 + 120
NOISY = CLEAN + RNG.normal(0, 15, CLEAN.shape)


def test_psnr_of_a_known_error():
    assert float(psnr(CLEAN + 5.0, CLEAN, 255)) == pytest.approx(20 * np.log10(255 / 5.0), abs=1e-12)
    assert float(psnr(CLEAN + 5.0, CLEAN)) == pytest.approx(20 * np.log10(np.ptp(CLEAN) / 5.0), abs=1e-12)


def test_psnr_clips_the_image_and_not_the_target():
    image, target = np.array([[-30.0, 300.0]]), np.array([[10.0, 260.0]])
    error = ((0 - 10) ** 2 + (255 - 260) ** 2) / 2
    assert float(psnr(image, target, 255, clip=(0, 255))) == pytest.approx(20 * np.log10(255) - 10 * np.log10(error))


def test_psnr_of_equal_images_is_infinite_without_a_warning(recwarn):
    assert float(psnr(CLEAN, CLEAN, 255)) == np.inf
    assert not recwarn.list


def test_integers_do_not_wrap_around():
    assert float(psnr(np.uint8([[0, 10]]), np.uint8([[1, 11]]), 255)) == pytest.approx(20 * np.log10(255))


def test_si_psnr_follows_its_definition_and_ignores_gain_and_offset():
    g, p = CLEAN - CLEAN.mean(), NOISY - NOISY.mean()
    alpha = np.sum(g * p) / np.sum(p * p)
    expected = 20 * np.log10(np.ptp(CLEAN)) - 10 * np.log10(np.mean((g - alpha * p) ** 2))
    assert float(si_psnr(NOISY, CLEAN)) == pytest.approx(expected, abs=1e-10)
    assert float(si_psnr(0.01 * NOISY - 7, CLEAN)) == pytest.approx(expected, abs=1e-8)
    assert float(psnr(0.5 * NOISY, CLEAN)) < float(si_psnr(0.5 * NOISY, CLEAN)) - 5


def test_affine_match_is_the_least_squares_line():
    slope, intercept = np.polyfit(NOISY.ravel(), CLEAN.ravel(), 1)
    np.testing.assert_allclose(affine_match(NOISY, CLEAN), slope * NOISY + intercept, rtol=1e-9)
    np.testing.assert_allclose(affine_match(np.full((4, 4), 3.0), CLEAN[:4, :4]), CLEAN[:4, :4].mean())


def test_nrmse_by_hand():
    low, high = np.percentile(CLEAN, [0.1, 99.9])
    matched = affine_match(NOISY, CLEAN)
    expected = np.sqrt(np.mean(((matched - low) / (high - low) - (CLEAN - low) / (high - low)) ** 2))
    assert float(nrmse(4 * NOISY + 9, CLEAN)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(40, 33), (13, 16, 15)])
@pytest.mark.parametrize("offset", [0.0, 30_000.0])
def test_ssim_equals_scikit_image(shape, offset):
    target = gaussian_filter(RNG.normal(size=shape), 1.0) * 200 + 100 + offset
    image = target + RNG.normal(0, 20, shape)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(image, target, data_range=180.0, **options)
    assert float(ssim(image, target, 180.0)) == pytest.approx(expected, abs=1e-6)


def test_ssim_drops_axes_of_one_and_names_images_too_small():
    assert float(ssim(NOISY[..., None], CLEAN[..., None], 255)) == float(ssim(NOISY, CLEAN, 255))
    with pytest.raises(InputError, match=r"image: expected at least 11 px a side for SSIM, found \(10, 20\)"):
        ssim(np.ones((10, 20)), np.ones((10, 20)), 1.0)


@pytest.mark.parametrize("metric", [psnr, si_psnr, ssim, nrmse])
def test_jit_and_vmap_agree_with_float64(metric):
    images = np.stack([NOISY, 0.5 * CLEAN + 0.5 * NOISY]) + 400.0
    targets = np.stack([CLEAN, CLEAN]) + 400.0
    batched = jax.jit(jax.vmap(metric))(images.astype(np.float32), targets.astype(np.float32))
    assert isinstance(batched, jax.Array)
    expected = [float(metric(i, t)) for i, t in zip(images, targets)]
    np.testing.assert_allclose(np.asarray(batched), expected, rtol=2e-5)


def test_shapes_that_differ_are_named():
    with pytest.raises(InputError, match=r"image/target: expected arrays of one non-empty shape.*\(3, 3\).*\(3, 4\)"):
        psnr(np.ones((3, 3)), np.ones((3, 4)), 1.0)


def microssim_oracle(image, target):
    """One image, straight from the definition with SciPy's own filter and optimiser."""
    background_image, background_target = np.percentile(image, 3), np.percentile(target, 3)
    peak = target.max() - background_target
    p, g = (image - background_image) / peak, (target - background_target) / peak
    inner = (slice(3, -3), slice(3, -3))
    mean = lambda a: uniform_filter(a, 7)[inner]  # noqa: E731
    mp, mg = mean(p), mean(g)
    vp, vg, vpg = ((mean(a * b) - mean(a) * mean(b)) * 49 / 48 for a, b in ((p, p), (g, g), (p, g)))
    c1, c2 = (0.01 * np.ptp(g)) ** 2, (0.03 * np.ptp(g)) ** 2

    def similarity(a):
        s = (2 * a * mg * mp + c1) * (2 * a * vpg + c2)
        return np.mean(s / ((mg**2 + a**2 * mp**2 + c1) * (vg + a**2 * vp + c2)))

    return -minimize_scalar(lambda a: -similarity(a), bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).fun


def test_microssim_equals_its_oracle():
    assert microssim([NOISY], [CLEAN])[0] == pytest.approx(microssim_oracle(NOISY, CLEAN), abs=1e-7)


def test_microssim_ignores_one_gain_and_offset_of_the_whole_set_but_not_of_each_image():
    images, targets = [NOISY, NOISY[:, ::-1]], [CLEAN, CLEAN[:, ::-1]]
    plain = microssim(images, targets)
    np.testing.assert_allclose(microssim([0.02 * i + 5 for i in images], targets), plain, atol=1e-6)
    uneven = microssim([images[0], 0.3 * images[1]], targets)
    assert uneven.mean() < plain.mean() - 0.02
    assert microssim(targets, targets) == pytest.approx([1.0, 1.0])


def test_microssim_wants_pairs():
    with pytest.raises(InputError, match=r"images: expected one an entry of targets \(2\), found 1"):
        microssim([CLEAN], [CLEAN, CLEAN])
