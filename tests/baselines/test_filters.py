import numpy as np
import pytest

from bioflax.baselines import FILTERS, wavelet
from bioflax.errors import InputError

pytest.importorskip("skimage")
RNG = np.random.default_rng(6)
STRENGTH = {
    "gaussian": lambda unit: {"sigma_px": 1.5},
    "median": lambda unit: {"size_px": 5},
    "nlm": lambda unit: {"h": 10 * unit, "noise": 10 * unit},
    "tv": lambda unit: {"weight": 20 * unit},
    "wavelet": lambda unit: {"noise": 10 * unit},
}


def scene(shape):
    ramp = sum(np.meshgrid(*[np.sin(np.arange(side) / 5) for side in shape], indexing="ij"))
    return 100 + 60 * ramp


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shape", [(47, 64), (17, 24, 20)])
def test_filters_remove_noise_and_keep_shape(name, shape):
    clean = scene(shape)
    noisy = clean + RNG.normal(0, 10, shape)
    restored = FILTERS[name](noisy, **STRENGTH[name](1.0))
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert np.mean((restored - clean) ** 2) < 0.5 * np.mean((noisy - clean) ** 2)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_scale_with_the_unit_and_carry_an_offset(name):
    noisy = scene((40, 40)) + RNG.normal(0, 10, (40, 40))
    plain = FILTERS[name](noisy, **STRENGTH[name](1.0))
    counts = FILTERS[name](50 * noisy + 20_000, **STRENGTH[name](50.0))
    np.testing.assert_allclose((counts - 20_000) / 50, plain, atol=0.05)


@pytest.mark.parametrize("name", FILTERS)
def test_a_constant_image_stays(name):
    np.testing.assert_allclose(FILTERS[name](np.full((20, 20), 7.0), **STRENGTH[name](1.0)), 7.0, rtol=1e-6)


def test_wavelet_on_a_crop_is_wavelet_on_the_whole():
    noisy = scene((256, 256)) + RNG.normal(0, 10, (256, 256))
    whole, part = wavelet(noisy, 10.0), wavelet(noisy[:128, :128], 10.0)
    inner = slice(0, 112)
    assert np.abs(part - whole[:128, :128])[inner, inner].mean() < 0.5


@pytest.mark.parametrize("shape", [(64,), (15, 64), (2, 16, 16, 1)])
def test_shapes_that_no_filter_takes_are_named(shape):
    with pytest.raises(InputError, match=r"image: expected \(H, W\) or \(Z, H, W\) with at least 16 px a side, found"):
        FILTERS["tv"](np.ones(shape), weight=1.0)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.restoration", None)
    with pytest.raises(InputError, match=r'skimage: not installed.*pip install "bioflax\[baselines\]"'):
        FILTERS["nlm"](np.ones((16, 16)), h=1.0)
