"""The fitted numbers are NumPy's, the map is undone exactly, and bad input is told."""

import jax
import numpy as np
import pytest

from bioflax.data import Normalization, fit
from bioflax.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = [
    (RNG.random((20, 30, 2)) * 5 + [1000, -3]).astype(np.float32),
    (RNG.random((7, 9, 2)) * 50).astype(np.float32),
]
ALL = np.concatenate([image.reshape(-1, 2) for image in IMAGES]).astype(np.float64)


def test_mean_std_equals_numpy_in_float64():
    found = fit("mean_std", iter(IMAGES))
    np.testing.assert_allclose(found.offset, ALL.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.scale, ALL.std(0), rtol=1e-10)
    together = fit("mean_std", IMAGES, per_channel=False)
    assert together.offset == pytest.approx((ALL.mean(),), rel=1e-12)
    assert together.scale == pytest.approx((ALL.std(),), rel=1e-10)


def test_percentiles_equal_numpy():
    found = fit("percentile", IMAGES)
    low, high = np.percentile(ALL, (2, 99.8), axis=0)
    np.testing.assert_allclose(found.offset, low, rtol=1e-6)
    np.testing.assert_allclose(found.scale, high - low, rtol=1e-6)


def test_percentiles_of_large_images_come_from_a_grid():
    ramp = np.linspace(0, 1, 3 << 20, dtype=np.float32).reshape(1, -1, 1)
    found = fit("percentile", [ramp])
    assert found.offset == pytest.approx((0.02,), abs=1e-5)
    assert found.scale == pytest.approx((0.978,), abs=1e-5)


def test_photons_come_from_the_camera():
    found = fit("photons", gain_adu_per_photon=2.5, offset_adu=100)
    assert found.apply(np.float32([100, 125])).tolist() == [0, 10]


@pytest.mark.parametrize("kind", ["mean_std", "percentile", "none"])
def test_invert_undoes_apply_in_numpy_and_under_jit(kind):
    found = fit(kind, IMAGES)
    back = found.invert(found.apply(IMAGES[0]))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, IMAGES[0], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(jax.jit(found.apply)(IMAGES[0]), found.apply(IMAGES[0]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.invert_scale(np.ones((1, 2))), np.broadcast_to(found.scale, (1, 2)), rtol=1e-6)


def test_json_round_trip_and_its_errors():
    found = fit("mean_std", IMAGES)
    assert Normalization.from_json(found.to_json()) == found
    for content in ({"kind": "none"}, [], {"kind": "none", "offset": [0], "scale": [1], "x": 1}):
        with pytest.raises(InputError, match="expected the keys kind, offset, scale"):
            Normalization.from_json(content)
    with pytest.raises(InputError, match="expected lists of numbers"):
        Normalization.from_json({"kind": "none", "offset": ["a"], "scale": [1]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit("zscore", IMAGES), "expected one of mean_std, percentile, photons, none, found 'zscore'"),
        (lambda: fit("mean_std", []), "expected training images, found none"),
        (lambda: fit("percentile", []), "expected training images, found none"),
        (
            lambda: fit("mean_std", [np.full((8, 8, 1), 0.1, np.float32)]),
            "channel 0 of the training images is constant",
        ),
        (lambda: fit("percentile", [np.full((8, 8, 1), 3)]), "is constant"),
        (lambda: fit("percentile", IMAGES, percentiles=(99, 2)), "expected percentiles 0 <= low < high"),
        (lambda: fit("photons", offset_adu=100), "photons needs gain_adu_per_photon > 0 and offset_adu"),
        (lambda: fit("photons", offset_adu=100, gain_adu_per_photon=0), "photons needs gain_adu_per_photon > 0"),
        (lambda: Normalization("none", (0.0,), (0.0,)), "positive scales"),
        (lambda: Normalization("none", (float("nan"),), (1.0,)), "finite offsets"),
        (lambda: Normalization("none", (0.0, 1.0), (1.0,)), "as many offsets as scales"),
        (lambda: Normalization("other"), "expected one of"),
    ],
)
def test_bad_input_is_told(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_one_constant_channel_is_named():
    image = np.stack([IMAGES[0][..., 0], np.full((20, 30), 7)], -1)
    with pytest.raises(InputError, match="channel 1"):
        fit("mean_std", [image])
